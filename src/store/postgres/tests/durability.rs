//! A database that goes away, comes back, or was taken by somebody else.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::*;

/// Tokens, each for itself, until all are on record: what may be lost is asked for again under the
/// same id.
async fn record_all(store: &PostgresStore, orders: &[NewToken]) -> Vec<TokenRow> {
    let mut rows = Vec::new();
    for order in orders {
        loop {
            match store.record_token(order.clone()).await {
                Ok(recorded) => break rows.push(recorded.row().clone()),
                Err(LedgerError::Store(error)) => assert!(error.is_transient(), "{error}"),
                Err(refused) => panic!("{refused}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    rows
}

fn orders<F: Factory>(scene: &Scene<F>, count: u128) -> Vec<NewToken> {
    let order = |number: u128| NewToken {
        request_id: Uuid::from_u128(number),
        ..scene.credit(1, meter((number % 3) as usize), 100)
    };
    (1..=count).map(order).collect()
}

#[tokio::test]
async fn a_connection_that_is_cut_is_made_again_and_nothing_is_lost_or_doubled() {
    let scene = Scene::<Own>::new().await;
    let all = orders(&scene, 60);
    let mut rows = record_all(&scene.store, &all[..20]).await;
    let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
               WHERE datname = current_database() AND application_name = 'vendkey'";
    assert_eq!(scene.factory.0.sql(cut), "3");
    // Nobody notices: neither who writes nor who reads.
    assert!(scene.store.record_token(all[0].clone()).await.is_ok());
    assert!(scene.store.client(scene.client).await.unwrap().is_some());
    for chunk in all[20..].chunks(10) {
        scene.factory.0.sql(cut);
        rows.extend(record_all(&scene.store, chunk).await);
    }
    let sequences: HashSet<_> = rows.iter().map(|row| row.sequence).collect();
    assert_eq!((sequences.len(), suite::rows(&scene.store).await), (60, 60));
    assert!(scene.store.verify_seals().await.unwrap().is_sound());
}

#[tokio::test]
async fn a_database_that_is_killed_under_load_loses_and_doubles_nothing() {
    let factory = Crashing::default();
    let scene = {
        let store = factory.open();
        let client = client(&store, CREDENTIAL).await;
        let configuration = imported(&store, 1).await.id;
        Scene { store, factory, client, configuration }
    };
    let all = orders(&scene, 300);
    let (rows, ()) = tokio::join!(record_all(&scene.store, &all), async {
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_millis(150)).await;
            let cluster = Arc::clone(&scene.factory.0);
            let restart = move || {
                let mut cluster = cluster.lock().unwrap();
                cluster.kill();
                cluster.run();
            };
            tokio::task::spawn_blocking(restart).await.unwrap();
        }
    });
    let tids: HashSet<_> = rows.iter().map(|row| (row.content.meter(), tid_of(row))).collect();
    assert_eq!((tids.len(), suite::rows(&scene.store).await), (300, 300));
    // What was answered is what is there, also for a server that starts anew.
    let scene = scene.reopen();
    for (order, row) in all.iter().zip(&rows).step_by(17) {
        let again = scene.store.record_token(order.clone()).await.unwrap();
        assert_eq!(again, Recorded::Replay(row.clone()));
    }
}

#[tokio::test]
async fn while_the_database_is_away_everybody_is_told_so_at_once() {
    let factory = Crashing::default();
    let store = factory.open();
    let client = client(&store, CREDENTIAL).await;
    factory.0.lock().unwrap().kill();
    let refused = store.record_act(act()).await.unwrap_err();
    assert!(refused.is_transient() && refused.outcome() == Outcome::NotDone, "{refused:?}");
    assert!(store.client(client).await.unwrap_err().is_transient());
    factory.0.lock().unwrap().run();
    // For a moment it is not asked again.
    while store.record_act(act()).await.is_err() {
        tokio::task::yield_now().await;
    }
    while store.client(client).await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_connection_that_hangs_is_given_up_in_time_and_its_locks_with_it() {
    let scene = Scene::<Own>::new().await;
    let relay = Relay::start(scene.factory.0.socket());
    let url = format!("postgresql://postgres@127.0.0.1:{}/{}", relay.port, scene.factory.0.name());
    let within = Duration::from_secs(1);
    let settings = PostgresSettings { within, ..PostgresSettings::new(url.parse().unwrap(), "two") };
    let two = PostgresStore::open(&settings, sealer()).unwrap();
    let all = orders(&scene, 4);
    two.record_token(all[0].clone()).await.unwrap();
    relay.stall();
    // The database still has the old connections, and the name of the server with one of them. Both
    // who writes and who reads go on by new ones, which nobody notices but by the time.
    let since = Instant::now();
    for order in &all[1..] {
        two.record_token(order.clone()).await.unwrap();
    }
    assert!(two.client(scene.client).await.unwrap().is_some());
    assert!(since.elapsed() >= within, "nothing hung");
    assert!(scene.store.record_token(all[3].clone()).await.is_ok(), "nothing is locked");
    assert_eq!(rows(&scene.store).await, 4);
}

/// What stands between a server and its database, as a network does.
struct Relay {
    port: u16,
    connections: Arc<AtomicUsize>,
    /// Connections before this one pass nothing on any more, and do not end.
    stalled: Arc<AtomicUsize>,
}

impl Relay {
    fn start(socket: std::path::PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let relay = Self {
            port: listener.local_addr().unwrap().port(),
            connections: Arc::default(),
            stalled: Arc::default(),
        };
        let (connections, stalled) = (Arc::clone(&relay.connections), Arc::clone(&relay.stalled));
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, number) = (client.unwrap(), connections.fetch_add(1, Ordering::SeqCst));
                let database = UnixStream::connect(&socket).unwrap();
                let (from_client, from_database) =
                    (client.try_clone().unwrap(), database.try_clone().unwrap());
                let stalled = [Arc::clone(&stalled), Arc::clone(&stalled)];
                let [one, other] = stalled.map(|stalled| move || stalled.load(Ordering::SeqCst) > number);
                thread::spawn(move || pass_on(from_client, database, one));
                thread::spawn(move || pass_on(from_database, client, other));
            }
        });
        relay
    }

    fn stall(&self) {
        self.stalled.store(self.connections.load(Ordering::SeqCst), Ordering::SeqCst);
    }
}

