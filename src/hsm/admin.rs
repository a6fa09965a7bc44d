//! The admin thread and the sealing thread: work that takes milliseconds, so that it never stands
//! before a token.

use std::sync::Arc;

use super::capabilities::Capabilities;
use super::module::Module;

/// One piece of work.
pub(super) type AdminJob = Box<dyn FnOnce(&Module, &Capabilities) + Send>;

/// Serves until the queue is closed.
pub(super) fn run(module: &Arc<Module>, capabilities: &Capabilities, jobs: &flume::Receiver<AdminJob>) {
    for job in jobs.iter() {
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| job(module, capabilities)));
        if done.is_err() {
            tracing::error!("a job panicked on the HSM's admin thread");
        }
    }
}
