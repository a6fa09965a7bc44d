//! The reasons of refusals, with what they mean and what a caller should do. Each face has one
//! table from these to its own status; `docs/errors.md` is all of it in words.

/// Declares the reasons with their names on the wire and what a caller should do.
macro_rules! reasons {
    ($($variant:ident = $text:literal, $advice:literal;)*) => {
        /// Why a call was refused: `ErrorInfo.reason` with domain `vendkey`. Stable; clients may
        /// branch on it.
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

            /// What it means and what to do.
            pub fn advice(self) -> &'static str {
                match self { $(Self::$variant => $advice,)* }
            }
        }
    };
}

reasons! {
    CredentialMissing = "CREDENTIAL_MISSING", "The call carries no credential: send `authorization: Bearer ...`.";
    CredentialRefused = "CREDENTIAL_REFUSED", "The credential is unknown, wrong, disabled or expired.";
    InvalidFields = "INVALID_FIELDS", "Fields of the request are malformed; BadRequest lists all of them.";
    EnvelopeMalformed = "ENVELOPE_MALFORMED", "A blob of the upload is visibly not what it should be; BadRequest says which and how.";
    EnvelopeInvalid = "ENVELOPE_INVALID", "The upload could not be opened: wrong server key, wrong AES key, damaged data, or no registered key signed it. Which of these is not told.";
    UploadForOtherServer = "UPLOAD_FOR_OTHER_SERVER", "The sealed upload is not encrypted to this server's sealed key: fetch the key and seal it anew.";
    UploadNotNow = "UPLOAD_NOT_NOW", "The sealed upload is meant for another time: seal it anew, or look at the clocks.";
    NonceUsed = "NONCE_USED", "Another sealed upload had the same nonce: seal it anew.";
    ConfigurationInvalid = "CONFIGURATION_INVALID", "The uploaded text is no valid configuration; BadRequest lists every fault.";
    PublicKeyInvalid = "PUBLIC_KEY_INVALID", "The public key cannot be used; BadRequest says why.";
    ConfigurationNotFound = "CONFIGURATION_NOT_FOUND", "No configuration has this name.";
    PublicKeyNotFound = "PUBLIC_KEY_NOT_FOUND", "No public key has this name.";
    ConfigurationDisabled = "CONFIGURATION_DISABLED", "The configuration is disabled; an administrator can enable it.";
    ConfigurationImporting = "CONFIGURATION_IMPORTING", "The upload of this configuration was not finished; repeat it.";
    ConfigurationEnabled = "CONFIGURATION_ENABLED", "The configuration is enabled; only a disabled one can be destroyed.";
    ConfigurationDestroyScheduled = "CONFIGURATION_DESTROY_SCHEDULED", "The configuration waits to be destroyed; until then an administrator can restore it. Replays are answered.";
    ConfigurationDestroyed = "CONFIGURATION_DESTROYED", "The configuration's key is destroyed, for good: nothing is issued under it, and the digits of earlier tokens cannot be made again.";
    ConfigurationUnservable = "CONFIGURATION_UNSERVABLE", "No token can ever be issued under this configuration; the message says why.";
    PolicyDenies = "POLICY_DENIES", "The settings of this server do not allow it, such as DKGA02 where it is denied.";
    UnverifiedAlgorithm = "UNVERIFIED_ALGORITHM", "No published vector proves this algorithm; the settings must allow it.";
    CreditUnderDefaultKey = "CREDIT_UNDER_DEFAULT_KEY", "Keys of type 0 and 1 issue no credit.";
    KeyClassUnsupported = "KEY_CLASS_UNSUPPORTED", "The HSM failed the known-answer probe of what this key needs.";
    KeyUntrusted = "KEY_UNTRUSTED", "The HSM did not keep the uploaded key as it must, so the key was destroyed again: see the server's log.";
    KeyMissing = "KEY_MISSING", "The HSM does not hold this configuration's key, or not as it must: an operator must look.";
    TokenTimeOutsideWindow = "TOKEN_TIME_OUTSIDE_WINDOW", "token_time may lie from 24 hours ago to 5 minutes ahead.";
    TokenTimeBeforeBaseDate = "TOKEN_TIME_BEFORE_BASE_DATE", "The configuration's base date has not come yet at that time.";
    TidExhausted = "TID_EXHAUSTED", "The 24 bits of the token identifier are used up: change to a later base date.";
    TidBeyondHorizon = "TID_BEYOND_HORIZON", "The next free minute of this meter is too far ahead, because of the tokens it has had; wait.";
    KeyExpired = "KEY_EXPIRED", "The key expiry number forbids tokens of that time: change the key.";
    KeyChangeNotAllowed = "KEY_CHANGE_NOT_ALLOWED", "No administrator allowed key changes from the one configuration to the other.";
    KeyChangeOtherIssuer = "KEY_CHANGE_OTHER_ISSUER", "The two keys belong to two issuers (IIN).";
    KeyChangeOtherCipher = "KEY_CHANGE_OTHER_CIPHER", "A key change keeps the encryption algorithm.";
    KeyChangeOtherDerivation = "KEY_CHANGE_OTHER_DERIVATION", "A key change keeps the decoder key generation algorithm.";
    KeyChangeEarlierBaseDate = "KEY_CHANGE_EARLIER_BASE_DATE", "A meter's base date never goes back.";
    KeyChangeKeyType = "KEY_CHANGE_KEY_TYPE", "Keys of type 0 become any other, of type 1 become 2 or 3; all else keeps its type.";
    KeyChangeBothExpired = "KEY_CHANGE_BOTH_EXPIRED", "Both keys have expired.";
    KeyChangeRevivesTokens = "KEY_CHANGE_REVIVES_TOKENS", "The meter would forget its token identifiers and keep its key, so every old token would work once more.";
    LimitReached = "LIMIT_REACHED", "A limit of this client is used up: ErrorInfo's `limit` names it, `ends` says until when.";
    AmountAboveLimit = "AMOUNT_ABOVE_LIMIT", "One token of this client may not transfer so much: ErrorInfo's `limit` names the limit.";
    VerificationsLimited = "VERIFICATIONS_LIMITED", "Too many looks into foreign tokens failed, for this meter or by this client: retry after the time given.";
    RequestIdReused = "REQUEST_ID_REUSED", "This request_id belongs to another request; use a new one.";
    RequestIdTooOld = "REQUEST_ID_TOO_OLD", "The request is older than what the ledger answers for; whether it was issued, the ledger cannot tell any more.";
    ClockInDoubt = "CLOCK_IN_DOUBT", "The server's clock jumped or is far from the server's last sign of life; nothing is issued until the clock is proved right or an administrator accepts it. Replays are answered.";
    LedgerBehindCheckpoint = "LEDGER_BEHIND_CHECKPOINT", "The database lacks records of the last checkpoint, as after a restore; nothing is issued until an administrator accepts it. Replays are answered.";
    SealBroken = "SEAL_BROKEN", "A row that decides does not bear this server's seal: somebody wrote to the database. Nothing is done with it until an administrator has looked.";
    LedgerDamaged = "LEDGER_DAMAGED", "A row of the ledger is not what its link of the chain says: somebody wrote to the database. No token is made from it; where the whole ledger was found so, nothing is issued until an administrator has looked.";
    PermissionDenied = "PERMISSION_DENIED", "This client may not do that; the message names the permission that it lacks.";
    ClientNotFound = "CLIENT_NOT_FOUND", "No client has this name.";
    CredentialNotFound = "CREDENTIAL_NOT_FOUND", "No credential has this name.";
    NameTaken = "NAME_TAKEN", "Another client was created under this request_id, or another credential has this key id: use a new one.";
    ClientChanged = "CLIENT_CHANGED", "The client was changed since it was read: read it again, and decide again.";
    LockOut = "LOCK_OUT", "Too few administrators would be left who could give every right back: make another one first.";
    RequestsLimited = "REQUESTS_LIMITED", "More requests in a second than this client may send: retry after the time given.";
    TokenNotFound = "TOKEN_NOT_FOUND", "The ledger has no such token of this client.";
    NothingToAccept = "NOTHING_TO_ACCEPT", "The database is not behind its checkpoint, and its ledger holds: there is nothing to accept.";
    MeterNotFound = "METER_NOT_FOUND", "The ledger knows no last token identifier of this meter under this base date.";
    TidIssued = "TID_ISSUED", "A token of this meter has a higher identifier: the last one is never set below it.";
    ApprovalPending = "APPROVAL_PENDING", "Other administrators must approve this first; ErrorInfo's metadata has the approval's name and how many persons are missing. The same call again finds the same approval.";
    ApprovalNotFound = "APPROVAL_NOT_FOUND", "No approval has this name.";
    ApprovalOwn = "APPROVAL_OWN", "Whoever asked for an act is counted already, whatever the credential: another person must approve it.";
    ApprovalEnded = "APPROVAL_ENDED", "The approval was decided or its time is over; ask for the act again.";
    ApprovalContentChanged = "APPROVAL_CONTENT_CHANGED", "What is stored is not what was asked for, or not what the voter looked at: it is not done. Stored content that was changed is an alarm. Of AcceptRestore: the doubt about the ledger is another one than was shown; look at it, and ask again.";
    ApprovalsLimited = "APPROVALS_LIMITED", "Too many acts of this client wait for approval; have them decided first.";
    HsmBusy = "HSM_BUSY", "The HSM's queue is full: retry after the time given, with the same request_id.";
    StoreBusy = "STORE_BUSY", "The ledger's queue is full: retry after the time given, with the same request_id.";
    ServerBusy = "SERVER_BUSY", "The server has as many calls as it bears: retry after the time given, with the same request_id.";
    RequestTooSlow = "REQUEST_TOO_SLOW", "The request did not arrive in the time that the server waits; nothing was done.";
    StreamIdle = "STREAM_IDLE", "No request came on the stream for so long that the server ended it; open another and repeat what has no answer.";
    UploadsLimited = "UPLOADS_LIMITED", "Too many upload attempts of this client: retry after the time given.";
    HsmUnavailable = "HSM_UNAVAILABLE", "The HSM does not answer; retry with the same request_id.";
    StoreUnavailable = "STORE_UNAVAILABLE", "The store cannot be written or read; retry with the same request_id.";
    LedgerTakenOver = "LEDGER_TAKEN_OVER", "Another process has opened this server's database, or its file was moved: this server issues nothing until an operator has looked; another server may serve. Replays are answered.";
    SelftestFailed = "SELFTEST_FAILED", "This server failed a known-answer test and issues nothing until an administrator has looked; another server may serve.";
    DeadlinePassed = "DEADLINE_PASSED", "The call's deadline passed: before anything was recorded where `issued` is `no`, on the way where it is `maybe`.";
    MethodUnknown = "METHOD_UNKNOWN", "There is no such method, or not at this address: administration may have a listener of its own.";
    JsonMalformed = "JSON_MALFORMED", "What was sent is no message of this method in protobuf's JSON mapping; BadRequest says where and why.";
    MessageMalformed = "MESSAGE_MALFORMED", "What was sent is no message of this method: a wrong frame, compression that does not unpack, no protobuf, or an early end.";
    MessageTooLarge = "MESSAGE_TOO_LARGE", "A request or an answer has more than `wire.message_bytes` when unpacked: ask for less at once.";
    MetadataTooLarge = "METADATA_TOO_LARGE", "The call's headers have more than `wire.header_bytes`.";
    CompressionUnsupported = "COMPRESSION_UNSUPPORTED", "The request is packed as the server cannot unpack it: the header `grpc-accept-encoding` names what it takes.";
    TlsRequired = "TLS_REQUIRED", "This address speaks TLS: use `https://`. Change the credential if it went over a network in plain text.";
    SymbolNotFound = "SYMBOL_NOT_FOUND", "Reflection knows no such symbol or file.";
    ServiceNotFound = "SERVICE_NOT_FOUND", "Health knows no service of this name; the empty name is the server as a whole.";
    Internal = "INTERNAL", "A fault of the server; its log says more.";
}

impl Reason {
    /// Whether the very same call may succeed later without anybody changing it: something does not
    /// answer, has too much to do, or is in doubt for now.
    pub fn is_passing(self) -> bool {
        matches!(
            self,
            Self::HsmBusy
                | Self::HsmUnavailable
                | Self::StoreBusy
                | Self::StoreUnavailable
                | Self::ServerBusy
                | Self::DeadlinePassed
                | Self::LedgerTakenOver
                | Self::SelftestFailed
                | Self::ClockInDoubt
        )
    }
}
