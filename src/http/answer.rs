//! An answer of gRPC as JSON: one message, or one in each line.

use std::{
    error::Error,
    future::poll_fn,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header::CONTENT_TYPE};
use http_body::Frame;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use serde_json::json;
use tonic::{Code, Status, body::Body};

use super::{frame, status};
use crate::acts::{Issued, Refusal};

pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");
const LINES: HeaderValue = HeaderValue::from_static("application/x-ndjson");

/// A service that ended well and gave no message.
#[derive(Debug, thiserror::Error)]
#[error("the service gave no answer")]
struct NoAnswer;

/// A refusal.
pub(super) fn refused(pool: &DescriptorPool, refusal: &Status) -> Response<Body> {
    let mut body = status::json(pool, refusal);
    body.push('\n');
    let mut answer = Response::new(Body::new(body));
    *answer.status_mut() = status::of(refusal);
    answer.headers_mut().insert(CONTENT_TYPE, JSON);
    status::headers(refusal, answer.headers_mut());
    answer
}

/// The answer of a method that gives one message.
pub(super) async fn one<B>(
    pool: &DescriptorPool,
    output: MessageDescriptor,
    answer: Response<B>,
) -> Response<Body>
where
    B: http_body::Body<Data = Bytes, Error = Status>,
{
    match message(output, answer).await {
        Ok(mut text) => {
            text.push(b'\n');
            let mut answer = Response::new(Body::new(http_body_util::Full::new(Bytes::from(text))));
            answer.headers_mut().insert(CONTENT_TYPE, JSON);
            answer
        }
        Err(refusal) => refused(pool, &refusal),
    }
}

async fn message<B>(output: MessageDescriptor, answer: Response<B>) -> Result<Vec<u8>, Status>
where
    B: http_body::Body<Data = Bytes, Error = Status>,
{
    let (head, body) = answer.into_parts();
    ended(&head.headers)?;
    let (mut body, mut held) = (pin!(body), BytesMut::new());
    while let Some(frame) = poll_fn(|context| body.as_mut().poll_frame(context)).await {
        match frame?.into_data() {
            Ok(data) => held.extend_from_slice(&data),
            Err(frame) => {
                if let Some(trailers) = frame.trailers_ref() {
                    ended(trailers)?;
                }
            }
        }
    }
    let bytes = frame::next(&mut held).map_err(|error| unshown(&error))?;
    let bytes = bytes.ok_or_else(|| unshown(&NoAnswer))?;
    shown(output, &bytes)
}

/// The status of an answer, where headers or trailers hold one that is no success.
fn ended(headers: &HeaderMap) -> Result<(), Status> {
    match Status::from_header_map(headers) {
        Some(status) if status.code() != Code::Ok => Err(status),
        Some(_) | None => Ok(()),
    }
}

/// A message in protobuf's JSON mapping.
fn shown(output: MessageDescriptor, bytes: &[u8]) -> Result<Vec<u8>, Status> {
    let message = DynamicMessage::decode(output, bytes).map_err(|error| unshown(&error))?;
    serde_json::to_vec(&message).map_err(|error| unshown(&error))
}

/// An answer that cannot be shown: what was asked for may be done.
fn unshown(error: &dyn Error) -> Status {
    tracing::error!(%error, "an answer cannot be shown as JSON");
    Refusal::internal().issued(Issued::Maybe).into()
}

/// The answer of a method that gives a stream of messages.
pub(super) fn lines<B>(
    pool: &DescriptorPool,
    output: MessageDescriptor,
    answer: Response<B>,
) -> Response<Body>
where
    B: http_body::Body<Data = Bytes, Error = Status> + Unpin + Send + 'static,
{
    let (head, inner) = answer.into_parts();
    if let Err(refusal) = ended(&head.headers) {
        return refused(pool, &refusal);
    }
    let lines = Lines { inner, output, pool: pool.clone(), held: BytesMut::new(), ended: false };
    let mut answer = Response::new(Body::new(lines));
    *answer.status_mut() = StatusCode::OK;
    answer.headers_mut().insert(CONTENT_TYPE, LINES);
    answer
}

/// The messages of a stream, one in each line. If the stream ends with a refusal, the last line is
/// `{"error": google.rpc.Status}`: the status of HTTP was sent long before.
struct Lines<B> {
    inner: B,
    output: MessageDescriptor,
    pool: DescriptorPool,
    held: BytesMut,
    ended: bool,
}

impl<B> Lines<B> {
    /// The lines of all messages that are here.
    fn here(&mut self) -> Result<Vec<u8>, Status> {
        let mut text = Vec::new();
        while let Some(bytes) = frame::next(&mut self.held).map_err(|error| unshown(&error))? {
            text.append(&mut shown(self.output.clone(), &bytes)?);
            text.push(b'\n');
        }
        Ok(text)
    }

    fn last(&mut self, refusal: &Status) -> Bytes {
        self.ended = true;
        let status = status::json(&self.pool, refusal);
        let status: serde_json::Value = serde_json::from_str(&status).unwrap_or_default();
        format!("{}\n", json!({ "error": status })).into()
    }
}

impl<B> http_body::Body for Lines<B>
where
    B: http_body::Body<Data = Bytes, Error = Status> + Unpin,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        loop {
            if self.ended {
                return Poll::Ready(None);
            }
            let text = match ready!(Pin::new(&mut self.inner).poll_frame(context)) {
                None => return Poll::Ready(None),
                Some(Err(refusal)) => self.last(&refusal),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        self.held.extend_from_slice(&data);
                        match self.here() {
                            Ok(text) => text.into(),
                            Err(refusal) => self.last(&refusal),
                        }
                    }
                    Err(frame) => match frame.trailers_ref().map(ended) {
                        Some(Err(refusal)) => self.last(&refusal),
                        Some(Ok(())) | None => Bytes::new(),
                    },
                },
            };
            if !text.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(text))));
            }
        }
    }
}
