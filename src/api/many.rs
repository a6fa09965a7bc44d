//! Many tokens in one call: a batch, or a stream. Both go the way of the single call, with one outcome for each request.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use prost::Message as _;
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Extensions, Status, Streaming};

use super::{
    authentication::Door,
    token::{self, Parsed},
    v1::{self, token_result::Result as Outcome},
};
use crate::{
    access::{AccessError, Caller},
    acts::{Issued, Reason, Refusal},
    vending::{Asked, IssueOrder, RecordedOrders, Vending},
};

/// The most requests of a batch.
pub(super) const MOST: usize = 1_000;
/// How many requests of a stream share a commit at most.
const CHUNK: usize = 512;
/// The largest request of a stream, in bytes: whoever sends larger ones wants the server's memory, and no token.
const LARGEST: usize = 16_384;
/// How many chunks of a stream may be on record and wait for the HSM.
const AHEAD: usize = 2;

/// Who asks for many tokens, and where what is refused is noted.
#[derive(Clone)]
pub(super) struct Asking {
    pub(super) caller: Caller,
    door: Option<Arc<Door>>,
    method: &'static str,
}

impl Asking {
    /// From the extensions of a call.
    pub(super) fn new(caller: Caller, extensions: &Extensions, method: &'static str) -> Self {
        Self { caller, door: extensions.get::<Arc<Door>>().cloned(), method }
    }

    /// The same with the caller as he is now.
    async fn renewed(&self) -> Result<Self, AccessError> {
        match &self.door {
            Some(door) => Ok(Self { caller: door.renewed(&self.caller).await?, ..self.clone() }),
            None => Ok(self.clone()),
        }
    }

    /// Counts one request, as a single call would count.
    fn take(&self) -> Result<(), Refusal> {
        self.door.as_ref().map_or(Ok(()), |door| door.take(&self.caller))
    }

    fn refused(&self, request_id: String, refusal: Refusal) -> v1::TokenResult {
        if let Some(door) = &self.door {
            door.note(&self.caller, self.method, refusal.reason.text());
        }
        v1::TokenResult { request_id, result: Some(Outcome::Refusal(refusal.into())) }
    }
}

/// Requests that are on record or refused.
struct Chunk {
    items: Vec<Item>,
    recorded: RecordedOrders,
}

enum Item {
    /// The next of the recorded orders.
    Order { request_id: String, asked: Asked, finer: bool },
    /// Nothing is left to do.
    Done(Box<v1::TokenResult>),
}

/// Issues a batch.
pub(super) async fn batch(
    vending: &Vending,
    asking: &Asking,
    requests: Vec<v1::IssueTokenRequest>,
    deadline: Option<Instant>,
) -> Vec<v1::TokenResult> {
    let chunk = record(vending, asking, requests, deadline).await;
    answer(vending, asking, chunk).await
}

/// Issues what a stream asks for. Recording and encrypting overlap; each waits for the other, and both for the reader of the answers.
pub(super) fn stream(
    vending: Arc<Vending>,
    asking: Asking,
    mut inbound: Streaming<v1::IssueTokenRequest>,
    idle: Duration,
) -> ReceiverStream<Result<v1::TokenResult, Status>> {
    let (request, mut requests) = mpsc::channel(CHUNK);
    let (chunk, mut chunks) = mpsc::channel(AHEAD);
    let (answers, answered) = mpsc::channel(CHUNK);
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
                    if request.send(next).await.is_err() {
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
    let (recording, recorder, ended) = (vending.clone(), asking.clone(), answers.clone());
    tokio::spawn(async move {
        let mut waiting = Vec::with_capacity(CHUNK);
        while requests.recv_many(&mut waiting, CHUNK).await > 0 {
            let requests = std::mem::take(&mut waiting);
            // A stream may last for days: its caller may have lost rights, or the credential its force.
            let recorded = match recorder.renewed().await {
                Ok(recorder) => record(&recording, &recorder, requests, None).await,
                Err(error) => {
                    let refusal = Refusal::from(error).issued(Issued::Maybe);
                    let _ = ended.send(Err(refusal.into())).await;
                    return;
                }
            };
            if chunk.send(recorded).await.is_err() {
                return;
            }
        }
    });
    tokio::spawn(async move {
        while let Some(chunk) = chunks.recv().await {
            for result in answer(&vending, &asking, chunk).await {
                if answers.send(Ok(result)).await.is_err() {
                    return;
                }
            }
        }
    });
    ReceiverStream::new(answered)
}

fn too_large() -> Status {
    let fault = ("request".to_owned(), format!("at most {LARGEST} bytes are expected"));
    Refusal::fields(Reason::InvalidFields, vec![fault]).issued(Issued::Maybe).into()
}

/// Whatever came before has its answer, unless the HSM was slower than the client was idle.
fn ended_idle() -> Status {
    Refusal::new(Reason::StreamIdle, "nothing came on this stream for too long").issued(Issued::Maybe).into()
}

async fn record(
    vending: &Vending,
    asking: &Asking,
    requests: Vec<v1::IssueTokenRequest>,
    deadline: Option<Instant>,
) -> Chunk {
    let mut items = Vec::with_capacity(requests.len());
    let mut orders: Vec<IssueOrder> = Vec::with_capacity(requests.len());
    for request in requests {
        let request_id = request.request_id.clone();
        let finer = token::has_finer_amount(&request);
        items.push(match asking.take().and_then(|()| token::parse(request, deadline)) {
            Ok(Parsed::Sequenced(order)) => {
                let asked = order.asked;
                orders.push(order);
                Item::Order { request_id, asked, finer }
            }
            Ok(Parsed::Display { request_id: id, display }) => Item::Done(Box::new(
                match vending.issue_display(&asking.caller, id, display, deadline).await {
                    Ok((row, replay)) => issued(request_id, token::displayed(&row, display, replay)),
                    Err(error) => asking.refused(request_id, error.into()),
                },
            )),
            Err(refusal) => Item::Done(Box::new(asking.refused(request_id, refusal))),
        });
    }
    Chunk { items, recorded: vending.record_many(&asking.caller, &orders).await }
}

async fn answer(vending: &Vending, asking: &Asking, chunk: Chunk) -> Vec<v1::TokenResult> {
    let mut tokens = vending.encrypt_many(chunk.recorded).await.into_iter();
    let answered = |item| match item {
        Item::Done(result) => *result,
        Item::Order { request_id, asked, finer } => {
            let token = tokens.next().unwrap_or(Err(crate::vending::IssueError::Fault("an order was lost")));
            match token.map_err(Refusal::from).and_then(|token| token::sequenced(&token, asked, finer)) {
                Ok(token) => issued(request_id, token),
                Err(refusal) => asking.refused(request_id, refusal),
            }
        }
    };
    chunk.items.into_iter().map(answered).collect()
}

fn issued(request_id: String, token: v1::IssuedToken) -> v1::TokenResult {
    v1::TokenResult { request_id, result: Some(Outcome::Token(token)) }
}
