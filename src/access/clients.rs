//! Who decides about clients, and what he may decide.
//!
//! The rules: only what one may grant oneself is given to others; nobody changes his own rights or limits; a credential gives all
//! that its client may do, so that giving one is granting that. The store adds that nobody locks everybody out.

use std::sync::Arc;

use super::{Caller, Credential, CredentialError, Denied, KeyId};
use crate::{
    clock::Clock,
    store::{
        Client, ClientAct, ClientChange, ClientError, ClientId, ClientRefusal,
        Credential as StoredCredential, CredentialChange, Limits, NewClient, NewCredential, Proof, Rights,
        Store,
    },
};

/// The acts on clients.
pub struct Clients {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    /// How many must be left who can give every right back.
    keepers: u32,
}

/// Why an act on a client is refused.
#[derive(Debug, thiserror::Error)]
pub enum ClientsError {
    /// The caller may not.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The store says no.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// No secret can be made.
    #[error(transparent)]
    Secret(#[from] CredentialError),
}

/// How a new credential will be proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewProof {
    /// By a secret that the server makes and tells once.
    Made,
    /// By a secret that its holder made: the server learns its hash.
    Held {
        /// The public half.
        key_id: KeyId,
        /// SHA-256 of the secret's 32 bytes.
        secret_sha256: [u8; 32],
    },
    /// By a certificate in the handshake.
    Certificate(KeyId),
}

/// A credential to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialOrder {
    /// For whom.
    pub client: ClientId,
    /// How it will be proven.
    pub proof: NewProof,
    /// When it ends; `None`: never.
    pub expires_ms: Option<i64>,
}

impl Clients {
    /// Over a store in which so many must be left who can give every right back.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, keepers: u32) -> Self {
        Self { store, clock, keepers }
    }

    /// The store, for what needs no rule of ours: lists and single rows.
    pub fn store(&self) -> &dyn Store {
        self.store.as_ref()
    }

    /// Creates a client that may do no more than the caller may grant.
    ///
    /// # Errors
    /// [`ClientsError`].
    pub async fn create(
        &self,
        caller: &Caller,
        id: ClientId,
        display_name: String,
        rights: Rights,
        limits: Limits,
    ) -> Result<Client, ClientsError> {
        caller.may_grant(None, &rights)?;
        let (actor, now_ms) = (caller.actor(), self.clock.now_ms());
        let new = NewClient { id, display_name, rights, limits, actor, now_ms };
        Ok(self.store.create_client(new).await?)
    }

    /// Replaces what is not fixed of a client, if it still is as the caller read it.
    ///
    /// # Errors
    /// [`ClientsError`].
    pub async fn update(
        &self,
        caller: &Caller,
        id: ClientId,
        change: ClientChange,
    ) -> Result<Client, ClientsError> {
        self.may_update(caller, id, &change).await?;
        Ok(self.store.change_client(id, change, self.act(caller)).await?)
    }

    /// Refuses a change that the caller may not make; answers the client as it is.
    ///
    /// # Errors
    /// [`ClientsError`].
    pub async fn may_update(
        &self,
        caller: &Caller,
        id: ClientId,
        change: &ClientChange,
    ) -> Result<Client, ClientsError> {
        let old = self.client(id).await?;
        if let ClientChange::Replace { version, display_name, rights, limits } = change {
            if (display_name, rights, limits) == (&old.display_name, &old.rights, &old.limits) {
                // Done already, as by a call that is repeated.
                return Ok(old);
            }
            if *version != old.version {
                return Err(ClientError::from(ClientRefusal::Changed { found: old.version }).into());
            }
            if id == caller.client && (*rights != old.rights || *limits != old.limits) {
                return Err(Denied::Own.into());
            }
            caller.may_grant(Some(&old.rights), rights)?;
            if limits.raises(&old.limits) {
                caller.may_grant(None, rights)?;
            }
        }
        Ok(old)
    }

    /// Enables or disables a client.
    ///
    /// # Errors
    /// [`ClientsError`].
    pub async fn set_enabled(
        &self,
        caller: &Caller,
        id: ClientId,
        enabled: bool,
    ) -> Result<Client, ClientsError> {
        if enabled {
            self.may_revive(caller, id).await?;
        }
        Ok(self.store.change_client(id, ClientChange::Enabled(enabled), self.act(caller)).await?)
    }

    /// Gives a client one more credential; the secret too, if it was made here.
    ///
    /// # Errors
    /// [`ClientsError`].
    pub async fn create_credential(
        &self,
        caller: &Caller,
        order: CredentialOrder,
    ) -> Result<(StoredCredential, Option<Credential>), ClientsError> {
        self.may_revive(caller, order.client).await?;
        let (key_id, proof, secret) = match order.proof {
            NewProof::Made => {
                let made = Credential::generate()?;
                (made.key_id().clone(), Proof::Secret(made.hash().0), Some(made))
            }
            NewProof::Held { key_id, secret_sha256 } => (key_id, Proof::Secret(secret_sha256), None),
            NewProof::Certificate(key_id) => (key_id, Proof::Certificate, None),
        };
        let new = NewCredential {
            key_id: key_id.to_string(),
            client: order.client,
            proof,
            expires_ms: order.expires_ms,
            actor: caller.actor(),
            now_ms: self.clock.now_ms(),
        };
        Ok((self.store.create_credential(new).await?, secret))
    }

    /// Enables or disables a credential, or says when it ends.
    ///
    /// # Errors
    /// [`ClientsError`].
    pub async fn change_credential(
        &self,
        caller: &Caller,
        key_id: &KeyId,
        change: CredentialChange,
    ) -> Result<StoredCredential, ClientsError> {
        self.revived(caller, key_id, change).await?;
        Ok(self.store.change_credential(key_id.as_str(), change, self.act(caller)).await?)
    }

    /// The client to which a change of its credential gives back what it may do; none if the change takes rather than gives.
    ///
    /// # Errors
    /// [`ClientsError`]: the caller may not.
    pub async fn revived(
        &self,
        caller: &Caller,
        key_id: &KeyId,
        change: CredentialChange,
    ) -> Result<Option<Client>, ClientsError> {
        let found = self.store.credential(key_id.as_str()).await.map_err(ClientError::from)?;
        let holder = found.ok_or_else(|| ClientRefusal::CredentialNotFound(key_id.to_string()));
        let holder = holder.map_err(ClientError::from)?;
        let revives = match change {
            CredentialChange::Enabled(enabled) => enabled && !holder.credential.enabled,
            CredentialChange::Expires(end) => match (end, holder.credential.expires_ms) {
                (_, None) => false,
                (None, Some(_)) => true,
                (Some(end), Some(old)) => end > old,
            },
        };
        if revives { Ok(Some(self.may_revive(caller, holder.client.id).await?)) } else { Ok(None) }
    }

    /// Whoever gets a credential of a client gets all its rights, so they must be the caller's to grant; one's own are nobody's gift.
    /// Answers the client.
    ///
    /// # Errors
    /// [`ClientsError`].
    pub async fn may_revive(&self, caller: &Caller, id: ClientId) -> Result<Client, ClientsError> {
        let client = self.client(id).await?;
        if id != caller.client {
            caller.may_grant(None, &client.rights)?;
        }
        Ok(client)
    }

    async fn client(&self, id: ClientId) -> Result<Client, ClientError> {
        Ok(self.store.client(id).await?.ok_or(ClientRefusal::NotFound(id))?)
    }

    fn act(&self, caller: &Caller) -> ClientAct {
        ClientAct { actor: caller.actor(), now_ms: self.clock.now_ms(), keepers: self.keepers }
    }
}
