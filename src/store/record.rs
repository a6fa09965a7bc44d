//! The chain as the store keeps it, and how far it has come.

use crate::audit::Line;

/// What a start must know of the past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    /// When the last transaction was committed, by the clock of then; none if there was none.
    pub last_commit_ms: Option<i64>,
    /// The text of the last checkpoint that this database knows.
    pub checkpoint: Option<String>,
}

/// A page of the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Records {
    /// In the order of the chain.
    pub lines: Vec<Line>,
    /// Whether there are more.
    pub more: bool,
}
