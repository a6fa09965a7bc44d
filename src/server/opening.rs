//! The first byte of a connection: whether it begins with TLS, and what is told to whoever took the
//! one for the other.

use std::{convert::Infallible, io, time::Duration};

use http::{HeaderValue, Method, Request, Response, StatusCode, header::CONTENT_TYPE, request::Parts};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tonic::{Status, body::Body};

use super::{body::read_away, protocol::is_grpc};
use crate::acts::{Reason, Refusal};

/// The first byte of a TLS record that opens a connection: a handshake (RFC 8446 §5.1).
const HANDSHAKE: u8 = 0x16;

/// What is told to plain text at a port of TLS.
const WANTS_TLS: &str = "this port speaks TLS: use https://";
/// And to TLS at a port of plain text. Its TLS cannot read it; whoever looks at the bytes can.
const WANTS_PLAIN: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 37\r\nconnection: close\r\n\r\n\
    this port speaks no TLS: use http://\n";

/// How long it may take to be told.
const TIMEOUT: Duration = Duration::from_secs(2);
/// How much of what the other side sends is read meanwhile: a connection that is closed on unread
/// bytes is reset, and what it was told may be lost.
const READ_AWAY: u64 = 65_536;

/// How a connection begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opening {
    Tls,
    Plain,
    /// The other side closed it before it said anything.
    Closed,
}

impl Opening {
    /// Looks at the first byte and leaves it where it is.
    pub(super) async fn of(tcp: &TcpStream) -> io::Result<Self> {
        let mut first = [0];
        Ok(match (tcp.peek(&mut first).await?, first) {
            (0, _) => Self::Closed,
            (_, [HANDSHAKE]) => Self::Tls,
            _ => Self::Plain,
        })
    }
}

/// Tells a client of whatever HTTP that it must speak TLS, and looks at nothing that it asks for.
pub(super) async fn wants_tls(tcp: TcpStream) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).keep_alive(false);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(1);
    let answered = builder.serve_connection(
        TokioIo::new(tcp),
        service_fn(|request: Request<Incoming>| async move {
            let (head, body) = request.into_parts();
            read_away(body).await;
            Ok::<_, Infallible>(told(&head))
        }),
    );
    let _ = timeout(TIMEOUT, answered).await;
}

fn told(request: &Parts) -> Response<Body> {
    if is_grpc(&request.headers) {
        return Status::from(Refusal::new(Reason::TlsRequired, WANTS_TLS)).into_http();
    }
    let head = request.method == Method::HEAD;
    let body = if head { Body::empty() } else { Body::new(format!("{WANTS_TLS}\n")) };
    let mut answer = Response::new(body);
    *answer.status_mut() = StatusCode::BAD_REQUEST;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    answer
}

/// Tells a client that there is no TLS.
pub(super) async fn wants_plain(mut tcp: TcpStream) {
    let told = async {
        tcp.write_all(WANTS_PLAIN).await?;
        tcp.shutdown().await?;
        tokio::io::copy(&mut (&mut tcp).take(READ_AWAY), &mut tokio::io::sink()).await
    };
    let _ = timeout(TIMEOUT, told).await;
}
