//! What the machine itself can do: HSM operations and durable rows, without the service around
//! them.

use std::{
    fs::OpenOptions,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::task::JoinSet;
use uuid::Uuid;

use super::{
    BenchError,
    meters::Meters,
    processor::Spent,
    report::{Latency, Sample},
};
use crate::{
    access::{
        client::{NewClient, NewCredential, Proof},
        limits::Limits,
        rights::Rights,
    },
    audit::Actor,
    configuration::{Begun, FinishedState, ImportedFields, KeyState, NewConfiguration, TokenKey},
    hsm::{
        DecoderKeys, Hsm, HsmError, HsmSettings, KeyId, KeyKind, MOST_DECODER_KEYS, Tokens, VendingKey,
        VendingKeyClass, VendingKeyMaterial, WithDecoderKeys,
    },
    id::{ClientId, ConfigurationId, PublicKeyId},
    ledger::{Content, NewToken},
    settings::Settings,
    store::{self, DatabaseSettings, DatabaseUrl, SoftwareSealer, Store},
    sts::{
        amount::UnitAmount,
        attributes::{
            Attributes, BaseDate, Dkga, EncryptionAlgorithm, KeyExpiry, KeyRevision, KeyType, TariffIndex,
        },
        derivation::Derivation,
        meter::{Iin, MeterPan},
        tid::{Tid, TidWindow},
        token::{Payload, Rnd, Service},
    },
};

/// HMACs of the jobs that are done at the same time, which are as many calls.
const CALLS: usize = 128;

/// Derivations in a second.
pub(super) struct HsmRates {
    /// HMACs by the vending key of the service's own configuration, which lies in the token.
    pub(super) token_hmac: Option<Sample>,
    /// HMACs by a key that lies in memory as long as its session.
    pub(super) session_hmac: Sample,
    /// DKGA02 in batches.
    pub(super) des: Sample,
}

/// Measures what the HSM can do. Keys that are not `dkga04`'s, a configuration with its key check
/// value, are of this run alone.
pub(super) async fn hsm(
    settings: &HsmSettings,
    dkga04: Option<(&str, [u8; 3])>,
    window: Duration,
) -> Result<HsmRates, BenchError> {
    let hsm = Hsm::start(settings.clone())?;
    let calls = (CALLS / hsm.jobs_at_once()).max(1);
    let token_hmac = match dkga04 {
        None => None,
        Some((name, kcv)) => {
            let id = name.strip_prefix("configurations/").unwrap_or(name);
            let id: ConfigurationId = id.parse().map_err(fault)?;
            let (token, id) = (hsm.tokens()[0], KeyId(id.to_bytes()));
            let key = VendingKey { token, id, class: VendingKeyClass::Hmac, kcv };
            Some(derivations(&hsm, key, derivation(Dkga::Dkga04)?, calls, window).await?)
        }
    };
    let mut rates = [Sample::from(0.0); 2];
    for (rate, (dkga, kind, length, at_once)) in rates
        .iter_mut()
        .zip([(Dkga::Dkga04, KeyKind::Hmac, 20, calls), (Dkga::Dkga02, KeyKind::Des, 8, MOST_DECODER_KEYS)])
    {
        let mut key = [0; 20];
        getrandom::fill(&mut key).map_err(|error| BenchError::Ledger(error.to_string()))?;
        for byte in &mut key {
            // DES keys have odd parity.
            *byte = *byte & 0xFE | u8::from((*byte & 0xFE).count_ones() % 2 == 0);
        }
        let material = VendingKeyMaterial::from_slice(kind, &key[..length]).map_err(HsmError::from)?;
        let Some(material) = material else { continue };
        let session = hsm.import_session_key(material).await?;
        *rate = derivations(&hsm, session.key(), derivation(dkga)?, at_once, window).await?;
    }
    hsm.stop();
    let [session_hmac, des] = rates;
    Ok(HsmRates { token_hmac, session_hmac, des })
}

/// A job at a time, again and again, from two tasks for each thread of the HSM, so that none of them
/// waits for the next.
async fn derivations(
    hsm: &Hsm,
    key: VendingKey,
    derivation: Derivation,
    at_once: usize,
    window: Duration,
) -> Result<Sample, BenchError> {
    let (spent, start) = (Spent::now(None), Instant::now());
    let mut tasks = JoinSet::new();
    for _ in 0..2 * hsm.jobs_at_once() {
        let (hsm, wanted) = (hsm.clone(), vec![(key, derivation); at_once]);
        tasks.spawn(async move {
            let mut done = 0;
            while start.elapsed() < window {
                done += hsm.with_decoder_keys(hsm.try_reserve()?, wanted.clone(), |keys| keys.len()).await?;
            }
            Ok::<_, HsmError>(done)
        });
    }
    let mut done = 0;
    while let Some(ended) = tasks.join_next().await {
        done += ended.map_err(fault)??;
    }
    let cost = Some(spent.each(None, done as f64));
    Ok(Sample { rate: done as f64 / start.elapsed().as_secs_f64(), latency: None, cost })
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

/// Bytes of a small commit: what is written before a sync.
const COMMIT: usize = 16 * 1024;

/// Writes and syncs on the database's disk, one after another, into a file that has its length, as
/// the log of a database has: no token is answered sooner than one of them takes.
pub(super) fn disk(settings: &Settings, window: Duration) -> std::io::Result<Sample> {
    let path = beside(settings, "bench-sync");
    let syncs = syncs(&path, window);
    // What is not there need not go.
    let _ = std::fs::remove_file(path);
    syncs
}

/// A file beside the server's database.
fn beside(settings: &Settings, name: &str) -> PathBuf {
    settings.store.url.path().unwrap_or(&settings.store.checkpoint_file).with_extension(name)
}

fn syncs(path: &Path, window: Duration) -> std::io::Result<Sample> {
    const OFFSETS: u64 = 256;
    let file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
    let commit = [7; COMMIT];
    for index in 0..OFFSETS {
        file.write_all_at(&commit, index * COMMIT as u64)?;
    }
    file.sync_all()?;
    let (start, mut times) = (Instant::now(), Vec::new());
    while start.elapsed() < window {
        let began = Instant::now();
        file.write_all_at(&commit, times.len() as u64 % OFFSETS * COMMIT as u64)?;
        file.sync_data()?;
        times.push(u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
    let rate = times.len() as f64 / start.elapsed().as_secs_f64();
    Ok(Sample { rate, latency: Some(Latency::of(times)), cost: None })
}

/// Rows of one commit, as a stream makes them.
const ROWS: usize = 512;

/// How often an empty and a full ledger alternate.
const ROUNDS: usize = 3;

/// Rows that a new database gets before it is measured: enough that it merges them, as any does
/// from then on.
const NEW: u64 = 200_000;

/// Durable rows in a second, chain included, on the same disk as the server's, in a new database.
pub(super) async fn ledger(settings: &Settings, window: Duration) -> Result<Sample, BenchError> {
    Database::with(settings, "bench-empty", NEW).await?.rate(window).await
}

/// The same on top of a number of rows (`true`) and in new databases alternately, since machines are
/// faster at one time than at another.
pub(super) async fn grown(
    settings: &Settings,
    window: Duration,
    fill: u64,
    mut found: impl FnMut(bool, Sample),
) -> Result<(), BenchError> {
    let full = Database::with(settings, "bench-full", fill).await?;
    for _ in 0..ROUNDS {
        found(false, ledger(settings, window).await?);
        found(true, full.rate(window).await?);
    }
    Ok(())
}

/// A database that is gone when this is.
struct Database {
    rows: Rows,
    // In the order in which they end.
    store: Arc<dyn Store>,
    _files: Files,
}

/// The files of a database.
struct Files(PathBuf);

impl Drop for Files {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

impl Database {
    /// Makes it beside the server's, with a number of rows.
    async fn with(settings: &Settings, name: &str, rows: u64) -> Result<Self, BenchError> {
        let path = beside(settings, name);
        remove(&path);
        let sealer = Arc::new(SoftwareSealer([7; 32]));
        let store = store::open(&DatabaseSettings::new(DatabaseUrl::Sqlite(path.clone()), "bench"), sealer)
            .map_err(fault)?;
        let database = Self { rows: Rows::new(store.as_ref()).await?, store, _files: Files(path) };
        database.rows.record(database.store.as_ref(), Until::Rows(rows)).await?;
        Ok(database)
    }

    /// Rows in a second.
    async fn rate(&self, window: Duration) -> Result<Sample, BenchError> {
        self.rows.record(self.store.as_ref(), Until::Time(window)).await
    }
}

fn remove(path: &Path) {
    for side in ["", "-wal", "-shm"] {
        let mut name = path.to_owned().into_os_string();
        name.push(side);
        // What is not there need not go.
        let _ = std::fs::remove_file(name);
    }
}

/// When to stop.
#[derive(Clone, Copy)]
enum Until {
    Time(Duration),
    Rows(u64),
}

/// What rows need to exist.
struct Rows {
    client: ClientId,
    configuration: ConfigurationId,
    iin: Iin,
    window: TidWindow,
    meters: Meters,
}

const CREDENTIAL: &str = "bench";
const NOW_MS: i64 = 1_795_298_400_000;

impl Rows {
    async fn new(store: &dyn Store) -> Result<Self, BenchError> {
        let (client, now_ms) = (ClientId::generate(), NOW_MS);
        let new = NewClient {
            id: client,
            display_name: CREDENTIAL.to_owned(),
            rights: Rights::till(),
            limits: Limits::default(),
            actor: Actor::Local,
            now_ms,
        };
        store.create_client(new).await.map_err(fault)?;
        let key = NewCredential {
            key_id: CREDENTIAL.to_owned(),
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
            nonce: None,
            display_name: CREDENTIAL.to_owned(),
            attributes,
            key_length: 20,
            unservable: Vec::new(),
            warnings: Vec::new(),
            signer: PublicKeyId::generate(),
            uploaded_by: client,
            actor: Actor::Local,
            now_ms,
        };
        let begun = store.begin_import(configuration).await.map_err(fault)?;
        let (Begun::Started(row) | Begun::Resumed(row) | Begun::Existing(row)) = begun else {
            return Err(fault("a nonce of no upload"));
        };
        let fields = ImportedFields {
            key: Some(TokenKey { token: None, kcv: [0; 3], mask: None, state: KeyState::Held }),
            state: FinishedState::Enabled,
        };
        store.finish_import(row.id, fields, Actor::Local, now_ms).await.map_err(fault)?;
        let tid = |value| Tid::new(value).map_err(fault);
        Ok(Self {
            client,
            configuration: row.id,
            iin: attributes.iin,
            window: TidWindow { earliest: tid(6_000_000)?, ken: KeyExpiry(255), horizon: tid(6_001_440)? },
            meters: Meters::new(),
        })
    }

    fn token(&self) -> Result<NewToken, BenchError> {
        Ok(NewToken {
            client: self.client,
            credential: CREDENTIAL.to_owned(),
            request_id: Uuid::now_v7(),
            request_hash: [0; 32],
            now_ms: NOW_MS,
            content: Content::Sequenced {
                configuration: self.configuration,
                meter: MeterPan::parse(&self.meters.next(), self.iin).map_err(fault)?,
                base_date: BaseDate::Y2014,
                window: self.window,
                payload: Payload::Credit {
                    service: Service::Electricity,
                    amount: UnitAmount::from_code(100),
                },
                rnd: Rnd::from_random(1),
            },
            requests_from_ms: 0,
            deadline: None,
        })
    }

    /// Rows in a second.
    async fn record(&self, store: &dyn Store, until: Until) -> Result<Sample, BenchError> {
        let (spent, start, done) = (Spent::now(None), Instant::now(), AtomicU64::new(0));
        let go_on = || match until {
            Until::Time(window) => start.elapsed() < window,
            Until::Rows(rows) => done.load(Ordering::Relaxed) < rows,
        };
        let record = async || {
            while go_on() {
                let tokens = (0..ROWS).map(|_| self.token()).collect::<Result<Vec<_>, BenchError>>()?;
                for recorded in store.record_tokens(tokens).await {
                    recorded.map_err(fault)?;
                    done.fetch_add(1, Ordering::Relaxed);
                }
            }
            Ok::<_, BenchError>(())
        };
        // Two, so that the committer never waits for the next rows.
        tokio::try_join!(record(), record())?;
        let done = done.load(Ordering::Relaxed) as f64;
        Ok(Sample {
            rate: done / start.elapsed().as_secs_f64(),
            latency: None,
            cost: Some(spent.each(None, done)),
        })
    }
}
