//! The schema's versions. A database is brought up to the program's; one of a newer program is
//! refused. Several servers may start at once: one does it, the others wait.

use sha2::{Digest as _, Sha256};

use super::column::{bytes, get};
use super::connection::Connection;
use super::locks;
use crate::store::{OpenError, StoreError};

/// One step. Steps that were released are never edited: databases keep their checksums.
struct Migration {
    version: i64,
    name: &'static str,
    sql: &'static str,
}

const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, name: "foundation", sql: include_str!("migrations/0001_foundation.sql") },
    Migration { version: 2, name: "migration", sql: include_str!("migrations/0002_migration.sql") },
    Migration { version: 3, name: "reports", sql: include_str!("migrations/0003_reports.sql") },
    Migration { version: 4, name: "nonces", sql: include_str!("migrations/0004_nonces.sql") },
    Migration { version: 5, name: "other keys", sql: include_str!("migrations/0005_other_keys.sql") },
    Migration { version: 6, name: "ledger walk", sql: include_str!("migrations/0006_ledger_walk.sql") },
];

/// How many there are.
#[cfg(test)]
pub(super) fn known() -> i64 {
    MIGRATIONS.last().map_or(0, |migration| migration.version)
}

/// Brings the schema up, where it is behind, in one transaction.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), OpenError> {
    if missing(connection, MIGRATIONS)?.is_empty() {
        return Ok(());
    }
    connection.connect().map_err(StoreError::from)?;
    connection.hold();
    let done = apply(connection);
    if done.is_err() {
        // The first failure tells more.
        let _ = connection.batch("ROLLBACK");
    }
    connection.release();
    done
}

fn apply(connection: &mut Connection) -> Result<(), OpenError> {
    connection.batch("BEGIN")?;
    connection.execute("SELECT pg_advisory_xact_lock($1)", &[&locks::MIGRATION])?;
    // Another server may have done it meanwhile.
    let missing = missing(connection, MIGRATIONS)?;
    if !missing.is_empty() {
        let may = "SELECT CASE WHEN to_regnamespace('vendkey') IS NULL
                          THEN has_database_privilege(current_database(), 'CREATE')
                          ELSE has_schema_privilege('vendkey', 'CREATE') END";
        let may = connection.query_opt(may, &[])?;
        if !may.map_or(Ok(false), |row| get(&row, 0, "a privilege"))? {
            return Err(OpenError::NoSchema);
        }
        connection.batch(
            "CREATE SCHEMA IF NOT EXISTS vendkey;
             CREATE TABLE IF NOT EXISTS vendkey.schema_migrations (
                 version    bigint PRIMARY KEY,
                 name       text NOT NULL,
                 checksum   bytea NOT NULL CHECK (octet_length(checksum) = 32),
                 applied_at timestamptz NOT NULL DEFAULT now()
             )",
        )?;
    }
    for migration in missing {
        connection.batch(migration.sql)?;
        let checksum = checksum(migration);
        connection.execute(
            "INSERT INTO schema_migrations (version, name, checksum) VALUES ($1, $2, $3)",
            &[&migration.version, &migration.name, &checksum.as_slice()],
        )?;
        let (version, name) = (migration.version, migration.name);
        tracing::info!(version, name, "the database schema was brought up");
    }
    Ok(connection.batch("COMMIT")?)
}

fn checksum(migration: &Migration) -> [u8; 32] {
    Sha256::digest(migration.sql.as_bytes()).into()
}

/// Looks at the schema without changing it, and answers whether it is there as this program has it.
pub(super) fn examine(connection: &mut Connection) -> Result<bool, OpenError> {
    Ok(missing(connection, MIGRATIONS)?.is_empty())
}

/// The steps that the database has not made. Refuses one that another program has made, and other
/// steps of the same number.
fn missing<'a>(
    connection: &mut Connection,
    migrations: &'a [Migration],
) -> Result<Vec<&'a Migration>, OpenError> {
    let look = "SELECT to_regclass('vendkey.schema_migrations') IS NOT NULL,
                       (SELECT count(*) FROM pg_catalog.pg_class c
                        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'vendkey')";
    let found = connection.query_opt(look, &[])?;
    let Some(found) = found else { return Ok(migrations.iter().collect()) };
    let (ours, others): (bool, i64) = (get(&found, 0, "pg_class")?, get(&found, 1, "pg_class")?);
    if !ours {
        return if others == 0 { Ok(migrations.iter().collect()) } else { Err(OpenError::NotOurs) };
    }
    let applied = connection
        .query("SELECT version, checksum FROM vendkey.schema_migrations ORDER BY version", &[])?
        .iter()
        .map(|row| {
            Ok((
                get::<i64>(row, 0, "schema_migrations.version")?,
                bytes(row, 1, "schema_migrations.checksum")?,
            ))
        })
        .collect::<Result<Vec<(i64, [u8; 32])>, StoreError>>()?;
    let number = |version: i64| u32::try_from(version).unwrap_or(u32::MAX);
    let known = migrations.last().map_or(0, |migration| migration.version);
    let found = applied.last().map_or(0, |(version, _)| *version);
    if found > known {
        return Err(OpenError::NewerSchema { found: number(found), known: number(known) });
    }
    let mut missing = Vec::new();
    for migration in migrations {
        match applied.iter().find(|(version, _)| *version == migration.version) {
            Some((_, found)) if *found == checksum(migration) => {}
            Some(_) => return Err(OpenError::AlteredSchema { version: number(migration.version) }),
            None => missing.push(migration),
        }
    }
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_consecutive() {
        for (index, migration) in MIGRATIONS.iter().enumerate() {
            assert_eq!(migration.version, index as i64 + 1);
        }
    }
}
