//! A server, put together from its parts before anybody can reach it, and the tasks that keep it in
//! order.

use std::sync::Arc;

use tokio::sync::{oneshot, watch};

use super::{
    ServeError,
    checkpoints::{self, Checkpoints},
    destruction,
    ending::Stage,
    health::{self, HealthService},
    hours, inventory, overlap,
    tasks::Tasks,
    trust::Trust,
    usage,
    walk::Walker,
};
use crate::{
    acts::{Acts, Admission, Authenticator, Causes, Identity, Refusals},
    api::health::health_check_response::ServingStatus,
    clock::{self, Clock},
    custody,
    hsm::{AuditKey as _, Hsm, TokenList, Tokens as _},
    selftest::{self, Latch},
    settings::Settings,
    store::{Job, Leases, ServerState, Store},
    vending::{IssueGuard, Vending},
};

/// The parts of a server.
pub(super) struct Assembly {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) acts: Arc<Acts>,
    pub(super) admission: Arc<Admission>,
    hsm: TokenList,
    store: Arc<dyn Store>,
    guard: Arc<IssueGuard>,
    leases: Arc<Leases>,
    latch: Latch,
    vending: Arc<Vending>,
    refusals: Arc<Refusals>,
    checkpoints: Checkpoints,
    trust: Trust,
    walker: Walker,
    causes: Causes,
}

impl Assembly {
    /// Looks at what the last server left and at what the HSM holds, and puts the parts together.
    /// Approved acts that did not end are done before anybody can ask for more.
    pub(super) async fn new(
        settings: &Settings,
        hsm: TokenList,
        store: Arc<dyn Store>,
    ) -> Result<Self, ServeError> {
        let clock: Arc<dyn Clock> = clock::of_server();
        // Before anything is written: what the last server left tells whether clock and database
        // are believed.
        let past = store.past().await.map_err(checkpoints::CheckpointFailure::from)?;
        let tokens: Vec<String> = hsm.tokens().iter().map(ToString::to_string).collect();
        let state =
            ServerState { version: env!("CARGO_PKG_VERSION").to_owned(), hsm_token: tokens.join(" ") };
        let first = hsm.first_token().clone();
        let examined = checkpoints::examine(&first, store.as_ref(), &settings.store, &past).await?;
        let guard = Arc::new(IssueGuard::new(clock.clone(), past.sign_of_life, examined.stop.clone()));
        store.put_server(state).await.map_err(checkpoints::CheckpointFailure::from)?;
        let leases = Arc::new(Leases::new(store.clone(), clock.clone()));
        let key = Arc::new(first.clone());
        let (of_store, leased) = (settings.store.clone(), leases.clone());
        let checkpoints =
            Checkpoints::new(key, store.clone(), guard.clone(), leased, of_store, examined).await?;
        let mut trust = Trust::new(store.clone(), guard.clone(), leases.clone());
        trust.look_at_seals().await;
        trust.look_at_database().await;
        trust.look_at_clock().await;
        let audit_key = first.audit_public_key().await?.spki_der;
        let pace = settings.audit.walk_rows_per_second;
        let mut walker = Walker::new(store.clone(), guard.clone(), leases.clone(), audit_key, pace);
        walker.look_at_start().await;
        let latch = self_tested(&first).await;
        if let Ok(now_ms) = guard.pass()
            && let Err(error) = custody::end_overlaps(&first, store.as_ref(), now_ms).await
        {
            tracing::error!(%error, "an old server key cannot be destroyed");
        }
        if let Err(error) = inventory::report(&hsm, store.as_ref()).await {
            tracing::warn!(%error, "the HSM's objects could not be compared with the store's");
        }
        let key = Arc::new(hsm.clone());
        let vending = Vending::new(key, store.clone(), clock.clone(), guard.clone(), settings.vending);
        let vending = vending.under(latch.clone());
        let several = settings.access.approvals > 1;
        let vending = Arc::new(if several { vending.uploads_start_disabled() } else { vending });
        let refusals = Arc::new(Refusals::new(store.clone(), clock.clone()));
        let authenticator = Authenticator::new(store.clone(), clock.clone());
        let admission = Arc::new(Admission::new(authenticator, refusals.clone()));
        let causes = Causes::default();
        let acts = Arc::new(Acts::new(
            store.clone(),
            clock.clone(),
            vending.clone(),
            admission.clone(),
            settings.access,
            settings.vending.uploads_per_minute,
            Identity { name: settings.server.name.clone(), causes: causes.clone() },
        ));
        if leases.holds(Job::ApprovedActs).await
            && let Err(error) = acts.resume().await
        {
            tracing::error!(%error, "approved acts that may not have ended cannot be done again");
        }
        Ok(Self {
            clock,
            acts,
            admission,
            hsm,
            store,
            guard,
            leases,
            latch,
            vending,
            refusals,
            checkpoints,
            trust,
            walker,
            causes,
        })
    }

    /// Starts what runs beside the calls. Answers what tells the server's health, once it was
    /// looked at.
    pub(super) async fn start(self, tasks: &mut Tasks, stages: &watch::Receiver<Stage>) -> HealthService {
        let Self {
            acts,
            hsm,
            store,
            guard,
            leases,
            latch,
            vending,
            refusals,
            checkpoints,
            trust,
            walker,
            causes,
            ..
        } = self;
        let (reporter, reported) = watch::channel(ServingStatus::NotServing);
        let (ready, told) = oneshot::channel();
        let watched =
            health::Watched { hsm: hsm.health(), store: store.clone(), guard: guard.clone(), latch, causes };
        let first = hsm.first_token().clone();
        tasks.spawn("old server keys", overlap::watch(first, store.clone(), guard.clone()));
        tasks.spawn("tokens of the HSM", hsm.watch());
        tasks.spawn_until_end("health", watched.report(reporter, stages.clone(), ready));
        let leased = leases.clone();
        tasks.spawn("approved acts", async move { acts.finish_approved(&leased).await });
        tasks.spawn("destruction of keys", destruction::watch(vending, leases.clone()));
        tasks.spawn("sums of earlier hours", hours::fill(store.clone(), guard.clone(), leases.clone()));
        tasks.spawn("comparison of sums", usage::watch(store, guard, leases));
        tasks.spawn("walk over the ledger", walker.run());
        tasks.spawn_until_end("checkpoints", checkpoints.run(trust, refusals, stages.clone()));
        // A server that is reached says what it is.
        let _ = told.await;
        HealthService::new(reported)
    }
}

/// Known answers for every algorithm. A server that fails one starts all the same, so that it can
/// say why it does not serve.
async fn self_tested(hsm: &Hsm) -> Latch {
    let latch = Latch::default();
    let report = selftest::run(hsm).await;
    match report.failure() {
        None => tracing::info!("{} self-tests passed", report.software.len() + report.hsm.len()),
        Some(failure) => {
            tracing::error!(%failure, "a self-test failed: nothing will be issued");
            latch.fail(failure);
        }
    }
    latch
}
