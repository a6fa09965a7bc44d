//! Compares what limits are counted against with the rows of the ledger: at every start, and every
//! ten minutes.

use std::{sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};

use crate::{
    audit::{Actor, NewAct},
    ledger::{CountedDay, Cursor, SumMismatch},
    metrics,
    store::{Job, Leases, PAGE_SIZE_MAX, Store, StoreError},
    vending::IssueGuard,
};

/// How often the day's rows are counted.
const LOOK: Duration = Duration::from_secs(600);

/// Compares until the task is ended.
pub(super) async fn watch(store: Arc<dyn Store>, guard: Arc<IssueGuard>, leases: Arc<Leases>) {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = Vec::new();
    loop {
        looks.tick().await;
        if !leases.holds(Job::Sums).await {
            continue;
        }
        let found = match compare(store.as_ref(), guard.now_ms()).await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(%error, "what clients were given today cannot be compared with the ledger");
                continue;
            }
        };
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

/// Counts the rows of today, bit by bit, and has the sums compared.
async fn compare(store: &dyn Store, now_ms: i64) -> Result<Vec<SumMismatch>, StoreError> {
    let mut counted = CountedDay::of(now_ms);
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
    let SumMismatch { client, kind, kept, counted } = mismatch;
    tracing::error!(
        %client, kind, %kept, %counted,
        "what a client was given today is not what the ledger says; the higher counts"
    );
    metrics::alarm("usage", client);
    if mismatch.higher() != *kept {
        // On record already, with its correction.
        return Ok(());
    }
    let act = NewAct { kind: "usage.above_ledger", actor: Actor::Local, details: mismatch.details(), now_ms };
    store.record_act(act).await
}
