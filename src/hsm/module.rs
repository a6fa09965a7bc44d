//! The PKCS#11 library in this process: loading, login, every thread's session, and the cures for what gets lost.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::session::{Session, SessionState, UserType};
use cryptoki::slot::Slot;
use tokio::sync::watch;

use super::capabilities::{ModuleFacts, TokenFacts};
use super::error::{Cure, HsmError, PinRefusal};
use super::keys::{KeyId, Role};
use super::own_keys::OwnIds;
use super::seat::{Access, Desk, Seat, Turn};
use super::settings::{HsmSettings, TokenSelector, read_pin};

/// Whether the HSM can serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// The canary sings.
    Well,
    /// It does not, for this reason. Healing is under way unless the reason is the PIN.
    Ill {
        /// For the log and the health service's details.
        reason: String,
    },
}

/// The library, its token, and the seats of all threads that use it.
#[derive(Debug)]
pub(super) struct Module {
    settings: HsmSettings,
    library: Pkcs11,
    slot: Mutex<Slot>,
    /// Held during a login, so that there is only one at a time; remembers for good that the PIN is refused.
    login: Mutex<Option<PinRefusal>>,
    /// The keys that this process destroyed, in order: each seat heeds those that it has not yet heeded.
    destroyed: Mutex<Vec<KeyId>>,
    /// Held during a [`Turn::Alone`]. Taken after the seat.
    alone: Mutex<()>,
    seats: Box<[Mutex<Seat>]>,
    health: watch::Sender<Health>,
    alarm: flume::Sender<()>,
    /// The server's own keys; none on a token without them.
    own: Mutex<OwnIds>,
    stopping: AtomicBool,
}

