//! The rules of the ledger, one after another.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::*;
use crate::sts::tid::TidRefusal;

fn refused(result: Result<Recorded, LedgerError>) -> Refused {
    match result {
        Err(LedgerError::Refused(refused)) => refused,
        other => panic!("not refused: {other:?}"),
    }
}

pub(in crate::store) async fn a_row_holds_all_that_an_answer_needs<F: Factory>() {
    let scene = Scene::<F>::new().await;
    let new = scene.credit(1, meter(0), 100);
    let Ok(Recorded::New(row)) = scene.store.record_token(new.clone()).await else { panic!("not new") };
    let rnd = Rnd::try_from(5).unwrap();
    assert_eq!(
        row.content,
        RowContent::Sequenced {
            configuration: scene.configuration,
            meter: meter(0),
            base_date: BaseDate::Y2014,
            tid: tid(100),
            rnd: Some(rnd),
            block: payload().block(rnd, tid(100)),
        }
    );
    assert_eq!((row.client, row.request_id, row.issued_ms), (scene.client, new.request_id, NOW_MS));

    let scene = scene.reopen();
    assert_eq!(scene.store.issued_token(row.sequence).await, Ok(Some(row.clone())));
    assert_eq!(
        scene.store.issued_token_of_request(scene.client, new.request_id).await,
        Ok(Some(row.clone()))
    );
    let found = scene.store.issued_token_of_tid(meter(0), BaseDate::Y2014, tid(100)).await;
    assert_eq!(found, Ok(Some(row.clone())));
    assert_eq!(scene.store.issued_token_of_tid(meter(0), BaseDate::Y1993, tid(100)).await, Ok(None));
    assert_eq!(scene.store.issued_token_of_tid(meter(1), BaseDate::Y2014, tid(100)).await, Ok(None));
    assert_eq!(scene.store.record_token(new).await, Ok(Recorded::Replay(row)));
}

pub(in crate::store) async fn one_minute_serves_many_tokens<F: Factory>() {
    let scene = Scene::<F>::new().await;
    let mut tids = Vec::new();
    for request in 1..=3 {
        let recorded = scene.store.record_token(scene.credit(request, meter(0), 1_438)).await.unwrap();
        tids.push(tid_of(recorded.row()));
    }
    // 1440 is midnight; 1441 would be the reserved minute 00:01.
    let fourth = scene.store.record_token(scene.credit(4, meter(0), 1_438)).await.unwrap();
    assert_eq!((tids, tid_of(fourth.row())), (vec![1_438, 1_439, 1_440], 1_442));
    let other = scene.store.record_token(scene.credit(5, meter(1), 1_438)).await.unwrap();
    assert_eq!(tid_of(other.row()), 1_438, "each meter has its own sequence");
    let earlier = scene.store.record_token(scene.credit(6, meter(0), 200)).await.unwrap();
    assert_eq!(tid_of(earlier.row()), 1_443, "never backwards");
}

pub(in crate::store) async fn each_base_date_has_its_own_sequence<F: Factory>() {
    let scene = Scene::<F>::new().await;
    scene.store.record_token(scene.credit(1, meter(0), 500)).await.unwrap();
    let mut new = scene.credit(2, meter(0), 500);
    if let Content::Sequenced { base_date, .. } = &mut new.content {
        *base_date = BaseDate::Y1993;
    }
    let recorded = scene.store.record_token(new).await.unwrap();
    assert_eq!(tid_of(recorded.row()), 500);
}

pub(in crate::store) async fn another_request_under_the_same_id_is_refused<F: Factory>() {
    let scene = Scene::<F>::new().await;
    let first = scene.store.record_token(scene.credit(1, meter(0), 100)).await.unwrap();
    let reused = NewToken { request_hash: [99; 32], ..scene.credit(1, meter(1), 100) };
    let sequence = first.row().sequence;
    assert_eq!(refused(scene.store.record_token(reused).await), Refused::RequestIdReused { sequence });
    assert_eq!(scene.store.last_tid(meter(1), BaseDate::Y2014).await, Ok(None));

    // Another client's requests are its own.
    let other = client(&scene.store, "till-2").await;
    let theirs = NewToken { client: other, credential: "till-2".into(), ..scene.credit(1, meter(0), 100) };
    assert!(matches!(scene.store.record_token(theirs).await, Ok(Recorded::New(_))));
}

