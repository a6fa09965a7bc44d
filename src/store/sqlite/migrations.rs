//! The schema's versions. A database is brought up to the program's; one of a newer program is
//! refused.

use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};
use sha2::{Digest as _, Sha256};

use super::OpenError;

/// "VKEY" in the file's header: not every SQLite file is ours.
pub(super) const APPLICATION_ID: i32 = 0x564B_4559;

/// One step. Steps that were released are never edited: databases keep their checksums.
struct Migration {
    version: u32,
    name: &'static str,
    sql: &'static str,
}

const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, name: "foundation", sql: include_str!("migrations/0001_foundation.sql") },
    Migration {
        version: 2,
        name: "key changes and verifications",
        sql: include_str!("migrations/0002_key_changes_and_verifications.sql"),
    },
    Migration { version: 3, name: "seals", sql: include_str!("migrations/0003_seals.sql") },
    Migration { version: 4, name: "rights", sql: include_str!("migrations/0004_rights.sql") },
    Migration { version: 5, name: "approvals", sql: include_str!("migrations/0005_approvals.sql") },
    Migration { version: 6, name: "usage", sql: include_str!("migrations/0006_usage.sql") },
    Migration { version: 7, name: "destruction", sql: include_str!("migrations/0007_destruction.sql") },
    Migration { version: 8, name: "meters", sql: include_str!("migrations/0008_meters.sql") },
    Migration { version: 9, name: "claim", sql: include_str!("migrations/0009_claim.sql") },
    Migration { version: 10, name: "sign of life", sql: include_str!("migrations/0010_sign_of_life.sql") },
    Migration { version: 11, name: "tokens", sql: include_str!("migrations/0011_tokens.sql") },
    Migration {
        version: 12,
        name: "acts of approvals",
        sql: include_str!("migrations/0012_acts_of_approvals.sql"),
    },
    Migration { version: 13, name: "servers", sql: include_str!("migrations/0013_servers.sql") },
    Migration { version: 14, name: "migration", sql: include_str!("migrations/0014_migration.sql") },
    Migration { version: 15, name: "reports", sql: include_str!("migrations/0015_reports.sql") },
    Migration { version: 16, name: "nonces", sql: include_str!("migrations/0016_nonces.sql") },
    Migration { version: 17, name: "other keys", sql: include_str!("migrations/0017_other_keys.sql") },
    Migration { version: 18, name: "ledger walk", sql: include_str!("migrations/0018_ledger_walk.sql") },
];

/// Applies what is missing, each step in a transaction of its own.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), OpenError> {
    apply(connection, MIGRATIONS)
}

/// Whether nothing is missing. Changes nothing; refuses what [`migrate`] refuses.
pub(super) fn are_all_there(connection: &Connection) -> Result<bool, OpenError> {
    let tables: i64 = connection.query_row(
        "SELECT count(*) FROM sqlite_schema WHERE name = 'schema_migrations'",
        [],
        |row| row.get(0),
    )?;
    Ok(tables > 0 && missing(connection, MIGRATIONS)?.is_empty())
}

/// The steps that the database has not made. Refuses one that another program has made, and other
/// steps of the same number.
fn missing<'a>(
    connection: &Connection,
    migrations: &'a [Migration],
) -> Result<Vec<&'a Migration>, OpenError> {
    let known = migrations.last().map_or(0, |migration| migration.version);
    let found: u32 =
        connection
            .query_row("SELECT coalesce(max(version), 0) FROM schema_migrations", [], |row| row.get(0))?;
    if found > known {
        return Err(OpenError::NewerSchema { found, known });
    }
    let mut missing = Vec::new();
    for migration in migrations {
        let applied: Option<[u8; 32]> = connection
            .query_row(
                "SELECT checksum FROM schema_migrations WHERE version = ?1",
                [migration.version],
                |row| row.get(0),
            )
            .optional()?;
        match applied {
            Some(found) if found == checksum(migration) => {}
            Some(_) => return Err(OpenError::AlteredSchema { version: migration.version }),
            None => missing.push(migration),
        }
    }
    Ok(missing)
}

