//! Everything is on the chain, and the chain survives whatever befalls the transactions.

use std::collections::BTreeMap;

use super::*;
use crate::audit::{Entry, Verification};

/// Verifies the whole chain against the head and answers the kinds of its records.
pub(in crate::store) async fn verified<E: Engine>(store: &Database<E>) -> Vec<String> {
    let mut verification = Verification::new(None);
    let (mut after, mut last, mut kinds) = (Cursor::default(), 0, Vec::new());
    loop {
        // Small pages, so that their seams are tried too.
        let page = store.records(after, 3, true).await.unwrap();
        for line in &page.lines {
            verification.feed(line);
            last = line.record.position;
            kinds.push(match &line.record.entry {
                Entry::Token(_) => "token".to_owned(),
                Entry::Act(act) => act.kind.clone(),
            });
        }
        after = page.next;
        if !page.more {
            break;
        }
    }
    let outcome = verification.finish();
    assert!(outcome.is_sound(), "{:?}", outcome.faults);
    let head = store.chain_head().await.unwrap();
    assert_eq!(head.position, last);
    assert_eq!(store.record_hash(head.chain, last).await, Ok(Some(head.hash)));
    kinds
}

fn act(now_ms: i64) -> NewAct {
    NewAct { kind: "test", actor: Actor::Local, details: BTreeMap::new(), now_ms }
}

pub(in crate::store) async fn every_act_and_every_token_is_a_record<F: Factory>() {
    let scene = Scene::<F>::new().await;
    let id = scene.configuration;
    scene.store.record_token(scene.credit(1, meter(0), 100)).await.unwrap();
    // A replay and a refusal change nothing.
    scene.store.record_token(scene.credit(1, meter(0), 100)).await.unwrap();
    scene
        .store
        .record_token(NewToken { request_hash: [9; 32], ..scene.credit(1, meter(0), 100) })
        .await
        .unwrap_err();
    scene.store.set_configuration_enabled(id, false, Actor::Local, NOW_MS).await.unwrap();
    scene.store.set_configuration_enabled(id, false, Actor::Local, NOW_MS).await.unwrap();
    scene.store.set_configuration_enabled(id, true, Actor::Local, NOW_MS).await.unwrap();
    scene.store.record_act(act(NOW_MS)).await.unwrap();
    let scene = scene.reopen();
    scene.store.record_token(scene.credit(2, meter(0), 100)).await.unwrap();
    let expected = [
        "client.created",
        "credential.created",
        "configuration.uploaded",
        "configuration.imported",
        "token",
        "configuration.disabled",
        "configuration.enabled",
        "test",
        "token",
    ];
    assert_eq!(verified(&scene.store).await, expected);
}

