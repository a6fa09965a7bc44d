//! The rows of the ledger by meter, in runs on the disk.
//!
//! A run is written once, in the order of meters, in parts of some rows each: an entry of a table
//! for every row would cost a third of what the row itself does. Questions go from run to run.

use std::collections::BTreeSet;

use rusqlite::Connection;

use super::Sqlite;
use super::column::foreign;
use super::unmerged::{Entry, Part, Run, minute};
use crate::ledger::Sequence;
use crate::store::StoreError;
use crate::sts::attributes::BaseDate;
use crate::sts::meter::MeterPan;
use crate::sts::tid::Tid;

/// Rows of a part: as many as a page of the table holds without another page behind it.
const ROWS: usize = 40;

/// Bytes of a row in a part: pan, year of the base date, TID, sequence, big endian. Year and TID
/// are 0 where there is no TID.
const ROW: usize = 8 + 2 + 4 + 8;

/// The rows that may be those of a meter's TID: newest ones that were taken back, or deleted ones,
/// may be among them.
pub(super) fn rows_of_tid<W>(
    reading: &Sqlite<W>,
    meter: MeterPan,
    base_date: BaseDate,
    tid: Tid,
) -> Result<BTreeSet<Sequence>, StoreError> {
    let pan = meter.number();
    // A row that leaves the memory is on the disk by then: so the memory comes first.
    let mut rows = reading.unmerged().of_meter(pan);
    let mut runs = reading.prepare_cached(
        "SELECT run FROM token_runs WHERE ?1 BETWEEN first_minute AND last_minute ORDER BY run",
    )?;
    let mut runs = runs.query([minute(base_date, tid)])?;
    while let Some(run) = runs.next()? {
        rows.extend(of_run(reading, run.get(0)?, pan)?);
    }
    let wanted = rows.into_iter().filter(|row| row.tid == Some((base_date, tid)));
    wanted.map(|row| sequenced(row.sequence)).collect()
}

/// Calls with the rows of a meter after one, in the order of the ledger, for as long as it is
/// answered `true`. Rows may come that were taken back or deleted.
pub(super) fn each_row_of<W>(
    reading: &Sqlite<W>,
    meter: MeterPan,
    after: i64,
    mut take: impl FnMut(Sequence) -> Result<bool, StoreError>,
) -> Result<(), StoreError> {
    let pan = meter.number();
    let unmerged = reading.unmerged().of_meter(pan);
    let mut seen = after;
    let mut offer = |rows: Vec<Entry>| -> Result<bool, StoreError> {
        let sequences: BTreeSet<i64> = rows.into_iter().map(|row| row.sequence).collect();
        for sequence in sequences {
            // One that left the memory meanwhile is in a run too.
            if sequence > seen {
                seen = sequence;
                if !take(sequenced(sequence)?)? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    };
    let mut runs = reading.prepare_cached("SELECT run FROM token_runs WHERE up_to > ?1 ORDER BY run")?;
    let mut runs = runs.query([after])?;
    while let Some(run) = runs.next()? {
        if !offer(of_run(reading, run.get(0)?, pan)?)? {
            return Ok(());
        }
    }
    offer(unmerged).map(drop)
}

fn sequenced(sequence: i64) -> Result<Sequence, StoreError> {
    Sequence::new(sequence).ok_or_else(|| foreign("token_run_parts.rows").into())
}

/// The rows of a meter in a run.
fn of_run(connection: &Connection, run: i64, pan: i64) -> Result<Vec<Entry>, StoreError> {
    let mut parts = connection.prepare_cached(
        "SELECT rows FROM token_run_parts WHERE run = ?1 AND last_pan >= ?2 ORDER BY last_pan, last_sequence",
    )?;
    let mut parts = parts.query((run, pan))?;
    let mut found = Vec::new();
    while let Some(part) = parts.next()? {
        let rows = decode(part.get_ref(0)?.as_blob().map_err(|_| foreign("token_run_parts.rows"))?)?;
        found.extend(rows.iter().filter(|row| row.pan == pan));
        if rows.last().is_none_or(|last| last.pan > pan) {
            break;
        }
    }
    Ok(found)
}

fn encode(rows: &[Entry]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(rows.len() * ROW);
    for Entry { pan, tid, sequence } in rows {
        let (year, tid) = tid.map_or((0, 0), |(base_date, tid)| (base_date.year(), tid.value()));
        bytes.extend_from_slice(&pan.to_be_bytes());
        bytes.extend_from_slice(&year.to_be_bytes());
        bytes.extend_from_slice(&tid.to_be_bytes());
        bytes.extend_from_slice(&sequence.to_be_bytes());
    }
    bytes
}

fn decode(bytes: &[u8]) -> Result<Vec<Entry>, StoreError> {
    let (rows, rest) = bytes.as_chunks::<ROW>();
    let foreign = || StoreError::from(foreign("token_run_parts.rows"));
    if !rest.is_empty() {
        return Err(foreign());
    }
    let row = |row: &[u8; ROW]| {
        let [p @ .., y1, y2, t1, t2, t3, t4, s1, s2, s3, s4, s5, s6, s7, s8] = *row;
        let (year, tid) = (u16::from_be_bytes([y1, y2]), u32::from_be_bytes([t1, t2, t3, t4]));
        let tid = match year {
            0 => None,
            _ => Some((
                BaseDate::try_from(year).map_err(|_| foreign())?,
                Tid::new(tid).map_err(|_| foreign())?,
            )),
        };
        let sequence = i64::from_be_bytes([s1, s2, s3, s4, s5, s6, s7, s8]);
        Ok(Entry { pan: i64::from_be_bytes(p), tid, sequence })
    };
    rows.iter().map(row).collect()
}

/// Writes a part of a run.
pub(super) fn write(writing: &Connection, part: &Part) -> Result<(), StoreError> {
    if part.first {
        // What a run of this number had written when the server died.
        writing.prepare_cached("DELETE FROM token_run_parts WHERE run = ?1")?.execute([part.number])?;
    }
    let mut insert = writing.prepare_cached(
        "INSERT INTO token_run_parts (run, last_pan, last_sequence, rows) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for rows in part.rows.chunks(ROWS) {
        let last = rows.iter().map(|row| (row.pan, row.sequence)).reduce(|a, b| (a.0.max(b.0), a.1.max(b.1)));
        if let Some((pan, sequence)) = last {
            insert.execute((part.number, pan, sequence, encode(rows)))?;
        }
    }
    if let Some(Run { up_to, minutes }) = part.ends {
        let (first, last) = minutes.unzip();
        writing
            .prepare_cached(
                "INSERT INTO token_runs (run, up_to, first_minute, last_minute) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute((part.number, up_to, first, last))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_read_as_it_was_written() {
        let tid = Tid::new(0xABCDEF).unwrap();
        let rows = [
            Entry { pan: 600_727_000_000_000_009, tid: None, sequence: 7 },
            Entry { pan: 600_727_000_000_000_009, tid: Some((BaseDate::Y2035, tid)), sequence: i64::MAX },
        ];
        let bytes = encode(&rows);
        assert_eq!(decode(&bytes).unwrap(), rows);
        assert!(matches!(decode(&bytes[1..]), Err(StoreError::Corrupt { .. })));
        let mut foreign = bytes;
        foreign[ROW + 9] ^= 1;
        assert!(matches!(decode(&foreign), Err(StoreError::Corrupt { .. })), "a base date that is none");
    }
}
