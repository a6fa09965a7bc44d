//! The table of checkpoints, and what a start must know of the past.

use rusqlite::{Connection, OptionalExtension as _};

use super::heartbeat;
use crate::store::{Past, StoreError};

/// How many checkpoints are kept: a day of one every ten seconds. Older ones belong where the database's writers cannot reach.
const KEPT: i64 = 8_640;

/// Keeps a checkpoint. The same number again is a defect of the caller.
pub(super) fn keep(connection: &Connection, number: u64, text: &str) -> Result<(), StoreError> {
    let number: i64 =
        number.try_into().map_err(|_| StoreError::Defect { reason: "too many checkpoints".into() })?;
    connection
        .prepare_cached("INSERT INTO checkpoints (number, text) VALUES (?1, ?2)")?
        .execute((number, text))?;
    connection.prepare_cached("DELETE FROM checkpoints WHERE number <= ?1")?.execute([number - KEPT])?;
    Ok(())
}

pub(super) fn past(connection: &Connection) -> Result<Past, StoreError> {
    let checkpoint = connection
        .prepare_cached("SELECT text FROM checkpoints ORDER BY number DESC LIMIT 1")?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok(Past { sign_of_life: heartbeat::last(connection)?, checkpoint })
}
