//! A thread's place at the module: its session and the handles found through it.

use std::collections::HashMap;

use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, SessionState};

use super::error::HsmError;
use super::keys::{KeyId, Role};
use super::module::Module;

/// What a seat's sessions may do to token objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Use them.
    ReadOnly,
    /// Make and destroy them as well.
    ReadWrite,
}

/// Whether other threads may search and change the token at the same time.
///
/// In SoftHSM 2.6.1 a search in one thread breaks the creation of an object in another (its issue 573; seen under load as
/// CKR_GENERAL_ERROR from C_CreateObject, and as a new key with another object's attributes). So all that searches, makes or
/// destroys objects takes turns. Using keys does not, and nothing else is on the path of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// For using keys that are known: beside all others.
    Shared,
    /// For opening, closing, searching, making, destroying: one at a time.
    Alone,
}

/// The handles that a seat knows.
#[derive(Debug, Default)]
struct Handles {
    known: HashMap<(Role, KeyId), ObjectHandle>,
    /// All vending and mask keys of the token were looked at once, so a search is for newcomers only.
    listed: bool,
    /// How many of the module's destructions were heeded.
    heeded: usize,
}

/// One thread's session and handle cache. The module owns all seats, so that it can take every session away before it
/// finalises: a stale session that is dropped later can close a new one of the same number (hsm-facts, "Behaviours").
#[derive(Debug)]
pub(super) struct Seat {
    access: Access,
    session: Option<Session>,
    /// Owns session objects that must outlive failed operations on `session`.
    keeper: Option<Session>,
    handles: Handles,
    /// What the operation under way asked for.
    wishes: Wishes,
}

/// What an operation asks of its seat.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Wishes {
    /// To be done again, alone.
    pub(super) alone: bool,
    /// That the session is closed afterwards, whatever the outcome.
    pub(super) close: bool,
}

impl Seat {
    /// An empty seat.
    pub(super) fn new(access: Access) -> Seat {
        Seat { access, session: None, keeper: None, handles: Handles::default(), wishes: Wishes::default() }
    }

    /// Forgets the handles of keys that were destroyed since: a module may give their numbers to other keys.
    pub(super) fn heed(&mut self, destroyed: &[KeyId]) {
        for id in destroyed.get(self.handles.heeded..).unwrap_or_default() {
            self.handles.known.remove(&(Role::VendingKey, *id));
            self.handles.known.remove(&(Role::Mask, *id));
        }
        self.handles.heeded = destroyed.len();
    }

    /// Closes the session, and with it whatever operation it was in. Handles are the application's, not the session's
    /// (PKCS#11 v3.1 §2.4), and session keys are the keeper's: both stay.
    pub(super) fn close(&mut self) {
        self.session = None;
    }

    /// Closes the session and forgets all handles, so that everything is looked for again.
    pub(super) fn renew(&mut self) {
        self.close();
        self.handles.known.clear();
        self.handles.listed = false;
    }

    /// Closes everything.
    pub(super) fn leave(&mut self) {
        self.renew();
        self.keeper = None;
    }

    /// What the last operation asked for.
    pub(super) fn wishes(&mut self) -> Wishes {
        std::mem::take(&mut self.wishes)
    }

    /// The desk for one operation; opens a session and logs in where needed, which takes a turn alone.
    pub(super) fn sit<'a>(&'a mut self, module: &'a Module, turn: Turn) -> Result<Desk<'a>, HsmError> {
        self.wishes = Wishes::default();
        let session = match self.session.take() {
            Some(session) => session,
            None if turn == Turn::Shared => {
                self.wishes.alone = true;
                return Err(HsmError::NotAlone);
            }
            None => module.open(self.access)?,
        };
        let session = &*self.session.insert(session);
        let Seat { keeper, handles, wishes, .. } = self;
        Ok(Desk { module, turn, session, keeper, handles, wishes })
    }
}

/// A logged-in session and its handle cache, for the time of one operation.
pub(super) struct Desk<'a> {
    module: &'a Module,
    turn: Turn,
    /// The session.
    pub(super) session: &'a Session,
    keeper: &'a mut Option<Session>,
    handles: &'a mut Handles,
    wishes: &'a mut Wishes,
}

