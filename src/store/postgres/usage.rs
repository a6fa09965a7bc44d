//! The table of what clients were given, by day and kind and by the server that gave it, and that
//! of failed looks into foreign tokens.
//!
//! Each server writes rows of its own, so that servers which give to one client do not wait for
//! each other unless the client has limits.

use std::collections::HashMap;

use super::column::{coded, get, limit, parsed};
use super::connection::{Connection, Sql};
use super::locks;
use crate::access::limits::Amount;
use crate::audit::ChainNumber;
use crate::ledger::Sum;
use crate::store::StoreError;
use crate::store::engine::{DaySum, HourSum};
use crate::sts::meter::MeterPan;

/// What the other servers have given, by client, day and kind, as it was read in a transaction: the
/// rest of a sum is this server's own.
#[derive(Debug, Default)]
pub(crate) struct OfOthers(HashMap<(i64, i64, String), Sum>);

impl OfOthers {
    /// A transaction has ended.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }

    /// What is this server's own of a sum.
    fn own(&self, sum: &DaySum) -> Sum {
        let others = self.0.get(&(sum.client, sum.day, sum.kind.to_string())).copied().unwrap_or_default();
        let least_units = sum.sum.amount.least_units().saturating_sub(others.amount.least_units());
        Sum {
            tokens: sum.sum.tokens.saturating_sub(others.tokens),
            amount: Amount::from_least_units(least_units),
        }
    }
}

/// Keeps others from counting against the limits of clients until the end of the transaction.
pub(super) fn lock(clients: &[i64]) -> Sql {
    let mut keys: Vec<i64> = clients.iter().copied().map(locks::client).collect();
    keys.sort_unstable();
    keys.dedup();
    Sql::new("SELECT pg_advisory_xact_lock(k) FROM unnest($1::bigint[]) k").with(keys)
}

/// The sums of clients on the days from the first to the last, for [`summed`].
pub(super) fn of_days(clients: &[i64], first: i64, last: i64) -> Sql {
    let sql = "SELECT client, day, kind, chain, tokens, least_units FROM usage
               WHERE client = ANY($1) AND day BETWEEN $2 AND $3 ORDER BY client, day, kind";
    Sql::new(sql).with(clients.to_vec()).with(first).with(last)
}

/// The sums of all clients on a day.
pub(super) fn sums_of_day(
    connection: &mut Connection,
    server: ChainNumber,
    others: &mut OfOthers,
    day: i64,
) -> Result<Vec<DaySum>, StoreError> {
    let sql = "SELECT client, day, kind, chain, tokens, least_units FROM usage
               WHERE day = $1 ORDER BY client, day, kind";
    summed(server, others, &connection.query(sql, &[&day])?)
}

/// The sums of all clients on the days from the first to the last, for reports: nothing of them is
/// remembered.
pub(super) fn sums_of_days(
    connection: &mut Connection,
    server: ChainNumber,
    first: i64,
    last: i64,
) -> Result<Vec<DaySum>, StoreError> {
    let sql = "SELECT client, day, kind, chain, tokens, least_units FROM usage
               WHERE day BETWEEN $1 AND $2 ORDER BY client, day, kind";
    summed(server, &mut OfOthers::default(), &connection.query(sql, &[&first, &last])?)
}

/// Sums over the servers, of rows in the order of clients, days and kinds.
pub(super) fn summed(
    server: ChainNumber,
    others: &mut OfOthers,
    rows: &[tokio_postgres::Row],
) -> Result<Vec<DaySum>, StoreError> {
    let mut sums: Vec<DaySum> = Vec::with_capacity(rows.len());
    let mut found: HashMap<(i64, i64, String), Sum> = HashMap::new();
    for row in rows {
        let (client, day): (i64, i64) = (get(row, 0, "usage.client")?, get(row, 1, "usage.day")?);
        let (kind, chain): (&str, i64) = (get(row, 2, "usage.kind")?, get(row, 3, "usage.chain")?);
        let of_server = Sum {
            tokens: coded::<i64, u64>(row, 4, "usage.tokens")?,
            amount: Amount::from_least_units(parsed(row, 5, "usage.least_units")?),
        };
        if chain != i64::from(server.value()) {
            let known = found.entry((client, day, kind.to_owned())).or_default();
            *known = add(*known, of_server);
        }
        match sums.last_mut() {
            Some(last) if (last.client, last.day, last.kind.as_ref()) == (client, day, kind) => {
                last.sum = add(last.sum, of_server);
            }
            _ => sums.push(DaySum { client, day, kind: kind.to_owned().into(), sum: of_server }),
        }
    }
    others.0.extend(found);
    Ok(sums)
}

fn add(one: Sum, other: Sum) -> Sum {
    let least_units = one.amount.least_units().saturating_add(other.amount.least_units());
    Sum { tokens: one.tokens.saturating_add(other.tokens), amount: Amount::from_least_units(least_units) }
}

