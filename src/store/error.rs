//! Why the store could not answer, and what became of the act.

use thiserror::Error;

use crate::access::client::ClientRefusal;
use crate::configuration::{ConfigurationRefusal, KeyChangePairRefusal};
use crate::ledger::{LowerRefused, Refused};

/// Whether an act that failed may have happened nevertheless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It did not happen and never will.
    NotDone,
    /// The failure came while committing: a restart may find it done. Repeating the same request id
    /// is safe.
    Unknown,
}

/// A failure of the store itself. What the *content* of a request deserves is a refusal of its own
/// type.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StoreError {
    /// The queue to the database is full: more comes in than the disk takes. Try again shortly.
    #[error("the store has too much waiting")]
    Busy,
    /// The caller's deadline passed while the request waited.
    #[error("the deadline passed before the store came to the request")]
    DeadlinePassed,
    /// No room on the disk (or the quota, or the page limit). Heals when there is room.
    #[error("the disk of the store is full")]
    Full {
        /// What became of the act.
        outcome: Outcome,
    },
    /// The database cannot be read or written now: a lost volume, an I/O error, a foreign lock.
    #[error("the store is unavailable: {reason}")]
    Unavailable {
        /// For the log: what the database said.
        reason: String,
        /// What became of the act.
        outcome: Outcome,
    },
    /// Another server wrote the same at the same time. Nothing was done; the store tries again by
    /// itself, so that a caller sees this only where it was in vain for long.
    #[error("another server was in the way: {reason}")]
    Conflict {
        /// For the log: what the database said.
        reason: String,
    },
    /// The store is shutting down, or its thread is gone.
    #[error("the store is closed")]
    Closed {
        /// What became of the act.
        outcome: Outcome,
    },
    /// A row holds what this program never writes.
    #[error("the database holds a value that is none of ours: {reason}")]
    Corrupt {
        /// For the log: which value.
        reason: String,
    },
    /// The file is no sound database any more. Restore it from a backup.
    #[error("the database is damaged: {reason}")]
    Damaged {
        /// For the log: what the database said.
        reason: String,
        /// What became of the act.
        outcome: Outcome,
    },
    /// Another process has opened the database since, or its file was moved or replaced. Nothing is
    /// written any more.
    #[error("the database is not this server's any more: {reason}")]
    TakenOver {
        /// For the log: what happened and what to do.
        reason: String,
    },
    /// The database has forgotten records that this server has written. No token is recorded until an
    /// administrator accepts that.
    #[error("the database has lost commits: {reason}")]
    LostCommits {
        /// For the log: which.
        reason: String,
    },
    /// A row that decides does not bear the seal of this server: somebody else has changed it,
    /// taken it out or put it back.
    #[error("a row that decides was changed by somebody else: {row}")]
    Forged {
        /// For the log: which table and number.
        row: String,
    },
    /// A row of the ledger, or one beside it, is not what its link of the chain says: somebody else has
    /// changed it, put it in or taken one out. No token is made from it.
    #[error("a row of the ledger was changed by somebody else: {row}")]
    Unlinked {
        /// For the log: which row.
        row: String,
    },
    /// The HSM does not make or check seals now.
    #[error("the HSM does not seal: {reason}")]
    NoSeal {
        /// For the log: what the HSM said.
        reason: String,
    },
    /// A statement failed for a reason that this program should have excluded: a defect of ours.
    #[error("the store met a defect: {reason}")]
    Defect {
        /// For the log: what the database said.
        reason: String,
    },
}

impl StoreError {
    /// Whether the act may have happened nevertheless.
    pub fn outcome(&self) -> Outcome {
        match self {
            StoreError::Full { outcome }
            | StoreError::Unavailable { outcome, .. }
            | StoreError::Damaged { outcome, .. }
            | StoreError::Closed { outcome } => *outcome,
            StoreError::Busy
            | StoreError::DeadlinePassed
            | StoreError::Conflict { .. }
            | StoreError::Corrupt { .. }
            | StoreError::TakenOver { .. }
            | StoreError::LostCommits { .. }
            | StoreError::Forged { .. }
            | StoreError::Unlinked { .. }
            | StoreError::NoSeal { .. }
            | StoreError::Defect { .. } => Outcome::NotDone,
        }
    }

    /// Whether the same request may succeed later without anybody changing it.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            StoreError::Busy
                | StoreError::Full { .. }
                | StoreError::Unavailable { .. }
                | StoreError::Conflict { .. }
                | StoreError::NoSeal { .. }
                | StoreError::Closed { .. }
        )
    }

    /// Whether a failure concerns the database as a whole: nothing in the same transaction can be
    /// trusted to be kept.
    pub(crate) fn spoils_transaction(&self) -> bool {
        match self {
            StoreError::Full { .. }
            | StoreError::Unavailable { .. }
            | StoreError::Conflict { .. }
            | StoreError::Damaged { .. }
            | StoreError::TakenOver { .. }
            | StoreError::Closed { .. } => true,
            StoreError::Busy
            | StoreError::DeadlinePassed
            | StoreError::Corrupt { .. }
            | StoreError::LostCommits { .. }
            | StoreError::Forged { .. }
            | StoreError::Unlinked { .. }
            | StoreError::NoSeal { .. }
            | StoreError::Defect { .. } => false,
        }
    }

    /// The same failure as one of the whole transaction: something was written before it that must
    /// not stay.
    pub(crate) fn spoiling(self) -> Self {
        if self.spoils_transaction() {
            return self;
        }
        StoreError::Unavailable { reason: self.to_string(), outcome: Outcome::NotDone }
    }
}

/// Declares what is either a refusal of the rules or a failure of the store.
macro_rules! refused_or_failed {
    ($($(#[$doc:meta])* $name:ident($refusal:ty);)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Error)]
        pub enum $name {
            /// The rules refuse it. Nothing was written.
            #[error(transparent)]
            Refused(#[from] $refusal),
            /// The store failed.
            #[error(transparent)]
            Store(#[from] StoreError),
        }
    )*};
}

refused_or_failed! {
    /// Why a configuration does not change.
    ConfigurationError(ConfigurationRefusal);
    /// Why a pair of configurations is not allowed.
    KeyChangePairError(KeyChangePairRefusal);
    /// Why a client or credential does not change.
    ClientError(ClientRefusal);
    /// Why a token is not recorded.
    LedgerError(Refused);
    /// Why the last TID of a meter is not lowered.
    LowerError(LowerRefused);
}

impl LedgerError {
    /// Whether the token may be on record nevertheless.
    pub fn outcome(&self) -> Outcome {
        match self {
            LedgerError::Refused(_) => Outcome::NotDone,
            LedgerError::Store(error) => error.outcome(),
        }
    }
}