impl Desk<'_> {
    /// The handle of a key object (never a public key). Searches the token only where the cache does not know it.
    ///
    /// # Errors
    /// [`HsmError::KeyMissing`] only when the token was seen to be well otherwise; [`HsmError::KeyAmbiguous`].
    pub(super) fn handle(&mut self, role: Role, id: KeyId) -> Result<ObjectHandle, HsmError> {
        if let Some(handle) = self.handles.known.get(&(role, id)) {
            return Ok(*handle);
        }
        self.alone()?;
        if !self.handles.listed && matches!(role, Role::VendingKey | Role::Mask) {
            self.list()?;
            if let Some(handle) = self.handles.known.get(&(role, id)) {
                return Ok(*handle);
            }
        }
        let found = self.find(role, id)?;
        match *found.as_slice() {
            [handle] => {
                self.handles.known.insert((role, id), handle);
                Ok(handle)
            }
            [] => Err(self.missing(role, id)),
            _ => Err(HsmError::KeyAmbiguous { role, id, count: found.len() }),
        }
    }

    /// The handle of one of the server's own keys.
    ///
    /// # Errors
    /// [`HsmError::NotSetUp`] on a module that was started without them; as [`Desk::handle`].
    pub(super) fn own(&mut self, role: Role) -> Result<ObjectHandle, HsmError> {
        let id = self.module.own_id(role).ok_or_else(|| HsmError::NotSetUp(vec![role]))?;
        self.handle(role, id)
    }

    /// Learns all handles before a token needs one: `find` is never on the path of a token.
    pub(super) fn warm(&mut self) -> Result<(), HsmError> {
        if self.handles.listed {
            return Ok(());
        }
        self.alone()?;
        self.list()
    }

    /// Learns the handles of a key that was just made. One without a mask has none to learn.
    pub(super) fn learn(&mut self, id: KeyId) -> Result<(), HsmError> {
        for role in [Role::VendingKey, Role::Mask] {
            match self.handle(role, id) {
                Ok(_) | Err(HsmError::KeyMissing { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Learns the handles of all vending and mask keys in one pass: every search scans the whole token (hsm-facts §3).
    fn list(&mut self) -> Result<(), HsmError> {
        let mut known = HashMap::new();
        let mut twins = Vec::new();
        for (role, id, handle) in self.key_objects()? {
            if let Some(id) = id
                && known.insert((role, id), handle).is_some()
            {
                twins.push((role, id));
            }
        }
        // Left to the search, which tells how many there are.
        known.retain(|name, _| !twins.contains(name));
        self.handles.known.extend(known);
        self.handles.listed = true;
        Ok(())
    }

    /// All vending and mask keys, session keys included; the id is None where it is no id of ours. For a turn alone.
    pub(super) fn key_objects(&self) -> Result<Vec<(Role, Option<KeyId>, ObjectHandle)>, HsmError> {
        let mut objects = Vec::new();
        for role in [Role::VendingKey, Role::Mask] {
            objects.extend(self.objects_of(role)?.into_iter().map(|(id, handle)| (role, id, handle)));
        }
        Ok(objects)
    }

    /// All key objects of a role; the id is None where it is no id of ours. For a turn alone.
    pub(super) fn objects_of(&self, role: Role) -> Result<Vec<(Option<KeyId>, ObjectHandle)>, HsmError> {
        let search = [Attribute::Class(role.class()), Attribute::Label(role.label().into())];
        let described = |handle| {
            // One that is destroyed by another process meanwhile has no attributes any more.
            let attributes = self.session.get_attributes(handle, &[AttributeType::Id]).unwrap_or_default();
            let id = attributes.into_iter().find_map(|attribute| match attribute {
                Attribute::Id(id) => id.try_into().ok().map(KeyId),
                _ => None,
            });
            (id, handle)
        };
        Ok(self.session.find_objects(&search)?.into_iter().map(described).collect())
    }

    /// All key objects of this role and id, without the cache. Scans the whole token. For a turn alone.
    pub(super) fn find(&self, role: Role, id: KeyId) -> Result<Vec<ObjectHandle>, HsmError> {
        Ok(self.session.find_objects(&[
            Attribute::Class(role.class()),
            Attribute::Id(id.0.to_vec()),
            Attribute::Label(role.label().into()),
        ])?)
    }

    /// The public halves of an RSA key, which serve nothing. For a turn alone.
    pub(super) fn public_halves(&self, role: Role, id: KeyId) -> Result<Vec<ObjectHandle>, HsmError> {
        Ok(self.session.find_objects(&[
            Attribute::Class(ObjectClass::PUBLIC_KEY),
            Attribute::Id(id.0.to_vec()),
            Attribute::Label(role.label().into()),
        ])?)
    }

    /// Asks for a turn alone unless this is one: the operation breaks off here and is done again.
    pub(super) fn alone(&mut self) -> Result<(), HsmError> {
        match self.turn {
            Turn::Alone => Ok(()),
            Turn::Shared => {
                self.wishes.alone = true;
                Err(HsmError::NotAlone)
            }
        }
    }

    /// Asks for the session to be closed after this operation, also when it succeeds.
    pub(super) fn close_after(&mut self) {
        self.wishes.close = true;
    }

    /// Tells all threads, this one included, to forget the handles of a key that was destroyed.
    pub(super) fn forget(&mut self, id: KeyId) {
        self.handles.known.remove(&(Role::VendingKey, id));
        self.handles.known.remove(&(Role::Mask, id));
        self.module.note_destroyed(id);
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
    /// Of a module without own keys (`Module::use_own_keys`) the session's state must do.
    pub(super) fn canary(&mut self) -> Result<(), HsmError> {
        self.logged_in()?;
        if self.module.own_id(Role::RowSeal).is_some() {
            let key = self.own(Role::RowSeal)?;
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
        self.alone()?;
        let session = match self.keeper.take() {
            Some(session) => session,
            None => self.module.open(Access::ReadOnly)?,
        };
        Ok(self.keeper.insert(session))
    }
}
