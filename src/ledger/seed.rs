//! What an administrator decides about last TIDs: those of another system, lower ones, floors after a restore.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::audit::Actor;
use crate::store::StoreError;
use crate::sts::attributes::BaseDate;
use crate::sts::meter::MeterPan;
use crate::sts::tid::Tid;

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

/// Why the last TID of a meter is not lowered.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LowerRefused {
    /// It never got one.
    #[error("the ledger knows no last token identifier of this meter under this base date")]
    MeterNotFound,
    /// It would rise, which is seeding.
    #[error("the last token identifier is {last}, which is lower already", last = .last.value())]
    NotLower {
        /// The last TID as it is.
        last: Tid,
    },
    /// A token has a higher one: it would be given again.
    #[error("a token with the identifier {issued} was issued to this meter", issued = .issued.value())]
    Issued {
        /// The highest TID of a token.
        issued: Tid,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
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
