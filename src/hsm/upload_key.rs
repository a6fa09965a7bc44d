//! The server keys and the fingerprint key: what opens an upload and knows it again.

use async_trait::async_trait;

use super::error::HsmError;
use super::keys::{KeyId, Role, TokenId};
use super::own_keys::{self, ServerKey};
use super::seal_suite::SealSuite;
use super::service::Hsm;
use super::unwrap;
use crate::secret::SecretBytes;

/// The public half of the sealed server key, and how to encrypt to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealingKey {
    /// Its CKA_ID.
    pub id: KeyId,
    /// The key.
    pub key: ServerKey,
    /// The suites that the HSM was seen to open, best first; none where it opens none.
    pub suites: Vec<SealSuite>,
}

/// Opens uploads. What an import needs of an HSM before it has a vending key.
#[async_trait]
pub trait UploadKey: Send + Sync {
    /// The public half of the legacy server key, to which uploads are encrypted.
    ///
    /// # Errors
    /// [`HsmError::Busy`], [`HsmError::Unavailable`], [`HsmError::KeyMissing`].
    async fn server_key(&self) -> Result<ServerKey, HsmError>;

    /// The public half of the sealed server key, to which sealed uploads are encrypted; none on a
    /// token that was set up before there were any.
    ///
    /// # Errors
    /// [`HsmError::Busy`], [`HsmError::Unavailable`].
    async fn sealing_key(&self) -> Result<Option<SealingKey>, HsmError>;

    /// The sealing keys of all tokens that answer, the first one's first; old ones whose time is not
    /// over at `now_ms` (milliseconds since 1970) come behind the new one of their token, without
    /// suites.
    ///
    /// # Errors
    /// As [`UploadKey::sealing_key`], of the first token.
    async fn sealing_keys(&self, now_ms: i64) -> Result<Vec<(TokenId, SealingKey)>, HsmError>;

    /// Opens a legacy upload: `wrapped_key` is the RSA-wrapped AES key, `data` the IV (16 bytes)
    /// and the AES-128-CBC ciphertext. Old generations of the server key open it too whose time is
    /// not over at `now_ms` (milliseconds since 1970). Answers every plaintext that they may mean:
    /// none when anything is wrong, and never why. The caller finds the right one by the signed
    /// digest.
    ///
    /// # Errors
    /// [`HsmError::Busy`], [`HsmError::Unavailable`], [`HsmError::NotServed`]: nothing that depends
    /// on the upload.
    async fn open_legacy(
        &self,
        wrapped_key: Vec<u8>,
        data: Vec<u8>,
        now_ms: i64,
    ) -> Result<Vec<SecretBytes>, HsmError>;

    /// HMAC-SHA-256 by the fingerprint key over `domain`, a zero byte and `data`: a hash that only
    /// this token can make, so no test of guesses for whoever steals it. Secret data must be in
    /// memory that wipes itself.
    ///
    /// # Errors
    /// [`HsmError::Busy`], [`HsmError::Unavailable`].
    async fn fingerprint(&self, domain: &'static str, data: &[u8]) -> Result<[u8; 32], HsmError>;
}

#[async_trait]
impl UploadKey for Hsm {
    async fn server_key(&self) -> Result<ServerKey, HsmError> {
        self.public_key(Role::Legacy).await
    }

    async fn sealing_key(&self) -> Result<Option<SealingKey>, HsmError> {
        let Some(id) = self.inner.module.token().own_id(Role::Sealed) else { return Ok(None) };
        let suites = self.inner.capabilities.seal_suites().collect();
        Ok(Some(SealingKey { id, key: self.public_key(Role::Sealed).await?, suites }))
    }

    async fn sealing_keys(&self, now_ms: i64) -> Result<Vec<(TokenId, SealingKey)>, HsmError> {
        let mut keys: Vec<SealingKey> = self.sealing_key().await?.into_iter().collect();
        for old in self.old_keys().into_iter().filter(|old| old.opens(Role::Sealed, now_ms)) {
            let read = self.on_admin_session(move |guard, _| {
                let key = guard.handle(old.role, old.id)?;
                own_keys::server_key(guard, key)
            });
            match read.await {
                Ok(key) => keys.push(SealingKey { id: old.id, key, suites: Vec::new() }),
                // Another server has destroyed it.
                Err(HsmError::KeyMissing { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(keys.into_iter().map(|key| (self.inner.token, key)).collect())
    }

    async fn open_legacy(
        &self,
        wrapped_key: Vec<u8>,
        data: Vec<u8>,
        now_ms: i64,
    ) -> Result<Vec<SecretBytes>, HsmError> {
        self.on_admin_session(move |guard, capabilities| {
            unwrap::open_legacy(guard, capabilities, &wrapped_key, &data, now_ms)
        })
        .await
    }

    async fn fingerprint(&self, domain: &'static str, data: &[u8]) -> Result<[u8; 32], HsmError> {
        let data = SecretBytes::copy_of(data)?;
        self.on_admin_session(move |guard, _| {
            let key = guard.own(Role::Fingerprint)?;
            own_keys::seal(guard, key, domain, &data)
        })
        .await
    }
}
