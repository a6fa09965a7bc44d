//! What every call goes through first: whether it is one too many, who is at the other end, and how
//! long it may take to arrive.

use std::{
    convert::Infallible,
    future::poll_fn,
    pin::Pin,
    sync::{Arc, atomic::AtomicUsize},
    task::{Context, Poll},
    time::Instant,
};

use http::{HeaderMap, Request, Response, Version};
use http_body::{Frame, SizeHint};
use hyper::body::{Bytes, Incoming};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::{Status, body::Body, transport::server::TcpConnectInfo};
use tonic_web::GrpcWebLayer;
use tower::{Layer as _, Service, service_fn};

use super::{
    activity::{Activity, CallGuard},
    body::{Content, RequestBody, Rest, busy, read_away},
    compression,
    protocol::{Foreign, header_bytes, is_grpc},
    services::Web,
};
use crate::{
    access::{PeerCertificate, may_change, methods},
    acts::{Issued, Reason, Refusal},
    api,
    http::{GrpcWebCall, JsonCall, Look},
    metrics,
    settings::WireSettings,
};

/// Load balancers ask this, above all of a server that is busy.
const HEALTH: &str = "/grpc.health.v1.Health/";
/// A call that lives as long as the client likes. Its service ends it when it idles.
const LONG_LIVED: &str = "/vendkey.v1.TokenService/StreamTokens";

/// What a call's future is, boxed: the inner service's has no name.
type Answering<T> = Pin<Box<dyn Future<Output = Result<T, Infallible>> + Send>>;

/// The path if it is one of a method, for the label: callers make up paths.
fn method(path: &str) -> &'static str {
    methods().iter().find(|(method, _)| *method == path).map_or("unknown", |(method, _)| method)
}

/// What a listener takes at most: calls at once, and bytes of requests that are not whole yet.
pub(super) struct Capacity {
    calls: Arc<Semaphore>,
    receiving: Arc<AtomicUsize>,
}

impl Capacity {
    pub(super) fn new(wire: &WireSettings) -> Self {
        Self {
            calls: Arc::new(Semaphore::new(wire.calls)),
            receiving: Arc::new(AtomicUsize::new(wire.receiving_bytes)),
        }
    }
}

/// What is told of headers that are too large; of far larger ones HTTP/2 lets nothing through.
fn headers_too_large(found: usize, limit: u32) -> Status {
    let text = format!("the call's headers have {found} bytes, at most {limit} are expected");
    Refusal::new(Reason::MetadataTooLarge, text).into()
}

/// The calls of one connection.
#[derive(Clone)]
pub(super) struct Calls<S> {
    pub(super) inner: S,
    pub(super) capacity: Arc<Capacity>,
    pub(super) activity: Arc<Activity>,
    pub(super) peer: TcpConnectInfo,
    pub(super) certificate: Option<PeerCertificate>,
    pub(super) wire: WireSettings,
    /// None: gRPC alone is spoken.
    pub(super) web: Option<Web>,
}

impl<S> hyper::service::Service<Request<Incoming>> for Calls<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Spoken>;
    type Error = Infallible;
    type Future = Answering<Self::Response>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        match self.web.as_ref().filter(|_| !is_grpc(request.headers())).map(|web| web.look(&request)) {
            None | Some(Look::NotOurs) => self.serve(request, None),
            Some(Look::Call(json)) => self.serve(request, Some(json)),
            Some(Look::GrpcWeb(web)) => self.carried(request, web),
            Some(Look::Answer(answer)) => {
                let mut call = Call::begin(request.uri().path(), self.activity.begin());
                call.reason = Some(format!("HTTP_{}", answer.status().as_u16()));
                answered(call, request, answer, None)
            }
        }
    }
}

