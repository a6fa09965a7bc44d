//! The token: the PKCS#11 library in this process, the slot, the login, and which objects are the
//! server's own keys.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use cryptoki::context::Pkcs11;
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::{MechanismInfo, MechanismType};
use cryptoki::session::{Session, SessionState, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;

use super::capabilities::{ModuleFacts, TokenFacts};
use super::error::{HsmError, PinRefusal};
use super::keys::{KeyId, OldKey, Role, TokenId};
use super::library::Library;
use super::pin::read_pin;
use super::refused_pin;
use super::settings::{HsmSettings, TokenSelector};

/// What a session may do to token objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Use them.
    ReadOnly,
    /// Make and destroy them as well.
    ReadWrite,
}

/// The object of each of the server's own keys that is used.
pub(super) type OwnIds = BTreeMap<Role, KeyId>;

/// The library and the one token in it that the settings name.
#[derive(Debug)]
pub(super) struct Token {
    settings: HsmSettings,
    library: Arc<Library>,
    slot: Mutex<Slot>,
    /// Held during a login, so that there is only one at a time. Keeps a refusal of the PIN for
    /// good.
    login: Mutex<Option<PinRefusal>>,
    /// The keys that this process destroyed, in order. Each thread forgets their handles.
    destroyed: Mutex<Vec<KeyId>>,
    /// None on a token without the server's own keys.
    own: Mutex<OwnIds>,
    /// Old generations that open uploads still.
    old: Mutex<Vec<OldKey>>,
    id: OnceLock<TokenId>,
    /// What the row-seal key made of the message of the token's check.
    checked: Mutex<Option<(KeyId, [u8; 32])>>,
}

