//! The reasons of refusals: one table from reason to gRPC status. `docs/errors.md` is this table in words.

use tonic::Code;

/// Declares the reasons with their names on the wire, their status and what a caller should do.
macro_rules! reasons {
    ($($variant:ident = $text:literal, $code:ident, $advice:literal;)*) => {
        /// Why a call was refused: `ErrorInfo.reason` with domain `vendkey`. Stable; clients may branch on it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason {
            $(#[doc = $advice] $variant,)*
        }

        impl Reason {
            /// Every reason, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name on the wire.
            pub fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// The status that goes with it.
            pub fn code(self) -> Code {
                match self { $(Self::$variant => Code::$code,)* }
            }

            /// What it means and what to do.
            pub fn advice(self) -> &'static str {
                match self { $(Self::$variant => $advice,)* }
            }
        }
    };
}

reasons! {
    CredentialMissing = "CREDENTIAL_MISSING", Unauthenticated, "The call carries no credential: send `authorization: Bearer ...`.";
    CredentialRefused = "CREDENTIAL_REFUSED", Unauthenticated, "The credential is unknown, wrong, disabled or expired.";
    InvalidFields = "INVALID_FIELDS", InvalidArgument, "Fields of the request are malformed; BadRequest lists all of them.";
    EnvelopeMalformed = "ENVELOPE_MALFORMED", InvalidArgument, "A blob of the upload is visibly not what it should be; BadRequest says which and how.";
    EnvelopeInvalid = "ENVELOPE_INVALID", InvalidArgument, "The upload could not be opened: wrong server key, wrong AES key, damaged data, or no registered key signed it. Which of these is not told.";
    ConfigurationInvalid = "CONFIGURATION_INVALID", InvalidArgument, "The uploaded text is no valid configuration; BadRequest lists every fault.";
    PublicKeyInvalid = "PUBLIC_KEY_INVALID", InvalidArgument, "The public key cannot be used; BadRequest says why.";
    ConfigurationNotFound = "CONFIGURATION_NOT_FOUND", NotFound, "No configuration has this name.";
    PublicKeyNotFound = "PUBLIC_KEY_NOT_FOUND", NotFound, "No public key has this name.";
    ConfigurationDisabled = "CONFIGURATION_DISABLED", FailedPrecondition, "The configuration is disabled; an administrator can enable it.";
    ConfigurationImporting = "CONFIGURATION_IMPORTING", FailedPrecondition, "The upload of this configuration was not finished; repeat it.";
    ConfigurationEnabled = "CONFIGURATION_ENABLED", FailedPrecondition, "The configuration is enabled; only a disabled one can be destroyed.";
    ConfigurationDestroyScheduled = "CONFIGURATION_DESTROY_SCHEDULED", FailedPrecondition, "The configuration waits to be destroyed; until then an administrator can restore it. Replays are answered.";
    ConfigurationDestroyed = "CONFIGURATION_DESTROYED", FailedPrecondition, "The configuration's key is destroyed, for good: nothing is issued under it, and the digits of earlier tokens cannot be made again.";
    ConfigurationUnservable = "CONFIGURATION_UNSERVABLE", FailedPrecondition, "No token can ever be issued under this configuration; the message says why.";
    PolicyDenies = "POLICY_DENIES", FailedPrecondition, "The settings of this server do not allow it, such as DKGA02 where it is denied.";
    UnverifiedAlgorithm = "UNVERIFIED_ALGORITHM", FailedPrecondition, "No published vector proves this algorithm; the settings must allow it.";
    CreditUnderDefaultKey = "CREDIT_UNDER_DEFAULT_KEY", FailedPrecondition, "Keys of type 0 and 1 issue no credit.";
    KeyClassUnsupported = "KEY_CLASS_UNSUPPORTED", FailedPrecondition, "The HSM failed the known-answer probe of what this key needs.";
    KeyUntrusted = "KEY_UNTRUSTED", FailedPrecondition, "The HSM did not keep the uploaded key as it must, so the key was destroyed again: see the server's log.";
    KeyMissing = "KEY_MISSING", FailedPrecondition, "The HSM does not hold this configuration's key, or not as it must: an operator must look.";
    TokenTimeOutsideWindow = "TOKEN_TIME_OUTSIDE_WINDOW", OutOfRange, "token_time may lie from 24 hours ago to 5 minutes ahead.";
    TokenTimeBeforeBaseDate = "TOKEN_TIME_BEFORE_BASE_DATE", FailedPrecondition, "The configuration's base date has not come yet at that time.";
    TidExhausted = "TID_EXHAUSTED", FailedPrecondition, "The 24 bits of the token identifier are used up: change to a later base date.";
    TidBeyondHorizon = "TID_BEYOND_HORIZON", FailedPrecondition, "This meter has had so many tokens that the next free minute is too far ahead; wait.";
    KeyExpired = "KEY_EXPIRED", FailedPrecondition, "The key expiry number forbids tokens of that time: change the key.";
    KeyChangeNotAllowed = "KEY_CHANGE_NOT_ALLOWED", FailedPrecondition, "No administrator allowed key changes from the one configuration to the other.";
    KeyChangeOtherIssuer = "KEY_CHANGE_OTHER_ISSUER", FailedPrecondition, "The two keys belong to two issuers (IIN).";
    KeyChangeOtherCipher = "KEY_CHANGE_OTHER_CIPHER", FailedPrecondition, "A key change keeps the encryption algorithm.";
    KeyChangeOtherDerivation = "KEY_CHANGE_OTHER_DERIVATION", FailedPrecondition, "A key change keeps the decoder key generation algorithm.";
    KeyChangeEarlierBaseDate = "KEY_CHANGE_EARLIER_BASE_DATE", FailedPrecondition, "A meter's base date never goes back.";
    KeyChangeKeyType = "KEY_CHANGE_KEY_TYPE", FailedPrecondition, "Keys of type 0 become any other, of type 1 become 2 or 3; all else keeps its type.";
    KeyChangeBothExpired = "KEY_CHANGE_BOTH_EXPIRED", FailedPrecondition, "Both keys have expired.";
    KeyChangeRevivesTokens = "KEY_CHANGE_REVIVES_TOKENS", FailedPrecondition, "The meter would forget its token identifiers and keep its key, so every old token would work once more.";
    LimitReached = "LIMIT_REACHED", ResourceExhausted, "A limit of this client is used up: ErrorInfo's `limit` names it, `ends` says until when.";
    AmountAboveLimit = "AMOUNT_ABOVE_LIMIT", FailedPrecondition, "One token of this client may not transfer so much: ErrorInfo's `limit` names the limit.";
    VerificationsLimited = "VERIFICATIONS_LIMITED", ResourceExhausted, "Too many looks into foreign tokens failed, for this meter or by this client: retry after the time given.";
    RequestIdReused = "REQUEST_ID_REUSED", AlreadyExists, "This request_id belongs to another request; use a new one.";
    RequestIdTooOld = "REQUEST_ID_TOO_OLD", FailedPrecondition, "The request is older than what the ledger answers for; whether it was issued, the ledger cannot tell any more.";
    ClockInDoubt = "CLOCK_IN_DOUBT", FailedPrecondition, "The server's clock jumped or is far from the server's last sign of life; nothing is issued until the clock is proved right or an administrator accepts it. Replays are answered.";
    LedgerBehindCheckpoint = "LEDGER_BEHIND_CHECKPOINT", FailedPrecondition, "The database lacks records of the last checkpoint, as after a restore; nothing is issued until an administrator accepts it. Replays are answered.";
    SealBroken = "SEAL_BROKEN", DataLoss, "A row that decides does not bear this server's seal: somebody wrote to the database. Nothing is done with it until an administrator has looked.";
    PermissionDenied = "PERMISSION_DENIED", PermissionDenied, "This client may not do that; the message names the permission that it lacks.";
    ClientNotFound = "CLIENT_NOT_FOUND", NotFound, "No client has this name.";
    CredentialNotFound = "CREDENTIAL_NOT_FOUND", NotFound, "No credential has this name.";
    NameTaken = "NAME_TAKEN", AlreadyExists, "Another client was created under this request_id, or another credential has this key id: use a new one.";
    ClientChanged = "CLIENT_CHANGED", Aborted, "The client was changed since it was read: read it again, and decide again.";
    LockOut = "LOCK_OUT", FailedPrecondition, "Too few administrators would be left who could give every right back: make another one first.";
    RequestsLimited = "REQUESTS_LIMITED", ResourceExhausted, "More requests in a second than this client may send: retry after the time given.";
    TokenNotFound = "TOKEN_NOT_FOUND", NotFound, "The ledger has no such token of this client.";
    NothingToAccept = "NOTHING_TO_ACCEPT", FailedPrecondition, "The database is not behind its checkpoint.";
    MeterNotFound = "METER_NOT_FOUND", NotFound, "The ledger knows no last token identifier of this meter under this base date.";
    TidIssued = "TID_ISSUED", FailedPrecondition, "A token of this meter has a higher identifier: the last one never falls below it.";
    ApprovalPending = "APPROVAL_PENDING", FailedPrecondition, "Other administrators must approve this first; ErrorInfo's metadata has the approval's name and how many persons are missing. The same call again finds the same approval.";
    ApprovalNotFound = "APPROVAL_NOT_FOUND", NotFound, "No approval has this name.";
    ApprovalOwn = "APPROVAL_OWN", FailedPrecondition, "Whoever asked for an act is counted already, whatever the credential: another person must approve it.";
    ApprovalEnded = "APPROVAL_ENDED", FailedPrecondition, "The approval was decided or its time is over; ask for the act again.";
    ApprovalContentChanged = "APPROVAL_CONTENT_CHANGED", FailedPrecondition, "What is stored is not what was asked for, or not what the voter looked at: it is not done. Stored content that was changed is an alarm.";
    ApprovalsLimited = "APPROVALS_LIMITED", ResourceExhausted, "Too many acts of this client wait for approval; have them decided first.";
    HsmBusy = "HSM_BUSY", ResourceExhausted, "The HSM's queue is full: retry after the time given, with the same request_id.";
    StoreBusy = "STORE_BUSY", ResourceExhausted, "The ledger's queue is full: retry after the time given, with the same request_id.";
    ServerBusy = "SERVER_BUSY", ResourceExhausted, "The server has as many calls as it bears: retry after the time given, with the same request_id.";
    RequestTooSlow = "REQUEST_TOO_SLOW", DeadlineExceeded, "The request did not arrive in the time that the server waits; nothing was done.";
    StreamIdle = "STREAM_IDLE", DeadlineExceeded, "No request came on the stream for so long that the server ended it; open another and repeat what has no answer.";
    UploadsLimited = "UPLOADS_LIMITED", ResourceExhausted, "Too many upload attempts of this client: retry after the time given.";
    HsmUnavailable = "HSM_UNAVAILABLE", Unavailable, "The HSM does not answer; retry with the same request_id.";
    StoreUnavailable = "STORE_UNAVAILABLE", Unavailable, "The store cannot be written or read; retry with the same request_id.";
    LedgerTakenOver = "LEDGER_TAKEN_OVER", Unavailable, "Another process has opened this server's database, or its file was moved: this server issues nothing until an operator has looked; another server may serve. Replays are answered.";
    SelftestFailed = "SELFTEST_FAILED", Unavailable, "This server failed a known-answer test and issues nothing until an administrator has looked; another server may serve.";
    DeadlinePassed = "DEADLINE_PASSED", DeadlineExceeded, "The call's deadline passed before anything was recorded.";
    Internal = "INTERNAL", Internal, "A fault of the server; its log says more.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_holds_the_table() {
        let document = include_str!("../../docs/errors.md");
        for reason in Reason::ALL {
            let row = format!("| `{}` | {} | {} |", reason.text(), code_name(reason.code()), reason.advice());
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