pub(in crate::store) async fn a_rotated_credential_doubles_nothing<F: Factory>() {
    let scene = Scene::<F>::new().await;
    let first = scene.store.record_token(scene.credit(1, meter(0), 100)).await.unwrap();
    let second = NewCredential {
        key_id: "till-1-new".into(),
        client: scene.client,
        proof: Proof::Secret([8; 32]),
        expires_ms: None,
        actor: Actor::Local,
        now_ms: NOW_MS,
    };
    scene.store.create_credential(second).await.unwrap();
    let ended = NewCredential {
        key_id: "till-1-ended".into(),
        client: scene.client,
        proof: Proof::Secret([9; 32]),
        expires_ms: Some(NOW_MS),
        actor: Actor::Local,
        now_ms: NOW_MS,
    };
    scene.store.create_credential(ended).await.unwrap();
    let late = NewToken { credential: "till-1-ended".into(), ..scene.credit(1, meter(0), 100) };
    assert_eq!(refused(scene.store.record_token(late).await), Refused::CredentialNotEnabled);
    let again = NewToken { credential: "till-1-new".into(), ..scene.credit(1, meter(0), 100) };
    assert_eq!(scene.store.record_token(again).await, Ok(Recorded::Replay(first.row().clone())));
}

pub(in crate::store) async fn a_disabled_configuration_replays_and_issues_nothing_new<F: Factory>() {
    let scene = Scene::<F>::new().await;
    let first = scene.store.record_token(scene.credit(1, meter(0), 100)).await.unwrap();
    let id = scene.configuration;
    scene.store.set_configuration_enabled(id, false, Actor::Local, NOW_MS).await.unwrap();
    let replay = scene.store.record_token(scene.credit(1, meter(0), 100)).await;
    assert_eq!(replay, Ok(Recorded::Replay(first.row().clone())));
    let new = scene.store.record_token(scene.credit(2, meter(0), 100)).await;
    assert_eq!(refused(new), Refused::ConfigurationNotEnabled { id, state: ConfigurationState::Disabled });

    let Begun::Started(half) = scene.store.begin_import(upload(2)).await.unwrap() else { panic!() };
    let half = Scene { configuration: half.id, ..scene };
    let early = half.store.record_token(half.credit(3, meter(0), 100)).await;
    let state = ConfigurationState::Importing;
    assert_eq!(refused(early), Refused::ConfigurationNotEnabled { id: half.configuration, state });
    let unknown = Scene { configuration: ConfigurationId::generate(), ..half };
    let result = unknown.store.record_token(unknown.credit(4, meter(0), 100)).await;
    assert_eq!(refused(result), Refused::ConfigurationNotFound { id: unknown.configuration });
    assert_eq!(rows(&unknown.store).await, 1);
}

pub(in crate::store) async fn a_tid_that_the_key_does_not_reach_is_refused_and_leaves_no_trace<F: Factory>() {
    let scene = Scene::<F>::new().await;
    let mut new = scene.credit(1, meter(0), 65_536);
    if let Content::Sequenced { window, .. } = &mut new.content {
        window.ken = KeyExpiry(0);
    }
    let result = scene.store.record_token(new.clone()).await;
    assert!(matches!(refused(result), Refused::Tid(TidRefusal::KeyExpired { .. })));
    assert_eq!(rows(&scene.store).await, 0);
    assert_eq!(scene.store.last_tid(meter(0), BaseDate::Y2014).await, Ok(None));
    // The id was not used up.
    let good = NewToken { request_id: new.request_id, ..scene.credit(2, meter(0), 100) };
    assert!(matches!(scene.store.record_token(good).await, Ok(Recorded::New(_))));
}

