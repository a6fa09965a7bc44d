//! Wiring: the parts put together, the listeners, health, and an orderly end.

mod activity;
mod assembly;
mod body;
mod calls;
mod check;
mod checkpoints;
mod compression;
mod connection;
mod connection_limit;
mod destruction;
mod ending;
mod gathered;
mod handshake;
mod hardening;
mod health;
mod hours;
mod inventory;
mod listener;
mod listeners;
mod log;
mod metrics;
mod opening;
mod overlap;
mod protocol;
mod refused_connections;
mod services;
mod tasks;
mod tls;
mod trust;
mod usage;
mod walk;

use std::{io, net::SocketAddr, sync::Arc};

use assembly::Assembly;
use ending::{EndSignals, Stage, handler};
use listeners::Listeners;
use rustix::process::geteuid;
use services::Parts;
pub use tasks::TaskEnded;
use tasks::Tasks;
use tokio::{signal::unix::SignalKind, sync::watch};

use crate::{
    api::{AuthenticationLayer, Services},
    hsm::{HsmError, TokenList, VendingKeys as _},
    settings::Settings,
    store::{self, DatabaseSettings, Store},
};

pub use check::{Finding, Report, check, tls_findings};

/// Why the server does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The HSM cannot be used.
    #[error("the HSM cannot be used: {0}")]
    Hsm(#[from] HsmError),
    /// The database cannot be used.
    #[error("the store cannot be used: {0}")]
    Store(#[from] store::OpenError),
    /// The checkpoints of the chain cannot be read.
    #[error("the chain cannot be examined: {0}")]
    Chain(String),
    /// The settings name what cannot be used.
    #[error("the settings cannot be used:{}", lines(.0))]
    Settings(Vec<Finding>),
    /// The kernel does not keep from it what it must.
    #[error("the server cannot be hardened: {0}")]
    Hardening(String),
    /// Root runs it.
    #[error("refusing to run as root: use another user, or set it to true (in a container)")]
    Root,
    /// The certificate or its key cannot be used.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
    /// The address cannot be bound.
    #[error("cannot listen on {}: {}{}", .0, .1, next_step(.1))]
    Bind(SocketAddr, io::Error),
    /// A task ended that should not while the server runs: a fault of ours.
    #[error("{0}, so the server stopped; its log says more")]
    Task(#[from] TaskEnded),
    /// The runtime, a signal handler or the transport failed.
    #[error("the server stopped: {0}")]
    Stopped(String),
}

fn lines(findings: &[Finding]) -> String {
    findings.iter().map(|finding| format!("\n  {finding}")).collect()
}

fn next_step(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "; another program has this port, or this server runs already (`ss -ltnp` says which)"
        }
        io::ErrorKind::AddrNotAvailable => "; this machine has no such address",
        io::ErrorKind::PermissionDenied => "; ports below 1024 are for root: take another",
        _ => "",
    }
}

impl From<checkpoints::CheckpointFailure> for ServeError {
    fn from(failure: checkpoints::CheckpointFailure) -> Self {
        Self::Chain(failure.to_string())
    }
}

/// Runs the server until SIGTERM or SIGINT, then lets the running calls end.
///
/// # Errors
/// [`ServeError`]: why it did not start, or ended by itself.
pub fn run(settings: Settings) -> Result<(), ServeError> {
    log::start(&settings.log);
    let Report { faults, warnings } = check::files(&settings);
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    if !faults.is_empty() {
        return Err(ServeError::Settings(faults));
    }
    if geteuid().is_root() {
        tracing::warn!("running as root, as server.allow_root says");
    }
    hardening::harden(&settings)?;
    let hsm = TokenList::start(settings.hsm.clone(), settings.other_tokens.clone())?;
    tracing::info!("what the HSM can do, by known-answer operations:\n{}", hsm.first_token().capabilities());
    let database = DatabaseSettings {
        url: settings.store.url.clone(),
        server: settings.server.name.clone(),
        queue: settings.store.queue,
        alarm_pace: settings.access.alarm_pace,
    };
    let store = store::open(&database, Arc::new(hsm.first_token().clone()))?;
    let ended = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| ServeError::Stopped(error.to_string()))?
        .block_on(serve(settings, hsm.clone(), store));
    // No thread may be inside the module when the process ends.
    hsm.stop();
    ended
}

/// Serves until a signal asks for the end, or until a task ends that should not.
async fn serve(settings: Settings, hsm: TokenList, store: Arc<dyn Store>) -> Result<(), ServeError> {
    let (stage, stages) = watch::channel(Stage::Serving);
    let assembly = Assembly::new(&settings, hsm, store).await?;
    let listeners = Listeners::bind(&settings, &assembly.clock).await?;
    let authentication = AuthenticationLayer::new(assembly.admission.clone());
    let services = Arc::new(Services::new(assembly.acts.clone(), settings.wire.stream_idle));
    let parts = Parts { services, wire: settings.wire, http: settings.http.clone() };

    let mut beside = Tasks::default();
    let health = assembly.start(&mut beside, &stages).await;
    // Before anybody learns that it listens: whoever knows may also end it.
    let mut signals = EndSignals::taken()?;
    beside.spawn("files of TLS", listeners::reload(listeners.tls(), handler(SignalKind::hangup())?));
    if let Some(listen) = settings.metrics {
        let (address, scraped) = metrics::bind(listen).await?;
        tracing::info!("metrics at http://{address}/metrics");
        beside.spawn("metrics", scraped);
    }
    listeners.announce();
    let mut serving = Tasks::default();
    listeners.serve(&mut serving, &parts, health, &authentication, &stages)?;

    let failed = tokio::select! {
        () = signals.lead(&stage, settings.server.drain) => None,
        failed = serving.ended() => Some(failed),
        failed = beside.ended() => Some(failed),
    };
    stage.send_replace(Stage::Ending);
    let failed = failed.or(serving.finish().await);
    stage.send_replace(Stage::Closing);
    let failed = failed.or(beside.finish().await);
    tracing::info!("stopped");
    failed.map_or(Ok(()), |failed| Err(failed.into()))
}
