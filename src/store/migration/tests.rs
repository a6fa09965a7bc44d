//! A ledger carried from engine to engine goes on as if nothing had been.

use std::collections::BTreeMap;
use std::panic::panic_any;
use std::time::{Duration, Instant};

use super::*;
use crate::access::client::{ClientAct, ClientChange};
use crate::access::rights::Rights;
use crate::audit::{Actor, NewAct, Verification};
use crate::configuration::KeyChangePair;
use crate::id::ClientId;
use crate::ledger::{
    AcceptedRestore, Attempted, Content, Cursor, FAILURES_PER_METER_AND_HOUR, NewAttempt, NewToken, Recorded,
    RefusedCalls, Seed, TokenFilter, TokenRow, hour_of,
};
use crate::store::contract::tests::approvals::word;
use crate::store::contract::tests::usage::{met, tokens};
use crate::store::contract::tests::{
    CREDENTIAL, Factory, NOW_MS, Scene, SeveralServers as _, client, client_under, display, imported, meter,
    sealer, tid, tid_of,
};
use crate::store::database::Database;
use crate::store::engine::Engine;
use crate::store::open::migrate_by;
use crate::store::postgres::tests::Own;
use crate::store::sqlite::tests::Folder;
use crate::store::{
    ApprovalStore as _, AuditStore as _, ClientStore as _, DatabaseSettings, DatabaseUrl,
    KeyChangeStore as _, LedgerStore as _, OpenError, PageRequest, SealReport, SoftwareSealer,
    VerificationStore as _, examine, open,
};
use crate::sts::attributes::BaseDate;

/// A factory of databases with a URL.
trait Named: Factory {
    fn url(&self) -> DatabaseUrl;
}

impl Named for Folder {
    fn url(&self) -> DatabaseUrl {
        DatabaseUrl::Sqlite(self.path())
    }
}

impl Named for Own {
    fn url(&self) -> DatabaseUrl {
        DatabaseUrl::Postgresql(Box::new(self.settings("one").address))
    }
}

/// Migrates in batches of three. Of a file that a child process of another test holds for a moment
/// it waits for the lock.
fn migrated(from: &DatabaseUrl, to: &DatabaseUrl, watch: Watch<'_>) -> Result<Migrated, MigrationError> {
    let request = Request {
        batch: 3,
        ..Request::new(from.to_string(), to.to_string(), Some("one".into()), Vec::new())
    };
    let give_up = Instant::now() + Duration::from_secs(60);
    loop {
        match migrate_by(from, to, &request, sealer(), watch, &mut |_| Ok(())) {
            Err(
                MigrationError::Source(OpenError::InUse { .. })
                | MigrationError::Target(OpenError::InUse { .. }),
            ) if Instant::now() < give_up => std::thread::yield_now(),
            done => return done,
        }
    }
}

/// What a database says to whoever would serve it.
fn refusal(url: &DatabaseUrl) -> OpenError {
    assert!(examine(url, "one").is_err(), "a check finds it too");
    open(&DatabaseSettings::new(url.clone(), "one"), sealer()).map(drop).expect_err("it is served")
}

fn credit<F: Factory>(scene: &Scene<F>, request: u8) -> NewToken {
    scene.credit(request, meter(usize::from(request) % 2), 100)
}

