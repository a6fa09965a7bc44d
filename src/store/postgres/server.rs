//! The table of servers: which number a name has, whose process has it now, and when it last lived.

use std::thread;
use std::time::{Duration, Instant};

use tokio_postgres::Row;

use super::chain::{COLUMNS, end};
use super::column::{bytes, bytes_or_null, coded, coded_or_null, foreign, get};
use super::connection::Connection;
use super::locks;
use crate::audit::ChainNumber;
use crate::clock::{BootId, Moment, SignOfLife, Uptime};
use crate::store::{Job, OpenError, Server, ServerState, StoreError};

/// How long a process that has just ended may still seem to be there.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(100);

/// The clock of the database, in milliseconds since 1970.
const NOW_MS: &str = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint";

/// That a process has the name of its server: a lock of its connection that writes, and a random
/// number in the server's row, by which each transaction finds out a process that took the name
/// since.
#[derive(Debug)]
pub(super) struct Claim {
    server: ChainNumber,
    random: [u8; 16],
}

impl Claim {
    /// Takes a name, making the server known if it is not.
    ///
    /// # Errors
    /// [`OpenError::NameInUse`] while another process has it.
    pub(super) fn take(connection: &mut Connection, name: &str) -> Result<Self, OpenError> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(OpenError::Randomness)?;
        let server = number(connection, name, &random)?;
        let claim = Self { server, random };
        let since = Instant::now();
        while !claim.lock(connection)? {
            if since.elapsed() >= PATIENCE {
                let free = try_lock(connection, "pg_try_advisory_lock_shared", locks::DATABASE)?;
                return Err(if free {
                    OpenError::NameInUse { name: name.to_owned() }
                } else {
                    OpenError::Maintenance
                });
            }
            thread::sleep(LOOK);
        }
        connection.execute(
            "UPDATE servers SET claim = $1 WHERE number = $2",
            &[&claim.random.as_slice(), &claim.key()],
        )?;
        Ok(claim)
    }

    /// The number of the server.
    pub(super) fn server(&self) -> ChainNumber {
        self.server
    }

    fn key(&self) -> i64 {
        self.server.value().into()
    }

    fn lock(&self, connection: &mut Connection) -> Result<bool, StoreError> {
        Ok(try_lock(connection, "pg_try_advisory_lock_shared", locks::DATABASE)?
            && try_lock(connection, "pg_try_advisory_lock", locks::server(self.key()))?)
    }

    /// Takes the lock again with a connection that was made anew. What is left of the one that was
    /// lost, which the database may not have noticed, is ended.
    pub(super) fn take_again(&self, connection: &mut Connection) -> Result<(), StoreError> {
        let since = Instant::now();
        while !self.lock(connection)? {
            let found =
                connection.query_opt("SELECT claim FROM servers WHERE number = $1", &[&self.key()])?;
            self.check(found.as_ref(), 0)?;
            if since.elapsed() >= PATIENCE {
                let reason = "the database still keeps the connection of this server that was lost".into();
                return Err(StoreError::Unavailable { reason, outcome: crate::store::Outcome::NotDone });
            }
            let key = locks::server(self.key());
            connection.query(
                "SELECT pg_terminate_backend(pid) FROM pg_locks
                 WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND pid <> pg_backend_pid()
                 AND classid::bigint = $1 AND objid::bigint = $2
                 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
                &[&(key >> 32), &(key & 0xFFFF_FFFF)],
            )?;
            thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Refuses once another process has taken the name, by the claim in a row.
    pub(super) fn check(&self, row: Option<&Row>, column: usize) -> Result<(), StoreError> {
        let gone = || StoreError::TakenOver {
            reason: "another process has started with the name of this server (server.name) since; \
                     end one of the two and start this one again"
                .into(),
        };
        let found: [u8; 16] = bytes(row.ok_or_else(gone)?, column, "servers.claim")?;
        if found == self.random { Ok(()) } else { Err(gone()) }
    }
}

fn try_lock(connection: &mut Connection, function: &'static str, lock: i64) -> Result<bool, StoreError> {
    let found = connection.query_opt(&format!("SELECT {function}($1)"), &[&lock])?;
    found.map_or(Ok(false), |row| get(&row, 0, function))
}

/// Takes the database alone, with the locks of all servers: one of an older version knows no other.
/// The connection is not made again from here on, since what it has locked would be lost.
///
/// # Errors
/// [`OpenError::ServerRuns`] for one that runs.
pub(super) fn lock_all(connection: &mut Connection) -> Result<(), OpenError> {
    connection.keep();
    let since = Instant::now();
    loop {
        let Some(refusal) = try_lock_all(connection)? else { return Ok(()) };
        if since.elapsed() >= PATIENCE {
            return Err(refusal);
        }
        thread::sleep(LOOK);
    }
}

/// Tries to take them, and answers who is in the way.
fn try_lock_all(connection: &mut Connection) -> Result<Option<OpenError>, StoreError> {
    for row in connection.query("SELECT number, name FROM servers ORDER BY number", &[])? {
        let number: i64 = get(&row, 0, "servers.number")?;
        if !try_lock(connection, "pg_try_advisory_lock", locks::server(number))? {
            return Ok(Some(OpenError::ServerRuns { name: get(&row, 1, "servers.name")? }));
        }
    }
    // A server that starts meanwhile, with a new name.
    let free = try_lock(connection, "pg_try_advisory_lock", locks::DATABASE)?;
    Ok(if free { None } else { Some(OpenError::Maintenance) })
}

/// The name of the first server, if there is one.
pub(super) fn first_name(connection: &mut Connection) -> Result<Option<String>, StoreError> {
    let found = connection.query_opt("SELECT name FROM servers WHERE number = 0", &[])?;
    found.map(|row| get(&row, 0, "servers.name")).transpose()
}

/// The number of a server's name, which gets the next one if it has none.
fn number(connection: &mut Connection, name: &str, random: &[u8; 16]) -> Result<ChainNumber, OpenError> {
    let known = |connection: &mut Connection| -> Result<Option<ChainNumber>, StoreError> {
        let row = connection.query_opt("SELECT number FROM servers WHERE name = $1", &[&name])?;
        let number = row.map(|row| coded::<i64, u32>(&row, 0, "servers.number")).transpose()?;
        number.map(|number| ChainNumber::new(number).ok_or_else(|| foreign("servers.number"))).transpose()
    };
    if let Some(number) = known(connection)? {
        return Ok(number);
    }
    connection.batch("BEGIN")?;
    connection.hold();
    let made = (|| {
        connection.execute("SELECT pg_advisory_xact_lock($1)", &[&locks::MIGRATION])?;
        connection.execute(
            "INSERT INTO servers (number, name, claim)
             SELECT coalesce(max(number) + 1, 0), $1, $2 FROM servers
             ON CONFLICT (name) DO NOTHING",
            &[&name, &random.as_slice()],
        )?;
        connection.batch("COMMIT")
    })();
    if made.is_err() {
        // The first failure tells more.
        let _ = connection.batch("ROLLBACK");
    }
    connection.release();
    made?;
    Ok(known(connection)?.ok_or_else(|| foreign("servers.number"))?)
}

/// Writes a sign of life.
pub(super) fn put_sign(
    connection: &mut Connection,
    server: ChainNumber,
    sign: &SignOfLife,
) -> Result<(), StoreError> {
    let Moment { wall_ms, uptime } = sign.moment;
    let boot = uptime.map(|uptime| uptime.boot.0);
    let passed = uptime.map(|uptime| i64::try_from(uptime.passed.as_millis()).unwrap_or(i64::MAX));
    let sql = format!(
        "UPDATE servers SET last_life_ms = {NOW_MS}, at_ms = $1, boot_id = $2, uptime_ms = $3, in_doubt = $4
         WHERE number = $5"
    );
    let boot = boot.as_ref().map(|id| id.as_slice());
    connection
        .execute(&sql, &[&wall_ms, &boot, &passed, &sign.in_doubt, &i64::from(server.value())])
        .map(drop)
}

/// The last sign of life.
pub(super) fn sign(
    connection: &mut Connection,
    server: ChainNumber,
) -> Result<Option<SignOfLife>, StoreError> {
    let found = connection.query_opt(
        "SELECT at_ms, boot_id, uptime_ms, in_doubt FROM servers WHERE number = $1 AND at_ms IS NOT NULL",
        &[&i64::from(server.value())],
    )?;
    let read = |row: &Row| {
        let boot = bytes_or_null(row, 1, "servers.boot_id")?.map(BootId);
        let passed = coded_or_null::<i64, u64>(row, 2, "servers.uptime_ms")?.map(Duration::from_millis);
        let uptime = boot.zip(passed).map(|(boot, passed)| Uptime { boot, passed });
        let moment = Moment { wall_ms: get(row, 0, "servers.at_ms")?, uptime };
        Ok(SignOfLife { moment, in_doubt: get(row, 3, "servers.in_doubt")? })
    };
    found.as_ref().map(read).transpose()
}

/// Writes what a server says of itself.
pub(super) fn put_state(
    connection: &mut Connection,
    server: ChainNumber,
    state: &ServerState,
) -> Result<(), StoreError> {
    let sql = "UPDATE servers SET version = $1, hsm_token = $2 WHERE number = $3";
    connection.execute(sql, &[&state.version, &state.hsm_token, &i64::from(server.value())]).map(drop)
}

/// All servers, in the order of their numbers.
pub(super) fn all(connection: &mut Connection) -> Result<Vec<Server>, StoreError> {
    let sql = format!(
        "SELECT s.name, s.version, s.hsm_token, s.last_life_ms, {COLUMNS}
         FROM servers s JOIN chains c ON c.number = s.number ORDER BY s.number"
    );
    let read = |row: &Row| {
        let end = end(row, 4)?;
        let version: Option<String> = get(row, 1, "servers.version")?;
        let state = version.zip(get(row, 2, "servers.hsm_token")?);
        Ok(Server {
            number: end.number,
            name: get(row, 0, "servers.name")?,
            state: state.map(|(version, hsm_token)| ServerState { version, hsm_token }),
            last_life_ms: get(row, 3, "servers.last_life_ms")?,
            head: end.head,
        })
    };
    connection.query(&sql, &[])?.iter().map(read).collect()
}

/// The clock of the database.
pub(super) fn now_ms(connection: &mut Connection) -> Result<Option<i64>, StoreError> {
    let found = connection.query_opt(&format!("SELECT {NOW_MS}"), &[])?;
    found.map(|row| get(&row, 0, "clock_timestamp")).transpose()
}

/// Takes or prolongs a lease; false while another server has it.
pub(super) fn take_lease(
    connection: &mut Connection,
    server: ChainNumber,
    job: Job,
    for_ms: i64,
) -> Result<bool, StoreError> {
    let sql = format!(
        "INSERT INTO leases (job, holder, until_ms) VALUES ($1, $2, {NOW_MS} + $3)
         ON CONFLICT (job) DO UPDATE SET holder = excluded.holder, until_ms = excluded.until_ms
         WHERE leases.holder = excluded.holder OR leases.until_ms <= {NOW_MS}"
    );
    let taken = connection.execute(&sql, &[&job.name(), &i64::from(server.value()), &for_ms])?;
    Ok(taken == 1)
}
