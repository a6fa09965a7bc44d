//! The last TID of every meter, for ever: in a table that is written in the order of meters, and
//! for the unmerged rows in memory (`unmerged.rs`) until they are merged into it.

use rusqlite::{OptionalExtension as _, Row};

use super::column::{coded_or_null, foreign};
use super::unmerged::Entry;
use super::{Sqlite, Writer, chain, runs};
use crate::id::ClientId;
use crate::ledger::{Issued, LastTids, RowContent};
use crate::store::StoreError;
use crate::sts::attributes::BaseDate;
use crate::sts::meter::MeterPan;
use crate::sts::tid::Tid;

impl<W> Sqlite<W> {
    /// What is known of the TIDs of meters, in the order in which they are asked for.
    pub(super) fn tids(&self, meters: &[(MeterPan, BaseDate)]) -> Result<Vec<LastTids>, StoreError> {
        let mut merged =
            self.prepare_cached("SELECT last_tid, given_tid FROM meters WHERE pan = ?1 AND base_date = ?2")?;
        let mut known = Vec::with_capacity(meters.len());
        for (meter, base_date) in meters {
            let pan = meter.number();
            // A row that leaves the memory is on the disk by then: so the memory comes first.
            let unmerged = self.unmerged().last_tid(pan, *base_date);
            let found = merged
                .query_row((pan, base_date.year()), |row| Ok((tid_or_null(row, 0)?, tid_or_null(row, 1)?)))
                .optional()?;
            let (last, issued) = found.unwrap_or_default();
            known.push(LastTids { last: unmerged.max(last), issued: unmerged.max(issued) });
        }
        Ok(known)
    }
}

pub(super) fn tid_or_null(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Tid>> {
    row.get::<_, Option<u32>>(column)?.map(Tid::new).transpose().map_err(|_| foreign("a TID in meters"))
}

/// A row as the memory keeps it.
fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let base_date = coded_or_null::<u16, _>(row, 2, "issued_tokens.base_date")?;
    let tid = row.get::<_, Option<u32>>(3)?.map(Tid::new).transpose();
    let tid = base_date.zip(tid.map_err(|_| foreign("issued_tokens.tid"))?);
    Ok(Entry { sequence: row.get(0)?, pan: row.get(1)?, tid })
}

impl Sqlite<Writer> {
    /// Writes last TIDs, each above what is there.
    pub(super) fn raise(&self, tids: &[(MeterPan, BaseDate, Tid)]) -> Result<(), StoreError> {
        let mut raise = self.prepare_cached(
            "INSERT INTO meters (pan, base_date, last_tid) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET last_tid = excluded.last_tid",
        )?;
        for (meter, base_date, tid) in tids {
            raise.execute((meter.number(), base_date.year(), tid.value()))?;
        }
        Ok(())
    }

    /// Lowers a last TID: the triggers of the table let pass what is noted as open.
    pub(super) fn lower(
        &self,
        (meter, base_date): (MeterPan, BaseDate),
        from: Tid,
        to: Tid,
        by: Option<ClientId>,
        at_ms: i64,
    ) -> Result<(), StoreError> {
        let (pan, year) = (meter.number(), base_date.year());
        self.prepare_cached(
            "INSERT INTO meter_falls (pan, base_date, from_tid, to_tid, actor, at_ms, open)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1)",
        )?
        .execute((pan, year, from.value(), to.value(), by.map(ClientId::to_bytes), at_ms))?;
        self.prepare_cached("UPDATE meters SET last_tid = ?1 WHERE pan = ?2 AND base_date = ?3")?
            .execute((to.value(), pan, year))?;
        self.prepare_cached("UPDATE meter_falls SET open = 0 WHERE open = 1")?.execute([])?;
        Ok(())
    }

    /// Reads the unmerged rows if the memory may be wrong: at a start, and after a transaction that
    /// was taken back.
    pub(super) fn know_unmerged(&self) -> Result<(), StoreError> {
        if self.unmerged().is_known() {
            return Ok(());
        }
        let (up_to, last_run): (i64, i64) = self
            .prepare_cached("SELECT coalesce(max(up_to), 0), coalesce(max(run), 0) FROM token_runs")?
            .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let mut statement = self.prepare_cached(
            "SELECT sequence, pan, base_date, tid FROM issued_tokens WHERE sequence > ?1 AND pan IS NOT NULL",
        )?;
        let mut found = statement.query([up_to])?;
        let end = chain::last_position(self)?;
        let (mut rows, mut foreign) = (Vec::new(), Vec::new());
        while let Some(row) = found.next()? {
            match (row.get(0)?, entry(row)) {
                (sequence, Ok(entry)) if sequence <= end => rows.push(entry),
                // A row that somebody else wrote must not keep the server from starting. It is left
                // out, and told with the forged rows.
                (sequence, _) => foreign.push(sequence),
            }
        }
        self.unmerged().know(rows, foreign, last_run + 1);
        Ok(())
    }

    /// Adds a row that was written to those of its meter.
    pub(super) fn add_unmerged(&self, issued: &Issued) -> Result<(), StoreError> {
        let Some(meter) = issued.row.content.meter() else { return Ok(()) };
        let tid = match &issued.row.content {
            RowContent::Sequenced { base_date, tid, .. } => Some((*base_date, *tid)),
            RowContent::Fixed { .. } | RowContent::KeyChange { .. } => None,
        };
        if self.unmerged().add(Entry { pan: meter.number(), tid, sequence: issued.row.sequence.value() }) {
            Ok(())
        } else {
            Err(StoreError::Defect { reason: "a token identifier would be given twice".into() })
        }
    }

    /// Merges some of the unmerged rows into the tables, if there are enough of them.
    /// `UnmergedRows::committed` must follow the commit.
    pub(super) fn merge_unmerged(&self) -> Result<(), StoreError> {
        let Some(part) = self.unmerged().part(self.writer.merge_from) else { return Ok(()) };
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
