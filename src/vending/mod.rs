//! The acts: importing a configuration, issuing a token. Policy and the clock's rules live here.

mod clock;
mod configurations;
mod error;
mod gate;
mod import;
mod issue;
mod policy;
mod restore;

use std::sync::Arc;

use tokio::sync::{Mutex, OnceCell};

pub use clock::{Clock, SystemClock};
pub use configurations::Known;
pub use error::{EnableError, IssueError, Unusable, UploadError};
pub use gate::{Gate, Stop, behind};
pub use import::Uploaded;
pub use issue::{Asked, IssueOrder, IssuedToken, MeterNumber, RecordedOrders};
pub use policy::Policy;
pub use restore::RestoreError;

use crate::{envelope::PublicKey, hsm::Hsm, settings::VendingSettings, store::Store};

/// The HSM, the store and the rules, put together.
pub struct Vending {
    hsm: Hsm,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    gate: Arc<Gate>,
    policy: Policy,
    configurations: configurations::KnownConfigurations,
    server_key: OnceCell<PublicKey>,
    /// One import at a time, so that two uploads of one text make one key object.
    importing: Mutex<()>,
}

impl Vending {
    /// Over an HSM and a store that were opened.
    pub fn new(
        hsm: Hsm,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        gate: Arc<Gate>,
        settings: VendingSettings,
    ) -> Self {
        Self {
            hsm,
            store,
            clock,
            gate,
            policy: Policy::new(settings),
            configurations: configurations::KnownConfigurations::default(),
            server_key: OnceCell::new(),
            importing: Mutex::new(()),
        }
    }

    /// The store, for what needs no act of ours: lists and single rows.
    pub fn store(&self) -> &dyn Store {
        self.store.as_ref()
    }

    /// The HSM, for its public keys and capabilities.
    pub fn hsm(&self) -> &Hsm {
        &self.hsm
    }
}
