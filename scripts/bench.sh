#!/usr/bin/env bash
# Measures a server of its own on SoftHSM: everything lies in target/bench-home, on a disk and not in memory.
# SECONDS_EACH=5, CLIENTS=64, TLS=1, FILL=ROWS in the environment change it. The figures go to target/bench.json too.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-$PWD/target}
home=$target/bench-home
rm -rf "$home"
mkdir -p "$home"
. scripts/local-server.sh
trap 'stop; rm -rf "$home"' EXIT

build release
set_up 127.0.0.1:0
if [ "${TLS:-0}" != 1 ]; then
    sed -i '/^\[server.tls\]/,/^$/d' "$home/vendkey.toml"
fi
export RUST_LOG=warn VENDKEY_LOG__FILTER=warn
start
if [ "${TLS:-0}" != 1 ]; then endpoint="http://127.0.0.1:${endpoint##*:}"; fi
client_environment

say "two configurations"
openssl genrsa -out "$home/user.pem" 2048 2>/dev/null
openssl rsa -in "$home/user.pem" -pubout -out "$home/user_public.pem" 2>/dev/null
vendkey public-key register "$home/user_public.pem" --name bench >/dev/null
fingerprint=$(vendkey server-key --json --out "$home/server.pem" | sed -n 's/.*"fingerprint": "\([0-9a-f]*\)".*/\1/p')
upload() { # upload ALGORITHM KEY
    cat >"$home/c$1.yaml" <<YAML
---
name: bench $1
key_expiry_no: 255
encryption_algorithm: sta
token_carrier_type: numeric
decoder_key_generation_algorithm: $1
tariff_index: 01
key_revision_no: 1
vending_key: $2
supply_group_code: 123456
key_type: 2
base_date: 2014
issuer_identification_no: 600727
YAML
    vendkey configuration encrypt "$home/c$1.yaml" --server-key "$home/server.pem" --fingerprint "$fingerprint" \
        --signing-key "$home/user.pem" --out "$home/out" >/dev/null
    vendkey configuration upload --data "$home/out/c$1.data" --digest "$home/out/c$1.digest" --key "$home/out/c$1.key" --json |
        sed -n 's/.*"name": "\(configurations[^"]*\)".*/\1/p' | head -n 1
}
dkga04=$(upload 04 abababababababab949494949494949401234567)
dkga02=$(upload 02 0123456789abcdef)

say "a till"
vendkey client create bench --preset till --out "$home/till" >/dev/null

say "measuring"
vendkey bench --credential-file "$home/till" --dkga04 "$dkga04" --dkga02 "$dkga02" --settings "$home/vendkey.toml" --server-pid "$server" \
    ${FILL:+--fill "$FILL"} --seconds "${SECONDS_EACH:-5}" --clients "${CLIENTS:-64}" --report "$target/bench.json"
