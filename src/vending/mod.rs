//! The acts: importing a configuration, issuing a token. Policy and the clock's rules live here.

mod believed;
pub(crate) mod configurations;
mod destruction;
mod encryption;
mod error;
mod import;
mod issue;
mod issue_guard;
mod key_change;
mod policy;
mod restore;
mod stop;
#[cfg(test)]
mod tests;
mod verify;

use std::sync::Arc;

use tokio::sync::{Mutex, OnceCell};

pub use believed::Proof;
pub use configurations::Known;
pub use destruction::DestroyError;
pub use encryption::{IssuedToken, RecordedOrders};
pub use error::{EnableError, IssueError, KeyChangeRefused, Unusable, UploadError, VerifyError};
pub use import::Uploaded;
pub use issue::{Asked, IssueOrder, MeterNumber};
pub use issue_guard::IssueGuard;
pub use key_change::{IssuedKeyChange, KeyChangeOrder};
pub use policy::Policy;
pub use restore::{LedgerDoubt, RestoreError, lacking};
pub use stop::Stop;
pub use verify::{Verdict, Verified, VerifyOrder, section_fields};

use crate::{
    access::Caller,
    clock::Clock,
    configuration::{AllowedKeyChange, FinishedState, KeyChangePair},
    envelope::PublicKey,
    hsm::{AuditKey, DecoderKeys, SealSuite, UploadKey},
    selftest::Latch,
    settings::VendingSettings,
    store::{KeyChangePairError, Store, StoreError},
};

/// What the acts need of an HSM.
pub trait VendingHsm: DecoderKeys + UploadKey + AuditKey {}

impl<T: DecoderKeys + UploadKey + AuditKey> VendingHsm for T {}

/// The HSM, the store and the rules, put together.
pub struct Vending {
    hsm: Arc<dyn VendingHsm>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    guard: Arc<IssueGuard>,
    policy: Policy,
    configurations: configurations::KnownConfigurations,
    server_key: OnceCell<PublicKey>,
    sealing_key: OnceCell<Option<(PublicKey, Vec<SealSuite>)>>,
    /// Whether uploads of the legacy format are taken.
    legacy_uploads: bool,
    /// One import at a time, so that two uploads of one text make one key object.
    importing: Mutex<()>,
    /// A failed self-test: nothing is issued any more.
    selftest: Latch,
    /// The state in which a configuration that can issue begins its life.
    uploads_start: FinishedState,
}

impl Vending {
    /// Over an HSM and a store that were opened.
    pub fn new(
        hsm: Arc<dyn VendingHsm>,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        guard: Arc<IssueGuard>,
        settings: VendingSettings,
    ) -> Self {
        Self {
            hsm,
            store,
            clock,
            guard,
            policy: Policy::new(settings),
            configurations: configurations::KnownConfigurations::default(),
            server_key: OnceCell::new(),
            sealing_key: OnceCell::new(),
            legacy_uploads: settings.legacy_uploads,
            importing: Mutex::new(()),
            selftest: Latch::default(),
            uploads_start: FinishedState::Enabled,
        }
    }

    /// Issues nothing once `latch` is set.
    #[must_use]
    pub fn under(self, latch: Latch) -> Self {
        Self { selftest: latch, ..self }
    }

    /// Lets no upload issue before it is enabled by an act of its own.
    #[must_use]
    pub fn uploads_start_disabled(self) -> Self {
        Self { uploads_start: FinishedState::Disabled, ..self }
    }

    /// Refuses once a self-test has failed: before anything is recorded, and before anything is
    /// encrypted again.
    fn self_tested(&self) -> Result<(), IssueError> {
        match self.selftest.failure() {
            None => Ok(()),
            Some(failure) => Err(IssueError::SelfTest(failure.to_owned())),
        }
    }

    /// The store, for what needs no act of ours: lists and single rows.
    pub fn store(&self) -> &dyn Store {
        self.store.as_ref()
    }

    /// Lets meters be carried between two configurations, on the word of this caller.
    ///
    /// # Errors
    /// [`KeyChangePairError`]: a configuration is unknown or in a state that does not allow it;
    /// what the store says.
    pub async fn allow_key_change(
        &self,
        caller: &Caller,
        pair: KeyChangePair,
    ) -> Result<AllowedKeyChange, KeyChangePairError> {
        self.store.allow_key_change(pair, caller.client, caller.actor(), self.clock.now_ms()).await
    }

    /// Takes that back; says whether it was allowed.
    ///
    /// # Errors
    /// What the store says.
    pub async fn forbid_key_change(&self, caller: &Caller, pair: KeyChangePair) -> Result<bool, StoreError> {
        self.store.forbid_key_change(pair, caller.actor(), self.clock.now_ms()).await
    }

    /// The rules of issuing.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The HSM, for its public keys and capabilities.
    pub fn hsm(&self) -> &dyn VendingHsm {
        self.hsm.as_ref()
    }
}
