//! What survives, and what a broken or foreign database says.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use super::*;
use crate::clock::{BootId, Moment, Uptime};
use crate::store::Outcome;

#[tokio::test]
async fn a_commit_waits_for_the_disk() {
    let scene = Scene::new().await;
    let pragmas = scene
        .store
        .write(|c| {
            let text: String = c.view.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
            let synchronous: i64 = c.view.query_row("PRAGMA synchronous", [], |row| row.get(0))?;
            let foreign_keys: bool = c.view.query_row("PRAGMA foreign_keys", [], |row| row.get(0))?;
            Ok((text, synchronous, foreign_keys))
        })
        .await;
    assert_eq!(pragmas, Ok(("wal".into(), 2, true)), "2 is FULL");
}

#[tokio::test]
async fn a_second_store_is_refused() {
    let scene = Scene::new().await;
    let settings = SqliteSettings::new(scene.factory.path());
    let Err(OpenError::InUse { holder, .. }) = SqliteStore::open(&settings, sealer()) else {
        panic!("opened twice")
    };
    assert_eq!(holder, Some(std::process::id()));
    scene.reopen();
}

#[tokio::test]
async fn whoever_opens_the_database_later_has_it() {
    let scene = Scene::new().await;
    let path = scene.factory.path();
    let first = scene.store.record_token(scene.credit(1, meter(0), 100)).await.unwrap();
    let Recorded::New(row) = first else { panic!("{first:?}") };
    let other = connection::open_writer(&path).unwrap();
    // No lock keeps it out: it is another connection of this process.
    Claim::take(&other, scene.store._lock.identity()).unwrap();
    for _ in 0..2 {
        let refused = scene.store.record_token(scene.credit(2, meter(0), 100)).await;
        assert!(matches!(refused, Err(LedgerError::Store(StoreError::TakenOver { .. }))), "{refused:?}");
        assert!(matches!(scene.store.probe(sign(NOW_MS)).await, Err(StoreError::TakenOver { .. })));
    }
    assert_eq!(scene.store.issued_token(row.sequence).await, Ok(Some(row)), "reading goes on");
    drop(other);
    let scene = scene.reopen();
    scene.store.record_token(scene.credit(2, meter(0), 100)).await.unwrap();
}

#[tokio::test]
async fn nobody_else_reads_the_files() {
    let scene = Scene::new().await;
    let mut seen = 0;
    for entry in std::fs::read_dir(scene.factory.0.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o077, 0, "{:?}", entry.path());
        seen += 1;
    }
    assert_eq!(seen, 3, "database, -wal and -shm");
}

#[test]
fn a_missing_folder_and_a_foreign_file_are_said() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = SqliteSettings::new(folder.path().join("missing/vendkey.db"));
    assert!(matches!(SqliteStore::open(&nowhere, sealer()), Err(OpenError::NoFolder { .. })));
    let path = folder.path().join("text.db");
    std::fs::write(&path, "this is no database, whatever its name says. ".repeat(100)).unwrap();
    assert!(matches!(
        SqliteStore::open(&SqliteSettings::new(path), sealer()),
        Err(OpenError::NotADatabase { .. })
    ));
}

#[tokio::test]
async fn readers_cannot_write() {
    let scene = Scene::new().await;
    let result = scene.store.read(|c| Ok(c.view.execute("DELETE FROM issued_tokens", [])?)).await;
    assert!(matches!(result, Err(StoreError::Unavailable { .. })), "{result:?}");
}

