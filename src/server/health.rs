//! What `grpc.health.v1` says: SERVING only while tokens are issued. Replays may be answered all
//! the same.

mod service;

use std::{sync::Arc, time::Duration};

pub(super) use service::HealthService;

use tokio::{
    sync::{oneshot, watch},
    time::{MissedTickBehavior, interval, timeout},
};

use super::ending::Stage;
use crate::{
    acts::{Cause, Causes},
    api::health::health_check_response::ServingStatus,
    clock::SignOfLife,
    hsm::Health,
    metrics,
    selftest::Latch,
    store::Store,
    vending::IssueGuard,
};

/// How often it is looked whether anything has stopped issuing.
const LOOK: Duration = Duration::from_secs(1);

/// How often the store is asked.
const STORE_PROBE: Duration = Duration::from_secs(5);

/// How long the store may take to write a row.
const STORE_TIMEOUT: Duration = Duration::from_secs(5);

/// What is wrong with the store. A disk that hangs is as ill as one that fails.
async fn probed(store: &dyn Store, sign: SignOfLife) -> Option<String> {
    match timeout(STORE_TIMEOUT, store.probe(sign)).await {
        Ok(outcome) => outcome.err().map(|error| error.to_string()),
        Err(_) => Some(format!("the store has not answered for {STORE_TIMEOUT:?}")),
    }
}

/// What is looked at.
pub(super) struct Watched {
    pub(super) hsm: watch::Receiver<Health>,
    pub(super) store: Arc<dyn Store>,
    pub(super) guard: Arc<IssueGuard>,
    pub(super) latch: Latch,
    /// Where what was found is told with its reasons.
    pub(super) causes: Causes,
}

impl Watched {
    /// Keeps the report true until the server ends, and with it whoever watches; `ready` hears when
    /// the first word was said.
    pub(super) async fn report(
        self,
        reporter: watch::Sender<ServingStatus>,
        mut stages: watch::Receiver<Stage>,
        ready: oneshot::Sender<()>,
    ) {
        let Self { mut hsm, store, guard, latch, causes } = self;
        let mut ready = Some(ready);
        let mut looks = interval(LOOK);
        let mut probes = interval(STORE_PROBE);
        for ticks in [&mut looks, &mut probes] {
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        let mut store_ill = probed(store.as_ref(), guard.sign_of_life()).await;
        let mut told = None;
        loop {
            let hsm_ill = match &*hsm.borrow_and_update() {
                Health::Healthy => None,
                Health::Unhealthy { reason } => Some(reason.clone()),
            };
            metrics::health(hsm_ill.is_none(), store_ill.is_none());
            let self_test = latch.failure().map(|failure| format!("a self-test failed: {failure}"));
            let stage = *stages.borrow_and_update();
            let stopping = (stage > Stage::Serving).then(|| "the server was told to stop".to_owned());
            let stopped = guard.pass().err().map(|stop| (stop.label(), stop.to_string()));
            let found = [
                self_test.map(|reason| ("self_test", reason)),
                hsm_ill.map(|reason| ("hsm", reason)),
                store_ill.clone().map(|reason| ("store", reason)),
                stopped,
                stopping.map(|reason| ("stopping", reason)),
            ];
            let found = found.into_iter().flatten().map(|(label, reason)| Cause { label, reason });
            let found: Vec<Cause> = found.collect();
            let cause = found.first().cloned();
            causes.set(found);
            metrics::not_serving(cause.as_ref().map(|cause| cause.label));
            if told.as_ref() != Some(&cause) {
                match &cause {
                    None => tracing::info!("healthy: serving"),
                    // Said by whoever leads to the end.
                    Some(Cause { label: "stopping", .. }) => {}
                    Some(Cause { label, reason }) => {
                        tracing::error!(cause = label, %reason, "not healthy: not serving");
                    }
                }
            }
            // The report changes with the verdict, not with its reason.
            let status = if cause.is_none() { ServingStatus::Serving } else { ServingStatus::NotServing };
            reporter.send_if_modified(|told| std::mem::replace(told, status) != status);
            if stage >= Stage::Ending {
                return;
            }
            told = Some(cause);
            if let Some(ready) = ready.take() {
                let _ = ready.send(());
            }
            tokio::select! {
                changed = hsm.changed() => if changed.is_err() { return },
                changed = stages.changed() => if changed.is_err() { return },
                _ = looks.tick() => {}
                _ = probes.tick() => store_ill = probed(store.as_ref(), guard.sign_of_life()).await,
            }
        }
    }
}
