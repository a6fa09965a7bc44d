//! What an administrator decides about the ledger: its clock, a restored database, the last
//! identifiers of meters that come from another system.

use std::{collections::BTreeMap, fmt};

use sha2::{Digest as _, Sha256};

use super::{Stop, Vending, stop::behind};
use crate::{
    access::Caller,
    audit::{Checkpoint, NewAct},
    ledger::{AcceptedRestore, Damage, Seed},
    store::{LowerError, Store, StoreError},
    sts::{
        attributes::BaseDate,
        tid::{Tid, TidError},
    },
};

/// Why the ledger is not believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LedgerDoubt {
    /// The database is behind its checkpoint.
    Behind {
        /// How that is known.
        reason: String,
        /// The position that the checkpoint names.
        position: u64,
    },
    /// The walk over the ledger found what does not hold.
    Damaged(Vec<Damage>),
}

impl LedgerDoubt {
    /// SHA-256 of what somebody accepts, in hexadecimal: another digest, another doubt.
    pub fn digest(&self) -> String {
        let text = match self {
            Self::Behind { position, .. } => format!("behind {position}"),
            Self::Damaged(damages) => {
                let lines = damages.iter().map(|damage| format!("{damage} {}", damage.found));
                lines.collect::<Vec<_>>().join("\n")
            }
        };
        hex::encode(Sha256::digest(text))
    }
}

/// How many damages are named one by one.
const NAMED: usize = 10;

impl fmt::Display for LedgerDoubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Behind { reason, .. } => f.write_str(reason),
            Self::Damaged(damages) => {
                let named: Vec<String> = damages.iter().take(NAMED).map(ToString::to_string).collect();
                f.write_str(&named.join("; "))?;
                match damages.len().saturating_sub(NAMED) {
                    0 => Ok(()),
                    more => write!(f, "; and {more} more"),
                }
            }
        }
    }
}

/// Why a restored database is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// It is not in doubt.
    #[error("the database is not behind its checkpoint, and its ledger holds: there is nothing to accept")]
    NothingToAccept,
    /// What is in doubt now is not what was looked at.
    #[error("the doubt about the ledger is another one than was looked at: look at it, and ask again")]
    AnotherDoubt,
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

    /// Why the ledger is not believed.
    ///
    /// # Errors
    /// [`RestoreError`].
    pub async fn ledger_doubt(&self) -> Result<LedgerDoubt, RestoreError> {
        if let Some(Stop::BehindCheckpoint { reason, position, .. }) = self.guard.database_stop() {
            return Ok(LedgerDoubt::Behind { reason, position });
        }
        let damages = self.store.kept_walk().await?.map(|walk| walk.damages()).unwrap_or_default();
        if damages.is_empty() {
            Err(RestoreError::NothingToAccept)
        } else {
            Ok(LedgerDoubt::Damaged(damages))
        }
    }

    /// Takes a database that is behind its checkpoint, or whose ledger does not hold, as it is, on
    /// record.
    ///
    /// What it has forgotten may have had any TID up to the horizon. So no TID up to now plus the
    /// horizon is given any more, to no meter; the horizon counts from there. Unknown request ids
    /// from before now (UUIDv7) are refused. Numbers of records go on far behind those that were
    /// lost. `seen` is the digest of the doubt that was looked at: no other is accepted.
    ///
    /// # Errors
    /// [`RestoreError`].
    pub async fn accept_restore(&self, caller: &Caller, seen: Option<&str>) -> Result<(), RestoreError> {
        let doubt = self.ledger_doubt().await?;
        if seen.is_some_and(|seen| seen != doubt.digest()) {
            return Err(RestoreError::AnotherDoubt);
        }
        let now_ms = self.guard.now_ms();
        let ahead = now_ms.div_euclid(1000).saturating_add(self.policy.horizon_seconds());
        let floors = [BaseDate::Y1993, BaseDate::Y2014, BaseDate::Y2035]
            .into_iter()
            .filter_map(|base_date| Some((base_date, floor(base_date, ahead)?)))
            .collect();
        let mut details = BTreeMap::from([("doubt", doubt.to_string())]);
        let lost_from = match &doubt {
            LedgerDoubt::Behind { position, .. } => Some(*position),
            LedgerDoubt::Damaged(_) => None,
        };
        details.extend(lost_from.map(|position| ("checkpoint", position.to_string())));
        let accepted = AcceptedRestore {
            actor: caller.actor(),
            floors,
            requests_from_ms: now_ms,
            lost_from: lost_from.unwrap_or_default(),
            details,
            now_ms,
        };
        match doubt {
            LedgerDoubt::Behind { .. } => {
                self.store.accept_restore(accepted).await?;
                self.guard.accept_database();
            }
            LedgerDoubt::Damaged(damages) => {
                let left = self.store.accept_damage(accepted, damages).await?;
                self.guard.ledger_damaged(Stop::of_damages(&left));
            }
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
