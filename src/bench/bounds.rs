//! What the machine itself can do: HSM operations and durable rows, without the service around them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use uuid::Uuid;

use super::{BenchError, meters::Meters};
use crate::{
    hsm::{Hsm, HsmSettings, KeyKind, MOST_DECODER_KEYS, VendingKeyMaterial},
    settings::Settings,
    store::{
        Actor, Begun, ClientId, ConfigurationId, Content, FinishedState, ImportedFields, Limits, NewClient,
        NewConfiguration, NewCredential, NewToken, Proof, PublicKeyId, Rights, SoftwareSealer, Store,
        sqlite::{SqliteSettings, SqliteStore},
    },
    sts::{
        amount::UnitAmount,
        attributes::{
            Attributes, BaseDate, Dkga, EncryptionAlgorithm, KeyExpiry, KeyRevision, KeyType, TariffIndex,
        },
        derivation::Derivation,
        meter::MeterPan,
        tid::{Tid, TidWindow},
        token::{Payload, Rnd, Service},
    },
};

/// HMACs of one job, which are as many calls.
const CALLS: usize = 128;

/// Derivations in a second: DKGA04 by HMAC, and DKGA02 in batches. The keys are of this run alone.
pub(super) async fn hsm(settings: &HsmSettings, window: Duration) -> Result<(f64, f64), BenchError> {
    let hsm = Hsm::start(settings.clone())?;
    let mut rates = [0.0; 2];
    for (rate, (dkga, kind, length, at_once)) in rates
        .iter_mut()
        .zip([(Dkga::Dkga04, KeyKind::Hmac, 20, CALLS), (Dkga::Dkga02, KeyKind::Des, 8, MOST_DECODER_KEYS)])
    {
        let mut key = [0; 20];
        getrandom::fill(&mut key).map_err(|error| BenchError::Ledger(error.to_string()))?;
        for byte in &mut key {
            // DES keys have odd parity.
            *byte = *byte & 0xFE | u8::from((*byte & 0xFE).count_ones() % 2 == 0);
        }
        let material =
            VendingKeyMaterial::from_slice(kind, &key[..length]).map_err(crate::hsm::HsmError::from)?;
        let Some(material) = material else { continue };
        let session = hsm.import_session_key(material).await?;
        let derivation = derivation(dkga)?;
        let wanted: Vec<_> = (0..at_once).map(|_| (session.key(), derivation)).collect();
        let (start, mut done) = (Instant::now(), 0);
        while start.elapsed() < window {
            done += hsm.with_decoder_keys(hsm.try_reserve()?, wanted.clone(), |keys| keys.len()).await?;
        }
        *rate = done as f64 / start.elapsed().as_secs_f64();
    }
    hsm.stop();
    Ok((rates[0], rates[1]))
}

fn fault(error: impl std::fmt::Display) -> BenchError {
    BenchError::Ledger(error.to_string())
}

fn attributes(dkga: Dkga) -> Result<Attributes, BenchError> {
    Ok(Attributes {
        iin: "600727".parse().map_err(fault)?,
        sgc: "123456".parse().map_err(fault)?,
        ti: TariffIndex::try_from(1).map_err(fault)?,
        krn: KeyRevision::try_from(1).map_err(fault)?,
        kt: KeyType::Dutk,
        ken: KeyExpiry(255),
        ea: EncryptionAlgorithm::Ea07,
        dkga,
        base_date: BaseDate::Y2014,
    })
}

fn derivation(dkga: Dkga) -> Result<Derivation, BenchError> {
    let attributes = attributes(dkga)?;
    let meter = MeterPan::parse("47500150231", attributes.iin).map_err(fault)?;
    Derivation::new(&attributes, &meter).map_err(fault)
}

/// Rows of one commit, as a stream makes them.
const ROWS: usize = 512;

/// Durable rows in a second, chain included, in a new database on the same disk as the server's.
pub(super) async fn ledger(settings: &Settings, window: Duration) -> Result<f64, BenchError> {
    let path = settings.store.path.with_extension("bench");
    let remove = || {
        for side in ["", "-wal", "-shm", ".lock"] {
            let mut name = path.clone().into_os_string();
            name.push(side);
            // What is not there need not go.
            let _ = std::fs::remove_file(name);
        }
    };
    remove();
    let sealer = Arc::new(SoftwareSealer([7; 32]));
    let rate = rows(&SqliteStore::open(&SqliteSettings::new(&path), sealer).map_err(fault)?, window).await;
    remove();
    rate
}

async fn rows(store: &SqliteStore, window: Duration) -> Result<f64, BenchError> {
    let now_ms = 1_795_298_400_000;
    let (client, credential) = (ClientId::generate(), "bench".to_owned());
    let new = NewClient {
        id: client,
        display_name: credential.clone(),
        rights: Rights::till(),
        limits: Limits::default(),
        actor: Actor::Local,
        now_ms,
    };
    store.create_client(new).await.map_err(fault)?;
    let key = NewCredential {
        key_id: credential.clone(),
        client,
        proof: Proof::Secret([0; 32]),
        expires_ms: None,
        actor: Actor::Local,
        now_ms,
    };
    store.create_credential(key).await.map_err(fault)?;
    let attributes = attributes(Dkga::Dkga04)?;
    let configuration = NewConfiguration {
        id: ConfigurationId::generate(),
        fingerprint: [1; 32],
        display_name: credential.clone(),
        attributes,
        key_length: 20,
        unservable: Vec::new(),
        warnings: Vec::new(),
        signer: PublicKeyId::generate(),
        uploaded_by: client,
        actor: Actor::Local,
        now_ms,
    };
    let (Begun::Started(row) | Begun::Resumed(row) | Begun::Existing(row)) =
        store.begin_import(configuration).await.map_err(fault)?;
    let fields = ImportedFields { kcv: Some([0; 3]), mask: None, state: FinishedState::Enabled };
    store.finish_import(row.id, fields, Actor::Local, now_ms).await.map_err(fault)?;
    let tid = |value| Tid::new(value).map_err(fault);
    let window_of_tids =
        TidWindow { earliest: tid(6_000_000)?, ken: KeyExpiry(255), horizon: tid(6_001_440)? };
    let meters = Meters::new();
    let token = || {
        let meter = MeterPan::parse(&meters.next(), attributes.iin).map_err(fault)?;
        Ok(NewToken {
            client,
            credential: credential.clone(),
            request_id: Uuid::now_v7(),
            request_hash: [0; 32],
            now_ms,
            content: Content::Sequenced {
                configuration: row.id,
                meter,
                base_date: BaseDate::Y2014,
                window: window_of_tids,
                payload: Payload::Credit {
                    service: Service::Electricity,
                    amount: UnitAmount::from_code(100),
                },
                rnd: Rnd::from_random(1),
            },
            requests_from_ms: 0,
            deadline: None,
        })
    };
    let start = Instant::now();
    let record = async || {
        let mut done = 0_usize;
        while start.elapsed() < window {
            let tokens = (0..ROWS).map(|_| token()).collect::<Result<Vec<_>, BenchError>>()?;
            for recorded in store.record_tokens(tokens).await {
                recorded.map_err(fault)?;
                done += 1;
            }
        }
        Ok::<_, BenchError>(done)
    };
    // Two, so that the committer never waits for the next rows.
    let (one, other) = tokio::try_join!(record(), record())?;
    Ok((one + other) as f64 / start.elapsed().as_secs_f64())
}
