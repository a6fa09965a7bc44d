//! Callers who come at the same time: their tokens go together.
//!
//! A token alone takes a place in two queues, and each step wakes somebody for it: the ledger, the caller, the HSM, the caller again. Under
//! load that costs more than the token. So whatever comes while others are on their way waits and goes as one: one command to the
//! ledger, one job for each key in the HSM, and the answers leave at once. Who comes alone waits for nobody.

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc, oneshot};

use super::issue::{IssueOrder, IssuedToken, Ready};
use super::{IssueError, Vending};
use crate::access::Caller;

/// Tokens that go together at most: what one waits for.
const MOST: usize = 128;
/// Groups on their way: one at the ledger, one in the HSM, and one that waits for it.
const GROUPS: usize = 3;
/// Callers that wait for a group. Those for whom there is no room try alone, and meet the queues' own limits.
const ROOM: usize = 4_096;

/// Issues single tokens, in groups under load.
pub struct Together {
    vending: Arc<Vending>,
    queue: mpsc::Sender<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    ready: Ready,
    reply: oneshot::Sender<Result<IssuedToken, NotIssued>>,
}

/// Why a group has no token for a caller.
#[derive(Debug)]
enum NotIssued {
    /// For this reason.
    Refused(IssueError),
    /// The group failed before the ledger looked: alone it comes to what is right.
    AskAlone,
}

impl Together {
    /// Starts the task that gathers. It ends when this is dropped.
    pub fn start(vending: Arc<Vending>) -> Self {
        let (queue, waiting) = mpsc::channel(ROOM);
        tokio::spawn(gather(vending.clone(), waiting));
        Self { vending, queue }
    }

    /// As [`Vending::issue`].
    pub async fn issue(&self, caller: &Caller, order: IssueOrder) -> Result<IssuedToken, IssueError> {
        if let Ok(ready) = self.vending.check(caller, &order).await {
            let (reply, answered) = oneshot::channel();
            if self.queue.try_send(Waiting { ready, reply }).is_ok() {
                match answered.await {
                    Ok(Ok(issued)) => return Ok(issued),
                    Ok(Err(NotIssued::Refused(error))) => return Err(error),
                    // Whatever became of the group, the request's id keeps it from being issued twice.
                    Ok(Err(NotIssued::AskAlone)) | Err(_) => {}
                }
            }
        }
        // What is refused may have been issued before, which is seldom and looked for there.
        self.vending.issue(caller, order).await
    }
}

async fn gather(vending: Arc<Vending>, mut queue: mpsc::Receiver<Waiting>) {
    let groups = Arc::new(Semaphore::new(GROUPS));
    let mut waiting = Vec::with_capacity(MOST);
    loop {
        // The place first: the longer it takes, the more go together.
        let Ok(place) = groups.clone().acquire_owned().await else { return };
        if queue.recv_many(&mut waiting, MOST).await == 0 {
            return;
        }
        // Who went away needs no token.
        waiting.retain(|waiting: &Waiting| !waiting.reply.is_closed());
        let (ready, replies): (Vec<_>, Vec<_>) =
            waiting.drain(..).map(|Waiting { ready, reply }| (ready, reply)).unzip();
        let (recorded, answered) = vending.record_ready(ready).await;
        let vending = vending.clone();
        tokio::spawn(async move {
            let settled: Vec<bool> = recorded
                .on_record()
                .zip(answered)
                .map(|(on_record, answered)| on_record || answered)
                .collect();
            let tokens = vending.encrypt_many(recorded).await;
            for ((reply, token), settled) in replies.into_iter().zip(tokens).zip(settled) {
                let answer = match token {
                    Err(_) if !settled => Err(NotIssued::AskAlone),
                    token => token.map_err(NotIssued::Refused),
                };
                // Who has gone asks again by the same request id.
                let _ = reply.send(answer);
            }
            drop(place);
        });
    }
}
