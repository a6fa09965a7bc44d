#!/usr/bin/env bash
# Installs what the project needs from Debian and is missing here. Says what it does; does nothing where
# all is there.
#
# Usage: scripts/prepare.sh [postgresql | test | kryoptic]     with "postgresql": it too; with "test": all that the tests
# need; with "kryoptic": that, and what building the module kryoptic takes
set -euo pipefail

missing=()
need() { # need FILE-OR-COMMAND PACKAGE
    [ -e "$1" ] || command -v "$1" >/dev/null 2>&1 || missing+=("$2")
}
need /usr/lib/softhsm/libsofthsm2.so softhsm2
need softhsm2-util softhsm2
need openssl openssl
need cc gcc
need make make
# Rust links C code against it; gcc only recommends it.
need /usr/include/stdio.h libc6-dev
case "${1:-}" in postgresql | test | kryoptic)
    need setpriv util-linux
    need /usr/lib/postgresql/15/bin/postgres postgresql-15
    ;;
esac
case "${1:-}" in test | kryoptic)
    need pkcs11-tool opensc
    need /usr/lib/python3/dist-packages/grpc python3-grpcio
    # Wanted by the stubs that protoc makes; grpcio does not depend on it.
    need /usr/lib/python3/dist-packages/google/protobuf python3-protobuf
    need grpc_python_plugin protobuf-compiler-grpc
    need protoc protobuf-compiler
    need /usr/lib/python3/dist-packages/requests python3-requests
    need node nodejs
    need mount mount
    need ssh-keygen openssh-client
    need ps procps
    need git git
    need curl curl
    need chromium chromium
    need chromedriver chromium-driver
    need shellcheck shellcheck
    need codespell codespell
    need systemd-analyze systemd
    # NSS softokn, a module that is not SoftHSM, with what makes its database.
    need "$(find /usr/lib -maxdepth 2 -name libsoftokn3.so -print -quit)" libnss3
    need certutil libnss3-tools
    ;;
esac
if [ "${1:-}" = kryoptic ]; then
    need /usr/lib/llvm-14/lib/libclang.so libclang-dev
    need /usr/include/openssl/evp.h libssl-dev
    need /usr/include/sqlite3.h libsqlite3-dev
    need pkg-config pkg-config
fi
if ! command -v cargo >/dev/null 2>&1; then
    echo "Rust is missing: install it with rustup, then run this again" >&2
    exit 1
fi
[ ${#missing[@]} -eq 0 ] && exit 0

install=(apt-get install -y --no-install-recommends "${missing[@]}")
if ! command -v apt-get >/dev/null 2>&1; then
    echo "this is not Debian: install what these packages of Debian have, then run this again: ${missing[*]}" >&2
    exit 1
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    # Without sudo, or where it asks for a password that nobody is there to type, an administrator must do it.
    if ! command -v sudo >/dev/null 2>&1 || ! { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
        echo "missing: ${missing[*]}; an administrator installs them with: ${install[*]}" >&2
        exit 1
    fi
    as_root=(sudo)
fi
echo "==> installing from Debian: ${missing[*]}"
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive "${install[@]}" -qq >/dev/null
