//! Whether anything may be issued now: the clock and the database must be what they seem.
//!
//! A token's identifier is the minute of the clock, for ever, and a database that has forgotten tokens would give their identifiers
//! again. So issuing stops, with the reason, when either is in doubt, and goes on when an administrator has looked. Replays go on.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crate::audit::Checkpoint;
use crate::clock::Clock;

/// Why nothing is issued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// The wall clock moved by other than the time that passed.
    #[error("the clock jumped by {} s; an administrator must accept it (vendkey ledger accept-clock)", .by_ms / 1000)]
    ClockJumped {
        /// By how much, forward or back, in milliseconds.
        by_ms: i64,
    },
    /// At the start the clock was far from the last commit.
    #[error("the clock is {} s from the last commit; an administrator must accept it (vendkey ledger accept-clock)", .by_ms / 1000)]
    ClockFarFromLastCommit {
        /// How far past it, or before it, in milliseconds.
        by_ms: i64,
    },
    /// The database does not hold what the checkpoint beside it says.
    #[error(
        "the database lacks records of the last checkpoint: {reason}; an administrator must accept the restore (vendkey ledger accept-restore)"
    )]
    BehindCheckpoint {
        /// What is missing.
        reason: String,
        /// The position that the checkpoint names.
        position: u64,
    },
    /// Rows that decide were taken out of the database, or put back as they once were.
    #[error(
        "rows that decide were changed by another hand in the database; restore it, or seal the rows as they are (vendkey setup --seal-rows)"
    )]
    RowsChanged,
}

/// A step of the wall clock up to this is no jump: time servers make such steps.
const STEP_MS: i64 = 10_000;
/// What a wall clock may drift while it is drawn to the right time, beside [`STEP_MS`]: a thousandth.
const DRIFT: i64 = 1_000;
/// How far past the last commit the clock may be at a start.
const PAST_LAST_COMMIT_MS: i64 = 24 * 3_600_000;
/// How far before it.
const BEFORE_LAST_COMMIT_MS: i64 = 30_000;

/// The clock behind a gate.
pub struct Gate {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

struct State {
    /// A moment at which the clock was believed, by both clocks.
    believed_ms: i64,
    believed_at: Duration,
    clock: Option<Stop>,
    database: Option<Stop>,
    rows_changed: bool,
}

impl Gate {
    /// Opens, unless the clock is far from the last commit (which is none in a new database) or the database is in doubt.
    pub fn new(clock: Arc<dyn Clock>, last_commit_ms: Option<i64>, database: Option<Stop>) -> Self {
        let (believed_ms, believed_at) = (clock.now_ms(), clock.monotonic());
        let by_ms = last_commit_ms.map_or(0, |last| believed_ms.saturating_sub(last));
        let far = !(-BEFORE_LAST_COMMIT_MS..=PAST_LAST_COMMIT_MS).contains(&by_ms);
        let stop = far.then_some(Stop::ClockFarFromLastCommit { by_ms });
        Self {
            clock,
            state: Mutex::new(State { believed_ms, believed_at, clock: stop, database, rows_changed: false }),
        }
    }

    /// The time, whether it is believed or not: for what only notes it.
    pub fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    /// The time, if anything may be issued now.
    ///
    /// # Errors
    /// The reason; once stopped, it stays so until it is accepted.
    pub fn pass(&self) -> Result<i64, Stop> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (now_ms, now_at) = (self.clock.now_ms(), self.clock.monotonic());
        let passed = i64::try_from(now_at.saturating_sub(state.believed_at).as_millis()).unwrap_or(i64::MAX);
        let by_ms = now_ms.saturating_sub(state.believed_ms).saturating_sub(passed);
        if state.clock.is_none() && by_ms.saturating_abs() > STEP_MS.saturating_add(passed / DRIFT) {
            state.clock = Some(Stop::ClockJumped { by_ms });
        }
        match state.database.as_ref().or(state.clock.as_ref()) {
            Some(stop) => Err(stop.clone()),
            None if state.rows_changed => Err(Stop::RowsChanged),
            None => Ok(now_ms),
        }
    }

    /// Believes the clock as it is now.
    pub fn accept_clock(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.clock = None;
        (state.believed_ms, state.believed_at) = (self.clock.now_ms(), self.clock.monotonic());
    }

    /// Believes the database as it is now.
    pub fn accept_database(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).database = None;
    }

    /// Notes whether the sealed rows are all there and as they were last.
    pub fn rows_changed(&self, changed: bool) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).rows_changed = changed;
    }

    /// Why the database is not believed, if so.
    pub fn database_stop(&self) -> Option<Stop> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).database.clone()
    }
}

