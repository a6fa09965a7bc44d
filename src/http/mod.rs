//! HTTP with JSON: the same methods as over gRPC, for whoever has no more than `curl`.
//!
//! One transcoder stands in front of the very same services and layers. Which paths there are comes
//! from the `google.api.http` options of the proto files (AIP-127), how messages look from
//! protobuf's JSON mapping: a new method needs its option and nothing here. A request is made one
//! of gRPC, and its answer JSON; so authentication, limits, permissions and four eyes are those of
//! gRPC, and so are the reasons of refusals.
//!
//! The way of a request: [`Json::look`] (`routes`, `template`) -> [`JsonCall::request`] (`body`,
//! `message`, `frame`) -> the service -> [`JsonCall::answer`] (`answer`, `status`). What the paths are is
//! told at `/openapi.json` (`openapi`).

mod answer;
mod body;
mod frame;
mod grpc_web;
mod message;
mod openapi;
mod origins;
mod reference;
mod routes;
mod status;
mod template;
mod unique;

use std::sync::Arc;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, Version,
    header::{
        ALLOW, CONNECTION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, TE, TRANSFER_ENCODING,
        X_CONTENT_TYPE_OPTIONS,
    },
};
use prost_reflect::DescriptorPool;
use tonic::{Status, body::Body};

use self::{
    body::{Form, JsonBody},
    routes::{Found, Route, Routes},
};
pub use self::{grpc_web::GrpcWebCall, routes::RouteError};
use crate::{
    acts::{Reason, Refusal},
    api::DESCRIPTORS,
    settings::Origins,
};

/// Below this are the paths of methods.
const PATHS: &str = "/v1/";
/// Where the description of the paths is.
const OPENAPI: &str = "/openapi.json";
/// The same as a page for people.
const REFERENCE: &str = "/openapi";
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
/// A request of the same key is the same request: what gRPC calls `request_id`.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The face. Clones share it.
#[derive(Clone, Debug)]
pub struct Json(Arc<Face>);

#[derive(Debug)]
struct Face {
    /// With the details of refusals.
    pool: DescriptorPool,
    routes: Routes,
    openapi: Bytes,
    /// The page, and the policy under which it is whole.
    reference: (Bytes, HeaderValue),
    origins: Origins,
    /// How many bytes a message of JSON may have.
    most: usize,
}

/// What a request is to this face.
#[derive(Debug)]
pub enum Look {
    /// None of its own.
    NotOurs,
    /// A call of a method.
    Call(JsonCall),
    /// A call of a method, as gRPC-Web has it.
    GrpcWeb(GrpcWebCall),
    /// One that is answered at once.
    Answer(Response<Body>),
}

/// A call of a method.
#[derive(Debug)]
pub struct JsonCall {
    face: Json,
    route: Arc<Route>,
    /// The fields that the path holds.
    held: Vec<(String, String)>,
    /// The origin that the answer is for, where a browser asks for one.
    origin: Option<HeaderValue>,
}

/// What the proto files say: the descriptors, with the details of refusals, and the routes.
fn described() -> Result<(DescriptorPool, Routes), RouteError> {
    let undecoded = |_| RouteError::NoOption;
    let mut pool = DescriptorPool::decode(DESCRIPTORS).map_err(undecoded)?;
    pool.decode_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET).map_err(undecoded)?;
    let routes = Routes::new(&pool)?;
    Ok((pool, routes))
}

/// What `/openapi.json` answers.
///
/// # Errors
/// [`RouteError`]: the proto files hold a rule that cannot be served.
pub fn openapi() -> Result<String, RouteError> {
    let (pool, routes) = described()?;
    Ok(openapi::document(&pool, &routes))
}

impl Json {
    /// The face of this server's API, for pages of these origins. `most`: how many bytes a message
    /// of JSON may have.
    ///
    /// # Errors
    /// [`RouteError`]: the proto files hold a rule that cannot be served.
    pub fn new(origins: Origins, most: usize) -> Result<Self, RouteError> {
        let (pool, routes) = described()?;
        let openapi = openapi::document(&pool, &routes);
        let described = serde_json::from_str(&openapi).unwrap_or_default();
        let (page, policy) = reference::page(&described);
        let policy = HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'"));
        let (openapi, reference) = (Bytes::from(openapi), (Bytes::from(page), policy));
        Ok(Self(Arc::new(Face { pool, routes, openapi, reference, origins, most })))
    }

    /// What a request is to this face. Nothing of its body is read.
    pub fn look<B: http_body::Body>(&self, request: &Request<B>) -> Look {
        if let Some(look) = grpc_web::look(self, request) {
            return look;
        }
        let path = request.uri().path();
        if path == OPENAPI {
            return Look::Answer(self.fixed(request.method(), &self.0.openapi, answer::JSON));
        }
        if path == REFERENCE {
            let (page, policy) = &self.0.reference;
            let mut answer = self.fixed(request.method(), page, HTML);
            answer.headers_mut().insert(CONTENT_SECURITY_POLICY, policy.clone());
            answer.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            return Look::Answer(answer);
        }
        if !path.starts_with(PATHS) {
            return Look::NotOurs;
        }
        let origin = match origins::asking(&self.0.origins, request) {
            Ok(origin) => origin,
            Err(refusal) => return Look::Answer(self.refused(refusal)),
        };
        match self.0.routes.find(request.method(), path) {
            Found::Route(route, held) => {
                let stream = route.method.is_client_streaming();
                if route.body && !is_json(request.headers(), stream) && !request.body().is_end_stream() {
                    return Look::Answer(allowing(origin.as_ref(), unsupported(stream)));
                }
                Look::Call(JsonCall { face: self.clone(), route, held, origin })
            }
            Found::OtherVerbs(verbs) if request.method() == Method::OPTIONS && origin.is_some() => {
                Look::Answer(allowing(origin.as_ref(), origins::preflight(&verbs)))
            }
            Found::OtherVerbs(verbs) => {
                let verbs = verbs.iter().map(|verb| verb.as_str()).collect::<Vec<_>>().join(", ");
                let refusal = Refusal::new(
                    Reason::MethodUnknown,
                    format!("this path takes {verbs}, not {}", request.method()),
                );
                let mut answer = self.refused(refusal);
                *answer.status_mut() = http::StatusCode::METHOD_NOT_ALLOWED;
                if let Ok(verbs) = HeaderValue::from_str(&verbs) {
                    answer.headers_mut().insert(ALLOW, verbs);
                }
                Look::Answer(allowing(origin.as_ref(), answer))
            }
            Found::Nothing => {
                let text = format!("there is no such path: {OPENAPI} lists those that there are");
                Look::Answer(allowing(
                    origin.as_ref(),
                    self.refused(Refusal::new(Reason::MethodUnknown, text)),
                ))
            }
        }
    }

