//! Checkpoints of two servers on one database.

use std::{collections::BTreeMap, path::Path};

use async_trait::async_trait;
use rsa::{
    RsaPrivateKey,
    pkcs8::EncodePublicKey as _,
    pss::SigningKey,
    signature::{RandomizedSigner as _, SignatureEncoding as _},
};
use tempfile::TempDir;

use super::*;
use crate::{
    audit::{Actor, ChainNumber, NewAct},
    clock::SystemClock,
    hsm::ServerKey,
    ledger::{AcceptedRestore, Cursor},
    store::{DatabaseUrl, SoftwareSealer, memory::Memory},
};

/// The audit key of all servers.
struct Key(RsaPrivateKey);

#[async_trait]
impl AuditKey for Key {
    async fn audit_public_key(&self) -> Result<ServerKey, HsmError> {
        let spki_der = self.0.to_public_key().to_public_key_der().unwrap().into_vec();
        Ok(ServerKey { spki_der, fingerprint: String::new(), bits: 1_024 })
    }

    async fn sign_checkpoint(&self, message: &[u8]) -> Result<Vec<u8>, HsmError> {
        let signer = SigningKey::<rsa::sha2::Sha256>::new(self.0.clone());
        Ok(signer.sign_with_rng(&mut rsa::rand_core::OsRng, message).to_vec())
    }
}

/// A server.
struct Server {
    store: Arc<dyn Store>,
    guard: Arc<IssueGuard>,
    checkpoints: Checkpoints,
}

impl Server {
    async fn start(memory: &Memory, name: &str, key: &Arc<Key>, folder: &Path) -> Self {
        let store: Arc<dyn Store> =
            Arc::new(memory.open_as(name, Arc::new(SoftwareSealer([1; 32]))).unwrap());
        let settings = StoreSettings {
            url: DatabaseUrl::Sqlite("unused".into()),
            queue: 1,
            checkpoint_file: folder.join(name),
            checkpoint_seconds: 1,
            checkpoint_records: 1,
        };
        let past = store.past().await.unwrap();
        let examined = examine(key.as_ref(), store.as_ref(), &settings, &past).await.unwrap();
        let clock = Arc::new(SystemClock);
        let guard = Arc::new(IssueGuard::new(clock.clone(), None, examined.stop.clone()));
        let leases = Arc::new(Leases::new(store.clone(), clock));
        let checkpoints =
            Checkpoints::new(key.clone(), store.clone(), guard.clone(), leases, settings, examined);
        Self { checkpoints: checkpoints.await.unwrap(), store, guard }
    }

    async fn act(&self) {
        let details = BTreeMap::new();
        self.store
            .record_act(NewAct { kind: "test", actor: Actor::Local, details, now_ms: 0 })
            .await
            .unwrap();
    }

    async fn look(&mut self) {
        self.checkpoints.look(true).await.unwrap();
    }

    fn stop(&self) -> Option<String> {
        self.guard.database_stop().map(|stop| stop.to_string())
    }
}

struct Scene {
    memory: Memory,
    key: Arc<Key>,
    folder: TempDir,
}

impl Scene {
    fn new() -> Self {
        let key = Arc::new(Key(RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 1_024).unwrap()));
        Self { memory: Memory::default(), key, folder: TempDir::new().unwrap() }
    }

    async fn server(&self, name: &str) -> Server {
        Server::start(&self.memory, name, &self.key, self.folder.path()).await
    }

    /// The checkpoint in the file of a server.
    fn kept(&self, name: &str) -> Checkpoint {
        let text = checkpoint_file::read(&self.folder.path().join(name)).unwrap().unwrap();
        SignedCheckpoint::parse(&text).unwrap().checkpoint
    }
}

#[tokio::test]
async fn one_server_signs_for_all_and_every_server_keeps_it() {
    let scene = Scene::new();
    let (mut one, mut two) = (scene.server("one").await, scene.server("two").await);
    one.act().await;
    two.act().await;
    two.act().await;
    one.look().await;
    two.look().await;
    let kept = scene.kept("one");
    assert_eq!((kept.number, kept.heads.len()), (1, 2));
    assert_eq!(scene.kept("two"), kept, "of another server, and by the same key");
    two.act().await;
    two.look().await;
    assert_eq!(scene.kept("two").number, 1, "the other one has the lease");
    one.look().await;
    assert_eq!(scene.kept("one").number, 2);
    // Whoever ends signs once more, and the numbers go on.
    two.act().await;
    two.checkpoints.make().await.unwrap();
    one.checkpoints.make().await.unwrap();
    assert_eq!((scene.kept("two").number, scene.kept("one").number), (3, 4));
    assert_eq!((one.stop(), two.stop()), (None, None));
    // One more joins, which has no file yet.
    assert_eq!(scene.server("three").await.stop(), None);
}

