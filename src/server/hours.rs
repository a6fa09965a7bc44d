//! Adds what was vended before sums by the hour were kept, by servers of older versions: once, from
//! the rows of the ledger, beside the work of the day.

use std::{future::pending, sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};

use crate::{
    ledger::{CountedHours, Cursor, Hours, hour_of},
    store::{Job, Leases, PAGE_SIZE_MAX, Store, StoreError},
    vending::IssueGuard,
};

/// How often it is looked whether anything lacks, until it does not.
const LOOK: Duration = Duration::from_secs(600);

/// Looks until nothing lacks.
pub(super) async fn fill(store: Arc<dyn Store>, guard: Arc<IssueGuard>, leases: Arc<Leases>) {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        if !leases.holds(Job::Sums).await {
            continue;
        }
        match filled(store.as_ref(), guard.now_ms()).await {
            Ok(true) => pending().await,
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "the sums of earlier hours cannot be counted"),
        }
    }
}

/// Whether no more is to be done.
async fn filled(store: &dyn Store, now_ms: i64) -> Result<bool, StoreError> {
    let now = hour_of(now_ms);
    let Some(since) = store.vended(Hours { first: now, last: now }).await?.kept_since else {
        return Ok(true);
    };
    if since >= now {
        // Of this hour sums are still written.
        return Ok(false);
    }
    let mut counted = CountedHours::before(since);
    let mut after = Cursor::default();
    loop {
        let page = store.list_issued_tokens(counted.filter(), after, PAGE_SIZE_MAX).await?;
        counted.add(&page.rows);
        match page.next {
            Some(next) => after = next,
            None => break,
        }
    }
    let added = store.fill_hours(counted, now_ms).await?;
    tracing::info!(added, "sums of what was vended before they were kept were added for reports");
    Ok(true)
}
