//! Looks into tokens that were not issued here: limited, and each on record.

use std::time::Duration;

use super::*;
use crate::ledger::{Attempted, FAILURES_PER_CLIENT_AND_DAY, FAILURES_PER_METER_AND_HOUR, NewAttempt};
use crate::store::{AuditStore as _, VerificationStore as _};

/// Attempts until one is limited, each a second after the one before, and how long to wait then.
async fn attempts<F: Factory>(scene: &Scene<F>, meter_of: impl Fn(u32) -> MeterPan) -> (u32, Duration) {
    for count in 0.. {
        let now_ms = NOW_MS + i64::from(count) * 1_000;
        let new = NewAttempt { client: scene.client, meter: meter_of(count), now_ms };
        match scene.store.attempt_verification(new).await.unwrap() {
            Attempted::Granted(_) => {}
            Attempted::Limited { retry_after } => return (count, retry_after),
        }
    }
    unreachable!("limits end it");
}

pub(in crate::store) async fn looks_at_a_meter_are_limited_by_the_hour<F: Factory>() {
    let scene = Scene::<F>::new().await;
    let new = NewAttempt { client: scene.client, meter: meter(0), now_ms: NOW_MS };
    let Attempted::Granted(attempt) = scene.store.attempt_verification(new).await.unwrap() else {
        panic!("limited")
    };
    scene.store.verification_succeeded(attempt).await.unwrap();
    let (granted, retry_after) = attempts(&scene, |_| meter(0)).await;
    assert_eq!(granted, FAILURES_PER_METER_AND_HOUR, "one that succeeded does not count");
    let waited = u64::from(FAILURES_PER_METER_AND_HOUR);
    assert_eq!(retry_after, Duration::from_secs(3_600 - waited));
    let other = NewAttempt { meter: meter(1), ..new };
    assert!(matches!(scene.store.attempt_verification(other).await, Ok(Attempted::Granted(_))));
    let scene = scene.reopen();
    let soon = NewAttempt { now_ms: NOW_MS + 3_599_999, ..new };
    assert!(matches!(scene.store.attempt_verification(soon).await, Ok(Attempted::Limited { .. })));
    let later = NewAttempt { now_ms: NOW_MS + 3_600_000, ..new };
    assert!(matches!(scene.store.attempt_verification(later).await, Ok(Attempted::Granted(_))));
    let lines = scene.store.records(Cursor::default(), 1_000, false).await.unwrap().lines;
    let told = lines.iter().filter(|line| format!("{line:?}").contains("verification.attempted"));
    assert_eq!(told.count() as u32, FAILURES_PER_METER_AND_HOUR + 3);
}

pub(in crate::store) async fn looks_of_a_client_are_limited_by_the_day<F: Factory>() {
    let scene = Scene::<F>::new().await;
    // As many meters as leave the limit of each alone.
    let meter_of = |count: u32| {
        let number = 60_072_700_000_000_000 + i64::from(count / 20) * 17;
        (0..10).find_map(|check| MeterPan::from_number(number * 10 + check).ok())
    };
    let meters: Vec<MeterPan> = (0..100_000).step_by(20).filter_map(meter_of).take(16).collect();
    assert_eq!(meters.len(), 16);
    let (granted, retry_after) = attempts(&scene, |count| meters[count as usize / 20]).await;
    assert_eq!(granted, FAILURES_PER_CLIENT_AND_DAY);
    let waited = u64::from(FAILURES_PER_CLIENT_AND_DAY);
    assert_eq!(retry_after, Duration::from_secs(24 * 3_600 - waited));
}
