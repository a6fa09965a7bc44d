#!/usr/bin/env bash
# Builds deploy/Containerfile on a machine without a registry of images, and tries what came out as its own
# user: a token, the set-up, the check, a server and a call. The base images are a minimal Debian that is made
# here; the program is this machine's, so that nothing is compiled in the container.
#
# Usage: scripts/container.sh PROGRAM     such as target/debug/vendkey; needs root, buildah and mmdebstrap
set -euo pipefail
program=$(realpath "${1:?which program?}")
cd "$(dirname "$0")/.."
if [ "$(id -u)" -ne 0 ]; then
    echo "run this as root: it makes a system in a folder" >&2
    exit 1
fi
missing=()
for tool in buildah mmdebstrap; do command -v "$tool" >/dev/null 2>&1 || missing+=("$tool"); done
if [ ${#missing[@]} -gt 0 ]; then
    echo "==> installing from Debian: ${missing[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
folder=$(mktemp -d /var/tmp/vendkey-container.XXXXXX)
# Images and containers of this try alone, gone with it.
export CONTAINERS_STORAGE_CONF=$folder/storage.conf BUILDAH_ISOLATION=chroot
printf '[storage]\ndriver = "vfs"\nrunroot = "%s/run"\ngraphroot = "%s/images"\n' "$folder" "$folder" >"$CONTAINERS_STORAGE_CONF"
trap 'rm -rf --one-file-system "$folder"' EXIT

echo "==> a minimal Debian for the base images"
mmdebstrap --quiet --variant=apt bookworm "$folder/base.tar"
printf '#!/bin/sh\n# In place of a build.\nmkdir -p target/release && cp program target/release/vendkey\n' >"$folder/cargo"
chmod +x "$folder/cargo"
base=$(buildah from scratch)
buildah add -q "$base" "$folder/base.tar" / >/dev/null
buildah commit -q "$base" docker.io/library/debian:bookworm-slim >/dev/null
buildah copy -q "$base" "$folder/cargo" /usr/bin/cargo >/dev/null
buildah commit -q "$base" docker.io/library/rust:1-bookworm >/dev/null

echo "==> deploy/Containerfile"
mkdir "$folder/context"
strip -o "$folder/context/program" "$program"
buildah bud -q --pull-never -t vendkey -f deploy/Containerfile "$folder/context" >/dev/null

echo "==> what it says, as its user"
cat >"$folder/vendkey.toml" <<'TOML'
[server]
listen = "127.0.0.1:0"
[hsm]
module = "/usr/lib/softhsm/libsofthsm2.so"
token_label = "vendkey"
pin_file = "/var/lib/vendkey/pin"
[store]
path = "/var/lib/vendkey/vendkey.db"
TOML
cat >"$folder/try.sh" <<'SH'
set -eu
[ "$(id -un)" = vendkey ]
cd /var/lib/vendkey
umask 077
printf 12345678 >pin
softhsm2-util --init-token --free --label vendkey --so-pin 87654321 --pin 12345678
vendkey setup --settings /settings.toml --credential-file credential
vendkey serve --check --settings /settings.toml
mkfifo ready
vendkey serve --settings /settings.toml >ready 2>log &
server=$!
read -r line <ready || { cat log; exit 1; }
vendkey capabilities --endpoint "${line#listening on }" --credential-file credential | head -n 1
kill "$server"
wait "$server"
SH
container=$(buildah from --pull-never localhost/vendkey)
buildah run -v "$folder/vendkey.toml:/settings.toml:ro" -v "$folder/try.sh:/try.sh:ro" "$container" -- sh /try.sh
echo "==> the container builds and serves"