async fn limit_pages(store: &SqliteStore, pages: &'static str) {
    store
        .write(move |c| Ok(c.view.execute_batch(&format!("PRAGMA max_page_count = {pages}"))?))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_full_disk_refuses_clearly_and_heals() {
    let scene = Scene::new().await;
    limit_pages(&scene.store, "1").await; // SQLite takes it as: no more than there are
    let mut last = 0;
    let failure = loop {
        last += 1;
        assert!(last < 250, "the disk never filled");
        match scene.store.record_token(scene.credit(last, meter(0), 100)).await {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(failure, LedgerError::Store(StoreError::Full { outcome: Outcome::NotDone }));
    let refused = Uuid::from_bytes([last; 16]);
    assert_eq!(scene.store.issued_token_of_request(scene.client, refused).await, Ok(None));
    assert_eq!(scene.store.last_tid(meter(0), BaseDate::Y2014).await, {
        let row = scene
            .store
            .issued_token_of_request(scene.client, Uuid::from_bytes([last - 1; 16]))
            .await
            .unwrap();
        Ok(row.map(|row| tid(tid_of(&row))))
    });
    // What was acknowledged is still answered while there is no room.
    let replay = scene.store.record_token(scene.credit(1, meter(0), 100)).await;
    assert!(matches!(replay, Ok(Recorded::Replay(_))));

    limit_pages(&scene.store, "1000000").await;
    let recorded = scene.store.record_token(scene.credit(last, meter(0), 100)).await;
    assert!(matches!(recorded, Ok(Recorded::New(_))), "{recorded:?}");
    let sound: String = scene
        .store
        .read(|c| Ok(c.view.query_row("PRAGMA integrity_check", [], |row| row.get(0))?))
        .await
        .unwrap();
    assert_eq!(sound, "ok");
}

fn sign(wall_ms: i64) -> SignOfLife {
    let uptime = Uptime { boot: BootId([3; 16]), passed: Duration::from_millis(77) };
    SignOfLife { moment: Moment { wall_ms, uptime: Some(uptime) }, in_doubt: false }
}

#[tokio::test]
async fn the_last_sign_of_life_outlives_the_server() {
    let scene = Scene::new().await;
    let recorded = scene.store.past().await.unwrap().sign_of_life.unwrap();
    let of_chain = Moment { wall_ms: NOW_MS + 1, uptime: None };
    assert_eq!(recorded, SignOfLife { moment: of_chain, in_doubt: false }, "that of the last record");
    scene.store.probe(sign(NOW_MS)).await.unwrap();
    let last = SignOfLife { in_doubt: true, ..sign(NOW_MS - 5) };
    scene.store.probe(last).await.unwrap();
    let scene = scene.reopen();
    assert_eq!(scene.store.past().await.unwrap().sign_of_life, Some(last));
}

#[tokio::test]
async fn no_digits_of_a_request_reach_the_log_of_a_failure() {
    let scene = Scene::new().await;
    let result = scene
        .store
        .write(|c| {
            Ok(c.view.execute(
                "INSERT INTO meters (pan, base_date, last_tid) VALUES (600727111111111153, 2014, 99999999)",
                [],
            )?)
        })
        .await;
    let Err(StoreError::Defect { reason }) = result else { panic!("{result:?}") };
    assert!(!reason.contains("6007271111"), "{reason}");
}

#[tokio::test]
async fn the_log_is_copied_beside_the_commits_and_begins_anew() {
    let scene = Scene::new().await;
    let outside = connection::open_copier(&scene.factory.path()).unwrap();
    let mut longest = 0;
    for _ in 0..2_000 {
        // Some fifty pages.
        let insert = "INSERT INTO checkpoints (text) VALUES (hex(randomblob(100000)))";
        scene.store.write(|c| Ok(c.view.execute(insert, [])?)).await.unwrap();
        let length = log::length(&outside).unwrap();
        if length.pages < longest {
            assert!(longest >= 3_000, "it began anew after {longest} pages");
            return;
        }
        longest = length.pages;
    }
    panic!("the log only grew");
}

#[tokio::test]
async fn a_snapshot_within_a_transaction_leaves_it_alone() {
    let scene = Scene::new().await;
    let act = NewAct { kind: "test", actor: Actor::Local, details: BTreeMap::new(), now_ms: NOW_MS };
    let before = scene.store.chain_head().await.unwrap().position;
    scene
        .store
        .write(move |writing| {
            writing.append_act(&act)?;
            writing.verify_seals()?;
            assert!(!writing.view.is_autocommit());
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!(scene.store.chain_head().await.unwrap().position, before + 1);
    for _ in 0..2 {
        assert!(scene.store.verify_seals().await.unwrap().is_sound(), "one after another");
    }
}
