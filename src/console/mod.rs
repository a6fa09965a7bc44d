//! The console: pages for administrators in a browser, one more client of HTTP with JSON.
//!
//! Static files, in the binary as they are in `files/`: no build step, nothing of another host, no
//! cookies. What they may do in a browser is said by a strict Content-Security-Policy; what they may
//! do here, by the credential that a person gives to them. The page keeps it in memory alone.

mod files;

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode,
    header::{
        ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
        LOCATION, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
    },
};
use http_body_util::Full;
use sha2::{Digest as _, Sha256};
use tonic::body::Body;

use self::files::{FILES, HTML, JSON};

/// Below this is the console.
const ROOT: &str = "/console/";
/// What pages may do: load what is served here, and call this server.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
     form-action 'none'; frame-ancestors 'none'; base-uri 'none'",
);
/// What pages never need.
const PERMISSIONS: HeaderValue =
    HeaderValue::from_static("camera=(), geolocation=(), microphone=(), payment=(), usb=()");
/// What pages must know of their address.
const OFFERS: &str = "offers.json";

/// What pages must know before anybody has signed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offers {
    /// Whether tokens are served at the same address. They have one of their own where
    /// administration has one.
    pub tokens: bool,
    /// After how many minutes somebody who does nothing is signed out.
    pub idle_minutes: u32,
}

/// The console at one address. Clones share it.
#[derive(Clone, Debug)]
pub struct Console(Arc<BTreeMap<&'static str, File>>);

#[derive(Debug)]
struct File {
    content: Bytes,
    kind: &'static str,
    tag: HeaderValue,
}

impl File {
    fn new(kind: &'static str, content: Bytes) -> Self {
        let digest = hex::encode(&Sha256::digest(&content)[..16]);
        let tag = HeaderValue::from_str(&format!("\"{digest}\""));
        Self { content, kind, tag: tag.unwrap_or(HeaderValue::from_static("\"\"")) }
    }
}

impl Console {
    /// With what is offered at its address.
    pub fn new(offers: Offers) -> Self {
        let files = FILES.iter().map(|(name, kind, content)| (*name, File::new(kind, (*content).into())));
        let Offers { tokens, idle_minutes } = offers;
        let offers = serde_json::json!({"tokens": tokens, "idleMinutes": idle_minutes}).to_string();
        let offers = (OFFERS, File::new(JSON, offers.into()));
        Self(Arc::new(files.chain([offers]).collect()))
    }

    /// The answer to a request for one of its files; `None`: the request is none of its own.
    pub fn answer<B>(&self, request: &Request<B>) -> Option<Response<Body>> {
        let path = request.uri().path();
        let name = match path {
            // Whoever types the address alone is led here. A gRPC client never asks for it.
            "/" | "/console" => None,
            path => Some(path.strip_prefix(ROOT)?),
        };
        let answer = match (request.method(), name) {
            (&Method::GET | &Method::HEAD, None) => moved(),
            (&Method::GET | &Method::HEAD, Some(name)) => {
                let name = if name.is_empty() { "index.html" } else { name };
                match self.0.get(name) {
                    Some(file) => shown(file, request),
                    None => told(StatusCode::NOT_FOUND, "the console has no such file\n"),
                }
            }
            _ => {
                let mut answer =
                    told(StatusCode::METHOD_NOT_ALLOWED, "the console takes GET and HEAD alone\n");
                answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
                answer
            }
        };
        Some(guarded(answer))
    }
}

fn shown<B>(file: &File, request: &Request<B>) -> Response<Body> {
    let known = request.headers().get_all(IF_NONE_MATCH).iter();
    let known = known.filter_map(|tags| tags.to_str().ok()).flat_map(|tags| tags.split(','));
    let unchanged = known.map(str::trim).any(|tag| tag.as_bytes() == file.tag.as_bytes());
    let head = request.method() == Method::HEAD;
    let body = match unchanged || head {
        true => Body::empty(),
        false => Body::new(Full::new(file.content.clone())),
    };
    let mut answer = Response::new(body);
    if unchanged {
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(file.kind));
    headers.insert(ETAG, file.tag.clone());
    if head {
        headers.insert(CONTENT_LENGTH, file.content.len().into());
    }
    if file.kind == HTML {
        // A page that was left shall not be put back from a cache of its process.
        headers.insert(HeaderName::from_static("cross-origin-opener-policy"), SAME_ORIGIN);
    }
    answer
}

fn moved() -> Response<Body> {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    answer.headers_mut().insert(LOCATION, HeaderValue::from_static(ROOT));
    answer
}

fn told(status: StatusCode, line: &'static str) -> Response<Body> {
    let mut answer = Response::new(Body::new(line.to_owned()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    answer
}

const SAME_ORIGIN: HeaderValue = HeaderValue::from_static("same-origin");

/// What every answer of the console says to browsers.
fn guarded(mut answer: Response<Body>) -> Response<Body> {
    let headers: &mut HeaderMap = answer.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(HeaderName::from_static("cross-origin-resource-policy"), SAME_ORIGIN);
    headers.insert(HeaderName::from_static("permissions-policy"), PERMISSIONS);
    // Asked for again each time, and not sent where it is the same: a new server has new pages.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: Method, path: &str, tag: Option<&HeaderValue>) -> Option<Response<Body>> {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(tag) = tag {
            request = request.header(IF_NONE_MATCH, tag);
        }
        Console::new(Offers { tokens: true, idle_minutes: 15 }).answer(&request.body(()).unwrap())
    }

    #[test]
    fn files_are_served_to_readers_alone_and_once() {
        let page = asked(Method::GET, "/console/", None).unwrap();
        assert_eq!(
            (page.status(), &page.headers()[CONTENT_TYPE]),
            (StatusCode::OK, &HeaderValue::from_static(HTML))
        );
        let tag = page.headers()[ETAG].clone();
        assert_eq!(
            asked(Method::GET, "/console/index.html", Some(&tag)).unwrap().status(),
            StatusCode::NOT_MODIFIED
        );
        assert_eq!(asked(Method::HEAD, "/console/", None).unwrap().headers()[ETAG], tag);
        for path in ["/", "/console"] {
            assert_eq!(asked(Method::GET, path, None).unwrap().headers()[LOCATION], ROOT);
        }
        assert_eq!(asked(Method::POST, "/console/", None).unwrap().status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(asked(Method::GET, "/console/none", None).unwrap().status(), StatusCode::NOT_FOUND);
        for other in ["/v1/clients", "/consoles", "/openapi.json"] {
            assert!(asked(Method::GET, other, None).is_none(), "{other}");
        }
        for path in ["/console/", "/console/none", "/"] {
            let answer = asked(Method::GET, path, None).unwrap();
            assert_eq!(answer.headers()[CONTENT_SECURITY_POLICY], POLICY, "{path}");
        }
    }
}
