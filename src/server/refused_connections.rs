//! Connections that are refused: all are counted; the log tells of each kind at once, and then every
//! ten seconds with how many there were, so that nobody fills the disk by knocking.

use std::{
    collections::HashMap,
    fmt::Display,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::metrics;

/// How often the log tells of one kind.
const TELL: Duration = Duration::from_secs(10);

/// Those of one listener.
pub(super) struct RefusedConnections {
    listener: &'static str,
    told: Mutex<HashMap<&'static str, Told>>,
}

/// What the log has of one kind.
struct Told {
    at: Instant,
    /// How many came since.
    untold: u64,
}

impl RefusedConnections {
    pub(super) fn new(listener: &'static str) -> Self {
        Self { listener, told: Mutex::default() }
    }

    /// Counts one under a label.
    pub(super) fn count(&self, why: &'static str) {
        metrics::connection_refused(self.listener, why);
    }

    /// Tells whoever runs the server of one of this kind.
    pub(super) fn tell(&self, kind: &'static str, from: SocketAddr, what: &impl Display) {
        if let Some(untold) = self.due(kind, Instant::now()) {
            let listener = self.listener;
            tracing::warn!(listener, %from, untold, "{what}");
        }
    }

    /// How many of this kind the log has not told since it told one, if it is time to.
    fn due(&self, kind: &'static str, now: Instant) -> Option<u64> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        match told.get_mut(kind) {
            Some(told) if now.duration_since(told.at) < TELL => {
                told.untold += 1;
                None
            }
            Some(told) => {
                told.at = now;
                Some(std::mem::take(&mut told.untold))
            }
            None => {
                told.insert(kind, Told { at: now, untold: 0 });
                Some(0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_told_at_once_and_then_now_and_again() {
        let refused = RefusedConnections::new("main");
        let start = Instant::now();
        let due = |kind, seconds| refused.due(kind, start + Duration::from_secs(seconds));
        assert_eq!((due("one", 0), due("other", 1)), (Some(0), Some(0)));
        assert_eq!((due("one", 1), due("one", 9)), (None, None));
        assert_eq!((due("one", 10), due("one", 11), due("other", 20)), (Some(2), None, Some(0)));
        assert_eq!(due("one", 20), Some(1));
    }
}