fn pass_on(mut from: impl Read, mut to: impl Write, is_stalled: impl Fn() -> bool) {
    let mut bytes = [0; 8_192];
    loop {
        let count = from.read(&mut bytes).unwrap_or(0);
        while is_stalled() {
            thread::park();
        }
        if count == 0 || to.write_all(&bytes[..count]).is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn a_row_of_a_chain_that_there_is_not_is_nobodys() {
    let scene = Scene::<Own>::new().await;
    let row = scene.store.record_token(scene.credit(1, meter(0), 100)).await.unwrap();
    let forged = "INSERT INTO vendkey.issued_tokens
                  SELECT (7::bigint << 44) + 1, issued_ms, pan, block, client, credential, configuration, target,
                         tid + 1, base_date, kind, rnd, class, roll_over, transfer_sgc, gen_random_uuid(),
                         request_hash, hash FROM vendkey.issued_tokens";
    scene.factory.0.sql(forged);
    let sequence = crate::ledger::Sequence::new((7 << 44) + 1).unwrap();
    let refused = scene.store.issued_token(sequence).await;
    assert!(matches!(refused, Err(StoreError::Corrupt { .. })), "{refused:?}");
    assert_eq!(rows(&scene.store).await, 1);
    assert!(scene.store.issued_token(row.row().sequence).await.unwrap().is_some());
}

#[tokio::test]
async fn records_that_somebody_else_wrote_behind_the_end_are_in_nobodys_way() {
    let scene = Scene::<Own>::new().await;
    let first = scene.store.record_token(scene.credit(1, meter(0), 100)).await.unwrap();
    let forged_row = "INSERT INTO vendkey.issued_tokens
        SELECT sequence + 1, issued_ms, pan + 1, block, client, credential, configuration, target, tid,
               base_date, kind, rnd, class, roll_over, transfer_sgc, gen_random_uuid(), request_hash, hash
        FROM vendkey.issued_tokens ORDER BY sequence DESC LIMIT 1";
    scene.factory.0.sql(forged_row);
    let second = scene.store.record_token(scene.credit(2, meter(0), 100)).await.unwrap();
    let position = |recorded: &Recorded| recorded.row().sequence.position();
    assert_eq!(position(&second), position(&first) + 2);
    let forged_act = "INSERT INTO vendkey.acts (chain, position, at_ms, kind, details, hash)
        SELECT number, position + 1, at_ms, 'forged', '{}', hash FROM vendkey.chains";
    scene.factory.0.sql(forged_act);
    scene.store.record_act(act()).await.unwrap();
    assert_eq!(scene.store.chain_head().await.unwrap().position, position(&second) + 2);
    // In the middle of a batch.
    let forged_row = forged_row
        .replace("sequence + 1", "(SELECT position + 2 FROM vendkey.chains)")
        .replace("pan + 1", "pan + 2");
    scene.factory.0.sql(&forged_row);
    let batch = (3..8).map(|request| scene.credit(request, meter(0), 100)).collect();
    for recorded in scene.store.record_tokens(batch).await {
        recorded.unwrap();
    }
    assert_eq!(scene.store.chain_head().await.unwrap().position, position(&second) + 2 + 2 + 5);
}

#[tokio::test]
async fn a_process_whose_name_was_taken_writes_no_more() {
    let scene = Scene::<Own>::new().await;
    scene.factory.0.sql("UPDATE vendkey.servers SET claim = decode(repeat('07', 16), 'hex')");
    let refused = scene.store.record_token(scene.credit(1, meter(0), 100)).await;
    assert!(matches!(refused, Err(LedgerError::Store(StoreError::TakenOver { .. }))), "{refused:?}");
    assert!(matches!(scene.store.record_act(act()).await, Err(StoreError::TakenOver { .. })));
}

fn act() -> NewAct {
    NewAct { kind: "test", actor: Actor::Local, details: std::collections::BTreeMap::new(), now_ms: NOW_MS }
}

/// A database in a cluster of its own, which may be killed.
#[derive(Clone)]
struct Crashing(Arc<std::sync::Mutex<postgresql::Cluster>>);

impl Default for Crashing {
    fn default() -> Self {
        Self(Arc::new(std::sync::Mutex::new(postgresql::Cluster::start())))
    }
}

impl Factory for Crashing {
    type Engine = PostgresEngine;

    fn open(&self) -> PostgresStore {
        let url = self.0.lock().unwrap().url("postgres");
        let settings = PostgresSettings::new(url.parse().unwrap(), "one");
        PostgresStore::open(&settings, sealer()).unwrap()
    }
}
