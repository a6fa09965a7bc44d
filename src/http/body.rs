//! A request's body as gRPC has it: JSON comes in, frames go on.
//!
//! The message is made when the service asks for it, behind the layer that authenticates: whoever
//! has no credential makes nobody read JSON.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{BufMut as _, Bytes, BytesMut};
use http_body::Frame;
use prost::Message as _;
use prost_reflect::DynamicMessage;
use tonic::{Status, body::Body};

use crate::acts::{Reason, Refusal};

/// A message of gRPC: not packed, its length in 4 bytes, most significant first, and its bytes.
const PREFIX: usize = 5;

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

    /// The next message that is here, if one is.
    fn message(&mut self, at_end: bool) -> Option<Result<Bytes, Status>> {
        match &mut self.form {
            Form::Whole => at_end.then(|| {
                let held = self.held.split();
                framed((self.read)(&held).map_err(Status::from)?)
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
                    Status::from(refusal)
                });
                return Some(message.and_then(framed));
            },
        }
    }
}

fn framed(message: DynamicMessage) -> Result<Bytes, Status> {
    let size = message.encoded_len();
    let mut bytes = BytesMut::with_capacity(PREFIX + size);
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(size).map_err(|_| too_large(size))?);
    message.encode(&mut bytes).map_err(|error| Status::internal(error.to_string()))?;
    Ok(bytes.freeze())
}

pub(super) fn too_large(most: usize) -> Status {
    Refusal::new(Reason::MessageTooLarge, format!("a message has more than {most} bytes of JSON")).into()
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
                (self.ended, self.form) = (true, Form::Whole);
                return Poll::Ready(Some(Err(too_large(self.most))));
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
