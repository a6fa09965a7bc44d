//! Why nothing is issued.

use crate::audit::{Checkpoint, Hash, Head};

/// Why nothing is issued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// The wall clock moved by other than the time that passed.
    #[error(
        "the clock jumped by {} s; issuing goes on when it is right again, when a time server keeps it, or when an \
         administrator accepts it (vendkey ledger accept-clock)", .by_ms / 1000
    )]
    ClockJumped {
        /// By how much, forward or back, in milliseconds.
        by_ms: i64,
    },
    /// At the start the clock was far from the last sign of life.
    #[error(
        "the clock is {} s from the server's last sign of life; issuing goes on when a time server keeps the clock, \
         or when an administrator accepts it (vendkey ledger accept-clock)", .by_ms / 1000
    )]
    ClockFarFromLastSign {
        /// How far past it, or before it, in milliseconds.
        by_ms: i64,
    },
    /// The database does not hold what the checkpoint beside it says.
    #[error(
        "the database lacks records of the last checkpoint: {reason}; an administrator must accept the restore \
         (vendkey ledger accept-restore)"
    )]
    BehindCheckpoint {
        /// What is missing.
        reason: String,
        /// The position that the checkpoint names.
        position: u64,
    },
    /// Rows that decide were taken out of the database, or put back as they once were.
    #[error(
        "rows that decide were changed by somebody else in the database; restore it, or seal the rows as they are \
         (vendkey setup --seal-rows)"
    )]
    RowsChanged,
}

impl Stop {
    /// A word for metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::ClockJumped { .. } | Self::ClockFarFromLastSign { .. } => "clock",
            Self::BehindCheckpoint { .. } => "checkpoint",
            Self::RowsChanged => "seals",
        }
    }

    /// Whether the clock is the reason.
    pub fn is_of_the_clock(&self) -> bool {
        matches!(self, Self::ClockJumped { .. } | Self::ClockFarFromLastSign { .. })
    }
}

/// Whether a database holds what a checkpoint says: `found` is the hash of its record at the
/// position of the checkpoint's head.
pub fn behind(checkpoint: &Checkpoint, head: Head, found: Option<Hash>) -> Option<Stop> {
    let stop = |position, reason| Some(Stop::BehindCheckpoint { reason, position });
    let Some(named) = checkpoint.head(head.chain) else {
        let last = checkpoint.heads.iter().map(|head| head.position).max().unwrap_or(0);
        return stop(last, "it is another database".to_owned());
    };
    if head.position < named.position {
        let reason =
            format!("it ends with record {}, the checkpoint names {}", head.position, named.position);
        return stop(named.position, reason);
    }
    if named.position > 0 && found != Some(named.hash) {
        return stop(named.position, format!("record {} is another", named.position));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::ChainId;

    #[test]
    fn a_database_behind_its_checkpoint_is_seen() {
        let (chain, hash) = (ChainId([1; 16]), Hash([2; 32]));
        let checkpoint = Checkpoint { number: 1, at_ms: 0, heads: vec![Head { chain, position: 5, hash }] };
        let head = |position| Head { chain, position, hash: Hash([9; 32]) };
        assert_eq!(behind(&checkpoint, head(5), Some(hash)), None);
        assert_eq!(behind(&checkpoint, head(8), Some(hash)), None);
        assert!(behind(&checkpoint, head(4), None).is_some());
        assert!(behind(&checkpoint, head(8), Some(Hash([3; 32]))).is_some());
        assert!(behind(&checkpoint, Head { chain: ChainId([7; 16]), ..head(8) }, None).is_some());
    }
}
