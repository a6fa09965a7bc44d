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
