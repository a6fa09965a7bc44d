//! The records of the chain, checkpoints, and what a start must know of the past.

use crate::audit::{Entry, Head, Line, Record};
use crate::clock::{Moment, SignOfLife};
use crate::store::engine::{Transaction, View};
use crate::store::reading::Reading;
use crate::store::writing::Writing;
use crate::store::{Past, Records, StoreError};

/// How many checkpoints are kept: a day of one every ten seconds. Older ones belong where the
/// database's writers cannot reach.
const CHECKPOINTS_KEPT: i64 = 8_640;

/// Records after a position, in the order of the chain.
pub(in crate::store) fn records<V: View>(
    reading: &mut Reading<V>,
    after: u64,
    most: usize,
    openings: bool,
) -> Result<Records, StoreError> {
    let end = reading.view.chain()?.end;
    let wanted = most.saturating_add(1);
    let mut lines = Vec::new();
    for row in reading.view.tokens_after(after, wanted)? {
        let line = row.line(&end, openings);
        lines.push(line.map_err(|foreign| StoreError::Corrupt { reason: foreign.to_string() })?);
    }
    for row in reading.view.acts(after, wanted)? {
        let record = Record { position: row.position, at_ms: row.at_ms, entry: Entry::Act(row.act) };
        lines.push(Line { chain: end.head.chain, record, hash: row.hash, opening: None });
    }
    // Both halves are in order and start at the same place: the first of both together are the
    // first of the chain.
    lines.sort_by_key(|line| line.record.position);
    let more = lines.len() > most;
    lines.truncate(most);
    Ok(Records { lines, more })
}

/// How far the chain has come.
pub(in crate::store) fn head<V: View>(reading: &mut Reading<V>) -> Result<Head, StoreError> {
    Ok(reading.view.chain()?.end.head)
}

/// Keeps a checkpoint. The same number again is a defect of the caller.
pub(in crate::store) fn keep_checkpoint<T: Transaction>(
    writing: &mut Writing<T>,
    number: u64,
    text: &str,
) -> Result<(), StoreError> {
    let number =
        i64::try_from(number).map_err(|_| StoreError::Defect { reason: "too many checkpoints".into() })?;
    writing.view.insert_checkpoint(number, text, number.saturating_sub(CHECKPOINTS_KEPT))
}

/// What a start must know of the past.
pub(in crate::store) fn past<V: View>(reading: &mut Reading<V>) -> Result<Past, StoreError> {
    let sign_of_life = match reading.view.sign_of_life()? {
        Some(sign) => Some(sign),
        // In a database in which no server has lived yet it is the last record of the chain.
        None => {
            let end = reading.view.chain()?.end;
            let moment = Moment { wall_ms: end.at_ms, uptime: None };
            (end.head.position > 0).then_some(SignOfLife { moment, in_doubt: false })
        }
    };
    Ok(Past { sign_of_life, checkpoint: reading.view.last_checkpoint()? })
}
