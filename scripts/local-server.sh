# shellcheck shell=bash
# Functions for a server on this machine: SoftHSM, the embedded database, TLS with a certificate of its own.
# Sourced by demo.sh, demo-cluster.sh, run.sh and bench.sh, which set $home (where everything lies). Who sets $store has
# another database, in the words of the settings; who sets $log, another file for what a server says.
: "${home:?}"
store=${store:-'path = "vendkey.db"'}
log=${log:-server.log}
vendkey=vendkey
server=

# Installs what is missing and builds the program: "dev" as the tests do, so that both compile once;
# "release" for whoever goes on with it. From here on $vendkey is found.
build() { # build dev|release [what else prepare.sh installs]
    scripts/prepare.sh "${@:2}"
    say "building (some minutes the first time)"
    cargo build --locked --profile "$1" --bin vendkey
    local folder=$1
    [ "$1" = dev ] && folder=debug
    bin=${CARGO_TARGET_DIR:-$PWD/target}/$folder
    export PATH="$bin:$PATH"
}

# Stops the server that start has started, and waits for its end.
stop() {
    [ -z "$server" ] || { kill "$server" && wait "$server"; } 2>/dev/null || true
    server=
}

say() { printf '\n\033[1m==> %s\033[0m\n' "$*"; }

# Shows a command, then runs it.
show() { printf '$ %s\n' "$*"; "$@"; }

# Makes the token, the certificate, the settings and the server's keys in $home. Safe to run again.
set_up() { # set_up LISTEN-ADDRESS
    mkdir -p "$home"
    say "a SoftHSM token in $home/hsm"
    softhsm/make-token.sh "$home/hsm" vendkey
    export SOFTHSM2_CONF="$home/hsm/softhsm2.conf"
    if [ ! -e "$home/tls.pem" ]; then
        say "a certificate for localhost"
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 -subj /CN=localhost \
            -addext "subjectAltName=DNS:localhost,IP:127.0.0.1" -addext basicConstraints=critical,CA:FALSE \
            -keyout "$home/tls.key" -out "$home/tls.pem" 2>/dev/null
        chmod 600 "$home/tls.key"
    fi
    local root=false
    if [ "$(id -u)" -eq 0 ]; then
        root=true
        echo "running as root: server.allow_root is set"
    fi
    cat >"$home/vendkey.toml" <<TOML
[server]
listen = "$1"
allow_root = $root
[server.tls]
certificate_file = "tls.pem"
key_file = "tls.key"

[hsm]
module = "/usr/lib/softhsm/libsofthsm2.so"
token_label = "vendkey"
pin_file = "hsm/pin"

[store]
$store
TOML
    say "the server's keys in the HSM, the database, the first administrator"
    show "$vendkey" setup --settings "$home/vendkey.toml" --credential-file "$home/credential"
}

# Starts the server in the background and waits until it listens; sets $server (its pid) and $endpoint.
start() {
    mkfifo "$home/ready.$$"
    "$vendkey" serve --settings "$home/vendkey.toml" >"$home/ready.$$" 2>"$home/$log" &
    server=$!
    local line=""
    read -r line <"$home/ready.$$" || true
    rm -f "$home/ready.$$"
    if [ -z "$line" ]; then
        echo "the server did not start:" >&2
        cat "$home/$log" >&2
        exit 1
    fi
    echo "$line"
    endpoint="https://localhost:${line##*:}"
}

# Lets the client commands find the server.
client_environment() {
    export VENDKEY_ENDPOINT="$endpoint" VENDKEY_CREDENTIAL_FILE="$home/credential" VENDKEY_CA="$home/tls.pem"
}

# The text of a configuration with a published key.
configuration() { # configuration NAME ALGORITHM KEY
    cat <<YAML
---
name: $1
key_expiry_no: 255
encryption_algorithm: sta
token_carrier_type: numeric
decoder_key_generation_algorithm: $2
tariff_index: 01
key_revision_no: 1
vending_key: $3
supply_group_code: 123456
key_type: 2
base_date: 2014
issuer_identification_no: 600727
YAML
}

# Makes a key that signs uploads, registers it, and fetches the server's own; sets $fingerprint.
prepare_uploads() { # prepare_uploads NAME
    openssl genrsa -out "$home/user.pem" 2048 2>/dev/null
    openssl rsa -in "$home/user.pem" -pubout -out "$home/user_public.pem" 2>/dev/null
    vendkey public-key register "$home/user_public.pem" --name "$1" >/dev/null
    # The server's sealing key has one too, further in.
    fingerprint=$(vendkey server-key --json --out "$home/server.pem" | sed -n 's/^  "fingerprint": "\([0-9a-f]*\)".*/\1/p')
}

# Uploads a configuration and prints its name.
upload() { # upload NAME ALGORITHM KEY
    rm -rf "$home/upload"
    configuration "$@" >"$home/upload.yaml"
    vendkey configuration encrypt "$home/upload.yaml" --server-key "$home/server.pem" --fingerprint "$fingerprint" \
        --signing-key "$home/user.pem" --out "$home/upload" >/dev/null
    vendkey configuration upload --data "$home/upload/upload.data" --digest "$home/upload/upload.digest" \
        --key "$home/upload/upload.key" --json | sed -n 's/.*"name": "\(configurations[^"]*\)".*/\1/p' | head -n 1
}
