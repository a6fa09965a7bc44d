//! Lowering the last TID of a meter: the one way in which it falls.

use std::collections::BTreeMap;

use super::chain::Writing;
use super::meters::{highest_issued, last_tid, pan};
use super::sealed::Reading;
use crate::store::{Actor, LowerRefused, Seed, StoreError};
use crate::sts::tid::Tid;

/// The last TID as it is, if it may become this one.
pub(super) fn lowerable(reading: &Reading, to: Seed) -> Result<Result<Tid, LowerRefused>, StoreError> {
    let Seed { meter, base_date, tid } = to;
    let Some(last) = last_tid(reading, meter, base_date)? else {
        return Ok(Err(LowerRefused::MeterNotFound));
    };
    if last < tid {
        return Ok(Err(LowerRefused::NotLower { last }));
    }
    Ok(match highest_issued(reading, meter, base_date)?.filter(|issued| *issued > tid) {
        Some(issued) => Err(LowerRefused::Issued { issued }),
        None => Ok(last),
    })
}

/// Lowers a last TID and answers what it was.
pub(super) fn lower(
    writing: &Writing,
    to: Seed,
    actor: &Actor,
    now_ms: i64,
) -> Result<Result<Tid, LowerRefused>, StoreError> {
    writing.know_newest()?;
    let was = match lowerable(writing, to)? {
        Ok(was) if was > to.tid => was,
        other => return Ok(other),
    };
    let Seed { meter, base_date, tid } = to;
    let (pan, year) = (pan(meter)?, base_date.year());
    let client = match actor {
        Actor::Local => None,
        Actor::Client { client, .. } => Some(client.to_bytes()),
    };
    writing
        .prepare_cached(
            "INSERT INTO meter_falls (pan, base_date, from_tid, to_tid, actor, at_ms, open)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1)",
        )?
        .execute((pan, year, was.value(), tid.value(), client, now_ms))?;
    writing
        .prepare_cached("UPDATE meters SET last_tid = ?1 WHERE pan = ?2 AND base_date = ?3")?
        .execute((tid.value(), pan, year))?;
    writing.prepare_cached("UPDATE meter_falls SET open = 0 WHERE open = 1")?.execute([])?;
    // Not the meter: as in every record.
    let details = BTreeMap::from([
        ("base_date", year.to_string()),
        ("from", was.value().to_string()),
        ("to", tid.value().to_string()),
    ]);
    writing.append_act("meter.lowered", actor, now_ms, &details)?;
    Ok(Ok(was))
}
