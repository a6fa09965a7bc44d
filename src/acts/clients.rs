//! Clients, and who decides about them.
//!
//! The rules: only what one may grant oneself is given to others; nobody changes their own rights
//! or limits; a credential gives all that its client may do, so that giving one is granting that.
//! The store adds that nobody locks everybody out.

use super::{Act, Acts, CreateClient, EnableClient, Refusal, UpdateClient, client_summary};
use crate::{
    access::{
        Caller, Denied,
        client::{Client, ClientAct, ClientChange, ClientRefusal, CredentialHolder, NewClient},
    },
    id::ClientId,
    store::{Page, PageRequest},
};

impl Acts {
    /// Makes a client that may do no more than the caller may grant. The very same one again is
    /// found.
    ///
    /// # Errors
    /// APPROVAL_PENDING; PERMISSION_DENIED; NAME_TAKEN; what the store says.
    pub async fn create_client(&self, caller: &Caller, order: CreateClient) -> Result<Client, Refusal> {
        self.agreed(caller, self.creating(caller, &order), || Act::CreateClient(order.clone())).await?;
        self.client_created(caller, order).await
    }

    /// Makes a client without asking anybody.
    pub(super) async fn client_created(
        &self,
        caller: &Caller,
        order: CreateClient,
    ) -> Result<Client, Refusal> {
        let CreateClient { client: id, display_name, rights, limits } = order;
        caller.may_grant(None, &rights)?;
        let (actor, now_ms) = (caller.actor(), self.clock.now_ms());
        Ok(self.store.create_client(NewClient { id, display_name, rights, limits, actor, now_ms }).await?)
    }

    async fn creating(&self, caller: &Caller, order: &CreateClient) -> Result<Option<String>, Refusal> {
        if order.rights.may_do().is_empty() && order.rights.may_grant().is_empty() {
            return Ok(None);
        }
        caller.may_grant(None, &order.rights)?;
        // Made already: the answer is the client, or that the name is taken.
        let known = self.store.client(order.client).await?;
        Ok(known.is_none().then(|| client_summary::created(order)))
    }

    /// The client that calls, with the credential by which it did.
    ///
    /// # Errors
    /// CLIENT_NOT_FOUND; what the store says.
    pub async fn caller(&self, caller: &Caller) -> Result<CredentialHolder, Refusal> {
        let found = self.store.credential(caller.key_id.as_str()).await?;
        Ok(found.ok_or(ClientRefusal::NotFound(caller.client))?)
    }

    /// One client.
    ///
    /// # Errors
    /// CLIENT_NOT_FOUND; what the store says.
    pub async fn client(&self, id: ClientId) -> Result<Client, Refusal> {
        Ok(self.store.client(id).await?.ok_or(ClientRefusal::NotFound(id))?)
    }

    /// Clients in the order of their creation.
    ///
    /// # Errors
    /// What the store says.
    pub async fn list_clients(&self, page: PageRequest) -> Result<Page<Client>, Refusal> {
        Ok(self.store.list_clients(page).await?)
    }

    /// Replaces what is not fixed of a client.
    ///
    /// # Errors
    /// APPROVAL_PENDING; PERMISSION_DENIED; CLIENT_NOT_FOUND; CLIENT_CHANGED; LOCK_OUT; what the
    /// store says.
    pub async fn update_client(&self, caller: &Caller, order: UpdateClient) -> Result<Client, Refusal> {
        self.agreed(caller, self.updating(caller, &order), || Act::UpdateClient(order.clone())).await?;
        self.client_updated(caller, order).await
    }

    /// Updates a client without asking anybody.
    pub(super) async fn client_updated(
        &self,
        caller: &Caller,
        order: UpdateClient,
    ) -> Result<Client, Refusal> {
        self.may_update(caller, &order).await?;
        let UpdateClient { client, version, display_name, rights, limits } = order;
        let change = ClientChange::Replace { version, display_name, rights, limits };
        Ok(self.store.change_client(client, change, self.client_act(caller)).await?)
    }

    async fn updating(&self, caller: &Caller, order: &UpdateClient) -> Result<Option<String>, Refusal> {
        let old = self.may_update(caller, order).await?;
        let raises = order.rights.raises(&old.rights) || order.limits.raises(&old.limits);
        Ok(raises.then(|| client_summary::updated(&old, order)))
    }

    /// Refuses an update that the caller may not make; answers the client as it is.
    async fn may_update(&self, caller: &Caller, order: &UpdateClient) -> Result<Client, Refusal> {
        let old = self.client(order.client).await?;
        let UpdateClient { version, display_name, rights, limits, .. } = order;
        if (display_name, rights, limits) == (&old.display_name, &old.rights, &old.limits) {
            // Done already, as by a call that is repeated.
            return Ok(old);
        }
        if *version != old.version {
            return Err(ClientRefusal::Changed { found: old.version }.into());
        }
        if order.client == caller.client && (*rights != old.rights || *limits != old.limits) {
            return Err(Denied::Own.into());
        }
        caller.may_grant(Some(&old.rights), rights)?;
        if limits.raises(&old.limits) {
            caller.may_grant(None, rights)?;
        }
        Ok(old)
    }

    /// Lets the credentials of a client count again.
    ///
    /// # Errors
    /// APPROVAL_PENDING; PERMISSION_DENIED; CLIENT_NOT_FOUND; what the store says.
    pub async fn enable_client(&self, caller: &Caller, order: EnableClient) -> Result<Client, Refusal> {
        self.agreed(caller, self.enabling_client(caller, order.client), || Act::EnableClient(order)).await?;
        self.client_enabled(caller, order.client, true).await
    }

    async fn enabling_client(&self, caller: &Caller, id: ClientId) -> Result<Option<String>, Refusal> {
        let client = self.may_revive(caller, id).await?;
        let waits = !client.enabled && client_summary::matters(&client.rights);
        Ok(waits.then(|| client_summary::enabled(&client)))
    }

    /// Lets no credential of a client count.
    ///
    /// # Errors
    /// CLIENT_NOT_FOUND; LOCK_OUT; what the store says.
    pub async fn disable_client(&self, caller: &Caller, id: ClientId) -> Result<Client, Refusal> {
        self.client_enabled(caller, id, false).await
    }

    /// Enables or disables a client without asking anybody.
    pub(super) async fn client_enabled(
        &self,
        caller: &Caller,
        id: ClientId,
        enabled: bool,
    ) -> Result<Client, Refusal> {
        if enabled {
            self.may_revive(caller, id).await?;
        }
        Ok(self.store.change_client(id, ClientChange::Enabled(enabled), self.client_act(caller)).await?)
    }

    /// Whoever gets a credential of a client gets all its rights, so they must be the caller's to
    /// grant; one's own are nobody's gift. Answers the client.
    pub(super) async fn may_revive(&self, caller: &Caller, id: ClientId) -> Result<Client, Refusal> {
        let client = self.client(id).await?;
        if id != caller.client {
            caller.may_grant(None, &client.rights)?;
        }
        Ok(client)
    }

    /// In whose name a client or credential changes, and how many must be left who can give every
    /// right back.
    pub(super) fn client_act(&self, caller: &Caller) -> ClientAct {
        ClientAct { actor: caller.actor(), now_ms: self.clock.now_ms(), keepers: self.four_eyes.needed() }
    }
}
