//! The servers of a database, and the jobs that one of them does for all.

use crate::audit::{ChainNumber, Head};

/// What a server says of itself when it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerState {
    /// The version of its program.
    pub version: String,
    /// The token of its HSM: its id in hex.
    pub hsm_token: String,
}

/// A server as its database knows it. One that was taken away for ever stays known, as its chain
/// does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its number, which is that of its chain.
    pub number: ChainNumber,
    /// Its name in the settings.
    pub name: String,
    /// What it said of itself when it started last; none if it never did.
    pub state: Option<ServerState>,
    /// When it last wrote a sign of life, by the clock of the database, in milliseconds since 1970.
    pub last_life_ms: Option<i64>,
    /// How far its chain has come.
    pub head: Head,
}

/// What one server at a time does for all. The server that has the lease of a job does it; when it
/// vanishes, another one takes over at the end of the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Job {
    /// Destroying keys whose time has come.
    Destruction,
    /// Doing approved acts that did not end again.
    ApprovedActs,
    /// Signing checkpoints.
    Checkpoints,
    /// Looking at the seals of all rows.
    Seals,
    /// Comparing the sums of the day with the ledger.
    Sums,
    /// Walking over the whole ledger.
    Walk,
    /// Importing a key into the HSM.
    Imports,
}

impl Job {
    /// Its name in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Destruction => "destruction",
            Self::ApprovedActs => "approved_acts",
            Self::Checkpoints => "checkpoints",
            Self::Seals => "seals",
            Self::Sums => "sums",
            Self::Walk => "ledger_walk",
            Self::Imports => "imports",
        }
    }
}
