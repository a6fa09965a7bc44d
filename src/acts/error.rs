//! From the layers' errors to refusals: what a caller reads. What only operators may read goes to
//! the log here.

use std::time::Duration;

use super::{
    act::ActUnreadable,
    authenticator::AccessError,
    reason::Reason,
    refusal::{Issued, Refusal},
};
use crate::{
    access::{Denied, approval::ApprovalRefused, client::ClientRefusal, limits::LimitMet},
    configuration::KeyChangePairRefusal,
    hsm::HsmError,
    ledger::LowerRefused,
    store::{ClientError, KeyChangePairError, LowerError, Outcome, PageError, StoreError},
    sts::{tid::TidRefusal, token::key_change::KeyChangeRefusal},
    vending::{EnableError, IssueError, KeyChangeRefused, Stop, Unusable, UploadError, VerifyError},
};

/// After a full queue: it drains within milliseconds.
const RETRY_BUSY: Duration = Duration::from_millis(100);
/// After a lost HSM or a full disk: healing takes seconds.
const RETRY_UNAVAILABLE: Duration = Duration::from_secs(5);

impl From<AccessError> for Refusal {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::Missing => Self::new(Reason::CredentialMissing, error.to_string()),
            AccessError::Refused => Self::new(Reason::CredentialRefused, error.to_string()),
            // Whoever calls again may have a token already.
            AccessError::Store(error) => Self::from(error).issued(Issued::Maybe),
        }
    }
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        let refusal = Self::new(Reason::PermissionDenied, denied.to_string());
        match denied.missing() {
            Some(group) => refusal.metadata("permission", group.as_str()),
            None => refusal,
        }
    }
}

impl From<Outcome> for Issued {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::NotDone => Self::No,
            Outcome::Unknown => Self::Maybe,
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        let refusal = match &error {
            StoreError::Busy => {
                return Self::new(Reason::StoreBusy, "the ledger's queue is full").retry_after(RETRY_BUSY);
            }
            StoreError::DeadlinePassed => {
                return Self::new(Reason::DeadlinePassed, "the deadline passed before anything was recorded");
            }
            StoreError::Full { .. } => Self::new(Reason::StoreUnavailable, "the store's disk is full"),
            StoreError::Unavailable { .. } | StoreError::Conflict { .. } | StoreError::Closed { .. } => {
                Self::new(Reason::StoreUnavailable, "the store cannot be written or read")
            }
            StoreError::NoSeal { .. } => {
                Self::new(Reason::HsmUnavailable, "the HSM does not check seals now")
            }
            StoreError::TakenOver { .. } => {
                tracing::error!(%error, "the store");
                return Self::new(
                    Reason::LedgerTakenOver,
                    "the database is not this server's any more; its log says why",
                );
            }
            StoreError::LostCommits { .. } => {
                return Self::new(Reason::LedgerBehindCheckpoint, error.to_string());
            }
            StoreError::Forged { .. } => {
                // Which row is for the log alone.
                tracing::error!(%error, "the store");
                return Self::new(Reason::SealBroken, "a row that decides was changed by somebody else");
            }
            StoreError::Unlinked { .. } => {
                // The same: it was told as an alarm.
                return Self::new(
                    Reason::LedgerDamaged,
                    "the ledger's row of this token was changed by somebody else",
                );
            }
            StoreError::Damaged { .. } | StoreError::Corrupt { .. } | StoreError::Defect { .. } => {
                tracing::error!(%error, "the store");
                return Self::internal().issued(error.outcome().into());
            }
        };
        tracing::error!(%error, "the store");
        refusal.retry_after(RETRY_UNAVAILABLE).issued(error.outcome().into())
    }
}

