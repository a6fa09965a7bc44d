//! What `grpc.health.v1` says: SERVING only while the HSM and the store are well.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::{
    sync::{oneshot, watch},
    time::{MissedTickBehavior, interval, timeout},
};
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::{access::methods, clock::Clock, hsm::Health, metrics, selftest::Latch, store::Store};

/// How often the store is asked.
const STORE_PROBE: Duration = Duration::from_secs(5);

/// How long the store may take to write a row.
const STORE_PATIENCE: Duration = Duration::from_secs(5);

/// What is wrong with the store. A disk that hangs is as ill as one that fails.
async fn probed(store: &dyn Store, now_ms: i64) -> Option<String> {
    match timeout(STORE_PATIENCE, store.probe(now_ms)).await {
        Ok(outcome) => outcome.err().map(|error| error.to_string()),
        Err(_) => Some(format!("the store has not answered for {STORE_PATIENCE:?}")),
    }
}

/// Our own services.
fn services() -> BTreeSet<&'static str> {
    let ours = methods().iter().filter_map(|(method, _)| method.strip_prefix('/')?.split('/').next());
    ours.filter(|service| service.starts_with("vendkey.")).collect()
}

/// Keeps the report true until the task is ended; `ready` hears when the first word was said.
pub(super) async fn watch(
    reporter: HealthReporter,
    mut health: watch::Receiver<Health>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    latch: Latch,
    ready: oneshot::Sender<()>,
) {
    let mut ready = Some(ready);
    let services = services();
    let mut probe = interval(STORE_PROBE);
    probe.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut store_ill = probed(store.as_ref(), clock.now_ms()).await;
    let (mut told, mut serving) = (None, None);
    loop {
        let hsm_ill = match &*health.borrow_and_update() {
            Health::Healthy => None,
            Health::Unhealthy { reason } => Some(reason.clone()),
        };
        metrics::health(hsm_ill.is_none(), store_ill.is_none());
        let self_test = latch.failure().map(|failure| format!("a self-test failed: {failure}"));
        let ill = self_test.or(hsm_ill).or(store_ill.clone());
        if told.as_ref() != Some(&ill) {
            match &ill {
                None => tracing::info!("healthy: serving"),
                Some(reason) => tracing::error!(%reason, "not healthy: not serving"),
            }
        }
        // The report changes with the verdict, not with its reason.
        if serving != Some(ill.is_none()) {
            serving = Some(ill.is_none());
            let status = if ill.is_none() { ServingStatus::Serving } else { ServingStatus::NotServing };
            // The empty name is the server.
            reporter.set_service_status("", status).await;
            for &service in &services {
                reporter.set_service_status(service, status).await;
            }
        }
        told = Some(ill);
        if let Some(ready) = ready.take() {
            let _ = ready.send(());
        }
        tokio::select! {
            changed = health.changed() => if changed.is_err() { return },
            _ = probe.tick() => store_ill = probed(store.as_ref(), clock.now_ms()).await,
        }
    }
}
