//! Looks every second whether the time of an old server key is over.

use std::{sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};

use crate::{custody, hsm::Hsm, store::Store, vending::IssueGuard};

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(1);

/// Destroys old server keys whose time is over. Nothing while the clock or the database is in doubt.
pub(super) async fn watch(hsm: Hsm, store: Arc<dyn Store>, guard: Arc<IssueGuard>) {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = false;
    loop {
        looks.tick().await;
        let Ok(now_ms) = guard.pass() else { continue };
        match custody::end_overlaps(&hsm, store.as_ref(), now_ms).await {
            Ok(()) => told = false,
            // Said once; every look tries again.
            Err(error) => {
                if !std::mem::replace(&mut told, true) {
                    tracing::error!(%error, "an old server key cannot be destroyed");
                }
            }
        }
    }
}
