//! Rows of the ledger that somebody else has written, and what the database itself refuses.

use super::*;

#[tokio::test]
async fn the_database_itself_lowers_no_last_tid() {
    let scene = Scene::new().await;
    let seed = Seed { meter: meter(0), base_date: BaseDate::Y2014, tid: tid(500) };
    assert_eq!(scene.store.seed_last_tids(vec![seed], Actor::Local, NOW_MS).await, Ok(1));
    for forgery in ["UPDATE meters SET last_tid = 1", "DELETE FROM meters"] {
        let result = scene.store.write(move |c| Ok(c.view.execute(forgery, [])?)).await;
        let Err(StoreError::Defect { reason }) = result else { panic!("{forgery} was done") };
        assert!(reason.contains("the last TID of a meter"), "{reason}");
    }
}

#[tokio::test]
async fn deleting_rows_forgets_no_last_tid() {
    let scene = Scene::new().await;
    let last = async || scene.store.last_tid(meter(0), BaseDate::Y2014).await.unwrap();
    for request in 1..4 {
        scene.store.record_token(scene.credit(request, meter(0), 100)).await.unwrap();
    }
    let delete =
        async |sql: &'static str| scene.store.write(move |c| Ok(c.view.execute(sql, [])?)).await.unwrap();
    delete("DELETE FROM issued_tokens WHERE tid = 102").await;
    assert_eq!(last().await, Some(tid(102)));
    // An older row goes after a newer one.
    delete("DELETE FROM issued_tokens").await;
    assert_eq!(last().await, Some(tid(102)));
    let recorded = scene.store.record_token(scene.credit(9, meter(0), 100)).await.unwrap();
    assert_eq!(tid_of(recorded.row()), 103);
    let seed = Seed { meter: meter(0), base_date: BaseDate::Y2014, tid: tid(103) };
    assert_eq!(scene.store.seed_last_tids(vec![seed], Actor::Local, NOW_MS).await, Ok(0), "a row tells it");
}

#[tokio::test]
async fn the_database_itself_refuses_a_second_row_of_a_request() {
    let scene = Scene::new().await;
    scene.store.record_token(scene.credit(1, meter(0), 100)).await.unwrap();
    let sql = "CREATE TEMP TABLE copy AS SELECT * FROM issued_tokens; UPDATE copy SET sequence = 77, tid = 7;
               INSERT INTO issued_tokens SELECT * FROM copy";
    let result = scene.store.write(move |c| Ok(c.view.execute_batch(sql)?)).await;
    let Err(StoreError::Defect { reason }) = result else { panic!("a second row was written") };
    assert!(reason.contains("UNIQUE constraint failed"), "{reason}");
    assert_eq!(rows(&scene.store).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn callers_on_several_threads_get_distinct_growing_tids() {
    suite::ledger::callers_of_one_meter_get_distinct_growing_tids::<Folder>().await;
}

#[tokio::test]
async fn a_row_of_another_hand_is_refused_and_not_answered() {
    let scene = Scene::new().await;
    let recorded = scene.store.record_token(scene.credit(1, meter(0), 100)).await.unwrap();
    let sequence = recorded.row().sequence;
    let good = payload().block(Rnd::from_random(5), tid(100)).bits().cast_signed();
    let other_tid = payload().block(Rnd::from_random(5), tid(101)).bits().cast_signed();
    let display = display().block().bits().cast_signed();
    for forgery in [
        format!("block = {}", good ^ 1),
        format!("block = {other_tid}"),
        format!("block = {display}, class = 1"),
        "pan = pan + 1".into(),
        "base_date = 2000".into(),
        "rnd = 16".into(),
        "kind = 9".into(),
    ] {
        let sql = format!("PRAGMA ignore_check_constraints = 1; UPDATE issued_tokens SET {forgery}");
        scene.store.write(move |c| Ok(c.view.execute_batch(&sql)?)).await.unwrap();
        let read = scene.store.issued_token(sequence).await;
        assert!(matches!(read, Err(StoreError::Corrupt { .. })), "{forgery}: {read:?}");
        let replay = scene.store.record_token(scene.credit(1, meter(0), 100)).await;
        assert!(
            matches!(replay, Err(LedgerError::Store(StoreError::Corrupt { .. }))),
            "{forgery}: {replay:?}"
        );

        let pan: i64 = meter(0).as_str().parse().unwrap();
        let heal = format!(
            "UPDATE issued_tokens SET block = {good}, class = 0, pan = {pan}, base_date = 2014, rnd = 5, kind = 1"
        );
        scene.store.write(move |c| Ok(c.view.execute_batch(&heal)?)).await.unwrap();
        assert_eq!(scene.store.issued_token(sequence).await, Ok(Some(recorded.row().clone())));
    }
}

/// Writes a row that somebody else wrote: a copy of the last one, with another request and what is
/// given.
fn foreign_row(scene: &Scene, sequence: i64, tid: i64) {
    let other = Connection::open(scene.factory.path()).unwrap();
    other.execute_batch("PRAGMA ignore_check_constraints = 1").unwrap();
    other
        .execute(
            "INSERT INTO issued_tokens SELECT ?1, client, credential, randomblob(16), request_hash, configuration,
                 issued_ms, kind, pan, base_date, ?2, rnd, class, block, target, roll_over, transfer_sgc, hash
             FROM issued_tokens ORDER BY sequence DESC LIMIT 1",
            (sequence, tid),
        )
        .unwrap();
}

#[tokio::test]
async fn rows_of_another_hand_are_left_out_and_told_and_nothing_stands_still() {
    // A TID that is none; a possible one, where the chain has not come yet.
    for tid in [99_999_999, -1, 200] {
        for restarted in [true, false] {
            let mut scene = Scene::new().await;
            let first = scene.store.record_token(scene.credit(1, meter(0), 100)).await.unwrap().row().clone();
            let sequence = first.sequence.value() + 1;
            foreign_row(&scene, sequence, tid);
            if restarted {
                scene = scene.reopen();
            } else {
                // Its number is taken: the ledger goes on behind it.
                scene.store.record_token(scene.credit(2, meter(0), 100)).await.unwrap();
            }
            let next = scene.store.record_token(scene.credit(2, meter(0), 100)).await.unwrap().row().clone();
            assert_eq!(tid_of(&next), 101, "what somebody else wrote is no TID of the meter");
            assert!(next.sequence.value() > sequence);
            let report = scene.store.verify_seals().await.unwrap();
            assert_eq!(report.forged, [format!("issued_tokens {sequence}")]);
            let listed =
                scene.store.list_issued_tokens(TokenFilter::default(), Cursor::default(), 1).await.unwrap();
            assert_eq!(listed.rows, std::slice::from_ref(&first));
            let page = scene
                .store
                .list_issued_tokens(TokenFilter::default(), listed.next.unwrap_or_default(), 1)
                .await
                .unwrap();
            assert!(page.rows.is_empty(), "somebody else's: {page:?}");
            let page = scene
                .store
                .list_issued_tokens(TokenFilter::default(), page.next.unwrap_or_default(), 1)
                .await
                .unwrap();
            assert_eq!(page.rows, [next]);
        }
    }
}
