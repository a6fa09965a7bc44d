//! Which pages of other hosts may call: none, or those that the settings name (the Fetch standard's
//! CORS protocol).

use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, HOST, ORIGIN, VARY,
    },
};
use tonic::body::Body;

use crate::{
    acts::{Reason, Refusal},
    settings::Origins,
};

/// What a page may send.
const HEADERS: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, idempotency-key, grpc-timeout, x-grpc-web, x-user-agent",
);
/// For how long a browser may remember that.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// The origin of another host for which an answer is, if a page asks. A page of this server's
/// own host needs none.
pub(super) fn asking<B>(origins: &Origins, request: &Request<B>) -> Result<Option<HeaderValue>, Refusal> {
    let Some(origin) = request.headers().get(ORIGIN) else { return Ok(None) };
    if origins.contains(origin) {
        return Ok(Some(origin.clone()));
    }
    // HTTP/2 has it in the URI.
    let authority = request.uri().authority().map(|authority| authority.as_str().as_bytes());
    let host = authority.or(request.headers().get(HOST).map(HeaderValue::as_bytes));
    let own = origin.to_str().ok().and_then(|text| text.split_once("://")).map(|(_, host)| host.as_bytes());
    if own.is_some() && own == host {
        return Ok(None);
    }
    Err(Refusal::new(
        Reason::PermissionDenied,
        "pages of this origin may not call: the setting http.origins names those that may",
    ))
}

/// Lets a page of this origin read the answer.
pub(super) fn allow(origin: &HeaderValue, headers: &mut HeaderMap) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("retry-after"));
    headers.append(VARY, HeaderValue::from_static("origin"));
}

/// What is answered to a browser that asks before it calls.
pub(super) fn preflight(verbs: &[&Method]) -> Response<Body> {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    let verbs = verbs.iter().map(|verb| verb.as_str()).collect::<Vec<_>>().join(", ");
    let headers = answer.headers_mut();
    if let Ok(verbs) = HeaderValue::from_str(&verbs) {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, verbs);
    }
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
    headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(origins: &[&str], origin: Option<&str>, host: &str) -> Result<bool, ()> {
        let request = Request::builder().header(HOST, host);
        let request = origin.into_iter().fold(request, |request, origin| request.header(ORIGIN, origin));
        let origins = Origins::parse(&origins.join(",")).unwrap();
        asking(&origins, &request.body(()).unwrap()).map(|found| found.is_some()).map_err(|_| ())
    }

    #[test]
    fn pages_of_named_origins_and_of_the_own_host_may_call() {
        let named = ["https://console.example"];
        assert_eq!(asked(&named, None, "vendkey:1"), Ok(false));
        assert_eq!(asked(&named, Some("https://console.example"), "vendkey:1"), Ok(true));
        assert_eq!(asked(&named, Some("https://vendkey:1"), "vendkey:1"), Ok(false));
        for other in
            ["https://console.example:8443", "http://console.example", "null", "https://evil.example"]
        {
            assert_eq!(asked(&named, Some(other), "vendkey:1"), Err(()), "{other}");
        }
        assert_eq!(asked(&[], Some("https://console.example"), "vendkey:1"), Err(()));
    }
}
