//! What a database gives and takes when it is copied as a whole: see `engine/copy.rs`.

use tokio_postgres::Row;

use super::chain::{self, range};
use super::column::{bytes_or_null, coded, foreign, get, number};
use super::connection::Connection;
use super::transaction::Writer;
use super::{Postgres, ledger, meters, report};
use crate::audit::{ActRow, ChainEnd, ChainNumber};
use crate::ledger::{LAST_POSITION, RefusedCalls};
use crate::store::engine::{Copyable, FailedLook, HourSum, Mark, MeterTids, NewRow, Transaction as _};
use crate::store::{OpenError, Server, StoreError};
use crate::sts::attributes::BaseDate;
use crate::sts::meter::MeterPan;

/// The tables whose numbers the database gives: what was copied has its own, and the next ones go on
/// behind them.
const NUMBERED: [&str; 8] = [
    "clients",
    "credentials",
    "public_keys",
    "configurations",
    "key_change_pairs",
    "approvals",
    "approval_votes",
    "verification_failures",
];

/// Refuses a database that is not to be served.
pub(super) fn check_mark(connection: &mut Connection) -> Result<(), OpenError> {
    mark(connection)?.map_or(Ok(()), |mark| Err(mark.refusal()))
}

fn mark(connection: &mut Connection) -> Result<Option<Mark>, StoreError> {
    let found = connection.query_opt("SELECT state, chain, other FROM migration", &[])?;
    let read = |row: &Row| {
        let (state, chain) =
            (get::<&str>(row, 0, "migration.state")?, bytes_or_null(row, 1, "migration.chain")?);
        let other = get(row, 2, "migration.other")?;
        Mark::from_columns(state, chain, other).ok_or_else(|| foreign("migration.state"))
    };
    found.as_ref().map(read).transpose()
}

impl Copyable for Postgres<Writer> {
    fn mark(&mut self) -> Result<Option<Mark>, StoreError> {
        mark(self.ready()?)
    }

    fn put_mark(&mut self, mark: Option<&Mark>) -> Result<(), StoreError> {
        let connection = self.ready()?;
        connection.execute("DELETE FROM migration", &[])?;
        let Some(mark) = mark else { return Ok(()) };
        let (state, chain, other) = mark.columns();
        let sql = "INSERT INTO migration (state, chain, other) VALUES ($1, $2, $3)";
        connection.execute(sql, &[&state, &chain.as_ref().map(|id| id.as_slice()), &other]).map(drop)
    }

    fn count_records(&mut self, chain: ChainNumber) -> Result<(u64, u64), StoreError> {
        let (from, last) = range(chain, 0);
        let found = self.ready()?.query_opt(
            "SELECT (SELECT count(*) FROM issued_tokens WHERE sequence > $1 AND sequence <= $2),
                    (SELECT count(*) FROM acts WHERE chain = $3 AND position <= $4)",
            &[&from, &last, &i64::from(chain.value()), &number(LAST_POSITION)?],
        )?;
        let Some(row) = found else { return Ok((0, 0)) };
        let count = |column| coded::<i64, u64>(&row, column, "a count");
        Ok((count(0)?, count(1)?))
    }

    fn meters_after(
        &mut self,
        after: Option<(MeterPan, BaseDate)>,
        most: usize,
    ) -> Result<Vec<MeterTids>, StoreError> {
        meters::after(self.ready()?, after, most)
    }

    fn days_of_sums(&mut self) -> Result<Vec<i64>, StoreError> {
        let found = self.ready()?.query("SELECT DISTINCT day FROM usage ORDER BY day", &[])?;
        found.iter().map(|row| get(row, 0, "usage.day")).collect()
    }

    fn failures(&mut self) -> Result<Vec<FailedLook>, StoreError> {
        let sql = "SELECT number, client, pan, at_ms FROM verification_failures ORDER BY number";
        let read = |row: &Row| {
            let what = "verification_failures.pan";
            let meter = MeterPan::from_number(get(row, 2, what)?).map_err(|_| foreign(what))?;
            Ok(FailedLook {
                number: get(row, 0, "verification_failures.number")?,
                client: get(row, 1, "verification_failures.client")?,
                meter,
                at_ms: get(row, 3, "verification_failures.at_ms")?,
            })
        };
        self.ready()?.query(sql, &[])?.iter().map(read).collect()
    }

    fn put_chain(&mut self, server: &Server, end: &ChainEnd) -> Result<(), StoreError> {
        let own = self.server;
        let connection = self.ready()?;
        let chain = i64::from(end.number.value());
        let (version, hsm_token) =
            server.state.as_ref().map(|state| (&*state.version, &*state.hsm_token)).unzip();
        if end.number != own {
            // Nobody's claim: whoever starts with this name makes one.
            connection.execute(
                "INSERT INTO servers (number, name, claim) VALUES ($1, $2, $3)
                 ON CONFLICT (number) DO UPDATE SET name = excluded.name",
                &[&chain, &server.name, &[0_u8; 16].as_slice()],
            )?;
        }
        connection.execute(
            "UPDATE servers SET version = $1, hsm_token = $2, last_life_ms = $3 WHERE number = $4",
            &[&version, &hsm_token, &server.last_life_ms, &chain],
        )?;
        let position = number(end.head.position)?;
        connection.execute(
            "INSERT INTO chains (number, id, salt_source, position, hash, at_ms) VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (number)
             DO UPDATE SET position = excluded.position, hash = excluded.hash, at_ms = excluded.at_ms",
            &[
                &chain,
                &end.head.chain.0.as_slice(),
                &end.salts.0.as_slice(),
                &position,
                &end.head.hash.0.as_slice(),
                &end.at_ms,
            ],
        )?;
        Ok(())
    }

    fn copy_acts(&mut self, chain: ChainNumber, acts: &[ActRow]) -> Result<(), StoreError> {
        chain::insert_acts(self.ready()?, chain, acts)
    }

    fn copy_tokens(&mut self, rows: &mut dyn Iterator<Item = NewRow<'_>>) -> Result<(), StoreError> {
        ledger::insert_rows(self.ready()?, rows.collect());
        Ok(())
    }

    fn copy_meters(&mut self, meters: &[MeterTids]) -> Result<(), StoreError> {
        meters::copy(self.ready()?, meters)
    }

    fn copy_reports(&mut self, vended: &[HourSum], refused: &[RefusedCalls]) -> Result<(), StoreError> {
        let server = self.server;
        self.ready()?.batch("DELETE FROM vended_hours; DELETE FROM refused_hours")?;
        self.put_sums(&[], vended)?;
        let connection = self.ready()?;
        refused.iter().try_for_each(|refused| report::add_refused(connection, server, refused))
    }

    fn end_copy(&mut self) -> Result<(), StoreError> {
        let connection = self.ready()?;
        for table in NUMBERED {
            let sql = format!(
                "SELECT setval(pg_get_serial_sequence('{table}', 'number'),
                               (SELECT coalesce(max(number), 0) + 1 FROM {table}), false)"
            );
            connection.query(&sql, &[])?;
        }
        // Until the database looks by itself, plans would be those of empty tables.
        connection.batch(
            "ANALYZE clients, credentials, public_keys, configurations, key_change_pairs, approvals, approval_votes,
                     servers, chains, acts, issued_tokens, meters, usage, vended_hours, refused_hours,
                     verification_failures",
        )
    }
}
