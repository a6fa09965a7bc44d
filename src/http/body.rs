//! A request's body as gRPC has it: JSON comes in, frames go on.
//!
//! The message is made when the service asks for it, behind the layer that authenticates: whoever
//! has no credential makes nobody read JSON.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http_body::Frame;
use prost_reflect::DynamicMessage;
use tonic::{Status, body::Body};

use super::frame;
use crate::acts::{Issued, Reason, Refusal};

/// Reads a message from JSON.
type Read = Box<dyn Fn(&[u8]) -> Result<DynamicMessage, Refusal> + Send>;

/// The body.
pub(super) struct JsonBody {
    inner: Body,
    read: Read,
    /// What came and is not read yet.
    held: BytesMut,
    form: Form,
    /// A message may have no more bytes than this.
    most: usize,
    ended: bool,
}

/// How messages stand in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// One, and nothing else.
    Whole,
    /// One in each line. Empty lines count as none.
    Lines {
        /// How many lines were read.
        read: u64,
    },
}

impl JsonBody {
    /// The messages of a body.
    pub(super) fn of(
        inner: Body,
        form: Form,
        most: usize,
        read: impl Fn(&[u8]) -> Result<DynamicMessage, Refusal> + Send + 'static,
    ) -> Body {
        let read = Box::new(read);
        Body::new(Self { inner, read, held: BytesMut::new(), form, most, ended: false })
    }

    fn too_large(&self) -> Status {
        let text = format!("a message has more than {} bytes of JSON", self.most);
        let issued = if self.form == Form::Whole { Issued::No } else { Issued::Maybe };
        Refusal::new(Reason::MessageTooLarge, text).issued(issued).into()
    }

    /// The next message that is here, if one is.
    fn message(&mut self, at_end: bool) -> Option<Result<Bytes, Status>> {
        match &mut self.form {
            Form::Whole => at_end.then(|| {
                let held = self.held.split();
                frame_of((self.read)(&held))
            }),
            Form::Lines { read } => loop {
                let line = match self.held.iter().position(|byte| *byte == b'\n') {
                    Some(end) => self.held.split_to(end + 1),
                    None if at_end && !self.held.is_empty() => self.held.split(),
                    None => return None,
                };
                *read += 1;
                if line.trim_ascii().is_empty() {
                    continue;
                }
                let message = (self.read)(&line).map_err(|mut refusal| {
                    refusal.message = format!("line {read}: {}", refusal.message);
                    // The lines before it may have issued what nobody has answered yet.
                    refusal.issued(Issued::Maybe)
                });
                return Some(frame_of(message));
            },
        }
    }
}

/// The frame of a message that was read.
fn frame_of(read: Result<DynamicMessage, Refusal>) -> Result<Bytes, Status> {
    frame::framed(&read?).map_err(|error| {
        tracing::error!(%error, "a message of JSON cannot be passed on");
        Refusal::internal().into()
    })
}

impl http_body::Body for JsonBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        loop {
            if self.ended && self.form == Form::Whole {
                return Poll::Ready(None);
            }
            let ended = self.ended;
            match self.message(ended) {
                Some(Ok(bytes)) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Some(Err(status)) => {
                    // Nothing is read behind what could not be.
                    (self.ended, self.form) = (true, Form::Whole);
                    return Poll::Ready(Some(Err(status)));
                }
                None if ended => return Poll::Ready(None),
                None => {}
            }
            if self.held.len() > self.most {
                let refusal = self.too_large();
                (self.ended, self.form) = (true, Form::Whole);
                return Poll::Ready(Some(Err(refusal)));
            }
            match ready!(Pin::new(&mut self.inner).poll_frame(context)) {
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.held.extend_from_slice(data);
                    }
                }
                Some(Err(status)) => return Poll::Ready(Some(Err(status))),
                None if self.form == Form::Whole => {
                    let message = self.message(true);
                    self.ended = true;
                    return Poll::Ready(message.map(|message| message.map(Frame::data)));
                }
                None => self.ended = true,
            }
        }
    }
}