pub(in crate::store) async fn what_is_taken_back_takes_its_records_along<F: Factory>() {
    let scene = Scene::<F>::new().await;
    let store = &scene.store;
    let (good, refused) = (scene.credit(1, meter(0), 100), scene.credit(1, meter(1), 100));
    let refused = NewToken { request_hash: [9; 32], ..refused };
    // All wait together and share a transaction: a record that is kept, one that its command takes
    // back, one that is kept.
    let kept = store.write(|c| c.append_act(&NewAct { kind: "kept", ..act(NOW_MS) }));
    let back = store.committer.submit::<(), (), _>(|c| {
        c.append_act(&NewAct { kind: "taken back", ..act(NOW_MS) })?;
        Ok(Err(()))
    });
    let many = store.record_tokens(vec![good, refused, scene.credit(3, meter(0), 100)]);
    let (kept, back, many) = tokio::join!(kept, back, many);
    assert_eq!((kept, back), (Ok(()), Ok(Err(()))));
    assert_eq!(many.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    // A failing transaction.
    let full = store
        .write(|c| {
            c.append_act(&NewAct { kind: "lost", ..act(NOW_MS) })?;
            Err::<(), _>(StoreError::Full { outcome: Outcome::NotDone })
        })
        .await;
    assert!(full.is_err());
    store.record_act(act(NOW_MS)).await.unwrap();
    assert_eq!(verified(store).await[4..], ["kept", "token", "token", "test"]);
}

pub(in crate::store) async fn many_tokens_are_recorded_in_order_and_each_for_itself<F: Factory>() {
    let scene = Scene::<F>::new().await;
    let mut new: Vec<NewToken> = (1..=50).map(|n| scene.credit(n, meter(usize::from(n % 3)), 100)).collect();
    new[20].content = Content::Fixed { configuration: None, meter: None, display: display() };
    let repeated = new[3].clone();
    new.push(repeated);
    let stranger = NewToken { client: ClientId::generate(), ..scene.credit(60, meter(0), 100) };
    new.push(stranger);
    let found = scene.store.record_tokens(new).await;
    assert!(
        matches!(&found[50], Ok(Recorded::Replay(row)) if Ok(row) == found[3].as_ref().map(Recorded::row))
    );
    assert_eq!(found[51], Err(LedgerError::Refused(Refused::CredentialNotEnabled)));
    for index in 0..3 {
        let tids: Vec<u32> = found[..50]
            .iter()
            .filter_map(|found| match &found.as_ref().unwrap().row().content {
                RowContent::Sequenced { meter: of, tid, .. } if *of == meter(index) => Some(tid.value()),
                _ => None,
            })
            .collect();
        assert!(tids.iter().copied().eq(100..100 + tids.len() as u32), "{tids:?}");
    }
    assert_eq!(verified(&scene.store).await.len(), 4 + 50);
}

pub(in crate::store) async fn an_old_request_is_refused_and_never_issued_anew<F: Factory>() {
    let scene = Scene::<F>::new().await;
    let hour = 3_600_000;
    let at = |made_ms: i64, now_ms| {
        let mut id = [7_u8; 16];
        id[..6].copy_from_slice(&made_ms.to_be_bytes()[2..]);
        id[6] = 0x70;
        id[8] = 0x80;
        let new = scene.credit(1, meter(0), 100);
        NewToken { request_id: Uuid::from_bytes(id), now_ms, requests_from_ms: now_ms - hour, ..new }
    };
    let first = scene.store.record_token(at(NOW_MS, NOW_MS)).await.unwrap();
    let again = scene.store.record_token(at(NOW_MS, NOW_MS + hour)).await.unwrap();
    assert_eq!(again, Recorded::Replay(first.row().clone()));
    for late in [at(NOW_MS, NOW_MS + hour + 1), at(NOW_MS - 5, NOW_MS + 2 * hour)] {
        let refused = scene.store.record_token(late).await;
        assert_eq!(refused, Err(LedgerError::Refused(Refused::RequestIdTooOld)));
    }
}

pub(in crate::store) async fn an_accepted_restore_leaves_a_gap_that_is_told_and_raises_the_floors<
    F: Factory,
>() {
    let scene = Scene::<F>::new().await;
    scene.store.record_token(scene.credit(1, meter(0), 100)).await.unwrap();
    let accepted = AcceptedRestore {
        actor: Actor::Local,
        floors: vec![(BaseDate::Y2014, tid(5_000))],
        requests_from_ms: NOW_MS,
        lost_from: 40,
        details: BTreeMap::new(),
        now_ms: NOW_MS,
    };
    scene.store.accept_restore(accepted).await.unwrap();
    let scene = scene.reopen();
    for (request, expected) in [(2, 5_001), (3, 5_002)] {
        let recorded = scene.store.record_token(scene.credit(request, meter(0), 100)).await.unwrap();
        assert_eq!(tid_of(recorded.row()), expected);
        assert!(recorded.row().sequence.value() > 100_000_000);
    }
    let unknown = Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, 1_767_225_599, 0));
    let lost = NewToken { request_id: unknown, ..scene.credit(9, meter(0), 100) };
    let refused = scene.store.record_token(lost).await;
    assert_eq!(refused, Err(LedgerError::Refused(Refused::RequestIdTooOld)));
    verified(&scene.store).await;
}

pub(in crate::store) async fn rows_are_listed_by_filter_and_page<F: Factory>() {
    let scene = Scene::<F>::new().await;
    let minute = 60_000;
    for n in 0..20_u8 {
        let now_ms = NOW_MS + i64::from(n) * 10 * minute;
        let new = NewToken { now_ms, ..scene.credit(n + 1, meter(usize::from(n % 2)), 100) };
        scene.store.record_token(new).await.unwrap();
    }
    let listed = async |filter: TokenFilter| {
        let (mut rows, mut after) = (Vec::new(), Cursor::default());
        loop {
            let page = scene.store.list_issued_tokens(filter.clone(), after, 4).await.unwrap();
            rows.extend(page.rows);
            match page.next {
                Some(next) => after = next,
                None => return rows,
            }
        }
    };
    assert_eq!(listed(TokenFilter::default()).await.len(), 20);
    let of_meter = listed(TokenFilter { meter: Some(meter(1)), ..TokenFilter::default() }).await;
    assert_eq!(of_meter.len(), 10);
    assert!(of_meter.iter().all(|row| row.content.meter() == Some(meter(1))));
    let between = TokenFilter {
        from_ms: Some(NOW_MS + 30 * minute),
        until_ms: Some(NOW_MS + 60 * minute),
        ..TokenFilter::default()
    };
    assert_eq!(listed(between).await.len(), 3);
    let class = |class, subclass| TokenFilter { class: Some((class, subclass)), ..TokenFilter::default() };
    assert_eq!(listed(class(0, None)).await.len(), 20);
    assert_eq!(listed(class(0, Some(0))).await.len(), 20);
    assert_eq!(listed(class(0, Some(1))).await.len(), 0);
    assert_eq!(listed(class(2, None)).await.len(), 0);
    let client = TokenFilter { client: Some(ClientId::generate()), ..TokenFilter::default() };
    assert_eq!(listed(client).await.len(), 0);
}