/// Some of everything, by a client that may have 40 tokens a day.
async fn filled<F: Factory>() -> Scene<F> {
    let factory = F::default();
    let store = factory.open();
    let id = client_under(&store, ClientId::generate(), CREDENTIAL, Rights::till(), tokens(40, None)).await;
    let scene = Scene { configuration: imported(&store, 1).await.id, store, factory, client: id };
    let store = &scene.store;
    let other = client(store, "till-2").await;
    // Numbers that are missing.
    let target = imported(store, 2).await.id;
    for target in [target, imported(store, 3).await.id] {
        let pair = KeyChangePair { source: scene.configuration, target };
        store.allow_key_change(pair, id, Actor::Local, NOW_MS).await.unwrap();
    }
    let pair = KeyChangePair { source: scene.configuration, target };
    store.forbid_key_change(pair, Actor::Local, NOW_MS).await.unwrap();
    store.allow_key_change(pair, id, Actor::Local, NOW_MS).await.unwrap();
    for request in 1..=20 {
        store.record_token(credit(&scene, request)).await.unwrap();
    }
    let change = Content::KeyChange {
        configuration: scene.configuration,
        meter: meter(0),
        target,
        roll_over: true,
        transfer_sgc: false,
    };
    let shown = Content::Fixed { configuration: None, meter: None, display: display() };
    for (request, content) in [(21, change), (22, shown)] {
        store.record_token(NewToken { content, ..credit(&scene, request) }).await.unwrap();
    }
    let yesterday = NewToken { now_ms: NOW_MS - 86_400_000, ..credit(&scene, 23) };
    store.record_token(yesterday).await.unwrap();
    let seed = |index, minute| Seed { meter: meter(index), base_date: BaseDate::Y2014, tid: tid(minute) };
    store.seed_last_tids(vec![seed(1, 900), seed(2, 700)], Actor::Local, NOW_MS).await.unwrap();
    store.lower_last_tid(seed(1, 800), Actor::Local, NOW_MS).await.unwrap();
    let asked = scene.ask(b"one").await;
    store.vote(asked.id, word(other, true)).await.unwrap().unwrap();
    let ended = scene.ask(b"two").await;
    store.vote(ended.id, word(other, false)).await.unwrap().unwrap();
    for at in 0..3 {
        let new = NewAttempt { client: other, meter: meter(0), now_ms: NOW_MS + at };
        assert!(matches!(store.attempt_verification(new).await, Ok(Attempted::Granted(_))));
    }
    let accepted = AcceptedRestore {
        actor: Actor::Local,
        floors: vec![(BaseDate::Y1993, tid(5_000))],
        requests_from_ms: NOW_MS - 1_000_000,
        lost_from: 40,
        details: BTreeMap::new(),
        now_ms: NOW_MS,
    };
    store.accept_restore(accepted).await.unwrap();
    for request in 24..=30 {
        store.record_token(credit(&scene, request)).await.unwrap();
    }
    let refused = RefusedCalls { hour: hour_of(NOW_MS), reason: "A".to_owned(), calls: 3 };
    let act = NewAct { kind: "call.refused", actor: Actor::Local, details: BTreeMap::new(), now_ms: NOW_MS };
    store.record_refused(act, refused).await.unwrap();
    let act = ClientAct { actor: Actor::Local, now_ms: NOW_MS, keepers: 0 };
    store.change_client(other, ClientChange::Enabled(false), act).await.unwrap();
    scene
}

async fn all_rows<E: Engine>(store: &Database<E>) -> Vec<TokenRow> {
    let (mut rows, mut after) = (Vec::new(), Cursor::default());
    loop {
        // Through the gap of the restore, page by page.
        let page = store.list_issued_tokens(TokenFilter::default(), after, 1_000).await.unwrap();
        rows.extend(page.rows);
        match page.next {
            Some(next) => after = next,
            None => return rows,
        }
    }
}

/// All that can be asked, as text.
async fn asked<E: Engine>(store: &Database<E>) -> Vec<String> {
    let mut told: Vec<String> = all_rows(store).await.iter().map(|row| format!("{row:?}")).collect();
    let records = store.records(Cursor::default(), 1_000, true).await.unwrap();
    let mut verification = Verification::new(None);
    records.lines.iter().for_each(|line| verification.feed(line));
    let outcome = verification.finish();
    assert!(outcome.is_sound(), "{:?}", outcome.faults);
    assert_eq!(outcome.lost.len(), 1);
    assert_eq!(store.verify_seals().await.unwrap(), SealReport::default());
    told.push(format!("{:?}", records.lines));
    told.push(format!("{:?}", store.chain_heads().await.unwrap()));
    told.push(format!("{:?}", store.list_clients(PageRequest::first()).await.unwrap()));
    told.push(format!("{:?}", store.list_key_changes(PageRequest::first()).await.unwrap()));
    for index in 0..3 {
        for base_date in BaseDate::ALL {
            told.push(format!("{:?}", store.last_tid(meter(index), base_date).await.unwrap()));
        }
    }
    told
}

