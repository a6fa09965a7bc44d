//! The table of failed looks into foreign tokens.

use std::collections::BTreeMap;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _};

use super::chain::Writing;
use super::meters::pan;
use crate::store::Actor;
use crate::store::StoreError;
use crate::store::{
    Attempt, Attempted, FAILURES_PER_CLIENT_AND_DAY, FAILURES_PER_METER_AND_HOUR, NewAttempt,
};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// Counts an attempt as failed, if a limit leaves room for one.
pub(super) fn attempt(connection: &Writing, new: &NewAttempt) -> Result<Attempted, StoreError> {
    let client: i64 = connection
        .prepare_cached("SELECT number FROM clients WHERE id = ?1")?
        .query_row([new.client.to_bytes()], |row| row.get(0))?;
    let pan = pan(new.meter)?;
    connection
        .prepare_cached("DELETE FROM verification_failures WHERE at_ms <= ?1")?
        .execute([new.now_ms - DAY_MS])?;
    // The failure whose end makes room: the oldest of as many as a limit allows.
    let of_meter = connection
        .prepare_cached(
            "SELECT at_ms FROM verification_failures WHERE pan = ?1 AND at_ms > ?2
             ORDER BY at_ms DESC LIMIT 1 OFFSET ?3",
        )?
        .query_row((pan, new.now_ms - HOUR_MS, FAILURES_PER_METER_AND_HOUR - 1), |row| row.get::<_, i64>(0))
        .optional()?
        .map(|at| at + HOUR_MS);
    let of_client = connection
        .prepare_cached(
            "SELECT at_ms FROM verification_failures WHERE client = ?1 AND at_ms > ?2
             ORDER BY at_ms DESC LIMIT 1 OFFSET ?3",
        )?
        .query_row((client, new.now_ms - DAY_MS, FAILURES_PER_CLIENT_AND_DAY - 1), |row| row.get::<_, i64>(0))
        .optional()?
        .map(|at| at + DAY_MS);
    if let Some(end) = of_meter.max(of_client) {
        let wait = u64::try_from(end - new.now_ms).unwrap_or_default();
        return Ok(Attempted::Limited { retry_after: Duration::from_millis(wait) });
    }
    connection
        .prepare_cached("INSERT INTO verification_failures (client, pan, at_ms) VALUES (?1, ?2, ?3)")?
        .execute((client, pan, new.now_ms))?;
    let attempt = Attempt(connection.last_insert_rowid());
    // Of the look, not of its outcome: it is on record before anything is told. The meter is not, as in every record.
    let details = BTreeMap::from([("client", new.client.to_string())]);
    connection.append_act("verification.attempted", &Actor::Local, new.now_ms, &details)?;
    Ok(Attempted::Granted(attempt))
}

/// Takes an attempt back that succeeded.
pub(super) fn succeeded(connection: &Connection, Attempt(number): Attempt) -> Result<(), StoreError> {
    connection.prepare_cached("DELETE FROM verification_failures WHERE number = ?1")?.execute([number])?;
    Ok(())
}
