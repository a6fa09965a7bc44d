//! Why a database is not migrated.

use thiserror::Error;

use crate::audit::ChainId;
use crate::store::{OpenError, StoreError};

/// Why a database is not migrated. Unless it says otherwise nothing is lost: the source is what it
/// was, the target is not served, and the same again goes on where it was cut off.
#[derive(Debug, Error)]
pub enum MigrationError {
    /// Source and target are the same.
    #[error("both names mean the same database: name another one with --to")]
    Same,
    /// The source cannot be used.
    #[error("the source: {0}")]
    Source(OpenError),
    /// The target cannot be used.
    #[error("the target: {0}")]
    Target(OpenError),
    /// There is nothing to migrate.
    #[error("the source holds no ledger: name the database of a server with --from")]
    NoLedger,
    /// A chain without a server.
    #[error("the source has the chain {chain} of no server: somebody has changed its tables")]
    NoServer {
        /// The chain.
        chain: ChainId,
    },
    /// The source has been written by several servers, and the target is for one.
    #[error(
        "the source has the chains of {chains} servers, and a database in a file has one: names of tokens, \
         checkpoints and page tokens hold the number of the chain, so none can be left out or put into another. \
         Migrate it to another PostgreSQL database, or run one server on this one"
    )]
    SeveralChains {
        /// How many.
        chains: usize,
    },
    /// The source lacks what the file of the last checkpoint names.
    #[error(
        "the source lacks record {position} of chain {chain}, which the checkpoint file names: start a server on it \
         and accept that first (vendkey ledger accept-restore), or move the file away if it is of another ledger"
    )]
    BehindCheckpoint {
        /// The chain.
        chain: ChainId,
        /// The record.
        position: u64,
    },
    /// Rows under seal of the source were changed by somebody else.
    #[error(
        "the source holds rows that somebody else has changed: {}{}; what they are must be known first \
         (docs/operations.md, changed rows)",
        .rows.join(", "),
        if *.rows_missing { " (some were taken out or put back)" } else { "" }
    )]
    Forged {
        /// By table and number.
        rows: Vec<String>,
        /// Whether some are missing, or are as they once were.
        rows_missing: bool,
    },
    /// The target holds something.
    #[error(
        "the target is not empty, and not the unfinished target of such a migration: make a new database for it"
    )]
    NotEmpty,
    /// The target is that of another migration.
    #[error("the target is being filled from another database, {from}: end that, or make a new database")]
    OfAnother {
        /// Which.
        from: String,
    },
    /// The last checkpoint cannot be kept outside the target.
    #[error("the last checkpoint cannot be kept: {0}")]
    Checkpoint(std::io::Error),
    /// It is done.
    #[error("the migration is done: let servers run on the target")]
    Done,
    /// The target holds what the source does not.
    #[error("the target holds something else than the source: {what}; make a new database for it")]
    Differs {
        /// What.
        what: String,
    },
    /// The chains do not verify.
    #[error("the chains do not verify, so nothing is served from the target: {faults}")]
    Chains {
        /// The first faults.
        faults: String,
    },
}

impl MigrationError {
    pub(super) fn source(error: StoreError) -> Self {
        Self::Source(error.into())
    }

    pub(super) fn target(error: StoreError) -> Self {
        Self::Target(error.into())
    }
}