impl From<HsmError> for Refusal {
    fn from(error: HsmError) -> Self {
        if matches!(error, HsmError::Busy(_)) {
            return Self::new(Reason::HsmBusy, "the HSM's queue is full").retry_after(RETRY_BUSY);
        }
        tracing::error!(%error, "the HSM");
        match error {
            HsmError::NotServed { .. } => Self::new(Reason::KeyClassUnsupported, error.to_string()),
            HsmError::WrongKind { .. } | HsmError::TooMany { .. } => Self::internal(),
            HsmError::KeyMissing { .. } | HsmError::KeyAmbiguous { .. } | HsmError::KeyUntrusted { .. } => {
                Self::new(Reason::KeyMissing, "the HSM does not hold the key as it must")
            }
            _ => Self::new(Reason::HsmUnavailable, "the HSM does not answer as it should")
                .retry_after(RETRY_UNAVAILABLE),
        }
    }
}

impl From<PageError> for Refusal {
    fn from(error: PageError) -> Self {
        let field = match error {
            PageError::NegativeSize => "page_size",
            PageError::Token => "page_token",
        };
        Self::fields(Reason::InvalidFields, vec![(field.to_owned(), error.to_string())])
    }
}

impl From<Unusable> for Refusal {
    fn from(error: Unusable) -> Self {
        let reason = match &error {
            Unusable::NotFound(_) => Reason::ConfigurationNotFound,
            Unusable::Importing => Reason::ConfigurationImporting,
            Unusable::Disabled => Reason::ConfigurationDisabled,
            Unusable::Enabled => Reason::ConfigurationEnabled,
            Unusable::DestroyScheduled => Reason::ConfigurationDestroyScheduled,
            Unusable::Destroyed => Reason::ConfigurationDestroyed,
            Unusable::Unservable(_) => Reason::ConfigurationUnservable,
            Unusable::Denied(_) => Reason::PolicyDenies,
            Unusable::Unverified(_) => Reason::UnverifiedAlgorithm,
            Unusable::KeyClass(_) => Reason::KeyClassUnsupported,
            Unusable::OtherTokens(_) => Reason::KeyMissing,
            Unusable::Unreached(error) => return error.clone().into(),
        };
        Self::new(reason, error.to_string())
    }
}

impl From<UploadError> for Refusal {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::Malformed(faults) => Self::fields(
                Reason::EnvelopeMalformed,
                faults.iter().map(|fault| (fault.blob.to_string(), fault.to_string())).collect(),
            ),
            UploadError::LegacyDenied => Self::new(Reason::PolicyDenies, error.to_string()),
            UploadError::Document(faults) => Self::fields(
                Reason::EnvelopeMalformed,
                faults.iter().map(|fault| (fault.field.clone(), fault.to_string())).collect(),
            ),
            UploadError::OtherServer(_) => Self::new(Reason::UploadForOtherServer, error.to_string()),
            UploadError::NotNow(_) => Self::new(Reason::UploadNotNow, error.to_string()),
            UploadError::NonceUsed => Self::new(Reason::NonceUsed, error.to_string()),
            // One text for all causes (upload formats §4).
            UploadError::Invalid => Self::new(Reason::EnvelopeInvalid, "the upload cannot be opened"),
            UploadError::Configuration(faults) => Self::fields(
                Reason::ConfigurationInvalid,
                faults.iter().map(|fault| (fault.field.clone(), fault.to_string())).collect(),
            ),
            UploadError::Denied(denied) => denied.into(),
            UploadError::KeyClass(_) => Self::new(Reason::KeyClassUnsupported, error.to_string()),
            UploadError::Import(_) => {
                tracing::error!(%error, "import");
                Self::new(Reason::KeyUntrusted, error.to_string())
            }
            UploadError::Destroyed => Self::new(Reason::ConfigurationDestroyed, error.to_string()),
            UploadError::Hsm(error) => error.into(),
            UploadError::Store(error) => error.into(),
            UploadError::Stopping => {
                Self::new(Reason::HsmUnavailable, error.to_string()).retry_after(RETRY_UNAVAILABLE)
            }
        }
    }
}