/// What must go on in the target as it would have in the source.
async fn goes_on<F: Factory>(scene: &Scene<F>, rows: &[TokenRow]) {
    let store = &scene.store;
    for request in (1..=20).chain(24..=30) {
        let again = store.record_token(credit(scene, request)).await.unwrap();
        let Recorded::Replay(row) = again else { panic!("{again:?}") };
        assert!(rows.contains(&row), "{row:?}");
    }
    let next = store.record_token(credit(scene, 31)).await.unwrap();
    assert_eq!(tid_of(next.row()), 804, "from the one that was lowered on");
    let last = rows.iter().map(|row| row.sequence).max().unwrap();
    assert!(next.row().sequence > last);
    // 29 tokens of today and this one.
    for request in 32..=41 {
        store.record_token(credit(scene, request)).await.unwrap();
    }
    met(store.record_token(credit(scene, 42)).await);
    let new = NewAttempt { client: scene.client, meter: meter(0), now_ms: NOW_MS + 10 };
    for _ in 3..FAILURES_PER_METER_AND_HOUR {
        assert!(matches!(store.attempt_verification(new).await, Ok(Attempted::Granted(_))));
    }
    assert!(matches!(store.attempt_verification(new).await, Ok(Attempted::Limited { .. })));
    // Numbers of new rows are not those of old ones.
    client(store, "till-3").await;
    imported(store, 4).await;
    scene.ask(b"three").await;
    assert_eq!(store.verify_seals().await.unwrap(), SealReport::default());
}

async fn carried<F: Named, G: Named>() {
    let Scene { store, factory, client, configuration } = filled::<F>().await;
    let (before, rows) = (asked(&store).await, all_rows(&store).await);
    let target = G::default();
    let busy = migrate_by(
        &factory.url(),
        &target.url(),
        &Request::new(String::new(), String::new(), None, Vec::new()),
        sealer(),
        &mut |_| {},
        &mut |_| Ok(()),
    );
    let busy = busy.unwrap_err();
    assert!(
        matches!(busy, MigrationError::Source(OpenError::InUse { .. } | OpenError::ServerRuns { .. })),
        "{busy}"
    );
    drop(store);
    let mut steps = Vec::new();
    let done = migrated(&factory.url(), &target.url(), &mut |progress| steps.push(progress)).unwrap();
    assert!(steps.iter().any(|progress| progress.step == Step::Records && progress.done == 3), "{steps:?}");
    assert_eq!(done.chains.len(), 1);
    let count = |what| done.counts.iter().find(|(name, _)| *name == what).unwrap().1;
    assert_eq!((count("tokens"), count("meters"), count("clients")), (30, 3, 2), "{:?}", done.counts);
    assert_eq!((count("sums of days"), count("failed verifications"), count("votes")), (4, 3, 2));
    assert_eq!(done.chains[0].lost.len(), 1);
    assert!(matches!(refusal(&factory.url()), OpenError::Moved { .. }));
    let again = migrated(&factory.url(), &target.url(), &mut |_| {}).unwrap_err();
    assert!(matches!(again, MigrationError::Done), "{again}");

    let scene = Scene { store: target.open(), factory: target, client, configuration };
    assert_eq!(asked(&scene.store).await, before);
    goes_on(&scene, &rows).await;
    let scene = scene.reopen();
    let (before, rows) = (asked(&scene.store).await, all_rows(&scene.store).await);

    // And back.
    let Scene { store, factory, .. } = scene;
    drop(store);
    let back = F::default();
    migrated(&factory.url(), &back.url(), &mut |_| {}).unwrap();
    assert!(matches!(refusal(&factory.url()), OpenError::Moved { .. }));
    let store = back.open();
    assert_eq!(asked(&store).await, before);
    assert_eq!(all_rows(&store).await, rows);
}

