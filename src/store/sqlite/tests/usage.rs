//! Limits: exactly as much passes as they say.

use std::collections::BTreeMap;

use super::*;
use crate::store::{Amount, AmountLimits, Kinds, LimitMet, Scope, TokenKind};

/// A till under limits.
async fn under(limits: Limits) -> Scene {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let id = ClientId::generate();
    let may_do = [crate::store::Group::Vend].into();
    let rights = Rights::new(may_do, [].into(), Scope::All, Kinds::All).unwrap();
    let new =
        NewClient { id, display_name: "a till".into(), rights, limits, actor: Actor::Local, now_ms: NOW_MS };
    store.create_client(new).await.unwrap();
    let credential = NewCredential {
        key_id: CREDENTIAL.into(),
        client: id,
        proof: Proof::Secret([7; 32]),
        expires_ms: None,
        actor: Actor::Local,
        now_ms: NOW_MS,
    };
    store.create_credential(credential).await.unwrap();
    let configuration = imported(&store, 1).await.id;
    Scene { folder, store, client: id, configuration }
}

fn of_electricity(per_token: Option<&str>, per_day: Option<&str>, share: Option<u8>) -> Limits {
    let amount = |text: Option<&str>| text.map(|text| text.parse::<Amount>().unwrap());
    let amounts = AmountLimits { per_token: amount(per_token), per_day: amount(per_day) };
    let amounts = BTreeMap::from([(TokenKind::ElectricityCredit, amounts)]);
    Limits::new(amounts, None, None, None, share).unwrap()
}

fn tokens(per_day: u64, share: Option<u8>) -> Limits {
    Limits::new(BTreeMap::new(), Some(per_day), None, None, share).unwrap()
}

fn met(recorded: Result<Recorded, LedgerError>) -> LimitMet {
    match recorded {
        Err(LedgerError::Refused(Refused::Limit(met))) => met,
        other => panic!("no limit was met: {other:?}"),
    }
}

async fn alarms(store: &SqliteStore) -> usize {
    let records = store.records(0, 1_000, false).await.unwrap();
    records.lines.iter().filter(|line| format!("{line:?}").contains("limit.alarm")).count()
}

/// Requests with an id of their own each; a credit is 2.5 kWh.
fn credits(scene: &Scene, count: u16) -> Vec<NewToken> {
    let token = |n: u16| {
        let mut id = [0; 16];
        id[..2].copy_from_slice(&n.to_be_bytes());
        NewToken { request_id: Uuid::from_bytes(id), ..scene.credit(1, meter(usize::from(n % 3)), 100) }
    };
    (1..=count).map(token).collect()
}

#[tokio::test]
async fn exactly_so_many_tokens_a_day_pass_whatever_comes_at_once() {
    let scene = under(tokens(40, None)).await;
    let store = Arc::new(scene.store);
    let scene = Scene { store: open(&tempfile::tempdir().unwrap()), ..scene };
    let mut running = tokio::task::JoinSet::new();
    let mut waiting = credits(&scene, 100);
    while !waiting.is_empty() {
        let store = Arc::clone(&store);
        // Singly and in batches.
        let some = waiting.split_off(waiting.len().saturating_sub(7));
        running.spawn(async move {
            if some.len() < 5 {
                let mut all = Vec::new();
                for one in some {
                    all.push(store.record_token(one).await);
                }
                return all;
            }
            store.record_tokens(some).await
        });
    }
    let all: Vec<_> = running.join_all().await.into_iter().flatten().collect();
    let (passed, refused): (Vec<_>, Vec<_>) = all.into_iter().partition(Result::is_ok);
    assert_eq!((passed.len(), refused.len()), (40, 60));
    for refused in refused {
        let met = met(refused);
        assert_eq!((met.name.as_str(), met.most.as_str()), ("tokens_per_day", "40"));
        assert_eq!(met.ends.unwrap().at_ms, NOW_MS + 86_400_000);
    }
}