impl From<EnableError> for Refusal {
    fn from(error: EnableError) -> Self {
        match error {
            EnableError::Denied(denied) => denied.into(),
            EnableError::Unusable(error) => error.into(),
            EnableError::Stopped(ref stop) => Self::new(stopped(stop), error.to_string()),
            EnableError::Store(error) => error.into(),
        }
    }
}

impl From<IssueError> for Refusal {
    fn from(error: IssueError) -> Self {
        let reason = match &error {
            IssueError::SelfTest(_) => Reason::SelftestFailed,
            IssueError::Meter(_) => {
                return Self::fields(Reason::InvalidFields, vec![("meter".to_owned(), error.to_string())]);
            }
            IssueError::CreditUnderDefaultKey(_) => Reason::CreditUnderDefaultKey,
            IssueError::TimeOutsideWindow { .. } => Reason::TokenTimeOutsideWindow,
            IssueError::TimeBeforeBaseDate(_) => Reason::TokenTimeBeforeBaseDate,
            IssueError::Tid(TidRefusal::KeyExpired { .. }) => Reason::KeyExpired,
            IssueError::Tid(TidRefusal::Exhausted) => Reason::TidExhausted,
            IssueError::Tid(TidRefusal::BeyondHorizon { .. }) => Reason::TidBeyondHorizon,
            IssueError::KeyChange(refused) => key_change(*refused),
            IssueError::Limit(met) => return limit(met),
            IssueError::RequestIdReused => Reason::RequestIdReused,
            IssueError::RequestIdTooOld => Reason::RequestIdTooOld,
            IssueError::Stopped(stop) => stopped(stop),
            IssueError::Denied(_) => Reason::PermissionDenied,
            IssueError::CredentialRefused => Reason::CredentialRefused,
            IssueError::Unusable(_) | IssueError::Hsm { .. } | IssueError::Store(_) => Reason::Internal,
            IssueError::Fault(fault) => {
                tracing::error!(fault, "issuing");
                return Self::internal();
            }
            IssueError::Unsettled(_) => Reason::Internal,
        };
        match error {
            IssueError::Unusable(error) => error.into(),
            IssueError::Hsm { error, outcome } => Self::from(error).issued(outcome.into()),
            IssueError::Store(error) => error.into(),
            IssueError::Unsettled(error) => Self::from(*error).issued(Issued::Maybe),
            error => Self::new(reason, error.to_string()),
        }
    }
}

/// Names the limit that was met and when it ends.
fn limit(met: &LimitMet) -> Refusal {
    let reason = if met.ends.is_some() { Reason::LimitReached } else { Reason::AmountAboveLimit };
    let refusal = Refusal::new(reason, met.to_string()).metadata("limit", met.name.clone());
    match met.ends {
        Some(end) => refusal.metadata("ends", time(end.at_ms)).retry_after(end.wait),
        None => refusal,
    }
}

/// To the second, in UTC.
fn time(ms: i64) -> String {
    let second = jiff::Timestamp::from_second(ms.div_euclid(1000));
    second.map(|time| time.to_string()).unwrap_or_default()
}

fn stopped(stop: &Stop) -> Reason {
    match stop {
        Stop::BehindCheckpoint { .. } => Reason::LedgerBehindCheckpoint,
        Stop::RowsChanged => Reason::SealBroken,
        Stop::LedgerDamaged { .. } => Reason::LedgerDamaged,
        Stop::ClockJumped { .. } | Stop::ClockFarFromLastSign { .. } | Stop::ClockOffDatabase { .. } => {
            Reason::ClockInDoubt
        }
    }
}

