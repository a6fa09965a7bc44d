//! Acts that wait for more than one person.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::audit::Actor;
use crate::id::{ApprovalId, ClientId};

/// How many acts of one client may wait at a time.
pub const PENDING_PER_CLIENT: u32 = 30;

/// Where an approval stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ApprovalState {
    /// Persons are missing.
    Pending,
    /// Enough persons approved: the act is being done.
    Approved,
    /// It was done.
    Done,
    /// It was refused when it was to be done.
    Failed,
    /// Somebody was against it.
    Rejected,
    /// Its time passed.
    Expired,
}

impl ApprovalState {
    /// Every state.
    pub const ALL: [Self; 6] =
        [Self::Pending, Self::Approved, Self::Done, Self::Failed, Self::Rejected, Self::Expired];

    /// The name in the database and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Approved => "APPROVED",
            Self::Done => "DONE",
            Self::Failed => "FAILED",
            Self::Rejected => "REJECTED",
            Self::Expired => "EXPIRED",
        }
    }

    /// Which act of the chain says that an approval came to this state.
    pub fn record(self) -> &'static str {
        match self {
            Self::Pending => "approval.requested",
            Self::Approved => "approval.granted",
            Self::Done => "approval.done",
            Self::Failed => "approval.failed",
            Self::Rejected => "approval.rejected",
            Self::Expired => "approval.expired",
        }
    }
}

impl fmt::Display for ApprovalState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a state of an approval")]
pub struct UnknownApprovalState;

impl FromStr for ApprovalState {
    type Err = UnknownApprovalState;

    fn from_str(text: &str) -> Result<Self, UnknownApprovalState> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or(UnknownApprovalState)
    }
}

/// An act that somebody asked for: it waits, or waited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// Its id.
    pub id: ApprovalId,
    /// Who asked, and in whose name the act will be done.
    pub requester: ClientId,
    /// With which credential (the key id).
    pub credential: String,
    /// Which call, `/package.Service/Method`.
    pub method: String,
    /// The act, as it is stored.
    pub act: Vec<u8>,
    /// What will happen, for people.
    pub summary: String,
    /// Random: the hash is on record, and what it is taken over must not be guessed from it.
    pub salt: [u8; 16],
    /// The hash of the content, as it was when it was asked for: every vote names it.
    pub content_sha256: [u8; 32],
    /// Where it stands.
    pub state: ApprovalState,
    /// What became of the act; empty before its end.
    pub outcome: String,
    /// When it was asked for.
    pub created_ms: i64,
    /// When its time is over.
    pub expires_ms: i64,
    /// When its state last changed.
    pub updated_ms: i64,
    /// Who was for or against it, in the order of the votes. The requester has none.
    pub votes: Vec<Vote>,
}

/// One person's word. A client has one for each approval, however many credentials it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vote {
    /// Who.
    pub client: ClientId,
    /// With which credential.
    pub credential: String,
    /// For it, or against it.
    pub approves: bool,
    /// The hash of the content that was in front of the voter.
    pub content_sha256: [u8; 32],
    /// When.
    pub at_ms: i64,
}

/// What became of a request for an approval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApprovalRequested {
    /// It waits from now on.
    New(Approval),
    /// The same client asked for the same already, and it waits still.
    Existing(Approval),
    /// [`PENDING_PER_CLIENT`] of this client wait already.
    TooMany,
}

/// A change of an approval's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalStep {
    /// Where it must stand.
    pub from: ApprovalState,
    /// Where it comes.
    pub to: ApprovalState,
    /// What became of the act; empty before its end.
    pub outcome: String,
    /// Whose doing it is.
    pub actor: Actor,
    /// When.
    pub now_ms: i64,
}
