//! What SQLite's failures mean to a caller.

use std::path::PathBuf;

use rusqlite::ErrorCode;
use thiserror::Error;

use crate::store::{Outcome, StoreError};

/// Why a database cannot be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another process (or another store of this one) has it.
    #[error("the database {} is in use{}", .path.display(), by_process(.holder))]
    InUse {
        /// The database.
        path: PathBuf,
        /// The process that has it, if it left its number.
        holder: Option<u32>,
    },
    /// It is where several machines can have it at once.
    #[error(
        "the database {} is on {name}, whose locks do not keep another machine out: put it on a local file system",
        .path.display()
    )]
    SharedFileSystem {
        /// The database.
        path: PathBuf,
        /// The kind of file system.
        name: &'static str,
    },
    /// The file system gives no lock.
    #[error("the file system of {} gives no lock ({error}): put the database on a local one", .path.display())]
    NoLock {
        /// The database.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// It has hard links.
    #[error(
        "the database {} has {names} names (hard links), and SQLite would keep a log for each: \
         remove all names but one, and use a symbolic link where another is needed",
        .path.display()
    )]
    SeveralNames {
        /// The database.
        path: PathBuf,
        /// How many.
        names: u64,
    },
    /// The file is mounted without its folder.
    #[error(
        "the database {} is mounted as a file alone, so that its log would lie in another folder: \
         mount the folder that holds it",
        .path.display()
    )]
    MountedAlone {
        /// The database.
        path: PathBuf,
    },
    /// A file cannot be opened, made or synced.
    #[error("{}: {error}", .path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The file system cannot share memory between connections (a network one, perhaps).
    #[error("the file system of {} does not allow a write-ahead log", .path.display())]
    NoWriteAheadLog {
        /// The database.
        path: PathBuf,
    },
    /// An SQLite database of another program.
    #[error("this is the database of another program")]
    NotOurs,
    /// A newer Vendkey has brought the schema further than this one knows.
    #[error("the database has schema version {found}, this program knows {known}: use the newer program")]
    NewerSchema {
        /// The version of the database.
        found: u32,
        /// The newest that this program knows.
        known: u32,
    },
    /// A schema step of this database is not the one that this program has.
    #[error("schema step {version} of the database is not the one of this program")]
    AlteredSchema {
        /// Which step.
        version: u32,
    },
    /// The system gives no random bytes for a new chain.
    #[error("the system gives no randomness: {0}")]
    Randomness(getrandom::Error),
    /// It has rows that decide and no seals: a database of a version without them, or somebody took them out.
    #[error(
        "the rows that decide bear no seals: if this database was made by a version without seals, run `vendkey setup --seal-rows`"
    )]
    Unsealed,
    /// Rows that decide do not bear their seals, so they get no others.
    #[error("rows that decide were changed by another hand: {}{}", .rows.join(", "), if *.taken_out_or_put_back { " (some were taken out or put back)" } else { "" })]
    Forged {
        /// By table and number.
        rows: Vec<String>,
        /// Whether some are missing, or are as they once were.
        taken_out_or_put_back: bool,
    },
    /// The chain or the seals of the database cannot be begun.
    #[error(transparent)]
    Chain(#[from] StoreError),
    /// SQLite refused.
    #[error("the database cannot be opened: {error}")]
    Database {
        /// What it said.
        #[from]
        error: rusqlite::Error,
    },
}

fn by_process(holder: &Option<u32>) -> String {
    holder.map(|pid| format!(" by process {pid}")).unwrap_or_default()
}

/// Where a failure came: only a failing COMMIT leaves it open whether the transaction is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Before,
    Commit,
}

impl Stage {
    pub(super) fn outcome(self) -> Outcome {
        match self {
            Stage::Before => Outcome::NotDone,
            Stage::Commit => Outcome::Unknown,
        }
    }
}

/// The failure that a caller sees. SQLite's messages name tables and columns, never values.
pub(super) fn store_error(error: &rusqlite::Error, stage: Stage) -> StoreError {
    let outcome = stage.outcome();
    let reason = error.to_string();
    match error {
        rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::Utf8Error(..) => StoreError::Corrupt { reason },
        rusqlite::Error::SqliteFailure(failure, _) => match failure.code {
            ErrorCode::DiskFull => StoreError::Full { outcome },
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => StoreError::Damaged { reason, outcome },
            ErrorCode::SystemIoFailure
            | ErrorCode::CannotOpen
            | ErrorCode::ReadOnly
            | ErrorCode::PermissionDenied
            | ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::FileLockingProtocolFailed
            | ErrorCode::OutOfMemory
            | ErrorCode::OperationInterrupted
            | ErrorCode::OperationAborted => StoreError::Unavailable { reason, outcome },
            _ => unforeseen(reason, stage),
        },
        _ => unforeseen(reason, stage),
    }
}

/// What nobody foresaw is a defect, but of a commit nobody knows what became.
fn unforeseen(reason: String, stage: Stage) -> StoreError {
    match stage {
        Stage::Before => StoreError::Defect { reason },
        Stage::Commit => StoreError::Unavailable { reason, outcome: stage.outcome() },
    }
}

impl From<rusqlite::Error> for StoreError {
    /// A failure of a statement, before any commit.
    fn from(error: rusqlite::Error) -> Self {
        store_error(&error, Stage::Before)
    }
}

/// Whether a failure concerns the database as a whole: nothing in the same transaction can be trusted to be kept.
pub(super) fn spoils_transaction(error: &StoreError) -> bool {
    match error {
        StoreError::Full { .. }
        | StoreError::Unavailable { .. }
        | StoreError::Damaged { .. }
        | StoreError::TakenOver { .. }
        | StoreError::Closed { .. } => true,
        StoreError::Busy
        | StoreError::DeadlinePassed
        | StoreError::Corrupt { .. }
        | StoreError::Forged { .. }
        | StoreError::NoSeal { .. }
        | StoreError::Defect { .. } => false,
    }
}

/// The same failure as one of the whole transaction: something was written before it that must not stay.
pub(super) fn spoiling(error: StoreError) -> StoreError {
    match spoils_transaction(&error) {
        true => error,
        false => StoreError::Unavailable { reason: error.to_string(), outcome: Outcome::NotDone },
    }
}
