//! The ledger of issued tokens: what is written before a token exists, and what is enough to answer
//! it again.
//!
//! A row holds the finished clear block, never the digits: whoever steals the database can vend
//! nothing, and a lost answer is encrypted again through the HSM, digit for digit. A key-change set
//! holds parts of a new key even in the clear, so its row keeps only what the set is derived from.

mod batch;
mod counted;
mod counted_hours;
mod cursor;
mod fields;
mod floors;
mod query;
mod report;
mod seed;
mod sequence;
mod sum;
mod usage;
mod verification;
mod walk;

use std::time::Instant;

use thiserror::Error;
use uuid::Uuid;

pub use batch::{Batch, Decision, Facts, Issued};
pub use counted::{CountedDay, SumMismatch, SumOf};
pub use counted_hours::CountedHours;
pub use cursor::{Cursor, CursorError};
pub use fields::{ContentFields, Foreign, RowFields};
pub use floors::Floors;
pub use query::{TokenFilter, TokenPage};
pub use report::{
    HourOfConfiguration, Hours, OfClient, RefusedCalls, SpanError, Sums, Vended, VendingReport, date_of,
    hour_of,
};
pub use seed::{AcceptedRestore, LastTids, LowerRefused, Seed, lowerable};
pub use sequence::{LAST_POSITION, Sequence};
pub use sum::{KEY_CHANGE, Sum, day_of};
pub use usage::{Alarm, Day, USUAL_DAYS, usual};
pub use verification::{
    Attempt, Attempted, FAILURES_PER_CLIENT_AND_DAY, FAILURES_PER_METER_AND_HOUR, NewAttempt,
    client_failures_from, meter_failures_from, wait,
};

pub use walk::{Damage, Met, Walk};

use crate::access::limits::LimitMet;
use crate::audit::RowKind;
use crate::configuration::ConfigurationState;
use crate::id::{ClientId, ConfigurationId};
use crate::sts::attributes::BaseDate;
use crate::sts::meter::MeterPan;
use crate::sts::tid::{Tid, TidRefusal, TidWindow};
use crate::sts::token::{self, ClearBlock, Payload, Rnd};

/// When a request id was made, in milliseconds since 1970: a UUIDv7 tells it (RFC 9562 §5.7),
/// others do not.
pub fn request_made_ms(request_id: Uuid) -> Option<i64> {
    let [a, b, c, d, e, f, ..] = request_id.into_bytes();
    (request_id.get_version_num() == 7).then(|| i64::from_be_bytes([0, 0, a, b, c, d, e, f]))
}

/// A token to record.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// Who asks. Together with `request_id` it names the request for ever.
    pub client: ClientId,
    /// With which of its credentials (the key id).
    pub credential: String,
    /// The caller's name of the request.
    pub request_id: Uuid,
    /// SHA-256 over the canonical parsed request: tells a replay from a reuse.
    pub request_hash: [u8; 32],
    /// When it is issued.
    pub now_ms: i64,
    /// What it is.
    pub content: Content,
    /// A request from before this instant is refused: what it issued may be forgotten. A row tells
    /// its own time, an id that is not on record tells it if it is a UUIDv7.
    pub requests_from_ms: i64,
    /// After this instant nobody waits any more: no row is written.
    pub deadline: Option<Instant>,
}

/// What is to be recorded.
#[derive(Clone, Debug)]
pub enum Content {
    /// A credit or management token: the store picks the next TID of the meter and finishes the
    /// block with it.
    Sequenced {
        /// The configuration whose key encrypts it.
        configuration: ConfigurationId,
        /// The meter.
        meter: MeterPan,
        /// The base date of the configuration: each has its own sequence.
        base_date: BaseDate,
        /// Which TIDs may be given now.
        window: TidWindow,
        /// The parsed content.
        payload: Payload,
        /// Drawn by the caller; not recorded for a payload that carries none.
        rnd: Rnd,
    },
    /// A class 1 token: complete as it is.
    Fixed {
        /// The configuration, where the caller named one: class 1 is not encrypted.
        configuration: Option<ConfigurationId>,
        /// The meter, where the caller named one.
        meter: Option<MeterPan>,
        /// What it shows.
        display: token::Display,
    },
    /// A key-change set from one configuration to another.
    KeyChange {
        /// The configuration under whose key the meter is now.
        configuration: ConfigurationId,
        /// The meter.
        meter: MeterPan,
        /// The configuration to which the meter goes.
        target: ConfigurationId,
        /// The RO bit.
        roll_over: bool,
        /// Whether the set carries the new supply group code.
        transfer_sgc: bool,
    },
}

