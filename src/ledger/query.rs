//! Which rows of the ledger somebody asks for.

use super::{Cursor, TokenRow};
use crate::id::{ClientId, ConfigurationId};
use crate::sts::meter::MeterPan;

/// Which rows of the ledger are wanted; what is absent does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenFilter {
    /// Of this meter.
    pub meter: Option<MeterPan>,
    /// Under this configuration.
    pub configuration: Option<ConfigurationId>,
    /// Of this client.
    pub client: Option<ClientId>,
    /// Of this class and, if given, subclass.
    pub class: Option<(u8, Option<u8>)>,
    /// Issued at or after.
    pub from_ms: Option<i64>,
    /// Issued before.
    pub until_ms: Option<i64>,
}

/// A page of rows. It may hold fewer rows than asked for, and none, and still have a next one: a
/// page looks at a limited number of rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenPage {
    /// In the order of each chain; those of several by their times, as far as they are known.
    pub rows: Vec<TokenRow>,
    /// Where the next page starts.
    pub next: Option<Cursor>,
}
