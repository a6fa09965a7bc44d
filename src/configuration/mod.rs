//! Configurations as they are stored: immutable but for their state and what the import adds.

mod destruction;
mod import;
mod key_change;
mod public_key;
mod token_key;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use destruction::Gone;
pub use key_change::{AllowedKeyChange, KeyChangePair, KeyChangePairRefusal, allow, forbid};
pub use public_key::{PublicKey, Registered, register};
pub use token_key::{KeyState, MaskedKey, TokenKey};

use crate::audit::{Actor, Change, NewAct};
use crate::id::{ClientId, ConfigurationId, PublicKeyId};
use crate::sts::attributes::Attributes;

/// Where a configuration stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConfigurationState {
    /// Uploaded; its key may or may not be in the HSM. The same upload again finishes it.
    Importing,
    /// Issues tokens.
    Enabled,
    /// Issues no new tokens; requests answered before are answered again.
    Disabled,
    /// Waits to be destroyed; can be restored.
    DestroyScheduled,
    /// Its keys are gone from the HSM; attributes and ledger stay.
    Destroyed,
}

impl ConfigurationState {
    /// Every state.
    pub const ALL: [Self; 5] =
        [Self::Importing, Self::Enabled, Self::Disabled, Self::DestroyScheduled, Self::Destroyed];

    /// The name in the database and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Importing => "IMPORTING",
            Self::Enabled => "ENABLED",
            Self::Disabled => "DISABLED",
            Self::DestroyScheduled => "DESTROY_SCHEDULED",
            Self::Destroyed => "DESTROYED",
        }
    }
}

impl fmt::Display for ConfigurationState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no state of a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a state of a configuration")]
pub struct UnknownState;

impl FromStr for ConfigurationState {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, UnknownState> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or(UnknownState)
    }
}

/// Something that the uploader should know about an accepted configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// Stable UPPER_SNAKE code.
    pub code: String,
    /// A sentence for people.
    pub message: String,
}

/// An upload, opened, checked and about to be imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewConfiguration {
    /// The id that it gets if it is new; also the CKA_ID of its keys.
    pub id: ConfigurationId,
    /// HMAC over the upload's content, made in the HSM: equal uploads are one configuration.
    pub fingerprint: [u8; 32],
    /// What makes a sealed upload one; a legacy one has none.
    pub nonce: Option<[u8; 16]>,
    /// The name in the uploaded text; not unique.
    pub display_name: String,
    /// What enters the derivation of a decoder key.
    pub attributes: Attributes,
    /// Length of the vending key in bytes: 8, 16 or 20.
    pub key_length: u8,
    /// Why it can never issue; empty: it can.
    pub unservable: Vec<Warning>,
    /// What the uploader should know.
    pub warnings: Vec<Warning>,
    /// The key that signed the upload.
    pub signer: PublicKeyId,
    /// The client that uploaded it.
    pub uploaded_by: ClientId,
    /// Whose act it is.
    pub actor: Actor,
    /// When.
    pub now_ms: i64,
}

/// What an import adds to a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImportedFields {
    /// The key. `None` only where no key object was made.
    pub key: Option<TokenKey>,
    /// The first state.
    pub state: FinishedState,
}

/// The states in which an imported configuration may begin its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishedState {
    /// It issues at once.
    Enabled,
    /// It waits for an administrator, or can never issue.
    Disabled,
}

impl From<FinishedState> for ConfigurationState {
    fn from(state: FinishedState) -> Self {
        match state {
            FinishedState::Enabled => Self::Enabled,
            FinishedState::Disabled => Self::Disabled,
        }
    }
}

/// A configuration as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// Its id; also the CKA_ID of its keys.
    pub id: ConfigurationId,
    /// HMAC over the upload's content, made in the HSM.
    pub fingerprint: [u8; 32],
    /// What makes a sealed upload one; a legacy one has none.
    pub nonce: Option<[u8; 16]>,
    /// Where it stands.
    pub state: ConfigurationState,
    /// The name in the uploaded text; not unique.
    pub display_name: String,
    /// What enters the derivation of a decoder key.
    pub attributes: Attributes,
    /// Length of the vending key in bytes: 8, 16 or 20.
    pub key_length: u8,
    /// Why it can never issue; empty: it can.
    pub unservable: Vec<Warning>,
    /// What the uploader should know.
    pub warnings: Vec<Warning>,
    /// Its key on each token that holds it, once imported; those that are destroyed come last. Their
    /// check values stay.
    pub keys: Vec<TokenKey>,
    /// The key that signed the upload.
    pub signer: PublicKeyId,
    /// The client that uploaded it.
    pub uploaded_by: ClientId,
    /// When it was uploaded.
    pub created_ms: i64,
    /// When its state last changed.
    pub updated_ms: i64,
    /// From when on its keys are destroyed, if that is scheduled; when they were seen to be gone,
    /// if it is destroyed.
    pub destroy_ms: Option<i64>,
    /// When the destruction of its keys began: they may be gone, and there is no way back.
    pub destroy_begun_ms: Option<i64>,
}

