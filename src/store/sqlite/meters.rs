//! What the ledger knows by meter: the last TID of each, for ever, and its rows.
//!
//! Both lie in tables that are written in the order of meters (`meters`, and `tokens_by_meter` run by run), and for the newest rows
//! in memory (`newest.rs`). Readers look into the memory first: a row that leaves it is on the disk by then.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension as _, Row};

use super::chain::Writing;
use super::column::{coded_or_null, foreign};
use super::newest::{Entry, Part, Run, minute};
use super::sealed::Reading;
use crate::store::{RowContent, Seed, Sequence, StoreError};
use crate::sts::attributes::BaseDate;
use crate::sts::meter::MeterPan;
use crate::sts::tid::Tid;

/// The 18 digits as a number: a fourth of the room, and ordered alike.
pub(super) fn pan(meter: MeterPan) -> Result<i64, StoreError> {
    meter.as_str().parse().map_err(|_| StoreError::Defect { reason: "a meter number is no number".into() })
}

/// The last TID of a meter: the highest that a token had, or the one that was seeded.
pub(super) fn last_tid(
    reading: &Reading,
    meter: MeterPan,
    base_date: BaseDate,
) -> Result<Option<Tid>, StoreError> {
    let pan = pan(meter)?;
    let newest = reading.newest().last_tid(pan, base_date);
    let merged: Option<u32> = reading
        .prepare_cached("SELECT last_tid FROM meters WHERE pan = ?1 AND base_date = ?2")?
        .query_row((pan, base_date.year()), |row| row.get(0))
        .optional()?;
    Ok(newest.max(known_tid(merged, "meters.last_tid")?))
}

/// The highest TID that a token of the meter had, whatever was seeded.
pub(super) fn highest_issued(
    reading: &Reading,
    meter: MeterPan,
    base_date: BaseDate,
) -> Result<Option<Tid>, StoreError> {
    let pan = pan(meter)?;
    let newest = reading.newest().last_tid(pan, base_date);
    let merged: Option<u32> = reading
        .prepare_cached(
            "SELECT max(tid) FROM (
                 SELECT (SELECT t.tid FROM tokens_by_meter t
                         WHERE t.run = r.run AND t.pan = ?1 AND t.base_date = ?2 ORDER BY t.tid DESC LIMIT 1) AS tid
                 FROM token_runs r
                 UNION ALL SELECT deleted_tid FROM meters WHERE pan = ?1 AND base_date = ?2)",
        )?
        .query_row((pan, base_date.year()), |row| row.get(0))?;
    Ok(newest.max(known_tid(merged, "tokens_by_meter.tid")?))
}

fn known_tid(tid: Option<u32>, what: &'static str) -> Result<Option<Tid>, StoreError> {
    Ok(tid.map(|tid| Tid::new(tid).map_err(|_| foreign(what))).transpose()?)
}

/// Raises the last TIDs of meters, never lowers one, and answers how many rose.
pub(super) fn seed_last_tids(writing: &Writing, seeds: &[Seed]) -> Result<u64, StoreError> {
    writing.know_newest()?;
    let mut raised = 0;
    for Seed { meter, base_date, tid } in seeds {
        if last_tid(writing, *meter, *base_date)? < Some(*tid) {
            raise(writing, pan(*meter)?, *base_date, *tid)?;
            raised += 1;
        }
    }
    Ok(raised)
}

fn raise(connection: &Connection, pan: i64, base_date: BaseDate, tid: Tid) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO meters (pan, base_date, last_tid) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET last_tid = excluded.last_tid WHERE excluded.last_tid > last_tid",
        )?
        .execute((pan, base_date.year(), tid.value()))?;
    Ok(())
}

/// The rows that may be those of a meter's TID: newest ones that were taken back, or deleted ones, may be among them.
pub(super) fn rows_of_tid(
    reading: &Reading,
    meter: MeterPan,
    base_date: BaseDate,
    tid: Tid,
) -> Result<BTreeSet<Sequence>, StoreError> {
    let pan = pan(meter)?;
    let newest = reading.newest().of_meter(pan).into_iter();
    let newest = newest.filter(|row| row.tid == Some((base_date, tid))).map(|row| row.sequence);
    let mut statement = reading.prepare_cached(
        "SELECT t.sequence FROM token_runs r CROSS JOIN tokens_by_meter t ON t.run = r.run
         WHERE ?4 BETWEEN r.first_minute AND r.last_minute AND t.pan = ?1 AND t.base_date = ?2 AND t.tid = ?3",
    )?;
    let wanted = (pan, base_date.year(), tid.value(), minute(base_date, tid));
    let merged = statement.query_map(wanted, |row| row.get::<_, i64>(0))?;
    merged.chain(newest.map(Ok)).map(|sequence| sequenced(sequence?)).collect()
}

