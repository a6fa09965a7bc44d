//! What a batch costs in statements, and how often it waits for the database, whatever its size.

use std::sync::atomic::Ordering;

use super::*;

/// Statements of a batch at most, beside what an alarm writes.
const MOST: u64 = 12;
/// How often it waits: for the beginning with its locks, for what is known, for what is written, for
/// the commit.
const WAITS: u64 = 4;

/// The statements of a batch, and how often it waits.
async fn cost(size: usize) -> (u64, u64) {
    let scene = Scene::<Own>::new().await;
    let batch = |from: usize| -> Vec<NewToken> {
        let order = |number: usize| NewToken {
            request_id: Uuid::from_u128(number as u128),
            ..scene.credit(1, meter(number % 3), 100)
        };
        (from..from + size).map(order).collect()
    };
    // The first batch of all loads what is remembered.
    for found in scene.store.record_tokens(batch(1)).await {
        found.unwrap();
    }
    let sent = scene.store.write(|writing| Ok(writing.view.connection.sent())).await.unwrap();
    let counted = || (sent.statements.load(Ordering::Relaxed), sent.waits.load(Ordering::Relaxed));
    let before = counted();
    for found in scene.store.record_tokens(batch(1 + size)).await {
        found.unwrap();
    }
    let after = counted();
    (after.0 - before.0, after.1 - before.1)
}

#[tokio::test]
async fn a_batch_costs_the_same_handful_whatever_its_size() {
    let (small, large) = (cost(3).await, cost(2_000).await);
    assert_eq!(small, large);
    assert!(large.0 <= MOST, "{} statements", large.0);
    assert_eq!(large.1, WAITS);
}
