//! The console: pages for administrators in a browser, one more client of HTTP with JSON.
//!
//! Static files, in the binary as they are in `files/`: no build step, nothing of another host, no
//! cookies. What they may do in a browser is said by a strict Content-Security-Policy; what they may
//! do here, by the credential that a person gives to them. The page keeps it in memory alone.

mod files;

use std::{collections::BTreeMap, io::Write as _, sync::Arc};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode,
    header::{
        ACCEPT, ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH,
        CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LOCATION, REFERRER_POLICY, VARY,
        X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
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
    /// Whether tokens are issued at the same address. Where administration has one of its own they
    /// are only read there.
    pub issues: bool,
    /// After how many minutes somebody who does nothing is signed out.
    pub idle_minutes: u32,
}

/// The console at one address. Clones share it.
#[derive(Clone, Debug)]
pub struct Console(Arc<BTreeMap<&'static str, File>>);

#[derive(Debug)]
struct File {
    kind: &'static str,
    plain: Form,
    packed: Form,
}

/// A form of a file, with the tag by which a browser knows it again.
#[derive(Debug)]
struct Form {
    content: Bytes,
    tag: HeaderValue,
}

impl Form {
    fn new(content: Bytes) -> Self {
        let digest = hex::encode(&Sha256::digest(&content)[..16]);
        let tag = HeaderValue::from_str(&format!("\"{digest}\""));
        Self { content, tag: tag.unwrap_or(HeaderValue::from_static("\"\"")) }
    }
}

impl File {
    fn new(kind: &'static str, content: Bytes) -> Self {
        let mut packer = GzEncoder::new(Vec::new(), Compression::best());
        // Memory takes all that is written.
        let packed = packer.write_all(&content).and_then(|()| packer.finish()).unwrap_or_default();
        Self { kind, plain: Form::new(content), packed: Form::new(packed.into()) }
    }
}

impl Console {
    /// With what is offered at its address.
    pub fn new(offers: Offers) -> Self {
        let files = FILES.iter().map(|(name, kind, content)| (*name, File::new(kind, (*content).into())));
        let Offers { issues, idle_minutes } = offers;
        let offers = serde_json::json!({"issues": issues, "idleMinutes": idle_minutes}).to_string();
        let offers = (OFFERS, File::new(JSON, offers.into()));
        Self(Arc::new(files.chain([offers]).collect()))
    }

    /// The answer to a request for one of its files; `None`: the request is none of its own.
    pub fn answer<B>(&self, request: &Request<B>) -> Option<Response<Body>> {
        let path = request.uri().path();
        let name = match path {
            // Who types the address alone into a browser is led here.
            "/" if listed(request, &ACCEPT).any(|kind| kind == "text/html") => None,
            "/console" => None,
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
    let packs = listed(request, &ACCEPT_ENCODING).any(|kind| kind == "gzip");
    let Form { content, tag } = if packs { &file.packed } else { &file.plain };
    let unchanged = listed(request, &IF_NONE_MATCH).any(|known| known.as_bytes() == tag.as_bytes());
    let head = request.method() == Method::HEAD;
    let body = match unchanged || head {
        true => Body::empty(),
        false => Body::new(Full::new(content.clone())),
    };
    let mut answer = Response::new(body);
    if unchanged {
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(file.kind));
    headers.insert(ETAG, tag.clone());
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    if packs {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    if head {
        headers.insert(CONTENT_LENGTH, content.len().into());
    }
    if file.kind == HTML {
        // No page of another host shares a group of windows with it.
        headers.insert(HeaderName::from_static("cross-origin-opener-policy"), SAME_ORIGIN);
    }
    answer
}

/// What headers of a name list, parted by commas.
fn listed<'a, B>(request: &'a Request<B>, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let texts = request.headers().get_all(name).into_iter().filter_map(|text| text.to_str().ok());
    texts.flat_map(|text| text.split(',')).map(str::trim)
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

    fn console() -> Console {
        Console::new(Offers { issues: true, idle_minutes: 15 })
    }

    fn asked(method: Method, path: &str, tag: Option<&HeaderValue>) -> Option<Response<Body>> {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(tag) = tag {
            request = request.header(IF_NONE_MATCH, tag);
        }
        console().answer(&request.body(()).unwrap())
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
        assert_eq!(asked(Method::GET, "/console", None).unwrap().headers()[LOCATION], ROOT);
        let browser = Request::builder().uri("/").header(ACCEPT, "text/html,application/xhtml+xml").body(());
        let led = console().answer(&browser.unwrap()).unwrap();
        assert_eq!(led.headers()[LOCATION], ROOT);
        assert_eq!(asked(Method::POST, "/console/", None).unwrap().status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(asked(Method::GET, "/console/none", None).unwrap().status(), StatusCode::NOT_FOUND);
        for other in ["/", "/v1/clients", "/consoles", "/openapi.json"] {
            assert!(asked(Method::GET, other, None).is_none(), "{other}");
        }
        let packed =
            Request::builder().uri("/console/console.css").header(ACCEPT_ENCODING, "br, gzip").body(());
        let packed = console().answer(&packed.unwrap()).unwrap();
        assert_eq!(packed.headers()[CONTENT_ENCODING], "gzip");
        let plain = asked(Method::GET, "/console/console.css", None).unwrap();
        assert!(!plain.headers().contains_key(CONTENT_ENCODING));
        assert_ne!(packed.headers()[ETAG], plain.headers()[ETAG], "one tag for two contents");
        for path in ["/console/", "/console/none", "/console"] {
            let answer = asked(Method::GET, path, None).unwrap();
            assert_eq!(answer.headers()[CONTENT_SECURITY_POLICY], POLICY, "{path}");
        }
    }
}
