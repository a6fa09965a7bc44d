//! A thread's session and the handles of keys found through it.

use std::collections::{HashMap, HashSet};

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, SessionState};
use zeroize::Zeroizing;

use super::error::{HsmError, Mismatch};
use super::keys::{KeyId, Role, TokenId, VendingKey};
use super::token::{Access, Token};

/// Whether other threads may search and change the token at the same time.
///
/// In SoftHSM 2.6.1 a search in one thread breaks the creation of an object in another (its issue
/// 573; seen under load as CKR_GENERAL_ERROR from C_CreateObject, and as a new key with another
/// object's attributes). So whatever searches, makes or destroys objects does it one thread at a
/// time. Using keys does not, and nothing else is on the path of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Locking {
    /// For using keys whose handles are known: beside all other threads.
    Shared,
    /// For opening, closing, searching, making, destroying: one thread at a time.
    Exclusive,
}

/// The handles that a thread knows.
#[derive(Debug, Default)]
struct Handles {
    known: HashMap<(Role, KeyId), ObjectHandle>,
    /// Vending keys whose known handle gave their check value.
    proved: HashSet<KeyId>,
    /// All vending and mask keys of the token were listed once, so a search is for new keys only.
    listed: bool,
    /// How many of the token's destroyed keys were forgotten.
    destroyed_seen: usize,
}

/// One thread's session and its handles. The module owns the sessions of all threads, so that it
/// can close every one before it finalises: a stale session that is dropped later can close a new
/// one of the same number (hsm-facts, "Behaviours").
#[derive(Debug)]
pub(super) struct ThreadSession {
    access: Access,
    session: Option<Session>,
    /// Owns session objects that must outlive failed operations on `session`.
    key_session: Option<Session>,
    handles: Handles,
    /// What the operation under way asked for.
    requests: Requests,
}

/// What an operation asks for.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Requests {
    /// To be done again under [`Locking::Exclusive`].
    pub(super) exclusive: bool,
    /// That the session is closed afterwards, whatever the outcome.
    pub(super) close: bool,
}

impl ThreadSession {
    /// Nothing is open yet.
    pub(super) fn new(access: Access) -> ThreadSession {
        ThreadSession {
            access,
            session: None,
            key_session: None,
            handles: Handles::default(),
            requests: Requests::default(),
        }
    }

    /// Forgets the handles of keys that were destroyed since: a module may give their numbers to
    /// other keys.
    pub(super) fn forget_destroyed(&mut self, token: &Token) {
        let Handles { known, proved, destroyed_seen, .. } = &mut self.handles;
        *destroyed_seen = token.destroyed_since(*destroyed_seen, |id| {
            known.remove(&(Role::VendingKey, id));
            known.remove(&(Role::Mask, id));
            proved.remove(&id);
        });
    }

    /// Closes the session, and with it whatever operation it was in. Handles are the application's,
    /// not the session's (PKCS#11 v3.1 §2.4), and session keys belong to the key session: both
    /// stay.
    pub(super) fn close(&mut self) {
        self.session = None;
    }

    /// Closes the session and forgets all handles, so that everything is looked for again.
    pub(super) fn reset(&mut self) {
        self.close();
        self.handles.known.clear();
        self.handles.proved.clear();
        self.handles.listed = false;
    }

    /// Closes everything.
    pub(super) fn close_all(&mut self) {
        self.reset();
        self.key_session = None;
    }

    /// What the last operation asked for.
    pub(super) fn take_requests(&mut self) -> Requests {
        std::mem::take(&mut self.requests)
    }

    /// Begins an operation; opens a session and logs in where needed, which takes
    /// [`Locking::Exclusive`].
    pub(super) fn begin<'a>(
        &'a mut self,
        token: &'a Token,
        locking: Locking,
    ) -> Result<SessionGuard<'a>, HsmError> {
        self.requests = Requests::default();
        let session = match self.session.take() {
            Some(session) => session,
            None if locking == Locking::Shared => {
                self.requests.exclusive = true;
                return Err(HsmError::NotExclusive);
            }
            None => token.open(self.access)?,
        };
        let session = &*self.session.insert(session);
        let ThreadSession { key_session, handles, requests, .. } = self;
        Ok(SessionGuard { token, locking, session, key_session, handles, requests })
    }
}

