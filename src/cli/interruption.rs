//! What a signal finds: it ends a command at any moment (Ctrl-C), and what was begun is left so that
//! the command can be repeated. Files that are not whole are taken away, and where the server may
//! have done something that only this command knows how to ask for again, that is told.
//!
//! A command that has left nothing here ends by the signal itself.

use std::{
    fs,
    path::PathBuf,
    sync::{Mutex, MutexGuard, Once, PoisonError},
};

use tokio::signal::unix::{SignalKind, signal};

use super::stdout;

/// What is to be done when a signal ends the command.
enum Left {
    /// This is told.
    Told(String),
    /// This file goes.
    File(PathBuf),
}

/// All that is to be done, each with the number of its guard.
struct All {
    next: u64,
    left: Vec<(u64, Left)>,
}

static ALL: Mutex<All> = Mutex::new(All { next: 0, left: Vec::new() });

/// What is to be done as long as this lives.
pub(super) struct Guard(u64);

/// Tells this when a signal ends the command.
pub(super) fn tell(text: String) -> Guard {
    Guard::new(Left::Told(text))
}

/// Takes a file away when a signal ends the command.
pub(super) fn remove(file: PathBuf) -> Guard {
    Guard::new(Left::File(file))
}

impl Guard {
    fn new(left: Left) -> Self {
        static WATCHED: Once = Once::new();
        // Where signals cannot be watched, the system ends the process, as it does without this.
        WATCHED.call_once(|| drop(watch()));
        let mut all = all();
        all.next += 1;
        let number = all.next;
        all.left.push((number, left));
        Self(number)
    }

    /// Does this and ends what is to be done, with no signal in between.
    pub(super) fn end_with<T>(self, act: impl FnOnce() -> T) -> T {
        let mut all = all();
        let done = act();
        all.left.retain(|(number, _)| *number != self.0);
        drop(all);
        done
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        all().left.retain(|(number, _)| *number != self.0);
    }
}

fn all() -> MutexGuard<'static, All> {
    ALL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for signals on a thread of its own: the command's own may be reading a pipe.
fn watch() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    // From here on none is missed.
    let entered = runtime.enter();
    let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
    let [mut interrupt, mut terminate, mut hangup] =
        [signal(kinds[0])?, signal(kinds[1])?, signal(kinds[2])?];
    drop(entered);
    let wait = move || {
        let number = runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => kinds[0],
                _ = terminate.recv() => kinds[1],
                _ = hangup.recv() => kinds[2],
            }
        });
        end(number.as_raw_value());
    };
    std::thread::Builder::new().name("signals".into()).spawn(wait).map(drop)
}

/// Does what is left to do, and ends the process as shells name the end by a signal.
fn end(signal: i32) -> ! {
    // Held to the end: nothing more is begun.
    let all = all();
    for (_, left) in &all.left {
        match left {
            Left::Told(text) => stdout::note(format!("interrupted\n{text}")),
            Left::File(file) => drop(fs::remove_file(file)),
        }
    }
    std::process::exit(128 + signal)
}
