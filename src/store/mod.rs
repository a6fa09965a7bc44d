//! What must survive: configurations, public keys, clients and their credentials, and the ledger of
//! issued tokens.
//!
//! The contract is a trait for each aggregate, all of them together [`Store`], free of any
//! database. An engine (`sqlite`, `postgres`) keeps rows and decides nothing: what follows from them is decided
//! in `access`, `configuration` and `ledger`, and put together in `transactions`, for every engine
//! the same. A call goes:
//!
//! `database` (the contract) -> `committer` (one thread, group commit) -> `transactions` (load,
//! decide, write) -> the engine. A query goes to the `readers` instead.
//!
//! Rules that hold for every engine:
//!
//! * An answer is given only when what it says is durable: a power cut after it loses nothing.
//! * A [`StoreError`] says whether the act may have happened nevertheless
//!   ([`StoreError::outcome`]).
//! * No secret is stored: of a credential its hash, of a vending key at most the ciphertext under a
//!   key of the HSM, of a token its clear block.
//! * Times are milliseconds since 1970 in UTC and are passed in by the caller, who owns the clock.

mod authority;
mod committer;
mod contract;
mod database;
mod engine;
mod error;
mod given;
mod lease;
#[cfg(test)]
pub(crate) mod memory;
mod migration;
mod open;
mod open_error;
mod page;
mod postgres;
mod readers;
mod reading;
mod record;
mod reseal;
mod seal_index;
mod seals;
mod server;
pub(crate) mod sqlite;
mod transactions;
mod usual;
mod writing;

pub use contract::{
    ApprovalStore, AuditStore, ClientStore, ConfigurationStore, HealthStore, KeyChangeStore, LedgerStore,
    PublicKeyStore, ServerStore, Store, VerificationStore,
};
pub use error::{
    ClientError, ConfigurationError, KeyChangePairError, LedgerError, LowerError, Outcome, StoreError,
};
pub use lease::{LEASE, Leases};
pub use migration::{Migrated, MigratedChain, MigrationError, Progress, Step, Verified, Watch};
pub use open::{
    DatabaseSettings, DatabaseUrl, Resealing, UnknownDatabase, all_configurations, copy, examine, migrate,
    open, open_alone, open_and_seal, raw_rows, statements_sent,
};
pub use open_error::OpenError;
pub use page::{Listing, PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX, Page, PageError, PageRequest, PageToken};
pub use postgres::{AddressError, PostgresqlAddress, RawRows, Sent};
pub use record::{Examined, LostCommits, Past, Records};
pub use seals::{NoSeal, SealReport, Sealer, SoftwareSealer};
pub use server::{Job, Server, ServerState};
pub use transactions::walk::WalkPart;
