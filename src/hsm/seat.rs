//! A thread's place at the module: its session and the handles found through it.

use std::collections::HashMap;

use cryptoki::object::{Attribute, ObjectHandle};
use cryptoki::session::{Session, SessionState};

use super::error::HsmError;
use super::keys::{KeyId, ROW_SEAL_ID, Role};
use super::module::Module;

/// What a seat's sessions may do to token objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Use them.
    ReadOnly,
    /// Make and destroy them as well.
    ReadWrite,
}

/// One thread's session and handle cache. The module owns all seats, so that it can take every session away before it
/// finalises: a stale session that is dropped later can close a new one of the same number (hsm-facts, "Behaviours").
#[derive(Debug)]
pub(super) struct Seat {
    access: Access,
    session: Option<Session>,
    /// Owns session objects that must outlive failed operations on `session`.
    keeper: Option<Session>,
    handles: HashMap<(Role, KeyId), ObjectHandle>,
    /// The module's epoch in which the handles were found.
    epoch: u64,
    /// The session is to be closed after this operation, whatever its outcome.
    spent: bool,
}

impl Seat {
    /// An empty seat.
    pub(super) fn new(access: Access) -> Seat {
        Seat { access, session: None, keeper: None, handles: HashMap::new(), epoch: 0, spent: false }
    }

    /// Forgets handles of another epoch: after a key was destroyed a module may give its number to another key.
    pub(super) fn enter_epoch(&mut self, epoch: u64) {
        if self.epoch != epoch {
            self.handles.clear();
            self.epoch = epoch;
        }
    }

    /// Closes the session, and with it whatever operation it was in. Session keys of the keeper stay.
    pub(super) fn close(&mut self) {
        self.session = None;
        self.handles.clear();
        self.spent = false;
    }

    /// Closes the session if the last operation asked for it.
    pub(super) fn close_if_spent(&mut self) {
        if self.spent {
            self.close();
        }
    }

    /// Closes everything.
    pub(super) fn leave(&mut self) {
        self.close();
        self.keeper = None;
    }

    /// The desk for one operation; opens a session and logs in where needed.
    pub(super) fn sit<'a>(&'a mut self, module: &'a Module) -> Result<Desk<'a>, HsmError> {
        let session = match self.session.take() {
            Some(session) => session,
            None => module.open(self.access)?,
        };
        let session = &*self.session.insert(session);
        Ok(Desk {
            module,
            session,
            keeper: &mut self.keeper,
            handles: &mut self.handles,
            spent: &mut self.spent,
        })
    }
}

/// A logged-in session and its handle cache, for the time of one operation.
pub(super) struct Desk<'a> {
    module: &'a Module,
    /// The session.
    pub(super) session: &'a Session,
    keeper: &'a mut Option<Session>,
    handles: &'a mut HashMap<(Role, KeyId), ObjectHandle>,
    spent: &'a mut bool,
}

impl Desk<'_> {
    /// The handle of a key object (never a public key). Searches the token only where the cache does not know it.
    ///
    /// # Errors
    /// [`HsmError::KeyMissing`] only when the token was seen to be well otherwise; [`HsmError::KeyAmbiguous`].
    pub(super) fn handle(&mut self, role: Role, id: KeyId) -> Result<ObjectHandle, HsmError> {
        if let Some(handle) = self.handles.get(&(role, id)) {
            return Ok(*handle);
        }
        let found = self.find(role, id)?;
        match *found.as_slice() {
            [handle] => {
                self.handles.insert((role, id), handle);
                Ok(handle)
            }
            [] => Err(self.missing(role, id)),
            _ => Err(HsmError::KeyAmbiguous { role, id, count: found.len() }),
        }
    }

    /// All key objects of this role and id, without the cache. Scans the whole token.
    pub(super) fn find(&self, role: Role, id: KeyId) -> Result<Vec<ObjectHandle>, HsmError> {
        Ok(self.session.find_objects(&[
            Attribute::Class(role.class()),
            Attribute::Id(id.0.to_vec()),
            Attribute::Label(role.label().into()),
        ])?)
    }

    /// Asks for the session to be closed after this operation, also when it succeeds.
    pub(super) fn close_after(&mut self) {
        *self.spent = true;
    }

    /// Drops a handle from the cache, for an object that this thread destroys.
    pub(super) fn forget(&mut self, role: Role, id: KeyId) {
        self.handles.remove(&(role, id));
    }

    /// Tells all threads to forget their handles, because a key object was destroyed.
    pub(super) fn new_epoch(&self) {
        self.module.new_epoch();
    }

    /// Why an object is not found: a lost login hides private objects, and a lost token hides all.
    fn missing(&mut self, role: Role, id: KeyId) -> HsmError {
        if role == Role::RowSeal {
            return HsmError::KeyMissing { role, id };
        }
        match self.canary() {
            Ok(()) => HsmError::KeyMissing { role, id },
            Err(error) => error,
        }
    }

    /// One HMAC by the row-seal key, a *token* key: session keys survive a lost token and would hide it.
    /// Without own keys in the token (`Module::watch_row_seal`), the session's state must do.
    pub(super) fn canary(&mut self) -> Result<(), HsmError> {
        self.logged_in()?;
        if self.module.row_seal_watched() {
            let key = self.handle(Role::RowSeal, ROW_SEAL_ID)?;
            self.hmac(key, b"vendkey canary")?;
        }
        Ok(())
    }

    fn logged_in(&self) -> Result<(), HsmError> {
        match self.session.get_session_info()?.session_state() {
            SessionState::RoUser | SessionState::RwUser => Ok(()),
            _ => Err(HsmError::Call {
                call: "C_GetSessionInfo".to_owned(),
                code: cryptoki::error::RvError::UserNotLoggedIn,
            }),
        }
    }

    /// A session that stays open until the module is rebuilt: session keys made in it last as long.
    pub(super) fn keeper(&mut self) -> Result<&Session, HsmError> {
        let session = match self.keeper.take() {
            Some(session) => session,
            None => self.module.open(Access::ReadOnly)?,
        };
        Ok(self.keeper.insert(session))
    }
}
