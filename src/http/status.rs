//! Refusals over HTTP: the status that goes with a code, and `google.rpc.Status` as JSON.

use http::{HeaderMap, HeaderValue, StatusCode, header::RETRY_AFTER, header::WWW_AUTHENTICATE};
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::json;
use tonic::{Code, Status};
use tonic_types::{StatusExt as _, pb};

use crate::acts::Reason;

/// The status of HTTP for a code, as google/rpc/code.proto maps them, and for those few reasons that
/// HTTP has a status of its own for.
pub(super) fn of(status: &Status) -> StatusCode {
    let info = status.get_error_details().error_info().map(|info| info.reason.clone());
    match info.as_deref() {
        Some(reason) if reason == Reason::MessageTooLarge.text() => return StatusCode::PAYLOAD_TOO_LARGE,
        Some(reason) if reason == Reason::MetadataTooLarge.text() => {
            return StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        }
        Some(reason) if reason == Reason::MethodUnknown.text() => return StatusCode::NOT_FOUND,
        _ => {}
    }
    match status.code() {
        Code::Ok => StatusCode::OK,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        // The client is gone; nobody reads it.
        Code::Cancelled => StatusCode::BAD_REQUEST,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::DataLoss | Code::Internal | Code::Unknown => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// `google.rpc.Status` as JSON, with the same details as over gRPC.
pub(super) fn json(pool: &DescriptorPool, status: &Status) -> String {
    let bare = || json!({"code": i32::from(status.code()), "message": status.message()}).to_string();
    // It is the whole message, code and text included; a status without details has none.
    if status.details().is_empty() {
        return bare();
    }
    let Some(described) = pool.get_message_by_name("google.rpc.Status") else { return bare() };
    let message = pb::Status::decode(status.details()).map(|status| status.encode_to_vec());
    let Ok(bytes) = message else { return bare() };
    let message = DynamicMessage::decode(described, bytes.as_slice());
    message.ok().and_then(|message| serde_json::to_string(&message).ok()).unwrap_or_else(bare)
}

/// The headers that HTTP has for what a refusal says.
pub(super) fn headers(status: &Status, headers: &mut HeaderMap) {
    if status.code() == Code::Unauthenticated {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    let details = status.get_error_details();
    let after = details.retry_info().and_then(|info| info.retry_delay);
    if let Some(after) = after {
        // Whole seconds, never too early.
        let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
}
