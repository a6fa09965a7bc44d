//! The tables of what reports are made of: what was vended, and what was refused, by the hour.

use rusqlite::{Connection, OptionalExtension as _, Row};

use super::column::{coded, parsed};
use crate::access::limits::Amount;
use crate::ledger::{Hours, RefusedCalls, Sum};
use crate::store::StoreError;
use crate::store::engine::HourSum;

/// What was vended in the hours from the first to the last.
pub(super) fn vended(connection: &Connection, hours: Hours) -> Result<Vec<HourSum>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT tokens, least_units, hour, configuration, kind FROM vended_hours WHERE hour BETWEEN ?1 AND ?2",
    )?;
    let read = |row: &Row<'_>| {
        let (hour, configuration) = (row.get(2)?, row.get(3)?);
        Ok(HourSum { hour, configuration, kind: row.get::<_, String>(4)?.into(), sum: sum(row)? })
    };
    let sums = statement.query_map([hours.first, hours.last], read)?.collect::<Result<_, _>>()?;
    Ok(sums)
}

/// The first hour of which anything is kept, and the first day of which there are sums of clients.
pub(super) fn first_sums(connection: &Connection) -> Result<(Option<i64>, Option<i64>), StoreError> {
    let sql = "SELECT (SELECT min(hour) FROM vended_hours), (SELECT min(day) FROM usage)";
    Ok(connection.prepare_cached(sql)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?)
}

/// Adds to what was vended. SQLite has no numbers of 39 digits: they are added here.
pub(super) fn add_vended(connection: &Connection, vended: &[HourSum]) -> Result<(), StoreError> {
    if vended.is_empty() {
        return Ok(());
    }
    let mut get = connection.prepare_cached(
        "SELECT tokens, least_units FROM vended_hours WHERE hour = ?1 AND configuration = ?2 AND kind = ?3",
    )?;
    let mut put = connection.prepare_cached(
        "INSERT INTO vended_hours (hour, configuration, kind, tokens, least_units) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT DO UPDATE SET tokens = excluded.tokens, least_units = excluded.least_units",
    )?;
    for HourSum { hour, configuration, kind, sum: added } in vended {
        let mut all = get.query_row((hour, configuration, kind), sum).optional()?.unwrap_or_default();
        all.add(*added);
        let tokens = i64::try_from(all.tokens).unwrap_or(i64::MAX);
        put.execute((hour, configuration, kind, tokens, all.amount.least_units().to_string()))?;
    }
    Ok(())
}

fn sum(row: &Row<'_>) -> rusqlite::Result<Sum> {
    Ok(Sum {
        tokens: coded::<u64, u64>(row, 0, "vended_hours.tokens")?,
        amount: Amount::from_least_units(parsed(row, 1, "vended_hours.least_units")?),
    })
}

/// The calls that were refused in the hours from the first to the last.
pub(super) fn refused(connection: &Connection, hours: Hours) -> Result<Vec<RefusedCalls>, StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT hour, reason, calls FROM refused_hours WHERE hour BETWEEN ?1 AND ?2")?;
    let read = |row: &Row<'_>| {
        let calls = coded::<u64, u64>(row, 2, "refused_hours.calls")?;
        Ok(RefusedCalls { hour: row.get(0)?, reason: row.get(1)?, calls })
    };
    let found = statement.query_map([hours.first, hours.last], read)?.collect::<Result<_, _>>()?;
    Ok(found)
}

/// Adds to the calls that were refused.
pub(super) fn add_refused(connection: &Connection, refused: &RefusedCalls) -> Result<(), StoreError> {
    let calls = i64::try_from(refused.calls).unwrap_or(i64::MAX);
    connection
        .prepare_cached(
            "INSERT INTO refused_hours (hour, reason, calls) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET calls = calls + excluded.calls",
        )?
        .execute((refused.hour, &refused.reason, calls))?;
    Ok(())
}
