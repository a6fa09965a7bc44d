//! The chain of records, for auditors.

use super::{Acts, Reason, Refusal};
use crate::{envelope::PublicKey, store::Records};

/// The last checkpoint, and the key that signed it.
#[derive(Debug)]
pub struct LastCheckpoint {
    /// As it was signed; empty before the first.
    pub text: String,
    /// The audit key.
    pub audit_key: PublicKey,
    /// Its fingerprint.
    pub fingerprint: String,
}

impl Acts {
    /// At most `size` records after a position, with or without the meters in them.
    ///
    /// # Errors
    /// What the store says.
    pub async fn list_events(&self, after: u64, size: u32, meters: bool) -> Result<Records, Refusal> {
        Ok(self.store.records(after, size as usize, meters).await?)
    }

    /// The last checkpoint.
    ///
    /// # Errors
    /// What the HSM and the store say.
    pub async fn checkpoint(&self) -> Result<LastCheckpoint, Refusal> {
        let past = self.store.past().await?;
        let key = self.vending.hsm().audit_public_key().await?;
        let audit_key = PublicKey::parse(&key.spki_der)
            .map_err(|_| Refusal::new(Reason::Internal, "the audit key is no RSA public key"))?;
        Ok(LastCheckpoint {
            text: past.checkpoint.unwrap_or_default(),
            audit_key,
            fingerprint: key.fingerprint,
        })
    }
}