/// Calls with the rows of a meter after one, in the order of the ledger, for as long as it is answered `true`. Rows may come that were
/// taken back or deleted.
pub(super) fn each_row_of(
    reading: &Reading,
    meter: MeterPan,
    after: i64,
    mut take: impl FnMut(Sequence) -> Result<bool, StoreError>,
) -> Result<(), StoreError> {
    let pan = pan(meter)?;
    let newest: BTreeSet<i64> = reading.newest().of_meter(pan).into_iter().map(|row| row.sequence).collect();
    let mut seen = after;
    let mut offer = |rows: BTreeSet<i64>| -> Result<bool, StoreError> {
        for sequence in rows {
            if sequence > seen {
                seen = sequence;
                if !take(sequenced(sequence)?)? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    };
    let mut of_run = reading.prepare_cached(
        "SELECT sequence FROM tokens_by_meter WHERE run = ?1 AND pan = ?2 AND sequence > ?3",
    )?;
    let mut runs = reading.prepare_cached("SELECT run FROM token_runs WHERE up_to > ?1 ORDER BY run")?;
    let mut runs = runs.query([after])?;
    while let Some(run) = runs.next()? {
        let run: i64 = run.get(0)?;
        let rows = of_run.query_map((run, pan, after), |row| row.get(0))?.collect::<Result<_, _>>()?;
        if !offer(rows)? {
            return Ok(());
        }
    }
    offer(newest).map(drop)
}

fn sequenced(sequence: i64) -> Result<Sequence, StoreError> {
    Sequence::new(sequence).ok_or_else(|| foreign("tokens_by_meter.sequence").into())
}

impl Writing {
    /// Reads the newest rows if the memory may be wrong: at a start, and after a transaction that was taken back.
    pub(super) fn know_newest(&self) -> Result<(), StoreError> {
        if self.newest().is_known() {
            return Ok(());
        }
        let (up_to, last_run): (i64, i64) = self
            .prepare_cached("SELECT coalesce(max(up_to), 0), coalesce(max(run), 0) FROM token_runs")?
            .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let entry = |row: &Row<'_>| {
            let base_date = coded_or_null::<u16, _>(row, 2, "issued_tokens.base_date")?;
            let tid = row.get::<_, Option<u32>>(3)?.map(Tid::new).transpose();
            let tid = base_date.zip(tid.map_err(|_| foreign("issued_tokens.tid"))?);
            Ok(Entry { sequence: row.get(0)?, pan: row.get(1)?, tid })
        };
        let rows = self
            .prepare_cached(
                "SELECT sequence, pan, base_date, tid FROM issued_tokens WHERE sequence > ?1 AND pan IS NOT NULL",
            )?
            .query_map([up_to], entry)?
            .collect::<Result<Vec<_>, _>>()?;
        self.newest().know(rows, last_run + 1);
        Ok(())
    }

    /// Adds a row that was written to those of its meter.
    pub(super) fn add_newest(&self, sequence: i64, content: &RowContent) -> Result<(), StoreError> {
        let Some(meter) = content.meter() else { return Ok(()) };
        let tid = match content {
            RowContent::Sequenced { base_date, tid, .. } => Some((*base_date, *tid)),
            RowContent::Fixed { .. } | RowContent::KeyChange { .. } => None,
        };
        if self.newest().add(Entry { pan: pan(meter)?, tid, sequence }) {
            Ok(())
        } else {
            Err(StoreError::Defect { reason: "a token identifier would be given twice".into() })
        }
    }

    /// Merges some of the newest rows into the tables, if there are enough of them. `Newest::committed` must follow the commit.
    pub(super) fn merge_newest(&self) -> Result<(), StoreError> {
        let Some(Part { number, rows, ends }) = self.newest().part(self.merge_from()) else { return Ok(()) };
        // A run that was begun before a crash holds some of them.
        let mut insert = self.prepare_cached(
            "INSERT INTO tokens_by_meter (run, pan, base_date, tid, sequence) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO NOTHING",
        )?;
        for (index, Entry { pan, tid, sequence }) in rows.iter().enumerate() {
            let (year, value) = tid.map_or((0, 0), |(base_date, tid)| (base_date.year(), tid.value()));
            insert.execute((number, pan, year, value, sequence))?;
            // Of a meter's rows under a base date the last one has the highest TID.
            let next = rows.get(index + 1).filter(|next| next.pan == *pan).and_then(|next| next.tid);
            if let Some((base_date, tid)) = tid
                && next.is_none_or(|(next, _)| next != *base_date)
            {
                raise(self, *pan, *base_date, *tid)?;
            }
        }
        if let Some(Run { up_to, minutes }) = ends {
            let (first, last) = minutes.unzip();
            self.prepare_cached(
                "INSERT INTO token_runs (run, up_to, first_minute, last_minute) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute((number, up_to, first, last))?;
        }
        Ok(())
    }
}
