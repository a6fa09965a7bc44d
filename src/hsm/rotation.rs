//! The server's own keys while no server runs: their generations, a new one, the end of an old one.

use std::sync::Arc;

use super::capabilities::Capabilities;
use super::error::HsmError;
use super::import::destroy_objects;
use super::keys::{KeyId, OldKey, Role, SealKeyId};
use super::module::Module;
use super::overlap;
use super::own_keys::{self, KeySizes, OwnKey, ROW_SEAL_DOMAIN};
use super::probe::probe;
use super::session::SessionGuard;
use super::settings::HsmSettings;
use super::token::Access;

/// The only session.
const SESSION: usize = 0;

/// The server's own keys in the token, for whoever rotates them. Everything blocks.
#[derive(Debug)]
pub struct OwnKeys {
    module: Arc<Module>,
    capabilities: Capabilities,
}

impl OwnKeys {
    /// Loads the module and logs in. No server of this token may run.
    ///
    /// # Errors
    /// As [`Hsm::start`](super::Hsm::start).
    pub fn open(settings: &HsmSettings) -> Result<OwnKeys, HsmError> {
        let (module, _) = Module::load(settings.clone(), [Access::ReadWrite])?;
        let capabilities = probe(&module, SESSION, false)?;
        Ok(OwnKeys { module, capabilities })
    }

    /// The generations of a key, oldest first: one, and two while a rotation is under way. Each is
    /// checked to be what it must be.
    ///
    /// # Errors
    /// [`HsmError::NotSetUp`], [`HsmError::KeyUntrusted`]; any other failure of the HSM.
    pub fn generations(&self, role: Role) -> Result<Vec<OwnKey>, HsmError> {
        let found = self.module.with_session(SESSION, |guard| {
            guard.exclusive()?;
            own_keys::generations(guard, role)?
                .into_iter()
                .map(|(_, id)| self.checked(guard, role, id))
                .collect::<Result<Vec<_>, _>>()
        })?;
        if found.is_empty() { Err(HsmError::NotSetUp(vec![role])) } else { Ok(found) }
    }

    /// Makes the generation after this one, unless it is there. RSA keys take seconds.
    ///
    /// # Errors
    /// [`HsmError::KeyUntrusted`]; any other failure of the HSM.
    pub fn renew(&self, old: &OwnKey, sizes: KeySizes) -> Result<OwnKey, HsmError> {
        let role = old.role;
        let id = role.own_id(old.generation.wrapping_add(1));
        let id = id.ok_or(HsmError::Nonsense("no generations of this key"))?;
        self.module.with_session(SESSION, |guard| {
            guard.exclusive()?;
            // This may be done twice, when the session is lost behind the first time.
            if guard.find(role, id)?.is_empty() {
                own_keys::generate(guard, &own_keys::template(role, id, &self.capabilities), sizes)?;
            }
            self.checked(guard, role, id)
        })
    }

    /// Destroys a generation, with its public half, and sees that it is gone.
    ///
    /// # Errors
    /// Any failure of the HSM; the key may be there still.
    pub fn retire(&self, key: &OwnKey) -> Result<(), HsmError> {
        self.module.with_session(SESSION, |guard| destroy_generation(guard, key.role, key.id))
    }

    /// Has the token say that a generation opens uploads until a time, in milliseconds since 1970.
    ///
    /// # Errors
    /// Any failure of the HSM.
    pub fn keep_until(&self, key: &OwnKey, until_ms: i64) -> Result<(), HsmError> {
        self.module.with_session(SESSION, |guard| {
            guard.exclusive()?;
            overlap::begin(guard, OldKey { role: key.role, id: key.id, until_ms })
        })
    }

    /// Until when a generation opens uploads, if the token says so.
    ///
    /// # Errors
    /// Any failure of the HSM.
    pub fn kept_until(&self, key: &OwnKey) -> Result<Option<i64>, HsmError> {
        self.module.with_session(SESSION, |guard| {
            guard.exclusive()?;
            Ok(overlap::of(guard, key.id)?.map(|old| old.until_ms))
        })
    }

    /// Signs a checkpoint as [`AuditKey::sign_checkpoint`](super::AuditKey::sign_checkpoint) does,
    /// by this generation of the audit key.
    ///
    /// # Errors
    /// Any failure of the HSM.
    pub fn sign_checkpoint(&self, key: &OwnKey, message: &[u8]) -> Result<Vec<u8>, HsmError> {
        self.module.with_session(SESSION, |guard| {
            let handle = guard.handle(key.role, key.id)?;
            own_keys::sign(guard, handle, message)
        })
    }

    /// Seals a row as [`RowSealKey::seal_row`](super::RowSealKey::seal_row) does, by this
    /// generation of the row-seal key.
    ///
    /// # Errors
    /// Any failure of the HSM.
    pub fn seal_row(&self, key: &OwnKey, message: &[u8]) -> Result<[u8; 32], HsmError> {
        self.module.with_session(SESSION, |guard| {
            let handle = guard.handle(key.role, key.id)?;
            own_keys::seal(guard, handle, ROW_SEAL_DOMAIN, message)
        })
    }

    /// Which key of rows this generation is.
    ///
    /// # Errors
    /// Any failure of the HSM.
    pub fn seal_key_id(&self, key: &OwnKey) -> Result<SealKeyId, HsmError> {
        self.module.with_session(SESSION, |guard| {
            let handle = guard.handle(key.role, key.id)?;
            own_keys::seal_key_id(guard, handle)
        })
    }

    fn checked(&self, guard: &mut SessionGuard<'_>, role: Role, id: KeyId) -> Result<OwnKey, HsmError> {
        own_keys::check(guard, &own_keys::template(role, id, &self.capabilities), &self.capabilities)?;
        own_keys::described(guard, role, id)
    }
}

/// Destroys a generation of an own key with its public half, and sees that it is gone.
pub(super) fn destroy_generation(
    guard: &mut SessionGuard<'_>,
    role: Role,
    id: KeyId,
) -> Result<(), HsmError> {
    guard.exclusive()?;
    destroy_objects(guard, role, id)?;
    for public in guard.public_halves(role, id)? {
        guard.session.destroy_object(public)?;
    }
    // Last: without it two generations would look like a rotation that did not end.
    overlap::end(guard, id)
}

impl Drop for OwnKeys {
    fn drop(&mut self) {
        self.module.shut_down();
    }
}
