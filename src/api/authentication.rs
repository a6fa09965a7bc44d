//! The layer in front of all services: no call goes past it without a caller who is permitted, but the health checks of load
//! balancers. What each method needs stands in one table (`access/methods.rs`).

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use http::{Request, Response, header::AUTHORIZATION};
use tonic::{Status, body::Body};
use tower::{Layer, Service};

use super::transport::explain;
use crate::{
    access::{
        AccessError, Attempts, Authenticator, Caller, Denied, Need, PeerCertificate, Rate, Refusals, need,
    },
    acts::{Issued, Reason, Refusal},
};

/// Puts a [`Caller`] into the extensions of every request, or answers in the service's place.
#[derive(Clone)]
pub struct AuthenticationLayer(Arc<Door>);

/// What decides about a call, and goes on deciding about calls that hold many requests.
pub(super) struct Door {
    authenticator: Arc<Authenticator>,
    /// Requests of clients whose pace is limited.
    pace: Attempts,
    refusals: Arc<Refusals>,
}

impl AuthenticationLayer {
    /// A layer that asks this authenticator and notes what is refused.
    pub fn new(authenticator: Arc<Authenticator>, refusals: Arc<Refusals>) -> Self {
        Self(Arc::new(Door { authenticator, pace: Attempts::default(), refusals }))
    }
}

impl Door {
    /// Counts a request of a client, or refuses it.
    pub(super) fn take(&self, caller: &Caller) -> Result<(), Refusal> {
        let Some(limit) = caller.limits.requests_per_second() else { return Ok(()) };
        self.pace.take(caller.client, Rate::per_second(limit), Instant::now()).map_err(|wait| {
            let text = format!("requests_per_second: this client may send {limit} in a second");
            Refusal::new(Reason::RequestsLimited, text)
                .metadata("limit", "requests_per_second")
                .retry_after(wait)
        })
    }

    /// The caller as he is now: a stream may outlive his rights.
    pub(super) async fn renewed(&self, caller: &Caller) -> Result<Caller, AccessError> {
        self.authenticator.renewed(caller).await
    }

    /// Notes that one of many requests was refused.
    pub(super) fn note(&self, caller: &Caller, method: &str, reason: &str) {
        self.refusals.note(Some(caller), method, reason);
    }

    /// Who calls, if he may.
    async fn pass(
        &self,
        request: &mut Request<Body>,
        need: Need,
    ) -> Result<Caller, (Option<Caller>, Refusal)> {
        // Taken out: nothing behind this layer needs the secret.
        let header = request.headers_mut().remove(AUTHORIZATION);
        let peer = request.extensions().get::<PeerCertificate>();
        let found = self.authenticator.authenticate(header.as_ref().map(|value| value.as_bytes()), peer);
        let caller = found.await.map_err(|error| (None, error.into()))?;
        let passed = self
            .take(&caller)
            .and_then(|()| need.met_by(&caller).map_err(|denied: Denied| Refusal::from(denied)));
        match passed {
            Ok(()) => Ok(caller),
            Err(refusal) => Err((Some(caller), refusal)),
        }
    }
}

impl<S> Layer<S> for AuthenticationLayer {
    type Service = Authenticated<S>;

    fn layer(&self, inner: S) -> Authenticated<S> {
        Authenticated { inner, door: self.0.clone() }
    }
}

/// A service behind the layer.
#[derive(Clone)]
pub struct Authenticated<S> {
    inner: S,
    door: Arc<Door>,
}

impl<S> Service<Request<Body>> for Authenticated<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        // The service that was polled ready is the one to call; its clone takes its place.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let door = self.door.clone();
        Box::pin(async move {
            let method = request.uri().path().to_owned();
            let Some(need) = need(&method) else {
                let refusal = Refusal::new(Reason::MethodUnknown, format!("there is no method {method}"));
                door.refusals.note(None, &method, refusal.reason.text());
                return Ok(Status::from(refusal).into_http());
            };
            if need == Need::Open {
                return inner.call(request).await;
            }
            let (caller, mut response) = match door.pass(&mut request, need).await {
                Ok(caller) => {
                    request.extensions_mut().insert(caller.clone());
                    // For calls that hold many requests, each with an outcome of its own.
                    request.extensions_mut().insert(door.clone());
                    (Some(caller), inner.call(request).await?)
                }
                Err((caller, refusal)) => (caller, Status::from(refusal).into_http()),
            };
            // A refusal that stands in the headers comes before the service took anything up.
            let refused = explain(response.headers_mut(), Issued::No);
            // What waits for approval was not refused, and is on record as what it is.
            if let Some(reason) = refused.filter(|reason| reason != Reason::ApprovalPending.text()) {
                door.refusals.note(caller.as_ref(), &method, &reason);
            }
            Ok(response)
        })
    }
}

/// The caller that the layer found.
pub(super) fn caller<T>(request: &tonic::Request<T>) -> Result<Caller, Status> {
    let missing = || Status::from(Refusal::from(AccessError::Missing));
    request.extensions().get::<Caller>().cloned().ok_or_else(missing)
}