/// What came of recording a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// It is on record now.
    New(TokenRow),
    /// The same request was recorded before.
    Replay(TokenRow),
}

impl Recorded {
    /// The row, new or old.
    pub fn row(&self) -> &TokenRow {
        match self {
            Recorded::New(row) | Recorded::Replay(row) => row,
        }
    }
}

/// A row of the ledger: enough to answer its request again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRow {
    /// Its number.
    pub sequence: Sequence,
    /// Who asked.
    pub client: ClientId,
    /// With which credential (the key id).
    pub credential: String,
    /// The caller's name of the request.
    pub request_id: Uuid,
    /// SHA-256 over the canonical request.
    pub request_hash: [u8; 32],
    /// When it was issued.
    pub issued_ms: i64,
    /// What it is.
    pub content: RowContent,
}

/// The content of a row of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowContent {
    /// A credit or management token.
    Sequenced {
        /// The configuration whose key encrypts it.
        configuration: ConfigurationId,
        /// The meter.
        meter: MeterPan,
        /// The base date from which `tid` counts.
        base_date: BaseDate,
        /// Its TID.
        tid: Tid,
        /// Its RND, if its kind carries one.
        rnd: Option<Rnd>,
        /// The finished clear block.
        block: ClearBlock,
    },
    /// A class 1 token.
    Fixed {
        /// The configuration, where the caller named one: class 1 is not encrypted.
        configuration: Option<ConfigurationId>,
        /// The meter, where the caller named one.
        meter: Option<MeterPan>,
        /// The block.
        block: ClearBlock,
    },
    /// A key-change set; derived again for every answer.
    KeyChange {
        /// The configuration under whose key the meter is now.
        configuration: ConfigurationId,
        /// The meter.
        meter: MeterPan,
        /// The configuration to which the meter goes.
        target: ConfigurationId,
        /// The RO bit.
        roll_over: bool,
        /// Whether the set carries the new supply group code.
        transfer_sgc: bool,
    },
}

impl RowContent {
    /// Which kind of row it is.
    pub fn kind(&self) -> RowKind {
        match self {
            RowContent::Sequenced { .. } => RowKind::Sequenced,
            RowContent::Fixed { .. } => RowKind::Fixed,
            RowContent::KeyChange { .. } => RowKind::KeyChange,
        }
    }

    /// The configuration whose key encrypts the token, if one was named.
    pub fn configuration(&self) -> Option<ConfigurationId> {
        match self {
            RowContent::Sequenced { configuration, .. } | RowContent::KeyChange { configuration, .. } => {
                Some(*configuration)
            }
            RowContent::Fixed { configuration, .. } => *configuration,
        }
    }

    /// The meter, if one was named.
    pub fn meter(&self) -> Option<MeterPan> {
        match self {
            RowContent::Sequenced { meter, .. } | RowContent::KeyChange { meter, .. } => Some(*meter),
            RowContent::Fixed { meter, .. } => *meter,
        }
    }
}

/// Why a token is not recorded. Nothing was written.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    /// The client used this request id for another request.
    #[error("the request id was used for another request")]
    RequestIdReused {
        /// The row of that request.
        sequence: Sequence,
    },
    /// The request is older than what the ledger answers for.
    #[error("the request id is too old")]
    RequestIdTooOld,
    /// The credential is not one of this client, or it or the client was disabled since the call
    /// was authenticated.
    #[error("the credential does not count any more")]
    CredentialNotEnabled,
    /// There is no such configuration.
    #[error("there is no configuration {id}")]
    ConfigurationNotFound {
        /// The configuration, of the request or the target.
        id: ConfigurationId,
    },
    /// It is not ENABLED.
    #[error("the configuration {id} is {state}")]
    ConfigurationNotEnabled {
        /// The configuration, of the request or the target.
        id: ConfigurationId,
        /// The state in which it is.
        state: ConfigurationState,
    },
    /// No administrator allowed this key change.
    #[error("key changes from {source_id} to {target} are not allowed")]
    KeyChangeNotAllowed {
        /// The configuration under whose key the meter is.
        source_id: ConfigurationId,
        /// The configuration to which it would go.
        target: ConfigurationId,
    },
    /// The meter can get no TID now.
    #[error(transparent)]
    Tid(#[from] TidRefusal),
    /// The client's limits leave no room for it.
    #[error(transparent)]
    Limit(#[from] LimitMet),
}