fn key_change(refused: KeyChangeRefused) -> Reason {
    match refused {
        KeyChangeRefused::NotAllowed => Reason::KeyChangeNotAllowed,
        KeyChangeRefused::RevivesOldTokens => Reason::KeyChangeRevivesTokens,
        KeyChangeRefused::Standard(refusal) => match refusal {
            KeyChangeRefusal::OtherIin { .. } => Reason::KeyChangeOtherIssuer,
            KeyChangeRefusal::OtherEa { .. } => Reason::KeyChangeOtherCipher,
            KeyChangeRefusal::OtherDkga { .. } => Reason::KeyChangeOtherDerivation,
            KeyChangeRefusal::EarlierBaseDate { .. } => Reason::KeyChangeEarlierBaseDate,
            KeyChangeRefusal::KeyType { .. } => Reason::KeyChangeKeyType,
            KeyChangeRefusal::BothExpired => Reason::KeyChangeBothExpired,
        },
    }
}

impl From<VerifyError> for Refusal {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::SelfTest(_) => Self::new(Reason::SelftestFailed, error.to_string()),
            VerifyError::Unusable(error) => error.into(),
            VerifyError::Meter(error) => {
                Self::fields(Reason::InvalidFields, vec![("meter".to_owned(), error.to_string())])
            }
            VerifyError::Denied(denied) => denied.into(),
            VerifyError::Limited(wait) => {
                Self::new(Reason::VerificationsLimited, error.to_string()).retry_after(wait)
            }
            VerifyError::Hsm(error) => error.into(),
            VerifyError::Store(error) => error.into(),
            VerifyError::Fault(fault) => {
                tracing::error!(fault, "verifying");
                Self::internal()
            }
        }
    }
}

impl From<KeyChangePairError> for Refusal {
    fn from(error: KeyChangePairError) -> Self {
        match error {
            KeyChangePairError::Refused(KeyChangePairRefusal::NotFound(id)) => Unusable::NotFound(id).into(),
            KeyChangePairError::Refused(KeyChangePairRefusal::WrongState(state)) => {
                Unusable::from(state).into()
            }
            KeyChangePairError::Store(error) => error.into(),
        }
    }
}

impl From<LowerError> for Refusal {
    fn from(error: LowerError) -> Self {
        match error {
            LowerError::Refused(refused) => refused.into(),
            LowerError::Store(error) => error.into(),
        }
    }
}

impl From<LowerRefused> for Refusal {
    fn from(error: LowerRefused) -> Self {
        match error {
            LowerRefused::MeterNotFound => Self::new(Reason::MeterNotFound, error.to_string()),
            LowerRefused::NotLower { .. } => {
                Self::fields(Reason::InvalidFields, vec![("last_tid".to_owned(), error.to_string())])
            }
            LowerRefused::Issued { .. } => Self::new(Reason::TidIssued, error.to_string()),
        }
    }
}

impl From<ApprovalRefused> for Refusal {
    fn from(error: ApprovalRefused) -> Self {
        let reason = match error {
            ApprovalRefused::ContentChanged | ApprovalRefused::OtherContent => Reason::ApprovalContentChanged,
            ApprovalRefused::Ended(_) | ApprovalRefused::Expired => Reason::ApprovalEnded,
            ApprovalRefused::Own => Reason::ApprovalOwn,
        };
        Self::new(reason, error.to_string())
    }
}

impl From<ClientError> for Refusal {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Refused(refusal) => refusal.into(),
            ClientError::Store(error) => error.into(),
        }
    }
}

impl From<ClientRefusal> for Refusal {
    fn from(refusal: ClientRefusal) -> Self {
        let reason = match &refusal {
            ClientRefusal::NotFound(_) => Reason::ClientNotFound,
            ClientRefusal::CredentialNotFound(_) => Reason::CredentialNotFound,
            ClientRefusal::Exists(_) => Reason::NameTaken,
            ClientRefusal::Changed { .. } => Reason::ClientChanged,
            ClientRefusal::LockOut { .. } => Reason::LockOut,
        };
        Self::new(reason, refusal.to_string())
    }
}

impl From<ActUnreadable> for Refusal {
    fn from(error: ActUnreadable) -> Self {
        Self::new(Reason::ApprovalEnded, error.to_string())
    }
}
