//! Wiring: the parts put together, the listeners, health, and an orderly end.

mod body;
mod calls;
mod checkpoints;
mod compression;
mod connection;
mod destruction;
mod ending;
mod health;
mod inventory;
mod listener;
mod log;
mod metrics;
mod opening;
mod protocol;
mod services;
mod slots;
mod tls;
mod usage;

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use checkpoints::Checkpoints;
use ending::{EndSignals, Stage, handler};
use health::HealthService;
use listener::Listener;
use rustix::process::geteuid;
use services::Parts;
use tls::Tls;
use tokio::{
    signal::unix::SignalKind,
    sync::{Notify, oneshot, watch},
    time::{MissedTickBehavior, interval},
};
use tower::Layer as _;

use crate::{
    acts::{Acts, Admission, Authenticator, Refusals},
    api::{AuthenticationLayer, Services, health::health_check_response::ServingStatus},
    clock::{self, Clock},
    hsm::{Hsm, HsmError, VendingKeys},
    selftest,
    settings::Settings,
    store::{self, DatabaseSettings, Store},
    vending::{IssueGuard, Vending},
};

/// Why the server does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// It was started as root without leave.
    #[error("refusing to run as root: use another user, or set server.allow_root = true (in a container)")]
    Root,
    /// The HSM cannot be used.
    #[error("the HSM cannot be used: {0}")]
    Hsm(#[from] HsmError),
    /// The database cannot be used.
    #[error("the store cannot be used: {0}")]
    Store(#[from] store::OpenError),
    /// The checkpoints of the chain cannot be read.
    #[error("the chain cannot be examined: {0}")]
    Chain(String),
    /// The certificate or its key cannot be used.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
    /// The address cannot be bound.
    #[error("cannot listen on {0}: {1}")]
    Bind(SocketAddr, io::Error),
    /// The runtime, a signal handler or the transport failed.
    #[error("the server stopped: {0}")]
    Stopped(String),
}

impl From<checkpoints::CheckpointFailure> for ServeError {
    fn from(failure: checkpoints::CheckpointFailure) -> Self {
        Self::Chain(failure.to_string())
    }
}

/// Runs the server until SIGTERM or SIGINT, then lets the running calls end.
pub fn run(settings: Settings) -> Result<(), ServeError> {
    log::start(&settings.log);
    if geteuid().is_root() {
        if !settings.server.allow_root {
            return Err(ServeError::Root);
        }
        tracing::warn!("running as root, as server.allow_root says");
    }
    let hsm = Hsm::start(settings.hsm.clone())?;
    tracing::info!("what the HSM can do, by known-answer operations:\n{}", hsm.capabilities());
    let database = DatabaseSettings {
        url: settings.store.url.clone(),
        queue: settings.store.queue,
        alarm_pace: settings.access.alarm_pace,
    };
    let store = store::open(&database, Arc::new(hsm.clone()))?;
    let ended = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| ServeError::Stopped(error.to_string()))?
        .block_on(serve(settings, hsm.clone(), store));
    // No thread may be inside the module when the process ends.
    hsm.stop();
    ended
}

