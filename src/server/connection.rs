//! One connection, from its handshake to its end.
//!
//! Its calls run for themselves; this watches over the connection as a whole: it ends when it is
//! idle, when its client does not take answers, when the client's certificate ends, and when the
//! server does. Whatever can end in order ends so, with GOAWAY, and no call of the other side is
//! lost.

use std::{
    convert::Infallible,
    hash::{BuildHasher as _, RandomState},
    io,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{Request, Response};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::watch,
    time::{interval, sleep, timeout},
};
use tonic::{body::Body, transport::server::TcpConnectInfo};
use tower::Service;

use super::{
    activity::Activity,
    calls::{Calls, Capacity},
    ending::{Stage, ending},
    gathered::Gathered,
    handshake::HandshakeFailure,
    opening::{self, Opening},
    services::Web,
    tls::Tls,
};
use crate::{access::PeerCertificate, clock::Clock, settings::WireSettings};

/// How long an ended connection may take to close, once nothing runs on it.
const GOODBYE: Duration = Duration::from_secs(5);
/// And how long where the server ends: time enough for a request that is on its way.
const GOODBYE_AT_END: Duration = Duration::from_secs(1);
/// How often it is looked at then.
const LOOK_AT_END: Duration = Duration::from_millis(100);

/// How much larger than they may be headers are let through by HTTP/2, so that they get a refusal
/// with a reason.
const HEADERS_TO_REFUSE: u32 = 65_536;
/// The least that HTTP/1 is read into.
const HTTP_1_BUFFER: usize = 8_192;

/// Why a connection did not end in order.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("nothing came")]
    Silent,
    #[error("the client speaks no TLS: it must use https://")]
    NoTls,
    #[error(
        "the client speaks TLS, and this listener does not: it must use http://, or the listener needs a certificate"
    )]
    TlsToPlain,
    #[error("the connection: {0}")]
    Io(#[from] io::Error),
    #[error("the TLS handshake took too long")]
    HandshakeSlow,
    #[error(transparent)]
    Handshake(#[from] HandshakeFailure),
    #[error("answers were not taken")]
    NotTaken,
    #[error("calls still ran when the connection was too old")]
    TooOld,
    #[error("the client did not close an ended connection")]
    NotClosed,
    #[error("the transport: {0}")]
    Transport(Box<dyn std::error::Error + Send + Sync>),
}

impl Broken {
    /// As a label, if the server ended it.
    pub(super) fn text(&self) -> Option<&'static str> {
        match self {
            Self::Silent => Some("silent"),
            Self::NoTls => Some("no TLS"),
            Self::TlsToPlain => Some("TLS to a plain port"),
            Self::HandshakeSlow => Some("slow handshake"),
            Self::Handshake(failure) => Some(failure.text()),
            Self::NotTaken => Some("answers not taken"),
            Self::TooOld => Some("too old"),
            Self::NotClosed => Some("not closed"),
            Self::Io(_) | Self::Transport(_) => None,
        }
    }

    /// What whoever runs the server has to mend, if anything: they look at the log.
    pub(super) fn told_as(&self) -> Option<&'static str> {
        match self {
            Self::TlsToPlain => Some("TLS to a plain port"),
            Self::Handshake(failure) => failure.told_as(),
            _ => None,
        }
    }
}

/// What a connection is about.
pub(super) struct Connection<S> {
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) wire: WireSettings,
    pub(super) capacity: Arc<Capacity>,
    pub(super) service: S,
    pub(super) clock: Arc<dyn Clock>,
    /// Says when the server ends.
    pub(super) stage: watch::Receiver<Stage>,
    /// None: gRPC alone is spoken.
    pub(super) web: Option<Web>,
}