#[tokio::test]
async fn a_ledger_goes_on_in_postgresql_and_comes_back() {
    carried::<Folder, Own>().await;
}

#[tokio::test]
async fn a_ledger_goes_on_in_a_file_and_comes_back() {
    carried::<Own, Folder>().await;
}

/// Cut off at each step, with a server on the source in between.
async fn cut_off<F: Named, G: Named>() {
    let mut scene = filled::<F>().await;
    let target = G::default();
    let (from, to) = (scene.factory.url(), target.url());
    let mut cuts = 0;
    loop {
        if cuts % 4 == 1 {
            let request = 43 + cuts;
            let tomorrow = NewToken { now_ms: NOW_MS + 86_400_000, ..credit(&scene, request) };
            scene.store.record_token(tomorrow).await.unwrap();
            imported(&scene.store, request).await;
            let enabled = ClientChange::Enabled(true);
            let act = ClientAct { actor: Actor::Local, now_ms: NOW_MS, keepers: 0 };
            scene.store.change_client(scene.client, enabled, act).await.unwrap();
        }
        let before = asked(&scene.store).await;
        let Scene { store, factory, client, configuration } = scene;
        drop(store);
        let mut steps = 0;
        let done = migrated(&from, &to, &mut |_| {
            steps += 1;
            if steps > cuts {
                panic_any("cut off");
            }
        });
        if let Ok(done) = done {
            assert!(cuts > 20, "{cuts} cuts, {done:?}");
            assert!(matches!(refusal(&from), OpenError::Moved { .. }));
            assert_eq!(asked(&target.open()).await, before);
            return;
        }
        assert!(matches!(refusal(&to), OpenError::Filling { .. }), "after {cuts} steps");
        cuts += 1;
        scene = Scene { store: factory.open(), factory, client, configuration };
    }
}

#[tokio::test]
async fn what_was_cut_off_goes_on_into_postgresql() {
    cut_off::<Folder, Own>().await;
}

#[tokio::test]
async fn what_was_cut_off_goes_on_into_a_file() {
    cut_off::<Own, Folder>().await;
}

#[tokio::test]
async fn chains_of_several_servers_stay_in_postgresql() {
    let scene = filled::<Own>().await;
    let two = scene.factory.open_as("two");
    two.record_token(credit(&scene, 31)).await.unwrap();
    let (before, from) = (asked(&scene.store).await, scene.factory.url());
    let next = credit(&scene, 50);
    drop((two, scene.store));
    let folder = Folder::default();
    let refused = migrated(&from, &folder.url(), &mut |_| {}).unwrap_err();
    assert!(matches!(refused, MigrationError::SeveralChains { chains: 2 }), "{refused}");
    assert!(!folder.path().exists(), "nothing was made");
    let target = Own::default();
    let done = migrated(&from, &target.url(), &mut |_| {}).unwrap();
    let servers: Vec<&str> = done.chains.iter().map(|chain| chain.server.as_str()).collect();
    assert_eq!(servers, ["one", "two"]);
    let (one, two) = (target.open(), target.open_as("two"));
    assert_eq!(asked(&one).await, before);
    let next = two.record_token(next).await.unwrap();
    assert_eq!(next.row().sequence.chain().value(), 1);
}

