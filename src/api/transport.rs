//! What the transport refuses by itself, in the form of all refusals: with a reason, and whether a
//! token may exist.

use http::HeaderMap;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::acts::{Issued, Reason, Refusal};

/// The header by which a server tells what it can unpack.
const ACCEPTED: &str = "grpc-accept-encoding";

/// The reason of an answer that is no success, from its headers or trailers. A bare status, as the
/// transport gives one, becomes a refusal with `issued` there.
pub(crate) fn explain(headers: &mut HeaderMap, issued: Issued) -> Option<String> {
    headers.get("grpc-status").filter(|status| status.as_bytes() != b"0")?;
    let status = Status::from_header_map(headers)?;
    if let Some(info) = status.get_error_details().error_info() {
        return Some(info.reason.clone());
    }
    let reason = reason(status.code(), headers.contains_key(ACCEPTED));
    let text = if status.message().is_empty() { reason.advice() } else { status.message() };
    // What it had besides, such as ACCEPTED, stays.
    headers.remove("grpc-message");
    let _ = Status::from(Refusal::new(reason, text).issued(issued)).add_header(headers);
    Some(reason.text().to_owned())
}

/// What the transport means by a status. Our own services give none without a reason.
fn reason(code: Code, names_encodings: bool) -> Reason {
    match code {
        Code::Unimplemented if names_encodings => Reason::CompressionUnsupported,
        Code::Unimplemented => Reason::MethodUnknown,
        // Tonic says the one of a message as it came, the other of one that was unpacked.
        Code::OutOfRange | Code::ResourceExhausted => Reason::MessageTooLarge,
        Code::DeadlineExceeded => Reason::DeadlinePassed,
        // Of reflection.
        Code::NotFound => Reason::SymbolNotFound,
        Code::InvalidArgument => Reason::InvalidFields,
        _ => Reason::MessageMalformed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(status: &Status, issued: Issued) -> (Option<String>, HeaderMap) {
        let mut headers = HeaderMap::new();
        status.add_header(&mut headers).unwrap();
        (explain(&mut headers, issued), headers)
    }

    #[test]
    fn a_bare_status_becomes_a_refusal() {
        let bare = Status::out_of_range("Error, decoded message length too large");
        let (reason, headers) = explained(&bare, Issued::Maybe);
        assert_eq!(reason.as_deref(), Some("MESSAGE_TOO_LARGE"));
        let status = Status::from_header_map(&headers).unwrap();
        assert_eq!((status.code(), status.message()), (Code::ResourceExhausted, bare.message()));
        let info = status.get_error_details().error_info().cloned().unwrap();
        assert_eq!((info.domain.as_str(), info.metadata["issued"].as_str()), ("vendkey", "maybe"));

        let (reason, headers) = explained(&Status::unimplemented(""), Issued::No);
        assert_eq!(reason.as_deref(), Some("METHOD_UNKNOWN"));
        assert!(!Status::from_header_map(&headers).unwrap().message().is_empty());
    }

    #[test]
    fn what_has_a_reason_or_succeeds_stays() {
        let refusal = Status::from(Refusal::new(Reason::TokenNotFound, "none"));
        let (reason, headers) = explained(&refusal, Issued::Maybe);
        assert_eq!(reason.as_deref(), Some("TOKEN_NOT_FOUND"));
        assert_eq!(Status::from_header_map(&headers).unwrap().details(), refusal.details());
        assert_eq!(explained(&Status::ok(""), Issued::Maybe).0, None);
        assert_eq!(explain(&mut HeaderMap::new(), Issued::Maybe), None);
    }

    #[test]
    fn the_header_of_encodings_stays() {
        let mut bare = Status::unimplemented("compressed with `br`");
        bare.metadata_mut().insert(ACCEPTED, "gzip,zstd,identity".parse().unwrap());
        let (reason, headers) = explained(&bare, Issued::No);
        assert_eq!(reason.as_deref(), Some("COMPRESSION_UNSUPPORTED"));
        assert_eq!(headers[ACCEPTED], "gzip,zstd,identity");
    }
}
