//! Rows of the ledger that somebody else has written, and what the database itself refuses.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::*;

fn refused(result: Result<Recorded, LedgerError>) -> Refused {
    match result {
        Err(LedgerError::Refused(refused)) => refused,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn a_credential_that_does_not_count_records_and_replays_nothing() {
    let scene = Scene::new().await;
    scene.store.record_token(scene.credit(1, meter(0), 100)).await.unwrap();
    let stranger = NewToken { client: ClientId::generate(), ..scene.credit(2, meter(0), 100) };
    assert_eq!(refused(scene.store.record_token(stranger).await), Refused::CredentialNotEnabled);
    for (name, table) in [("credentials", Table::Credentials), ("clients", Table::Clients)] {
        let set = async |enabled: u8| {
            let sql = format!("UPDATE {name} SET enabled = {enabled}");
            let changed = move |c: &mut Writing<Sqlite<Writer>>| {
                c.view.execute_batch(&sql)?;
                c.seal(table, 1)
            };
            scene.store.write(changed).await.unwrap();
        };
        set(0).await;
        for request in [1, 2] {
            let result = scene.store.record_token(scene.credit(request, meter(0), 100)).await;
            assert_eq!(refused(result), Refused::CredentialNotEnabled);
        }
        set(1).await;
    }
    assert_eq!(rows(&scene.store).await, 1);
}

#[tokio::test]
async fn seeding_only_raises() {
    let scene = Scene::new().await;
    let seed = async |minute| {
        let seed = Seed { meter: meter(0), base_date: BaseDate::Y2014, tid: tid(minute) };
        let raised = scene.store.seed_last_tids(vec![seed], Actor::Local, NOW_MS).await.unwrap();
        (raised, scene.store.last_tid(meter(0), BaseDate::Y2014).await.unwrap())
    };
    assert_eq!(seed(500).await, (1, Some(tid(500))));
    assert_eq!(seed(400).await, (0, Some(tid(500))));
    let recorded = scene.store.record_token(scene.credit(1, meter(0), 100)).await.unwrap();
    assert_eq!(tid_of(recorded.row()), 501);
    assert_eq!(seed(501).await, (0, Some(tid(501))));
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
async fn sixty_four_callers_of_one_meter_get_distinct_growing_tids() {
    const CALLERS: usize = 64;
    const EACH: usize = 5;
    let scene = Arc::new(Scene::new().await);
    let tasks: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let scene = Arc::clone(&scene);
            tokio::spawn(async move {
                let mut found = Vec::new();
                for turn in 0..EACH {
                    let request_id = Uuid::from_u128((caller * EACH + turn) as u128);
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
