//! Another row-seal key: every row that decides gets a seal by it, while no server runs.

use std::sync::Arc;

use super::engine::Transaction;
use super::reading::Reading;
use super::seals::Seals;
use super::writing::Writing;
use super::{OpenError, SealReport, Sealer};
use crate::audit::NewAct;

/// Seals every row that decides by the new key, in one transaction together with the act. Does
/// nothing where all bear seals by the new key already.
///
/// # Errors
/// [`OpenError::Forged`] unless every row bears a seal by the old key.
pub(super) fn reseal<T: Transaction>(
    connection: T,
    old: Arc<dyn Sealer>,
    new: Arc<dyn Sealer>,
    act: &NewAct,
) -> Result<(), OpenError> {
    let new = Arc::new(Seals::new(new));
    let mut by_new = Reading::new(connection, Arc::clone(&new));
    if by_new.verify_seals()?.is_sound() {
        return Ok(());
    }
    let mut by_old = Reading::new(by_new.view, Arc::new(Seals::new(old)));
    let SealReport { forged, rows_missing } = by_old.verify_seals()?;
    if !forged.is_empty() || rows_missing {
        return Err(OpenError::Forged { rows: forged, taken_out_or_put_back: rows_missing });
    }
    let mut writing = Writing::new(Reading::new(by_old.view, new), 0);
    writing.transact(|writing| {
        writing.view.lock_rows()?;
        writing.seal_all()?;
        writing.append_act_once(act)
    })?;
    Ok(())
}
