//! What is neither under seal nor a record: what is known of meters, sums, failed looks into foreign
//! tokens, floors, the last checkpoint, and when servers last lived.

use super::{Checked, MigrationError, Progress, Step, Watch};
use crate::audit::SignedCheckpoint;
use crate::ledger::Hours;
use crate::store::StoreError;
use crate::store::engine::{Copyable, FailedLook};
use crate::store::writing::Writing;

/// Copies it. Leases are not copied: whoever starts takes them.
pub(super) fn copy<S: Copyable, T: Copyable>(
    source: &mut Writing<S>,
    target: &mut Writing<T>,
    checked: &Checked,
    batch: usize,
    watch: Watch<'_>,
) -> Result<(), MigrationError> {
    meters(source, target, batch, watch)?;
    for day in source.view.days_of_sums().map_err(MigrationError::source)? {
        let sums = source.view.sums_of_day(day).map_err(MigrationError::source)?;
        target.transact(|target| target.view.put_sums(&sums, &[])).map_err(MigrationError::target)?;
    }
    let mut read = || Ok((source.view.vended_hours(Hours::ALL)?, source.view.refused_hours(Hours::ALL)?));
    let (vended, refused) = read().map_err(MigrationError::source)?;
    let written = target.transact(|target| target.view.copy_reports(&vended, &refused));
    written.map_err(MigrationError::target)?;
    target.view.tidy_up();
    let mut read = || {
        Ok((
            source.view.failures()?,
            source.view.chain()?.floors,
            source.view.sign_of_life()?,
            source.view.last_checkpoint()?,
        ))
    };
    let (failures, floors, sign, checkpoint) = read().map_err(MigrationError::source)?;
    let written = target.transact(|target| {
        let view = &mut target.view;
        put_failures(view, &failures)?;
        view.put_floors(&floors)?;
        if let Some(text) = &checkpoint {
            put_checkpoint(view, text)?;
        }
        if let Some(sign) = &sign {
            view.put_sign_of_life(sign)?;
        }
        // Behind the sign of life: the server has not lived here.
        for (server, end) in &checked.chains {
            view.put_chain(server, end)?;
        }
        view.end_copy()
    });
    written.map_err(MigrationError::target)
}

fn meters<S: Copyable, T: Copyable>(
    source: &mut Writing<S>,
    target: &mut Writing<T>,
    batch: usize,
    watch: Watch<'_>,
) -> Result<(), MigrationError> {
    let (mut after, mut done) = (None, 0);
    loop {
        let meters = source.view.meters_after(after, batch).map_err(MigrationError::source)?;
        let Some(last) = meters.last() else { return Ok(()) };
        after = Some((last.meter, last.base_date));
        target.transact(|target| target.view.copy_meters(&meters)).map_err(MigrationError::target)?;
        target.view.tidy_up();
        done += meters.len() as u64;
        watch(Progress { step: Step::Meters, done, of: None });
    }
}

/// Makes the failed looks those of the source, which an earlier run may have written.
fn put_failures<T: Copyable>(target: &mut T, failures: &[FailedLook]) -> Result<(), StoreError> {
    for known in target.failures()? {
        target.delete_failure(known.number)?;
    }
    for FailedLook { client, meter, at_ms, .. } in failures {
        target.insert_failure(*client, *meter, *at_ms, i64::MIN)?;
    }
    Ok(())
}

/// Writes the last checkpoint, unless an earlier run has.
fn put_checkpoint<T: Copyable>(target: &mut T, text: &str) -> Result<(), StoreError> {
    let number = |text: &str| {
        let signed = SignedCheckpoint::parse(text)
            .map_err(|error| StoreError::Corrupt { reason: error.to_string() })?;
        i64::try_from(signed.checkpoint.number)
            .map_err(|_| StoreError::Defect { reason: "too many checkpoints".into() })
    };
    if target.last_checkpoint()?.as_deref() == Some(text) {
        return Ok(());
    }
    let number = number(text)?;
    target.insert_checkpoint(number, text, number.saturating_sub(1))
}