pub(in crate::store) async fn a_passed_deadline_leaves_no_row<F: Factory>() {
    let scene = Scene::<F>::new().await;
    let late = NewToken { deadline: Some(Instant::now()), ..scene.credit(1, meter(0), 100) };
    let Err(error) = scene.store.record_token(late).await else { panic!("recorded") };
    assert_eq!(error, LedgerError::Store(StoreError::DeadlinePassed));
    assert_eq!((error.outcome(), rows(&scene.store).await), (Outcome::NotDone, 0));
    let soon = Some(Instant::now() + Duration::from_secs(60));
    let early = NewToken { deadline: soon, ..scene.credit(1, meter(0), 100) };
    assert!(matches!(scene.store.record_token(early).await, Ok(Recorded::New(_))));
}

pub(in crate::store) async fn class_1_needs_neither_meter_nor_configuration<F: Factory>() {
    let scene = Scene::<F>::new().await;
    for (request, meter) in [(1, None), (2, Some(meter(0)))] {
        let content = Content::Fixed { configuration: None, meter, display: display() };
        let new = NewToken { content, ..scene.credit(request, super::meter(0), 100) };
        let Ok(Recorded::New(row)) = scene.store.record_token(new.clone()).await else { panic!("not new") };
        assert_eq!(row.content, RowContent::Fixed { configuration: None, meter, block: display().block() });
        assert_eq!(scene.store.issued_token(row.sequence).await, Ok(Some(row.clone())));
        assert_eq!(scene.store.record_token(new).await, Ok(Recorded::Replay(row)));
    }
    assert_eq!(scene.store.last_tid(meter(0), BaseDate::Y2014).await, Ok(None));
}

pub(in crate::store) async fn a_key_change_names_both_configurations_and_no_key<F: Factory>() {
    let scene = Scene::<F>::new().await;
    let target = imported(&scene.store, 2).await.id;
    let configuration = scene.configuration;
    let change = |request, target| NewToken {
        content: Content::KeyChange {
            configuration,
            meter: meter(0),
            target,
            roll_over: true,
            transfer_sgc: false,
        },
        ..scene.credit(request, meter(0), 100)
    };
    let refusal = refused(scene.store.record_token(change(1, target)).await);
    assert_eq!(refusal, Refused::KeyChangeNotAllowed { source_id: configuration, target });
    let pair = KeyChangePair { source: configuration, target };
    let allowed = scene.store.allow_key_change(pair, scene.client, Actor::Local, NOW_MS).await.unwrap();
    assert_eq!((allowed.pair, allowed.allowed_by), (pair, scene.client));
    assert_eq!(
        scene.store.allow_key_change(pair, scene.client, Actor::Local, NOW_MS + 1).await,
        Ok(allowed.clone())
    );
    assert_eq!(scene.store.list_key_changes(PageRequest::first()).await.unwrap().items, [allowed]);
    let Ok(Recorded::New(row)) = scene.store.record_token(change(1, target)).await else { panic!("not new") };
    let expected = RowContent::KeyChange {
        configuration,
        meter: meter(0),
        target,
        roll_over: true,
        transfer_sgc: false,
    };
    assert_eq!(row.content, expected);
    assert_eq!(scene.store.issued_token(row.sequence).await, Ok(Some(row)));

    assert_eq!(scene.store.forbid_key_change(pair, Actor::Local, NOW_MS).await, Ok(true));
    assert_eq!(scene.store.forbid_key_change(pair, Actor::Local, NOW_MS).await, Ok(false));
    let result = scene.store.record_token(change(2, target)).await;
    assert!(matches!(refused(result), Refused::KeyChangeNotAllowed { .. }));
    scene.store.set_configuration_enabled(target, false, Actor::Local, NOW_MS).await.unwrap();
    let state = ConfigurationState::Disabled;
    let result = scene.store.record_token(change(2, target)).await;
    assert_eq!(refused(result), Refused::ConfigurationNotEnabled { id: target, state });
}

