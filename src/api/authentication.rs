//! The layer in front of all services: no call goes past it without a caller who is permitted, but
//! the health checks of load balancers. What each method needs stands in one table
//! (`access/methods.rs`).

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response, header::AUTHORIZATION};
use tonic::{Status, body::Body};
use tower::{Layer, Service};

use super::transport::explain;
use crate::{
    access::{Caller, Need, PeerCertificate, need},
    acts::{AccessError, Admission, Issued, Reason, Refusal},
};

/// Puts a [`Caller`] into the extensions of every request, or answers in the service's place.
#[derive(Clone)]
pub struct AuthenticationLayer(Arc<Admission>);

impl AuthenticationLayer {
    /// A layer that asks this admission.
    pub fn new(admission: Arc<Admission>) -> Self {
        Self(admission)
    }
}

impl<S> Layer<S> for AuthenticationLayer {
    type Service = Authenticated<S>;

    fn layer(&self, inner: S) -> Authenticated<S> {
        Authenticated { inner, admission: self.0.clone() }
    }
}

/// A service behind the layer.
#[derive(Clone)]
pub struct Authenticated<S> {
    inner: S,
    admission: Arc<Admission>,
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
        let admission = self.admission.clone();
        Box::pin(async move {
            let method = request.uri().path().to_owned();
            let Some(need) = need(&method) else {
                let refusal = Refusal::new(Reason::MethodUnknown, format!("there is no method {method}"));
                admission.note(None, &method, refusal.reason.text());
                return Ok(Status::from(refusal).into_http());
            };
            if need == Need::Open {
                return inner.call(request).await;
            }
            // Taken out: nothing behind this layer needs the secret.
            let header = request.headers_mut().remove(AUTHORIZATION);
            let peer = request.extensions().get::<PeerCertificate>();
            let admitted = admission.admit(header.as_ref().map(|value| value.as_bytes()), peer, need).await;
            let (caller, mut response) = match admitted {
                Ok(caller) => {
                    request.extensions_mut().insert(caller.clone());
                    (Some(caller), inner.call(request).await?)
                }
                Err((caller, refusal)) => (caller, Status::from(refusal).into_http()),
            };
            // A refusal that stands in the headers comes before the service took anything up.
            let refused = explain(response.headers_mut(), Issued::No);
            // What waits for approval was not refused, and is on record as what it is.
            if let Some(reason) = refused.filter(|reason| reason != Reason::ApprovalPending.text()) {
                admission.note(caller.as_ref(), &method, &reason);
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
