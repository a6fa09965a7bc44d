//! The chain as the store keeps it: who did what, and how far the chain has come.

use std::collections::BTreeMap;

use super::id::ClientId;
use super::ledger::Sequence;
use crate::audit::Line;
use crate::sts::attributes::BaseDate;
use crate::sts::meter::MeterPan;
use crate::sts::tid::Tid;

/// Whose act it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// The server itself, or a command on its machine.
    Local,
    /// A client.
    Client {
        /// Which.
        client: ClientId,
        /// With which of its credentials (the key id).
        credential: String,
    },
}

/// An act that writes nothing but its record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAct {
    /// Which act, such as `call.refused`.
    pub kind: &'static str,
    /// Whose.
    pub actor: Actor,
    /// What is to be known of it; never a secret, never a meter's number.
    pub details: BTreeMap<&'static str, String>,
    /// When.
    pub now_ms: i64,
}

/// What a start must know of the past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    /// When the last transaction was committed, by the clock of then; none if there was none.
    pub last_commit_ms: Option<i64>,
    /// The text of the last checkpoint that this database knows.
    pub checkpoint: Option<String>,
}

/// Accepting a database that lost commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedRestore {
    /// Whose decision.
    pub actor: Actor,
    /// Under each base date no TID at or below this is given any more.
    pub floors: Vec<(BaseDate, Tid)>,
    /// Unknown request ids from before this instant are refused.
    pub requests_from_ms: i64,
    /// The position that the checkpoint names: numbers of records go on far behind it.
    pub lost_from: u64,
    /// What is to be known of it.
    pub details: BTreeMap<&'static str, String>,
    /// When.
    pub now_ms: i64,
}

/// A meter's last TID as another system gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed {
    /// The meter.
    pub meter: MeterPan,
    /// From where `tid` counts.
    pub base_date: BaseDate,
    /// The last TID.
    pub tid: Tid,
}

/// A page of the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Records {
    /// In the order of the chain.
    pub lines: Vec<Line>,
    /// Whether there are more.
    pub more: bool,
}

/// Which rows of the ledger are wanted; what is absent does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenFilter {
    /// Of this meter.
    pub meter: Option<MeterPan>,
    /// Under this configuration.
    pub configuration: Option<super::ConfigurationId>,
    /// Of this client.
    pub client: Option<ClientId>,
    /// Of this class and, if given, subclass.
    pub class: Option<(u8, Option<u8>)>,
    /// Issued at or after.
    pub from_ms: Option<i64>,
    /// Issued before.
    pub until_ms: Option<i64>,
}

/// A page of rows. It may hold fewer rows than asked for, and none, and still have a next one: a page looks at so many rows only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenPage {
    /// In the order of the ledger.
    pub rows: Vec<super::TokenRow>,
    /// Where the next page starts: after this row.
    pub next: Option<Sequence>,
}
