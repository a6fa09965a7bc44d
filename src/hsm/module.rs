//! The sessions of all threads that use the token, the cures for what gets lost, and whether the
//! HSM can serve.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use tokio::sync::watch;

use super::error::{Cure, HsmError};
use super::keys::KeyId;
use super::library::Library;
use super::session::{Locking, SessionGuard, ThreadSession};
use super::settings::HsmSettings;
use super::token::{Access, Token, lock};

/// Whether the HSM can serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It answered the last look.
    Healthy,
    /// It did not, for this reason. Healing is under way unless the reason is the PIN.
    Unhealthy {
        /// For the log and the health service's details.
        reason: String,
    },
}

/// The monitor's session. It stays open, so that the login outlives other threads' sessions.
pub(super) const MONITOR_SESSION: usize = 0;

/// The admin thread's session, the only one that writes to the token.
pub(super) const ADMIN_SESSION: usize = 1;

/// The sealing thread's session.
pub(super) const SEAL_SESSION: usize = 2;

/// The first worker's session; the other workers' follow.
pub(super) const WORKER_SESSIONS: usize = 3;

/// What runs, for whoever must know who else uses a library.
static RUNNING: Mutex<Vec<Weak<Module>>> = Mutex::new(Vec::new());

/// The token with the sessions of all threads.
#[derive(Debug)]
pub(super) struct Module {
    /// Dropped, and so closed, before the library is.
    sessions: Box<[Mutex<ThreadSession>]>,
    token: Token,
    health: watch::Sender<Health>,
    alarm: flume::Sender<()>,
    stopping: AtomicBool,
}

impl Module {
    /// Loads the library, finds the token, and logs in through the first session. Others that use the
    /// same library know of it from then on.
    ///
    /// The receiver gets a message whenever the monitor should look at once.
    pub(super) fn load(
        settings: HsmSettings,
        sessions: impl IntoIterator<Item = Access>,
    ) -> Result<(Arc<Module>, flume::Receiver<()>), HsmError> {
        let library = Library::load(&settings.module, settings.initialize.as_deref())?;
        // Nobody finalises the library before this one is known to use it.
        let _building = library.building();
        let (alarm, alarms) = flume::bounded(1);
        let module = Module {
            token: Token::find(settings, Arc::clone(&library))?,
            sessions: sessions.into_iter().map(|access| Mutex::new(ThreadSession::new(access))).collect(),
            health: watch::Sender::new(Health::Healthy),
            alarm,
            stopping: AtomicBool::new(false),
        };
        module.begin_first(&mut module.sessions.first().map(lock))?;
        let module = Arc::new(module);
        let mut running = lock(&RUNNING);
        running.retain(|module| module.strong_count() > 0);
        running.push(Arc::downgrade(&module));
        Ok((module, alarms))
    }

    /// Opens the first session, which logs in.
    fn begin_first(&self, session: &mut Option<MutexGuard<'_, ThreadSession>>) -> Result<(), HsmError> {
        let Some(session) = session else { return Ok(()) };
        self.locked(Locking::Exclusive, || session.begin(&self.token, Locking::Exclusive).map(drop))
    }

    /// The token.
    pub(super) fn token(&self) -> &Token {
        &self.token
    }

