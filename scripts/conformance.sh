#!/usr/bin/env bash
# Runs vectors on a SoftHSM token that is made for the purpose and removed afterwards. Needs no server and no set-up.
#
# Usage: scripts/conformance.sh --vectors FILE... [--report FILE]
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/prepare.sh
cargo build --locked --release --bin vendkey
vendkey=${CARGO_TARGET_DIR:-target}/release/vendkey

# Imports write files: memory is faster than a disk, and what is in it is gone sooner.
scratch=/tmp
[ -d /dev/shm ] && [ -w /dev/shm ] && scratch=/dev/shm
home=$(mktemp -d "$scratch/vendkey-conformance-XXXXXX")
trap 'rm -rf "$home"' EXIT

softhsm/make-token.sh "$home/hsm" conformance >/dev/null
export SOFTHSM2_CONF=$home/hsm/softhsm2.conf
cat >"$home/vendkey.toml" <<'TOML'
[hsm]
module = "/usr/lib/softhsm/libsofthsm2.so"
token_label = "conformance"
pin_file = "hsm/pin"

[store]
path = "not-used.db"
TOML
"$vendkey" conformance --settings "$home/vendkey.toml" "$@"
