//! The guardian: a thread that watches the token through a canary and heals the module when it falls silent.

use std::sync::Arc;
use std::time::Duration;

use super::error::HsmError;
use super::module::{Health, Module};

/// First and longest pause between two attempts to heal.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// The guardian's seat. It stays open, so that the login outlives other threads' sessions.
pub(super) const SEAT: usize = 0;

/// Runs until the process stops or the PIN is refused.
pub(super) fn run(module: &Arc<Module>, alarms: &flume::Receiver<()>) {
    loop {
        // A message and the end of the wait mean the same: look now.
        let _ = alarms.recv_timeout(module.settings().canary);
        if module.stopping() {
            return;
        }
        let outcome = match module.canary(SEAT) {
            Ok(()) => Ok(()),
            Err(error) => heal(module, alarms, error),
        };
        match outcome {
            Ok(()) => {
                // After healing the workers know nothing; else this costs a look at each seat.
                module.warm(None);
                become_well(module);
            }
            Err(HsmError::Stopped) => return,
            Err(error) => {
                // Trying a refused PIN again may lock the token for good.
                module.fall_ill(&error);
                return;
            }
        }
    }
}

/// Rebuilds until the canary sings again.
///
/// # Errors
/// [`HsmError::PinRefused`] or [`HsmError::Stopped`]: there is no point in going on.
fn heal(module: &Module, alarms: &flume::Receiver<()>, mut error: HsmError) -> Result<(), HsmError> {
    let (mut pause, longest) = PAUSES;
    let mut attempts = 0_u32;
    loop {
        if matches!(error, HsmError::PinRefused(_) | HsmError::Stopped) {
            return Err(error);
        }
        module.fall_ill(&error);
        attempts = attempts.saturating_add(1);
        match module.rebuild().and_then(|()| module.canary(SEAT)) {
            Ok(()) => {
                tracing::warn!(attempts, "the HSM is healed");
                return Ok(());
            }
            Err(again) => error = again,
        }
        // Sleeps through alarms that healing itself raises, but not through the end of the process.
        let until = std::time::Instant::now() + pause;
        while let Some(left) = until.checked_duration_since(std::time::Instant::now()) {
            let _ = alarms.recv_timeout(left);
            if module.stopping() {
                return Err(HsmError::Stopped);
            }
        }
        pause = (pause * 2).min(longest);
    }
}

fn become_well(module: &Module) {
    module.health().send_if_modified(|health| {
        let news = *health != Health::Well;
        *health = Health::Well;
        news
    });
}
