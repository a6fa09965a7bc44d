//! Sums that somebody else has written.

use rusqlite::Connection;

use super::*;
use crate::store::contract::tests::usage::{credits, tokens, under};

/// Changes the sums behind the back of whatever store has them open.
fn tamper(scene: &Scene, sql: &str) {
    let other = Connection::open(scene.factory.path()).unwrap();
    assert!(other.execute(sql, ()).unwrap() > 0, "{sql}");
}

#[tokio::test]
async fn sums_that_another_hand_lowered_are_raised_to_what_the_ledger_says() {
    for forgery in [
        "UPDATE usage SET tokens = 0, least_units = '0'",
        "UPDATE usage SET tokens = tokens - 1",
        "DELETE FROM usage",
        "UPDATE usage SET kind = 'heat_credit'",
    ] {
        let mut scene = under::<Folder>(tokens(9, None)).await;
        let asked = credits(&scene, 20);
        let (first, rest) = asked.split_at(6);
        let recorded = scene.store.record_tokens(first.to_vec()).await;
        assert!(recorded.iter().all(Result::is_ok));
        assert_eq!(scene.store.correct_usage(CountedDay::of(NOW_MS), NOW_MS).await, Ok(vec![]));
        tamper(&scene, forgery);
        scene = scene.reopen();
        // Of the day nothing was counted before: what came since is counted in the transaction.
        let found = scene.store.correct_usage(CountedDay::of(NOW_MS), NOW_MS).await.unwrap();
        assert_eq!(found.len(), 1, "{forgery}: {found:?}");
        assert_eq!((found[0].of, found[0].counted.tokens), (SumOf::Client(scene.client), 6));
        assert_eq!(scene.store.correct_usage(CountedDay::of(NOW_MS), NOW_MS).await, Ok(vec![]));
        let passed = scene.store.record_tokens(rest.to_vec()).await.iter().filter(|one| one.is_ok()).count();
        assert_eq!(passed, if forgery.contains("heat") { 0 } else { 3 }, "{forgery}");
        let records = scene.store.records(Cursor::default(), 1_000, false).await.unwrap().lines;
        let raised = records.iter().filter(|line| format!("{line:?}").contains("usage.raised"));
        assert_eq!(raised.count(), 1);
    }
}

#[tokio::test]
async fn a_sum_above_the_ledger_stays_and_is_told() {
    let scene = under::<Folder>(tokens(9, None)).await;
    scene.store.record_tokens(credits(&scene, 2)).await;
    tamper(&scene, "UPDATE usage SET tokens = 8");
    let scene = scene.reopen();
    for _ in 0..2 {
        let found = scene.store.correct_usage(CountedDay::of(NOW_MS), NOW_MS).await.unwrap();
        assert_eq!((found[0].kept.tokens, found[0].counted.tokens), (8, 2));
        assert_eq!(found[0].higher(), found[0].kept);
    }
    let passed = scene.store.record_tokens(credits(&scene, 9)).await;
    let new = passed.iter().filter(|one| matches!(one, Ok(Recorded::New(_)))).count();
    assert_eq!(new, 1);
}
