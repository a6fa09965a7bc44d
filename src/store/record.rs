//! The chain as the store keeps it, and how far it has come.

use crate::audit::Line;
use crate::clock::SignOfLife;
use crate::ledger::Cursor;

/// What a start must know of the past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    /// The last that is known of this server; none where it never ran.
    pub sign_of_life: Option<SignOfLife>,
    /// The text of the last checkpoint that this database knows.
    pub checkpoint: Option<String>,
}

/// A page of the chains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Records {
    /// In the order of each chain; those of several by their times, as far as they are known.
    pub lines: Vec<Line>,
    /// Where the next page starts, whether there are more yet or not.
    pub next: Cursor,
    /// Whether there are more.
    pub more: bool,
}
