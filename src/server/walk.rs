//! The walk over the whole ledger, at a pace that disturbs nobody: one server does it for all
//! ([`Job::Walk`]), and every server issues nothing while something that it found is not accepted.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::sleep;

use crate::{
    ledger::{Damage, Walk},
    metrics,
    store::{Job, Leases, Store, StoreError},
    vending::{IssueGuard, Stop},
};

/// At least so long from the beginning of a pass to that of the next: a small ledger is walked in no
/// time.
const PASS: Duration = Duration::from_secs(10);
/// How often it is looked what another server found, or what was accepted.
const LOOK: Duration = Duration::from_secs(2);
/// How often it is kept how far the walk has come. So much of it is walked again after a restart.
const KEEP: Duration = Duration::from_secs(30);
/// How many records are read at once, at most.
const MOST: u32 = 500;
/// In how many parts a second's records are read.
const PARTS: u32 = 5;

/// Walks the ledger of one server, or of all.
pub(super) struct Walker {
    store: Arc<dyn Store>,
    guard: Arc<IssueGuard>,
    leases: Arc<Leases>,
    /// The audit key as SubjectPublicKeyInfo.
    audit_key: Vec<u8>,
    /// How many records a second; 0: none.
    pace: u32,
    /// How far this server has come; none while another one walks.
    walk: Option<Walk>,
    /// What was told.
    told: Vec<Damage>,
    begun: Option<Instant>,
    kept: Option<Instant>,
    looked: Option<Instant>,
}

impl Walker {
    pub(super) fn new(
        store: Arc<dyn Store>,
        guard: Arc<IssueGuard>,
        leases: Arc<Leases>,
        audit_key: Vec<u8>,
        pace: u32,
    ) -> Self {
        let (walk, told) = (None, Vec::new());
        Self { store, guard, leases, audit_key, pace, walk, told, begun: None, kept: None, looked: None }
    }

    /// Looks at what earlier walks found, before anything is issued.
    pub(super) async fn look_at_start(&mut self) {
        if let Err(error) = self.look().await {
            tracing::warn!(%error, "what the walk over the ledger found cannot be read");
        }
    }

    /// Walks until the task is ended.
    pub(super) async fn run(mut self) {
        let mut failing = false;
        loop {
            let pause = match self.round().await {
                Ok(pause) => {
                    failing = false;
                    pause
                }
                Err(error) => {
                    // Said once; the next round tries again.
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(%error, "the ledger cannot be walked");
                    }
                    self.walk = None;
                    LOOK
                }
            };
            sleep(pause).await;
        }
    }

    /// Does the next part, and answers when the next is due.
    async fn round(&mut self) -> Result<Duration, StoreError> {
        let walks = self.pace > 0 && self.guard.database_stop().is_none();
        if !walks || !self.leases.holds(Job::Walk).await {
            self.walk = None;
            self.look().await?;
            return Ok(LOOK);
        }
        let walk = match &self.walk {
            Some(walk) => walk.clone(),
            None => self.resume().await?,
        };
        if is_due(self.looked, LOOK) && !walk.damages().is_empty() {
            // Somebody may have accepted it.
            return self.keep(walk).await.map(|()| self.pause(0));
        }
        let rests = walk.is_at_start() && !is_due(self.begun, PASS);
        if rests || walk.is_full() {
            return Ok(LOOK / 4);
        }
        if walk.is_at_start() {
            self.begun = Some(Instant::now());
        }
        let most = self.pace.div_ceil(PARTS).min(MOST) as usize;
        let part = self.store.walk_on(walk, most, self.audit_key.clone(), self.guard.now_ms()).await?;
        metrics::walked(part.walk.records(), part.walk.whole_ms());
        let found = part.walk.damages();
        if found.iter().any(|damage| !self.told.contains(damage)) || is_due(self.kept, KEEP) {
            self.keep(part.walk).await?;
        } else {
            if found != self.told {
                // Something was mended.
                self.publish(&found);
                self.told = found;
            }
            self.walk = Some(part.walk);
        }
        Ok(self.pause(part.read))
    }

    /// Goes on where the last server stopped.
    async fn resume(&mut self) -> Result<Walk, StoreError> {
        let walk = self.store.kept_walk().await?.unwrap_or_default();
        self.told = walk.damages();
        self.publish(&self.told);
        Ok(walk)
    }

    /// Takes over what another server found, or an earlier run.
    async fn look(&mut self) -> Result<(), StoreError> {
        // A row that is not there, or not believed, takes no stop back.
        if let Some(kept) = self.store.kept_walk().await? {
            self.publish(&kept.damages());
        }
        Ok(())
    }

    /// Keeps how far the walk has come, and tells what it found.
    async fn keep(&mut self, walk: Walk) -> Result<(), StoreError> {
        // Nothing more is issued, whether it can be kept or not.
        let found = walk.damages();
        if found.iter().any(|damage| !self.told.contains(damage)) {
            self.publish(&found);
        }
        let walk = self.store.keep_walk(walk, self.guard.now_ms()).await?;
        let now = Instant::now();
        (self.kept, self.looked) = (Some(now), Some(now));
        let found = walk.damages();
        self.publish(&found);
        for damage in found.iter().filter(|damage| !self.told.contains(damage)) {
            tracing::error!(place = damage.place, fault = damage.fault, "the ledger does not hold");
            metrics::alarm("ledger_damaged", "");
        }
        self.told = found;
        self.walk = Some(walk);
        Ok(())
    }

    /// Lets nothing be issued while anything was found.
    fn publish(&self, found: &[Damage]) {
        metrics::damages(found.len());
        self.guard.ledger_damaged(Stop::of_damages(found));
    }

    /// How long so many records take at the pace that is set.
    fn pause(&self, read: u64) -> Duration {
        let read = u32::try_from(read.max(1)).unwrap_or(u32::MAX);
        Duration::from_secs(1).saturating_mul(read) / self.pace.max(1)
    }
}

fn is_due(last: Option<Instant>, every: Duration) -> bool {
    last.is_none_or(|last| last.elapsed() >= every)
}
