//! Why an act is refused or fails.

use std::time::Duration;

use crate::{
    access::{Denied, limits::LimitMet},
    configuration::{ConfigurationRefusal, ConfigurationState, Warning},
    envelope::{BlobFault, DocumentFault, FieldFault, SealedRefusal},
    hsm::{HsmError, TokenId},
    id::ConfigurationId,
    store::{ConfigurationError, LedgerError, Outcome, StoreError},
    sts::{attributes::BaseDate, meter::MeterError, tid::TidRefusal, token::key_change::KeyChangeRefusal},
};

/// Why an upload is not taken. Nothing was stored, but for [`UploadError::Hsm`] and
/// [`UploadError::Store`]: after these the same upload again goes on where it stopped.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// Blobs are visibly not what they should be.
    #[error("the upload is malformed")]
    Malformed(Vec<BlobFault>),
    /// The settings take sealed uploads alone.
    #[error("this server takes sealed uploads alone (uploads.legacy)")]
    LegacyDenied,
    /// A sealed upload is visibly not what it should be.
    #[error("the sealed upload is malformed")]
    Document(Vec<DocumentFault>),
    /// A sealed upload is meant for other servers.
    #[error("{0}")]
    OtherServer(String),
    /// A sealed upload is meant for another time.
    #[error("{0}")]
    NotNow(String),
    /// Another sealed upload had the same nonce.
    #[error("another upload had this nonce: seal it anew")]
    NonceUsed,
    /// It cannot be opened; why, nobody is told.
    #[error("the upload cannot be opened")]
    Invalid,
    /// The caller's rights are not about configurations like it.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The text is no valid configuration.
    #[error("the configuration is not valid")]
    Configuration(Vec<FieldFault>),
    /// The HSM failed the probe of what this class of key needs.
    #[error("the HSM cannot serve keys of this class: {0}")]
    KeyClass(String),
    /// The HSM does not keep the key as it must (the object was destroyed), or the row is not as it
    /// was left.
    #[error("the key cannot be kept: {0}")]
    Import(String),
    /// The HSM does not answer.
    #[error(transparent)]
    Hsm(#[from] HsmError),
    /// The same content was uploaded before, and its key was destroyed.
    #[error("this configuration was destroyed: its key is not taken in again")]
    Destroyed,
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The import's task ended before its time: the server is stopping.
    #[error("the server is stopping")]
    Stopping,
}

impl From<SealedRefusal> for UploadError {
    fn from(refusal: SealedRefusal) -> Self {
        let text = refusal.to_string();
        match refusal {
            SealedRefusal::Malformed(faults) => Self::Document(faults),
            SealedRefusal::Configuration(faults) => Self::Configuration(faults),
            SealedRefusal::OtherServer { .. } => Self::OtherServer(text),
            SealedRefusal::NotNow { .. } => Self::NotNow(text),
        }
    }
}