pub(in crate::store) async fn a_batch_holds_replays_and_refusals_beside_new_tokens<F: Factory>() {
    let scene = Scene::<F>::new().await;
    let first = scene.store.record_token(scene.credit(1, meter(0), 100)).await.unwrap();
    let stranger = NewToken { credential: "nobody".into(), ..scene.credit(5, meter(0), 100) };
    let reused = NewToken { request_hash: [0; 32], ..scene.credit(1, meter(0), 100) };
    let late = NewToken { deadline: Some(Instant::now()), ..scene.credit(7, meter(0), 100) };
    let found = scene
        .store
        .record_tokens(vec![
            late,
            scene.credit(1, meter(0), 100),
            scene.credit(2, meter(0), 100),
            stranger,
            reused,
            scene.credit(2, meter(0), 100),
            scene.credit(3, meter(1), 100),
        ])
        .await;
    assert_eq!(found[0], Err(StoreError::DeadlinePassed.into()));
    let found = &found[1..];
    assert_eq!(found[0], Ok(Recorded::Replay(first.row().clone())));
    let Ok(Recorded::New(second)) = &found[1] else { panic!("{:?}", found[1]) };
    assert_eq!(found[2], Err(Refused::CredentialNotEnabled.into()));
    assert_eq!(found[3], Err(Refused::RequestIdReused { sequence: first.row().sequence }.into()));
    assert_eq!(found[4], Ok(Recorded::Replay(second.clone())), "twice in one batch");
    let Ok(Recorded::New(third)) = &found[5] else { panic!("{:?}", found[5]) };
    assert_eq!(third.sequence.value(), second.sequence.value() + 1, "what is refused takes no number");
    assert_eq!(rows(&scene.store).await, 3);
}

