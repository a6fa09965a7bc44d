//! What a connection gives beyond a transaction, where a database is copied as a whole into one of
//! another engine.

use super::{HourSum, NewRow, Transaction};
use crate::audit::{ActRow, ChainEnd, ChainId, ChainNumber};
use crate::ledger::{LastTids, RefusedCalls};
use crate::store::{OpenError, Server, StoreError};
use crate::sts::attributes::BaseDate;
use crate::sts::meter::MeterPan;

/// Why a database is not to be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// It is being filled from another one, and is not whole yet.
    Filling {
        /// The first chain of that one.
        chain: ChainId,
        /// Its URL, for people.
        from: String,
    },
    /// All that it holds is in another one, where servers go on.
    Moved {
        /// Its URL, for people.
        to: String,
    },
}

impl Mark {
    const FILLING: &str = "FILLING";
    const MOVED: &str = "MOVED";

    /// As both engines keep it: what it says, the chain, the other database.
    pub(crate) fn columns(&self) -> (&'static str, Option<[u8; 16]>, &str) {
        match self {
            Self::Filling { chain, from } => (Self::FILLING, Some(chain.0), from),
            Self::Moved { to } => (Self::MOVED, None, to),
        }
    }

    /// From what is kept. `None` for what no Vendkey writes.
    pub(crate) fn from_columns(state: &str, chain: Option<[u8; 16]>, other: String) -> Option<Self> {
        match (state, chain) {
            (Self::FILLING, Some(chain)) => Some(Self::Filling { chain: ChainId(chain), from: other }),
            (Self::MOVED, None) => Some(Self::Moved { to: other }),
            _ => None,
        }
    }

    /// What is told to whoever would serve the database.
    pub(crate) fn refusal(self) -> OpenError {
        match self {
            Self::Filling { from, .. } => OpenError::Filling { from },
            Self::Moved { to } => OpenError::Moved { to },
        }
    }
}

/// What is known of the TIDs of a meter under a base date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MeterTids {
    /// The meter.
    pub(crate) meter: MeterPan,
    /// From where its TIDs count.
    pub(crate) base_date: BaseDate,
    /// The last one, and the highest that a token had.
    pub(crate) tids: LastTids,
}

/// A failed look into a foreign token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FailedLook {
    /// Its number.
    pub(crate) number: i64,
    /// The number of the client.
    pub(crate) client: i64,
    /// The meter.
    pub(crate) meter: MeterPan,
    /// When.
    pub(crate) at_ms: i64,
}

/// A connection that has the database alone. Its server is that of the first chain.
pub(crate) trait Copyable: Transaction {
    /// Why the database is not to be served, if it is not.
    fn mark(&mut self) -> Result<Option<Mark>, StoreError>;

    /// Writes that, or takes it away.
    fn put_mark(&mut self, mark: Option<&Mark>) -> Result<(), StoreError>;

    /// How many tokens and how many acts a chain has.
    fn count_records(&mut self, chain: ChainNumber) -> Result<(u64, u64), StoreError>;

    /// What is known of all meters, in their order, after one of them.
    fn meters_after(
        &mut self,
        after: Option<(MeterPan, BaseDate)>,
        most: usize,
    ) -> Result<Vec<MeterTids>, StoreError>;

    /// The days of which there are sums, in their order.
    fn days_of_sums(&mut self) -> Result<Vec<i64>, StoreError>;

    /// All failed looks into foreign tokens, in the order of their numbers.
    fn failures(&mut self) -> Result<Vec<FailedLook>, StoreError>;

    /// Writes a chain with its server, or how far it has come. An engine of one server takes the
    /// first chain alone.
    fn put_chain(&mut self, server: &Server, end: &ChainEnd) -> Result<(), StoreError>;

    /// Writes acts of a chain.
    fn copy_acts(&mut self, chain: ChainNumber, acts: &[ActRow]) -> Result<(), StoreError>;

    /// Writes rows of the ledger of a chain, in their order. What is known of their meters may be
    /// left to [`Copyable::copy_meters`].
    fn copy_tokens(&mut self, rows: &mut dyn Iterator<Item = NewRow<'_>>) -> Result<(), StoreError>;

    /// Writes what is known of meters; what is there and higher stays.
    fn copy_meters(&mut self, meters: &[MeterTids]) -> Result<(), StoreError>;

    /// Makes what reports are made of this, whatever was there.
    fn copy_reports(&mut self, vended: &[HourSum], refused: &[RefusedCalls]) -> Result<(), StoreError>;

    /// Is called when all rows are written, within the last transaction of them.
    fn end_copy(&mut self) -> Result<(), StoreError>;
}
