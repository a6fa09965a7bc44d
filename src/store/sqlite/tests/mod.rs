//! The contract of the store, kept by SQLite.

mod approvals;
mod chain;
mod clients;
mod configurations;
// Release builds have no crash points.
#[cfg(debug_assertions)]
mod crashes;
mod destruction;
mod durability;
mod ledger;
mod meters;
mod model;
mod public_keys;
mod seals;
mod usage;

use tempfile::TempDir;
use uuid::Uuid;

use std::collections::BTreeMap;
use std::time::Instant;

use super::*;
use crate::clock::SignOfLife;
use crate::configuration::Configuration;
use crate::ledger::CountedDay;
use crate::store::engine::Table;
use crate::store::transactions::tokens;
use crate::store::writing::Writing;
use crate::store::{
    AcceptedRestore, Actor, Approval, ApprovalId, ApprovalRequested, ApprovalStep, ApprovalStore as _,
    AuditStore as _, Begun, ClientAct, ClientChange, ClientId, ClientRefusal, ClientStore as _,
    ConfigurationError, ConfigurationId, ConfigurationRefusal, ConfigurationStore as _, Content,
    CredentialChange, FinishedState, HealthStore as _, ImportedFields, KeyChangePair, KeyChangeStore as _,
    LedgerError, LedgerStore as _, Limits, Listing, LowerRefused, MaskedKey, NewAct, NewApproval, NewClient,
    NewConfiguration, NewCredential, NewPublicKey, NewToken, PageRequest, Proof, PublicKeyId,
    PublicKeyStore as _, Recorded, Refused, Registered, Rights, RowContent, SealReport, Seed, SoftwareSealer,
    StoreError, TokenFilter, TokenRow, Vote, Warning,
};
use crate::sts::amount::UnitAmount;
use crate::sts::attributes::{
    Attributes, BaseDate, Dkga, EncryptionAlgorithm, KeyExpiry, KeyRevision, KeyType, TariffIndex,
};
use crate::sts::meter::MeterPan;
use crate::sts::tid::{Tid, TidWindow};
use crate::sts::token::{Display, DisplayForm, Payload, Rnd, Service};

/// 2026-01-01 00:00 UTC.
const NOW_MS: i64 = 1_767_225_600_000;

/// A store in a folder of its own, with a client that may vend and a configuration that issues.
struct Scene {
    folder: TempDir,
    store: SqliteStore,
    client: ClientId,
    configuration: ConfigurationId,
}

const CREDENTIAL: &str = "till-1";

impl Scene {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder);
        let client = client(&store, CREDENTIAL).await;
        let configuration = imported(&store, 1).await.id;
        Self { folder, store, client, configuration }
    }

    fn reopen(self) -> Self {
        let Self { folder, store, client, configuration } = self;
        drop(store);
        let store = open(&folder);
        Self { folder, store, client, configuration }
    }

    /// A credit for a meter, asked for at a minute of the configuration's base date.
    fn credit(&self, request: u8, meter: MeterPan, minute: u32) -> NewToken {
        NewToken {
            client: self.client,
            credential: CREDENTIAL.into(),
            request_id: Uuid::from_bytes([request; 16]),
            request_hash: [request; 32],
            now_ms: NOW_MS,
            content: Content::Sequenced {
                configuration: self.configuration,
                meter,
                base_date: BaseDate::Y2014,
                window: window(minute),
                payload: payload(),
                rnd: Rnd::try_from(5).unwrap(),
            },
            requests_from_ms: 0,
            deadline: None,
        }
    }
}

fn sealer() -> Arc<SoftwareSealer> {
    Arc::new(SoftwareSealer([1; 32]))
}

/// Rows are merged from three on, so that most tests have some on the disk and some in memory.
fn open(folder: &TempDir) -> SqliteStore {
    let settings = SqliteSettings { merge_from: 3, ..SqliteSettings::new(folder.path().join("vendkey.db")) };
    SqliteStore::open(&settings, sealer()).unwrap()
}

async fn client(store: &SqliteStore, key_id: &str) -> ClientId {
    let id = ClientId::generate();
    let new = NewClient {
        id,
        display_name: "a till".into(),
        rights: Rights::till(),
        limits: Limits::default(),
        actor: Actor::Local,
        now_ms: NOW_MS,
    };
    store.create_client(new).await.unwrap();
    let credential = NewCredential {
        key_id: key_id.into(),
        client: id,
        proof: Proof::Secret([7; 32]),
        expires_ms: None,
        actor: Actor::Local,
        now_ms: NOW_MS,
    };
    store.create_credential(credential).await.unwrap();
    id
}

fn attributes() -> Attributes {
    Attributes {
        iin: "600727".parse().unwrap(),
        sgc: "000123".parse().unwrap(),
        ti: TariffIndex::try_from(7).unwrap(),
        krn: KeyRevision::try_from(1).unwrap(),
        kt: KeyType::Dutk,
        ken: KeyExpiry(255),
        ea: EncryptionAlgorithm::Ea07,
        dkga: Dkga::Dkga04,
        base_date: BaseDate::Y2014,
    }
}

fn upload(fingerprint: u8) -> NewConfiguration {
    NewConfiguration {
        id: ConfigurationId::generate(),
        fingerprint: [fingerprint; 32],
        display_name: format!("configuration {fingerprint}"),
        attributes: attributes(),
        key_length: 20,
        unservable: vec![],
        warnings: vec![Warning { code: "A_CODE".into(), message: "a \"message\"".into() }],
        signer: PublicKeyId::from_bytes([9; 16]),
        uploaded_by: ClientId::from_bytes([8; 16]),
        actor: Actor::Local,
        now_ms: NOW_MS,
    }
}

fn imported_fields() -> ImportedFields {
    ImportedFields {
        kcv: Some([1, 2, 3]),
        mask: Some(MaskedKey { iv: [4; 16], ciphertext: [5; 16] }),
        state: FinishedState::Enabled,
    }
}

async fn imported(store: &SqliteStore, fingerprint: u8) -> Configuration {
    let Begun::Started(row) = store.begin_import(upload(fingerprint)).await.unwrap() else {
        panic!("not new")
    };
    store.finish_import(row.id, imported_fields(), Actor::Local, NOW_MS + 1).await.unwrap()
}

/// From this minute, with a horizon of a day.
fn window(minute: u32) -> TidWindow {
    TidWindow { earliest: tid(minute), ken: KeyExpiry(255), horizon: tid(minute + 1_440) }
}

fn tid(minute: u32) -> Tid {
    Tid::new(minute).unwrap()
}

fn meter(index: usize) -> MeterPan {
    let drn = ["11111111115", "00000000000", "12345678903"][index];
    MeterPan::parse(drn, "600727".parse().unwrap()).unwrap()
}

fn payload() -> Payload {
    Payload::Credit { service: Service::Electricity, amount: UnitAmount::from_code(25) }
}

fn display() -> Display {
    Display::all(DisplayForm::TwoDigit)
}

fn tid_of(row: &TokenRow) -> u32 {
    match &row.content {
        RowContent::Sequenced { tid, .. } => tid.value(),
        other => panic!("{other:?} has no TID"),
    }
}
