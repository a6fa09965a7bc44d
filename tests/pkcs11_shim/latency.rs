//! How long a call takes, and how many are served at once.

use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// What the environment asks for.
struct Limits {
    latency: Duration,
    /// Calls that may still begin.
    free: Mutex<usize>,
    freed: Condvar,
}

fn limits() -> &'static Limits {
    static LIMITS: OnceLock<Limits> = OnceLock::new();
    LIMITS.get_or_init(|| {
        let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let calls = number("PKCS11_SHIM_CALLS").and_then(|calls| usize::try_from(calls).ok());
        Limits {
            latency: Duration::from_micros(number("PKCS11_SHIM_LATENCY_US").unwrap_or(0)),
            free: Mutex::new(calls.unwrap_or(usize::MAX).max(1)),
            freed: Condvar::new(),
        }
    })
}

/// Waits until one of the places is free, holds it for the latency, and runs the call.
///
/// The module's own work comes after the wait: it is not a part of the latency, as SoftHSM works on the
/// caller's processor and a network HSM on its own.
pub(crate) fn slowly<R>(run: impl FnOnce() -> R) -> R {
    let limits = limits();
    if limits.latency.is_zero() {
        return run();
    }
    let free = limits.free.lock().unwrap_or_else(PoisonError::into_inner);
    let mut free = limits.freed.wait_while(free, |free| *free == 0).unwrap_or_else(PoisonError::into_inner);
    *free -= 1;
    drop(free);
    std::thread::sleep(limits.latency);
    *limits.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
    limits.freed.notify_one();
    run()
}
