//! Adds what was vended before sums by the hour were kept, by servers of older versions, from the rows
//! of the ledger, beside the work of the day.

use std::{sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};

use crate::{
    ledger::{CountedHours, Cursor, Hours, hour_of},
    store::{Job, Leases, PAGE_SIZE_MAX, Store, StoreError},
    vending::IssueGuard,
};

/// How often it is looked whether anything lacks. Before the first token of this version nobody can
/// tell.
const LOOK: Duration = Duration::from_secs(600);

/// Looks until the task is ended.
pub(super) async fn fill(store: Arc<dyn Store>, guard: Arc<IssueGuard>, leases: Arc<Leases>) {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        if leases.holds(Job::Sums).await
            && let Err(error) = look(store.as_ref(), guard.now_ms()).await
        {
            tracing::warn!(%error, "the sums of earlier hours cannot be counted");
        }
    }
}

/// Fills what lacks, unless sums of its last hour are still written.
async fn look(store: &dyn Store, now_ms: i64) -> Result<(), StoreError> {
    let now = hour_of(now_ms);
    let since = store.vended(Hours { first: now, last: now }).await?.kept_since;
    let Some(since) = since.filter(|since| *since < now) else { return Ok(()) };
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
    Ok(())
}
