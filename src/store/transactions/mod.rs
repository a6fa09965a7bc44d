//! What a transaction does, whatever the engine: load, let the domain decide, write.

pub(super) mod approvals;
pub(super) mod audit;
pub(super) mod clients;
pub(super) mod configurations;
pub(super) mod key_changes;
pub(super) mod links;
mod merge;
pub(super) mod public_keys;
pub(super) mod queries;
pub(super) mod report;
pub(super) mod tids;
pub(super) mod tokens;
pub(super) mod usage;
pub(super) mod verifications;
pub(super) mod walk;

use super::engine::Value;

/// The columns of a row and what they are to hold.
type Columns = Vec<(&'static str, Value)>;
