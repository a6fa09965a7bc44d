//! What a database gives and takes when it is copied as a whole: see `engine/copy.rs`.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, Row};

use super::chain::{limit, number};
use super::column::{coded, foreign};
use super::meters::tid_or_null;
use super::{Sqlite, Writer, chain, report, server};
use crate::audit::{ActRow, ChainEnd, ChainNumber};
use crate::ledger::{LAST_POSITION, LastTids, RefusedCalls};
use crate::store::engine::{Copyable, FailedLook, HourSum, Mark, MeterTids, NewRow};
use crate::store::{OpenError, Server, StoreError};
use crate::sts::attributes::BaseDate;
use crate::sts::meter::MeterPan;
use crate::sts::tid::Tid;

/// Refuses a database that is not to be served.
pub(super) fn check_mark(connection: &Connection) -> Result<(), OpenError> {
    mark(connection)?.map_or(Ok(()), |mark| Err(mark.refusal()))
}

fn mark(connection: &Connection) -> Result<Option<Mark>, StoreError> {
    let read = |row: &Row<'_>| {
        let state: String = row.get(0)?;
        Mark::from_columns(&state, row.get(1)?, row.get(2)?).ok_or_else(|| foreign("migration.state"))
    };
    let found = connection.prepare_cached("SELECT state, chain, other FROM migration")?.query_row([], read);
    Ok(found.optional()?)
}

fn pan(row: &Row<'_>, index: usize, what: &'static str) -> rusqlite::Result<MeterPan> {
    MeterPan::from_number(row.get(index)?).map_err(|_| foreign(what))
}

impl<W> Sqlite<W> {
    /// What is known of meters after one, in their order: of the disk and of the memory together.
    fn meters_after(
        &self,
        after: Option<(MeterPan, BaseDate)>,
        most: usize,
    ) -> Result<Vec<MeterTids>, StoreError> {
        let from = after.map(|(meter, base_date)| (meter.number(), base_date));
        let mut found: BTreeMap<(i64, BaseDate), LastTids> = BTreeMap::new();
        let mut statement = self.prepare_cached(
            "SELECT pan, base_date, last_tid, given_tid FROM meters WHERE (pan, base_date) > (?1, ?2)
             ORDER BY pan, base_date LIMIT ?3",
        )?;
        let (pan, year) = from.map_or((-1, 0), |(pan, base_date)| (pan, base_date.year()));
        let mut rows = statement.query((pan, year, limit(most)))?;
        while let Some(row) = rows.next()? {
            let tids = LastTids { last: tid_or_null(row, 2)?, issued: tid_or_null(row, 3)? };
            found.insert((row.get(0)?, coded::<u16, _>(row, 1, "meters.base_date")?), tids);
        }
        for (key, tid) in self.unmerged().last_tids_after(from, most) {
            let known = found.entry(key).or_default();
            let tid: Option<Tid> = Some(tid);
            *known = LastTids { last: known.last.max(tid), issued: known.issued.max(tid) };
        }
        // Each of the two is whole up to its own end, so both are up to here.
        let meters = found.into_iter().take(most).map(|((pan, base_date), tids)| {
            let meter = MeterPan::from_number(pan).map_err(|_| StoreError::from(foreign("meters.pan")))?;
            Ok(MeterTids { meter, base_date, tids })
        });
        meters.collect()
    }
}

impl Copyable for Sqlite<Writer> {
    fn mark(&mut self) -> Result<Option<Mark>, StoreError> {
        mark(self)
    }

    fn put_mark(&mut self, mark: Option<&Mark>) -> Result<(), StoreError> {
        self.prepare_cached("DELETE FROM migration")?.execute([])?;
        if let Some(mark) = mark {
            let (state, chain, other) = mark.columns();
            self.prepare_cached("INSERT INTO migration (one, state, chain, other) VALUES (1, ?1, ?2, ?3)")?
                .execute((state, chain, other))?;
        }
        Ok(())
    }

    fn count_records(&mut self, chain: ChainNumber) -> Result<(u64, u64), StoreError> {
        if chain != ChainNumber::FIRST {
            return Ok((0, 0));
        }
        let count = |sql: &str| -> Result<u64, StoreError> {
            let last = number(LAST_POSITION)?;
            Ok(self.prepare_cached(sql)?.query_row([last], |row| coded::<i64, _>(row, 0, "a count"))?)
        };
        Ok((
            count("SELECT count(*) FROM issued_tokens WHERE sequence BETWEEN 1 AND ?1")?,
            count("SELECT count(*) FROM acts WHERE position <= ?1")?,
        ))
    }

    fn meters_after(
        &mut self,
        after: Option<(MeterPan, BaseDate)>,
        most: usize,
    ) -> Result<Vec<MeterTids>, StoreError> {
        Self::meters_after(self, after, most)
    }

    fn days_of_sums(&mut self) -> Result<Vec<i64>, StoreError> {
        let mut statement = self.prepare_cached("SELECT DISTINCT day FROM usage ORDER BY day")?;
        Ok(statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
    }

    fn failures(&mut self) -> Result<Vec<FailedLook>, StoreError> {
        let mut statement = self
            .prepare_cached("SELECT number, client, pan, at_ms FROM verification_failures ORDER BY number")?;
        let read = |row: &Row<'_>| {
            let meter = pan(row, 2, "verification_failures.pan")?;
            Ok(FailedLook { number: row.get(0)?, client: row.get(1)?, meter, at_ms: row.get(3)? })
        };
        Ok(statement.query_map([], read)?.collect::<Result<_, _>>()?)
    }

    fn put_chain(&mut self, server: &Server, end: &ChainEnd) -> Result<(), StoreError> {
        if end.number != ChainNumber::FIRST {
            return Err(StoreError::Defect { reason: "a database in a file has one chain".into() });
        }
        self.prepare_cached(
            "INSERT INTO chain (one, id, salt_source, position, hash, at_ms, requests_from_ms)
             VALUES (1, ?1, ?2, 0, ?3, 0, 0) ON CONFLICT DO NOTHING",
        )?
        .execute((end.head.chain.0, end.salts.0, end.head.hash.0))?;
        chain::put_end(self, end)?;
        server.state.as_ref().map_or(Ok(()), |state| server::write(self, state))
    }

    fn copy_acts(&mut self, _chain: ChainNumber, acts: &[ActRow]) -> Result<(), StoreError> {
        chain::insert_acts(self, acts)
    }

    fn copy_tokens(&mut self, rows: &mut dyn Iterator<Item = NewRow<'_>>) -> Result<(), StoreError> {
        self.insert_rows(rows)
    }

    fn copy_meters(&mut self, meters: &[MeterTids]) -> Result<(), StoreError> {
        let mut put = self.prepare_cached(
            "INSERT INTO meters (pan, base_date, last_tid, given_tid) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO UPDATE SET last_tid = max(last_tid, excluded.last_tid),
                 given_tid = coalesce(max(given_tid, excluded.given_tid), given_tid, excluded.given_tid)",
        )?;
        for MeterTids { meter, base_date, tids: LastTids { last, issued } } in meters {
            let last = last.max(issued).map(|tid| tid.value());
            put.execute((meter.number(), base_date.year(), last, issued.map(|tid| tid.value())))?;
        }
        Ok(())
    }

    fn copy_reports(&mut self, vended: &[HourSum], refused: &[RefusedCalls]) -> Result<(), StoreError> {
        self.execute_batch("DELETE FROM vended_hours; DELETE FROM refused_hours")?;
        report::add_vended(self, vended)?;
        refused.iter().try_for_each(|refused| report::add_refused(self, refused))
    }

    fn end_copy(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
}
