//! Looks into tokens that were not issued here.

use std::collections::BTreeMap;

use super::clients;
use crate::audit::{Actor, NewAct};
use crate::ledger::{
    Attempt, Attempted, FAILURES_PER_CLIENT_AND_DAY, FAILURES_PER_METER_AND_HOUR, NewAttempt,
    client_failures_from, meter_failures_from, wait,
};
use crate::store::StoreError;
use crate::store::engine::Transaction;
use crate::store::writing::Writing;

/// Counts an attempt as failed, if a limit leaves room for one.
pub(in crate::store) fn attempt<T: Transaction>(
    writing: &mut Writing<T>,
    new: &NewAttempt,
) -> Result<Attempted, StoreError> {
    let NewAttempt { client, meter, now_ms } = *new;
    let nobody = || StoreError::Defect { reason: "nobody looks into a token".into() };
    let number = clients::load(writing, client)?.ok_or_else(nobody)?.number;
    let (at_meter, of_client) = (meter_failures_from(now_ms), client_failures_from(now_ms));
    let view = &mut writing.view;
    let at_meter = view.failures_at_meter(meter, at_meter, FAILURES_PER_METER_AND_HOUR)?;
    let failures = view.failures_of_client(number, of_client, FAILURES_PER_CLIENT_AND_DAY)?;
    if let Some(retry_after) = wait(&at_meter, &failures, now_ms) {
        return Ok(Attempted::Limited { retry_after });
    }
    let attempt = Attempt(view.insert_failure(number, meter, now_ms, of_client)?);
    // Of the look, not of its outcome: it is on record before anything is told. The meter is not,
    // as in every record.
    let details = BTreeMap::from([("client", client.to_string())]);
    writing.append_act(&NewAct { kind: "verification.attempted", actor: Actor::Local, details, now_ms })?;
    Ok(Attempted::Granted(attempt))
}
