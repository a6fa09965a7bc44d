//! Requests as no gRPC library sends them, over a bare HTTP/2 connection.

use std::convert::Infallible;

use http::{HeaderMap, Request, Response, StatusCode, header::CONTENT_TYPE, request::Builder};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Bytes, Frame, Incoming},
    client::conn::http2::{SendRequest, handshake},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio_stream::StreamExt as _;
use tonic::Status;

/// A connection to a server without TLS.
pub struct Raw(SendRequest<UnsyncBoxBody<Bytes, Infallible>>);

/// An answer to its last trailer.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub trailers: HeaderMap,
}

impl Raw {
    pub async fn connect(address: &str) -> Self {
        let tcp = TcpStream::connect(address.rsplit('/').next().unwrap()).await.unwrap();
        let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(tcp)).await.unwrap();
        tokio::spawn(connection);
        Self(sender)
    }

    /// Sends a request and takes the whole answer.
    pub async fn send(&mut self, request: Builder, body: impl Into<Bytes>) -> Answer {
        whole(self.open(request, body).await).await
    }

    /// Sends a request whose body does not end, and takes the whole answer.
    pub async fn send_unfinished(&mut self, request: Builder, begun: Vec<u8>) -> Answer {
        let begun = tokio_stream::once(Ok(Frame::data(Bytes::from(begun))));
        let body = StreamBody::new(begun.chain(tokio_stream::pending()));
        whole(self.begin(request, body.boxed_unsync()).await).await
    }

    /// Sends a request and leaves the answer open.
    pub async fn open(&mut self, request: Builder, body: impl Into<Bytes>) -> Response<Incoming> {
        self.begin(request, Full::new(body.into()).boxed_unsync()).await
    }

    async fn begin(
        &mut self,
        request: Builder,
        body: UnsyncBoxBody<Bytes, Infallible>,
    ) -> Response<Incoming> {
        self.0.ready().await.unwrap();
        self.0.send_request(request.body(body).unwrap()).await.unwrap()
    }
}

async fn whole(answer: Response<Incoming>) -> Answer {
    let (head, body) = answer.into_parts();
    let body = body.collect().await.unwrap();
    let trailers = body.trailers().cloned().unwrap_or_default();
    Answer { status: head.status, headers: head.headers, body: body.to_bytes(), trailers }
}

impl Answer {
    /// What gRPC says in the end, which is in the headers where nothing was answered.
    pub fn grpc(&self) -> Status {
        let ends = if self.headers.contains_key("grpc-status") { &self.headers } else { &self.trailers };
        Status::from_header_map(ends).unwrap_or_else(|| panic!("no status: {self:?}"))
    }

    /// The messages, each with its flag.
    pub fn messages(&self) -> Vec<(u8, Vec<u8>)> {
        let (mut rest, mut found) = (&self.body[..], Vec::new());
        while let Some((head, more)) = rest.split_first_chunk::<5>() {
            let length = u32::from_be_bytes(head[1..].try_into().unwrap()) as usize;
            found.push((head[0], more[..length].to_vec()));
            rest = &more[length..];
        }
        found
    }
}

/// A request of gRPC as its libraries make it.
pub fn grpc(path: &str, credential: &str) -> Builder {
    post(path, credential).header(CONTENT_TYPE, "application/grpc")
}

/// The same without a content type.
pub fn post(path: &str, credential: &str) -> Builder {
    Request::post(format!("http://localhost{path}"))
        .header("te", "trailers")
        .header("authorization", format!("Bearer {credential}"))
}

/// A message in gRPC's frame.
pub fn framed(message: &[u8]) -> Vec<u8> {
    flagged(0, message)
}

/// The same with a flag: 1 says that it is packed.
pub fn flagged(flag: u8, message: &[u8]) -> Vec<u8> {
    [&[flag][..], &u32::try_from(message.len()).unwrap().to_be_bytes(), message].concat()
}
