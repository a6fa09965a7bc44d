//! The row-seal key: an HMAC over rows that decide.

use std::fmt;

use super::error::HsmError;
use super::keys::{Role, SealKeyId};
use super::module::SEAL_SESSION;
use super::own_keys::{self, ROW_SEAL_DOMAIN};
use super::service::Hsm;

/// Seals rows.
pub trait RowSealKey: fmt::Debug + Send + Sync {
    /// The seal of a row: HMAC-SHA-256 by the row-seal key. Blocks, so it is not for async code;
    /// has a thread of its own, so that it never waits for an RSA operation.
    ///
    /// # Errors
    /// [`HsmError::Busy`], [`HsmError::Unavailable`], [`HsmError::Timeout`].
    fn seal_row(&self, message: &[u8]) -> Result<[u8; 32], HsmError>;

    /// Which key that is.
    fn seal_key_id(&self) -> SealKeyId;
}

impl RowSealKey for Hsm {
    fn seal_key_id(&self) -> SealKeyId {
        self.inner.seal_key
    }

    fn seal_row(&self, message: &[u8]) -> Result<[u8; 32], HsmError> {
        let message = message.to_vec();
        let (answer, answered) = flume::bounded(1);
        self.queue_seal(Box::new(move |module, _| {
            let sealed = module.with_session(SEAL_SESSION, |guard| {
                let key = guard.own(Role::RowSeal)?;
                own_keys::seal(guard, key, ROW_SEAL_DOMAIN, &message)
            });
            let _ = answer.send(sealed);
        }))?;
        let timeout = self.inner.module.settings().answer_timeout;
        answered.recv_timeout(timeout).unwrap_or(Err(HsmError::Timeout(timeout)))
    }
}
