//! What a request speaks. gRPC over HTTP/2 alone is served; anything else is told so in one line,
//! and nothing is done.

use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{ALLOW, CONNECTION, CONTENT_TYPE},
};
use tonic::body::Body;

use crate::http::media_type;

/// What is told to whoever speaks something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Foreign {
    /// HTTP/1, which carries no gRPC.
    Version,
    /// No method of gRPC.
    Method,
    /// A content that is no gRPC, or a form of it that is not spoken here (JSON messages).
    Content,
}

impl Foreign {
    /// What is foreign about a request, if anything is.
    pub(super) fn of<B>(request: &Request<B>) -> Option<Self> {
        if request.version() < Version::HTTP_2 {
            Some(Self::Version)
        } else if request.method() != Method::POST {
            Some(Self::Method)
        } else if !is_grpc(request.headers()) {
            Some(Self::Content)
        } else {
            None
        }
    }

    /// As a label.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Version => "HTTP_505",
            Self::Method => "HTTP_405",
            Self::Content => "HTTP_415",
        }
    }

    /// The answer to a request of this method.
    pub(super) fn answer(self, method: &Method) -> Response<Body> {
        let (status, line) = match self {
            Self::Version => (
                StatusCode::HTTP_VERSION_NOT_SUPPORTED,
                "gRPC speaks HTTP/2: use a gRPC client such as grpcurl, or JSON at the paths of /openapi.json\n",
            ),
            Self::Method => {
                (StatusCode::METHOD_NOT_ALLOWED, "this is a gRPC server: its methods take POST alone\n")
            }
            Self::Content => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "this is a gRPC server: its methods take content-type application/grpc alone\n",
            ),
        };
        // Nothing may follow the headers of an answer to HEAD.
        let body = if method == Method::HEAD { Body::empty() } else { Body::new(line.to_owned()) };
        let mut answer = Response::new(body);
        *answer.status_mut() = status;
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        if self == Self::Version {
            // Nothing else will come that is spoken here.
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if self == Self::Method {
            headers.insert(ALLOW, HeaderValue::from_static("POST"));
        }
        answer
    }
}

/// `application/grpc`, or `application/grpc+proto`, and perhaps parameters.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = media_type(headers);
    kind.eq_ignore_ascii_case(b"application/grpc") || kind.eq_ignore_ascii_case(b"application/grpc+proto")
}

/// The bytes of a header list as HTTP/2 counts them (RFC 9113 §6.5.2): names, values, and 32 for
/// each.
pub(super) fn header_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(version: Version, method: Method, content: Option<&str>) -> Request<()> {
        let builder = Request::builder().version(version).method(method);
        let builder = content.into_iter().fold(builder, |builder, kind| builder.header(CONTENT_TYPE, kind));
        builder.body(()).unwrap()
    }

    #[test]
    fn grpc_is_known_by_its_content_type() {
        for kind in [
            "application/grpc",
            "application/grpc+proto",
            "Application/GRPC",
            "application/grpc; charset=utf-8",
            "application/grpc ;x=y",
        ] {
            assert_eq!(Foreign::of(&request(Version::HTTP_2, Method::POST, Some(kind))), None, "{kind}");
        }
        for kind in [
            "",
            "text/plain",
            "application/json",
            "application/x-www-form-urlencoded",
            "application/grpc+json",
            "application/grpc-web",
            "application/grpc-web+proto",
            "application/grpc-web-text",
            "application/grpcx",
            "application/proto",
            "application/octet-stream",
        ] {
            let found = Foreign::of(&request(Version::HTTP_2, Method::POST, Some(kind)));
            assert_eq!(found, Some(Foreign::Content), "{kind}");
        }
        let none = request(Version::HTTP_2, Method::POST, None);
        assert_eq!(Foreign::of(&none), Some(Foreign::Content));
    }

    #[test]
    fn a_wrong_method_and_an_old_version_are_told_first() {
        let grpc = Some("application/grpc");
        for method in [Method::GET, Method::HEAD, Method::PUT, Method::OPTIONS, Method::DELETE] {
            assert_eq!(Foreign::of(&request(Version::HTTP_2, method, grpc)), Some(Foreign::Method));
        }
        for version in [Version::HTTP_10, Version::HTTP_11] {
            assert_eq!(Foreign::of(&request(version, Method::GET, None)), Some(Foreign::Version));
        }
        assert_eq!(Foreign::Method.answer(&Method::GET).headers()[ALLOW], "POST");
    }
}
