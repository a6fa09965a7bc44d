//! The last TIDs of meters: seeded, lowered; and the floors of a restored database.

use std::collections::{BTreeMap, HashMap};

use super::approvals;
use crate::access::approval::forget;
use crate::audit::{Actor, NewAct, RESTORE_ACCEPTED};
use crate::id::ClientId;
use crate::ledger::{AcceptedRestore, LastTids, LowerRefused, Seed, lowerable};
use crate::store::StoreError;
use crate::store::engine::{Transaction, View};
use crate::store::reading::Reading;
use crate::store::writing::Writing;
use crate::sts::attributes::BaseDate;
use crate::sts::meter::MeterPan;
use crate::sts::tid::Tid;

/// Raises the last TIDs of meters, never lowers one, and answers how many rose.
pub(in crate::store) fn seed<T: Transaction>(
    writing: &mut Writing<T>,
    seeds: &[Seed],
    actor: Actor,
    now_ms: i64,
) -> Result<u64, StoreError> {
    let meters: Vec<(MeterPan, BaseDate)> = seeds.iter().map(|seed| (seed.meter, seed.base_date)).collect();
    let known = writing.view.last_tids(&meters)?;
    let mut last: HashMap<(MeterPan, BaseDate), Option<Tid>> =
        meters.iter().copied().zip(known.iter().map(|known| known.last)).collect();
    let mut raised = 0;
    for Seed { meter, base_date, tid } in seeds {
        let last = last.entry((*meter, *base_date)).or_default();
        if *last < Some(*tid) {
            *last = Some(*tid);
            raised += 1;
        }
    }
    let risen: Vec<(MeterPan, BaseDate, Tid)> = meters
        .into_iter()
        .zip(known)
        .filter_map(|((meter, base_date), known)| {
            // Each meter once, with its highest.
            let tid = last.remove(&(meter, base_date)).flatten().filter(|tid| known.last < Some(*tid))?;
            Some((meter, base_date, tid))
        })
        .collect();
    writing.view.raise_last_tids(&risen)?;
    let details = BTreeMap::from([("meters", seeds.len().to_string()), ("raised", raised.to_string())]);
    writing.append_act(&NewAct { kind: "meters.seeded", actor, details, now_ms })?;
    Ok(raised)
}

/// The last TID as it is, if it may become this one.
pub(in crate::store) fn may_lower<V: View>(
    reading: &mut Reading<V>,
    to: Seed,
) -> Result<Result<Tid, LowerRefused>, StoreError> {
    Ok(lowerable(known(reading, to)?, to.tid))
}

/// Lowers a last TID and answers what it was.
pub(in crate::store) fn lower<T: Transaction>(
    writing: &mut Writing<T>,
    to: Seed,
    actor: Actor,
    now_ms: i64,
) -> Result<Result<Tid, LowerRefused>, StoreError> {
    let was = match lowerable(known(writing, to)?, to.tid) {
        Ok(was) if was > to.tid => was,
        Ok(same) => {
            writing.append_unchanged(&actor, now_ms)?;
            return Ok(Ok(same));
        }
        Err(refused) => return Ok(Err(refused)),
    };
    let by: Option<ClientId> = match &actor {
        Actor::Local => None,
        Actor::Client { client, .. } => Some(*client),
    };
    writing.view.lower_last_tid((to.meter, to.base_date), was, to.tid, by, now_ms)?;
    // Not the meter: as in every record.
    let details = BTreeMap::from([
        ("base_date", to.base_date.year().to_string()),
        ("from", was.value().to_string()),
        ("to", to.tid.value().to_string()),
    ]);
    writing.append_act(&NewAct { kind: "meter.lowered", actor, details, now_ms })?;
    Ok(Ok(was))
}

/// The last TID of a meter under a base date.
pub(in crate::store) fn last_tid<V: View>(
    reading: &mut Reading<V>,
    meter: MeterPan,
    base_date: BaseDate,
) -> Result<Option<Tid>, StoreError> {
    Ok(reading.view.last_tids(&[(meter, base_date)])?.pop().unwrap_or_default().last)
}

fn known<V: View>(reading: &mut Reading<V>, of: Seed) -> Result<LastTids, StoreError> {
    Ok(reading.view.last_tids(&[(of.meter, of.base_date)])?.pop().unwrap_or_default())
}

/// Takes a database that lost commits as it is.
pub(in crate::store) fn accept_restore<T: Transaction>(
    writing: &mut Writing<T>,
    accepted: AcceptedRestore,
) -> Result<(), StoreError> {
    let AcceptedRestore { actor, floors, requests_from_ms, lost_from, details, now_ms } = accepted;
    raise(writing, floors, requests_from_ms)?;
    go_on_behind(writing, lost_from)?;
    // The first record behind the gap, which tells what the gap is.
    writing.append_act(&NewAct { kind: RESTORE_ACCEPTED, actor, details, now_ms })?;
    approvals::end_pending(writing, |approval| forget(approval, now_ms))
}

/// Takes a ledger that does not hold as it is: the records stay, and so do their numbers.
pub(super) fn accept_damage<T: Transaction>(
    writing: &mut Writing<T>,
    accepted: AcceptedRestore,
) -> Result<(), StoreError> {
    let AcceptedRestore { actor, floors, requests_from_ms, details, now_ms, .. } = accepted;
    raise(writing, floors, requests_from_ms)?;
    writing.append_act(&NewAct { kind: "ledger.damage_accepted", actor, details, now_ms })?;
    approvals::end_pending(writing, |approval| forget(approval, now_ms))
}

/// Raises the floors: nothing below them is given or answered anew.
fn raise<T: Transaction>(
    writing: &mut Writing<T>,
    floors: Vec<(BaseDate, Tid)>,
    requests_from_ms: i64,
) -> Result<(), StoreError> {
    writing.raise_floors(|known| {
        floors.into_iter().for_each(|(base_date, tid)| known.raise_tid(base_date, tid));
        known.requests_from_ms = known.requests_from_ms.max(requests_from_ms);
    })
}

/// Goes on with a database that another server has accepted.
pub(in crate::store) fn follow_restore<T: Transaction>(
    writing: &mut Writing<T>,
    lost_from: u64,
    details: BTreeMap<&'static str, String>,
    now_ms: i64,
) -> Result<(), StoreError> {
    go_on_behind(writing, lost_from)?;
    writing.append_act(&NewAct { kind: RESTORE_ACCEPTED, actor: Actor::Local, details, now_ms })
}

/// Lets the numbers of this server's records go on behind those that may have been lost.
fn go_on_behind<T: Transaction>(writing: &mut Writing<T>, lost_from: u64) -> Result<(), StoreError> {
    let lost_from = lost_from.max(writing.accept_lost());
    writing.skip_positions(lost_from)
}
