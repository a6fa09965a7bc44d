//! Limits: exactly as much passes as they say.

use std::collections::BTreeMap;
use std::time::Instant;

use super::*;
use crate::access::limits::{Amount, AmountLimits, LimitMet};
use crate::access::rights::{Group, Kinds, Scope, TokenKind};
use crate::store::transactions::tokens::record;

/// A till under limits.
pub(in crate::store) async fn under<F: Factory>(limits: Limits) -> Scene<F> {
    let factory = F::default();
    let store = factory.open();
    let rights = Rights::new([Group::Vend].into(), [].into(), Scope::All, Kinds::All).unwrap();
    let id = client_under(&store, ClientId::generate(), CREDENTIAL, rights, limits).await;
    let configuration = imported(&store, 1).await.id;
    Scene { store, factory, client: id, configuration }
}

pub(in crate::store) fn of_electricity(
    per_token: Option<&str>,
    per_day: Option<&str>,
    share: Option<u8>,
) -> Limits {
    let amount = |text: Option<&str>| text.map(|text| text.parse::<Amount>().unwrap());
    let amounts = AmountLimits { per_token: amount(per_token), per_day: amount(per_day) };
    let amounts = BTreeMap::from([(TokenKind::ElectricityCredit, amounts)]);
    Limits::new(amounts, None, None, None, share).unwrap()
}

pub(in crate::store) fn tokens(per_day: u64, share: Option<u8>) -> Limits {
    Limits::new(BTreeMap::new(), Some(per_day), None, None, share).unwrap()
}

pub(in crate::store) fn met(recorded: Result<Recorded, LedgerError>) -> LimitMet {
    match recorded {
        Err(LedgerError::Refused(Refused::Limit(met))) => met,
        other => panic!("no limit was met: {other:?}"),
    }
}

pub(in crate::store) async fn alarms<E: Engine>(store: &Database<E>) -> usize {
    let records = store.records(Cursor::default(), 1_000, false).await.unwrap();
    records.lines.iter().filter(|line| format!("{line:?}").contains("limit.alarm")).count()
}

/// Requests with an id of their own each; a credit is 2.5 kWh.
pub(in crate::store) fn credits<F: Factory>(scene: &Scene<F>, count: u16) -> Vec<NewToken> {
    let token = |n: u16| {
        let mut id = [0; 16];
        id[..2].copy_from_slice(&n.to_be_bytes());
        NewToken { request_id: Uuid::from_bytes(id), ..scene.credit(1, meter(usize::from(n % 3)), 100) }
    };
    (1..=count).map(token).collect()
}

pub(in crate::store) async fn exactly_the_limit_of_a_day_passes_whatever_comes_at_once<F: Factory>() {
    let scene = under::<F>(tokens(40, None)).await;
    let mut waiting = credits(&scene, 100);
    let store = Arc::new(scene.store);
    let mut running = tokio::task::JoinSet::new();
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

pub(in crate::store) async fn a_restart_forgets_nothing_and_the_next_day_begins_anew<F: Factory>() {
    let scene = under::<F>(of_electricity(None, Some("10"), None)).await;
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

pub(in crate::store) async fn what_a_token_transfers_is_limited_alone<F: Factory>() {
    let scene = under::<F>(of_electricity(Some("2.4"), None, None)).await;
    let above = met(scene.store.record_token(scene.credit(1, meter(0), 100)).await);
    assert_eq!((above.name.as_str(), above.ends), ("electricity_credit.per_token", None));
    let scene = under::<F>(of_electricity(Some("2.5"), None, None)).await;
    scene.store.record_token(scene.credit(1, meter(0), 100)).await.unwrap();
}

pub(in crate::store) async fn what_is_refused_or_taken_back_is_not_counted<F: Factory>() {
    let scene = under::<F>(tokens(2, None)).await;
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
    // What is taken back takes its sums along, with its savepoint and with its whole transaction.
    for failure in
        [StoreError::Defect { reason: "a test".into() }, StoreError::Full { outcome: Outcome::NotDone }]
    {
        let (failing, said) = (all[0].clone(), failure.clone());
        let failed: Result<(), StoreError> = scene
            .store
            .write(move |writing| {
                assert!(record(writing, &[&failing], Instant::now())?[0].is_ok());
                Err(said)
            })
            .await;
        assert_eq!(failed, Err(failure));
    }
    let first = scene.store.record_token(all[0].clone()).await.unwrap();
    assert_eq!(tid_of(first.row()), 100, "nor is its TID");
    scene.store.record_token(all[2].clone()).await.unwrap();
    met(scene.store.record_token(all[3].clone()).await);
}

pub(in crate::store) async fn an_alarm_comes_once_when_the_share_is_passed<F: Factory>() {
    let scene = under::<F>(tokens(10, Some(80))).await;
    for (count, token) in credits(&scene, 10).into_iter().enumerate() {
        scene.store.record_token(token).await.unwrap();
        assert_eq!(alarms(&scene.store).await, usize::from(count + 1 >= 8), "after {}", count + 1);
    }
    let scene = under::<F>(of_electricity(None, Some("100"), Some(50))).await;
    for token in credits(&scene, 30) {
        scene.store.record_token(token).await.unwrap();
    }
    assert_eq!(alarms(&scene.store).await, 1);
}

pub(in crate::store) async fn a_changed_limit_counts_at_once<F: Factory>() {
    let scene = under::<F>(tokens(1, None)).await;
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

pub(in crate::store) async fn a_multiple_of_the_usual_pace_is_an_alarm<F: Factory>() {
    let scene = under::<F>(Limits::default()).await;
    let mut all = credits(&scene, 250).into_iter();
    for day in 1..=3 {
        let earlier = all.by_ref().take(30);
        let earlier = earlier.map(|new| NewToken { now_ms: NOW_MS - day * 86_400_000, ..new }).collect();
        scene.store.record_tokens(earlier).await.into_iter().for_each(|recorded| drop(recorded.unwrap()));
    }
    let record = async |tokens: Vec<NewToken>| {
        scene.store.record_tokens(tokens).await.into_iter().for_each(|recorded| drop(recorded.unwrap()));
        alarms(&scene.store).await
    };
    assert_eq!(
        record(all.by_ref().take(149).collect()).await,
        0,
        "30 a day are usual, 150 are five times that"
    );
    assert_eq!(record(all.collect()).await, 1);
}
