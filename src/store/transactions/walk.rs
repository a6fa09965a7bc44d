//! The walk over the whole ledger: what it reads.

use super::tids;
use crate::audit::{Actor, ChainEnd, Entry, Hash, Line, NewAct, Record, SignedCheckpoint};
use crate::ledger::{AcceptedRestore, Damage, Met, RowContent, Sequence, TokenRow, Walk};
use crate::store::StoreError;
use crate::store::engine::{Behind, Row, Select, Table, Transaction, Value, View};
use crate::store::reading::Reading;
use crate::store::writing::Writing;
use crate::sts::attributes::BaseDate;
use crate::sts::meter::MeterPan;
use crate::sts::tid::Tid;

/// What a part of the walk came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalkPart {
    /// How far it has come.
    pub walk: Walk,
    /// How much it has read: records, and heads that checkpoints name.
    pub read: u64,
    /// Whether the pass came to its end.
    pub whole: bool,
}

/// Walks on, and reads at most so many records.
pub(in crate::store) fn on<V: View>(
    reading: &mut Reading<V>,
    walk: Walk,
    most: usize,
    audit_key: &[u8],
    now_ms: i64,
) -> Result<WalkPart, StoreError> {
    // The records and the end of their chain must be of one state.
    reading.snapshot(|reading| {
        let mut part = WalkPart { walk, read: 0, whole: false };
        for end in reading.view.chains()? {
            if let Some((position, hash)) = part.walk.place(&end) {
                walk_chain(reading, &mut part, &end, position, hash, most)?;
                return Ok(part);
            }
        }
        walk_checkpoints(reading, &mut part, most, audit_key)?;
        if part.whole {
            part.walk.whole(now_ms);
        }
        Ok(part)
    })
}

fn walk_chain<V: View>(
    reading: &mut Reading<V>,
    part: &mut WalkPart,
    end: &ChainEnd,
    position: u64,
    hash: Hash,
    most: usize,
) -> Result<(), StoreError> {
    let walk = &mut part.walk;
    if position > 0 {
        match reading.view.record_hash(end.number, position)? {
            Some(found) if found == hash && position <= end.head.position => {}
            Some(found) if position <= end.head.position => walk.moved(end, position, found),
            Some(_) | None => {
                walk.begin_again(end);
                return Ok(());
            }
        }
    }
    let mut met = stretch(reading, end, position, most)?;
    let more = met.len() > most;
    met.truncate(most);
    part.read += met.len() as u64;
    let mut given = Vec::new();
    for (met, row) in met {
        if walk.meet(end, &met)
            && let (Met::Record(line), Some(row)) = (met, row)
        {
            given.extend(given_tid(&row).map(|given| (given, line.record.position, line.hash)));
        }
    }
    look_at_tids(reading, walk, end, &given)?;
    if !more {
        walk.ends(end);
    }
    Ok(())
}

/// A record, and the row that it is of, where that can be read.
type WithRow = (Met, Option<TokenRow>);

/// The records of a chain after a position, in its order: one more than `most`, where there is one.
fn stretch<V: View>(
    reading: &mut Reading<V>,
    end: &ChainEnd,
    after: u64,
    most: usize,
) -> Result<Vec<WithRow>, StoreError> {
    let wanted = most.saturating_add(1);
    let mut met: Vec<(u64, WithRow)> = Vec::new();
    for (position, row) in reading.view.kept_tokens(end.number, after, wanted)? {
        let line =
            row.ok().and_then(|row| Some((row.clone().line(end, false).ok()?, TokenRow::try_from(row).ok())));
        met.push(match line {
            Some((line, row)) => (position, (Met::Record(Box::new(line)), row)),
            None => (position, (Met::Unreadable(position, kept_hash(reading, end, position)), None)),
        });
    }
    for (position, act) in reading.view.kept_acts(end.number, after, wanted)? {
        met.push(match act {
            Ok(row) => {
                let record = Record { position, at_ms: row.at_ms, entry: Entry::Act(row.act) };
                let line = Line { chain: end.head.chain, record, hash: row.hash, opening: None };
                (position, (Met::Record(Box::new(line)), None))
            }
            Err(_) => (position, (Met::Unreadable(position, kept_hash(reading, end, position)), None)),
        });
    }
    met.sort_by_key(|(position, _)| *position);
    Ok(met.into_iter().take(wanted).map(|(_, met)| met).collect())
}

/// The hash that is kept with a record that cannot be read; none where that cannot be read either.
fn kept_hash<V: View>(reading: &mut Reading<V>, end: &ChainEnd, position: u64) -> Option<Hash> {
    reading.view.record_hash(end.number, position).ok().flatten()
}

fn given_tid(row: &TokenRow) -> Option<(MeterPan, BaseDate, Tid)> {
    match &row.content {
        RowContent::Sequenced { meter, base_date, tid, .. } => Some((*meter, *base_date, *tid)),
        RowContent::Fixed { .. } | RowContent::KeyChange { .. } => None,
    }
}

/// A TID with its row: the position and the hash of the record.
type Given = ((MeterPan, BaseDate, Tid), u64, Hash);