/// Writes sums, of each what is this server's own, and adds to its own of what was vended: in one
/// statement, for every batch pays for each.
pub(super) fn put_sums(
    connection: &mut Connection,
    server: ChainNumber,
    others: &OfOthers,
    sums: &[DaySum],
    vended: &[HourSum],
) {
    let tokens = |sum: &Sum| i64::try_from(sum.tokens).unwrap_or(i64::MAX);
    let least_units = |sum: &Sum| sum.amount.least_units().to_string();
    let clients: Vec<i64> = sums.iter().map(|sum| sum.client).collect();
    let days: Vec<i64> = sums.iter().map(|sum| sum.day).collect();
    let kinds: Vec<String> = sums.iter().map(|sum| sum.kind.to_string()).collect();
    let own: Vec<Sum> = sums.iter().map(|sum| others.own(sum)).collect();
    let own_tokens: Vec<i64> = own.iter().map(tokens).collect();
    let own_amounts: Vec<String> = own.iter().map(least_units).collect();
    let hours: Vec<i64> = vended.iter().map(|sum| sum.hour).collect();
    let configurations: Vec<i64> = vended.iter().map(|sum| sum.configuration).collect();
    let vended_kinds: Vec<String> = vended.iter().map(|sum| sum.kind.to_string()).collect();
    let vended_tokens: Vec<i64> = vended.iter().map(|sum| tokens(&sum.sum)).collect();
    let vended_amounts: Vec<String> = vended.iter().map(|sum| least_units(&sum.sum)).collect();
    let sql = "WITH vended AS (
         INSERT INTO vended_hours AS kept (hour, configuration, kind, chain, tokens, least_units)
         SELECT hour, configuration, kind, $1, tokens, least_units::numeric
         FROM unnest($7::bigint[], $8::bigint[], $9::text[], $10::bigint[], $11::text[])
              AS new (hour, configuration, kind, tokens, least_units)
         ON CONFLICT (hour, configuration, kind, chain)
         DO UPDATE SET tokens = kept.tokens + excluded.tokens,
                       least_units = kept.least_units + excluded.least_units)
             INSERT INTO usage (client, day, kind, chain, tokens, least_units)
             SELECT client, day, kind, $1, tokens, least_units
             FROM unnest($2::bigint[], $3::bigint[], $4::text[], $5::bigint[], $6::text[])
          AS new (client, day, kind, tokens, least_units)
             ON CONFLICT (client, day, kind, chain)
             DO UPDATE SET tokens = excluded.tokens, least_units = excluded.least_units";
    let sql = Sql::new(sql)
        .with(i64::from(server.value()))
        .with(clients)
        .with(days)
        .with(kinds)
        .with(own_tokens)
        .with(own_amounts)
        .with(hours)
        .with(configurations)
        .with(vended_kinds)
        .with(vended_tokens)
        .with(vended_amounts);
    connection.execute_later(sql, None);
}

/// The times of failures at a meter after an instant, the newest first.
pub(super) fn failures_at_meter(
    connection: &mut Connection,
    meter: MeterPan,
    after_ms: i64,
    most: u32,
) -> Result<Vec<i64>, StoreError> {
    let sql = "SELECT at_ms FROM verification_failures WHERE pan = $1 AND at_ms > $2
               ORDER BY at_ms DESC LIMIT $3";
    times(connection, sql, meter.number(), after_ms, most)
}

/// The same of a client.
pub(super) fn failures_of_client(
    connection: &mut Connection,
    client: i64,
    after_ms: i64,
    most: u32,
) -> Result<Vec<i64>, StoreError> {
    let sql = "SELECT at_ms FROM verification_failures WHERE client = $1 AND at_ms > $2
               ORDER BY at_ms DESC LIMIT $3";
    times(connection, sql, client, after_ms, most)
}

fn times(
    connection: &mut Connection,
    sql: &str,
    of: i64,
    after_ms: i64,
    most: u32,
) -> Result<Vec<i64>, StoreError> {
    let found = connection.query(sql, &[&of, &after_ms, &limit(most as usize)])?;
    found.iter().map(|row| get(row, 0, "verification_failures.at_ms")).collect()
}

pub(super) fn insert_failure(
    connection: &mut Connection,
    client: i64,
    meter: MeterPan,
    at_ms: i64,
    forget_until_ms: i64,
) -> Result<i64, StoreError> {
    connection.execute("DELETE FROM verification_failures WHERE at_ms <= $1", &[&forget_until_ms])?;
    let written = connection.query_opt(
        "INSERT INTO verification_failures (client, pan, at_ms) VALUES ($1, $2, $3) RETURNING number",
        &[&client, &meter.number(), &at_ms],
    )?;
    written.map_or(Ok(0), |row| get(&row, 0, "verification_failures.number"))
}

pub(super) fn delete_failure(connection: &mut Connection, number: i64) -> Result<(), StoreError> {
    connection.execute("DELETE FROM verification_failures WHERE number = $1", &[&number]).map(drop)
}
