//! How often a stranger's token may be looked into: who may try without end could find a credit
//! among random digits.

use std::time::Duration;

use crate::id::ClientId;
use crate::sts::meter::MeterPan;

/// Failures that are allowed at one meter in an hour.
pub const FAILURES_PER_METER_AND_HOUR: u32 = 30;
/// Failures that are allowed to one client in a day.
pub const FAILURES_PER_CLIENT_AND_DAY: u32 = 300;

/// An attempt to look into a token that this server did not issue. It counts as a failure from
/// before the look, so that a crash does not give attempts away; one that succeeds is taken back.
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

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// From when on failures count at a meter.
pub fn meter_failures_from(now_ms: i64) -> i64 {
    now_ms.saturating_sub(HOUR_MS)
}

/// From when on failures count of a client. What is older may be forgotten.
pub fn client_failures_from(now_ms: i64) -> i64 {
    now_ms.saturating_sub(DAY_MS)
}

/// How long to wait for the next attempt, if a limit is reached: by the times of the failures that
/// count, each list with its newest first.
pub fn wait(of_meter: &[i64], of_client: &[i64], now_ms: i64) -> Option<Duration> {
    // The failure whose end makes room: the oldest of as many as a limit allows.
    let end = |failures: &[i64], allowed: u32, lasts_ms: i64| {
        failures.get(allowed as usize - 1).map(|at| at.saturating_add(lasts_ms))
    };
    let of_meter = end(of_meter, FAILURES_PER_METER_AND_HOUR, HOUR_MS);
    let of_client = end(of_client, FAILURES_PER_CLIENT_AND_DAY, DAY_MS);
    let wait_ms = of_meter.max(of_client)?.saturating_sub(now_ms);
    Some(Duration::from_millis(wait_ms.try_into().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_of_as_many_as_are_allowed_makes_room() {
        let now_ms = 1_767_225_600_000;
        let failures = |count: i64| (0..count).map(|n| now_ms - n * 1_000).collect::<Vec<_>>();
        assert_eq!(wait(&failures(29), &failures(299), now_ms), None);
        let of_meter = wait(&failures(30), &[], now_ms);
        assert_eq!(of_meter, Some(Duration::from_secs(3_600 - 29)));
        let of_client = wait(&failures(30), &failures(300), now_ms);
        assert_eq!(of_client, Some(Duration::from_secs(24 * 3_600 - 299)));
    }
}
