//! Whether anything may be issued now: the clock and the database must be what they seem.
//!
//! A token's identifier is the minute of the clock, for ever, and a database that has forgotten
//! tokens would give their identifiers again. So issuing stops, with the reason, when either is in
//! doubt. It goes on when an administrator has looked, or when the clock proves to be right.
//! Replays go on meanwhile.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::believed::{Believed, Proof};
use super::stop::Stop;
use crate::clock::{Clock, SignOfLife};

/// How long a believed moment is measured from: otherwise a server that runs for months would bear
/// big jumps.
const MEASURED_MS: i64 = 3_600_000;

/// How far the clock may be off from the database's.
const OFF_DATABASE_MS: i64 = 30_000;

/// Stops issuing while the clock or the database is in doubt.
pub struct IssueGuard {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

struct State {
    believed: Believed,
    clock: Option<Stop>,
    database_clock: Option<Stop>,
    database: Option<Stop>,
    rows_changed: bool,
    ledger: Option<Stop>,
}

impl IssueGuard {
    /// Lets pass, unless the clock is far from the last sign of life (which is none in a new
    /// database) or the database is in doubt.
    pub fn new(clock: Arc<dyn Clock>, last: Option<SignOfLife>, database: Option<Stop>) -> Self {
        let now = Believed::now(clock.as_ref());
        let last = last.map(Believed::before);
        let (believed, stop) = match last {
            Some(last) if !last.is_near(&now.moment) => {
                let by_ms = now.moment.wall_ms.saturating_sub(last.moment.wall_ms);
                (last, Some(Stop::ClockFarFromLastSign { by_ms }))
            }
            _ => (now, None),
        };
        let state = State {
            believed,
            clock: stop,
            database_clock: None,
            database,
            rows_changed: false,
            ledger: None,
        };
        Self { clock, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time, whether it is believed or not: for what only notes it.
    pub fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    /// The time, if anything may be issued now.
    ///
    /// # Errors
    /// The reason; once stopped, it stays so until it is accepted or proved right.
    pub fn pass(&self) -> Result<i64, Stop> {
        let mut state = self.state();
        let now = self.clock.moment();
        if state.clock.is_none()
            && let Some(by_ms) = state.believed.jump(&now)
        {
            state.clock = Some(Stop::ClockJumped { by_ms });
        }
        match state.database.as_ref().or(state.clock.as_ref()).or(state.database_clock.as_ref()) {
            Some(stop) => Err(stop.clone()),
            None if state.rows_changed => Err(Stop::RowsChanged),
            None => state.ledger.clone().map_or(Ok(now.wall_ms), Err),
        }
    }

    /// To be called every second. Answers why the clock was in doubt and what proves that it is
    /// right now, if so: [`IssueGuard::believe_proved`] is to follow once that is on record.
    pub fn proved(&self) -> Option<(Stop, Proof)> {
        // Whoever looks first sees a jump, whatever the time server says of it.
        let _ = self.pass();
        let mut state = self.state();
        if let Some(stop) = &state.clock {
            let proof = state.believed.proof(self.clock.as_ref())?;
            return Some((stop.clone(), proof));
        }
        let now = Believed::now(self.clock.as_ref());
        let measured = now.moment.wall_ms.saturating_sub(state.believed.moment.wall_ms);
        if state.believed.jump(&now.moment).is_none() && measured.saturating_abs() >= MEASURED_MS {
            state.believed = now;
        }
        None
    }

    /// Believes a clock that was in doubt, if it is still proved right.
    pub fn believe_proved(&self) {
        let mut state = self.state();
        if state.clock.is_some() && state.believed.proof(self.clock.as_ref()).is_some() {
            state.clock = None;
            state.believed = Believed::now(self.clock.as_ref());
        }
    }

    /// Believes the clock as it is now.
    pub fn accept_clock(&self) {
        let mut state = self.state();
        state.clock = None;
        state.believed = Believed::now(self.clock.as_ref());
    }

    /// What is to be kept for the next start.
    pub fn sign_of_life(&self) -> SignOfLife {
        let _ = self.pass();
        let state = self.state();
        match state.clock {
            None => SignOfLife { moment: self.clock.moment(), in_doubt: false },
            Some(_) => SignOfLife { moment: state.believed.moment, in_doubt: true },
        }
    }

    /// Notes how far the clock is ahead of the database's, or behind it, in milliseconds. Issuing
    /// stops while that is much, and goes on when it is not.
    pub fn database_clock(&self, ahead_ms: i64) {
        let mut state = self.state();
        if ahead_ms.saturating_abs() <= OFF_DATABASE_MS {
            state.database_clock = None;
        } else if state.database_clock.is_none() {
            state.database_clock = Some(Stop::ClockOffDatabase { by_ms: ahead_ms });
        }
    }

    /// Doubts the database, until it is accepted.
    pub fn doubt_database(&self, stop: Stop) {
        self.state().database.get_or_insert(stop);
    }

    /// Believes the database as it is now.
    pub fn accept_database(&self) {
        self.state().database = None;
    }

    /// Notes whether the sealed rows are all there and as they were last.
    pub fn rows_changed(&self, changed: bool) {
        self.state().rows_changed = changed;
    }

    /// Notes what the walk over the ledger found, if it found anything that is not accepted.
    pub fn ledger_damaged(&self, stop: Option<Stop>) {
        self.state().ledger = stop;
    }

    /// Why the ledger is not believed, if so.
    pub fn ledger_stop(&self) -> Option<Stop> {
        self.state().ledger.clone()
    }

    /// Why the database is not believed, if so.
    pub fn database_stop(&self) -> Option<Stop> {
        self.state().database.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::{BootId, Moment, SetClock, Uptime};

    const NOW: i64 = 1_795_298_400_000;
    const HOUR: i64 = 3_600_000;
    const DAY: i64 = 24 * HOUR;

    fn played() -> Arc<SetClock> {
        SetClock::at(NOW, 90 * DAY)
    }

    /// A sign of life of a server that ended so long ago by the wall clock, on a machine that was
    /// started since.
    fn ended(by_ms: i64) -> SignOfLife {
        let uptime = Some(Uptime { boot: BootId([2; 16]), passed: Duration::from_secs(5) });
        SignOfLife { moment: Moment { wall_ms: NOW - by_ms, uptime }, in_doubt: false }
    }

    fn guard(last: Option<SignOfLife>) -> (Arc<SetClock>, IssueGuard) {
        let clock = played();
        (clock.clone(), IssueGuard::new(clock, last, None))
    }

    /// What the server does every second: the proof is put on record, then believed.
    fn look(guard: &IssueGuard) -> Option<Proof> {
        let (_, proof) = guard.proved()?;
        guard.believe_proved();
        Some(proof)
    }

    #[test]
    fn a_steady_clock_passes() {
        let (clock, guard) = guard(Some(ended(5_000)));
        for _ in 0..100 {
            clock.step(HOUR, HOUR);
            assert!(guard.pass().is_ok());
            assert_eq!(look(&guard), None);
        }
    }

    #[test]
    fn a_clock_that_is_drawn_slowly_passes() {
        let (clock, guard) = guard(None);
        // 500 parts in a million, the most that a time daemon slews.
        for _ in 0..100 {
            clock.step(HOUR + 1_800, HOUR);
            assert!(guard.pass().is_ok());
            look(&guard);
        }
    }

    #[test]
    fn a_jump_stops_until_it_is_accepted() {
        for jump in [60_000, -60_000, DAY] {
            let (clock, guard) = guard(Some(ended(0)));
            clock.step(1_000 + jump, 1_000);
            assert_eq!(guard.pass(), Err(Stop::ClockJumped { by_ms: jump }));
            assert_eq!(look(&guard), None);
            assert!(guard.pass().is_err());
            guard.accept_clock();
            assert_eq!(guard.pass(), Ok(NOW + 1_000 + jump));
        }
    }

    #[test]
    fn a_clock_that_came_right_again_is_believed_once_that_is_on_record() {
        for jump in [HOUR, -HOUR] {
            let (clock, guard) = guard(Some(ended(0)));
            clock.step(jump, 0);
            assert!(guard.pass().is_err());
            clock.step(10 * 60_000, 10 * 60_000);
            assert_eq!(look(&guard), None, "still an hour off");
            clock.step(-jump, 0);
            assert!(guard.pass().is_err(), "it is not on record yet");
            assert_eq!(guard.proved(), Some((Stop::ClockJumped { by_ms: jump }, Proof::Agrees)));
            clock.step(jump, 0);
            guard.believe_proved();
            assert!(guard.pass().is_err(), "it jumped again meanwhile");
            clock.step(-jump, 0);
            assert_eq!(look(&guard), Some(Proof::Agrees));
            assert_eq!(guard.pass(), Ok(NOW + 10 * 60_000));
        }
    }

    #[test]
    fn a_jump_is_one_however_long_the_server_has_run() {
        let (clock, guard) = guard(None);
        for _ in 0..90 * 24 {
            clock.step(HOUR, HOUR);
            look(&guard);
        }
        clock.step(60_000, 0);
        assert_eq!(guard.pass(), Err(Stop::ClockJumped { by_ms: 60_000 }));
    }

    #[test]
    fn what_a_time_server_says_after_a_step_explains_it() {
        let (clock, guard) = guard(Some(ended(0)));
        for jump in [5 * HOUR, HOUR, -HOUR, 30 * DAY] {
            // Whoever sets the clock takes back that a time server keeps it.
            clock.synchronise(false);
            clock.step(jump, 0);
            assert_eq!(look(&guard), None);
            assert_eq!(guard.pass(), Err(Stop::ClockJumped { by_ms: jump }));
            clock.synchronise(true);
            assert!(guard.pass().is_err(), "it is not on record yet");
            assert_eq!(look(&guard), Some(Proof::Synchronised));
            assert!(guard.pass().is_ok());
            // It was kept all along, and the time server itself makes the step.
            clock.step(jump, 0);
            assert_eq!(guard.pass(), Err(Stop::ClockJumped { by_ms: jump }));
            assert_eq!(look(&guard), Some(Proof::Synchronised));
            assert!(guard.pass().is_ok());
        }
    }

    #[test]
    fn a_start_far_from_the_last_sign_of_life_stops() {
        for (by_ms, passes) in [(DAY, true), (DAY + 1, false), (-30_000, true), (-30_001, false)] {
            let (_, guard) = guard(Some(ended(by_ms)));
            assert_eq!(guard.pass().is_ok(), passes, "{by_ms}");
            guard.accept_clock();
            assert!(guard.pass().is_ok());
        }
        assert!(guard(None).1.pass().is_ok(), "a new database has no sign of life");
    }

    #[test]
    fn after_a_weekend_a_time_server_is_believed() {
        for by_ms in [3 * DAY, -3 * DAY] {
            let (clock, guard) = guard(Some(ended(by_ms)));
            assert_eq!(look(&guard), None);
            assert_eq!(guard.pass(), Err(Stop::ClockFarFromLastSign { by_ms }));
            clock.synchronise(true);
            assert_eq!(look(&guard), Some(Proof::Synchronised));
            assert!(guard.pass().is_ok());
        }
    }

    #[test]
    fn after_a_weekend_a_machine_that_ran_all_the_while_is_believed() {
        let uptime = |passed_ms: i64| Uptime {
            boot: BootId([1; 16]),
            passed: Duration::from_millis(passed_ms.unsigned_abs()),
        };
        let sign = |wall_ms, passed_ms, in_doubt| SignOfLife {
            moment: Moment { wall_ms, uptime: Some(uptime(passed_ms)) },
            in_doubt,
        };
        let (_, right) = guard(Some(sign(NOW - 3 * DAY, 87 * DAY, false)));
        assert_eq!((look(&right), right.pass()), (Some(Proof::Agrees), Ok(NOW)));
        let (_, set_meanwhile) = guard(Some(sign(NOW - 3 * DAY, 88 * DAY, false)));
        assert_eq!(look(&set_meanwhile), None);
        assert!(set_meanwhile.pass().is_err());
    }

    #[test]
    fn a_doubt_outlives_the_server() {
        let (clock, first) = guard(Some(ended(0)));
        assert!(!first.sign_of_life().in_doubt);
        clock.step(HOUR + 5_000, 5_000);
        let left = first.sign_of_life();
        assert_eq!((left.in_doubt, left.moment.wall_ms), (true, NOW));
        let second = IssueGuard::new(clock.clone(), Some(left), None);
        assert_eq!(look(&second), None);
        assert!(second.pass().is_err(), "an hour is near, but it is in doubt");
        clock.step(-HOUR, 0);
        assert_eq!(look(&second), Some(Proof::Agrees));
        assert!(!second.sign_of_life().in_doubt);
    }

    #[test]
    fn a_clock_far_from_the_databases_stops_until_both_agree() {
        let (_, guard) = guard(None);
        for (ahead_ms, passes) in
            [(30_000, true), (-30_000, true), (30_001, false), (-30_001, false), (0, true)]
        {
            guard.database_clock(ahead_ms);
            assert_eq!(guard.pass().is_ok(), passes, "{ahead_ms}");
        }
        guard.database_clock(60_000);
        guard.database_clock(60_700);
        assert_eq!(
            guard.pass(),
            Err(Stop::ClockOffDatabase { by_ms: 60_000 }),
            "it is one stop and told once"
        );
        guard.accept_clock();
        assert!(guard.pass().is_err(), "the database's clock is nobody's to overrule");
        assert!(!guard.sign_of_life().in_doubt);
    }

    #[test]
    fn a_doubtful_database_is_accepted_apart_from_the_clock() {
        let stop = Stop::BehindCheckpoint {
            reason: "it is another database".into(),
            position: 1,
            since: Vec::new(),
        };
        let guard = IssueGuard::new(Arc::new(SetClock::default()), None, Some(stop.clone()));
        guard.accept_clock();
        assert_eq!(guard.pass(), Err(stop));
        guard.accept_database();
        assert!(guard.pass().is_ok());
    }
}