impl Configuration {
    /// The key check value, once imported: that of its key, whichever token holds it.
    pub fn kcv(&self) -> Option<[u8; 3]> {
        self.keys.first().map(|key| key.kcv)
    }

    /// Whether it can ever issue.
    pub fn is_servable(&self) -> bool {
        self.unservable.is_empty()
    }

    /// Whether its keys may be gone already.
    pub fn destroy_begun(&self) -> bool {
        self.destroy_begun_ms.is_some()
    }

    /// Enables or disables it. `None`: it is so already.
    ///
    /// # Errors
    /// [`ConfigurationRefusal::WrongState`] unless it is enabled or disabled,
    /// [`ConfigurationRefusal::NotServable`].
    pub fn set_enabled(&self, enabled: bool, actor: Actor, now_ms: i64) -> Transition {
        let wanted = if enabled { ConfigurationState::Enabled } else { ConfigurationState::Disabled };
        match self.state {
            ConfigurationState::Enabled | ConfigurationState::Disabled => {}
            state => return Err(ConfigurationRefusal::WrongState { state }),
        }
        if enabled && (!self.is_servable() || self.keys.is_empty()) {
            return Err(self.not_servable());
        }
        if self.state == wanted {
            return Ok(None);
        }
        let kind = if enabled { "configuration.enabled" } else { "configuration.disabled" };
        let row = Self { state: wanted, updated_ms: now_ms, ..self.clone() };
        Ok(Some(row.told(kind, [], actor, now_ms)))
    }

    /// Nothing issues without a check value that the HSM has confirmed.
    fn not_servable(&self) -> ConfigurationRefusal {
        let no_key = Warning {
            code: "NO_KEY_CHECK_VALUE".into(),
            message: "the HSM has not confirmed its key".into(),
        };
        let reasons = if self.is_servable() { vec![no_key] } else { self.unservable.clone() };
        ConfigurationRefusal::NotServable { reasons }
    }

    /// The row as it is to be, with the act that tells of it.
    fn told(
        self,
        kind: &'static str,
        details: impl IntoIterator<Item = (&'static str, String)>,
        actor: Actor,
        now_ms: i64,
    ) -> Change<Self> {
        let mut details: BTreeMap<_, _> = details.into_iter().collect();
        details.insert("configuration", self.id.to_string());
        Change { row: self, act: NewAct { kind, actor, details, now_ms } }
    }

    /// The key check value as hex, for the record; empty where there is none.
    fn kcv_text(&self) -> String {
        self.kcv().map(hex::encode).unwrap_or_default()
    }
}

/// A configuration as it is to be, or `None` where it is so already.
pub type Transition = Result<Option<Change<Configuration>>, ConfigurationRefusal>;

/// What was found when an import began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// New: the row is IMPORTING, go on to the HSM.
    Started(Configuration),
    /// An import of the same upload did not end: go on to the HSM, under the id of this row.
    Resumed(Configuration),
    /// The upload is a configuration already: nothing is left to do.
    Existing(Configuration),
    /// Another sealed upload had the same nonce.
    NonceUsed,
}

/// Why a configuration does not take what was asked of it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigurationRefusal {
    /// There is none of this id.
    #[error("there is no such configuration")]
    NotFound,
    /// It can never issue.
    #[error("the configuration cannot issue tokens: {}", .reasons.iter().map(|reason| reason.message.as_str()).collect::<Vec<_>>().join("; "))]
    NotServable {
        /// Why.
        reasons: Vec<Warning>,
    },
    /// Its state does not allow it (an import that did not end, a destroyed key, an import finished
    /// already).
    #[error("the configuration is {state}")]
    WrongState {
        /// The state in which it is.
        state: ConfigurationState,
    },
    /// A token made another check value of its key than the one on record.
    #[error("it is another key: its check value is {}, not {}", hex::encode(.found), hex::encode(.known))]
    OtherKey {
        /// What the token made.
        found: [u8; 3],
        /// What is on record.
        known: [u8; 3],
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An upload that can be served.
    pub(super) fn upload() -> NewConfiguration {
        let attributes = Attributes::example();
        NewConfiguration {
            id: ConfigurationId::generate(),
            fingerprint: [1; 32],
            nonce: None,
            display_name: "a configuration".into(),
            attributes,
            key_length: 20,
            unservable: Vec::new(),
            warnings: Vec::new(),
            signer: PublicKeyId::generate(),
            uploaded_by: ClientId::generate(),
            actor: Actor::Local,
            now_ms: 0,
        }
    }

    #[test]
    fn states_round_trip() {
        for state in ConfigurationState::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
        }
        assert_eq!("enabled".parse::<ConfigurationState>(), Err(UnknownState));
    }
}
