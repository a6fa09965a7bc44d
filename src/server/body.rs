//! A request's body under limits: it must be whole in time, and all that are not whole share a
//! bounded memory.
//!
//! Without limits a client that sends headers and then nothing, or a byte now and then, would hold
//! a call for ever. What is refused before it is whole is read to its end first, within limits too:
//! some clients (curl, for one) take an answer that overtakes their request for a broken stream.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use http_body::{Frame, SizeHint};
use hyper::body::Bytes;
use tokio::time::{Sleep, sleep_until, timeout};
use tonic::Status;

use crate::acts::{Reason, Refusal};

/// How long, and for how many bytes, the rest of a body is read away that nobody asks for.
const READ_AWAY: Duration = Duration::from_secs(1);
const READ_AWAY_BYTES: usize = 4 << 20;

/// When a refused call may try again: by then some of those that run have ended.
const RETRY_BUSY: Duration = Duration::from_millis(100);

/// What is told when too many bytes of requests wait already.
pub(super) fn busy() -> Status {
    Refusal::new(Reason::ServerBusy, "the server has as many calls as it bears")
        .retry_after(RETRY_BUSY)
        .into()
}

/// What bodies of requests are: hyper's own, and what tonic-web makes of them.
pub(super) trait Content:
    http_body::Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Unpin + Send + 'static
{
}

impl<B> Content for B where
    B: http_body::Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Unpin
        + Send
        + 'static
{
}

/// The body of one request.
pub(super) struct RequestBody<B: Content> {
    /// Taken when it is dropped.
    inner: Option<B>,
    until: Option<Instant>,
    /// Made when the body has to be waited for: most come with their headers.
    alarm: Option<Pin<Box<Sleep>>>,
    /// How many bytes all bodies together may still take, and how many this one took.
    free: Option<Arc<AtomicUsize>>,
    held: usize,
    rest: Arc<Rest<B>>,
}

/// What is known of a body after the service took it.
pub(super) struct Rest<B> {
    whole: AtomicBool,
    /// What was left of it when nobody asked for more.
    left: Mutex<Option<B>>,
}

impl<B> Default for Rest<B> {
    fn default() -> Self {
        Self { whole: AtomicBool::new(false), left: Mutex::new(None) }
    }
}

impl<B> Rest<B> {
    /// Whether all has come. Before that, nothing is done of what a single message asks for.
    pub(super) fn is_whole(&self) -> bool {
        self.whole.load(Ordering::Acquire)
    }

    /// What nobody asked for.
    pub(super) fn take(&self) -> Option<B> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl<B: Content> RequestBody<B> {
    /// Must be whole at `until`, and is counted in `free`.
    pub(super) fn new(
        inner: B,
        until: Option<Instant>,
        free: Option<Arc<AtomicUsize>>,
        rest: Arc<Rest<B>>,
    ) -> Self {
        Self { inner: Some(inner), until, alarm: None, free, held: 0, rest }
    }

    fn is_late(&mut self, context: &mut Context<'_>) -> bool {
        self.alarm.as_mut().is_some_and(|alarm| alarm.as_mut().poll(context).is_ready())
    }

    /// Counts what came; `false` if that is too much.
    fn hold(&mut self, bytes: usize) -> bool {
        let Some(free) = &self.free else { return true };
        let taken =
            free.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(bytes)).is_ok();
        if taken {
            self.held += bytes;
        }
        taken
    }
}

impl<B: Content> http_body::Body for RequestBody<B> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        // Before the next frame: bytes that trickle are always ready.
        if self.is_late(context) {
            return Poll::Ready(Some(Err(late())));
        }
        let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
        match Pin::new(inner).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                if frame.is_trailers() {
                    self.rest.whole.store(true, Ordering::Release);
                }
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                Poll::Ready(Some(if self.hold(bytes) { Ok(frame) } else { Err(busy()) }))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(Status::from_error(error.into())))),
            Poll::Ready(None) => {
                self.rest.whole.store(true, Ordering::Release);
                Poll::Ready(None)
            }
            Poll::Pending => {
                if let Some(until) = self.until
                    && self.alarm.is_none()
                {
                    self.alarm = Some(Box::pin(sleep_until(until.into())));
                    if self.is_late(context) {
                        return Poll::Ready(Some(Err(late())));
                    }
                }
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(B::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map(B::size_hint).unwrap_or_default()
    }
}

impl<B: Content> Drop for RequestBody<B> {
    fn drop(&mut self) {
        if let Some(free) = &self.free {
            free.fetch_add(self.held, Ordering::AcqRel);
        }
        if let Some(inner) = self.inner.take().filter(|inner| !inner.is_end_stream()) {
            *self.rest.left.lock().unwrap_or_else(PoisonError::into_inner) = Some(inner);
        }
    }
}

/// Reads the rest of a body that nobody asks for.
pub(super) async fn read_away(mut body: impl Content) {
    let read = async {
        let mut left = READ_AWAY_BYTES;
        while let Some(Ok(frame)) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            match left.checked_sub(bytes) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    };
    let _ = timeout(READ_AWAY, read).await;
}

fn late() -> Status {
    Refusal::new(Reason::RequestTooSlow, "the request did not arrive in time").into()
}