/// A poisoned lock only says that a thread died; sessions and handles are checked by use.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Token {
    /// Loads the library and finds the token.
    pub(super) fn load(settings: HsmSettings) -> Result<Token, HsmError> {
        let library = Library::load(&settings.module, settings.initialize.as_deref())?;
        Self::find(settings, library)
    }

    /// Finds the token through its library. Nobody is logged in yet.
    pub(super) fn find(settings: HsmSettings, library: Arc<Library>) -> Result<Token, HsmError> {
        // Whoever rebuilt another token may have ended half-way.
        library.initialize()?;
        let slot = find_slot(&library.functions, &settings.token)?;
        Ok(Token {
            settings,
            library,
            slot: Mutex::new(slot),
            login: Mutex::new(None),
            destroyed: Mutex::default(),
            own: Mutex::default(),
            old: Mutex::default(),
            id: OnceLock::new(),
            checked: Mutex::default(),
        })
    }

    /// Whether a key makes the same MAC of the message of the token's check as at the first check:
    /// a module that gives other bytes would give tokens that no meter takes.
    pub(super) fn answers_as_before(&self, key: KeyId, mac: &[u8; 32]) -> bool {
        let mut checked = lock(&self.checked);
        let (of, before) = *checked.get_or_insert((key, *mac));
        if of != key {
            *checked = Some((key, *mac));
        }
        of != key || before == *mac
    }

    /// Finalises and initialises the library and finds the token again. All sessions of all tokens
    /// that are reached through it must be closed.
    pub(super) fn reload(&self) -> Result<(), HsmError> {
        if let Some(refusal) = *lock(&self.login) {
            return Err(HsmError::PinRefused(refusal));
        }
        // Fails where the last attempt ended between finalising and initialising.
        self.library.finalize();
        self.find_again()
    }

    /// Finds the token again through the library as it is.
    pub(super) fn find_again(&self) -> Result<(), HsmError> {
        if let Some(refusal) = *lock(&self.login) {
            return Err(HsmError::PinRefused(refusal));
        }
        self.library.initialize()?;
        *lock(&self.slot) = find_slot(&self.library.functions, &self.settings.token)?;
        Ok(())
    }

    /// C_Finalize. All sessions of all tokens that are reached through the library must be closed.
    pub(super) fn finalize(&self) {
        self.library.finalize();
    }

    /// The library.
    pub(super) fn library(&self) -> &Arc<Library> {
        &self.library
    }

    /// Opens a session and sees to it that the token is logged in.
    pub(super) fn open(&self, access: Access) -> Result<Session, HsmError> {
        let slot = *lock(&self.slot);
        let session = match access {
            Access::ReadOnly => self.library.functions.open_ro_session(slot),
            Access::ReadWrite => self.library.functions.open_rw_session(slot),
        }?;
        self.log_in(&session, slot)?;
        Ok(session)
    }

    /// Logs in unless another session has: a login is the process's, not the session's. Never logs
    /// out: handles used afterwards crash some modules.
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
        let pin = match self.pin(slot) {
            Err(HsmError::PinRefused(why)) => return refuse(why),
            pin => pin?,
        };
        let memory = &self.settings.refused_pin_file;
        match session.login(UserType::User, Some(&pin)) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {
                refused_pin::forget(memory);
                Ok(())
            }
            Err(Error::Pkcs11(RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange, _)) => {
                if let Err(error) = refused_pin::remember(memory, &pin, &self.name_of(slot)) {
                    let file = memory.display();
                    tracing::error!(%error, "the refused PIN cannot be remembered in {file}: the next start tries it again");
                }
                refuse(PinRefusal::Incorrect)
            }
            Err(Error::Pkcs11(RvError::PinLocked, _)) => refuse(PinRefusal::Locked),
            Err(Error::Pkcs11(RvError::PinExpired, _)) => refuse(PinRefusal::Expired),
            Err(Error::Pkcs11(RvError::UserPinNotInitialized, _)) => refuse(PinRefusal::NotInitialized),
            Err(error) => Err(error.into()),
        }
    }

    /// The PIN, if it may be tried.
    pub(super) fn pin(&self, slot: Slot) -> Result<AuthPin, HsmError> {
        // Some modules' token information cannot be read; then there are no flags to look at.
        if let Ok(info) = self.library.functions.get_token_info(slot) {
            if info.user_pin_locked() {
                return Err(HsmError::PinRefused(PinRefusal::Locked));
            }
            if info.user_pin_final_try() {
                return Err(HsmError::PinRefused(PinRefusal::FinalTry));
            }
        }
        let (pin_file, memory) = (&self.settings.pin_file, &self.settings.refused_pin_file);
        let pin = read_pin(pin_file)?;
        if refused_pin::is_remembered(memory, &pin, &self.name_of(slot)) {
            return Err(HsmError::PinRefusedBefore { pin_file: pin_file.clone(), memory: memory.clone() });
        }
        Ok(pin)
    }

    /// What tells the token from others, as far as it can be known before the login.
    fn name_of(&self, slot: Slot) -> String {
        match self.library.functions.get_token_info(slot) {
            Ok(info) => format!("{} {}", info.label(), info.serial_number()),
            Err(_) => self.settings.token.to_string(),
        }
    }

    /// Whether the PIN may be tried, without trying it.
    pub(super) fn examine(&self) -> Result<(), HsmError> {
        let slot = *lock(&self.slot);
        self.pin(slot).map(drop)
    }

    pub(super) fn settings(&self) -> &HsmSettings {
        &self.settings
    }

    /// Has every thread forget the handles of a key that was destroyed.
    pub(super) fn note_destroyed(&self, id: KeyId) {
        lock(&self.destroyed).push(id);
    }

    /// Calls `forget` with the keys that were destroyed behind the first `seen`; answers how many
    /// there are in all.
    pub(super) fn destroyed_since(&self, seen: usize, mut forget: impl FnMut(KeyId)) -> usize {
        let destroyed = lock(&self.destroyed);
        destroyed.get(seen..).unwrap_or_default().iter().copied().for_each(&mut forget);
        destroyed.len()
    }

    /// From now on these are the server's own keys; the row-seal key among them shows that the
    /// token is there.
    pub(super) fn use_own_keys(&self, own: OwnIds, old: Vec<OldKey>) {
        *lock(&self.own) = own;
        *lock(&self.old) = old;
    }

    /// The old generations that open uploads still.
    pub(super) fn old_keys(&self) -> Vec<OldKey> {
        lock(&self.old).clone()
    }

    /// From now on an old generation opens nothing.
    pub(super) fn forget_old(&self, id: KeyId) {
        lock(&self.old).retain(|old| old.id != id);
    }

    /// The objects of all of the server's own keys.
    pub(super) fn own_ids(&self) -> OwnIds {
        lock(&self.own).clone()
    }

    /// The object of one of the server's own keys.
    pub(super) fn own_id(&self, role: Role) -> Option<KeyId> {
        lock(&self.own).get(&role).copied()
    }

    /// From now on the token is known by this id.
    pub(super) fn name(&self, id: TokenId) {
        let _ = self.id.set(id);
    }

    /// Its id. One without the server's own keys, which serves session keys alone, has zeros.
    pub(super) fn id(&self) -> TokenId {
        self.id.get().copied().unwrap_or(TokenId([0; 8]))
    }

    /// Whether the module lists a mechanism for the token, and what it says of it.
    pub(super) fn mechanism(&self, mechanism: MechanismType) -> Option<MechanismInfo> {
        self.library.functions.get_mechanism_info(*lock(&self.slot), mechanism).ok()
    }

    /// What the library and the token say of themselves.
    pub(super) fn facts(&self) -> (ModuleFacts, TokenFacts) {
        let slot = *lock(&self.slot);
        let path = self.settings.module.display().to_string();
        let module = match self.library.functions.get_library_info() {
            Ok(info) => ModuleFacts {
                path,
                description: info.library_description().to_owned(),
                manufacturer: info.manufacturer_id().to_owned(),
                version: info.library_version().to_string(),
                cryptoki: info.cryptoki_version().to_string(),
            },
            Err(_) => ModuleFacts { path, ..ModuleFacts::default() },
        };
        let token = match self.library.functions.get_token_info(slot) {
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
