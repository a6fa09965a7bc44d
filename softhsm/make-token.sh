#!/bin/sh
# Makes a SoftHSM token in a folder of its own: make-token.sh DIR LABEL
#
# DIR/softhsm2.conf   the configuration; export SOFTHSM2_CONF=DIR/softhsm2.conf to use the token
# DIR/tokens/         the token's objects
# DIR/pin             the user PIN  (random, mode 600)
# DIR/so-pin          the security officer's PIN (random, mode 600)
#
# Safe to run again: an existing token of that label is left as it is. Installs nothing and touches nothing outside DIR.
# SOFTHSM2_MODULE names another library than Debian's.
set -eu

if [ $# -ne 2 ] || [ -z "$1" ] || [ -z "$2" ]; then
    echo "usage: $0 DIR LABEL" >&2
    exit 64
fi
label=$2
if ! command -v softhsm2-util >/dev/null 2>&1; then
    echo "$0: softhsm2-util is missing (Debian: apt install softhsm2)" >&2
    exit 69
fi

umask 077
mkdir -p "$1/tokens"
dir=$(cd "$1" && pwd)

# A PIN that was lost must not be replaced silently: the token would be out of reach for good.
random_pin() {
    if [ -s "$1" ]; then
        return
    fi
    # 32 hexadecimal digits are 128 bits, and every module takes them.
    pin=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
    printf '%s\n' "$pin" >"$1.new"
    mv "$1.new" "$1"
    echo "made $1"
}

conf=$dir/softhsm2.conf
if [ ! -s "$conf" ]; then
    cat >"$conf.new" <<END
directories.tokendir = $dir/tokens
objectstore.backend = file
log.level = ERROR
slots.removable = false
END
    mv "$conf.new" "$conf"
    echo "made $conf"
fi
SOFTHSM2_CONF=$conf
export SOFTHSM2_CONF

module=${SOFTHSM2_MODULE:+--module $SOFTHSM2_MODULE}
# shellcheck disable=SC2086
# Labels are padded with blanks to 32 characters.
if softhsm2-util $module --show-slots | sed -n 's/^ *Label: *//p' | sed 's/ *$//' | grep -Fqx -- "$label"; then
    if [ ! -s "$dir/pin" ]; then
        echo "$0: the token \"$label\" is there but $dir/pin is not" >&2
        exit 65
    fi
    echo "token \"$label\" is there already: $dir"
    exit 0
fi
random_pin "$dir/pin"
random_pin "$dir/so-pin"
# softhsm2-util takes PINs on its command line only: for this moment other users of the machine can see them in its process list.
# shellcheck disable=SC2086
softhsm2-util $module --init-token --free --label "$label" \
    --pin "$(cat "$dir/pin")" --so-pin "$(cat "$dir/so-pin")" >/dev/null
echo "made the token \"$label\" in $dir/tokens"
echo "to use it: export SOFTHSM2_CONF=$conf"
