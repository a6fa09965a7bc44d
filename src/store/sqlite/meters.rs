//! The last TID of every meter, for ever: in a table that is written in the order of meters, and for the newest rows in memory
//! (`newest.rs`) until they are merged into it.

use rusqlite::{OptionalExtension as _, Row};

use super::chain::Writing;
use super::column::{coded_or_null, foreign};
use super::newest::Entry;
use super::runs;
use super::sealed::Reading;
use crate::store::{RowContent, Seed, StoreError};
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
    let merged = "SELECT last_tid FROM meters WHERE pan = ?1 AND base_date = ?2";
    highest(reading, meter, base_date, merged)
}

/// The highest TID that a token of the meter had, whatever was seeded.
pub(super) fn highest_issued(
    reading: &Reading,
    meter: MeterPan,
    base_date: BaseDate,
) -> Result<Option<Tid>, StoreError> {
    let merged = "SELECT given_tid FROM meters WHERE pan = ?1 AND base_date = ?2";
    highest(reading, meter, base_date, merged)
}

/// The highest TID of the newest rows and of what a query finds in the table.
fn highest(
    reading: &Reading,
    meter: MeterPan,
    base_date: BaseDate,
    merged: &'static str,
) -> Result<Option<Tid>, StoreError> {
    let pan = pan(meter)?;
    // A row that leaves the memory is on the disk by then: so the memory comes first.
    let newest = reading.newest().last_tid(pan, base_date);
    let found = reading
        .prepare_cached(merged)?
        .query_row((pan, base_date.year()), |row| row.get::<_, Option<u32>>(0))
        .optional()?
        .flatten();
    let merged = found.map(Tid::new).transpose().map_err(|_| foreign("a TID in meters"))?;
    Ok(newest.max(merged))
}

/// Raises the last TIDs of meters, never lowers one, and answers how many rose.
pub(super) fn seed_last_tids(writing: &Writing, seeds: &[Seed]) -> Result<u64, StoreError> {
    writing.know_newest()?;
    let mut raised = 0;
    for Seed { meter, base_date, tid } in seeds {
        if last_tid(writing, *meter, *base_date)? < Some(*tid) {
            writing
                .prepare_cached(
                    "INSERT INTO meters (pan, base_date, last_tid) VALUES (?1, ?2, ?3)
                     ON CONFLICT DO UPDATE SET last_tid = excluded.last_tid",
                )?
                .execute((pan(*meter)?, base_date.year(), tid.value()))?;
            raised += 1;
        }
    }
    Ok(raised)
}

/// A row as the memory keeps it.
fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let base_date = coded_or_null::<u16, _>(row, 2, "issued_tokens.base_date")?;
    let tid = row.get::<_, Option<u32>>(3)?.map(Tid::new).transpose();
    let tid = base_date.zip(tid.map_err(|_| foreign("issued_tokens.tid"))?);
    Ok(Entry { sequence: row.get(0)?, pan: row.get(1)?, tid })
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
        let mut statement = self.prepare_cached(
            "SELECT sequence, pan, base_date, tid FROM issued_tokens WHERE sequence > ?1 AND pan IS NOT NULL",
        )?;
        let mut found = statement.query([up_to])?;
        let head = self.state()?.position();
        let (mut rows, mut foreign) = (Vec::new(), Vec::new());
        while let Some(row) = found.next()? {
            match (row.get(0)?, entry(row)) {
                (sequence, Ok(entry)) if sequence <= head => rows.push(entry),
                // Another hand's row must not keep the server from starting. It is left out, and told with the
                // forged rows.
                (sequence, _) => foreign.push(sequence),
            }
        }
        if let Some(last) = foreign.iter().max().filter(|last| **last > head) {
            self.go_on_behind(*last)?;
        }
        self.newest().know(rows, foreign, last_run + 1);
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
        let Some(part) = self.newest().part(self.merge_from()) else { return Ok(()) };
        runs::write(self, &part)?;
        let mut raise = self.prepare_cached(
            "INSERT INTO meters (pan, base_date, last_tid, given_tid) VALUES (?1, ?2, ?3, ?3)
             ON CONFLICT DO UPDATE SET last_tid = max(last_tid, excluded.last_tid),
                 given_tid = max(coalesce(given_tid, 0), excluded.given_tid)",
        )?;
        for (index, Entry { pan, tid, .. }) in part.rows.iter().enumerate() {
            // Of a meter's rows under a base date the last one has the highest TID.
            let next = part.rows.get(index + 1).filter(|next| next.pan == *pan).and_then(|next| next.tid);
            if let Some((base_date, tid)) = tid
                && next.is_none_or(|(next, _)| next != *base_date)
            {
                raise.execute((pan, base_date.year(), tid.value()))?;
            }
        }
        Ok(())
    }
}
