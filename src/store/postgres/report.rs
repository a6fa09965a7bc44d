//! What reports are made of, read over all servers: what was vended, and what was refused, by the
//! hour. `usage` writes what was vended, together with the sums of the day.

use super::column::{coded, get, parsed};
use super::connection::Connection;
use crate::access::limits::Amount;
use crate::audit::ChainNumber;
use crate::ledger::{Hours, RefusedCalls, Sum};
use crate::store::StoreError;
use crate::store::engine::HourSum;

/// What was vended in the hours from the first to the last.
pub(super) fn vended(connection: &mut Connection, hours: Hours) -> Result<Vec<HourSum>, StoreError> {
    let sql =
        "SELECT hour, configuration, kind, sum(tokens)::bigint, sum(least_units)::text FROM vended_hours
               WHERE hour BETWEEN $1 AND $2 GROUP BY hour, configuration, kind";
    let found = connection.query(sql, &[&hours.first, &hours.last])?;
    let read = |row: &tokio_postgres::Row| {
        Ok(HourSum {
            hour: get(row, 0, "vended_hours.hour")?,
            configuration: get(row, 1, "vended_hours.configuration")?,
            kind: get::<String>(row, 2, "vended_hours.kind")?.into(),
            sum: Sum {
                tokens: coded::<i64, u64>(row, 3, "vended_hours.tokens")?,
                amount: Amount::from_least_units(parsed(row, 4, "vended_hours.least_units")?),
            },
        })
    };
    found.iter().map(read).collect()
}

/// The first hour of which anything is kept, and the first day of which there are sums of clients.
pub(super) fn first_sums(connection: &mut Connection) -> Result<(Option<i64>, Option<i64>), StoreError> {
    let sql = "SELECT (SELECT min(hour) FROM vended_hours), (SELECT min(day) FROM usage)";
    let Some(row) = connection.query_opt(sql, &[])? else { return Ok((None, None)) };
    Ok((get(&row, 0, "vended_hours.hour")?, get(&row, 1, "usage.day")?))
}

/// The calls that were refused in the hours from the first to the last.
pub(super) fn refused(connection: &mut Connection, hours: Hours) -> Result<Vec<RefusedCalls>, StoreError> {
    let sql = "SELECT hour, reason, sum(calls)::bigint FROM refused_hours
               WHERE hour BETWEEN $1 AND $2 GROUP BY hour, reason ORDER BY hour, reason";
    let found = connection.query(sql, &[&hours.first, &hours.last])?;
    let read = |row: &tokio_postgres::Row| {
        Ok(RefusedCalls {
            hour: get(row, 0, "refused_hours.hour")?,
            reason: get(row, 1, "refused_hours.reason")?,
            calls: coded::<i64, u64>(row, 2, "refused_hours.calls")?,
        })
    };
    found.iter().map(read).collect()
}

/// Adds to the calls that were refused.
pub(super) fn add_refused(
    connection: &mut Connection,
    server: ChainNumber,
    refused: &RefusedCalls,
) -> Result<(), StoreError> {
    let calls = i64::try_from(refused.calls).unwrap_or(i64::MAX);
    connection
        .execute(
            "INSERT INTO refused_hours AS kept (hour, reason, chain, calls) VALUES ($1, $2, $3, $4)
             ON CONFLICT (hour, reason, chain) DO UPDATE SET calls = kept.calls + excluded.calls",
            &[&refused.hour, &refused.reason, &i64::from(server.value()), &calls],
        )
        .map(drop)
}
