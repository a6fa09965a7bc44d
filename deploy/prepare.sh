#!/usr/bin/env bash
# Installs what the project needs from Debian and is missing here. Says what it does; does nothing where all is there.
#
# Usage: deploy/prepare.sh [test]     with "test": also what the tests alone need
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
if [ "${1:-}" = test ]; then
    need pkcs11-tool opensc
    need /usr/lib/python3/dist-packages/grpc python3-grpcio
    need grpc_python_plugin protobuf-compiler-grpc
    need protoc protobuf-compiler
    need setpriv util-linux
fi
if ! command -v cargo >/dev/null 2>&1; then
    echo "Rust is missing: install it with rustup, then run this again" >&2
    exit 1
fi
[ ${#missing[@]} -eq 0 ] && exit 0

as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo)
echo "==> installing from Debian: ${missing[*]}"
"${as_root[@]}" apt-get update -qq
DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
