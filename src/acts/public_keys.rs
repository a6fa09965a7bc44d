//! The keys that sign uploads.

use super::{Act, Acts, EnablePublicKey, Reason, Refusal, RegisterPublicKey};
use crate::{
    access::Caller,
    configuration::{PublicKey, Registered},
    id::PublicKeyId,
    store::{Page, PageRequest},
};

impl Acts {
    /// Registers a key that will sign uploads of the caller; one that the caller registered already
    /// is answered again.
    ///
    /// # Errors
    /// APPROVAL_PENDING; PUBLIC_KEY_INVALID if it is another client's; what the store says.
    pub async fn register_public_key(
        &self,
        caller: &Caller,
        order: RegisterPublicKey,
    ) -> Result<PublicKey, Refusal> {
        self.agreed(caller, self.registering(caller, &order), || Act::RegisterPublicKey(order.clone()))
            .await?;
        self.public_key_registered(caller, order).await
    }

    /// Registers a key without asking anybody.
    pub(super) async fn public_key_registered(
        &self,
        caller: &Caller,
        RegisterPublicKey { display_name, public_key }: RegisterPublicKey,
    ) -> Result<PublicKey, Refusal> {
        let now_ms = self.clock.now_ms();
        let new = PublicKey {
            id: PublicKeyId::generate(),
            owner: caller.client,
            display_name,
            spki: public_key.spki_der().to_vec(),
            fingerprint: *public_key.fingerprint().as_bytes(),
            bits: u32::try_from(public_key.bits()).unwrap_or_default(),
            enabled: true,
            created_ms: now_ms,
            updated_ms: now_ms,
        };
        let registered = self.store.register_public_key(new, caller.actor()).await?;
        let (Registered::New(row) | Registered::Existing(row)) = registered;
        if row.owner != caller.client {
            let fault = ("public_key".to_owned(), "another client registered this key".to_owned());
            return Err(Refusal::fields(Reason::PublicKeyInvalid, vec![fault]));
        }
        Ok(row)
    }

    /// What registering would do; nothing if this client registered the key before.
    async fn registering(
        &self,
        caller: &Caller,
        order: &RegisterPublicKey,
    ) -> Result<Option<String>, Refusal> {
        let RegisterPublicKey { display_name, public_key } = order;
        let known = self.store.enabled_public_keys(caller.client).await?;
        if known.iter().any(|known| known.fingerprint == *public_key.fingerprint().as_bytes()) {
            return Ok(None);
        }
        let (bits, fingerprint) = (public_key.bits(), public_key.fingerprint());
        Ok(Some(format!(
            "register public key {display_name:?} (RSA of {bits} bits, fingerprint {fingerprint}), which will sign uploads of the client that asks"
        )))
    }

    /// One key.
    ///
    /// # Errors
    /// PUBLIC_KEY_NOT_FOUND; what the store says.
    pub async fn public_key(&self, id: PublicKeyId) -> Result<PublicKey, Refusal> {
        self.store.public_key(id).await?.ok_or_else(|| not_found(id))
    }

    /// Keys in the order of their registration.
    ///
    /// # Errors
    /// What the store says.
    pub async fn list_public_keys(&self, page: PageRequest) -> Result<Page<PublicKey>, Refusal> {
        Ok(self.store.list_public_keys(page).await?)
    }

    /// Lets a disabled key sign again.
    ///
    /// # Errors
    /// APPROVAL_PENDING; PUBLIC_KEY_NOT_FOUND; what the store says.
    pub async fn enable_public_key(
        &self,
        caller: &Caller,
        order: EnablePublicKey,
    ) -> Result<PublicKey, Refusal> {
        self.agreed(caller, self.enabling_key(order.public_key), || Act::EnablePublicKey(order)).await?;
        self.public_key_enabled(caller, order.public_key, true).await
    }

    async fn enabling_key(&self, id: PublicKeyId) -> Result<Option<String>, Refusal> {
        let key = self.public_key(id).await?;
        let PublicKey { display_name, owner, .. } = &key;
        let fingerprint = hex::encode(key.fingerprint);
        Ok((!key.enabled).then(|| {
            format!(
                "enable public key {display_name:?} (publicKeys/{id}, fingerprint {fingerprint}): it signs uploads of clients/{owner}"
            )
        }))
    }

    /// Takes a key away from those who sign.
    ///
    /// # Errors
    /// PUBLIC_KEY_NOT_FOUND; what the store says.
    pub async fn disable_public_key(&self, caller: &Caller, id: PublicKeyId) -> Result<PublicKey, Refusal> {
        self.public_key_enabled(caller, id, false).await
    }

    /// Enables or disables a key without asking anybody.
    pub(super) async fn public_key_enabled(
        &self,
        caller: &Caller,
        id: PublicKeyId,
        enabled: bool,
    ) -> Result<PublicKey, Refusal> {
        let now_ms = self.clock.now_ms();
        let changed = self.store.set_public_key_enabled(id, enabled, caller.actor(), now_ms).await?;
        changed.ok_or_else(|| not_found(id))
    }
}

fn not_found(id: PublicKeyId) -> Refusal {
    Refusal::new(Reason::PublicKeyNotFound, format!("there is no public key {id}"))
}
