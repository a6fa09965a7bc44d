//! The chain as the store keeps it, and how far it has come.

use crate::audit::Line;
use crate::clock::SignOfLife;

/// What a start must know of the past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    /// The last that is known of a server; none of a new database.
    pub sign_of_life: Option<SignOfLife>,
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
