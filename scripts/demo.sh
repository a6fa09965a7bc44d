#!/usr/bin/env bash
# The whole way on this machine: a SoftHSM token, a server, a configuration uploaded with openssl alone, a token for a meter.
set -euo pipefail
cd "$(dirname "$0")/.."
home=$(mktemp -d "${TMPDIR:-/tmp}/vendkey-demo.XXXXXX")
. scripts/local-server.sh
trap 'stop; rm -rf "$home"' EXIT

build dev
set_up 127.0.0.1:0
say "starting the server"
start
client_environment

say "an administrator registers the key that signs uploads"
cd "$home"
openssl genrsa -out user_key.pem 4096 2>/dev/null
openssl rsa -in user_key.pem -pubout -out user_public.pem 2>/dev/null
show "$vendkey" public-key register user_public.pem --name "demo administrator"
"$vendkey" server-key --out server_public.pem >server_key.txt
tail -n 3 server_key.txt

say "and encrypts a configuration with openssl"
configuration demo_config 04 abababababababab949494949494949401234567 >config.yaml
openssl rand -hex 8 | tr -d '\n' >aes_key
openssl rand -hex 8 | tr -d '\n' >aes_iv
hex() { od -An -v -tx1 "$1" | tr -d ' \n'; }
piped() { printf '$ %s\n' "$1"; eval "$1"; }
# Shown as people type them.
# shellcheck disable=SC2016
{
piped 'openssl enc -aes-128-cbc -K "$(hex aes_key)" -iv "$(hex aes_iv)" -in config.yaml -out config.enc'
piped 'cat aes_iv config.enc | base64 >data'
piped 'openssl dgst -binary -sha256 config.yaml | openssl rsautl -sign -inkey user_key.pem 2>/dev/null | base64 >digest'
piped 'openssl rsautl -encrypt -pubin -inkey server_public.pem -in aes_key 2>/dev/null | base64 >key'
}

say "uploads it: the vending key goes into the HSM"
show "$vendkey" configuration upload --data data --digest digest --key key
configuration=$("$vendkey" configuration list --json | sed -n 's/.*"name": "\(configurations[^"]*\)".*/\1/p')

say "creates a till: administrators do not vend"
show "$vendkey" client create demo-till --preset till --limit electricity_credit.per_day=20000 --out till.credential
export VENDKEY_CREDENTIAL_FILE=$home/till.credential

say "a vending platform asks for 25.5 kWh for meter 47500150231"
request=$(cat /proc/sys/kernel/random/uuid)
issue=(token issue --configuration "$configuration" --meter 47500150231 --electricity 25.5 --request-id "$request")
show "$vendkey" "${issue[@]}"

say "and asks again, as after a lost answer: the same token"
show "$vendkey" "${issue[@]}"

say "the token is verified: its fields, and that it was issued here"
token=$("$vendkey" "${issue[@]}" --json | sed -n 's/.*"token": "\([0-9]*\)".*/\1/p')
show "$vendkey" token verify --configuration "$configuration" --meter 47500150231 "$token" --bits

say "stopping the server"
stop
echo "done; nothing is left of it"
