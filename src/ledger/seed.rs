//! What an administrator decides about last TIDs: those of another system, lower ones, floors after
//! a restore.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::audit::Actor;
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

/// What is known of a meter's TIDs under a base date.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LastTids {
    /// The last TID: the highest that a token had, or the one that was seeded or lowered to.
    pub last: Option<Tid>,
    /// The highest that a token had, whatever was seeded.
    pub issued: Option<Tid>,
}

/// The last TID as it is, if it may become this one: never below that of a token.
///
/// # Errors
/// [`LowerRefused`].
pub fn lowerable(known: LastTids, to: Tid) -> Result<Tid, LowerRefused> {
    let last = known.last.ok_or(LowerRefused::MeterNotFound)?;
    if last < to {
        return Err(LowerRefused::NotLower { last });
    }
    match known.issued.filter(|issued| *issued > to) {
        Some(issued) => Err(LowerRefused::Issued { issued }),
        None => Ok(last),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tid(value: u32) -> Tid {
        Tid::new(value).unwrap()
    }

    #[test]
    fn never_below_a_token_and_never_up() {
        let known = |last, issued: Option<u32>| LastTids { last: Some(tid(last)), issued: issued.map(tid) };
        assert_eq!(lowerable(LastTids::default(), tid(7)), Err(LowerRefused::MeterNotFound));
        assert_eq!(lowerable(known(9, None), tid(10)), Err(LowerRefused::NotLower { last: tid(9) }));
        assert_eq!(lowerable(known(9, Some(5)), tid(4)), Err(LowerRefused::Issued { issued: tid(5) }));
        assert_eq!(lowerable(known(9, Some(5)), tid(5)), Ok(tid(9)));
        assert_eq!(lowerable(known(9, Some(9)), tid(9)), Ok(tid(9)), "what is so stays so");
        assert_eq!(lowerable(known(9, None), tid(0)), Ok(tid(9)));
    }
}
