//! Many tokens in one call: the messages of a batch and of a stream.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use prost::Message as _;
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::{
    issue::{self, Wanted},
    v1::{self, token_result::Result as Outcome},
};
use crate::{
    access::Caller,
    acts::{Acts, Issued, Reason, Refusal, STREAM_CHUNK, TokenRequest, TokenResult},
};

/// The largest request of a stream, in bytes: whoever sends larger ones wants the server's memory,
/// and no token.
const LARGEST: usize = 16_384;

/// Which request an answer is to.
pub(super) struct Label {
    request_id: String,
    wanted: Wanted,
}

/// Parses one of many requests.
pub(super) fn request(request: v1::IssueTokenRequest, deadline: Option<Instant>) -> TokenRequest<Label> {
    let request_id = request.request_id.clone();
    let (wanted, order) = issue::parse(request, deadline);
    TokenRequest { label: Label { request_id, wanted }, order }
}

/// The answer to one of many requests.
pub(super) fn result(TokenResult { label, result }: TokenResult<Label>) -> v1::TokenResult {
    let outcome = match result.and_then(|answer| issue::shown(&answer, label.wanted)) {
        Ok(token) => Outcome::Token(token),
        Err(refusal) => Outcome::Refusal(refusal.into()),
    };
    v1::TokenResult { request_id: label.request_id, result: Some(outcome) }
}

/// Issues what a stream asks for. One on which nothing comes for `idle` is ended.
pub(super) fn open(
    acts: &Arc<Acts>,
    caller: Caller,
    mut inbound: Streaming<v1::IssueTokenRequest>,
    idle: Duration,
) -> ReceiverStream<Result<v1::TokenResult, Status>> {
    let (requests, parsed) = mpsc::channel(STREAM_CHUNK);
    let (answers, answered) = mpsc::channel(STREAM_CHUNK);
    let broken = answers.clone();
    tokio::spawn(async move {
        loop {
            // Whole messages count, not bytes: a client that trickles holds no stream open.
            let next = timeout(idle, inbound.message()).await.unwrap_or_else(|_| Err(ended_idle()));
            match next {
                Ok(Some(next)) if next.encoded_len() > LARGEST => {
                    let _ = broken.send(Err(too_large())).await;
                    return;
                }
                Ok(Some(next)) => {
                    if requests.send(request(next, None)).await.is_err() {
                        return;
                    }
                }
                Ok(None) => return,
                Err(status) => {
                    let _ = broken.send(Err(status)).await;
                    return;
                }
            }
        }
    });
    acts.issue_stream(caller, parsed, answers, |answer| answer.map(result).map_err(Status::from));
    ReceiverStream::new(answered)
}

fn too_large() -> Status {
    Refusal::field("request", format!("at most {LARGEST} bytes are expected")).issued(Issued::Maybe).into()
}

/// Whatever came before has its answer, unless the HSM was slower than the client was idle.
fn ended_idle() -> Status {
    Refusal::new(Reason::StreamIdle, "nothing came on this stream for too long").issued(Issued::Maybe).into()
}
