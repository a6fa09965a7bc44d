//! What waits for the committer: orders of tokens, and acts of any result type.

use tokio::sync::oneshot;

use crate::ledger::{NewToken, Recorded};
use crate::store::writing::Writing;
use crate::store::{LedgerError, Outcome, StoreError};

/// What a command answers: its result or a refusal of its own type, or a failure of the store.
pub(super) type Answer<T, R> = Result<Result<T, R>, StoreError>;

/// What an order of a token comes to.
pub(super) type Recording = Result<Recorded, LedgerError>;

/// What waits for the committer.
pub(super) enum Command<T> {
    /// Tokens to record: values, so that they can be decided again.
    Orders(Orders),
    /// Anything else.
    Act(Kind, Box<dyn Act<T>>),
}

/// What a command does with rows under seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It may write them.
    Rows,
    /// Nothing.
    Note,
}

pub(super) struct Orders {
    pub(super) orders: Vec<NewToken>,
    pub(super) found: Vec<Recording>,
    pub(super) reply: oneshot::Sender<Vec<Recording>>,
}

/// A command of any result type.
pub(super) trait Act<T>: Send {
    /// Whether nobody waits for its answer any more.
    fn is_abandoned(&self) -> bool;
    /// Runs it, again where it was taken back, and keeps the answer. `Ok(true)`: keep what it
    /// wrote; `Ok(false)`: take it back.
    fn run(&mut self, writing: &mut Writing<T>) -> Result<bool, StoreError>;
    /// Tells the caller what it found, or the failure that befell the whole transaction.
    fn answer(self: Box<Self>, failure: Option<&StoreError>);
}

pub(super) struct Task<A, R, F> {
    pub(super) work: F,
    pub(super) found: Option<Answer<A, R>>,
    pub(super) reply: oneshot::Sender<Answer<A, R>>,
}

impl<T, A, R, F> Act<T> for Task<A, R, F>
where
    A: Send,
    R: Send,
    F: FnOnce(&mut Writing<T>) -> Answer<A, R> + Clone + Send,
{
    fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    fn run(&mut self, writing: &mut Writing<T>) -> Result<bool, StoreError> {
        let found = self.work.clone()(writing);
        let keep = match &found {
            Ok(Ok(_)) => true,
            Err(error) if error.spoils_transaction() => return Err(error.clone()),
            Ok(Err(_)) | Err(_) => false,
        };
        self.found = Some(found);
        Ok(keep)
    }

    fn answer(self: Box<Self>, failure: Option<&StoreError>) {
        let answer = match (failure, self.found) {
            (Some(error), _) => Err(error.clone()),
            (None, Some(found)) => found,
            (None, None) => Err(StoreError::Closed { outcome: Outcome::NotDone }),
        };
        // Callers who went away repeat their call.
        let _ = self.reply.send(answer);
    }
}

impl Orders {
    /// Tells the caller what it found, or the failure that befell the whole transaction.
    pub(super) fn answer(mut self, failure: Option<&StoreError>) {
        if let Some(error) = failure {
            self.found = vec![Err(error.clone().into()); self.orders.len()];
        }
        // Callers who went away find the tokens by repeating their request ids.
        let _ = self.reply.send(self.found);
    }
}

impl<T> Command<T> {
    pub(super) fn is_abandoned(&self) -> bool {
        match self {
            Self::Orders(orders) => orders.reply.is_closed(),
            Self::Act(_, act) => act.is_abandoned(),
        }
    }

    /// Whether it may write rows under seal.
    pub(super) fn writes_rows(&self) -> bool {
        matches!(self, Self::Act(Kind::Rows, _))
    }

    /// How many rows it writes, roughly: what a transaction is bounded by.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Orders(orders) => orders.orders.len(),
            Self::Act(..) => 1,
        }
    }

    pub(super) fn answer(self, failure: Option<&StoreError>) {
        match self {
            Self::Orders(orders) => orders.answer(failure),
            Self::Act(_, act) => act.answer(failure),
        }
    }
}
