//! When a clock is right, against the last moment at which it was believed.
//!
//! What proves it:
//! * as much time has passed by it as by the machine's own clock, which nobody sets, since that
//!   moment;
//! * a time server keeps it now. The kernel takes that back whenever the clock is set, so that it
//!   was said after the step.
//!
//! Nothing else does. The battery-backed clock of a machine that was off is where the wall clock
//! comes from at its start: that both agree proves neither.

use std::fmt;

use crate::clock::{Clock, Moment, SignOfLife};

/// Why a clock that was in doubt is believed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// It agrees with the time that has passed since it was last believed.
    Agrees,
    /// A time server keeps it.
    Synchronised,
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Agrees => "it agrees with the time that has passed since it was last believed",
            Self::Synchronised => "a time server keeps it",
        })
    }
}

/// A step of the wall clock up to this is no jump: time servers make such steps.
const STEP_MS: i64 = 10_000;
/// What a wall clock may drift while it is drawn to the right time, beside [`STEP_MS`]: a
/// thousandth.
const DRIFT: i64 = 1_000;
/// How far past the last sign of life the clock may be at a start without a proof.
const PAST_LAST_SIGN_MS: i64 = 24 * 3_600_000;
/// How far before it.
const BEFORE_LAST_SIGN_MS: i64 = 30_000;

/// The last moment at which the clock was believed, and how one is measured by it.
#[derive(Clone, Copy)]
pub(super) struct Believed {
    pub(super) moment: Moment,
    /// Whether a time that is not far from it needs no proof: it is of a server that ended in good
    /// order.
    near_is_enough: bool,
}

impl Believed {
    /// This moment.
    pub(super) fn now(clock: &dyn Clock) -> Self {
        Self { moment: clock.moment(), near_is_enough: false }
    }

    /// The last one of a server that ran before.
    pub(super) fn before(last: SignOfLife) -> Self {
        Self { moment: last.moment, near_is_enough: !last.in_doubt }
    }

    /// By how much the wall clock moved other than the time that passed, and whether that is more
    /// than is borne. `None`: nobody knows how much time has passed, since the machine was started
    /// anew.
    fn moved(&self, now: &Moment) -> Option<(i64, bool)> {
        let (then, uptime) = (self.moment.uptime?, now.uptime?);
        if then.boot != uptime.boot {
            return None;
        }
        let passed = uptime.passed.saturating_sub(then.passed).as_millis();
        let passed = i64::try_from(passed).unwrap_or(i64::MAX);
        let by_ms = now.wall_ms.saturating_sub(self.moment.wall_ms).saturating_sub(passed);
        Some((by_ms, by_ms.saturating_abs() > STEP_MS.saturating_add(passed / DRIFT)))
    }

    /// By how much the wall clock has jumped since, if it has.
    pub(super) fn jump(&self, now: &Moment) -> Option<i64> {
        self.moved(now).filter(|(_, jump)| *jump).map(|(by_ms, _)| by_ms)
    }

    /// What proves that the clock is right now.
    pub(super) fn proof(&self, clock: &dyn Clock) -> Option<Proof> {
        if let Some((_, false)) = self.moved(&clock.moment()) {
            return Some(Proof::Agrees);
        }
        clock.is_synchronised().then_some(Proof::Synchronised)
    }

    /// Whether the clock is so near to a last sign of life that it needs no proof.
    pub(super) fn is_near(&self, now: &Moment) -> bool {
        let by_ms = now.wall_ms.saturating_sub(self.moment.wall_ms);
        self.near_is_enough && (-BEFORE_LAST_SIGN_MS..=PAST_LAST_SIGN_MS).contains(&by_ms)
    }
}
