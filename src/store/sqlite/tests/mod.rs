//! What SQLite does beside the contract, and what its database refuses of itself.

mod approvals;
mod chain;
mod configurations;
// Release builds have no crash points.
#[cfg(debug_assertions)]
mod crashes;
mod durability;
mod ledger;
mod meters;
mod reseal;
mod seals;
mod usage;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::access::client::{ClientAct, ClientChange};
use crate::access::limits::Limits;
use crate::access::rights::Rights;
use crate::audit::{Actor, NewAct};
use crate::clock::SignOfLife;
use crate::configuration::{Begun, Configuration, NewConfiguration, Warning};
use crate::id::{ClientId, ConfigurationId, PublicKeyId};
use crate::ledger::{
    CountedDay, Cursor, LowerRefused, Recorded, RowContent, Seed, SumOf, TokenFilter, TokenRow,
};
use crate::store::contract::tests::{self as suite, *};
use crate::store::engine::Table;
use crate::store::transactions::tokens;
use crate::store::writing::Writing;
use crate::store::{
    ApprovalStore as _, AuditStore as _, ClientStore as _, ConfigurationError, ConfigurationStore as _,
    HealthStore as _, LedgerError, LedgerStore as _, PageRequest, PublicKeyStore as _, SealReport,
    SoftwareSealer, StoreError,
};
use crate::sts::attributes::BaseDate;
use crate::sts::tid::Tid;
use crate::sts::token::Rnd;

/// A database in a folder of its own.
#[derive(Debug)]
pub(in crate::store) struct Folder(TempDir);

impl Default for Folder {
    fn default() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
}

impl Folder {
    pub(in crate::store) fn path(&self) -> PathBuf {
        self.0.path().join("vendkey.db")
    }

    /// Writes past the engine, as another hand does.
    pub(in crate::store) fn tamper(&self, sql: &str) {
        Connection::open(self.path()).unwrap().execute_batch(sql).unwrap();
    }
}

impl Factory for Folder {
    type Engine = SqliteEngine;

    /// Rows are merged from three on, so that most tests have some on the disk and some in memory.
    fn open(&self) -> SqliteStore {
        let settings = SqliteSettings { merge_from: 3, ..SqliteSettings::new(self.path()) };
        // A child process that another test starts holds our files between its fork and its exec, and
        // with them the lock of a store that was dropped meanwhile.
        let give_up = Instant::now() + Duration::from_secs(60);
        loop {
            match SqliteStore::open(&settings, sealer()) {
                Err(OpenError::InUse { .. }) if Instant::now() < give_up => std::thread::yield_now(),
                opened => return opened.unwrap(),
            }
        }
    }
}

type Scene = suite::Scene<Folder>;

impl forgery::Forgeable for Folder {
    fn forge(&self, sql: &str) {
        self.tamper(sql);
    }

    fn bytes(bytes: &[u8]) -> String {
        format!("x'{}'", hex::encode(bytes))
    }

    const CHAINS: &str = "chain";

    const LOWER_TIDS: &str = "DROP TRIGGER meters_never_fall; UPDATE meters SET given_tid = 1, last_tid = 1";
}

mod contract {
    use super::*;

    suite::contract_suite!(Folder);
    suite::forgery_suite!(Folder);
}
