//! What the database itself refuses of approvals and of last TIDs.

use super::*;
use crate::store::contract::tests::approvals::word;

#[tokio::test]
async fn no_hand_changes_content_or_revives_what_has_ended() {
    let scene = Scene::new().await;
    let id = scene.ask(b"one").await.id;
    scene.store.vote(id, word(client(&scene.store, "till-2").await, false)).await.unwrap();
    for sql in [
        "UPDATE approvals SET request = x'00'",
        "UPDATE approvals SET summary = 'harmless'",
        "UPDATE approvals SET requester = 2",
        "UPDATE approvals SET state = 'PENDING'",
    ] {
        let changed = scene.store.write(move |c| Ok(c.view.execute(sql, ())?)).await;
        assert!(matches!(changed, Err(StoreError::Defect { .. })), "{sql}: {changed:?}");
    }
}

#[tokio::test]
async fn a_last_tid_falls_to_the_last_token_and_no_further() {
    let scene = Scene::new().await;
    let seed = |minute| Seed { meter: meter(0), base_date: BaseDate::Y2014, tid: tid(minute) };
    let lower = async |minute| scene.store.lower_last_tid(seed(minute), Actor::Local, NOW_MS).await;
    assert_eq!(lower(7).await, Err(LowerRefused::MeterNotFound.into()));
    let Recorded::New(row) = scene.store.record_token(scene.credit(1, meter(0), 5_000)).await.unwrap() else {
        panic!("not new")
    };
    scene.store.seed_last_tids(vec![seed(9_000)], Actor::Local, NOW_MS).await.unwrap();
    assert_eq!(lower(9_001).await, Err(LowerRefused::NotLower { last: tid(9_000) }.into()));
    assert_eq!(lower(tid_of(&row) - 1).await, Err(LowerRefused::Issued { issued: tid(tid_of(&row)) }.into()));
    assert_eq!(lower(6_000).await, Ok(tid(9_000)));
    assert_eq!(lower(6_000).await, Ok(tid(6_000)), "what is so stays so");
    assert_eq!(lower(5_000).await, Ok(tid(6_000)));
    assert_eq!(scene.last_kinds(2).await, ["meter.lowered", "meter.lowered"]);
    // Other meters and base dates have sequences of their own.
    let other = Seed { base_date: BaseDate::Y1993, ..seed(4) };
    assert_eq!(
        scene.store.lower_last_tid(other, Actor::Local, NOW_MS).await,
        Err(LowerRefused::MeterNotFound.into())
    );
    let Recorded::New(next) = scene.store.record_token(scene.credit(2, meter(0), 5_000)).await.unwrap()
    else {
        panic!("not new")
    };
    assert_eq!(tid_of(&next), 5_001, "no TID is given twice");
    // What the ledger has forgotten was given all the same.
    scene.store.write(|c| Ok(c.view.execute("DELETE FROM issued_tokens", [])?)).await.unwrap();
    scene.store.seed_last_tids(vec![seed(9_000)], Actor::Local, NOW_MS).await.unwrap();
    assert_eq!(lower(5_000).await, Err(LowerRefused::Issued { issued: tid(5_001) }.into()));
    assert_eq!(lower(5_001).await, Ok(tid(9_000)));
}

#[tokio::test]
async fn the_database_itself_refuses_a_fall_that_was_not_decided() {
    let scene = Scene::new().await;
    let Recorded::New(row) = scene.store.record_token(scene.credit(1, meter(0), 5_000)).await.unwrap() else {
        panic!("not new")
    };
    let seed = Seed { meter: meter(0), base_date: BaseDate::Y2014, tid: tid(9_000) };
    scene.store.seed_last_tids(vec![seed], Actor::Local, NOW_MS).await.unwrap();
    scene.store.lower_last_tid(Seed { tid: tid(6_000), ..seed }, Actor::Local, NOW_MS).await.unwrap();
    scene.store.seed_last_tids(vec![seed], Actor::Local, NOW_MS).await.unwrap();
    let below = tid_of(&row) - 1;
    let open = format!(
        "INSERT INTO meter_falls (pan, base_date, from_tid, to_tid, at_ms, open)
         SELECT pan, base_date, last_tid, {below}, 0, 1 FROM meters; UPDATE meters SET last_tid = {below}"
    );
    for sql in ["UPDATE meters SET last_tid = 6000".to_owned(), open] {
        let fell = scene.store.write(move |c| Ok(c.view.execute_batch(&sql)?)).await;
        assert!(matches!(fell, Err(StoreError::Defect { .. })), "{fell:?}");
        let last = scene.store.last_tid(meter(0), BaseDate::Y2014).await.unwrap();
        assert_eq!(last, Some(tid(9_000)));
    }
}
