//! The contract: what a caller may ask of a store, and what an answer means.
//!
//! Every method may fail with [`StoreError::Busy`] at once when too much waits already: nothing was
//! done then.

mod access;
mod audit;
mod configurations;
mod ledger;

use async_trait::async_trait;

use super::StoreError;
use crate::clock::SignOfLife;

pub use access::{ApprovalStore, ClientStore};
pub use audit::{AuditStore, ServerStore};
pub use configurations::{ConfigurationStore, KeyChangeStore, PublicKeyStore};
pub use ledger::{LedgerStore, VerificationStore};

/// Everything that Vendkey remembers.
pub trait Store:
    HealthStore
    + ConfigurationStore
    + PublicKeyStore
    + ClientStore
    + KeyChangeStore
    + LedgerStore
    + VerificationStore
    + AuditStore
    + ApprovalStore
    + ServerStore
{
}

impl<S> Store for S where
    S: HealthStore
        + ConfigurationStore
        + PublicKeyStore
        + ClientStore
        + KeyChangeStore
        + LedgerStore
        + VerificationStore
        + AuditStore
        + ApprovalStore
        + ServerStore
{
}

/// Whether the store writes.
#[async_trait]
pub trait HealthStore: Send + Sync {
    /// Writes a sign of life durably: the next start measures the clock by it, and health learns
    /// what a token would meet (a full disk, a lost volume).
    ///
    /// # Errors
    /// [`StoreError`].
    async fn probe(&self, sign: SignOfLife) -> Result<(), StoreError>;
}

#[cfg(test)]
pub(super) mod tests;
