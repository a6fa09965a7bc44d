#!/usr/bin/env bash
# Three servers on one PostgreSQL and one SoftHSM token, under load from `vendkey token batch`, while one of them is killed,
# one is restarted, and the database ends as in a crash. Then the history is checked: what was asked for was issued, once.
#
# ORDERS=4000 in the environment changes how many tokens each of the three batches asks for.
set -euo pipefail
cd "$(dirname "$0")/.."
home=$(mktemp -d "${TMPDIR:-/tmp}/vendkey-demo-cluster.XXXXXX")
. scripts/local-server.sh
. scripts/local-postgresql.sh

names=(alpha bravo charlie)
declare -A pids=() endpoints=() story=()
batches=()

clean() {
    local pid
    for pid in "${batches[@]}" "${pids[@]}"; do
        { kill -9 "$pid" && wait "$pid"; } 2>/dev/null || true
    done
    remove_postgresql
    rm -rf "$home"
}
trap clean EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

fail() {
    echo "FAILED: $*" >&2
    local log
    for log in "$home"/*.log "$home"/batch-*.err; do
        [ ! -s "$log" ] || { echo "--- the end of ${log##*/}" >&2 && tail -n 20 "$log" >&2; }
    done
    exit 1
}

build dev postgresql
orders=${ORDERS:-4000}

say "a PostgreSQL of its own, without any other connection than a socket in its folder"
make_postgresql
"${as_postgres[@]}" "$postgresql/postgres" --version
store="url = \"$postgresql_url\"
checkpoint_seconds = 2"
export VENDKEY_SERVER__NAME=${names[0]} VENDKEY_STORE__CHECKPOINT_FILE=$home/${names[0]}.checkpoint
set_up 127.0.0.1:0