    fn refused(&self, refusal: Refusal) -> Response<Body> {
        answer::refused(&self.0.pool, &refusal.into())
    }

    /// What is the same for everybody.
    fn fixed(&self, verb: &Method, content: &Bytes, kind: HeaderValue) -> Response<Body> {
        if *verb != Method::GET {
            let mut answer = self.refused(Refusal::new(Reason::MethodUnknown, "this path takes GET alone"));
            *answer.status_mut() = http::StatusCode::METHOD_NOT_ALLOWED;
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
            return answer;
        }
        let mut answer = Response::new(Body::new(http_body_util::Full::new(content.clone())));
        answer.headers_mut().insert(CONTENT_TYPE, kind);
        answer
    }

    /// The message that a request holds, as gRPC encodes it, and as JSON; `None`: there is no such
    /// path. What stands between the wire and the service, for tests of it alone.
    pub fn transcoded(&self, verb: &str, target: &str, body: &[u8]) -> Option<Result<Transcoded, Refusal>> {
        let (path, query) =
            target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let Found::Route(route, held) = self.0.routes.find(&verb.parse().ok()?, path) else { return None };
        let message = if route.body {
            message::of_body(&route, &held, body, None)
        } else {
            message::of_query(&route, &held, query)
        };
        Some(message.map(|message| Transcoded {
            protobuf: prost::Message::encode_to_vec(&message),
            json: serde_json::to_string(&message).unwrap_or_default(),
        }))
    }
}

/// A message of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transcoded {
    /// As gRPC encodes it.
    pub protobuf: Vec<u8>,
    /// In protobuf's JSON mapping.
    pub json: String,
}

impl JsonCall {
    /// The method, `/package.Service/Method`.
    pub fn path(&self) -> &str {
        &self.route.path
    }

    /// The call as gRPC makes it.
    pub fn request(&self, request: Request<Body>) -> Request<Body> {
        let (mut head, body) = request.into_parts();
        let query = head.uri.query().map(str::to_owned);
        let key = head.headers.get(IDEMPOTENCY_KEY).and_then(|key| key.to_str().ok()).map(str::to_owned);
        let (route, held) = (self.route.clone(), self.held.clone());
        let form = if route.method.is_client_streaming() { Form::Lines { read: 0 } } else { Form::Whole };
        let body = JsonBody::of(body, form, self.face.0.most, move |json| {
            if route.body {
                message::of_body(&route, &held, json, key.as_deref())
            } else {
                message::of_query(&route, &held, query.as_deref())
            }
        });
        head.method = Method::POST;
        head.version = Version::HTTP_2;
        // A path of a method is one of a URI.
        head.uri = self.route.path.parse().unwrap_or_else(|_| Uri::from_static("/"));
        for name in [CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION] {
            head.headers.remove(name);
        }
        for name in ["grpc-encoding", "grpc-accept-encoding"] {
            head.headers.remove(HeaderName::from_static(name));
        }
        head.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        head.headers.insert(TE, HeaderValue::from_static("trailers"));
        Request::from_parts(head, body)
    }

    /// The answer as JSON.
    pub async fn answer<B>(self, answer: Response<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes, Error = Status> + Unpin + Send + 'static,
    {
        let (pool, output) = (&self.face.0.pool, self.route.method.output());
        let answer = if self.route.method.is_server_streaming() {
            answer::lines(pool, output, answer)
        } else {
            answer::one(pool, output, answer).await
        };
        allowing(self.origin.as_ref(), answer)
    }
}

/// Lets a page of this origin read an answer.
fn allowing(origin: Option<&HeaderValue>, mut answer: Response<Body>) -> Response<Body> {
    if let Some(origin) = origin {
        origins::allow(origin, answer.headers_mut());
    }
    answer
}

fn unsupported(stream: bool) -> Response<Body> {
    let kinds = if stream { "application/x-ndjson, one message in each line," } else { "application/json" };
    let mut answer = Response::new(Body::new(format!("this path takes content-type {kinds} alone\n")));
    *answer.status_mut() = http::StatusCode::UNSUPPORTED_MEDIA_TYPE;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    answer
}

/// What a body is, by what its header says: the media type without parameters. Empty: nothing is
/// said.
pub(crate) fn media_type(headers: &HeaderMap) -> &[u8] {
    let content = headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    content.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii()
}

/// Whether a body is JSON; of a stream, lines of it.
fn is_json(headers: &HeaderMap, stream: bool) -> bool {
    let kinds: &[&[u8]] = if stream {
        &[b"application/x-ndjson", b"application/ndjson", b"application/jsonl", b"application/json"]
    } else {
        &[b"application/json"]
    };
    kinds.iter().any(|known| media_type(headers).eq_ignore_ascii_case(known))
}
