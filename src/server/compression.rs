//! Whether an answer is packed: where the client wants it, not wherever it could unpack it.
//!
//! Most gRPC libraries name all that they can unpack in every call, `identity` first. Packing a
//! token's answer costs more time than it saves, so those get it as it is, unless they pack what
//! they send.

use http::{HeaderMap, HeaderValue};

const ENCODING: &str = "grpc-encoding";
const ACCEPTED: &str = "grpc-accept-encoding";
/// Not packed.
const IDENTITY: &str = "identity";

/// Leaves in the request's headers what its answer is to be packed with, if anything.
pub(super) fn choose(headers: &mut HeaderMap) {
    let Some(accepted) = headers.get(ACCEPTED).and_then(|value| value.to_str().ok()) else { return };
    let mut kinds = accepted.split(',').map(str::trim);
    let sent = headers.get(ENCODING).filter(|sent| sent.as_bytes() != IDENTITY.as_bytes());
    let same: Option<HeaderValue> = sent.filter(|sent| kinds.clone().any(|kind| *sent == kind)).cloned();
    match same {
        Some(same) => {
            headers.insert(ACCEPTED, same);
        }
        None if kinds.next() == Some(IDENTITY) => {
            headers.remove(ACCEPTED);
        }
        // The first of them that tonic knows.
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_packed_as_the_client_wants() {
        for (sent, accepted, chosen) in [
            (None, None, None),
            (None, Some("gzip"), Some("gzip")),
            (None, Some("zstd,gzip,identity"), Some("zstd,gzip,identity")),
            // Python, Node and .NET: what they can, not what they want.
            (None, Some("identity, deflate, gzip"), None),
            (Some("gzip"), Some("identity, deflate, gzip"), Some("gzip")),
            (Some("identity"), Some("identity, deflate, gzip"), None),
            (Some("zstd"), Some("gzip"), Some("gzip")),
            (Some("gzip"), None, None),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in [(ENCODING, sent), (ACCEPTED, accepted)] {
                value.map(|value| headers.insert(name, HeaderValue::from_static(value)));
            }
            choose(&mut headers);
            assert_eq!(headers.get(ACCEPTED).map(|value| value.to_str().unwrap()), chosen, "{accepted:?}");
        }
    }
}
