//! The audit key: signs checkpoints of the chain.

use async_trait::async_trait;

use super::error::HsmError;
use super::keys::Role;
use super::own_keys::{self, ServerKey};
use super::service::Hsm;

/// Signs checkpoints.
#[async_trait]
pub trait AuditKey: Send + Sync {
    /// The public half of the audit key, which verifies checkpoints.
    ///
    /// # Errors
    /// [`HsmError::Busy`], [`HsmError::Unavailable`], [`HsmError::KeyMissing`].
    async fn audit_public_key(&self) -> Result<ServerKey, HsmError>;

    /// Signs an audit checkpoint: RSASSA-PSS, SHA-256, salt of 32 bytes.
    ///
    /// # Errors
    /// [`HsmError::Busy`], [`HsmError::Unavailable`].
    async fn sign_checkpoint(&self, message: &[u8]) -> Result<Vec<u8>, HsmError>;
}

#[async_trait]
impl AuditKey for Hsm {
    async fn audit_public_key(&self) -> Result<ServerKey, HsmError> {
        self.public_key(Role::Audit).await
    }

    async fn sign_checkpoint(&self, message: &[u8]) -> Result<Vec<u8>, HsmError> {
        let message = message.to_vec();
        self.on_admin_session(move |guard, _| {
            let key = guard.own(Role::Audit)?;
            own_keys::sign(guard, key, &message)
        })
        .await
    }
}
