//! Which jobs this server does for all servers of its database.
//!
//! A lease keeps a job from being done twice at a time, as it is asked for before the job; it is no
//! lock. A job that was begun goes on when its lease ends, so every job is safe when two servers do
//! it at once, and only costs more.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use super::{Job, Store};
use crate::clock::Clock;

/// For how long a server takes a lease, by the clock of the database. So long after it vanished
/// another one takes over.
pub const LEASE: Duration = Duration::from_secs(30);
/// After how long it is prolonged, by the server's own clock.
const PROLONGED: Duration = Duration::from_secs(10);
/// How often a server asks for a lease that another one has.
const ASKED: Duration = Duration::from_secs(3);
/// How much earlier a server gives a lease up than it ends, when it cannot be prolonged.
const MARGIN: Duration = Duration::from_secs(5);

/// The leases of this server.
pub struct Leases {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    known: Mutex<HashMap<Job, Known>>,
}

/// What is known of a lease, by the monotonic clock.
#[derive(Clone, Copy)]
struct Known {
    held_until: Option<Duration>,
    ask_at: Duration,
}

impl fmt::Debug for Leases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leases").finish_non_exhaustive()
    }
}

impl Leases {
    /// None is held yet.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock, known: Mutex::default() }
    }

    /// Whether this server has the lease of a job, which it takes if it can. To be asked before
    /// each round of the job; the database is asked now and then. While it does not answer, a lease
    /// is held until shortly before its end.
    pub async fn holds(&self, job: Job) -> bool {
        let mut known = self.known.lock().await;
        let now = self.clock.monotonic();
        let before = known.get(&job).copied().unwrap_or(Known { held_until: None, ask_at: now });
        if now < before.ask_at {
            return before.held_until.is_some();
        }
        let after = match self.store.take_lease(job, LEASE).await {
            Ok(true) => Known { held_until: Some(now + LEASE), ask_at: now + PROLONGED },
            Ok(false) => Known { held_until: None, ask_at: now + ASKED },
            Err(error) => {
                tracing::debug!(%error, job = job.name(), "a lease cannot be asked for");
                let held_until = before.held_until.filter(|until| now + MARGIN < *until);
                Known { held_until, ask_at: now }
            }
        };
        if before.held_until.is_some() != after.held_until.is_some() {
            let held = after.held_until.is_some();
            tracing::debug!(job = job.name(), held, "which server does a job has changed");
        }
        known.insert(job, after);
        after.held_until.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SetClock;
    use crate::store::SoftwareSealer;
    use crate::store::memory::Memory;

    /// Two servers, their clock, and that of their database.
    struct Two {
        memory: Memory,
        clock: Arc<SetClock>,
        leases: [Leases; 2],
    }

    impl Two {
        fn new() -> Self {
            let (memory, clock) = (Memory::default(), Arc::new(SetClock::default()));
            let leases = ["one", "two"].map(|name| {
                let store = memory.open_as(name, Arc::new(SoftwareSealer([1; 32]))).unwrap();
                Leases::new(Arc::new(store), clock.clone())
            });
            let two = Self { memory, clock, leases };
            two.pass(0);
            two
        }

        fn pass(&self, seconds: i64) {
            self.clock.step(seconds * 1_000, seconds * 1_000);
            // It need not agree with those of servers.
            self.memory.set_clock(Some(1_795_298_400_000 + self.clock.now_ms()));
        }
    }

    #[tokio::test]
    async fn a_job_is_one_servers_and_another_takes_over_from_one_that_vanished() {
        let two = Two::new();
        let [one, other] = &two.leases;
        let mut done = [0, 0];
        for _ in 0..120 {
            for (leases, done) in [one, other].into_iter().zip(&mut done) {
                *done += u32::from(leases.holds(Job::Destruction).await);
            }
            two.pass(1);
        }
        assert_eq!(done, [120, 0], "once in every round, by the same");
        // The first one vanishes.
        let mut waited = 0;
        while !other.holds(Job::Destruction).await {
            two.pass(1);
            waited += 1;
        }
        let lease = i64::try_from((LEASE + ASKED).as_secs()).unwrap();
        assert!((20..=lease).contains(&waited), "after {waited} s");
        assert!(!one.holds(Job::Destruction).await, "it comes back, and the job is another's");
        assert!(one.holds(Job::Seals).await, "each job has its own");
    }
}
