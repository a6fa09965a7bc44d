//! The time, passed in so that tests can play with it.

#[cfg(test)]
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::{
    sync::{Arc, LazyLock},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::time::{ClockId, clock_gettime};

use crate::secret;

/// Where the time comes from.
pub trait Clock: Send + Sync {
    /// Milliseconds since 1970-01-01T00:00Z, by the wall clock.
    fn now_ms(&self) -> i64;

    /// Time since the machine started, its sleep included, by a clock that nobody sets.
    fn monotonic(&self) -> Duration;

    /// The start of the machine that [`Clock::monotonic`] counts from.
    fn boot(&self) -> BootId;

    /// Whether the system says that it keeps the wall clock by a time server.
    fn is_synchronised(&self) -> bool;

    /// This moment, by both clocks.
    fn moment(&self) -> Moment {
        Moment {
            wall_ms: self.now_ms(),
            uptime: Some(Uptime { boot: self.boot(), passed: self.monotonic() }),
        }
    }
}

/// One start of one machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BootId(pub [u8; 16]);

/// How long a machine has run since one of its starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uptime {
    /// Since which start.
    pub boot: BootId,
    /// The time since then, sleep included.
    pub passed: Duration,
}

/// A moment, by the wall clock and by one that nobody sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Milliseconds since 1970-01-01T00:00Z, by the wall clock.
    pub wall_ms: i64,
    /// The uptime of the machine; `None` if it was not noted.
    pub uptime: Option<Uptime>,
}

/// The last that is known of a server: the last moment at which it believed the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignOfLife {
    /// That moment.
    pub moment: Moment,
    /// Whether the clock was in doubt since, and nobody has accepted it.
    pub in_doubt: bool,
}

/// The system's clocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> i64 {
        // A clock before 1970 answers 0: no base date has come then, and nothing is issued.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }

    fn monotonic(&self) -> Duration {
        // Not `Instant`, which stands still while the machine sleeps: the wall clock does not.
        Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default()
    }

    fn boot(&self) -> BootId {
        static BOOT: LazyLock<BootId> = LazyLock::new(|| {
            let read = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
            let known = read.ok().and_then(|text| text.trim().parse::<uuid::Uuid>().ok());
            // A start that is known to nobody else agrees with none that was noted.
            BootId(known.unwrap_or_else(uuid::Uuid::new_v4).into_bytes())
        });
        *BOOT
    }

    fn is_synchronised(&self) -> bool {
        secret::kernel_clock_is_synchronised()
    }
}

/// The clock of a server: the system's, which a test may play with in a debug build.
pub fn of_server() -> Arc<dyn Clock> {
    #[cfg(debug_assertions)]
    if let Some(file) = std::env::var_os(PLAYED_CLOCK) {
        return Arc::new(PlayedClock(file.into()));
    }
    Arc::new(SystemClock)
}

/// The environment variable that names the file of a `PlayedClock`. Release builds do not look at
/// it.
pub const PLAYED_CLOCK: &str = "VENDKEY_PLAYED_CLOCK";

/// The system's clock as a file says: by how many milliseconds the wall clock is off, and, behind a
/// blank, `synchronised` if a time server is to keep it.
#[cfg(debug_assertions)]
struct PlayedClock(std::path::PathBuf);

#[cfg(debug_assertions)]
impl Clock for PlayedClock {
    fn now_ms(&self) -> i64 {
        let played = std::fs::read_to_string(&self.0).unwrap_or_default();
        let off_by = played.split_whitespace().next().and_then(|text| text.parse().ok());
        SystemClock.now_ms().saturating_add(off_by.unwrap_or(0))
    }

    fn monotonic(&self) -> Duration {
        SystemClock.monotonic()
    }

    fn boot(&self) -> BootId {
        SystemClock.boot()
    }

    fn is_synchronised(&self) -> bool {
        std::fs::read_to_string(&self.0).is_ok_and(|played| played.contains("synchronised"))
    }
}

/// A clock of tests, of which everything is set by hand.
#[cfg(test)]
#[derive(Debug, Default)]
pub(crate) struct SetClock {
    wall_ms: AtomicI64,
    monotonic_ms: AtomicI64,
    synchronised: AtomicBool,
}

#[cfg(test)]
impl SetClock {
    /// At this time by the wall clock, on a machine that was started `uptime_ms` ago.
    pub(crate) fn at(wall_ms: i64, uptime_ms: i64) -> Arc<Self> {
        let clock = Self::default();
        clock.step(wall_ms, uptime_ms);
        Arc::new(clock)
    }

    /// Sets the wall clock.
    pub(crate) fn set(&self, wall_ms: i64) {
        self.wall_ms.store(wall_ms, Ordering::Relaxed);
    }

    /// Lets time pass, by each clock.
    pub(crate) fn step(&self, wall_ms: i64, monotonic_ms: i64) {
        self.wall_ms.fetch_add(wall_ms, Ordering::Relaxed);
        self.monotonic_ms.fetch_add(monotonic_ms, Ordering::Relaxed);
    }

    /// Whether a time server keeps it from now on.
    pub(crate) fn synchronise(&self, synchronised: bool) {
        self.synchronised.store(synchronised, Ordering::Relaxed);
    }
}

#[cfg(test)]
impl Clock for SetClock {
    fn now_ms(&self) -> i64 {
        self.wall_ms.load(Ordering::Relaxed)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.monotonic_ms.load(Ordering::Relaxed).unsigned_abs())
    }

    fn boot(&self) -> BootId {
        BootId([1; 16])
    }

    fn is_synchronised(&self) -> bool {
        self.synchronised.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_one_start() {
        assert_eq!(SystemClock.boot(), SystemClock.boot());
        assert_ne!(SystemClock.boot(), BootId::default());
        let (first, second) = (SystemClock.monotonic(), SystemClock.monotonic());
        assert!(first > Duration::ZERO && second >= first);
    }
}