    /// Does `work` through a session, or answers [`HsmError::Unavailable`] at once while the HSM is
    /// unhealthy.
    pub(super) fn with_session<T>(
        &self,
        session: usize,
        work: impl FnMut(&mut SessionGuard<'_>) -> Result<T, HsmError>,
    ) -> Result<T, HsmError> {
        self.serves()?;
        self.with_session_unchecked(session, work)
    }

    /// Does `work` through a session, with the cure that a failure calls for. `work` may be done
    /// several times, so it must bear it.
    pub(super) fn with_session_unchecked<T>(
        &self,
        session: usize,
        mut work: impl FnMut(&mut SessionGuard<'_>) -> Result<T, HsmError>,
    ) -> Result<T, HsmError> {
        let mut session = lock(&self.sessions[session]);
        session.forget_destroyed(&self.token);
        let (mut locking, mut reset) = (Locking::Shared, false);
        loop {
            if self.stopping() {
                return Err(HsmError::Stopped);
            }
            let outcome = self.locked(locking, || {
                session.begin(&self.token, locking).and_then(|mut guard| work(&mut guard))
            });
            let requests = session.take_requests();
            if requests.exclusive {
                locking = Locking::Exclusive;
                continue;
            }
            // Whatever operation a failed call left behind ends with the session.
            let failed_call = matches!(outcome, Err(HsmError::Call { .. }));
            if requests.close || failed_call {
                self.locked(Locking::Exclusive, || session.close());
            }
            let error = match outcome {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            let cure = error.cure();
            if cure == Cure::Refusal {
                return Err(error);
            }
            self.locked(Locking::Exclusive, || session.reset());
            match cure {
                Cure::Renew | Cure::Suspect if !reset => reset = true,
                Cure::Renew | Cure::Suspect | Cure::Refusal => {
                    self.wake_monitor();
                    return Err(HsmError::Unavailable(error.to_string()));
                }
                Cure::Rebuild => {
                    self.set_unhealthy(&error);
                    self.wake_monitor();
                    return Err(HsmError::Unavailable(error.to_string()));
                }
                Cure::Never => {
                    self.set_unhealthy(&error);
                    return Err(error);
                }
            }
        }
    }

    /// Runs `work`, beside all other threads or one thread at a time.
    fn locked<T>(&self, locking: Locking, work: impl FnOnce() -> T) -> T {
        match locking {
            Locking::Shared => work(),
            Locking::Exclusive => {
                // Taken after the lock of a session.
                let _exclusive = self.token.library().exclusive();
                work()
            }
        }
    }

    /// The others that reach their tokens through the same library.
    fn neighbours(&self) -> Vec<Arc<Module>> {
        let running = lock(&RUNNING);
        let others = running.iter().filter_map(Weak::upgrade);
        let shares = |other: &Arc<Module>| Arc::ptr_eq(other.token.library(), self.token.library());
        others.filter(|other| !std::ptr::eq(Arc::as_ptr(other), self)).filter(shares).collect()
    }

    /// Closes everything and builds it anew: sessions, library, slot, login. All threads wait
    /// meanwhile. A library through which another token serves stays as it is; one through which none
    /// does is built anew for all of them.
    pub(super) fn rebuild(&self) -> Result<(), HsmError> {
        let _building = self.token.library().building();
        let mut sessions: Vec<_> = self.sessions.iter().map(lock).collect();
        self.locked(Locking::Exclusive, || sessions.iter_mut().for_each(|session| session.close_all()));
        if self.stopping() {
            return Err(HsmError::Stopped);
        }
        let neighbours = self.neighbours();
        let none_serves = neighbours.iter().all(|module| module.serves().is_err());
        // One that is inside the library has its session locked: then the library stays as it is.
        let theirs: Option<Vec<_>> = none_serves
            .then(|| neighbours.iter().flat_map(|module| &module.sessions))
            .and_then(|all| all.map(|session| session.try_lock().ok()).collect());
        match theirs {
            Some(mut theirs) => {
                theirs.iter_mut().for_each(|session| session.close_all());
                self.token.reload()?;
            }
            None => self.token.find_again()?,
        }
        self.begin_first(&mut sessions.into_iter().next())
    }

    /// Has all workers find the handles of all keys, or of one new key, before a token needs them.
    /// What fails here is tried again when a token needs it.
    pub(super) fn load_handles(&self, new: Option<KeyId>) {
        for session in self.workers() {
            let outcome = self.with_session(session, |guard| match new {
                None => guard.load_handles(),
                Some(id) => guard.load_handles_of(id),
            });
            if let Err(error) = outcome {
                tracing::debug!(%error, "key handles could not be found ahead");
            }
        }
    }

    /// The workers' sessions.
    fn workers(&self) -> Range<usize> {
        WORKER_SESSIONS..self.sessions.len()
    }

    /// Whether the token answers, asked through this session.
    pub(super) fn check_token(&self, session: usize) -> Result<(), HsmError> {
        self.with_session_unchecked(session, |guard| guard.check_token())
    }

    /// Ends all sessions, for good.
    pub(super) fn shut_down(&self) {
        self.stopping.store(true, Ordering::Release);
        self.wake_monitor();
        self.health.send_replace(Health::Unhealthy { reason: HsmError::Stopped.to_string() });
        let mut sessions: Vec<_> = self.sessions.iter().map(lock).collect();
        sessions.iter_mut().for_each(|session| session.close_all());
        // The last one that uses the library ends it.
        if self.neighbours().iter().all(|module| module.stopping()) {
            self.token.finalize();
        }
    }

    /// Whether the process stops.
    pub(super) fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    pub(super) fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    /// [`HsmError::Unavailable`] while the HSM does not serve.
    pub(super) fn serves(&self) -> Result<(), HsmError> {
        match &*self.health.borrow() {
            Health::Healthy => Ok(()),
            Health::Unhealthy { reason } => Err(HsmError::Unavailable(reason.clone())),
        }
    }

    pub(super) fn settings(&self) -> &HsmSettings {
        self.token.settings()
    }

    /// The first thread to notice tells all others; the monitor takes it back or heals.
    pub(super) fn set_unhealthy(&self, error: &HsmError) {
        if self.set_health(Health::Unhealthy { reason: error.to_string() }) {
            tracing::error!(reason = %error, "the HSM does not serve");
        }
    }

    /// The monitor saw that the token answers.
    pub(super) fn set_healthy(&self) {
        self.set_health(Health::Healthy);
    }

    /// Answers whether it was otherwise before.
    fn set_health(&self, now: Health) -> bool {
        self.health.send_if_modified(|health| {
            let changed = *health != now;
            *health = now;
            changed
        })
    }

    /// A full channel means that the monitor looks already.
    pub(super) fn wake_monitor(&self) {
        let _ = self.alarm.try_send(());
    }
}
