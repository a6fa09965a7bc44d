# shellcheck shell=bash
# Functions for a PostgreSQL of our own: in a folder of its own, on a Unix socket there. PostgreSQL refuses root, so it runs
# as the user postgres then, and otherwise as whoever runs this. It ends with this script, whatever ends that.
postgresql=/usr/lib/postgresql/15/bin
postgresql_folder=
postgresql_pid=
as_postgres=(env -i -C / PATH=/usr/bin:/bin LC_ALL=C setpriv --pdeathsig INT)
[ "$(id -u)" -ne 0 ] || as_postgres+=(--reuid postgres --regid postgres --init-groups)

# Makes a cluster with an empty database vendkey and starts it; sets $postgresql_url.
make_postgresql() {
    # A short path: that of a socket may have 107 bytes.
    postgresql_folder=$(mktemp -d /tmp/vendkey-postgresql.XXXXXX)
    [ "$(id -u)" -ne 0 ] || chown postgres:postgres "$postgresql_folder"
    "${as_postgres[@]}" "$postgresql/initdb" --username vendkey --auth trust --encoding UTF8 --locale C --no-instructions \
        --pgdata "$postgresql_folder/data" >/dev/null
    start_postgresql
    "${as_postgres[@]}" "$postgresql/createdb" -h "$postgresql_folder" -U vendkey vendkey
    # Whoever sources this reads it.
    # shellcheck disable=SC2034
    postgresql_url="postgresql://vendkey@/vendkey?host=$postgresql_folder"
}

# Starts it and waits until it answers.
start_postgresql() {
    "${as_postgres[@]}" "$postgresql/postgres" -D "$postgresql_folder/data" -k "$postgresql_folder" -c listen_addresses= \
        >>"$postgresql_folder/log" 2>&1 &
    postgresql_pid=$!
    until "${as_postgres[@]}" "$postgresql/pg_isready" -q -h "$postgresql_folder"; do
        if ! kill -0 "$postgresql_pid" 2>/dev/null; then
            echo "PostgreSQL did not start:" >&2
            cat "$postgresql_folder/log" >&2
            exit 1
        fi
        sleep 0.1
    done
}

# Ends it as pg_ctl's mode "immediate" does: without a checkpoint, as in a crash.
end_postgresql() {
    [ -z "$postgresql_pid" ] || { kill -QUIT "$postgresql_pid" && wait "$postgresql_pid"; } 2>/dev/null || true
    postgresql_pid=
}

# Ends it and takes its folder along.
remove_postgresql() {
    end_postgresql
    [ -z "$postgresql_folder" ] || rm -rf "$postgresql_folder"
    postgresql_folder=
}
