//! Looks every second whether the time of scheduled destructions has come.

use std::{sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};

use crate::{
    crash,
    store::{Job, Leases},
    vending::Vending,
};

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(1);

/// Destroys what is due, until the task is ended. What is cut off there goes on at the next start.
pub(super) async fn watch(vending: Arc<Vending>, leases: Arc<Leases>) {
    if crash::fails("task") {
        return;
    }
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = None;
    loop {
        looks.tick().await;
        if !leases.holds(Job::Destruction).await {
            continue;
        }
        let failure = vending.destroy_due().await.err();
        // Said once; every look tries again.
        if let Some(error) = failure.as_ref().filter(|failure| told.as_ref() != Some(*failure)) {
            tracing::error!(%error, "keys whose time has come cannot be destroyed");
        }
        told = failure;
    }
}
