//! The table of what clients were given, by day and kind, and that of failed looks into foreign
//! tokens.

use rusqlite::{Connection, Row};

use super::column::{coded, parsed};
use crate::access::limits::Amount;
use crate::ledger::Sum;
use crate::store::StoreError;
use crate::store::engine::DaySum;
use crate::sts::meter::MeterPan;

/// The sums of clients on the days from the first to the last.
pub(super) fn sums(
    connection: &Connection,
    clients: &[i64],
    first: i64,
    last: i64,
) -> Result<Vec<DaySum>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT client, day, kind, tokens, least_units FROM usage WHERE client = ?1 AND day BETWEEN ?2 AND ?3",
    )?;
    let mut sums = Vec::new();
    for client in clients {
        for sum in statement.query_map((client, first, last), read)? {
            sums.push(sum?);
        }
    }
    Ok(sums)
}

/// The sums of all clients on a day.
pub(super) fn sums_of_day(connection: &Connection, day: i64) -> Result<Vec<DaySum>, StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT client, day, kind, tokens, least_units FROM usage WHERE day = ?1")?;
    let sums = statement.query_map([day], read)?.collect::<Result<_, _>>()?;
    Ok(sums)
}

fn read(row: &Row<'_>) -> rusqlite::Result<DaySum> {
    let amount = Amount::from_least_units(parsed(row, 4, "usage.least_units")?);
    Ok(DaySum {
        client: row.get(0)?,
        day: row.get(1)?,
        kind: row.get::<_, String>(2)?.into(),
        sum: Sum { tokens: coded::<u64, u64>(row, 3, "usage.tokens")?, amount },
    })
}

pub(super) fn put_sums(connection: &Connection, sums: &[DaySum]) -> Result<(), StoreError> {
    let mut put = connection.prepare_cached(
        "INSERT INTO usage (client, day, kind, tokens, least_units) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT DO UPDATE SET tokens = excluded.tokens, least_units = excluded.least_units",
    )?;
    for DaySum { client, day, kind, sum } in sums {
        let tokens = i64::try_from(sum.tokens).unwrap_or(i64::MAX);
        put.execute((client, day, kind, tokens, sum.amount.least_units().to_string()))?;
    }
    Ok(())
}

/// The sums of all clients on the days from the first to the last.
pub(super) fn sums_of_days(
    connection: &Connection,
    first: i64,
    last: i64,
) -> Result<Vec<DaySum>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT client, day, kind, tokens, least_units FROM usage WHERE day BETWEEN ?1 AND ?2",
    )?;
    let sums = statement.query_map([first, last], read)?.collect::<Result<_, _>>()?;
    Ok(sums)
}

/// The times of failures at a meter after an instant, the newest first.
pub(super) fn failures_at_meter(
    connection: &Connection,
    meter: MeterPan,
    after_ms: i64,
    most: u32,
) -> Result<Vec<i64>, StoreError> {
    let sql =
        "SELECT at_ms FROM verification_failures WHERE pan = ?1 AND at_ms > ?2 ORDER BY at_ms DESC LIMIT ?3";
    times(connection, sql, meter.number(), after_ms, most)
}

/// The same of a client.
pub(super) fn failures_of_client(
    connection: &Connection,
    client: i64,
    after_ms: i64,
    most: u32,
) -> Result<Vec<i64>, StoreError> {
    let sql = "SELECT at_ms FROM verification_failures WHERE client = ?1 AND at_ms > ?2 ORDER BY at_ms DESC LIMIT ?3";
    times(connection, sql, client, after_ms, most)
}

fn times(
    connection: &Connection,
    sql: &str,
    of: i64,
    after_ms: i64,
    most: u32,
) -> Result<Vec<i64>, StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    let times = statement.query_map((of, after_ms, most), |row| row.get(0))?;
    Ok(times.collect::<Result<_, _>>()?)
}

pub(super) fn insert_failure(
    connection: &Connection,
    client: i64,
    meter: MeterPan,
    at_ms: i64,
    forget_until_ms: i64,
) -> Result<i64, StoreError> {
    connection
        .prepare_cached("DELETE FROM verification_failures WHERE at_ms <= ?1")?
        .execute([forget_until_ms])?;
    connection
        .prepare_cached("INSERT INTO verification_failures (client, pan, at_ms) VALUES (?1, ?2, ?3)")?
        .execute((client, meter.number(), at_ms))?;
    Ok(connection.last_insert_rowid())
}

pub(super) fn delete_failure(connection: &Connection, number: i64) -> Result<(), StoreError> {
    connection.prepare_cached("DELETE FROM verification_failures WHERE number = ?1")?.execute([number])?;
    Ok(())
}
