//! Many tokens in one call: a batch, or a stream. Both go the way of the single call, with one
//! outcome for each request.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::{Acts, Issued, Refusal, TokenAnswer, TokenOrder};
use crate::{
    access::Caller,
    vending::{IssueError, IssueOrder, RecordedOrders},
};

/// The most requests of a batch.
pub const BATCH_MAX: usize = 1_000;
/// How many requests of a stream share a commit at most.
pub const STREAM_CHUNK: usize = 512;
/// How many chunks of a stream may be on record and wait for the HSM.
const CHUNKS_AHEAD: usize = 2;

/// One of many requests for a token: what it asks for or what is wrong with it, and a label that
/// comes back with its answer.
#[derive(Debug)]
pub struct TokenRequest<T> {
    /// Whatever tells the answer's place.
    pub label: T,
    /// The parsed request.
    pub order: Result<TokenOrder, Refusal>,
}

/// The answer to one of many requests.
#[derive(Debug)]
pub struct TokenResult<T> {
    /// The request's label.
    pub label: T,
    /// Its token, or why there is none.
    pub result: Result<TokenAnswer, Refusal>,
}

/// Who sends many requests, by which call.
#[derive(Clone)]
struct Sender {
    caller: Caller,
    /// The name under which refusals are noted.
    method: &'static str,
}

/// Requests that are on record or refused.
struct Chunk<T> {
    items: Vec<Item<T>>,
    recorded: RecordedOrders,
}

enum Item<T> {
    /// The next of the recorded orders.
    Recorded(T),
    /// Nothing is left to do.
    Settled(Box<TokenResult<T>>),
}

impl Acts {
    /// Issues a batch; the answers are in the order of the requests.
    pub async fn issue_tokens<T>(
        &self,
        caller: Caller,
        requests: Vec<TokenRequest<T>>,
    ) -> Vec<TokenResult<T>> {
        let sender = Sender { caller, method: "BatchIssueTokens" };
        let chunk = self.record_chunk(&sender, requests).await;
        self.answer_chunk(&sender, chunk).await
    }

    /// Issues what a stream asks for, until it ends or nobody takes the answers. Recording and
    /// encrypting overlap; each waits for the other, and both for the reader of the answers.
    /// `shown` makes what is sent of an answer, or of the refusal that ends the stream.
    pub fn issue_stream<T, A, F>(
        self: &Arc<Self>,
        caller: Caller,
        mut requests: mpsc::Receiver<TokenRequest<T>>,
        answers: mpsc::Sender<A>,
        shown: F,
    ) where
        T: Send + 'static,
        A: Send + 'static,
        F: Fn(Result<TokenResult<T>, Refusal>) -> A + Clone + Send + Sync + 'static,
    {
        let (chunk, mut chunks) = mpsc::channel(CHUNKS_AHEAD);
        let sender = Sender { caller, method: "StreamTokens" };
        let (acts, recorder, ended, refused) = (self.clone(), sender.clone(), answers.clone(), shown.clone());
        tokio::spawn(async move {
            let mut waiting = Vec::with_capacity(STREAM_CHUNK);
            while requests.recv_many(&mut waiting, STREAM_CHUNK).await > 0 {
                let requests = std::mem::take(&mut waiting);
                // A stream may last for days: its caller may have lost rights, or the credential
                // its force.
                let recorded = match acts.admission.renewed(&recorder.caller).await {
                    Ok(caller) => acts.record_chunk(&Sender { caller, ..recorder }, requests).await,
                    Err(error) => {
                        let refusal = Refusal::from(error).issued(Issued::Maybe);
                        let _ = ended.send(refused(Err(refusal))).await;
                        return;
                    }
                };
                if chunk.send(recorded).await.is_err() {
                    return;
                }
            }
        });
        let acts = self.clone();
        tokio::spawn(async move {
            while let Some(chunk) = chunks.recv().await {
                for result in acts.answer_chunk(&sender, chunk).await {
                    if answers.send(shown(Ok(result))).await.is_err() {
                        return;
                    }
                }
            }
        });
    }

    async fn record_chunk<T>(&self, sender: &Sender, requests: Vec<TokenRequest<T>>) -> Chunk<T> {
        let mut items = Vec::with_capacity(requests.len());
        let mut orders: Vec<IssueOrder> = Vec::with_capacity(requests.len());
        for TokenRequest { label, order } in requests {
            // Counted as a single call is, whether or not it can be read.
            items.push(match self.admission.count(&sender.caller).and(order) {
                Ok(TokenOrder::Encrypted(order)) => {
                    orders.push(order);
                    Item::Recorded(label)
                }
                Ok(TokenOrder::MeterTest(order)) => {
                    let result = self.issue_meter_test(&sender.caller, order).await;
                    Item::Settled(Box::new(self.settled(sender, label, result)))
                }
                Err(refusal) => Item::Settled(Box::new(self.settled(sender, label, Err(refusal)))),
            });
        }
        Chunk { items, recorded: self.vending.record_many(&sender.caller, &orders).await }
    }

    async fn answer_chunk<T>(&self, sender: &Sender, chunk: Chunk<T>) -> Vec<TokenResult<T>> {
        let mut tokens = self.vending.encrypt_many(chunk.recorded).await.into_iter();
        let answered = |item| match item {
            Item::Settled(result) => *result,
            Item::Recorded(label) => {
                let token = tokens.next().unwrap_or(Err(IssueError::Fault("an order was lost")));
                let result = token.map(TokenAnswer::Encrypted).map_err(Refusal::from);
                self.settled(sender, label, result)
            }
        };
        chunk.items.into_iter().map(answered).collect()
    }

    /// The answer to one request, noted if it is a refusal.
    fn settled<T>(&self, sender: &Sender, label: T, result: Result<TokenAnswer, Refusal>) -> TokenResult<T> {
        if let Err(refusal) = &result {
            self.admission.note(Some(&sender.caller), sender.method, refusal.reason.text());
        }
        TokenResult { label, result }
    }
}