/// No meter's last TID is below one that it was given.
fn look_at_tids<V: View>(
    reading: &mut Reading<V>,
    walk: &mut Walk,
    end: &ChainEnd,
    given: &[Given],
) -> Result<(), StoreError> {
    if given.is_empty() {
        return Ok(());
    }
    let meters: Vec<(MeterPan, BaseDate)> =
        given.iter().map(|((meter, base_date, _), ..)| (*meter, *base_date)).collect();
    let known = reading.view.last_tids(&meters)?;
    for (((_, _, tid), position, hash), known) in given.iter().zip(known) {
        if known.last < Some(*tid) {
            walk.tid_too_low(end, *position, *hash);
        }
    }
    Ok(())
}

fn walk_checkpoints<V: View>(
    reading: &mut Reading<V>,
    part: &mut WalkPart,
    most: usize,
    audit_key: &[u8],
) -> Result<(), StoreError> {
    let ends = reading.view.chains()?;
    // Each costs an RSA operation.
    let checkpoints = reading.view.checkpoints(part.walk.checkpoint(), most.clamp(1, CHECKPOINTS))?;
    part.whole = checkpoints.is_empty();
    for (number, text) in checkpoints {
        part.read += 1;
        let verified =
            SignedCheckpoint::parse(&text).and_then(|signed| signed.verify(audit_key).map(|()| signed));
        let Some(signed) = part.walk.meet_checkpoint(number, &text, verified) else { continue };
        for head in signed.checkpoint.heads.iter().filter(|head| head.position > 0) {
            part.read += 1;
            let end = ends.iter().find(|end| end.head.chain == head.chain);
            let found = match end {
                Some(end) => reading.view.record_hash(end.number, head.position)?,
                None => None,
            };
            let lost = match (end, found) {
                (Some(end), None) => is_lost(reading, end, head.position)?,
                _ => false,
            };
            if found != Some(head.hash) && !lost {
                part.walk.not_of_checkpoint(number, &head.chain.to_string(), head.position, found);
            }
        }
    }
    Ok(())
}

/// How many checkpoints are looked at at once.
const CHECKPOINTS: usize = 20;

/// Whether a record is one of those that a restored database has lost, which was accepted.
fn is_lost<V: View>(reading: &mut Reading<V>, end: &ChainEnd, position: u64) -> Result<bool, StoreError> {
    let behind = Behind::read(&mut reading.view, Sequence::of(end.number, position))?;
    Ok(matches!(behind, Some(Behind::Act(act)) if act.act.kind == crate::audit::RESTORE_ACCEPTED))
}

/// How far the walk has come, as it is kept; none where nothing was found yet and nobody knows how far
/// it was.
pub(in crate::store) fn kept<V: View>(reading: &mut Reading<V>) -> Result<Option<Walk>, StoreError> {
    reading.snapshot(|reading| {
        let walk: Option<Walk> = match reading.load_one(Select::all(Table::LedgerWalk)) {
            Ok(Some(row)) => Some(row.json("state")?),
            Ok(None) => None,
            Err(StoreError::Forged { row }) => {
                tracing::warn!(
                    row,
                    "how far the ledger was walked does not bear its seal: the walk begins anew"
                );
                None
            }
            Err(error) => return Err(error),
        };
        let ends = reading.view.chains()?;
        for end in &ends {
            let from = walk.as_ref().map_or(0, |walk| walk.kept_at(end.number));
            if reading.view.has_act_after(end.number, from, &[Walk::DAMAGED])? {
                return Ok(Some(Walk::unknown(&ends)));
            }
        }
        Ok(walk)
    })
}

/// Keeps how far it has come, with what was accepted meanwhile, and answers it. What is found is put on
/// record with it.
pub(in crate::store) fn keep<T: Transaction>(
    writing: &mut Writing<T>,
    mut walk: Walk,
    now_ms: i64,
) -> Result<Walk, StoreError> {
    let before = match kept(writing)? {
        Some(kept) => {
            walk.accept_as(&kept);
            kept.damages()
        }
        None => Vec::new(),
    };
    for Damage { place, fault, .. } in walk.damages().into_iter().filter(|damage| !before.contains(damage)) {
        let details = [("place", place), ("fault", fault)].into();
        writing.append_act(&NewAct { kind: Walk::DAMAGED, actor: Actor::Local, details, now_ms })?;
    }
    put(writing, &mut walk)?;
    Ok(walk)
}

fn put<T: Transaction>(writing: &mut Writing<T>, walk: &mut Walk) -> Result<(), StoreError> {
    let own = writing.chain()?.end;
    let mut ends = writing.view.chains()?;
    ends.iter_mut().filter(|end| end.number == own.number).for_each(|end| *end = own);
    walk.keep_at(&ends);
    let state = serde_json::to_string(walk)
        .map_err(|error| StoreError::Defect { reason: format!("how far the ledger was walked: {error}") })?;
    let columns = [("state", Value::from(state))];
    let row: Option<Row> = writing.view.rows(&Select::all(Table::LedgerWalk))?.into_iter().next();
    match row {
        Some(row) => writing.put_row(&row, &columns),
        None => writing.insert(Table::LedgerWalk, &columns).map(drop),
    }
}

/// Takes a ledger that does not hold as it is, as far as it was seen, on record: what was changed or
/// taken out may have had any TID, and may have answered any request. Answers what else was found.
pub(in crate::store) fn accept<T: Transaction>(
    writing: &mut Writing<T>,
    accepted: AcceptedRestore,
    seen: &[Damage],
) -> Result<Vec<Damage>, StoreError> {
    let mut walk = kept(writing)?.unwrap_or_default();
    walk.accept(seen);
    put(writing, &mut walk)?;
    tids::accept_damage(writing, accepted)?;
    Ok(walk.damages())
}
