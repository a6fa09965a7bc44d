//! What SQLite's failures mean to a caller.

use rusqlite::ErrorCode;

use crate::store::{OpenError, Outcome, StoreError};

/// Where a failure came: only a failing COMMIT leaves it open whether the transaction is in the
/// log.
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

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database { reason: error.to_string() }
    }
}
