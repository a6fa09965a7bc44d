//! What an administrator decides about the ledger: its clock, a restored database, the last
//! identifiers of meters that come from another system.

use std::collections::BTreeMap;

use super::{Stop, Vending, stop::behind};
use crate::{
    access::Caller,
    audit::{Checkpoint, NewAct},
    ledger::{AcceptedRestore, Seed},
    store::{LowerError, Store, StoreError},
    sts::{
        attributes::BaseDate,
        tid::{Tid, TidError},
    },
};

/// Why a restored database is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// It is not in doubt.
    #[error("the database is not behind its checkpoint, and its ledger holds: there is nothing to accept")]
    NothingToAccept,
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a database does not hold what a checkpoint says, if so.
///
/// # Errors
/// What the store says.
pub async fn lacking(store: &dyn Store, checkpoint: &Checkpoint) -> Result<Option<Stop>, StoreError> {
    let own = store.chain_head().await?.chain;
    let mut found = Vec::new();
    for head in store.chain_heads().await? {
        let named = checkpoint.head(head.chain).map_or(0, |named| named.position);
        found.push((head, store.record_hash(head.chain, named).await?));
    }
    Ok(behind(checkpoint, own, &found))
}

/// The highest TID: 24 bits.
const LAST_TID: u32 = 0xFF_FFFF;

impl Vending {
    /// Why nothing is issued now, if so: what needs neither the HSM nor the store to tell.
    pub fn stopped(&self) -> Option<String> {
        let self_test = self.self_tested().err().map(|error| error.to_string());
        self_test.or_else(|| self.guard.pass().err().map(|stop| stop.to_string()))
    }

    /// Why the database is not believed, if so.
    pub fn database_stop(&self) -> Option<Stop> {
        self.guard.database_stop()
    }

    /// Believes the clock as it is, on record.
    ///
    /// # Errors
    /// What the store says; the clock is not believed then, or is in doubt again after a restart.
    pub async fn accept_clock(&self, caller: &Caller) -> Result<(), StoreError> {
        let doubt = self.guard.pass().err().map(|stop| stop.to_string()).unwrap_or_default();
        let act = NewAct {
            kind: "clock.accepted",
            actor: caller.actor(),
            details: BTreeMap::from([("doubt", doubt)]),
            now_ms: self.guard.now_ms(),
        };
        self.store.record_act(act).await?;
        self.guard.accept_clock();
        // Otherwise a server that is killed now would be in doubt again.
        self.store.probe(self.guard.sign_of_life()).await
    }

    /// Why the ledger is not believed, if so.
    pub fn ledger_stop(&self) -> Option<Stop> {
        self.guard.ledger_stop()
    }

    /// Takes a database that is behind its checkpoint, or whose ledger does not hold, as it is, on
    /// record.
    ///
    /// What it has forgotten may have had any TID up to the horizon. So no TID up to now plus the
    /// horizon is given any more, to no meter; the horizon counts from there. Unknown request ids
    /// from before now (UUIDv7) are refused. Numbers of records go on far behind those that were
    /// lost.
    ///
    /// # Errors
    /// [`RestoreError`].
    pub async fn accept_restore(&self, caller: &Caller) -> Result<(), RestoreError> {
        let (reason, lost_from) = match (self.guard.database_stop(), self.guard.ledger_stop()) {
            (Some(Stop::BehindCheckpoint { reason, position, .. }), _) => (reason, Some(position)),
            (_, Some(stop)) => (stop.to_string(), None),
            _ => return Err(RestoreError::NothingToAccept),
        };
        let now_ms = self.guard.now_ms();
        let ahead = now_ms.div_euclid(1000).saturating_add(self.policy.horizon_seconds());
        let floors = [BaseDate::Y1993, BaseDate::Y2014, BaseDate::Y2035]
            .into_iter()
            .filter_map(|base_date| Some((base_date, floor(base_date, ahead)?)))
            .collect();
        let mut details = BTreeMap::from([("doubt", reason)]);
        details.extend(lost_from.map(|position| ("checkpoint", position.to_string())));
        let accepted = AcceptedRestore {
            actor: caller.actor(),
            floors,
            requests_from_ms: now_ms,
            lost_from: lost_from.unwrap_or_default(),
            details,
            now_ms,
        };
        if lost_from.is_some() {
            self.store.accept_restore(accepted).await?;
            self.guard.accept_database();
        } else {
            self.store.accept_damage(accepted).await?;
            self.guard.ledger_damaged(None);
        }
        Ok(())
    }

    /// Raises the last TIDs of meters that another system served, on record. Answers how many rose;
    /// none is lowered.
    ///
    /// # Errors
    /// What the store says; nothing is raised then.
    pub async fn seed(&self, caller: &Caller, seeds: Vec<Seed>) -> Result<u64, StoreError> {
        self.store.seed_last_tids(seeds, caller.actor(), self.guard.now_ms()).await
    }

    /// Lowers the last TID of one meter, on record, and answers what it was.
    ///
    /// # Errors
    /// [`LowerError`]: never below a TID that a token has.
    pub async fn lower(&self, caller: &Caller, to: Seed) -> Result<Tid, LowerError> {
        self.store.lower_last_tid(to, caller.actor(), self.guard.now_ms()).await
    }
}

/// The last TID that may have been given under a base date; none before it.
fn floor(base_date: BaseDate, unix_seconds: i64) -> Option<Tid> {
    match base_date.tid_at(unix_seconds) {
        Ok(tid) => Some(tid),
        Err(TidError::PastRollover { .. }) => Tid::new(LAST_TID).ok(),
        Err(_) => None,
    }
}