async fn serve(settings: Settings, hsm: Hsm, store: Arc<dyn Store>) -> Result<(), ServeError> {
    let clock: Arc<dyn Clock> = clock::of_server();
    // Before anything is written: what the last server left tells whether clock and database are believed.
    let past = store.past().await.map_err(checkpoints::CheckpointFailure::from)?;
    let (stop, number) = checkpoints::examine(&hsm, store.as_ref(), &settings.store, &past).await?;
    let guard = Arc::new(IssueGuard::new(clock.clone(), past.sign_of_life, stop));
    let mut checkpoints =
        Checkpoints::new(Arc::new(hsm.clone()), store.clone(), guard.clone(), settings.store.clone(), number)
            .await?;
    checkpoints.look_at_seals().await;
    checkpoints.look_at_clock().await;
    let refusals = Arc::new(Refusals::new(store.clone(), clock.clone()));
    let latch = self_tested(&hsm).await;
    if let Err(error) = inventory::report(&hsm, store.as_ref()).await {
        tracing::warn!(%error, "the HSM's objects could not be compared with the store's");
    }
    let vending =
        Vending::new(Arc::new(hsm.clone()), store.clone(), clock.clone(), guard.clone(), settings.vending);
    let vending = vending.under(latch.clone());
    let several = settings.access.approvals > 1;
    let vending = Arc::new(if several { vending.uploads_start_disabled() } else { vending });
    let authenticator = Authenticator::new(store.clone(), clock.clone());
    let admission = Arc::new(Admission::new(authenticator, refusals.clone()));
    let uploads = settings.vending.uploads_per_minute;
    let acts =
        Acts::new(store.clone(), clock.clone(), vending.clone(), admission.clone(), settings.access, uploads);
    let acts = Arc::new(acts);
    if let Err(error) = acts.resume().await {
        tracing::error!(%error, "approved acts that may not have ended cannot be done again");
    }
    let (reporter, reported) = watch::channel(ServingStatus::NotServing);
    let health_service = HealthService::new(reported);
    let (stage, stages) = watch::channel(Stage::Serving);
    let (ready, told) = oneshot::channel();
    let watched = health::Watched { hsm: hsm.health(), store: store.clone(), guard: guard.clone(), latch };
    let health = tokio::spawn(watched.report(reporter, stages.clone(), ready));

    let finishing = tokio::spawn({
        let acts = acts.clone();
        async move { acts.finish_approved().await }
    });
    let destroying = tokio::spawn(destruction::watch(vending));
    let comparing = tokio::spawn(usage::watch(store.clone(), guard.clone()));
    let end_checkpoints = Arc::new(Notify::new());
    let checkpointing = tokio::spawn({
        let (refusals, end) = (refusals.clone(), end_checkpoints.clone());
        async move {
            checkpoints.watch(&refusals, &end).await;
            checkpoints
        }
    });

    let listeners = Listeners::bind(&settings, &clock).await?;
    let authentication = AuthenticationLayer::new(admission);
    let services = Arc::new(Services::new(acts, settings.wire.stream_idle));
    let parts = Parts { services, wire: settings.wire };
    let main = parts.tokens(Parts::common(health_service.clone(), &settings.wire)?);
    let (main, administration) = match &listeners.administration {
        None => (parts.administration(main), None),
        Some(_) => (main, Some(parts.administration(Parts::common(health_service, &settings.wire)?))),
    };
    let main = authentication.layer(main.prepare());
    let administration = administration.map(|routes| authentication.layer(routes.prepare()));

    // A server that is reached says what it is: its health was looked at.
    let _ = told.await;
    // Before anybody learns that it listens: whoever knows may also end it.
    let signals = EndSignals::taken()?;
    let reloading = tokio::spawn(reload(listeners.tls(), handler(SignalKind::hangup())?));
    let scraped = match settings.metrics {
        None => None,
        Some(listen) => {
            let (address, scraped) = metrics::bind(listen).await?;
            tracing::info!("metrics at http://{address}/metrics");
            Some(tokio::spawn(scraped))
        }
    };
    listeners.announce();
    let serving = async {
        match (listeners.administration, administration) {
            (Some(listener), Some(service)) => {
                tokio::join!(listeners.main.serve(main, stages.clone()), listener.serve(service, stages));
            }
            _ => listeners.main.serve(main, stages).await,
        }
    };
    tokio::join!(serving, signals.lead(stage, settings.server.drain));
    reloading.abort();
    if let Some(scraped) = scraped {
        scraped.abort();
    }
    health.abort();
    destroying.abort();
    finishing.abort();
    comparing.abort();
    end_checkpoints.notify_one();
    if let Ok(mut checkpoints) = checkpointing.await {
        if let Err(error) = refusals.write_all().await {
            tracing::error!(%error, "refusals cannot be put on record");
        }
        if let Err(error) = checkpoints.make().await {
            tracing::error!(%error, "no last checkpoint can be made");
        }
    }
    tracing::info!("stopped");
    Ok(())
}

/// Known answers for every algorithm. A server that fails one starts all the same, so that it can say why it does not
/// serve.
async fn self_tested(hsm: &Hsm) -> selftest::Latch {
    let latch = selftest::Latch::default();
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

/// The addresses that the server was told to listen on, bound.
struct Listeners {
    main: Listener,
    administration: Option<Listener>,
}

impl Listeners {
    async fn bind(settings: &Settings, clock: &Arc<dyn Clock>) -> Result<Self, ServeError> {
        let (server, wire) = (&settings.server, settings.wire);
        let main = Listener::bind("main", &server.main, wire, clock.clone()).await?;
        let administration = match &server.administration {
            None => None,
            Some(settings) => Some(Listener::bind("administration", settings, wire, clock.clone()).await?),
        };
        Ok(Self { main, administration })
    }

    fn tls(&self) -> Vec<Arc<Tls>> {
        self.administration.iter().chain([&self.main]).filter_map(Listener::tls).collect()
    }

    /// Says where the server listens: to the log, and to whoever started it, in one piece.
    fn announce(&self) {
        let mut lines = format!("listening on {}\n", self.main.url());
        if let Some(listener) = &self.administration {
            lines.push_str(&format!("administration listening on {}\n", listener.url()));
        }
        for line in lines.lines() {
            tracing::info!("{line}");
        }
        // Nobody has to read it.
        let _ = io::stdout().write_all(lines.as_bytes());
    }
}

/// How often the files of TLS are looked at.
const LOOK_AT_FILES: Duration = Duration::from_secs(5);

/// Takes up new certificates when their files change, and at SIGHUP.
async fn reload(all: Vec<Arc<Tls>>, mut hangup: tokio::signal::unix::Signal) {
    let mut looks = interval(LOOK_AT_FILES);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let asked = tokio::select! {
            Some(()) = hangup.recv() => true,
            _ = looks.tick() => false,
        };
        for tls in &all {
            tls.reload(asked);
        }
    }
}
