//! The monitor: a thread that asks the token for an HMAC now and then, and rebuilds the module when
//! it does not answer.

use std::sync::Arc;
use std::time::Duration;

use super::error::HsmError;
use super::module::{MONITOR_SESSION, Module};

/// First and longest pause between two attempts to heal.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// Runs until the process stops or the PIN is refused.
pub(super) fn run(module: &Arc<Module>, alarms: &flume::Receiver<()>) {
    loop {
        // A message and the end of the wait mean the same: look now.
        let _ = alarms.recv_timeout(module.settings().check_interval);
        if module.stopping() {
            return;
        }
        let outcome = match module.check_token(MONITOR_SESSION) {
            Ok(()) => Ok(()),
            Err(error) => heal(module, alarms, error),
        };
        match outcome {
            Ok(()) => {
                // After a rebuild the workers know no handles; else this costs nothing.
                module.load_handles(None);
                module.set_healthy();
            }
            Err(HsmError::Stopped) => return,
            Err(error) => {
                // Trying a refused PIN again may lock the token for good.
                module.set_unhealthy(&error);
                return;
            }
        }
    }
}

/// Rebuilds until the token answers again.
///
/// # Errors
/// [`HsmError::PinRefused`] or [`HsmError::Stopped`]: there is no point in going on.
fn heal(module: &Module, alarms: &flume::Receiver<()>, mut error: HsmError) -> Result<(), HsmError> {
    let (mut pause, longest) = PAUSES;
    let mut attempts = 0_u32;
    loop {
        if matches!(error, HsmError::PinRefused(_) | HsmError::PinRefusedBefore { .. } | HsmError::Stopped) {
            return Err(error);
        }
        module.set_unhealthy(&error);
        attempts = attempts.saturating_add(1);
        match module.rebuild().and_then(|()| module.check_token(MONITOR_SESSION)) {
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
