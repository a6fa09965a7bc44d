//! How often a stranger's token may be looked into: who may try without end could find a credit among random digits.

use std::time::Duration;

use crate::id::ClientId;
use crate::sts::meter::MeterPan;

/// Failures that are allowed: so many for a meter in an hour, so many for a client in a day.
pub const FAILURES_PER_METER_AND_HOUR: u32 = 30;
/// See [`FAILURES_PER_METER_AND_HOUR`].
pub const FAILURES_PER_CLIENT_AND_DAY: u32 = 300;

/// An attempt to look into a token that this server did not issue. It counts as a failure from before the look, so that a
/// crash does not give attempts away; one that succeeds is taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt(pub(crate) i64);

/// Who tries, at which meter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewAttempt {
    /// The client.
    pub client: ClientId,
    /// The meter.
    pub meter: MeterPan,
    /// When.
    pub now_ms: i64,
}

/// What came of asking for an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempted {
    /// Go on.
    Granted(Attempt),
    /// A limit is reached.
    Limited {
        /// When the next one is granted.
        retry_after: Duration,
    },
}
