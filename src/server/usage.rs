//! Compares the sums against which limits are counted, and those that reports are made of, with the
//! rows of the ledger: at every start, and every ten minutes.

use std::{sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};

use crate::{
    audit::{Actor, NewAct},
    ledger::{CountedDay, Cursor, SumMismatch, SumOf, day_of},
    metrics,
    store::{Job, Leases, PAGE_SIZE_MAX, Store, StoreError},
    vending::IssueGuard,
};

/// How often the day's rows are counted.
const LOOK: Duration = Duration::from_secs(600);
/// A day, in milliseconds.
const DAY_MS: i64 = 86_400_000;

/// Compares until the task is ended.
pub(super) async fn watch(store: Arc<dyn Store>, guard: Arc<IssueGuard>, leases: Arc<Leases>) {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut told, mut last_day) = (Vec::new(), None);
    loop {
        looks.tick().await;
        if !leases.holds(Job::Sums).await {
            continue;
        }
        let now_ms = guard.now_ms();
        // What came since the last look at a day that is over is compared once more.
        let over = (last_day != Some(day_of(now_ms))).then(|| now_ms.saturating_sub(DAY_MS));
        let mut found = Vec::new();
        for at_ms in [Some(now_ms), over].into_iter().flatten() {
            match compare(store.as_ref(), at_ms, now_ms).await {
                Ok(mismatches) => found.extend(mismatches),
                Err(error) => {
                    tracing::warn!(%error, "the sums of a day cannot be compared with the ledger");
                    break;
                }
            }
        }
        last_day = Some(day_of(now_ms));
        for mismatch in &found {
            // What was too low is raised by now, and not found again. What is too high may be so
            // all day.
            if !told.contains(mismatch)
                && let Err(error) = tell(store.as_ref(), guard.now_ms(), mismatch).await
            {
                tracing::error!(%error, "a wrong sum cannot be put on record");
            }
        }
        told = found;
    }
}

/// Counts the rows of the day of an instant, bit by bit, and has the sums compared.
async fn compare(store: &dyn Store, at_ms: i64, now_ms: i64) -> Result<Vec<SumMismatch>, StoreError> {
    let mut counted = CountedDay::of(at_ms);
    let mut after = Cursor::default();
    loop {
        let page = store.list_issued_tokens(counted.filter(), after, PAGE_SIZE_MAX).await?;
        counted.add(&page.rows);
        match page.next {
            Some(next) => after = next,
            None => return store.correct_usage(counted, now_ms).await,
        }
    }
}

async fn tell(store: &dyn Store, now_ms: i64, mismatch: &SumMismatch) -> Result<(), StoreError> {
    let SumMismatch { of, kind, kept, counted } = mismatch;
    match of {
        SumOf::Client(client) => {
            tracing::error!(
                %client, kind, %kept, %counted,
                "what a client was given today is not what the ledger says; the higher counts"
            );
            metrics::alarm("usage", client);
        }
        SumOf::Hour(hour, _) => {
            tracing::error!(hour, kind, %kept, %counted, "a sum of reports is not what the ledger says");
            metrics::alarm("report_sums", "");
        }
    }
    if mismatch.higher() != *kept {
        // On record already, with its correction.
        return Ok(());
    }
    let act = NewAct { kind: mismatch.above(), actor: Actor::Local, details: mismatch.details(), now_ms };
    store.record_act(act).await
}
