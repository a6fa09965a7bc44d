//! Why a connection broke, kept for the calls that fail by it.

use std::sync::{Arc, OnceLock};

use super::fault::NoConnection;

/// The first reason that was seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen(Arc<OnceLock<NoConnection>>);

impl Seen {
    pub(super) fn note(&self, reason: NoConnection) {
        let _ = self.0.set(reason);
    }

    pub(super) fn reason(&self) -> Option<NoConnection> {
        self.0.get().cloned()
    }
}