#[tokio::test]
async fn a_target_that_is_something_else_is_refused_and_left_alone() {
    let scene = filled::<Folder>().await;
    let from = scene.factory.url();
    drop(scene.store);
    let other = filled::<Own>().await;
    let to = other.factory.url();
    let before = asked(&other.store).await;
    drop(other.store);
    let refused = migrated(&from, &to, &mut |_| {}).unwrap_err();
    assert!(matches!(refused, MigrationError::NotEmpty), "{refused}");
    assert_eq!(asked(&other.factory.open()).await, before);
    let refused = migrated(&from, &from, &mut |_| {}).unwrap_err();
    assert!(matches!(refused, MigrationError::Same), "{refused}");
    // The unfinished target of another ledger.
    let target = Own::default();
    migrated(&from, &target.url(), &mut |_| panic_any("cut off")).unwrap_err();
    let third = filled::<Folder>().await;
    let from = third.factory.url();
    drop(third.store);
    let refused = migrated(&from, &target.url(), &mut |_| {}).unwrap_err();
    assert!(matches!(refused, MigrationError::OfAnother { .. }), "{refused}");
    // And a file that is not there.
    let missing = DatabaseUrl::Sqlite(third.factory.path().with_file_name("missing.db"));
    let refused = migrated(&missing, &target.url(), &mut |_| {}).unwrap_err();
    assert!(matches!(refused, MigrationError::Source(_)), "{refused}");
    assert!(!missing.path().unwrap().exists(), "none is made");
}

#[tokio::test]
async fn a_source_that_somebody_has_changed_is_not_carried_on() {
    for (sql, told) in [
        ("UPDATE clients SET enabled = 1", "rows that somebody else has changed"),
        ("DELETE FROM approval_votes", "taken out or put back"),
        ("UPDATE issued_tokens SET request_hash = zeroblob(32) WHERE sequence = 30", "record 30"),
        ("UPDATE acts SET details = '{}' WHERE position = 3", "record 3 "),
        ("DELETE FROM issued_tokens WHERE sequence = 30", "records 30 to 30 are missing"),
    ] {
        let scene = filled::<Folder>().await;
        let from = scene.factory.url();
        drop(scene.store);
        scene.factory.tamper(sql);
        let target = Own::default();
        let refused = migrated(&from, &target.url(), &mut |_| {}).unwrap_err().to_string();
        assert!(refused.contains(told), "{sql}: {refused}");
    }
    let scene = filled::<Folder>().await;
    let from = scene.factory.url();
    drop(scene.store);
    let target = Own::default();
    let request = Request::new(from.to_string(), target.url().to_string(), None, Vec::new());
    let other = std::sync::Arc::new(SoftwareSealer([2; 32]));
    let refused =
        migrate_by(&from, &target.url(), &request, other, &mut |_| {}, &mut |_| Ok(())).unwrap_err();
    assert!(matches!(refused, MigrationError::Forged { .. }), "another HSM: {refused}");
}

#[tokio::test]
async fn a_source_behind_its_checkpoint_file_is_not_carried_on() {
    let scene = filled::<Folder>().await;
    let from = scene.factory.url();
    let head = scene.store.chain_head().await.unwrap();
    drop(scene.store);
    let named = |position, hash| {
        let head = crate::audit::Head { position, hash, ..head };
        crate::audit::Checkpoint::new(7, NOW_MS, vec![head]).signed(b"spki", vec![1])
    };
    let target = Own::default();
    let with = |checkpoint| {
        let request = Request::new(from.to_string(), target.url().to_string(), None, vec![checkpoint]);
        migrate_by(&from, &target.url(), &request, sealer(), &mut |_| {}, &mut |_| Ok(()))
    };
    for (position, hash) in [(head.position + 1, head.hash), (head.position, Hash([3; 32]))] {
        let refused = with(named(position, hash)).unwrap_err();
        assert!(matches!(refused, MigrationError::BehindCheckpoint { .. }), "{refused}");
    }
    let done = with(named(head.position, head.hash)).unwrap();
    assert_eq!(done.checkpoint, Some(named(head.position, head.hash).to_text()));
}

/// While a command has the database, no server starts, whatever its name.
#[tokio::test]
async fn no_server_starts_beside_a_migration() {
    let scene = filled::<Own>().await;
    let from = scene.factory.url();
    drop(scene.store);
    let folder = Folder::default();
    let mut tried = None;
    migrated(&from, &folder.url(), &mut |_| {
        if tried.is_none() {
            let new = open(&DatabaseSettings::new(from.clone(), "new"), sealer());
            tried = Some(new.map(drop).unwrap_err());
        }
    })
    .unwrap();
    assert!(matches!(tried, Some(OpenError::Maintenance)), "{tried:?}");
}