/// A logged-in session with its handles, for the time of one operation.
pub(super) struct SessionGuard<'a> {
    token: &'a Token,
    locking: Locking,
    /// The session.
    pub(super) session: &'a Session,
    key_session: &'a mut Option<Session>,
    handles: &'a mut Handles,
    requests: &'a mut Requests,
}

impl SessionGuard<'_> {
    /// The handle of a key object (never a public key). Searches the token only where the cache
    /// does not know it.
    ///
    /// # Errors
    /// [`HsmError::KeyMissing`] only when the token answered otherwise; [`HsmError::KeyAmbiguous`].
    pub(super) fn handle(&mut self, role: Role, id: KeyId) -> Result<ObjectHandle, HsmError> {
        if let Some(handle) = self.handles.known.get(&(role, id)) {
            return Ok(*handle);
        }
        self.exclusive()?;
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

    /// The handle of a vending key, of which `check_value` proves at the first use that it is this
    /// key: a module that mixes up its objects would give tokens that no meter takes.
    ///
    /// # Errors
    /// [`HsmError::KeyUntrusted`]; as [`SessionGuard::handle`].
    pub(super) fn proved_handle(
        &mut self,
        key: &VendingKey,
        check_value: impl FnOnce(&Self, ObjectHandle) -> Result<[u8; 3], HsmError>,
    ) -> Result<ObjectHandle, HsmError> {
        let handle = self.handle(Role::VendingKey, key.id)?;
        if !self.handles.proved.contains(&key.id) {
            if check_value(self, handle)? != key.kcv {
                let mismatch = Mismatch::Kcv;
                return Err(HsmError::KeyUntrusted { role: Role::VendingKey, id: key.id, mismatch });
            }
            self.handles.proved.insert(key.id);
        }
        Ok(handle)
    }

    /// The handle of one of the server's own keys.
    ///
    /// # Errors
    /// [`HsmError::NotSetUp`] on a module that was started without them; as
    /// [`SessionGuard::handle`].
    pub(super) fn own(&mut self, role: Role) -> Result<ObjectHandle, HsmError> {
        let id = self.token.own_id(role).ok_or_else(|| HsmError::NotSetUp(vec![role]))?;
        self.handle(role, id)
    }

    /// The old generations of a server key that open uploads at this time.
    pub(super) fn old_keys(&self, role: Role, now_ms: i64) -> Vec<KeyId> {
        self.token.old_keys().into_iter().filter(|old| old.opens(role, now_ms)).map(|old| old.id).collect()
    }

    /// Which token this is.
    pub(super) fn token_id(&self) -> TokenId {
        self.token.id()
    }

    /// Finds all handles before a token needs one: `find` is never on the path of a token.
    pub(super) fn load_handles(&mut self) -> Result<(), HsmError> {
        if self.handles.listed {
            return Ok(());
        }
        self.exclusive()?;
        self.list()
    }

    /// Finds the handles of a key that was just made. A key without a mask has no handle for one.
    pub(super) fn load_handles_of(&mut self, id: KeyId) -> Result<(), HsmError> {
        for role in [Role::VendingKey, Role::Mask] {
            match self.handle(role, id) {
                Ok(_) | Err(HsmError::KeyMissing { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Finds the handles of all vending and mask keys in one pass: every search scans the whole
    /// token (hsm-facts §3).
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

    /// All vending and mask keys, session keys included; the id is None where it is no id of ours.
    /// Under [`Locking::Exclusive`].
    pub(super) fn key_objects(&self) -> Result<Vec<(Role, Option<KeyId>, ObjectHandle)>, HsmError> {
        let mut objects = Vec::new();
        for role in [Role::VendingKey, Role::Mask] {
            objects.extend(self.objects_of(role)?.into_iter().map(|(id, handle)| (role, id, handle)));
        }
        Ok(objects)
    }

    /// All key objects of a role; the id is None where it is no id of ours. Under
    /// [`Locking::Exclusive`].
    pub(super) fn objects_of(&self, role: Role) -> Result<Vec<(Option<KeyId>, ObjectHandle)>, HsmError> {
        let search = [Attribute::Class(role.class()), Attribute::Label(role.label().into())];
        let described = |handle| {
            // One that is destroyed by another process meanwhile has no attributes any more.
            let attributes = self.session.get_attributes(handle, &[AttributeType::Id]).unwrap_or_default();
            let id = attributes.into_iter().find_map(|attribute| match attribute {
                Attribute::Id(id) => id.try_into().ok().map(|id| role.id_of(KeyId(id))),
                _ => None,
            });
            (id, handle)
        };
        Ok(self.session.find_objects(&search)?.into_iter().map(described).collect())
    }

    /// All key objects of this role and id, without the cache. Scans the whole token. Under
    /// [`Locking::Exclusive`].
    pub(super) fn find(&self, role: Role, id: KeyId) -> Result<Vec<ObjectHandle>, HsmError> {
        let mut found = Vec::new();
        for id in role.cka_ids(id) {
            found.extend(self.session.find_objects(&[
                Attribute::Class(role.class()),
                Attribute::Id(id.0.to_vec()),
                Attribute::Label(role.label().into()),
            ])?);
        }
        Ok(found)
    }

    /// The public halves of an RSA key, which serve nothing. Under [`Locking::Exclusive`].
    pub(super) fn public_halves(&self, role: Role, id: KeyId) -> Result<Vec<ObjectHandle>, HsmError> {
        Ok(self.session.find_objects(&[
            Attribute::Class(ObjectClass::PUBLIC_KEY),
            Attribute::Id(id.0.to_vec()),
            Attribute::Label(role.label().into()),
        ])?)
    }

    /// Asks for [`Locking::Exclusive`] unless this is it: the operation breaks off here and is done
    /// again.
    pub(super) fn exclusive(&mut self) -> Result<(), HsmError> {
        match self.locking {
            Locking::Exclusive => Ok(()),
            Locking::Shared => {
                self.requests.exclusive = true;
                Err(HsmError::NotExclusive)
            }
        }
    }

    /// Asks for the session to be closed after this operation, also when it succeeds.
    pub(super) fn close_after(&mut self) {
        self.requests.close = true;
    }

    /// Tells all threads, this one included, to forget the handles of a key that was destroyed.
    pub(super) fn forget(&mut self, id: KeyId) {
        self.handles.known.remove(&(Role::VendingKey, id));
        self.handles.known.remove(&(Role::Mask, id));
        self.handles.proved.remove(&id);
        self.token.note_destroyed(id);
    }

    /// Why an object is not found: a lost login hides private objects, and a lost token hides all.
    fn missing(&mut self, role: Role, id: KeyId) -> HsmError {
        if role == Role::RowSeal {
            return HsmError::KeyMissing { role, id };
        }
        match self.check_token() {
            Ok(()) => HsmError::KeyMissing { role, id },
            Err(error) => error,
        }
    }

    /// One HMAC by the row-seal key, a *token* key: session keys survive a lost token and would
    /// hide it. It must be the same as before. Of a token without own keys (`Token::use_own_keys`)
    /// the session's state must do.
    pub(super) fn check_token(&mut self) -> Result<(), HsmError> {
        self.logged_in()?;
        if let Some(id) = self.token.own_id(Role::RowSeal) {
            let key = self.handle(Role::RowSeal, id)?;
            let mac = self.hmac(key, b"vendkey token check")?;
            if !self.token.answers_as_before(id, &mac) {
                return Err(HsmError::Nonsense("another MAC of the same message than before"));
            }
        }
        Ok(())
    }

    /// CKM_SHA256_HMAC.
    pub(super) fn hmac(&self, key: ObjectHandle, message: &[u8]) -> Result<Zeroizing<[u8; 32]>, HsmError> {
        let mac = self.secret_hmac(key, message)?;
        let mut fixed = Zeroizing::new([0; 32]);
        fixed.copy_from_slice(&mac);
        Ok(fixed)
    }

    /// The same where the MAC is a secret: it is in one place, which is wiped. An array would leave
    /// a copy on the stack wherever it is moved.
    pub(super) fn secret_hmac(
        &self,
        key: ObjectHandle,
        message: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, HsmError> {
        let mac = Zeroizing::new(self.session.sign(&Mechanism::Sha256Hmac, key, message)?);
        if mac.len() == 32 { Ok(mac) } else { Err(HsmError::Nonsense("a MAC of the wrong length")) }
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
    pub(super) fn key_session(&mut self) -> Result<&Session, HsmError> {
        self.exclusive()?;
        let session = match self.key_session.take() {
            Some(session) => session,
            None => self.token.open(Access::ReadOnly)?,
        };
        Ok(self.key_session.insert(session))
    }
}
