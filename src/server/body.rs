//! A request's body under limits: it must be whole in time, and all that are not whole share a bounded room.
//!
//! Without them a client that sends headers and then nothing, or a byte now and then, would hold a call for ever.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Instant,
};

use http_body::{Frame, SizeHint};
use hyper::body::{Bytes, Incoming};
use tokio::time::{Sleep, sleep_until};
use tonic::Status;

use super::calls::busy;
use crate::acts::{Reason, Refusal};

/// The body of one request.
pub(super) struct RequestBody {
    inner: Incoming,
    until: Option<Instant>,
    /// Made when the body has to be waited for: most come with their headers.
    alarm: Option<Pin<Box<Sleep>>>,
    /// How many bytes all bodies together may still take, and how many this one took.
    room: Option<Arc<AtomicUsize>>,
    held: usize,
}

impl RequestBody {
    /// Must be whole at `until`, and finds its place in `room`.
    pub(super) fn new(inner: Incoming, until: Option<Instant>, room: Option<Arc<AtomicUsize>>) -> Self {
        Self { inner, until, alarm: None, room, held: 0 }
    }

    fn is_late(&mut self, context: &mut Context<'_>) -> bool {
        self.alarm.as_mut().is_some_and(|alarm| alarm.as_mut().poll(context).is_ready())
    }

    /// Takes room for what came; `false` if there is none.
    fn hold(&mut self, bytes: usize) -> bool {
        let Some(room) = &self.room else { return true };
        let taken =
            room.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(bytes)).is_ok();
        if taken {
            self.held += bytes;
        }
        taken
    }
}

impl http_body::Body for RequestBody {
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
        match Pin::new(&mut self.inner).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                Poll::Ready(Some(if self.hold(bytes) { Ok(frame) } else { Err(busy()) }))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(Status::from_error(Box::new(error))))),
            Poll::Ready(None) => Poll::Ready(None),
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
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if let Some(room) = &self.room {
            room.fetch_add(self.held, Ordering::AcqRel);
        }
    }
}

fn late() -> Status {
    Refusal::new(Reason::RequestTooSlow, "the request did not arrive in time").into()
}
