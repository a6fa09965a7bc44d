#!/usr/bin/env bash
# A server on SoftHSM that goes on: everything lies in .run, which survives restarts.
set -euo pipefail
cd "$(dirname "$0")/.."
home=$PWD/.run
. scripts/local-server.sh

build release
set_up "${VENDKEY_LISTEN:-127.0.0.1:7443}"
say "starting the server"
start
trap stop EXIT
trap 'exit 0' INT TERM
client_environment
[ -e "$home/till" ] || vendkey client create till --preset till --allow manage,change_keys --out "$home/till"
cat >"$home/env" <<ENV
export VENDKEY_ENDPOINT='$VENDKEY_ENDPOINT'
export VENDKEY_CREDENTIAL_FILE='$VENDKEY_CREDENTIAL_FILE'
export VENDKEY_CA='$VENDKEY_CA'
export PATH='$bin':"\$PATH"
ENV
cat <<HELP

The console: $VENDKEY_ENDPOINT/console/
Sign in with the file $VENDKEY_CREDENTIAL_FILE (an administrator) or $home/till.

In a second terminal:

  . $home/env
  vendkey server-key
  vendkey configuration list
  vendkey token issue --credential-file $home/till --help

The credential in use is the administrator's, who does not vend; $home/till is that of a till.
The log is $home/server.log. Ctrl-C stops the server; 'make run' goes on with the same token and database.
HELP
wait "$server"
