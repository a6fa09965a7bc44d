//! Calls over a connection, which fail with the reason why it broke.

use std::{
    error::Error,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use http::{Request, Response};
use tonic::{body::Body, transport::Channel};
use tower::Service;

use super::{fault::NoConnection, seen::Seen};

type BoxError = Box<dyn Error + Send + Sync>;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum NotConnected {
    /// TLS says why.
    #[error(transparent)]
    Known(#[from] NoConnection),
    /// The system or the transport does.
    #[error(transparent)]
    Transport(#[from] tonic::transport::Error),
}

/// Calls to a server. What fails by a broken connection fails with its [`NoConnection`] as source.
#[derive(Debug)]
pub struct Calls {
    channel: Channel,
    seen: Seen,
    /// A failure that is told with the next call: tonic shows nothing of one before it.
    failed: Option<BoxError>,
}

impl Calls {
    pub(super) fn new(channel: Channel, seen: Seen) -> Self {
        Self { channel, seen, failed: None }
    }
}

impl Clone for Calls {
    fn clone(&self) -> Self {
        Self::new(self.channel.clone(), self.seen.clone())
    }
}

fn told(seen: &Seen, error: tonic::transport::Error) -> BoxError {
    seen.reason().map_or_else(|| error.into(), Into::into)
}

impl Service<Request<Body>> for Calls {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.channel.poll_ready(context).map(|ready| {
            if let Err(error) = ready {
                self.failed = Some(told(&self.seen, error));
            }
            Ok(())
        })
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if let Some(error) = self.failed.take() {
            return Box::pin(async { Err(error) });
        }
        let (called, seen) = (self.channel.call(request), self.seen.clone());
        Box::pin(async move { called.await.map_err(|error| told(&seen, error)) })
    }
}
