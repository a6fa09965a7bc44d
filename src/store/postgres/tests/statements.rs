//! What a batch costs in statements, whatever its size.

use std::sync::atomic::Ordering;

use super::*;

/// Statements of a batch at most, beside what an alarm writes.
const MOST: u64 = 12;

async fn statements(size: usize) -> u64 {
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
    let counted = scene.store.write(|writing| Ok(writing.view.connection.statements())).await.unwrap();
    let before = counted.load(Ordering::Relaxed);
    for found in scene.store.record_tokens(batch(1 + size)).await {
        found.unwrap();
    }
    counted.load(Ordering::Relaxed) - before
}

#[tokio::test]
async fn a_batch_costs_the_same_handful_whatever_its_size() {
    let (small, large) = (statements(3).await, statements(2_000).await);
    assert_eq!(small, large);
    assert!(large <= MOST, "{large} statements");
}