/// Why a configuration cannot be used for new tokens.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// There is none of this id.
    #[error("there is no configuration {0}")]
    NotFound(ConfigurationId),
    /// Its import was not finished.
    #[error("the upload of this configuration was not finished: repeat it")]
    Importing,
    /// It is disabled.
    #[error("the configuration is disabled")]
    Disabled,
    /// It is enabled, and only a disabled one can be destroyed.
    #[error("the configuration is enabled: disable it first")]
    Enabled,
    /// Its keys are going.
    #[error("the configuration waits to be destroyed; it can be restored until then")]
    DestroyScheduled,
    /// Its keys are gone.
    #[error("the configuration is destroyed")]
    Destroyed,
    /// It can never issue.
    #[error("no token can be issued under this configuration: {}", .0.iter().map(|reason| reason.message.as_str()).collect::<Vec<_>>().join("; "))]
    Unservable(Vec<Warning>),
    /// Its key lies in tokens that this server does not use.
    #[error("no token of this server holds the configuration's key: it lies in {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    OtherTokens(Vec<TokenId>),
    /// No token that was reached holds its key, and one was not reached.
    #[error(transparent)]
    Unreached(HsmError),
    /// The settings deny its algorithm.
    #[error("the settings of this server deny {0}")]
    Denied(&'static str),
    /// No published vector proves its algorithm.
    #[error("no published vector proves {0}; the settings must allow it (vending.unverified_algorithms)")]
    Unverified(&'static str),
    /// The HSM failed the probe of what its key needs.
    #[error("the HSM cannot serve this configuration's key: {0}")]
    KeyClass(String),
}

impl From<ConfigurationState> for Unusable {
    /// What is in the way when a configuration is in this state and should be in another.
    fn from(state: ConfigurationState) -> Self {
        match state {
            ConfigurationState::Importing => Self::Importing,
            ConfigurationState::Enabled => Self::Enabled,
            ConfigurationState::Disabled => Self::Disabled,
            ConfigurationState::DestroyScheduled => Self::DestroyScheduled,
            ConfigurationState::Destroyed => Self::Destroyed,
        }
    }
}

/// Why a token is not issued.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// A self-test of this process failed: nothing that it computes is trusted.
    #[error("a self-test of this server failed: {0}")]
    SelfTest(String),
    /// The configuration does not serve.
    #[error(transparent)]
    Unusable(#[from] Unusable),
    /// The meter's number does not fit the configuration.
    #[error(transparent)]
    Meter(#[from] MeterError),
    /// Keys of type 0 and 1 give no credit.
    #[error("keys of type {0} issue no credit")]
    CreditUnderDefaultKey(u8),
    /// The token time that was asked for is too old or too far ahead.
    #[error("the token time lies outside the window from {} hours ago to {} minutes ahead", back.as_secs() / 3600, ahead.as_secs() / 60)]
    TimeOutsideWindow {
        /// How old it may be.
        back: Duration,
        /// How far ahead it may be.
        ahead: Duration,
    },
    /// No TID exists before the base date.
    #[error("the time lies before the configuration's base date {}", .0.year())]
    TimeBeforeBaseDate(BaseDate),
    /// The meter gets no TID.
    #[error(transparent)]
    Tid(TidRefusal),
    /// The meter is not carried from the one key to the other.
    #[error(transparent)]
    KeyChange(#[from] KeyChangeRefused),
    /// The client's limits leave no room.
    #[error(transparent)]
    Limit(LimitMet),
    /// The id belongs to another request.
    #[error("this request_id was used for another request")]
    RequestIdReused,
    /// What this request issued may be forgotten.
    #[error("this request_id is older than the ledger answers for")]
    RequestIdTooOld,
    /// The clock or the database is in doubt.
    #[error("nothing is issued: {0}")]
    Stopped(#[from] super::Stop),
    /// The caller may not.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The credential does not count any more.
    #[error("the credential is not accepted")]
    CredentialRefused,
    /// The HSM did not do its part.
    #[error("{error}")]
    Hsm {
        /// What it said.
        error: HsmError,
        /// Whether the ledger may hold the token.
        outcome: Outcome,
    },
    /// The store did not do its part.
    #[error(transparent)]
    Store(StoreError),
    /// A row or an answer that cannot be: a fault of ours.
    #[error("fault: {0}")]
    Fault(&'static str),
    /// Refused, and the ledger holds the token of this request, or could not be asked for it.
    #[error(transparent)]
    Unsettled(Box<IssueError>),
}

impl IssueError {
    /// The same, where the ledger may hold the token all the same: the caller must repeat the
    /// request, not make another.
    pub(super) fn unsettled(self) -> Self {
        match self {
            Self::Unsettled(_) => self,
            error => Self::Unsettled(Box::new(error)),
        }
    }

    /// Whether the key is destroyed, so that no digits come any more.
    pub fn is_destroyed(&self) -> bool {
        match self {
            Self::Unusable(Unusable::Destroyed) => true,
            Self::Unsettled(error) => error.is_destroyed(),
            _ => false,
        }
    }

    /// What to tell of a refusal after the look for an earlier row failed too.
    pub(super) fn after_look(self, look: Self) -> Self {
        match look {
            // The look has the better answer: the id is another request's, or older than what is
            // remembered.
            Self::RequestIdReused | Self::RequestIdTooOld => look,
            // A row names its configuration and its meter: where there are none of these, there is
            // no row.
            Self::Meter(_) | Self::Unusable(Unusable::NotFound(_) | Unusable::Importing) => self,
            _ => self.unsettled(),
        }
    }

    /// An HSM failure before anything was recorded.
    pub(super) fn before_commit(error: HsmError) -> Self {
        Self::Hsm { error, outcome: Outcome::NotDone }
    }

    /// An HSM failure after the row was committed.
    pub(super) fn after_commit(error: HsmError) -> Self {
        Self::Hsm { error, outcome: Outcome::Unknown }
    }
}

impl From<LedgerError> for IssueError {
    fn from(error: LedgerError) -> Self {
        use crate::configuration::ConfigurationState as State;
        use crate::ledger::Refused;
        match error {
            LedgerError::Store(error) => Self::Store(error),
            LedgerError::Refused(Refused::RequestIdReused { .. }) => Self::RequestIdReused,
            LedgerError::Refused(Refused::RequestIdTooOld) => Self::RequestIdTooOld,
            LedgerError::Refused(Refused::CredentialNotEnabled) => Self::CredentialRefused,
            LedgerError::Refused(Refused::Tid(refusal)) => Self::Tid(refusal),
            LedgerError::Refused(Refused::Limit(met)) => Self::Limit(met),
            LedgerError::Refused(Refused::KeyChangeNotAllowed { .. }) => {
                Self::KeyChange(KeyChangeRefused::NotAllowed)
            }
            LedgerError::Refused(Refused::ConfigurationNotFound { id }) => Unusable::NotFound(id).into(),
            // An enabled one is not refused for its state.
            LedgerError::Refused(Refused::ConfigurationNotEnabled { state: State::Enabled, .. }) => {
                Unusable::Disabled.into()
            }
            LedgerError::Refused(Refused::ConfigurationNotEnabled { state, .. }) => {
                Unusable::from(state).into()
            }
        }
    }
}

/// Why a key change is not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyChangeRefused {
    /// No administrator allowed the pair.
    #[error("no administrator allowed key changes between these configurations")]
    NotAllowed,
    /// The standard forbids it.
    #[error(transparent)]
    Standard(#[from] KeyChangeRefusal),
    /// Roll-over with equal decoder keys.
    #[error("roll-over with equal decoder keys would revive old tokens")]
    RevivesOldTokens,
}

/// Why a token is not looked at. What the token is, is no failure.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A self-test of this process failed: nothing that it computes is trusted.
    #[error("a self-test of this server failed: {0}")]
    SelfTest(String),
    /// The configuration does not serve.
    #[error(transparent)]
    Unusable(#[from] Unusable),
    /// The meter's number does not fit the configuration.
    #[error(transparent)]
    Meter(#[from] MeterError),
    /// The caller may not.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// Too many looks failed.
    #[error("too many looks into foreign tokens failed for this meter or this client")]
    Limited(Duration),
    /// The HSM does not answer.
    #[error(transparent)]
    Hsm(#[from] HsmError),
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A fault of ours.
    #[error("fault: {0}")]
    Fault(&'static str),
}

/// Why a configuration's state is not changed.
#[derive(Debug, thiserror::Error)]
pub enum EnableError {
    /// The caller may not.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// Its nature or its state forbids it.
    #[error(transparent)]
    Unusable(#[from] Unusable),
    /// The clock or the database is in doubt.
    #[error("nothing is destroyed: {0}")]
    Stopped(super::Stop),
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl EnableError {
    /// What the store said of this configuration.
    pub(super) fn of(id: ConfigurationId, error: ConfigurationError) -> Self {
        match error {
            ConfigurationError::Store(error) => Self::Store(error),
            ConfigurationError::Refused(ConfigurationRefusal::NotFound) => Unusable::NotFound(id).into(),
            ConfigurationError::Refused(ConfigurationRefusal::NotServable { reasons }) => {
                Unusable::Unservable(reasons).into()
            }
            ConfigurationError::Refused(ConfigurationRefusal::WrongState { state }) => {
                Unusable::from(state).into()
            }
            ConfigurationError::Refused(refusal @ ConfigurationRefusal::OtherKey { .. }) => {
                let reason = format!("a change of its state that looks at its keys: {refusal}");
                Self::Store(StoreError::Defect { reason })
            }
        }
    }
}
