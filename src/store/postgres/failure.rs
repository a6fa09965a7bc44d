//! What PostgreSQL's failures mean to a caller.

use std::error::Error as _;

use tokio_postgres::Error;
use tokio_postgres::error::{DbError, Severity, SqlState};

use crate::store::{Outcome, StoreError};

/// Where a failure came: only a failing COMMIT leaves it open whether the transaction is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Before,
    Commit,
}

/// The constraints that two servers meet at, which is no defect of either; and the numbers of
/// records, which somebody else may have taken.
const MET: [&str; 4] =
    ["issued_tokens_by_request", "issued_tokens_by_meter", "issued_tokens_pkey", "acts_pkey"];

/// The failure that a caller sees.
pub(super) fn store_error(error: &Error, stage: Stage) -> StoreError {
    match error.as_db_error() {
        Some(error) => of_database(error, stage),
        None if is_lost(error) => {
            let outcome = match stage {
                Stage::Before => Outcome::NotDone,
                Stage::Commit => Outcome::Unknown,
            };
            StoreError::Unavailable { reason: reason(error), outcome }
        }
        None => StoreError::Defect { reason: reason(error) },
    }
}

/// Whether the connection is of no use any more.
pub(super) fn is_lost(error: &Error) -> bool {
    match error.as_db_error() {
        // A database that became a standby answers, and writes nothing.
        Some(error) => is_fatal(error) || *error.code() == SqlState::READ_ONLY_SQL_TRANSACTION,
        None => {
            let is_of_values = error.source().is_some_and(|cause| !cause.is::<std::io::Error>());
            error.is_closed() || !is_of_values
        }
    }
}

fn is_fatal(error: &DbError) -> bool {
    matches!(error.parsed_severity(), Some(Severity::Fatal | Severity::Panic))
}

fn of_database(error: &DbError, stage: Stage) -> StoreError {
    let reason = told(error);
    let code = error.code();
    // Whatever the database refuses by a plain error is taken back.
    let outcome = if stage == Stage::Commit && is_fatal(error) { Outcome::Unknown } else { Outcome::NotDone };
    if *code == SqlState::T_R_SERIALIZATION_FAILURE
        || *code == SqlState::T_R_DEADLOCK_DETECTED
        || (*code == SqlState::UNIQUE_VIOLATION && error.constraint().is_some_and(|name| MET.contains(&name)))
    {
        return StoreError::Conflict { reason };
    }
    if *code == SqlState::DISK_FULL {
        return StoreError::Full { outcome };
    }
    match code.code().get(..2) {
        // Data that cannot be read, and errors inside of the database.
        Some("XX") => StoreError::Damaged { reason, outcome },
        // No connection, no resources, stopped by an administrator, a system error, no rights; and
        // a transaction that ended for one of these.
        Some("08" | "53" | "55" | "57" | "58" | "28" | "25" | "0A") => {
            StoreError::Unavailable { reason, outcome }
        }
        _ if *code == SqlState::INSUFFICIENT_PRIVILEGE || is_fatal(error) => {
            StoreError::Unavailable { reason, outcome }
        }
        _ => StoreError::Defect { reason },
    }
}

/// What a database said, without the details, in which there are values.
fn told(error: &DbError) -> String {
    let hint = error.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
    format!("{} [{}]{hint}", error.message(), error.code().code())
}

/// What is told of an error.
pub(super) fn reason(error: &Error) -> String {
    match (error.as_db_error(), error.source()) {
        (Some(error), _) => told(error),
        (None, Some(cause)) => format!("{error}: {cause}"),
        (None, None) => error.to_string(),
    }
}
