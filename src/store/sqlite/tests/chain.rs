//! Rows that somebody else has written, on the chain.

use super::*;
use crate::audit::Verification;

#[tokio::test]
async fn a_damaged_row_fails_its_own_request_alone() {
    let scene = Scene::new().await;
    scene.store.record_token(scene.credit(1, meter(0), 100)).await.unwrap();
    scene
        .store
        .write(|c| Ok(c.view.execute_batch("UPDATE issued_tokens SET block = block + 1").map(drop)?))
        .await
        .unwrap();
    let found = scene
        .store
        .record_tokens(vec![
            scene.credit(2, meter(1), 100),
            scene.credit(1, meter(0), 100),
            scene.credit(3, meter(1), 100),
        ])
        .await;
    assert_eq!(found.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    assert!(matches!(&found[1], Err(LedgerError::Store(StoreError::Corrupt { .. }))));
}

#[tokio::test]
async fn tampering_in_the_database_is_found_at_its_place() {
    let scene = Scene::new().await;
    for request in 1..=5 {
        scene.store.record_token(scene.credit(request, meter(0), 100)).await.unwrap();
    }
    // Records 5 to 9 are the tokens.
    for (sql, place) in [
        ("UPDATE issued_tokens SET issued_ms = issued_ms + 1 WHERE sequence = 6", "record 6"),
        ("UPDATE issued_tokens SET pan = 600727000000000009 WHERE sequence = 7", "record 7"),
        ("UPDATE acts SET details = '{}' WHERE position = 2", "record 2"),
        ("DELETE FROM issued_tokens WHERE sequence = 8", "records 8 to 8"),
    ] {
        scene.store.write(move |c| Ok(c.view.execute_batch(sql)?)).await.unwrap();
        let mut verification = Verification::new(None);
        for line in scene.store.records(Cursor::default(), 100, true).await.unwrap().lines {
            verification.feed(&line);
        }
        let faults: Vec<String> =
            verification.finish().faults.iter().map(|(_, fault)| fault.to_string()).collect();
        assert!(faults.iter().any(|fault| fault.contains(place)), "{sql}: {faults:?}");
    }
}
