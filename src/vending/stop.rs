//! Why nothing is issued.

use crate::audit::{ChainId, Checkpoint, Hash, Head};
use crate::ledger::Damage;

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
    /// The clock is far from that of the database, which all servers share.
    #[error(
        "the clock is {} s off from the database's; issuing goes on when both agree again: let time servers keep \
         them", .by_ms / 1000
    )]
    ClockOffDatabase {
        /// How far ahead of it, or behind it, in milliseconds.
        by_ms: i64,
    },
    /// The database does not hold what a checkpoint says, or what this server has written.
    #[error(
        "the database lacks records that were written: {reason}; an administrator must accept the restore \
         (vendkey ledger accept-restore)"
    )]
    BehindCheckpoint {
        /// What is missing.
        reason: String,
        /// The position in this server's chain up to which records may be lacking.
        position: u64,
        /// Heads of chains that stood before the records were lost, or after: an act that is behind
        /// one of them is later than the loss. None: nobody knows.
        since: Vec<Head>,
    },
    /// Rows that decide were taken out of the database, or put back as they once were.
    #[error(
        "rows that decide were changed by somebody else in the database; restore it, or seal the rows as they are \
         (vendkey setup --seal-rows)"
    )]
    RowsChanged,
    /// The ledger, or a checkpoint, is not what was written.
    #[error(
        "the ledger does not hold: {first}{}; restore the database from a backup, or an administrator must accept it \
         as it is (vendkey ledger accept-restore)", and_more(*.more)
    )]
    LedgerDamaged {
        /// What was found first.
        first: String,
        /// How much more was found.
        more: usize,
    },
}

fn and_more(more: usize) -> String {
    if more == 0 { String::new() } else { format!(" (and {more} more; the log names all)") }
}

impl Stop {
    /// What the walk over the ledger found, if anything.
    pub fn of_damages(found: &[Damage]) -> Option<Self> {
        let first = found.first()?.to_string();
        Some(Self::LedgerDamaged { first, more: found.len().saturating_sub(1) })
    }

    /// A word for metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::ClockJumped { .. } | Self::ClockFarFromLastSign { .. } | Self::ClockOffDatabase { .. } => {
                "clock"
            }
            Self::BehindCheckpoint { .. } => "checkpoint",
            Self::RowsChanged => "seals",
            Self::LedgerDamaged { .. } => "ledger",
        }
    }

    /// Whether the clock is the reason, and a server that starts again must know of it.
    pub fn is_of_the_clock(&self) -> bool {
        matches!(self, Self::ClockJumped { .. } | Self::ClockFarFromLastSign { .. })
    }
}

/// Whether a database holds what a checkpoint says. `found` is for each chain of the database how
/// far it has come, and the hash of its record at the position that the checkpoint names. `own` is
/// the chain of this server.
pub(super) fn behind(checkpoint: &Checkpoint, own: ChainId, found: &[(Head, Option<Hash>)]) -> Option<Stop> {
    let stop = |position, reason, since| Some(Stop::BehindCheckpoint { reason, position, since });
    let is_found = |named: &&Head| found.iter().any(|(head, _)| head.chain == named.chain);
    if !checkpoint.heads.iter().any(|named| is_found(&named)) {
        let last = checkpoint.heads.iter().map(|head| head.position).max().unwrap_or(0);
        return stop(last, "it is another database".to_owned(), Vec::new());
    }
    // The chain of this server goes on behind what the checkpoint names, whatever is lacking.
    let position = checkpoint.head(own).map_or(0, |head| head.position);
    let several = checkpoint.heads.len() > 1;
    let faults: Vec<String> = checkpoint
        .heads
        .iter()
        .filter_map(|named| {
            let found = found.iter().find(|(head, _)| head.chain == named.chain);
            let fault = lacking(named, found)?;
            Some(if several { format!("chain {}: {fault}", named.chain) } else { fault })
        })
        .collect();
    // What a database has at all that lacks one of these records was there when they were named, or
    // came after the loss.
    if faults.is_empty() { None } else { stop(position, faults.join("; "), checkpoint.heads.clone()) }
}

/// What is wrong with a chain of which this head was named.
fn lacking(named: &Head, found: Option<&(Head, Option<Hash>)>) -> Option<String> {
    let Some((head, hash)) = found else { return Some("it is missing".to_owned()) };
    if head.position < named.position {
        return Some(format!(
            "it ends with record {}, and had come to record {}",
            head.position, named.position
        ));
    }
    (named.position > 0 && *hash != Some(named.hash)).then(|| format!("record {} is another", named.position))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_behind_its_checkpoint_is_seen() {
        let (chain, hash) = (ChainId([1; 16]), Hash([2; 32]));
        let checkpoint = Checkpoint { number: 1, at_ms: 0, heads: vec![Head { chain, position: 5, hash }] };
        let head = |position| Head { chain, position, hash: Hash([9; 32]) };
        assert_eq!(behind(&checkpoint, chain, &[(head(5), Some(hash))]), None);
        assert_eq!(behind(&checkpoint, chain, &[(head(8), Some(hash))]), None);
        assert!(behind(&checkpoint, chain, &[(head(4), None)]).is_some());
        assert!(behind(&checkpoint, chain, &[(head(8), Some(Hash([3; 32])))]).is_some());
        let other = ChainId([7; 16]);
        assert!(behind(&checkpoint, other, &[(Head { chain: other, ..head(8) }, None)]).is_some());
        assert!(behind(&checkpoint, chain, &[]).is_some());
    }

    #[test]
    fn every_chain_is_looked_at_and_a_new_one_is_none_of_the_checkpoint() {
        let hash = Hash([2; 32]);
        let head = |chain: u8, position| Head { chain: ChainId([chain; 16]), position, hash };
        let checkpoint = Checkpoint { number: 1, at_ms: 0, heads: vec![head(1, 5), head(2, 9)] };
        let own = ChainId([1; 16]);
        let sound = [(head(1, 6), Some(hash)), (head(2, 9), Some(hash)), (head(3, 4), None)];
        assert_eq!(behind(&checkpoint, own, &sound), None);
        let truncated = [(head(1, 6), Some(hash)), (head(2, 8), None)];
        let stop = behind(&checkpoint, own, &truncated).unwrap();
        let Stop::BehindCheckpoint { reason, position, since } = &stop else { panic!("{stop}") };
        assert_eq!(*position, 5);
        let chain = ChainId([2; 16]);
        assert_eq!(*reason, format!("chain {chain}: it ends with record 8, and had come to record 9"));
        assert_eq!(*since, checkpoint.heads);
        let missing = behind(&checkpoint, own, &[(head(1, 6), Some(hash))]).unwrap();
        assert!(missing.to_string().contains("it is missing"), "{missing}");
    }
}
