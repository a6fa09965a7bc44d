//! The layer in front of all services: no call goes past it without a caller, but the health checks of load balancers.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response, header::AUTHORIZATION};
use tonic::{Status, body::Body};
use tower::{Layer, Service};

use super::refusal::Refusal;
use crate::access::{Authenticator, Caller};

/// Puts a [`Caller`] into the extensions of every request, or answers in the service's place.
#[derive(Clone)]
pub struct AuthenticationLayer(Arc<Authenticator>);

impl AuthenticationLayer {
    /// A layer that asks this authenticator.
    pub fn new(authenticator: Arc<Authenticator>) -> Self {
        Self(authenticator)
    }
}

impl<S> Layer<S> for AuthenticationLayer {
    type Service = Authenticated<S>;

    fn layer(&self, inner: S) -> Authenticated<S> {
        Authenticated { inner, authenticator: self.0.clone() }
    }
}

/// A service behind the layer.
#[derive(Clone)]
pub struct Authenticated<S> {
    inner: S,
    authenticator: Arc<Authenticator>,
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
        let authenticator = self.authenticator.clone();
        Box::pin(async move {
            if !request.uri().path().starts_with(OPEN) {
                // Taken out: nothing behind this layer needs the secret.
                let header = request.headers_mut().remove(AUTHORIZATION);
                match authenticator.authenticate(header.as_ref().map(|value| value.as_bytes())).await {
                    Ok(caller) => {
                        request.extensions_mut().insert(caller);
                    }
                    Err(error) => return Ok(Status::from(Refusal::from(error)).into_http()),
                }
            }
            inner.call(request).await
        })
    }
}

/// The caller that the layer found.
pub(super) fn caller<T>(request: &tonic::Request<T>) -> Result<Caller, Status> {
    let missing = || Status::from(Refusal::from(crate::access::AccessError::Missing));
    request.extensions().get::<Caller>().cloned().ok_or_else(missing)
}