pub(in crate::store) async fn callers_of_one_meter_get_distinct_growing_tids<F: Factory>() {
    const CALLERS: usize = 64;
    const EACH: usize = 5;
    let scene = Arc::new(Scene::<F>::new().await);
    let tasks: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let scene = Arc::clone(&scene);
            tokio::spawn(async move {
                let mut found = Vec::new();
                for round in 0..EACH {
                    let request_id = Uuid::from_u128((caller * EACH + round) as u128);
                    let new = NewToken { request_id, ..scene.credit(1, meter(0), 100) };
                    let recorded = scene.store.record_token(new).await.unwrap();
                    found.push((recorded.row().sequence, tid_of(recorded.row())));
                }
                found
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        let found = task.await.unwrap();
        assert!(found.is_sorted_by_key(|(_, tid)| *tid), "a caller sees the TIDs of a meter grow");
        all.extend(found);
    }
    all.sort();
    assert!(all.is_sorted_by_key(|(_, tid)| *tid), "TIDs grow in the order of commits");
    let distinct: BTreeSet<_> = all.iter().map(|(_, tid)| *tid).collect();
    assert_eq!(distinct.len(), CALLERS * EACH);
    let statistics = scene.store.statistics();
    assert!(statistics.transactions() < statistics.commands(), "callers share commits");
}

pub(in crate::store) async fn a_credential_that_does_not_count_records_and_replays_nothing<F: Factory>() {
    let scene = Scene::<F>::new().await;
    scene.store.record_token(scene.credit(1, meter(0), 100)).await.unwrap();
    let stranger = NewToken { client: ClientId::generate(), ..scene.credit(2, meter(0), 100) };
    assert_eq!(refused(scene.store.record_token(stranger).await), Refused::CredentialNotEnabled);
    let act = || ClientAct { actor: Actor::Local, now_ms: NOW_MS, keepers: 0 };
    let both = async || {
        let orders = vec![scene.credit(1, meter(0), 100), scene.credit(2, meter(0), 100)];
        scene.store.record_tokens(orders).await.into_iter().filter(Result::is_ok).count()
    };
    scene.store.change_client(scene.client, ClientChange::Enabled(false), act()).await.unwrap();
    assert_eq!(both().await, 0);
    scene.store.change_client(scene.client, ClientChange::Enabled(true), act()).await.unwrap();
    let disabled = CredentialChange::Enabled(false);
    scene.store.change_credential(CREDENTIAL, disabled, act()).await.unwrap();
    assert_eq!(both().await, 0);
    let ended = CredentialChange::Expires(Some(NOW_MS));
    scene.store.change_credential(CREDENTIAL, CredentialChange::Enabled(true), act()).await.unwrap();
    scene.store.change_credential(CREDENTIAL, ended, act()).await.unwrap();
    assert_eq!(both().await, 0);
    scene.store.change_credential(CREDENTIAL, CredentialChange::Expires(None), act()).await.unwrap();
    assert_eq!(both().await, 2);
    assert_eq!(rows(&scene.store).await, 2);
}

pub(in crate::store) async fn seeding_only_raises<F: Factory>() {
    let scene = Scene::<F>::new().await;
    let seed = |minute| Seed { meter: meter(0), base_date: BaseDate::Y2014, tid: tid(minute) };
    let seeded = async |minutes: &[u32]| {
        let seeds = minutes.iter().map(|minute| seed(*minute)).collect();
        let raised = scene.store.seed_last_tids(seeds, Actor::Local, NOW_MS).await.unwrap();
        (raised, scene.store.last_tid(meter(0), BaseDate::Y2014).await.unwrap())
    };
    assert_eq!(seeded(&[500]).await, (1, Some(tid(500))));
    assert_eq!(seeded(&[400]).await, (0, Some(tid(500))));
    let recorded = scene.store.record_token(scene.credit(1, meter(0), 100)).await.unwrap();
    assert_eq!(tid_of(recorded.row()), 501);
    assert_eq!(seeded(&[501]).await, (0, Some(tid(501))));
    assert_eq!(seeded(&[600, 700, 650]).await, (2, Some(tid(700))), "one meter several times");
    assert_eq!(scene.store.last_tid(meter(0), BaseDate::Y1993).await, Ok(None));
}

pub(in crate::store) async fn a_last_tid_is_lowered_to_the_last_token_and_no_further<F: Factory>() {
    let scene = Scene::<F>::new().await;
    let seed = |minute| Seed { meter: meter(0), base_date: BaseDate::Y2014, tid: tid(minute) };
    let lower = async |minute| scene.store.lower_last_tid(seed(minute), Actor::Local, NOW_MS).await;
    let may = async |minute| scene.store.may_lower_last_tid(seed(minute)).await;
    assert_eq!(lower(7).await, Err(LowerRefused::MeterNotFound.into()));
    scene.store.record_token(scene.credit(1, meter(0), 5_000)).await.unwrap();
    scene.store.seed_last_tids(vec![seed(9_000)], Actor::Local, NOW_MS).await.unwrap();
    assert_eq!(lower(9_001).await, Err(LowerRefused::NotLower { last: tid(9_000) }.into()));
    assert_eq!(lower(4_999).await, Err(LowerRefused::Issued { issued: tid(5_000) }.into()));
    assert_eq!(may(6_000).await, Ok(tid(9_000)));
    assert_eq!(lower(6_000).await, Ok(tid(9_000)));
    assert_eq!(lower(6_000).await, Ok(tid(6_000)), "what is so stays so");
    assert_eq!(lower(5_000).await, Ok(tid(6_000)));
    let scene = scene.reopen();
    let next = scene.store.record_token(scene.credit(2, meter(0), 4_000)).await.unwrap();
    assert_eq!(tid_of(next.row()), 5_001, "no TID is given twice");
    let lines = scene.store.records(Cursor::default(), 1_000, false).await.unwrap().lines;
    assert_eq!(lines.iter().filter(|line| format!("{line:?}").contains("meter.lowered")).count(), 2);
}
