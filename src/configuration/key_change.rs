//! Which key changes administrators allowed. A set carries a decoder key to whoever knows the source key, so two uploads
//! never imply it.

use thiserror::Error;

use super::ConfigurationState;
use crate::id::{ClientId, ConfigurationId};
use crate::store::StoreError;

/// From which configuration to which a meter may be carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyChangePair {
    /// Under whose key the meter is.
    pub source: ConfigurationId,
    /// Under whose key it comes.
    pub target: ConfigurationId,
}

/// A pair that is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedKeyChange {
    /// The pair.
    pub pair: KeyChangePair,
    /// Who allowed it.
    pub allowed_by: ClientId,
    /// When.
    pub created_ms: i64,
}

/// Why a pair is not allowed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KeyChangePairError {
    /// There is no such configuration.
    #[error("there is no configuration {0}")]
    NotFound(ConfigurationId),
    /// A key that is gone or going takes no meters and gives none.
    #[error("a configuration of the pair is {0}")]
    WrongState(ConfigurationState),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
