//! The chain as the store keeps it, and how far it has come.

use std::fmt;

use crate::audit::Line;
use crate::clock::SignOfLife;
use crate::ledger::Cursor;

/// What a start must know of the past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    /// The last that is known of this server; none where it never ran.
    pub sign_of_life: Option<SignOfLife>,
    /// Whether it is from a server that ran, and not the time of what was put on record without one.
    pub has_run: bool,
    /// The text of the last checkpoint that this database knows.
    pub checkpoint: Option<String>,
}

/// What a look at a database finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Examined {
    /// There is none: opening it makes one.
    Missing,
    /// One of ours.
    Found {
        /// The last sign of life of its server; `None` where nobody knows without opening it.
        sign_of_life: Option<SignOfLife>,
        /// Whether it knows a checkpoint, so that there must be a file of one; `false` too where
        /// nobody knows without opening it.
        has_checkpoint: bool,
    },
}

/// What the database has forgotten of this server's chain, as after a failover to a copy that was
/// behind; or what somebody else has put there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LostCommits {
    /// The position of the last record that this server has written.
    pub written: u64,
    /// That of the last one that the database had then; above the other where somebody else wrote.
    pub found: u64,
}

impl fmt::Display for LostCommits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { written, found } = self;
        if found > written {
            return write!(
                f,
                "the database has records up to {found} in this server's chain, and this server has written them up to {written}"
            );
        }
        write!(f, "this server has written records up to {written}, and the database had them up to {found}")
    }
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
