//! gRPC-Web: the methods as gRPC's clients in browsers call them, over HTTP/1.1 too, in bytes or as
//! text. `tonic-web` carries a call and its answer over; which pages may call is said here.

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response,
    header::{ACCEPT, ACCESS_CONTROL_EXPOSE_HEADERS, CONTENT_TYPE, ORIGIN},
};
use tonic::body::Body;

use super::{Json, Look, media_type, origins};
use crate::access::need;

/// What its bodies are, as tonic-web knows them.
const KINDS: [&str; 4] = [
    "application/grpc-web",
    "application/grpc-web+proto",
    "application/grpc-web-text",
    "application/grpc-web-text+proto",
];
/// What a page may read of an answer that is refused before anything else is in it.
const EXPOSED: HeaderValue =
    HeaderValue::from_static("grpc-status, grpc-message, grpc-status-details-bin, retry-after");

/// A call that is spoken so.
#[derive(Debug)]
pub struct GrpcWebCall {
    /// The origin that the answer is for, where a browser asks for one.
    origin: Option<HeaderValue>,
}

/// What a request is to gRPC-Web; `None`: it is none of its own.
pub(super) fn look<B>(face: &Json, request: &Request<B>) -> Option<Look> {
    need(request.uri().path())?;
    let asks = request.method() == Method::OPTIONS && request.headers().contains_key(ORIGIN);
    let is_ours = KINDS.iter().any(|kind| media_type(request.headers()) == kind.as_bytes());
    let calls = is_ours && request.method() == Method::POST;
    if !(asks || calls) {
        return None;
    }
    Some(match origins::asking(&face.0.origins, request) {
        Err(refusal) => Look::Answer(face.refused(refusal)),
        Ok(origin) if asks => {
            let mut answer = origins::preflight(&[&Method::POST]);
            if let Some(origin) = &origin {
                origins::allow(origin, answer.headers_mut());
            }
            Look::Answer(answer)
        }
        Ok(origin) => Look::GrpcWeb(GrpcWebCall { origin }),
    })
}

impl GrpcWebCall {
    /// What tonic-web looks for: the media type alone, without parameters.
    pub fn plain(headers: &mut HeaderMap) {
        let known = |accept: &HeaderValue| KINDS.iter().any(|kind| accept == kind);
        if let Ok(kind) = HeaderValue::from_bytes(media_type(headers)) {
            // The answer has the form of the question where no other is asked for.
            if !headers.get(ACCEPT).is_some_and(known) {
                headers.insert(ACCEPT, kind.clone());
            }
            headers.insert(CONTENT_TYPE, kind);
        }
        // A browser's own; what is in a body is not packed.
        headers.remove(HeaderName::from_static("x-grpc-web"));
    }

    /// The answer, for the page that asked.
    pub fn answer(self, mut answer: Response<Body>) -> Response<Body> {
        if let Some(origin) = &self.origin {
            origins::allow(origin, answer.headers_mut());
            answer.headers_mut().insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
        answer
    }
}
