//! Who may issue under what, as the committer remembers it for a moment.
//!
//! Every token asks whether its credential, its client and its configuration are enabled. Their
//! rows are loaded and their seals checked once in the time that the engine allows, and again after
//! any change that this process or another server makes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::access::client::CredentialHolder;
use crate::configuration::ConfigurationState;
use crate::id::ConfigurationId;

/// A credential with its client, by the numbers that the ledger keeps.
#[derive(Clone, Debug)]
pub(crate) struct KnownHolder {
    pub(crate) client: i64,
    pub(crate) credential: i64,
    pub(crate) holder: CredentialHolder,
}

/// The number and the state of a configuration.
pub(crate) type KnownConfiguration = (i64, ConfigurationState);

/// What was loaded a moment ago; `None` where there is no such row.
#[derive(Debug)]
pub(crate) struct Authority {
    believed: Duration,
    since: Option<Instant>,
    /// The writes of others when it was loaded.
    writes: i64,
    pub(super) holders: HashMap<String, Option<Arc<KnownHolder>>>,
    pub(super) configurations: HashMap<ConfigurationId, Option<KnownConfiguration>>,
}

impl Authority {
    pub(super) fn new(believed: Duration) -> Self {
        Self { believed, since: None, writes: 0, holders: HashMap::new(), configurations: HashMap::new() }
    }

    /// Forgets everything: a row that decides was changed, or a change was taken back.
    pub(super) fn forget(&mut self) {
        self.since = None;
        self.holders.clear();
        self.configurations.clear();
    }

    /// Forgets what was loaded too long ago, or before others have written.
    pub(super) fn refresh(&mut self, now: Instant, writes: i64) {
        let old = self.since.is_none_or(|since| now.saturating_duration_since(since) >= self.believed);
        if old || self.writes != writes {
            self.forget();
            (self.since, self.writes) = (Some(now), writes);
        }
    }
}