#[tokio::test]
async fn a_restart_forgets_nothing_and_the_next_day_begins_anew() {
    let scene = under(of_electricity(None, Some("10"), None)).await;
    let all = credits(&scene, 9);
    for token in &all[..3] {
        scene.store.record_token(token.clone()).await.unwrap();
    }
    let scene = scene.reopen();
    scene.store.record_token(all[3].clone()).await.unwrap();
    let full = met(scene.store.record_token(all[4].clone()).await);
    assert_eq!((full.name.as_str(), full.most.as_str()), ("electricity_credit.per_day", "10"));
    // A retry costs nothing.
    assert!(matches!(scene.store.record_token(all[0].clone()).await, Ok(Recorded::Replay(_))));
    let tomorrow = NewToken { now_ms: NOW_MS + 86_400_000, ..all[5].clone() };
    scene.store.record_token(tomorrow).await.unwrap();
}

#[tokio::test]
async fn what_a_token_transfers_is_limited_alone() {
    let scene = under(of_electricity(Some("2.4"), None, None)).await;
    let above = met(scene.store.record_token(scene.credit(1, meter(0), 100)).await);
    assert_eq!((above.name.as_str(), above.ends), ("electricity_credit.per_token", None));
    let scene = under(of_electricity(Some("2.5"), None, None)).await;
    scene.store.record_token(scene.credit(1, meter(0), 100)).await.unwrap();
}

#[tokio::test]
async fn what_is_refused_or_taken_back_is_not_counted() {
    let scene = under(tokens(2, None)).await;
    let all = credits(&scene, 4);
    // No TID: refused after the limit was looked at.
    let late = NewToken {
        content: Content::Sequenced {
            configuration: scene.configuration,
            meter: meter(0),
            base_date: BaseDate::Y2014,
            window: TidWindow { earliest: tid(100), ken: KeyExpiry(255), horizon: tid(99) },
            payload: payload(),
            rnd: Rnd::try_from(5).unwrap(),
        },
        ..all[0].clone()
    };
    for _ in 0..3 {
        let refused = scene.store.record_token(late.clone()).await;
        assert!(!matches!(refused, Ok(_) | Err(LedgerError::Refused(Refused::Limit(_)))), "{refused:?}");
    }
    // A transaction that fails as a whole takes its bookings back.
    let failing = all[0].clone();
    let failed: Result<(), StoreError> = scene
        .store
        .write(move |c| {
            assert!(tokens::record(c, &[&failing], Instant::now())?[0].is_ok());
            Err(StoreError::Full { outcome: crate::store::Outcome::NotDone })
        })
        .await;
    assert!(matches!(failed, Err(StoreError::Full { .. })));
    // And so does a savepoint.
    let failing = all[0].clone();
    let failed: Result<(), StoreError> = scene
        .store
        .write(move |c| {
            assert!(tokens::record(c, &[&failing], Instant::now())?[0].is_ok());
            Err(StoreError::Defect { reason: "a test".into() })
        })
        .await;
    assert!(failed.is_err());
    scene.store.record_token(all[1].clone()).await.unwrap();
    scene.store.record_token(all[2].clone()).await.unwrap();
    met(scene.store.record_token(all[3].clone()).await);
}

#[tokio::test]
async fn an_alarm_comes_once_when_the_share_is_passed() {
    let scene = under(tokens(10, Some(80))).await;
    for (count, token) in credits(&scene, 10).into_iter().enumerate() {
        scene.store.record_token(token).await.unwrap();
        assert_eq!(alarms(&scene.store).await, usize::from(count + 1 >= 8), "after {}", count + 1);
    }
    let scene = under(of_electricity(None, Some("100"), Some(50))).await;
    for token in credits(&scene, 30) {
        scene.store.record_token(token).await.unwrap();
    }
    assert_eq!(alarms(&scene.store).await, 1);
}

