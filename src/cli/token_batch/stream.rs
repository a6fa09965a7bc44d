//! Asks for rows over a stream and hands the answers on in the order of the rows.

use std::{collections::VecDeque, io};

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use super::output::Answer;
use crate::{
    acts::Reason,
    api::v1::{
        IssueTokenRequest, Refusal, TokenResult, token_result, token_service_client::TokenServiceClient,
    },
    connection::Authorized,
    table::Row,
};

/// A row that is asked for.
pub(super) struct Asked {
    pub(super) row: Row,
    pub(super) request: IssueTokenRequest,
}

/// How many rows may be asked for and not answered.
pub(super) const WINDOW: usize = 4_096;

/// What ended a stream before its end.
pub(super) enum Stop {
    /// It may pass.
    Passing(String),
    /// Asking again is no use: the server takes no call of this client.
    Refused(Code, String),
    /// The output cannot be written.
    Output(io::Error),
}

impl From<tonic::Status> for Stop {
    fn from(status: tonic::Status) -> Self {
        let text = status.message().to_owned();
        match status.code() {
            code @ (Code::Unauthenticated | Code::PermissionDenied | Code::Unimplemented) => {
                Self::Refused(code, text)
            }
            _ => Self::Passing(text),
        }
    }
}

/// Asks for the rows and hands each answer on, in order, taking answered rows away.
///
/// # Errors
/// What stopped it before the end.
pub(super) async fn ask(
    mut client: TokenServiceClient<Authorized>,
    rows: &mut VecDeque<Asked>,
    mut answered: impl FnMut(&Row, Answer) -> io::Result<()>,
) -> Result<(), Stop> {
    let requests: Vec<IssueTokenRequest> = rows.iter().map(|asked| asked.request.clone()).collect();
    let (sender, receiver) = mpsc::channel(WINDOW);
    let send = async move {
        for request in requests {
            if sender.send(request).await.is_err() {
                break;
            }
        }
    };
    let receive = async {
        let mut results = client.stream_tokens(ReceiverStream::new(receiver)).await?.into_inner();
        while let Some(asked) = rows.front() {
            let result = results.message().await?;
            let result = result.ok_or_else(|| Stop::Passing("the server ended the stream".to_owned()))?;
            answered(&asked.row, answer(result)?).map_err(Stop::Output)?;
            rows.pop_front();
        }
        Ok(())
    };
    tokio::join!(send, receive).1
}

/// Reasons of a server that issues nothing: they say nothing of a row, and another server, or the
/// same one later, may issue it.
const OF_THE_SERVER: [Reason; 4] =
    [Reason::ClockInDoubt, Reason::LedgerBehindCheckpoint, Reason::LedgerTakenOver, Reason::SelftestFailed];

/// What became of a row; a refusal that may pass, that is about the server, or behind which a token
/// may be, is none.
fn answer(result: TokenResult) -> Result<Answer, Stop> {
    match result.result {
        Some(token_result::Result::Token(token)) => Ok(Answer::Token {
            token: token.token,
            tid: token.tid.map(|tid| tid.value.to_string()).unwrap_or_default(),
            name: token.name,
        }),
        Some(token_result::Result::Refusal(refusal))
            if refusal.maybe_issued
                || refusal.retry_after_ms > 0
                || OF_THE_SERVER.iter().any(|reason| reason.text() == refusal.reason) =>
        {
            Err(Stop::Passing(refusal.message))
        }
        Some(token_result::Result::Refusal(Refusal { reason, message, field_violations, .. })) => {
            let fields: Vec<String> = field_violations
                .iter()
                .map(|violation| format!("{}: {}", violation.field, violation.description))
                .collect();
            Ok(Answer::Refusal {
                reason,
                message: if fields.is_empty() { message } else { fields.join("; ") },
            })
        }
        None => Err(Stop::Passing("an answer without a result".to_owned())),
    }
}
