//! Vending keys as session objects, for vectors and demonstrations.

use super::admin::AdminJob;
use super::error::HsmError;
use super::import::{self, ImportedKey, fill_random};
use super::keys::{KeyId, VendingKey, VendingKeyMaterial};
use super::module::ADMIN_SESSION;
use super::service::Hsm;
use super::template::Lifetime;

/// A vending key that lives as a session object, as long as this value.
#[derive(Debug)]
pub struct SessionKey {
    imported: ImportedKey,
    hsm: Hsm,
}

impl SessionKey {
    /// What deriving needs.
    pub fn key(&self) -> VendingKey {
        self.imported.key
    }

    /// Its check value.
    pub fn kcv(&self) -> [u8; 3] {
        self.imported.kcv
    }
}

impl Drop for SessionKey {
    fn drop(&mut self) {
        let id = self.imported.key.id;
        let destroy: AdminJob = Box::new(move |module, _| {
            if let Err(error) = module.with_session(ADMIN_SESSION, |guard| import::destroy(guard, id)) {
                tracing::warn!(%error, "a session key lives until the process ends");
            }
        });
        if let Err(error) = self.hsm.queue_admin(destroy) {
            tracing::warn!(%error, "a session key lives until the process ends");
        }
    }
}

impl Hsm {
    /// A vending key as a session object, proved as an imported one: for vectors and
    /// demonstrations. It is gone when the answer is dropped, when the module had to be healed, and
    /// when the process ends.
    ///
    /// # Errors
    /// As [`VendingKeys::import_vending_key`](super::VendingKeys::import_vending_key).
    pub async fn import_session_key(&self, key: VendingKeyMaterial) -> Result<SessionKey, HsmError> {
        let mut id = [0; 16];
        fill_random(&mut id)?;
        id[0] &= 0x7f; // as in the ids of configurations
        let id = KeyId(id);
        let imported = self
            .on_admin_session(move |guard, capabilities| {
                import::import(guard, capabilities, id, &key, Lifetime::Session)
            })
            .await?;
        Ok(SessionKey { imported, hsm: self.clone() })
    }
}
