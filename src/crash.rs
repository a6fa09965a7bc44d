//! Named places where a test may ask the process to die, or to stand still.
//!
//! A crash test starts the server with `VENDKEY_CRASH_AT=<name>` and looks at what is left after
//! the process was killed exactly there. With `VENDKEY_HOLD_AT=<name>=<named pipe>` it stops there
//! until the test lets it go on. Release builds compile every point to nothing.
//!
//! | name | where |
//! | --- | --- |
//! | `ledger-before-commit` | token rows are written, their transaction is not committed |
//! | `ledger-after-commit` | token rows are durable, nobody has been told |
//! | `issue-after-record` | the row is durable, its token does not exist |
//! | `issue-after-derivation` | the decoder key is in its page, nothing is encrypted |
//! | `issue-before-answer` | the token exists, nobody has been told |
//! | `key-change-after-record` | the row of a key-change set is durable, its tokens do not exist |
//! | `import-after-begin` | a configuration is IMPORTING, its key is not in the HSM yet |
//! | `approval-before-act` | enough persons approved, the act is not begun |
//! | `approval-after-act` | the act is done, its approval does not say so |
//! | `import-between-objects` | the vending key of a sealed upload is in the HSM, its mask is not |
//! | `import-before-finish` | its key is in the HSM, the row is still IMPORTING |
//! | `import-before-key-added` | one more token holds the key of a configuration, its row does not say so |
//! | `destroy-after-begin` | the row says that destruction has begun, the HSM holds all |
//! | `destroy-between-objects` | the vending key is gone from the HSM, its mask is not |
//! | `destroy-after-keys` | the HSM holds nothing any more, the row does not say so |
//! | `backup-before-name` | a copy of the database is made, and has no name yet |
//! | `migrate-after-mark` | the target of a migration is marked, nothing is in it |
//! | `migrate-between-batches` | some records are in the target |
//! | `migrate-before-close` | all is in the target and was read again, the source may still be served |
//! | `migrate-before-open` | the source is closed, the target is not open yet |
//! | `rotate-after-new-key` | the HSM holds the new key beside the old one, nothing rests on it |
//! | `rotate-after-act` | the rotation is on record (of the server key and the audit key) |
//! | `rotate-between-checkpoints` | the old audit key's last checkpoint is in the file, the database has the one before |
//! | `rotate-before-retire` | everything rests on the new key, the old one is there |

/// The environment variable that names the point at which to die.
pub const CRASH_AT: &str = "VENDKEY_CRASH_AT";

/// The environment variable that names the point at which to stand still, and a named pipe:
/// `name=path`.
pub const HOLD_AT: &str = "VENDKEY_HOLD_AT";

/// Kills this process with SIGKILL, or holds this thread, if a test asked for it at this point.
/// Nothing in release builds.
#[cfg(debug_assertions)]
pub fn point(name: &str) {
    use std::sync::OnceLock;
    static WANTED: OnceLock<Option<String>> = OnceLock::new();

    hold(name);
    if WANTED.get_or_init(|| std::env::var(CRASH_AT).ok()).as_deref() == Some(name) {
        // SIGKILL and not abort(): no handler, no destructor and no buffer may tidy up, as in a
        // power cut.
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        loop {
            std::thread::park();
        }
    }
}

/// Opening a named pipe tells the other end that the point is reached; its closing lets the thread
/// go on. Held once: who comes later passes.
#[cfg(debug_assertions)]
fn hold(name: &str) {
    use std::sync::{Mutex, OnceLock, PoisonError};
    static WANTED: OnceLock<Mutex<Option<String>>> = OnceLock::new();

    let wanted = WANTED.get_or_init(|| Mutex::new(std::env::var(HOLD_AT).ok()));
    let pipe = {
        let mut wanted = wanted.lock().unwrap_or_else(PoisonError::into_inner);
        let here = |wanted: &mut String| wanted.split_once('=').is_some_and(|(point, _)| point == name);
        wanted.take_if(here)
    };
    if let Some((_, pipe)) = pipe.as_deref().and_then(|pipe| pipe.split_once('=')) {
        let _ = std::fs::read(pipe);
    }
}

/// The environment variable that names what is to fail.
pub const FAIL_AT: &str = "VENDKEY_FAIL_AT";

/// Whether a test asked for this to fail: `selftest`, a self-test; `task`, a task of the server
/// that ends before its time; `approval-note`, the note that an approved act is done. Never in release builds.
pub fn fails(name: &str) -> bool {
    cfg!(debug_assertions) && std::env::var(FAIL_AT).is_ok_and(|wanted| wanted == name)
}

/// Kills this process with SIGKILL if a test asked for it at this point. Nothing in release builds.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn point(_name: &str) {}
