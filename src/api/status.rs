//! Refusals on the wire: one table from reasons to gRPC's status, and `google.rpc.Status` with
//! ErrorInfo, BadRequest and RetryInfo.

use std::collections::HashMap;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::v1;
use crate::acts::{Issued, Reason, Refusal};

/// `ErrorInfo.domain` of all our reasons.
pub const DOMAIN: &str = "vendkey";

/// How many bytes of violations are sent: they travel as a trailer, in base64, and common clients
/// take 8 KiB of trailers.
const VIOLATION_BYTES: usize = 4096;

/// The status that goes with a reason.
pub(super) fn code(reason: Reason) -> Code {
    match reason {
        Reason::CredentialMissing | Reason::CredentialRefused => Code::Unauthenticated,
        Reason::InvalidFields
        | Reason::JsonMalformed
        | Reason::EnvelopeMalformed
        | Reason::EnvelopeInvalid
        | Reason::ConfigurationInvalid
        | Reason::PublicKeyInvalid => Code::InvalidArgument,
        Reason::ConfigurationNotFound
        | Reason::PublicKeyNotFound
        | Reason::ClientNotFound
        | Reason::CredentialNotFound
        | Reason::TokenNotFound
        | Reason::MeterNotFound
        | Reason::ApprovalNotFound
        | Reason::SymbolNotFound
        | Reason::ServiceNotFound => Code::NotFound,
        Reason::RequestIdReused | Reason::NameTaken | Reason::NonceUsed => Code::AlreadyExists,
        Reason::TokenTimeOutsideWindow => Code::OutOfRange,
        Reason::ConfigurationDisabled
        | Reason::ConfigurationImporting
        | Reason::ConfigurationEnabled
        | Reason::ConfigurationDestroyScheduled
        | Reason::ConfigurationDestroyed
        | Reason::ConfigurationUnservable
        | Reason::PolicyDenies
        | Reason::UnverifiedAlgorithm
        | Reason::CreditUnderDefaultKey
        | Reason::KeyClassUnsupported
        | Reason::UploadForOtherServer
        | Reason::UploadNotNow
        | Reason::KeyUntrusted
        | Reason::KeyMissing
        | Reason::TokenTimeBeforeBaseDate
        | Reason::TidExhausted
        | Reason::TidBeyondHorizon
        | Reason::KeyExpired
        | Reason::KeyChangeNotAllowed
        | Reason::KeyChangeOtherIssuer
        | Reason::KeyChangeOtherCipher
        | Reason::KeyChangeOtherDerivation
        | Reason::KeyChangeEarlierBaseDate
        | Reason::KeyChangeKeyType
        | Reason::KeyChangeBothExpired
        | Reason::KeyChangeRevivesTokens
        | Reason::AmountAboveLimit
        | Reason::RequestIdTooOld
        | Reason::ClockInDoubt
        | Reason::LedgerBehindCheckpoint
        | Reason::LockOut
        | Reason::NothingToAccept
        | Reason::TidIssued
        | Reason::ApprovalPending
        | Reason::ApprovalOwn
        | Reason::ApprovalEnded
        | Reason::ApprovalContentChanged
        | Reason::TlsRequired => Code::FailedPrecondition,
        Reason::PermissionDenied => Code::PermissionDenied,
        Reason::LimitReached
        | Reason::VerificationsLimited
        | Reason::RequestsLimited
        | Reason::ApprovalsLimited
        | Reason::HsmBusy
        | Reason::StoreBusy
        | Reason::ServerBusy
        | Reason::UploadsLimited
        | Reason::MessageTooLarge
        | Reason::MetadataTooLarge => Code::ResourceExhausted,
        Reason::ClientChanged => Code::Aborted,
        Reason::HsmUnavailable
        | Reason::StoreUnavailable
        | Reason::LedgerTakenOver
        | Reason::SelftestFailed => Code::Unavailable,
        Reason::RequestTooSlow | Reason::StreamIdle | Reason::DeadlinePassed => Code::DeadlineExceeded,
        Reason::SealBroken | Reason::LedgerDamaged => Code::DataLoss,
        Reason::MethodUnknown | Reason::CompressionUnsupported => Code::Unimplemented,
        // As gRPC's own libraries say of what they cannot parse.
        Reason::MessageMalformed | Reason::Internal => Code::Internal,
    }
}

impl From<Refusal> for v1::Refusal {
    fn from(refusal: Refusal) -> Self {
        let violation = |(field, description)| v1::FieldViolation { field, description };
        Self {
            code: code(refusal.reason).into(),
            reason: refusal.reason.text().to_owned(),
            message: refusal.message,
            maybe_issued: refusal.issued == Issued::Maybe,
            field_violations: fitting(refusal.violations).into_iter().map(violation).collect(),
            retry_after_ms: refusal
                .retry_after
                .map_or(0, |after| i64::try_from(after.as_millis()).unwrap_or(0)),
        }
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let facts = refusal.metadata.into_iter().map(|(name, value)| (name.to_owned(), value));
        let metadata: HashMap<String, String> =
            facts.chain([("issued".to_owned(), refusal.issued.text().to_owned())]).collect();
        let mut details = ErrorDetails::with_error_info(refusal.reason.text(), DOMAIN, metadata);

        for (field, description) in fitting(refusal.violations) {
            details.add_bad_request_violation(field, description);
        }
        if let Some(after) = refusal.retry_after {
            details.set_retry_info(Some(after));
        }
        Self::with_error_details(code(refusal.reason), refusal.message, details)
    }
}

/// As many violations as can be sent, and how many more there are.
fn fitting(mut violations: Vec<(String, String)>) -> Vec<(String, String)> {
    let (mut left, mut kept) = (VIOLATION_BYTES, 0);
    for (field, description) in &violations {
        match left.checked_sub(field.len() + description.len() + 8) {
            Some(rest) => left = rest,
            None => break,
        }
        kept += 1;
    }
    let more = violations.len() - kept;
    if more > 0 {
        violations.truncate(kept);
        violations.push(("more".to_owned(), format!("{more} further faults")));
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_holds_the_table() {
        let document = include_str!("../../docs/errors.md");
        for reason in Reason::ALL {
            let row = format!("| `{}` | {} | {} |", reason.text(), code_name(code(*reason)), reason.advice());
            assert!(document.contains(&row), "docs/errors.md lacks: {row}");
        }
    }

    fn code_name(code: Code) -> String {
        let mut name = String::new();
        for letter in format!("{code:?}").chars() {
            if letter.is_ascii_uppercase() && !name.is_empty() {
                name.push('_');
            }
            name.push(letter.to_ascii_uppercase());
        }
        name
    }
}
