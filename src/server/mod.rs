//! Wiring: the parts put together, the listener, health, and an orderly end.

mod checkpoints;
mod destruction;
mod health;
mod inventory;
mod log;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use checkpoints::Checkpoints;
use rustix::process::geteuid;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::{Notify, oneshot, watch},
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Identity, Server, ServerTlsConfig};

use crate::{
    access::{Authenticator, Clients, Refusals},
    api::{
        self, Acts, Approvals, Audit, AuthenticationLayer, Configurations, DESCRIPTORS, FourEyes, Ledger,
        PublicKeys, Tokens, v1,
    },
    clock::{Clock, SystemClock},
    hsm::{Hsm, HsmError},
    selftest,
    settings::{Settings, TlsSettings},
    store::{Store, sqlite},
    vending::{Gate, Vending},
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
    Store(#[from] sqlite::OpenError),
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
    let store = sqlite::SqliteSettings::new(settings.store.path.clone());
    let store: Arc<dyn Store> = Arc::new(sqlite::SqliteStore::open(&store, Arc::new(hsm.clone()))?);
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
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    // Before anything is written: what the last server left tells whether clock and database are believed.
    let past = store.past().await.map_err(checkpoints::CheckpointFailure::from)?;
    let (stop, number) = checkpoints::examine(&hsm, store.as_ref(), &settings.store, &past).await?;
    let gate = Arc::new(Gate::new(clock.clone(), past.last_commit_ms, stop));
    let mut checkpoints =
        Checkpoints::new(hsm.clone(), store.clone(), gate.clone(), settings.store.clone(), number).await?;
    checkpoints.look_at_seals().await;
    let refusals = Arc::new(Refusals::new(store.clone(), clock.clone()));
    let latch = self_tested(&hsm).await;
    if let Err(error) = inventory::report(&hsm, store.as_ref()).await {
        tracing::warn!(%error, "the HSM's objects could not be compared with the store's");
    }
    let vending = Vending::new(hsm.clone(), store.clone(), clock.clone(), gate, settings.vending);
    let vending = vending.under(latch.clone());
    let several = settings.access.approvals > 1;
    let vending = Arc::new(if several { vending.uploads_start_disabled() } else { vending });
    let authenticator = Arc::new(Authenticator::new(store.clone(), clock.clone()));
    let four_eyes = Arc::new(FourEyes::new(store.clone(), clock.clone(), settings.access));
    let uploads = settings.vending.uploads_per_minute;
    let configurations = Arc::new(Configurations::new(vending.clone(), uploads, four_eyes.clone()));
    let ledger = Arc::new(Ledger::new(vending.clone(), four_eyes.clone()));
    let public_keys = Arc::new(PublicKeys::new(store.clone(), clock.clone(), four_eyes.clone()));
    let clients = Arc::new(Clients::new(store.clone(), clock.clone(), settings.access.approvals));
    let clients = Arc::new(api::Clients::new(clients, four_eyes.clone()));
    let acts = Arc::new(Acts::new(
        four_eyes.clone(),
        configurations.clone(),
        public_keys.clone(),
        clients.clone(),
        ledger.clone(),
    ));
    if let Err(error) = acts.resume().await {
        tracing::error!(%error, "approved acts that may not have ended cannot be done again");
    }
    let (reporter, health_service) = tonic_health::server::health_reporter();
    let (ready, told) = oneshot::channel();
    let health = tokio::spawn(health::watch(reporter, hsm, store.clone(), clock.clone(), latch, ready));

    let destroying = tokio::spawn(destruction::watch(vending.clone()));
    let end_checkpoints = Arc::new(Notify::new());
    let checkpointing = tokio::spawn({
        let (refusals, end) = (refusals.clone(), end_checkpoints.clone());
        async move {
            checkpoints.watch(&refusals, &end).await;
            checkpoints
        }
    });

    let mut server = Server::builder().layer(AuthenticationLayer::new(authenticator, refusals.clone()));
    let scheme = if settings.server.tls.is_some() { "https" } else { "http" };
    if let Some(tls) = &settings.server.tls {
        server = server.tls_config(identity(tls)?).map_err(|error| ServeError::Tls(error.to_string()))?;
    }
    let router = server
        .add_service(health_service)
        .add_service(reflection()?)
        .add_service(v1::token_service_server::TokenServiceServer::new(Tokens::new(vending.clone())))
        .add_service(v1::configuration_service_server::ConfigurationServiceServer::from_arc(configurations))
        .add_service(v1::client_service_server::ClientServiceServer::from_arc(clients))
        .add_service(v1::audit_service_server::AuditServiceServer::new(Audit::new(vending)))
        .add_service(v1::ledger_service_server::LedgerServiceServer::from_arc(ledger))
        .add_service(v1::public_key_service_server::PublicKeyServiceServer::from_arc(public_keys))
        .add_service(v1::approval_service_server::ApprovalServiceServer::new(Approvals::new(
            four_eyes, acts,
        )));

    // A server that is reached says what it is: its health was looked at.
    let _ = told.await;
    // Before anybody learns that it listens: whoever knows may also end it.
    let end = end()?;
    let bind = |error| ServeError::Bind(settings.server.listen, error);
    let listener = TcpListener::bind(settings.server.listen).await.map_err(bind)?;
    let address = listener.local_addr().map_err(bind)?;
    println!("listening on {scheme}://{address}");
    tracing::info!("listening on {scheme}://{address}");
    let (ending, ended) = watch::channel(());
    let serving = router.serve_with_incoming_shutdown(TcpListenerStream::new(listener), async move {
        end.await;
        drop(ending);
    });
    tokio::select! {
        served = serving => served.map_err(|error| ServeError::Stopped(error.to_string()))?,
        () = drained(ended) => tracing::warn!("connections were still open after {DRAIN:?}"),
    }
    health.abort();
    destroying.abort();
    end_checkpoints.notify_one();
    if let Ok(mut checkpoints) = checkpointing.await {
        if let Err(error) = refusals.write().await {
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

fn reflection() -> Result<
    tonic_reflection::server::v1::ServerReflectionServer<impl tonic_reflection::server::v1::ServerReflection>,
    ServeError,
> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .map_err(|error| ServeError::Stopped(error.to_string()))
}

fn identity(tls: &TlsSettings) -> Result<ServerTlsConfig, ServeError> {
    let read = |file| {
        std::fs::read(file)
            .map_err(|error| ServeError::Tls(format!("{}: {error}", std::path::Path::display(file))))
    };
    Ok(ServerTlsConfig::new()
        .identity(Identity::from_pem(read(&tls.certificate_file)?, read(&tls.key_file)?)))
}

/// How long running calls may take after the end was asked for.
const DRAIN: Duration = Duration::from_secs(10);

/// Ends [`DRAIN`] after the sender is gone: idle clients must not keep a server alive.
async fn drained(mut ended: watch::Receiver<()>) {
    while ended.changed().await.is_ok() {}
    tokio::time::sleep(DRAIN).await;
}

/// Ends with the first SIGTERM or SIGINT.
fn end() -> Result<impl Future<Output = ()>, ServeError> {
    let handler = |kind| signal(kind).map_err(|error| ServeError::Stopped(error.to_string()));
    let (mut terminate, mut interrupt) =
        (handler(SignalKind::terminate())?, handler(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("no new calls; waiting for the running ones");
    })
}