impl<S> Connection<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    /// Serves it to its end.
    pub(super) async fn serve(mut self, tcp: TcpStream) -> Result<(), Broken> {
        let peer = TcpConnectInfo { local_addr: tcp.local_addr().ok(), remote_addr: tcp.peer_addr().ok() };
        // Answers are small and whole: nothing is gained by holding them back.
        let _ = tcp.set_nodelay(true);
        let opening = tokio::select! {
            opening = timeout(self.wire.opening, Opening::of(&tcp)) => opening.map_err(|_| Broken::Silent)??,
            // Nothing was begun.
            () = ending(&mut self.stage) => return Ok(()),
        };
        let tls = match (&self.tls, opening) {
            (_, Opening::Closed) => return Ok(()),
            (Some(tls), Opening::Tls) => tls,
            (None, Opening::Plain) => return self.over(tcp, peer, None).await,
            (Some(_), Opening::Plain) => {
                opening::wants_tls(tcp).await;
                return Err(Broken::NoTls);
            }
            (None, Opening::Tls) => {
                opening::wants_plain(tcp).await;
                return Err(Broken::TlsToPlain);
            }
        };
        let limit = async {
            tokio::select! {
                () = sleep(self.wire.opening) => {}
                () = async {
                    ending(&mut self.stage).await;
                    sleep(GOODBYE_AT_END).await;
                } => {}
            }
        };
        let stream = tokio::select! {
            accepted = tls.acceptor().accept(tcp) => accepted.map_err(HandshakeFailure::from)?,
            () = limit => return Err(Broken::HandshakeSlow),
        };
        let presented = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let certificate = presented.map(|der| PeerCertificate::from_der(der)).transpose();
        let certificate = certificate.map_err(HandshakeFailure::from)?;
        if let Some(PeerCertificate { spki_sha256, uris, .. }) = &certificate {
            // Whoever binds a certificate to a client reads its identity here.
            tracing::debug!(spki_sha256 = %hex::encode(spki_sha256), ?uris, "a client proved itself by a certificate");
        }
        self.over(stream, peer, certificate).await
    }

    async fn over<IO>(
        self,
        io: IO,
        peer: TcpConnectInfo,
        certificate: Option<PeerCertificate>,
    ) -> Result<(), Broken>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self { wire, capacity, service, clock, mut stage, web, .. } = self;
        let activity = Arc::new(Activity::new());
        let expires_ms = certificate.as_ref().map(|certificate| certificate.expires_ms);
        let keep_alive = web.is_some();
        let calls =
            Calls { inner: service, capacity, activity: activity.clone(), peer, certificate, wire, web };
        let mut builder = auto::Builder::new(TokioExecutor::new());
        // For JSON; gRPC is only told that it needs HTTP/2.
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(wire.opening)
            .max_buf_size(HTTP_1_BUFFER.max(wire.header_bytes as usize))
            .keep_alive(keep_alive);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_header_list_size(wire.header_bytes.saturating_add(HEADERS_TO_REFUSE))
            .max_concurrent_streams(wire.streams)
            .keep_alive_interval(wire.keepalive)
            .keep_alive_timeout(wire.keepalive_timeout);
        let connection = builder.serve_connection(TokioIo::new(Gathered::new(io)), calls);
        let mut connection = pin!(connection);
        let mut looks = interval(look_every(&wire));
        let began = Instant::now();
        let oldest = wire.age.map(spread);
        let (mut server_ends, mut ended): (_, Option<Instant>) = (false, None);
        loop {
            let ends = tokio::select! {
                served = connection.as_mut() => return served.map_err(Broken::Transport),
                () = ending(&mut stage), if !server_ends => true,
                _ = looks.tick() => false,
            };
            if ends {
                server_ends = true;
                looks = interval(LOOK_AT_END);
            }
            let now = Instant::now();
            let seen = activity.look(now);
            if seen.longest_untaken > wire.stream_idle {
                return Err(Broken::NotTaken);
            }
            let age = now.duration_since(began);
            let goodbye = if server_ends { GOODBYE_AT_END } else { GOODBYE };
            match ended {
                Some(since)
                    if seen.calls == 0 && now.duration_since(since.max(seen.idle_since)) > goodbye =>
                {
                    return Err(Broken::NotClosed);
                }
                Some(_) if oldest.is_some_and(|oldest| age > oldest + wire.age_grace) => {
                    return Err(Broken::TooOld);
                }
                Some(_) => {}
                None => {
                    let limit = if seen.used { wire.idle } else { wire.opening };
                    let idle = seen.calls == 0 && now.duration_since(seen.idle_since) >= limit;
                    let expired = expires_ms.is_some_and(|end| end <= clock.now_ms());
                    let old = oldest.is_some_and(|oldest| age >= oldest);
                    if ends || idle || expired || old {
                        ended = Some(now);
                        connection.as_mut().graceful_shutdown();
                    }
                }
            }
        }
    }
}

/// How often a connection is looked at: often enough for the shortest of its limits.
fn look_every(wire: &WireSettings) -> Duration {
    let shortest = [wire.idle, wire.opening, wire.stream_idle].into_iter().chain(wire.age).min();
    (shortest.unwrap_or_default() / 4).clamp(Duration::from_millis(100), Duration::from_secs(5))
}

/// A tenth more or less by chance: connections that were opened at once do not all end at once.
fn spread(age: Duration) -> Duration {
    let chance = RandomState::new().hash_one(()) % 201;
    age * (900 + u32::try_from(chance).unwrap_or(100)) / 1_000
}