#[tokio::test]
async fn a_multiple_of_the_usual_pace_is_an_alarm() {
    let scene = under(Limits::default()).await;
    let client: i64 = 1;
    scene
        .store
        .write(move |c| {
            for day in 1..=3 {
                c.view.execute(
                    "INSERT INTO usage VALUES (?1, ?2, 'electricity_credit', 30, '0')",
                    (client, NOW_MS / 86_400_000 - day),
                )?;
            }
            Ok(())
        })
        .await
        .unwrap();
    let all = credits(&scene, 160);
    for recorded in scene.store.record_tokens(all[..149].to_vec()).await {
        recorded.unwrap();
    }
    assert_eq!(alarms(&scene.store).await, 0, "30 a day are usual, 150 are five times that");
    for recorded in scene.store.record_tokens(all[149..].to_vec()).await {
        recorded.unwrap();
    }
    assert_eq!(alarms(&scene.store).await, 1);
}

#[tokio::test]
async fn a_changed_limit_counts_at_once() {
    let scene = under(tokens(1, None)).await;
    let all = credits(&scene, 2);
    scene.store.record_token(all[0].clone()).await.unwrap();
    met(scene.store.record_token(all[1].clone()).await);
    let client = scene.store.client(scene.client).await.unwrap().unwrap();
    let change = ClientChange::Replace {
        version: client.version,
        display_name: client.display_name,
        rights: client.rights,
        limits: tokens(2, None),
    };
    let act = ClientAct { actor: Actor::Local, now_ms: NOW_MS, keepers: 0 };
    scene.store.change_client(scene.client, change, act).await.unwrap();
    scene.store.record_token(all[1].clone()).await.unwrap();
}

/// Changes the sums behind the back of whatever store has them open.
fn tamper(scene: &Scene, sql: &str) {
    let other = Connection::open(scene.folder.path().join("vendkey.db")).unwrap();
    assert!(other.execute(sql, ()).unwrap() > 0, "{sql}");
}

#[tokio::test]
async fn sums_that_another_hand_lowered_are_raised_to_what_the_ledger_says() {
    for forgery in [
        "UPDATE usage SET tokens = 0, least_units = '0'",
        "UPDATE usage SET tokens = tokens - 1",
        "DELETE FROM usage",
        "UPDATE usage SET kind = 'heat_credit'",
    ] {
        let mut scene = under(tokens(9, None)).await;
        let asked = credits(&scene, 20);
        let (first, rest) = asked.split_at(6);
        let recorded = scene.store.record_tokens(first.to_vec()).await;
        assert!(recorded.iter().all(Result::is_ok));
        assert_eq!(scene.store.correct_usage(CountedDay::of(NOW_MS), NOW_MS).await, Ok(vec![]));
        tamper(&scene, forgery);
        scene = scene.reopen();
        // Of the day nothing was counted before: what came since is counted in the transaction.
        let found = scene.store.correct_usage(CountedDay::of(NOW_MS), NOW_MS).await.unwrap();
        assert_eq!(found.len(), 1, "{forgery}: {found:?}");
        assert_eq!((found[0].client, found[0].counted.tokens), (scene.client, 6));
        assert_eq!(scene.store.correct_usage(CountedDay::of(NOW_MS), NOW_MS).await, Ok(vec![]));
        let passed = scene.store.record_tokens(rest.to_vec()).await.iter().filter(|one| one.is_ok()).count();
        assert_eq!(passed, if forgery.contains("heat") { 0 } else { 3 }, "{forgery}");
        let records = scene.store.records(0, 1_000, false).await.unwrap().lines;
        let raised = records.iter().filter(|line| format!("{line:?}").contains("usage.raised"));
        assert_eq!(raised.count(), 1);
    }
}

#[tokio::test]
async fn a_sum_above_the_ledger_stays_and_is_told() {
    let scene = under(tokens(9, None)).await;
    scene.store.record_tokens(credits(&scene, 2)).await;
    tamper(&scene, "UPDATE usage SET tokens = 8");
    let scene = scene.reopen();
    for _ in 0..2 {
        let found = scene.store.correct_usage(CountedDay::of(NOW_MS), NOW_MS).await.unwrap();
        assert_eq!((found[0].kept.tokens, found[0].counted.tokens), (8, 2));
        assert_eq!(found[0].higher(), found[0].kept);
    }
    let passed = scene.store.record_tokens(credits(&scene, 9)).await;
    let new = passed.iter().filter(|one| matches!(one, Ok(Recorded::New(_)))).count();
    assert_eq!(new, 1);
}
