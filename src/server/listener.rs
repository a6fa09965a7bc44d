//! A listener: it takes connections up to its limits, and at the end waits for those that
//! are open.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use http::{Request, Response};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};
use tonic::body::Body;
use tower::Service;

use super::{
    ServeError,
    calls::Capacity,
    connection::Connection,
    connection_limit::ConnectionLimit,
    ending::{Stage, ending},
    refused_connections::RefusedConnections,
    services::Web,
    tls::Tls,
};
use crate::{
    clock::Clock,
    metrics,
    settings::{ListenerSettings, WireSettings},
};

/// How long running calls may take once no new ones are taken.
const LAST_CALLS: Duration = Duration::from_secs(10);
/// After a failed accept: file descriptors come back when connections end.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// A bound address.
pub(super) struct Listener {
    name: &'static str,
    tcp: TcpListener,
    address: SocketAddr,
    tls: Option<Arc<Tls>>,
    wire: WireSettings,
    clock: Arc<dyn Clock>,
}

impl Listener {
    pub(super) async fn bind(
        name: &'static str,
        settings: &ListenerSettings,
        wire: WireSettings,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ServeError> {
        let tls = settings.tls.clone().map(|tls| Tls::load(name, tls, clock.clone())).transpose();
        let tls = tls.map_err(|error| ServeError::Tls(error.to_string()))?.map(Arc::new);
        let failed = |error: io::Error| ServeError::Bind(settings.listen, error);
        let tcp = TcpListener::bind(settings.listen).await.map_err(failed)?;
        let address = tcp.local_addr().map_err(failed)?;
        Ok(Self { name, tcp, address, tls, wire, clock })
    }

    /// `https://ADDRESS`, or `http://` without TLS.
    pub(super) fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Its certificate, to be taken up again when the files change.
    pub(super) fn tls(&self) -> Option<Arc<Tls>> {
        self.tls.clone()
    }

    /// Serves until the server ends, then lets the running calls end.
    pub(super) async fn serve<S>(self, service: S, web: Option<Web>, mut stage: watch::Receiver<Stage>)
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send,
    {
        let name = self.name;
        let limit = Arc::new(ConnectionLimit::new(self.wire.connections, self.wire.connections_per_address));
        let capacity = Arc::new(Capacity::new(&self.wire));
        let mut connections = JoinSet::new();
        let refused = Arc::new(RefusedConnections::new(name));
        loop {
            let (tcp, from) = tokio::select! {
                accepted = self.tcp.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        tracing::warn!(listener = name, %error, "a connection could not be accepted");
                        sleep(ACCEPT_AGAIN).await;
                        continue;
                    }
                },
                Some(_) = connections.join_next() => continue,
                () = ending(&mut stage) => break,
            };
            let permit = match limit.acquire(from.ip()) {
                Ok(permit) => permit,
                Err(full) => {
                    refused.count(full.text());
                    refused.tell(full.text(), from, &format_args!("refused: too many {}", full.text()));
                    continue;
                }
            };
            let connection = Connection {
                tls: self.tls.clone(),
                wire: self.wire,
                capacity: capacity.clone(),
                service: service.clone(),
                clock: self.clock.clone(),
                stage: stage.clone(),
                web: web.clone(),
            };
            let refused = refused.clone();
            connections.spawn(async move {
                let _counted = (permit, metrics::Connection::opened(name));
                watched(&refused, connection, tcp, from).await;
            });
        }
        // Nobody else gets in.
        drop(self.tcp);
        let drained = async { while connections.join_next().await.is_some() {} };
        if timeout(LAST_CALLS, drained).await.is_err() {
            tracing::warn!(listener = name, "connections were still open after {LAST_CALLS:?}");
        }
    }
}

async fn watched<S>(refused: &RefusedConnections, connection: Connection<S>, tcp: TcpStream, from: SocketAddr)
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    if let Err(broken) = connection.serve(tcp).await {
        if let Some(why) = broken.text() {
            refused.count(why);
        }
        match broken.told_as() {
            Some(kind) => refused.tell(kind, from, &broken),
            None => tracing::debug!(%from, error = %broken, "a connection broke"),
        }
    }
}
