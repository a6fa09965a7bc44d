#!/usr/bin/env bash
# Measures servers of its own on SoftHSM: everything lies in target/bench-home, on a disk and not in memory. First one server
# on SQLite, then one on a PostgreSQL of its own (in a folder of $TMPDIR or /var/tmp), then three on that.
# SECONDS_EACH=5, ROUNDS=3, CLIENTS=64, TLS=1, FILL=ROWS, ENGINES="sqlite postgresql" in the environment change it; PROFILE=dev tries
# the script itself. The figures go to target/bench.json, target/bench-postgresql.json and target/bench-servers.json too.
# HSM_LATENCY_MS=5 puts a module in between that takes as long for each call and serves HSM_SESSIONS=32 at once,
# as an HSM across a network does.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-$PWD/target}
home=$target/bench-home
engines=${ENGINES:-sqlite postgresql}
rm -rf "$home"
mkdir -p "$home"
. scripts/local-server.sh

folder=
others=()
end() {
    trap - EXIT
    [ ${#others[@]} -eq 0 ] || { kill "${others[@]}" && wait "${others[@]}"; } 2>/dev/null || true
    stop
    # By its own means: what runs in the background of a script bears no SIGINT.
    [ -z "$folder" ] || postgresql pg_ctl --pgdata "$folder/data" --mode fast --silent stop || true
    rm -rf "$home" ${folder:+"$folder"}
}
trap end EXIT

# A program of PostgreSQL, which refuses root.
postgresql() {
    local name=$1 user=()
    shift
    [ "$(id -u)" -ne 0 ] || user=(setpriv --reuid postgres --regid postgres --init-groups)
    (cd / && exec "${user[@]}" "/usr/lib/postgresql/15/bin/$name" "$@")
}

# Starts a cluster and makes a database that counts its statements; sets $url.
start_postgresql() {
    scripts/prepare.sh test
    folder=$(mktemp -d "${TMPDIR:-/var/tmp}/vendkey-bench.XXXXXX")
    [ "$(id -u)" -ne 0 ] || chown postgres:postgres "$folder"
    postgresql initdb --username postgres --auth trust --encoding UTF8 --locale C --no-instructions \
        --pgdata "$folder/data" >/dev/null
    (
        trap - EXIT
        postgresql postgres -D "$folder/data" -k "$folder" -c listen_addresses= -c shared_buffers=256MB \
            -c max_wal_size=4GB -c shared_preload_libraries=pg_stat_statements
    ) >"$home/postgresql.log" 2>&1 &
    until postgresql pg_isready -q -h "$folder"; do sleep 0.1; done
    postgresql psql -qX -h "$folder" -U postgres -c "CREATE DATABASE vendkey ENCODING 'UTF8' TEMPLATE template0" postgres
    postgresql psql -qX -h "$folder" -U postgres -c "CREATE EXTENSION pg_stat_statements" vendkey
    url="postgresql://postgres@/vendkey?host=$folder"
}

plain() { # plain ENDPOINT: without TLS, unless TLS=1
    if [ "${TLS:-0}" = 1 ]; then echo "$1"; else echo "http://127.0.0.1:${1##*:}"; fi
}

# Two configurations and a till at the server of the environment; sets $dkga04 and $dkga02.
furnish() {
    say "two configurations and a till"
    prepare_uploads bench
    dkga04=$(upload "bench 04" 04 abababababababab949494949494949401234567)
    dkga02=$(upload "bench 02" 02 0123456789abcdef)
    rm -f "$home/till"
    vendkey client create bench --preset till --out "$home/till" >/dev/null
}

measure() { # measure REPORT ARGUMENT...
    local report=$1
    shift
    vendkey bench --credential-file "$home/till" --dkga02 "$dkga02" --settings "$home/vendkey.toml" --server-pid "$server" \
        --seconds "${SECONDS_EACH:-5}" --rounds "${ROUNDS:-3}" --clients "${CLIENTS:-64}" --report "$target/$report" "$@"
}

build "${PROFILE:-release}"
set_up 127.0.0.1:0
if [ "${TLS:-0}" != 1 ]; then
    sed -i '/^\[server.tls\]/,/^$/d' "$home/vendkey.toml"
fi
if [ -n "${HSM_LATENCY_MS:-}" ]; then
    say "a module that takes $HSM_LATENCY_MS ms for a call, ${HSM_SESSIONS:-32} at once"
    cargo build --locked --profile dev --example pkcs11_shim
    export PKCS11_SHIM_LATENCY_US=$((HSM_LATENCY_MS * 1000)) PKCS11_SHIM_CALLS=${HSM_SESSIONS:-32}
    sed -i "s#^module = .*#module = \"$target/debug/examples/libpkcs11_shim.so\"\nthreads = $PKCS11_SHIM_CALLS#" \
        "$home/vendkey.toml"
fi
export RUST_LOG=warn VENDKEY_LOG__FILTER=warn

if [[ " $engines " == *" sqlite "* ]]; then
    start
    endpoint=$(plain "$endpoint")
    client_environment
    furnish
    say "measuring one server on SQLite"
    measure bench.json --dkga04 "$dkga04" ${FILL:+--fill "$FILL"}
    stop
fi

if [[ " $engines " == *" postgresql "* ]]; then
    start_postgresql
    sed -i "s|^path = .*|url = \"$url\"\ncheckpoint_file = \"checkpoint\"|" "$home/vendkey.toml"
    export VENDKEY_SERVER__NAME=one
    rm -f "$home/credential"
    vendkey setup --settings "$home/vendkey.toml" --credential-file "$home/credential" >/dev/null
    start
    endpoint=$(plain "$endpoint")
    client_environment
    furnish
    say "measuring one server on PostgreSQL"
    measure bench-postgresql.json --dkga04 "$dkga04" ${FILL:+--fill "$FILL"}

    also=()
    first=$server first_endpoint=$endpoint
    for name in two three; do
        export VENDKEY_SERVER__NAME=$name VENDKEY_STORE__CHECKPOINT_FILE="$home/checkpoint-$name"
        start
        others+=("$server")
        also+=(--also "$(plain "$endpoint")")
    done
    server=$first endpoint=$first_endpoint
    say "measuring three servers on it, beside the one"
    measure bench-servers.json --beside "$target/bench-postgresql.json" "${also[@]}"
fi
