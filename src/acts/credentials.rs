//! Credentials: what proves that a caller is a client.

use super::{
    Act, Acts, CreateCredential, EnableCredential, NewProof, Refusal, SetCredentialExpiry, client_summary,
};
use crate::{
    access::{
        Caller, Credential, KeyId,
        client::{
            Client, ClientRefusal, Credential as StoredCredential, CredentialChange, NewCredential, Proof,
        },
    },
    id::ClientId,
    store::{Page, PageRequest},
};

impl Acts {
    /// Gives a client one more credential; answers the secret too, if it was made here.
    ///
    /// # Errors
    /// APPROVAL_PENDING; PERMISSION_DENIED; CLIENT_NOT_FOUND; NAME_TAKEN; what the store says.
    pub async fn create_credential(
        &self,
        caller: &Caller,
        order: CreateCredential,
    ) -> Result<(StoredCredential, Option<Credential>), Refusal> {
        self.agreed(caller, self.crediting(caller, &order), || Act::CreateCredential(order.clone())).await?;
        self.credential_created(caller, order).await
    }

    /// Makes a credential without asking anybody.
    pub(super) async fn credential_created(
        &self,
        caller: &Caller,
        CreateCredential { client, proof, expires_ms }: CreateCredential,
    ) -> Result<(StoredCredential, Option<Credential>), Refusal> {
        self.may_revive(caller, client).await?;
        let (key_id, proof, secret) = match proof {
            NewProof::Made => {
                let made = Credential::generate().map_err(|error| {
                    tracing::error!(%error, "a credential cannot be made");
                    Refusal::internal()
                })?;
                (made.key_id().clone(), Proof::Secret(made.hash().0), Some(made))
            }
            NewProof::Held { key_id, secret_sha256 } => (key_id, Proof::Secret(secret_sha256), None),
            NewProof::Certificate(key_id) => (key_id, Proof::Certificate, None),
        };
        let new = NewCredential {
            key_id: key_id.to_string(),
            client,
            proof,
            expires_ms,
            actor: caller.actor(),
            now_ms: self.clock.now_ms(),
        };
        Ok((self.store.create_credential(new).await?, secret))
    }

    async fn crediting(&self, caller: &Caller, order: &CreateCredential) -> Result<Option<String>, Refusal> {
        let client = self.may_revive(caller, order.client).await?;
        if client.id == caller.client || !client_summary::matters(&client.rights) {
            return Ok(None);
        }
        let key_id = match &order.proof {
            NewProof::Held { key_id, .. } | NewProof::Certificate(key_id) => key_id,
            NewProof::Made => {
                let fault = "an act that waits can show no secret: let its holder make it (vendkey credential generate)";
                return Err(Refusal::field("held_secret", fault));
            }
        };
        let known = self.store.credential(key_id.as_str()).await?;
        Ok(known.is_none().then(|| client_summary::credited(&client, key_id)))
    }

    /// The credentials of a client in the order of their creation.
    ///
    /// # Errors
    /// CLIENT_NOT_FOUND; what the store says.
    pub async fn list_credentials(
        &self,
        client: ClientId,
        page: PageRequest,
    ) -> Result<Page<StoredCredential>, Refusal> {
        self.client(client).await?;
        Ok(self.store.list_credentials(client, page).await?)
    }

    /// Lets a credential count again.
    ///
    /// # Errors
    /// APPROVAL_PENDING; PERMISSION_DENIED; CREDENTIAL_NOT_FOUND; what the store says.
    pub async fn enable_credential(
        &self,
        caller: &Caller,
        order: EnableCredential,
    ) -> Result<StoredCredential, Refusal> {
        let change = CredentialChange::Enabled(true);
        let summary = self.reviving(caller, &order.credential, change);
        self.agreed(caller, summary, || Act::EnableCredential(order.clone())).await?;
        self.credential_changed(caller, &order.credential, change).await
    }

    /// Lets a credential count no more.
    ///
    /// # Errors
    /// CREDENTIAL_NOT_FOUND; LOCK_OUT; what the store says.
    pub async fn disable_credential(
        &self,
        caller: &Caller,
        credential: &KeyId,
    ) -> Result<StoredCredential, Refusal> {
        self.credential_changed(caller, credential, CredentialChange::Enabled(false)).await
    }

    /// Says when a credential ends.
    ///
    /// # Errors
    /// APPROVAL_PENDING; PERMISSION_DENIED; CREDENTIAL_NOT_FOUND; LOCK_OUT; what the store says.
    pub async fn set_credential_expiry(
        &self,
        caller: &Caller,
        order: SetCredentialExpiry,
    ) -> Result<StoredCredential, Refusal> {
        let change = CredentialChange::Expires(order.expires_ms);
        let summary = self.reviving(caller, &order.credential, change);
        self.agreed(caller, summary, || Act::SetCredentialExpiry(order.clone())).await?;
        self.credential_changed(caller, &order.credential, change).await
    }

    /// Changes a credential without asking anybody.
    pub(super) async fn credential_changed(
        &self,
        caller: &Caller,
        key_id: &KeyId,
        change: CredentialChange,
    ) -> Result<StoredCredential, Refusal> {
        self.revived(caller, key_id, change).await?;
        Ok(self.store.change_credential(key_id.as_str(), change, self.client_act(caller)).await?)
    }

    /// What bringing a credential back, or letting it live longer, would do.
    async fn reviving(
        &self,
        caller: &Caller,
        key_id: &KeyId,
        change: CredentialChange,
    ) -> Result<Option<String>, Refusal> {
        let Some(holder) = self.revived(caller, key_id, change).await? else { return Ok(None) };
        let waits = holder.id != caller.client && client_summary::matters(&holder.rights);
        Ok(waits.then(|| client_summary::revived(&holder, key_id, change)))
    }

    /// The client to which a change of its credential gives back what it may do; none if the change
    /// takes rather than gives.
    async fn revived(
        &self,
        caller: &Caller,
        key_id: &KeyId,
        change: CredentialChange,
    ) -> Result<Option<Client>, Refusal> {
        let found = self.store.credential(key_id.as_str()).await?;
        let holder = found.ok_or_else(|| ClientRefusal::CredentialNotFound(key_id.to_string()))?;
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
}