# Each server has a name, an address and a checkpoint file of its own; everything else is in the settings that all share.
run_server() { # run_server NAME
    local name=$1
    export VENDKEY_SERVER__NAME=$name VENDKEY_STORE__CHECKPOINT_FILE=$home/$name.checkpoint
    # The address that it had: clients know it.
    export VENDKEY_SERVER__LISTEN=127.0.0.1:${endpoints[$name]##*:}
    printf '%s: ' "$name"
    log=$name.$((++starts)).log
    start
    pids[$name]=$server
    endpoints[$name]=$endpoint
}
starts=0

say "three servers on it, which share the token"
for name in "${names[@]}"; do
    endpoints[$name]=:0
    run_server "$name"
    story[$name]="ran throughout"
done
client_environment
all=$(IFS=, && echo "${endpoints[*]}")

say "a configuration through one of them; all have it"
prepare_uploads demo
VENDKEY_ENDPOINT=${endpoints[alpha]} upload demo_config 04 abababababababab949494949494949401234567 >/dev/null
configuration=$(VENDKEY_ENDPOINT=${endpoints[bravo]} vendkey configuration list --json |
    sed -n 's/.*"name": "\(configurations[^"]*\)".*/\1/p')
VENDKEY_ENDPOINT=${endpoints[charlie]} vendkey client create till --preset till --out "$home/till" >/dev/null
echo "$configuration, uploaded to alpha, listed by bravo; a till, made at charlie"

say "three files of $orders orders each, for the same 250 meters"
for number in 1 2 3; do
    awk -v configuration="$configuration" -v orders="$orders" -v seed="$number" '
        # The last digit of a meter number, by Luhn.
        function check(digits,    sum, place, digit) {
            for (place = length(digits); place > 0; place--) {
                digit = substr(digits, place, 1)
                if ((length(digits) - place) % 2 == 0) { digit *= 2; if (digit > 9) digit -= 9 }
                sum += digit
            }
            return (10 - sum % 10) % 10
        }
        BEGIN {
            print "configuration,meter,kind,amount"
            for (line = 1; line <= orders; line++) {
                meter = sprintf("4700%06d", (line * 7 + seed * 83) % 250)
                printf "%s,%s%d,electricity,%d.%d\n", configuration, meter, check(meter), line % 90 + 1, line % 10
            }
        }' >"$home/orders-$number.csv"
done
asked=$((orders * 3))
head -n 3 "$home/orders-1.csv"

say "three batches at once, each begins at another server and knows all of them"
for number in 1 2 3; do
    # The one that it begins with is the first of the list.
    VENDKEY_ENDPOINT=${endpoints[${names[number - 1]}]},$all VENDKEY_CREDENTIAL_FILE=$home/till \
        "$vendkey" token batch "$home/orders-$number.csv" "$home/tokens-$number.csv" \
        >"$home/batch-$number.out" 2>"$home/batch-$number.err" &
    batches+=("$!")
done

answered() { cat "$home"/tokens-?.csv 2>/dev/null | grep -c '^configurations' || true; }
# Waits until so many percent of the tokens are answered; a batch that ends before its time is seen later.
until_answered() { # until_answered PERCENT
    while [ "$(answered)" -lt $((asked * $1 / 100)) ]; do
        kill -0 "${batches[@]}" 2>/dev/null || break
        sleep 0.1
    done
    printf '%6d of %d tokens: ' "$(answered)" "$asked"
}

until_answered 10
echo "alpha is killed (kill -9)"
kill -9 "${pids[alpha]}"
wait "${pids[alpha]}" 2>/dev/null || true
story[alpha]="killed, started again"
until_answered 25
echo "the database ends without warning (immediate) and starts again"
end_postgresql
start_postgresql
until_answered 45
echo "bravo is told to stop (SIGTERM) and ends in order"
kill "${pids[bravo]}"
wait "${pids[bravo]}" || fail "bravo did not end in order"
story[bravo]="restarted in order"
until_answered 50
run_server bravo
until_answered 65
run_server alpha
until_answered 80
echo "the database once more"
end_postgresql
start_postgresql
for number in 1 2 3; do
    wait "${batches[number - 1]}" || fail "batch $number ended with $?"
done
batches=()
printf '%6d of %d tokens: all three batches have ended\n' "$(answered)" "$asked"
cat "$home"/batch-?.out
echo "what they said meanwhile:"
sed 's/^/  /' "$home"/batch-?.err | cut -c 1-150 | sort | uniq -c | sort -rn | head -n 12

say "the history: what was asked for, what was answered, and what the ledger has"
cd "$home"
# At bravo, which has started anew.
export VENDKEY_ENDPOINT=${endpoints[bravo]}
column() { # column FILE NAME: the values of a column
    awk -F, -v name="$2" 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == name) place = i; next } { print $place }' "$1"
}
for number in 1 2 3; do column "tokens-$number.csv" name; done | sort >answered
for number in 1 2 3; do column "tokens-$number.csv" token; done | grep -c '^[0-9]\{20\}$' >digits || true
show vendkey ledger export --out ledger.csv
column ledger.csv name | sort >recorded
lost=$(comm -23 answered recorded | wc -l)
unasked=$(comm -13 answered recorded | wc -l)
twice=$(uniq -d answered | wc -l)
paste -d, <(column ledger.csv meter_pan) <(column ledger.csv tid) | sort >identifiers
same=$(uniq -d identifiers | wc -l)
# The last records are signed within some seconds, by whichever server makes the checkpoints now.
signed() { awk '/^chain / { sum += $3 } END { print sum + 0 }' checkpoint.txt; }
export=(vendkey audit export chain.jsonl --checkpoint checkpoint.txt --audit-key audit.pem)
for ((try = 1; try <= 60; try++)); do
    if "${export[@]}" >exported 2>"$home/export.err" && [ "$(signed)" -ge "$(wc -l <chain.jsonl)" ]; then break; fi
    sleep 1
done
[ -s exported ] || fail "$(cat "$home/export.err")"
printf '$ %s\n' "${export[*]}"
cat exported
show vendkey audit verify chain.jsonl --checkpoint checkpoint.txt --audit-key audit.pem || fail "the chains do not verify"

say "the servers"
vendkey server list
# The number of a server is in the upper bits of its tokens' names.
of_server() { awk -F/ -v number="$1" 'int($2 / 2 ^ 44) == number' recorded | wc -l; }
printf '\n%-10s %-24s %s\n' server "what happened to it" "tokens that it recorded"
for number in 0 1 2; do
    printf '%-10s %-24s %6d\n' "${names[number]}" "${story[${names[number]}]}" "$(of_server "$number")"
done
row() { printf '%-52s %6d\n' "$1" "$2"; }
printf '\n'
row "orders in the files" "$asked"
row "answered with 20 digits" "$(cat digits)"
row "rows in the ledger" "$(wc -l <recorded)"
row "answered, and not in the ledger" "$lost"
row "in the ledger, and not answered" "$unasked"
row "rows that two orders were answered with" "$twice"
row "identifiers (TID) that a meter has twice" "$same"
row "chains that verify up to a checkpoint" "$(grep -c '^chain ' checkpoint.txt)"
[ "$(cat digits) $(wc -l <recorded) $lost $unasked $twice $same" = "$asked $asked 0 0 0 0" ] ||
    fail "the history is not as it must be"
echo
echo "Every order was issued once. Nothing is left of the servers, the database and the token."