/// A poisoned lock only says that a thread died; sessions and handles are checked by use.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Module {
    /// Loads the library, finds the token, and logs in through the first seat.
    ///
    /// The receiver gets a message whenever the guardian should look at once.
    pub(super) fn load(
        settings: HsmSettings,
        seats: impl IntoIterator<Item = Access>,
    ) -> Result<(Module, flume::Receiver<()>), HsmError> {
        let library = Pkcs11::new(&settings.module).map_err(|error| HsmError::ModuleLoad {
            path: settings.module.clone(),
            reason: error.to_string(),
        })?;
        initialize(&library)?;
        let slot = find_slot(&library, &settings.token)?;
        let (alarm, alarms) = flume::bounded(1);
        let module = Module {
            settings,
            library,
            slot: Mutex::new(slot),
            login: Mutex::new(None),
            destroyed: Mutex::default(),
            alone: Mutex::default(),
            seats: seats.into_iter().map(|access| Mutex::new(Seat::new(access))).collect(),
            health: watch::Sender::new(Health::Well),
            alarm,
            own: Mutex::default(),
            stopping: AtomicBool::new(false),
        };
        if let Some(seat) = module.seats.first() {
            lock(seat).sit(&module, Turn::Alone)?;
        }
        Ok((module, alarms))
    }

    /// Opens a session and sees to it that the token is logged in.
    pub(super) fn open(&self, access: Access) -> Result<Session, HsmError> {
        let slot = *lock(&self.slot);
        let session = match access {
            Access::ReadOnly => self.library.open_ro_session(slot),
            Access::ReadWrite => self.library.open_rw_session(slot),
        }?;
        self.log_in(&session, slot)?;
        Ok(session)
    }

    /// Logs in unless another session has: a login is the process's, not the session's. Never logs out: handles used
    /// afterwards crash some modules.
    fn log_in(&self, session: &Session, slot: Slot) -> Result<(), HsmError> {
        let mut refusal = lock(&self.login);
        if matches!(session.get_session_info()?.session_state(), SessionState::RoUser | SessionState::RwUser)
        {
            return Ok(());
        }
        if let Some(refusal) = *refusal {
            return Err(HsmError::PinRefused(refusal));
        }
        let mut refuse = |why| {
            *refusal = Some(why);
            Err(HsmError::PinRefused(why))
        };
        // Some modules' token information cannot be read; then there are no flags to heed.
        if let Ok(info) = self.library.get_token_info(slot) {
            if info.user_pin_locked() {
                return refuse(PinRefusal::Locked);
            }
            if info.user_pin_final_try() {
                return refuse(PinRefusal::FinalTry);
            }
        }
        let pin = read_pin(&self.settings.pin_file)?;
        match session.login(UserType::User, Some(&pin)) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
            Err(Error::Pkcs11(RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange, _)) => {
                refuse(PinRefusal::Incorrect)
            }
            Err(Error::Pkcs11(RvError::PinLocked, _)) => refuse(PinRefusal::Locked),
            Err(Error::Pkcs11(RvError::PinExpired, _)) => refuse(PinRefusal::Expired),
            Err(Error::Pkcs11(RvError::UserPinNotInitialized, _)) => refuse(PinRefusal::NotInitialized),
            Err(error) => Err(error.into()),
        }
    }

    /// Does `work` at a seat, or answers [`HsmError::Unavailable`] at once while the HSM is ill.
    pub(super) fn at_seat<T>(
        &self,
        seat: usize,
        work: impl FnMut(&mut Desk<'_>) -> Result<T, HsmError>,
    ) -> Result<T, HsmError> {
        if let Health::Ill { reason } = &*self.health.borrow() {
            return Err(HsmError::Unavailable(reason.clone()));
        }
        self.at_seat_even_ill(seat, work)
    }

    /// Does `work` at a seat, with the cure that a failure calls for. `work` may be done several times, so it must bear it.
    pub(super) fn at_seat_even_ill<T>(
        &self,
        seat: usize,
        mut work: impl FnMut(&mut Desk<'_>) -> Result<T, HsmError>,
    ) -> Result<T, HsmError> {
        let mut seat = lock(&self.seats[seat]);
        seat.heed(&lock(&self.destroyed));
        let (mut turn, mut renewed) = (Turn::Shared, false);
        loop {
            if self.stopping() {
                return Err(HsmError::Stopped);
            }
            let outcome = self.take(turn, || seat.sit(self, turn).and_then(|mut desk| work(&mut desk)));
            let wishes = seat.wishes();
            if wishes.alone {
                turn = Turn::Alone;
                continue;
            }
            // Whatever operation a failed call left behind ends with the session.
            let failed_call = matches!(outcome, Err(HsmError::Call { .. }));
            if wishes.close || failed_call {
                self.take(Turn::Alone, || seat.close());
            }
            let error = match outcome {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            let cure = error.cure();
            if cure == Cure::Refusal {
                return Err(error);
            }
            self.take(Turn::Alone, || seat.renew());
            match cure {
                Cure::Renew | Cure::Suspect if !renewed => renewed = true,
                Cure::Renew | Cure::Suspect | Cure::Refusal => {
                    self.call_guardian();
                    return Err(HsmError::Unavailable(error.to_string()));
                }
                Cure::Rebuild => {
                    self.fall_ill(&error);
                    self.call_guardian();
                    return Err(HsmError::Unavailable(error.to_string()));
                }
                Cure::Never => {
                    self.fall_ill(&error);
                    return Err(error);
                }
            }
        }
    }

    /// Runs `work` in a turn of this kind.
    fn take<T>(&self, turn: Turn, work: impl FnOnce() -> T) -> T {
        match turn {
            Turn::Shared => work(),
            Turn::Alone => {
                let _alone = lock(&self.alone);
                work()
            }
        }
    }

    /// Tears everything down and builds it anew: sessions, library, slot, login. All threads wait at their seats meanwhile.
    pub(super) fn rebuild(&self) -> Result<(), HsmError> {
        let mut seats: Vec<_> = self.seats.iter().map(lock).collect();
        seats.iter_mut().for_each(|seat| seat.leave());
        if self.stopping() {
            return Err(HsmError::Stopped);
        }
        if let Some(refusal) = *lock(&self.login) {
            return Err(HsmError::PinRefused(refusal));
        }
        // Fails where the last attempt ended between finalising and initialising.
        let _ = self.library.clone().finalize();
        initialize(&self.library)?;
        *lock(&self.slot) = find_slot(&self.library, &self.settings.token)?;
        match seats.first_mut() {
            Some(seat) => seat.sit(self, Turn::Alone).map(drop),
            None => Ok(()),
        }
    }

    /// Has all workers learn the keys of the token, or one new key, before a token needs them. What fails here is tried again
    /// when a token needs it.
    pub(super) fn warm(&self, new: Option<KeyId>) {
        for seat in self.workers() {
            let outcome = self.at_seat(seat, |desk| match new {
                None => desk.warm(),
                Some(id) => desk.learn(id),
            });
            if let Err(error) = outcome {
                tracing::debug!(%error, "keys could not be learnt ahead");
            }
        }
    }

    /// The seats of the workers, behind the guardian's, the admin thread's and the sealing thread's.
    fn workers(&self) -> Range<usize> {
        super::admin::SEAL_SEAT + 1..self.seats.len()
    }

    /// The canary, at the guardian's seat.
    pub(super) fn canary(&self, seat: usize) -> Result<(), HsmError> {
        self.at_seat_even_ill(seat, |desk| desk.canary())
    }

    /// Ends all sessions, for good.
    pub(super) fn shut_down(&self) {
        self.stop();
        self.health.send_replace(Health::Ill { reason: HsmError::Stopped.to_string() });
        let mut seats: Vec<_> = self.seats.iter().map(lock).collect();
        seats.iter_mut().for_each(|seat| seat.leave());
        let _ = self.library.clone().finalize();
    }

    /// Tells the threads that the process stops.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.call_guardian();
    }

    pub(super) fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    pub(super) fn note_destroyed(&self, id: KeyId) {
        lock(&self.destroyed).push(id);
    }

    /// From now on these are the server's own keys, and the canary uses the row-seal key among them.
    pub(super) fn use_own_keys(&self, own: OwnIds) {
        *lock(&self.own) = own;
    }

    /// The objects of all of the server's own keys.
    pub(super) fn own_ids(&self) -> OwnIds {
        lock(&self.own).clone()
    }

    /// The object of one of the server's own keys.
    pub(super) fn own_id(&self, role: Role) -> Option<KeyId> {
        lock(&self.own).get(&role).copied()
    }

    pub(super) fn health(&self) -> &watch::Sender<Health> {
        &self.health
    }

    pub(super) fn settings(&self) -> &HsmSettings {
        &self.settings
    }

    /// The first to notice tells everybody; the guardian takes it back or heals.
    pub(super) fn fall_ill(&self, error: &HsmError) {
        let ill = Health::Ill { reason: error.to_string() };
        self.health.send_if_modified(|health| {
            let news = *health != ill;
            if news {
                tracing::error!(reason = %error, "the HSM is ill");
                *health = ill;
            }
            news
        });
    }

    /// Full means that the guardian is called already.
    pub(super) fn call_guardian(&self) {
        let _ = self.alarm.try_send(());
    }

    /// What the library and the token say of themselves.
    pub(super) fn facts(&self) -> (ModuleFacts, TokenFacts) {
        let slot = *lock(&self.slot);
        let path = self.settings.module.display().to_string();
        let module = match self.library.get_library_info() {
            Ok(info) => ModuleFacts {
                path,
                description: info.library_description().to_owned(),
                manufacturer: info.manufacturer_id().to_owned(),
                version: info.library_version().to_string(),
                cryptoki: info.cryptoki_version().to_string(),
            },
            Err(_) => ModuleFacts { path, ..ModuleFacts::default() },
        };
        let token = match self.library.get_token_info(slot) {
            Ok(info) => TokenFacts {
                slot: slot.id(),
                label: info.label().to_owned(),
                model: info.model().to_owned(),
                serial: info.serial_number().to_owned(),
            },
            Err(_) => TokenFacts { slot: slot.id(), ..TokenFacts::default() },
        };
        (module, token)
    }
}

/// Initialises the library; one that is initialised already is as good.
fn initialize(library: &Pkcs11) -> Result<(), HsmError> {
    match library.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The one slot whose token is meant.
fn find_slot(library: &Pkcs11, token: &TokenSelector) -> Result<Slot, HsmError> {
    let mut slots = library.get_slots_with_token()?;
    slots.retain(|slot| match token {
        TokenSelector::Slot(id) => slot.id() == *id,
        TokenSelector::Label(label) => library
            .get_token_info(*slot)
            .is_ok_and(|info| info.token_initialized() && info.label().trim_end() == label),
    });
    match *slots.as_slice() {
        [slot] => Ok(slot),
        [] => Err(HsmError::TokenNotFound(token.to_string())),
        _ => Err(HsmError::TokenAmbiguous { token: token.to_string(), count: slots.len() }),
    }
}
