//! What the calls of one connection do: how many run, and how long the client lets an answer wait.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// What the calls of a connection do.
pub(super) struct Activity(Mutex<Doing>);

struct Doing {
    /// The running calls, with the time since which a part of the answer waits for the client, if
    /// one does.
    calls: HashMap<u64, Option<Instant>>,
    next: u64,
    idle_since: Instant,
}

pub(super) struct Seen {
    pub(super) calls: usize,
    /// Whether there was ever a call.
    pub(super) used: bool,
    pub(super) idle_since: Instant,
    pub(super) longest_untaken: Duration,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Doing { calls: HashMap::new(), next: 0, idle_since: Instant::now() }))
    }

    fn with<T>(&self, change: impl FnOnce(&mut Doing) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn look(&self, now: Instant) -> Seen {
        self.with(|doing| Seen {
            calls: doing.calls.len(),
            used: doing.next > 0,
            idle_since: doing.idle_since,
            longest_untaken: doing
                .calls
                .values()
                .flatten()
                .map(|since| now.saturating_duration_since(*since))
                .max()
                .unwrap_or_default(),
        })
    }

    /// A call begins; it ends when the guard is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> CallGuard {
        let number = self.with(|doing| {
            doing.next += 1;
            doing.calls.insert(doing.next, None);
            doing.next
        });
        CallGuard { activity: self.clone(), number }
    }
}

/// A running call.
pub(super) struct CallGuard {
    activity: Arc<Activity>,
    number: u64,
}

impl CallGuard {
    /// A part of the answer was handed to the transport.
    pub(super) fn given(&self) {
        self.activity.with(|doing| doing.calls.insert(self.number, Some(Instant::now())));
    }

    /// The transport asks for the next part, so that the client has room for it.
    pub(super) fn taken(&self) {
        self.activity.with(|doing| doing.calls.insert(self.number, None));
    }
}

impl Drop for CallGuard {
    fn drop(&mut self) {
        self.activity.with(|doing| {
            doing.calls.remove(&self.number);
            doing.idle_since = Instant::now();
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_is_not_taken_is_seen() {
        let activity = Arc::new(Activity::new());
        assert!(!activity.look(Instant::now()).used);
        let guard = activity.begin();
        guard.given();
        let later = Instant::now() + Duration::from_secs(9);
        let seen = activity.look(later);
        assert!(seen.used && seen.calls == 1 && seen.longest_untaken >= Duration::from_secs(9));
        guard.taken();
        assert_eq!(activity.look(later).longest_untaken, Duration::ZERO);
        drop(guard);
        assert_eq!(activity.look(later).calls, 0);
    }
}
