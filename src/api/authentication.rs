//! The layer in front of all services: no call goes past it without a caller, but the health checks of load balancers.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderMap, Request, Response, header::AUTHORIZATION};
use tonic::{Status, body::Body};
use tonic_types::StatusExt as _;
use tower::{Layer, Service};

use super::{reason::Reason, refusal::Refusal};
use crate::access::{Authenticator, Caller, Refusals};

/// Puts a [`Caller`] into the extensions of every request, or answers in the service's place.
#[derive(Clone)]
pub struct AuthenticationLayer(Arc<Authenticator>, Arc<Refusals>);

impl AuthenticationLayer {
    /// A layer that asks this authenticator and notes what is refused.
    pub fn new(authenticator: Arc<Authenticator>, refusals: Arc<Refusals>) -> Self {
        Self(authenticator, refusals)
    }
}

impl<S> Layer<S> for AuthenticationLayer {
    type Service = Authenticated<S>;

    fn layer(&self, inner: S) -> Authenticated<S> {
        Authenticated { inner, authenticator: self.0.clone(), refusals: self.1.clone() }
    }
}

/// A service behind the layer.
#[derive(Clone)]
pub struct Authenticated<S> {
    inner: S,
    authenticator: Arc<Authenticator>,
    refusals: Arc<Refusals>,
}

/// Services that anybody may call: a load balancer has no credential.
const OPEN: &str = "/grpc.health.v1.Health/";

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
        let (authenticator, refusals) = (self.authenticator.clone(), self.refusals.clone());
        Box::pin(async move {
            if request.uri().path().starts_with(OPEN) {
                return inner.call(request).await;
            }
            // Taken out: nothing behind this layer needs the secret.
            let header = request.headers_mut().remove(AUTHORIZATION);
            let found = authenticator.authenticate(header.as_ref().map(|value| value.as_bytes())).await;
            let method = request.uri().path().to_owned();
            let (caller, response) = match found {
                Ok(caller) => {
                    request.extensions_mut().insert(caller.clone());
                    // For calls that hold many requests, each with an outcome of its own.
                    request.extensions_mut().insert(refusals.clone());
                    (Some(caller), inner.call(request).await?)
                }
                Err(error) => (None, Status::from(Refusal::from(error)).into_http()),
            };
            if let Some(reason) = refused(response.headers()) {
                refusals.note(caller.as_ref(), &method, &reason);
            }
            Ok(response)
        })
    }
}

/// The reason, if the answer is a refusal.
fn refused(headers: &HeaderMap) -> Option<String> {
    let status = headers.get("grpc-status").filter(|status| status.as_bytes() != b"0")?;
    let told = Status::from_header_map(headers)?;
    let reason = told.get_error_details().error_info().map(|info| info.reason.clone());
    // What the transport refuses, such as an unknown method, has no reason of ours.
    // What waits for approval was not refused, and is on record as what it is.
    if reason.as_deref() == Some(Reason::ApprovalPending.text()) {
        return None;
    }
    Some(reason.unwrap_or_else(|| format!("STATUS_{}", status.to_str().unwrap_or_default())))
}

/// The caller that the layer found.
pub(super) fn caller<T>(request: &tonic::Request<T>) -> Result<Caller, Status> {
    let missing = || Status::from(Refusal::from(crate::access::AccessError::Missing));
    request.extensions().get::<Caller>().cloned().ok_or_else(missing)
}
