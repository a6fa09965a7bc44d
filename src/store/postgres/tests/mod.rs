//! What PostgreSQL does beside the contract.

use uuid::Uuid;

use super::*;
use crate::audit::{Actor, NewAct};
use crate::configuration::Begun;
use crate::ledger::{NewToken, Recorded, TokenRow};
use crate::store::contract::tests::{self as suite, *};
use crate::store::{
    AuditStore as _, ClientStore as _, ConfigurationStore as _, LedgerError, LedgerStore as _, Outcome,
};
use crate::sts::meter::MeterPan;

mod durability;
mod meeting;
mod opening;
mod statements;

#[path = "../../../../tests/suite/harness/postgresql.rs"]
mod postgresql;

use postgresql::TestDatabase;

/// A database of its own.
#[derive(Debug)]
pub(in crate::store) struct Own(TestDatabase);

impl Default for Own {
    fn default() -> Self {
        Self(TestDatabase::new())
    }
}

impl Own {
    pub(in crate::store) fn settings(&self, server: &str) -> PostgresSettings {
        PostgresSettings::new(self.0.url().parse().unwrap(), server)
    }
}

impl Factory for Own {
    type Engine = PostgresEngine;

    fn open(&self) -> PostgresStore {
        self.open_as("one")
    }
}

impl SeveralServers for Own {
    fn open_as(&self, name: &str) -> PostgresStore {
        PostgresStore::open(&self.settings(name), sealer()).unwrap()
    }
}

impl forgery::Forgeable for Own {
    fn forge(&self, sql: &str) {
        self.0.sql(&format!("SET search_path = vendkey, pg_catalog; {sql}"));
    }

    fn bytes(bytes: &[u8]) -> String {
        format!("'\\x{}'::bytea", hex::encode(bytes))
    }

    const CHAINS: &str = "chains";

    const LOWER_TIDS: &str =
        "SET session_replication_role = replica; UPDATE meters SET given_tid = 1, last_tid = 1";
}

mod contract {
    use super::*;

    suite::forgery_suite!(Own);

    suite::contract_suite!(Own);
    suite::several_servers_suite!(Own);
}
