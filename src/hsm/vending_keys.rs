//! Vending keys as objects of the token: made, looked at, destroyed.

use std::sync::Arc;

use async_trait::async_trait;

use super::capabilities::Capabilities;
use super::error::HsmError;
use super::import::{self, ImportedKey, KeyObject};
use super::keys::{KeyId, VendingKey, VendingKeyMaterial};
use super::module::ADMIN_SESSION;
use super::own_keys::{self, OwnKey};
use super::sealed::{self, SealedKey};
use super::service::Hsm;
use super::template::Lifetime;
use crate::crash;

/// Holds vending keys. What an import, a destruction and the inventory need of an HSM.
#[async_trait]
pub trait VendingKeys: Send + Sync {
    /// What the probes at start found.
    fn capabilities(&self) -> &Capabilities;

    /// Makes the token objects of a vending key under this id, and proves them: attributes read
    /// back, the value unreadable, check value and test derivations compared with software. Objects
    /// that are under this id already (a half import) are destroyed first. After an error nothing
    /// is left, unless the HSM itself was lost.
    ///
    /// # Errors
    /// [`HsmError::NotServed`]; [`HsmError::KeyUntrusted`] when the proof failed;
    /// [`HsmError::Busy`]; [`HsmError::Unavailable`].
    async fn import_vending_key(&self, id: KeyId, key: VendingKeyMaterial) -> Result<ImportedKey, HsmError>;

    /// The same of a key that the sealed server key opens: from its ciphertext to the token object
    /// inside the HSM. None: it does not open, or is not the key that its check values are of; why,
    /// nobody is told, and nothing is left of it.
    ///
    /// # Errors
    /// [`HsmError::NotServed`], [`HsmError::NotSetUp`]; [`HsmError::KeyUntrusted`];
    /// [`HsmError::Busy`]; [`HsmError::Unavailable`].
    async fn import_sealed_key(
        &self,
        id: KeyId,
        key: Arc<SealedKey>,
    ) -> Result<Option<ImportedKey>, HsmError>;

    /// Whether an import of this sealed key would succeed. Nothing is kept.
    ///
    /// # Errors
    /// As [`VendingKeys::import_sealed_key`].
    async fn opens_sealed_key(&self, key: Arc<SealedKey>) -> Result<bool, HsmError>;

    /// Destroys a vending key and its mask, and sees that they are gone. Of an id without objects:
    /// nothing to do.
    ///
    /// # Errors
    /// [`HsmError::Busy`], [`HsmError::Unavailable`].
    async fn destroy_vending_key(&self, id: KeyId) -> Result<(), HsmError>;

    /// Looks at a configuration's key objects: attributes, unreadable values, a derivation; answers
    /// the check value, made anew.
    ///
    /// # Errors
    /// [`HsmError::KeyMissing`], [`HsmError::KeyUntrusted`]; [`HsmError::Busy`],
    /// [`HsmError::Unavailable`].
    async fn inspect_vending_key(&self, key: VendingKey) -> Result<[u8; 3], HsmError>;

    /// All vending and mask keys in the token, for the report of those that no configuration knows.
    /// Scans the token.
    ///
    /// # Errors
    /// [`HsmError::Busy`], [`HsmError::Unavailable`].
    async fn key_objects(&self) -> Result<Vec<KeyObject>, HsmError>;

    /// The server's own keys.
    ///
    /// # Errors
    /// [`HsmError::Busy`], [`HsmError::Unavailable`].
    async fn own_keys(&self) -> Result<Vec<OwnKey>, HsmError>;
}

#[async_trait]
impl VendingKeys for Hsm {
    fn capabilities(&self) -> &Capabilities {
        &self.inner.capabilities
    }

    async fn import_vending_key(&self, id: KeyId, key: VendingKeyMaterial) -> Result<ImportedKey, HsmError> {
        self.on_admin_thread(move |module, capabilities| {
            let imported = module.with_session(ADMIN_SESSION, |guard| {
                import::import(guard, capabilities, id, &key, Lifetime::Token)
            })?;
            module.load_handles(Some(id));
            Ok(imported)
        })
        .await
    }

    async fn import_sealed_key(
        &self,
        id: KeyId,
        key: Arc<SealedKey>,
    ) -> Result<Option<ImportedKey>, HsmError> {
        self.on_admin_thread(move |module, capabilities| {
            let imported =
                module.with_session(ADMIN_SESSION, |guard| sealed::import(guard, capabilities, id, &key))?;
            if imported.is_some() {
                module.load_handles(Some(id));
            }
            Ok(imported)
        })
        .await
    }

    async fn opens_sealed_key(&self, key: Arc<SealedKey>) -> Result<bool, HsmError> {
        self.on_admin_session(move |guard, capabilities| sealed::opens(guard, capabilities, &key)).await
    }

    async fn destroy_vending_key(&self, id: KeyId) -> Result<(), HsmError> {
        self.on_admin_session(move |guard, _| {
            import::destroy_in_steps(guard, id, || crash::point("destroy-between-objects"))
        })
        .await
    }

    async fn inspect_vending_key(&self, key: VendingKey) -> Result<[u8; 3], HsmError> {
        self.on_admin_session(move |guard, capabilities| import::inspect(guard, capabilities, key)).await
    }

    async fn key_objects(&self) -> Result<Vec<KeyObject>, HsmError> {
        self.on_admin_session(|guard, _| import::key_objects(guard)).await
    }

    async fn own_keys(&self) -> Result<Vec<OwnKey>, HsmError> {
        self.on_admin_thread(|module, _| {
            let old = module.token().old_keys();
            let own = module.token().own_ids().into_iter().chain(old.iter().map(|old| (old.role, old.id)));
            let own: Vec<_> = own.collect();
            module.with_session(ADMIN_SESSION, |guard| {
                own.iter().map(|(role, id)| own_keys::described(guard, *role, *id)).collect()
            })
        })
        .await
    }
}
