//! What every call goes through first: is there room for it, who is at the other end, and how long it may take to arrive.

use std::{
    convert::Infallible,
    future::poll_fn,
    pin::Pin,
    sync::{Arc, atomic::AtomicUsize},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use http::{HeaderMap, Request, Response};
use http_body::{Frame, SizeHint};
use hyper::body::{Bytes, Incoming};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::{Status, body::Body, transport::server::TcpConnectInfo};
use tower::Service;

use super::{
    body::RequestBody,
    connection::{Activity, Answering, Mark},
};
use crate::{
    access::{PeerCertificate, methods},
    acts::{Reason, Refusal},
    api, metrics,
    settings::WireSettings,
};

/// When a refused call may try again: by then some of those that run have ended.
const RETRY_BUSY: Duration = Duration::from_millis(100);

/// Load balancers ask this, above all of a server that is busy.
const HEALTH: &str = "/grpc.health.v1.Health/";
/// A call that lives as long as the client likes. Its service ends it when it idles.
const LONG_LIVED: &str = "/vendkey.v1.TokenService/StreamTokens";

/// The path if it is one of a method, for the label: callers make up paths.
fn method(path: &str) -> &'static str {
    methods().iter().find(|(method, _)| *method == path).map_or("unknown", |(method, _)| method)
}

/// The room of a listener: calls at once, and bytes of requests that are not whole yet.
pub(super) struct Room {
    calls: Arc<Semaphore>,
    receiving: Arc<AtomicUsize>,
}

impl Room {
    pub(super) fn new(wire: &WireSettings) -> Self {
        Self {
            calls: Arc::new(Semaphore::new(wire.calls)),
            receiving: Arc::new(AtomicUsize::new(wire.receiving_bytes)),
        }
    }
}

/// What is told when there is no room.
pub(super) fn busy() -> Status {
    Refusal::new(Reason::ServerBusy, "the server has as many calls as it bears")
        .retry_after(RETRY_BUSY)
        .into()
}

/// The calls of one connection.
pub(super) struct Calls<S> {
    pub(super) inner: S,
    pub(super) room: Arc<Room>,
    pub(super) activity: Arc<Activity>,
    pub(super) peer: TcpConnectInfo,
    pub(super) certificate: Option<PeerCertificate>,
    pub(super) wire: WireSettings,
}

impl<S> hyper::service::Service<Request<Incoming>> for Calls<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = Answering<Self::Response>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let path = request.uri().path();
        let permit = match path.starts_with(HEALTH) {
            true => Ok(None),
            false => self.room.calls.clone().try_acquire_owned().map(Some),
        };
        let mut call = Call::begin(path, self.activity.begin());
        let Ok(permit) = permit else {
            let answer = busy().into_http();
            return Box::pin(async move { Ok(call.answer(answer)) });
        };
        call.permit = permit;
        let (until, receiving) = match path {
            LONG_LIVED => (None, None),
            _ => (Some(Instant::now() + self.wire.request), Some(self.room.receiving.clone())),
        };
        let deadline =
            request.headers().get("grpc-timeout").and_then(|value| api::timeout(value.to_str().ok()?));
        let mut request = request.map(|body| Body::new(RequestBody::new(body, until, receiving)));
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
                    // What the call did by then, only the ledger knows: a status without a reason says so.
                    Err(_) => Status::deadline_exceeded("the call's deadline passed").into_http(),
                },
            };
            Ok(call.answer(answer))
        })
    }
}

/// A call from its headers to the last byte of its answer. Whatever way it ends, it is counted and its place given back.
struct Call {
    method: &'static str,
    began: Instant,
    reason: Option<String>,
    mark: Mark,
    permit: Option<OwnedSemaphorePermit>,
}

impl Call {
    fn begin(path: &str, mark: Mark) -> Self {
        Self { method: method(path), began: Instant::now(), reason: None, mark, permit: None }
    }

    fn answer(mut self, answer: Response<Body>) -> Response<Answer> {
        // Only a call without an answer's body has its status here; others end with trailers.
        self.note(answer.headers());
        answer.map(|inner| {
            self.mark.given();
            Answer { inner, call: self }
        })
    }

    fn note(&mut self, headers: &HeaderMap) {
        match headers.get("grpc-status").map(http::HeaderValue::as_bytes) {
            None => {}
            Some(b"0") => self.reason = Some(metrics::SERVED.to_owned()),
            Some(_) => self.reason = api::reason(headers),
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
        self.call.mark.taken();
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            match frame.trailers_ref() {
                Some(trailers) => self.call.note(trailers),
                None => self.call.mark.given(),
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
