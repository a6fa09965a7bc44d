#!/usr/bin/env bash
# Makes a token for tests in a folder of its own: make-token.sh MODULE DIR LABEL
#
# MODULE     softhsm, nss (softokn of libnss3) or kryoptic (built by tests/kryoptic)
# DIR/pin    the user PIN
# DIR/hsm    the lines of [hsm] in a settings file: module, initialize if the module needs it, and token_label
#
# SoftHSM reads SOFTHSM2_CONF=DIR/softhsm2.conf beside it; the others are told all by hsm.initialize. A folder that is
# copied elsewhere is told so by replacing its path in DIR/hsm, DIR/softhsm2.conf and DIR/kryoptic.conf.
set -euo pipefail

if [ $# -ne 3 ]; then
    echo "usage: $0 MODULE DIR LABEL" >&2
    exit 64
fi
module=$1 label=$3
here=$(cd "$(dirname "$0")/.." && pwd)
umask 077
mkdir -p "$2"
dir=$(cd "$2" && pwd)

pins() {
    for pin in pin so-pin; do
        [ -s "$dir/$pin" ] || od -An -N16 -tx1 /dev/urandom | tr -d ' \n' >"$dir/$pin"
    done
}

said() { # said LIBRARY [INITIALIZE]
    {
        echo "module = '$1'"
        [ $# -lt 2 ] || echo "initialize = \"$2\""
        echo "token_label = '$label'"
    } >"$dir/hsm"
}

case $module in
softhsm)
    "$here/../softhsm/make-token.sh" "$dir" "$label" >/dev/null
    said /usr/lib/softhsm/libsofthsm2.so
    ;;
nss)
    library=$(find /usr/lib /usr/lib64 -name libsoftokn3.so 2>/dev/null | head -n 1)
    pins
    mkdir -p "$dir/nss"
    certutil -N -d "sql:$dir/nss" -f "$dir/pin"
    said "$library" "configdir='sql:$dir/nss' dbTokenDescription='$label'"
    ;;
kryoptic)
    library=$here/kryoptic/target/release/libkryoptic.so
    pins
    mkdir -p "$dir/kryoptic"
    cat >"$dir/kryoptic.conf" <<END
[[slots]]
slot = 0
dbtype = "sqlite"
dbargs = "$dir/kryoptic/token.sql"
END
    export KRYOPTIC_CONF=$dir/kryoptic.conf
    # PINs on a command line can be seen by other users of the machine: these are for tests.
    tool=(pkcs11-tool --module "$library" --so-pin "$(cat "$dir/so-pin")")
    "${tool[@]}" --init-token --label "$label" >/dev/null
    "${tool[@]}" --login --login-type so --init-pin --new-pin "$(cat "$dir/pin")" >/dev/null
    said "$library" "kryoptic_conf=$dir/kryoptic.conf"
    ;;
*)
    echo "$0: no module is called $module: softhsm, nss or kryoptic" >&2
    exit 64
    ;;
esac