/// Whether a database holds what a checkpoint says: `found` is the hash of its record at the position of the checkpoint's head.
pub fn behind(
    checkpoint: &Checkpoint,
    head: crate::audit::Head,
    found: Option<crate::audit::Hash>,
) -> Option<Stop> {
    let stop = |position, reason| Some(Stop::BehindCheckpoint { reason, position });
    let Some(named) = checkpoint.head(head.chain) else {
        let last = checkpoint.heads.iter().map(|head| head.position).max().unwrap_or(0);
        return stop(last, "it is another database".to_owned());
    };
    if head.position < named.position {
        let reason =
            format!("it ends with record {}, the checkpoint names {}", head.position, named.position);
        return stop(named.position, reason);
    }
    if named.position > 0 && found != Some(named.hash) {
        return stop(named.position, format!("record {} is another", named.position));
    }
    None
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;
    use crate::audit::{ChainId, Hash, Head};

    /// A clock in two halves, each set by hand.
    #[derive(Default)]
    struct Played {
        wall_ms: AtomicI64,
        monotonic_ms: AtomicI64,
    }

    impl Played {
        fn step(&self, wall_ms: i64, monotonic_ms: i64) {
            self.wall_ms.fetch_add(wall_ms, Ordering::Relaxed);
            self.monotonic_ms.fetch_add(monotonic_ms, Ordering::Relaxed);
        }
    }

    impl Clock for Played {
        fn now_ms(&self) -> i64 {
            self.wall_ms.load(Ordering::Relaxed)
        }

        fn monotonic(&self) -> Duration {
            Duration::from_millis(self.monotonic_ms.load(Ordering::Relaxed).unsigned_abs())
        }
    }

    const NOW: i64 = 1_795_298_400_000;
    const HOUR: i64 = 3_600_000;

    fn gate(last_commit_ms: Option<i64>) -> (Arc<Played>, Gate) {
        let clock = Arc::new(Played::default());
        clock.step(NOW, 5);
        (clock.clone(), Gate::new(clock, last_commit_ms, None))
    }

    #[test]
    fn a_steady_clock_passes() {
        let (clock, gate) = gate(Some(NOW));
        for _ in 0..100 {
            clock.step(HOUR, HOUR);
            assert!(gate.pass().is_ok());
        }
    }

    #[test]
    fn a_clock_that_is_drawn_slowly_passes() {
        let (clock, gate) = gate(None);
        // 500 parts in a million, the most that a time daemon slews.
        for _ in 0..100 {
            clock.step(HOUR + 1_800, HOUR);
            assert!(gate.pass().is_ok());
        }
    }

    #[test]
    fn a_jump_stops_until_it_is_accepted() {
        for jump in [60_000, -60_000, 86_400_000] {
            let (clock, gate) = gate(Some(NOW));
            clock.step(1_000 + jump, 1_000);
            assert_eq!(gate.pass(), Err(Stop::ClockJumped { by_ms: jump }));
            // Going back by itself is no proof that it is right now.
            clock.step(-jump, 0);
            assert!(gate.pass().is_err());
            gate.accept_clock();
            assert_eq!(gate.pass(), Ok(NOW + 1_000));
        }
    }

    #[test]
    fn a_start_far_from_the_last_commit_stops() {
        for (by_ms, passes) in [(24 * HOUR, true), (24 * HOUR + 1, false), (-30_000, true), (-30_001, false)]
        {
            let (_, gate) = gate(Some(NOW - by_ms));
            assert_eq!(gate.pass().is_ok(), passes, "{by_ms}");
            gate.accept_clock();
            assert!(gate.pass().is_ok());
        }
        assert!(gate(None).1.pass().is_ok(), "a new database has no last commit");
    }

    #[test]
    fn a_doubtful_database_is_accepted_apart_from_the_clock() {
        let stop = Stop::BehindCheckpoint { reason: "it is another database".into(), position: 1 };
        let gate = Gate::new(Arc::new(Played::default()), None, Some(stop.clone()));
        gate.accept_clock();
        assert_eq!(gate.pass(), Err(stop));
        gate.accept_database();
        assert!(gate.pass().is_ok());
    }

    #[test]
    fn a_database_behind_its_checkpoint_is_seen() {
        let (chain, hash) = (ChainId([1; 16]), Hash([2; 32]));
        let checkpoint = Checkpoint { number: 1, at_ms: 0, heads: vec![Head { chain, position: 5, hash }] };
        let head = |position| Head { chain, position, hash: Hash([9; 32]) };
        assert_eq!(behind(&checkpoint, head(5), Some(hash)), None);
        assert_eq!(behind(&checkpoint, head(8), Some(hash)), None);
        assert!(behind(&checkpoint, head(4), None).is_some());
        assert!(behind(&checkpoint, head(8), Some(Hash([3; 32]))).is_some());
        assert!(behind(&checkpoint, Head { chain: ChainId([7; 16]), ..head(8) }, None).is_some());
    }
}
