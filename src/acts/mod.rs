//! What the API can do, apart from how it is reached: each call is a function from a caller and a
//! parsed order to an answer or a [`Refusal`]. Faces parse what comes in and show what goes out;
//! nothing here knows gRPC or HTTP.
//!
//! Acts that may have to wait for a second person are values ([`Act`]): they are stored, shown,
//! hashed and done from the value.

mod act;
mod admission;
mod approvals;
mod approved;
mod audit;
mod authenticator;
mod capabilities;
mod client_summary;
mod clients;
mod configurations;
mod credentials;
mod error;
mod four_eyes;
mod issued_tokens;
mod ledger;
mod orders;
mod public_keys;
mod reason;
mod refusal;
mod refused_calls;
mod report;
mod servers;
mod simulator;
mod stored;
mod token_batch;
mod token_files;
mod tokens;

use std::sync::Arc;

use approved::Deferred;
use four_eyes::FourEyes;

use crate::{access::Attempts, clock::Clock, settings::AccessSettings, store::Store, vending::Vending};

pub use crate::store::{
    Listing, PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX, Page, PageError, PageRequest, PageToken, Records,
};
pub use act::{Act, ActUnreadable};
pub use admission::Admission;
pub use approvals::{ApprovalAnswer, Ballot};
pub use audit::{EventsAfter, LastCheckpoint};
pub use authenticator::{AccessError, Authenticator};
pub use capabilities::{Capabilities, Capability};
pub use configurations::UploadAnswer;
pub use issued_tokens::{IssuedEntries, IssuedEntry, TokenName, TokenQuery};
pub use ledger::LedgerState;
pub use orders::{
    AcceptRestore, AllowKeyChange, CreateClient, CreateCredential, EnableClient, EnableConfiguration,
    EnableCredential, EnablePublicKey, LowerLastTid, NewProof, RegisterPublicKey, ScheduleDestruction,
    SetCredentialExpiry, UpdateClient,
};
pub use reason::Reason;
pub use refusal::{Issued, Refusal};
pub use refused_calls::Refusals;
pub use report::{ReportAnswer, ReportQuery};
pub use servers::{Cause, Causes, Identity, KnownServer, ServerCondition};
pub use simulator::{SimulatedOrder, TestKey};
pub use token_batch::{BATCH_MAX, STREAM_CHUNK, TokenRequest, TokenResult};
pub use token_files::TokenFiles;
pub use tokens::{MeterTestOrder, TokenAnswer, TokenOrder};

/// Everything that the API can do.
pub struct Acts {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    vending: Arc<Vending>,
    admission: Arc<Admission>,
    four_eyes: FourEyes,
    deferred: Deferred,
    /// Attempts to upload, by those who have no limit of their own limited in a minute.
    uploads: Attempts,
    uploads_per_minute: u32,
    identity: Identity,
}

impl Acts {
    /// Over the store and what issues, for whoever is admitted.
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        vending: Arc<Vending>,
        admission: Arc<Admission>,
        access: AccessSettings,
        uploads_per_minute: u32,
        identity: Identity,
    ) -> Self {
        let four_eyes = FourEyes::new(store.clone(), clock.clone(), access);
        Self {
            store,
            clock,
            vending,
            admission,
            four_eyes,
            deferred: Deferred::default(),
            uploads: Attempts::default(),
            uploads_per_minute,
            identity,
        }
    }
}