fn checksum(migration: &Migration) -> [u8; 32] {
    Sha256::digest(migration.sql.as_bytes()).into()
}

fn apply(connection: &mut Connection, migrations: &[Migration]) -> Result<(), OpenError> {
    recognise(connection)?;
    for migration in missing(connection, migrations)? {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(migration.sql)?;
        transaction.execute(
            "INSERT INTO schema_migrations (version, name, checksum) VALUES (?1, ?2, ?3)",
            params![migration.version, migration.name, checksum(migration)],
        )?;
        transaction.commit()?;
        tracing::info!(
            version = migration.version,
            name = migration.name,
            "the database schema was brought up"
        );
    }
    Ok(())
}

/// Marks an empty database as ours; refuses one that is somebody else's.
fn recognise(connection: &mut Connection) -> Result<(), OpenError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let id: i32 = transaction.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    if id != APPLICATION_ID {
        let tables: i64 =
            transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        if id != 0 || tables != 0 {
            return Err(OpenError::NotOurs);
        }
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    }
    transaction.execute_batch(
        "CREATE TABLE IF NOT EXISTS schema_migrations (
             version    INTEGER PRIMARY KEY,
             name       TEXT NOT NULL,
             checksum   BLOB NOT NULL CHECK (length(checksum) = 32),
             applied_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
         ) STRICT",
    )?;
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory() -> Connection {
        Connection::open_in_memory().unwrap()
    }

    #[test]
    fn applying_twice_changes_nothing() {
        let mut connection = memory();
        migrate(&mut connection).unwrap();
        migrate(&mut connection).unwrap();
        let count: i64 =
            connection.query_row("SELECT count(*) FROM schema_migrations", [], |row| row.get(0)).unwrap();
        assert_eq!(count, MIGRATIONS.len() as i64);
    }

    #[test]
    fn versions_are_consecutive() {
        for (index, migration) in MIGRATIONS.iter().enumerate() {
            assert_eq!(migration.version as usize, index + 1);
        }
    }

    #[test]
    fn a_newer_database_is_refused() {
        let mut connection = memory();
        migrate(&mut connection).unwrap();
        connection
            .execute(
                "INSERT INTO schema_migrations (version, name, checksum) VALUES (999, 'x', zeroblob(32))",
                [],
            )
            .unwrap();
        assert!(matches!(migrate(&mut connection), Err(OpenError::NewerSchema { found: 999, .. })));
    }

    #[test]
    fn an_altered_step_is_refused() {
        let mut connection = memory();
        migrate(&mut connection).unwrap();
        connection
            .execute("UPDATE schema_migrations SET checksum = zeroblob(32) WHERE version = 1", [])
            .unwrap();
        assert!(matches!(migrate(&mut connection), Err(OpenError::AlteredSchema { version: 1 })));
    }

    #[test]
    fn somebody_elses_database_is_refused_and_left_alone() {
        let mut connection = memory();
        connection.execute_batch("CREATE TABLE theirs (x)").unwrap();
        assert!(matches!(migrate(&mut connection), Err(OpenError::NotOurs)));
        let tables: i64 =
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).unwrap();
        assert_eq!(tables, 1);
    }

    #[test]
    fn a_step_that_fails_leaves_nothing() {
        let mut connection = memory();
        let bad =
            [Migration { version: 1, name: "bad", sql: "CREATE TABLE half (x); CREATE TABLE half (x);" }];
        assert!(matches!(apply(&mut connection, &bad), Err(OpenError::Database { .. })));
        let tables: i64 = connection
            .query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'half'", [], |row| row.get(0))
            .unwrap();
        assert_eq!(tables, 0);
        migrate(&mut connection).unwrap();
    }
}