#[tokio::test]
async fn the_truncated_chain_of_a_server_that_vanished_is_found_by_another() {
    let scene = Scene::new();
    let (mut one, two) = (scene.server("one").await, scene.server("two").await);
    one.act().await;
    for _ in 0..3 {
        two.act().await;
    }
    one.look().await;
    let chain = two.store.chain_head().await.unwrap().chain;
    drop(two);
    scene.memory.truncate(ChainNumber::new(1).unwrap(), 2);
    one.act().await;
    one.look().await;
    let stop = one.stop().unwrap();
    assert!(
        stop.contains(&format!("chain {chain}: it ends with record 2, and had come to record 3")),
        "{stop}"
    );
    assert_eq!(scene.kept("one").number, 1, "nothing is signed over it");
    // A server that starts now finds it too, by its file and by the database's checkpoint.
    drop(one);
    let mut one = scene.server("one").await;
    assert_eq!(one.stop(), Some(stop));
    // An administrator accepts it.
    one.guard.accept_database();
    one.look().await;
    assert_eq!((one.stop(), scene.kept("one").number), (None, 2));
    one.act().await;
    one.look().await;
    assert_eq!((one.stop(), scene.kept("one").number), (None, 3));
}

#[tokio::test]
async fn a_file_that_is_missing_means_something_from_the_first_start_on() {
    let scene = Scene::new();
    let (mut one, two) = (scene.server("one").await, scene.server("two").await);
    for server in [&one, &two] {
        server.store.probe(server.guard.sign_of_life()).await.unwrap();
        server.act().await;
    }
    one.look().await;
    // It is killed before it has learned that checkpoint.
    drop(two);
    assert_eq!((scene.kept("one").number, scene.kept("two").number), (1, 0));
    let two = scene.server("two").await;
    assert_eq!(two.stop(), None);
    drop(two);
    std::fs::remove_file(scene.folder.path().join("two")).unwrap();
    assert!(scene.server("two").await.stop().unwrap().contains("the checkpoint file is missing"));
    assert!(!scene.folder.path().join("two").exists(), "nothing is written over the doubt");
}

#[tokio::test]
async fn a_restore_that_one_server_accepted_is_accepted_by_all_that_found_it_before() {
    let scene = Scene::new();
    let (mut one, mut two) = (scene.server("one").await, scene.server("two").await);
    for server in [&one, &two] {
        for _ in 0..3 {
            server.act().await;
        }
    }
    let mut accepted = 0;
    for round in 1..=2 {
        one.look().await;
        two.look().await;
        // The second has written nothing since, and knows of the first what it saw at its last look.
        let position = one.store.chain_head().await.unwrap().position;
        scene.memory.truncate(ChainNumber::FIRST, position - 1);
        one.look().await;
        two.look().await;
        assert!(one.stop().is_some() && two.stop().is_some(), "round {round}");
        two.look().await;
        assert!(two.stop().is_some(), "what was accepted before the loss is not followed");
        let Some(Stop::BehindCheckpoint { position, .. }) = one.guard.database_stop() else { panic!() };
        let act = AcceptedRestore {
            actor: Actor::Local,
            floors: vec![],
            requests_from_ms: 0,
            lost_from: position,
            details: BTreeMap::new(),
            now_ms: 0,
        };
        one.store.accept_restore(act).await.unwrap();
        one.guard.accept_database();
        two.look().await;
        assert_eq!(two.stop(), None, "round {round}");
        let behind = two.store.chain_head().await.unwrap().position;
        assert!(behind > accepted + 100_000_000, "its numbers go on behind what may be lost: {behind}");
        accepted = behind;
        // Both go on, and whoever starts again too.
        for server in [&mut one, &mut two] {
            server.act().await;
            server.look().await;
            server.act().await;
            server.look().await;
            assert_eq!(server.stop(), None);
        }
        drop(two);
        two = scene.server("two").await;
        assert_eq!(two.stop(), None);
    }
}

#[tokio::test]
async fn checkpoints_that_somebody_took_out_are_told_once_and_stop_nothing() {
    let scene = Scene::new();
    let mut one = scene.server("one").await;
    let told = async |server: &Server| {
        let records = server.store.records(Cursor::default(), 1_000, false).await.unwrap();
        format!("{:?}", records.lines).matches("checkpoints.missing").count()
    };
    for _ in 0..3 {
        one.act().await;
        one.checkpoints.make().await.unwrap();
        one.look().await;
    }
    assert_eq!(told(&one).await, 0);
    for restarted in [false, true] {
        scene.memory.forget_checkpoints();
        if restarted {
            drop(one);
            one = scene.server("one").await;
        }
        one.look().await;
        one.look().await;
        assert_eq!((told(&one).await, one.stop()), (1 + usize::from(restarted), None));
        one.act().await;
        one.checkpoints.make().await.unwrap();
        one.act().await;
        one.checkpoints.make().await.unwrap();
    }
}
