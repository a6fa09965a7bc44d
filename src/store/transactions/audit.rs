//! The records of the chains, checkpoints, and what a start must know of the past.

use super::merge::{OfChain, merge};
use crate::audit::{ChainEnd, ChainId, Entry, Hash, Head, Line, RESTORE_ACCEPTED, Record};
use crate::clock::{Moment, SignOfLife};
use crate::ledger::Cursor;
use crate::store::engine::{Transaction, View};
use crate::store::reading::Reading;
use crate::store::writing::Writing;
use crate::store::{Past, Records, StoreError};

/// How many checkpoints are kept: a day of one every ten seconds. Older ones belong where the
/// database's writers cannot reach.
const CHECKPOINTS_KEPT: i64 = 8_640;

/// Records of all chains from where a cursor stands.
pub(in crate::store) fn records<V: View>(
    reading: &mut Reading<V>,
    after: &Cursor,
    most: usize,
    openings: bool,
) -> Result<Records, StoreError> {
    let mut of_chains = Vec::new();
    for end in reading.view.chains()? {
        let items = of_chain(reading, &end, after.position(end.number), most, openings)?;
        of_chains.push(OfChain { chain: end.number, items, next: None });
    }
    let page = merge(after, of_chains, most);
    Ok(Records { lines: page.items, next: page.next, more: page.more })
}

/// The records of a chain after a position, in its order: one more than `most`, where there is one.
fn of_chain<V: View>(
    reading: &mut Reading<V>,
    end: &ChainEnd,
    after: u64,
    most: usize,
    openings: bool,
) -> Result<Vec<Line>, StoreError> {
    let wanted = most.saturating_add(1);
    let mut lines = Vec::new();
    for row in reading.view.tokens_after(end.number, after, wanted)? {
        let line = row.line(end, openings);
        lines.push(line.map_err(|foreign| StoreError::Corrupt { reason: foreign.to_string() })?);
    }
    for row in reading.view.acts(end.number, after, wanted)? {
        let record = Record { position: row.position, at_ms: row.at_ms, entry: Entry::Act(row.act) };
        lines.push(Line { chain: end.head.chain, record, hash: row.hash, opening: None });
    }
    // Both halves are in order and start at the same place: the first of both together are the
    // first of the chain.
    lines.sort_by_key(|line| line.record.position);
    lines.truncate(wanted);
    Ok(lines)
}

/// How far all chains have come.
pub(in crate::store) fn heads<V: View>(reading: &mut Reading<V>) -> Result<Vec<Head>, StoreError> {
    Ok(reading.view.chains()?.into_iter().map(|end| end.head).collect())
}

/// The hash of a record of the chain of this name.
pub(in crate::store) fn record_hash<V: View>(
    reading: &mut Reading<V>,
    chain: ChainId,
    position: u64,
) -> Result<Option<Hash>, StoreError> {
    let chain = reading.view.chains()?.into_iter().find(|end| end.head.chain == chain);
    chain.map_or(Ok(None), |end| reading.view.record_hash(end.number, position))
}

/// Whether this server accepted a restored database after a position of its chain.
pub(in crate::store) fn restore_accepted_after<V: View>(
    reading: &mut Reading<V>,
    position: u64,
) -> Result<bool, StoreError> {
    let chain = reading.view.chain()?.end.number;
    reading.view.has_act_after(chain, position, &[RESTORE_ACCEPTED])
}

/// The chain of a server that accepted a restored database behind one of these heads.
pub(in crate::store) fn restore_accepted_since<V: View>(
    reading: &mut Reading<V>,
    heads: &[Head],
) -> Result<Option<ChainId>, StoreError> {
    for end in reading.view.chains()? {
        let named = heads.iter().find(|head| head.chain == end.head.chain && head.position > 0);
        if let Some(head) = named
            && reading.view.has_act_after(end.number, head.position, &[RESTORE_ACCEPTED])?
        {
            return Ok(Some(head.chain));
        }
    }
    Ok(None)
}

/// How far the chain of this server has come.
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
    let has_run = reading.view.sign_of_life()?.is_some();
    let sign_of_life = last_sign_of_life(&mut reading.view)?;
    Ok(Past { sign_of_life, has_run, checkpoint: reading.view.last_checkpoint()? })
}

/// The last sign of life of this server.
pub(in crate::store) fn last_sign_of_life<V: View>(view: &mut V) -> Result<Option<SignOfLife>, StoreError> {
    if let Some(sign) = view.sign_of_life()? {
        return Ok(Some(sign));
    }
    // Where it has not lived yet it is the last record of its chain.
    let end = view.chain()?.end;
    let moment = Moment { wall_ms: end.at_ms, uptime: None };
    Ok((end.head.position > 0).then_some(SignOfLife { moment, in_doubt: false }))
}