impl<S> Calls<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    /// A call of gRPC-Web: carried over to gRPC, served under the same limits, and carried back.
    fn carried(&self, mut request: Request<Incoming>, web: GrpcWebCall) -> Answering<Response<Spoken>> {
        GrpcWebCall::plain(request.headers_mut());
        let calls = self.clone();
        let grpc = service_fn(move |mut request: Request<Body>| {
            *request.version_mut() = Version::HTTP_2;
            calls.serve(request, None)
        });
        let answering = GrpcWebLayer::new().layer(grpc).call(request);
        Box::pin(async move { Ok(web.answer(answering.await?).map(Spoken::Web)) })
    }

    fn serve<B: Content>(&self, request: Request<B>, json: Option<JsonCall>) -> Answering<Response<Spoken>> {
        let path = json.as_ref().map_or(request.uri().path(), JsonCall::path);
        let mut call = Call::begin(path, self.activity.begin());
        if let Some(foreign) = Foreign::of(&request).filter(|_| json.is_none()) {
            call.reason = Some(foreign.label().to_owned());
            let answer = foreign.answer(request.method());
            return answered(call, request, answer, None);
        }
        let size = header_bytes(request.headers());
        if size > self.wire.header_bytes as usize {
            let refused = headers_too_large(size, self.wire.header_bytes).into_http();
            return answered(call, request, refused, json);
        }
        if !path.starts_with(HEALTH) {
            let Ok(permit) = self.capacity.calls.clone().try_acquire_owned() else {
                return answered(call, request, busy().into_http(), json);
            };
            call.permit = Some(permit);
        }
        let (until, receiving) = match path {
            LONG_LIVED => (None, None),
            _ => (Some(Instant::now() + self.wire.request), Some(self.capacity.receiving.clone())),
        };
        let deadline =
            request.headers().get("grpc-timeout").and_then(|value| api::timeout(value.to_str().ok()?));
        let rest = Arc::new(Rest::default());
        let mut request =
            request.map(|body| Body::new(RequestBody::new(body, until, receiving, rest.clone())));
        if let Some(json) = &json {
            request = json.request(request);
        }
        compression::choose(request.headers_mut());
        request.extensions_mut().insert(self.peer.clone());
        if let Some(certificate) = &self.certificate {
            request.extensions_mut().insert(certificate.clone());
        }
        let mut inner = self.inner.clone();
        Box::pin(async move {
            let served = async {
                poll_fn(|context| inner.poll_ready(context)).await?;
                inner.call(request).await
            };
            let answer = match deadline {
                None => served.await?,
                Some(left) => match tokio::time::timeout(left, served).await {
                    Ok(answer) => answer?,
                    Err(_) => {
                        // What it did since its message is whole, only the ledger knows. A stream
                        // begins before.
                        let begun = rest.is_whole() || call.method == LONG_LIVED;
                        let issued = if begun { call.issued() } else { Issued::No };
                        let refusal = Refusal::new(Reason::DeadlinePassed, "the call's deadline passed");
                        Status::from(refusal.issued(issued)).into_http()
                    }
                },
            };
            if let Some(rest) = rest.take().filter(|_| answer.headers().contains_key("grpc-status")) {
                read_away(rest).await;
            }
            Ok(spoken(json, call.answer(answer)).await)
        })
    }
}

/// An answer in the service's place.
fn answered<B: Content>(
    call: Call,
    request: Request<B>,
    answer: Response<Body>,
    json: Option<JsonCall>,
) -> Answering<Response<Spoken>> {
    Box::pin(async move {
        read_away(request.into_body()).await;
        Ok(spoken(json, call.answer(answer)).await)
    })
}

/// The answer as the request was spoken.
async fn spoken(json: Option<JsonCall>, answer: Response<Answer>) -> Response<Spoken> {
    match json {
        None => answer.map(Spoken::Grpc),
        Some(json) => json.answer(answer).await.map(Spoken::Web),
    }
}

/// A call from its headers to the last byte of its answer. Whatever way it ends, it is counted and
/// its place given back.
struct Call {
    method: &'static str,
    began: Instant,
    reason: Option<String>,
    guard: CallGuard,
    permit: Option<OwnedSemaphorePermit>,
}

impl Call {
    fn begin(path: &str, guard: CallGuard) -> Self {
        Self { method: method(path), began: Instant::now(), reason: None, guard, permit: None }
    }

    /// Whether it may have issued a token once it has begun.
    fn issued(&self) -> Issued {
        if may_change(self.method) { Issued::Maybe } else { Issued::No }
    }

    fn answer(mut self, mut answer: Response<Body>) -> Response<Answer> {
        // Only a call without an answer's body has its status here; others end with trailers.
        self.note(answer.headers_mut());
        answer.map(|inner| {
            self.guard.given();
            Answer { inner, call: self }
        })
    }

    fn note(&mut self, headers: &mut HeaderMap) {
        match headers.get("grpc-status").map(http::HeaderValue::as_bytes) {
            None => {}
            Some(b"0") => self.reason = Some(metrics::SERVED.to_owned()),
            Some(_) => self.reason = api::explain(headers, self.issued()),
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        // The client went away, or the connection broke, before there was a status.
        let reason = self.reason.as_deref().unwrap_or("CANCELLED");
        metrics::call(self.method, reason, self.began.elapsed());
    }
}

/// An answer's body.
pub(super) struct Answer {
    inner: Body,
    call: Call,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.call.guard.taken();
        let mut polled = Pin::new(&mut self.inner).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &mut polled {
            match frame.trailers_mut() {
                Some(trailers) => self.call.note(trailers),
                None => self.call.guard.given(),
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The body of an answer, as the request was spoken.
pub(super) enum Spoken {
    Grpc(Answer),
    /// JSON, or gRPC-Web.
    Web(Body),
}

impl http_body::Body for Spoken {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match self.get_mut() {
            Self::Grpc(answer) => Pin::new(answer).poll_frame(context),
            Self::Web(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Grpc(answer) => answer.is_end_stream(),
            Self::Web(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Grpc(answer) => answer.size_hint(),
            Self::Web(body) => body.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_callers_make_up_are_no_labels() {
        for known in [LONG_LIVED, "/grpc.health.v1.Health/Check"] {
            assert_eq!(method(known), known);
        }
        assert!(method("/grpc.health.v1.Health/Check").starts_with(HEALTH));
        assert_eq!(method("/vendkey.v1.TokenService/47500150231"), "unknown");
    }
}
