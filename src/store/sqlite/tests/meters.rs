//! The rows of a meter, wherever they lie: in whole runs, in one that is being written, or in
//! memory.

use super::*;
use crate::store::sqlite::unmerged::{Entry, UnmergedRows};

async fn tokens(scene: &Scene, count: u8) -> Vec<TokenRow> {
    let mut rows = Vec::new();
    for request in 1..=count {
        let new = scene.credit(request, meter(usize::from(request) % 3), 100 + u32::from(request) % 7);
        rows.push(scene.store.record_token(new).await.unwrap().row().clone());
    }
    rows
}

async fn of_meter(scene: &Scene, index: usize, size: u32) -> Vec<TokenRow> {
    let filter = TokenFilter { meter: Some(meter(index)), ..TokenFilter::default() };
    let (mut rows, mut after) = (Vec::new(), Cursor::default());
    loop {
        let page = scene.store.list_issued_tokens(filter.clone(), after, size).await.unwrap();
        assert!(page.rows.len() <= size as usize);
        assert!(
            page.next.is_none() || page.rows.len() == size as usize,
            "a page of a meter is full or the last"
        );
        rows.extend(page.rows);
        match page.next {
            Some(next) => after = next,
            None => return rows,
        }
    }
}

async fn check(scene: &Scene, rows: &[TokenRow]) {
    for row in rows {
        let RowContent::Sequenced { meter, base_date, tid, .. } = row.content else { panic!("{row:?}") };
        let found = scene.store.issued_token_of_tid(meter, base_date, tid).await;
        assert_eq!(found, Ok(Some(row.clone())));
    }
    for index in 0..3 {
        let mine: Vec<TokenRow> =
            rows.iter().filter(|row| row.content.meter() == Some(meter(index))).cloned().collect();
        for size in [1, 2, 100] {
            assert_eq!(of_meter(scene, index, size).await, mine, "meter {index}, pages of {size}");
        }
        let last = scene.store.last_tid(meter(index), BaseDate::Y2014).await.unwrap();
        assert_eq!(last.map(Tid::value), mine.iter().map(tid_of).max());
    }
}

#[tokio::test]
async fn rows_are_found_wherever_they_lie() {
    let mut scene = Scene::new().await;
    let mut rows = Vec::new();
    for count in 1..=24 {
        let new = scene.credit(count, meter(usize::from(count) % 3), 100 + u32::from(count) % 7);
        rows.push(scene.store.record_token(new).await.unwrap().row().clone());
        check(&scene, &rows).await;
        if count % 5 == 0 {
            scene = scene.reopen();
            check(&scene, &rows).await;
        }
    }
    let runs: i64 = scene
        .store
        .read(|c| Ok(c.view.query_row("SELECT count(*) FROM token_runs", [], |row| row.get(0))?))
        .await
        .unwrap();
    assert!(runs >= 3, "{runs}");
}

#[tokio::test]
async fn a_database_from_before_knows_its_meters() {
    let scene = Scene::new().await;
    let settings = SqliteSettings::new(scene.factory.path());
    let Scene { factory, store, client, configuration } = scene;
    drop(store);
    let scene =
        Scene { store: SqliteStore::open(&settings, sealer()).unwrap(), factory, client, configuration };
    let rows = tokens(&scene, 9).await;
    let seed = Seed { meter: meter(1), base_date: BaseDate::Y2014, tid: tid(5) };
    scene.store.seed_last_tids(vec![seed], Actor::Local, NOW_MS).await.unwrap();
    // As the version before had it.
    let approvals = include_str!("../migrations/0005_approvals.sql");
    let triggers = approvals.split_once("DROP TRIGGER meters_never_fall;").unwrap().1;
    let before = format!(
        "DROP TRIGGER meters_are_never_forgotten; DROP TRIGGER meters_never_fall; DELETE FROM meters;
         DROP TABLE token_runs; DROP TABLE token_run_parts; ALTER TABLE meters RENAME COLUMN given_tid TO deleted_tid;
         DROP INDEX key_changes_by_meter; DELETE FROM schema_migrations WHERE version = 8;
         CREATE UNIQUE INDEX issued_tokens_by_meter ON issued_tokens (pan, base_date, tid) WHERE pan IS NOT NULL;
         {triggers}"
    );
    scene.store.write(move |c| Ok(c.view.execute_batch(&before)?)).await.unwrap();
    let scene = scene.reopen();
    check(&scene, &rows).await;
    let runs: (i64, i64) = scene
        .store
        .read(|c| {
            Ok(c.view.query_row("SELECT count(*), max(up_to) FROM token_runs", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?)
        })
        .await
        .unwrap();
    assert_eq!(runs, (1, rows[8].sequence.value()));
    let last = rows.iter().filter(|row| row.content.meter() == Some(meter(0))).map(tid_of).max().unwrap();
    let next = scene.store.record_token(scene.credit(99, meter(0), 100)).await.unwrap();
    assert_eq!(tid_of(next.row()), last + 1);
}

#[tokio::test]
async fn rows_that_were_taken_back_are_nobodys() {
    let scene = Scene::new().await;
    let first = tokens(&scene, 2).await;
    let new = scene.credit(77, meter(0), 100);
    let failure = StoreError::Full { outcome: crate::store::Outcome::NotDone };
    let said = failure.clone();
    let taken_back: Result<(), _> = scene
        .store
        .write(move |c| {
            assert!(tokens::record(c, &[&new], Instant::now())?[0].is_ok());
            Err(said)
        })
        .await;
    assert_eq!(taken_back, Err(failure));
    check(&scene, &first).await;
    // Its number is another meter's now.
    let next = scene.store.record_token(scene.credit(78, meter(1), 100)).await.unwrap();
    let rows = [first, vec![next.row().clone()]].concat();
    check(&scene, &rows).await;
    let again = scene.store.record_token(scene.credit(77, meter(0), 100)).await.unwrap();
    check(&scene, &[rows, vec![again.row().clone()]].concat()).await;
}

#[tokio::test]
async fn key_changes_are_found_by_their_index() {
    let scene = Scene::new().await;
    let plan = scene
        .store
        .read(|c| {
            let mut statement = c
                .view
                .prepare(&format!("EXPLAIN QUERY PLAN {}", super::super::ledger::newest_key_changes()))?;
            let steps = statement.query_map((1, [0; 16], 8), |row| row.get::<_, String>(3))?;
            Ok(steps.collect::<Result<Vec<_>, _>>()?.join("; "))
        })
        .await
        .unwrap();
    assert!(plan.contains("SEARCH t USING INDEX key_changes_by_meter"), "{plan}");
}

#[test]
fn the_memory_refuses_a_tid_that_is_not_the_next() {
    let unmerged = UnmergedRows::default();
    unmerged.know([], Vec::new(), 1);
    let row = |sequence, minute| Entry { pan: 7, tid: Some((BaseDate::Y2014, tid(minute))), sequence };
    assert!(unmerged.add(row(1, 100)) && unmerged.add(row(2, 101)));
    assert!(!unmerged.add(row(3, 101)) && !unmerged.add(row(3, 100)));
    let part = unmerged.part(1).unwrap();
    assert_eq!(part.rows, [row(1, 100), row(2, 101)]);
    unmerged.committed();
    assert!(unmerged.part(1).is_none(), "its run is whole");
    assert!(
        unmerged.add(Entry { pan: 7, tid: None, sequence: 3 })
            && unmerged.add(Entry { pan: 7, tid: None, sequence: 4 })
    );
}
