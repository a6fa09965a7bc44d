//! The committer: one thread that writes, and writes whatever waits in one transaction.
//!
//! A commit costs one sync of the disk whether it holds one command or five hundred, so commands
//! that come in during a sync share the next. A request that comes alone waits for nobody. Orders
//! of tokens that wait are decided together, as one batch of the ledger
//! ([`transactions::tokens`](super::transactions)). Every other command runs in a savepoint of its
//! own: a refusal takes back only itself. A failure of the database as a whole, or a panic, takes
//! back all, and everybody is told.

mod command;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use flume::{Receiver, Sender, TrySendError};
use tokio::sync::oneshot;

use self::command::{Act, Answer, Command, Kind, Orders, Recording, Task};
use super::engine::Transaction;
use super::transactions::tokens;
use super::writing::Writing;
use super::{LedgerError, Outcome, StoreError};
use crate::crash;
use crate::ledger::NewToken;
use crate::metrics;

/// How often a transaction is run where another server is in its way each time.
const TRIES: usize = 10;

/// How busy the committer was since it started.
#[derive(Debug, Default)]
pub(super) struct Statistics {
    transactions: AtomicU64,
    commands: AtomicU64,
}

#[cfg(test)]
impl Statistics {
    /// Transactions committed.
    pub(super) fn transactions(&self) -> u64 {
        self.transactions.load(Ordering::Relaxed)
    }

    /// Commands in them, refused ones included.
    pub(super) fn commands(&self) -> u64 {
        self.commands.load(Ordering::Relaxed)
    }
}

/// The writing thread and the queue to it.
pub(super) struct Committer<T> {
    queue: Option<Sender<Command<T>>>,
    thread: Option<JoinHandle<()>>,
    statistics: Arc<Statistics>,
}

impl<T: Transaction> Committer<T> {
    /// Starts the thread with its connection. `queue` commands may wait; rows for which `batch` is
    /// enough share a transaction.
    pub(super) fn start(writing: Writing<T>, queue: usize, batch: usize) -> std::io::Result<Self> {
        let (sender, receiver) = flume::bounded(queue.max(1));
        let statistics = Arc::new(Statistics::default());
        let writer = Writer {
            writing,
            queue: receiver,
            next: None,
            batch: batch.max(1),
            statistics: Arc::clone(&statistics),
        };
        let thread = std::thread::Builder::new().name("committer".into()).spawn(move || writer.run())?;
        Ok(Self { queue: Some(sender), thread: Some(thread), statistics })
    }

    /// Runs a command and answers when it is durable. It runs again where another server was in its
    /// way. It may write rows under seal, and whatever depends on their staying as they are.
    ///
    /// The place in the queue is taken when this is called, not when it is awaited first: commands
    /// submitted one after another run in that order. A command for whose answer nobody waits any
    /// more is not run.
    pub(super) fn submit<A, R, F>(
        &self,
        work: F,
    ) -> impl Future<Output = Answer<A, R>> + Send + use<T, A, R, F>
    where
        A: Send + 'static,
        R: Send + 'static,
        F: FnOnce(&mut Writing<T>) -> Answer<A, R> + Clone + Send + 'static,
    {
        self.submit_as(Kind::Rows, work)
    }

    /// The same of a command that neither writes rows under seal nor reads them. It keeps no server
    /// from recording tokens, and may come before orders that were submitted before it.
    pub(super) fn submit_note<A, R, F>(
        &self,
        work: F,
    ) -> impl Future<Output = Answer<A, R>> + Send + use<T, A, R, F>
    where
        A: Send + 'static,
        R: Send + 'static,
        F: FnOnce(&mut Writing<T>) -> Answer<A, R> + Clone + Send + 'static,
    {
        self.submit_as(Kind::Note, work)
    }

    fn submit_as<A, R, F>(
        &self,
        kind: Kind,
        work: F,
    ) -> impl Future<Output = Answer<A, R>> + Send + use<T, A, R, F>
    where
        A: Send + 'static,
        R: Send + 'static,
        F: FnOnce(&mut Writing<T>) -> Answer<A, R> + Clone + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let queued = self.queue(Command::Act(kind, Box::new(Task { work, found: None, reply })));
        async move {
            queued?;
            answer.await.unwrap_or(Err(StoreError::Closed { outcome: Outcome::Unknown }))
        }
    }

    /// Records tokens in this order and answers, in the same order, when they are durable.
    pub(super) fn record(
        &self,
        orders: Vec<NewToken>,
    ) -> impl Future<Output = Vec<Recording>> + Send + use<T> {
        let count = orders.len();
        let (reply, answer) = oneshot::channel();
        let queued = self.queue(Command::Orders(Orders { orders, found: Vec::new(), reply }));
        async move {
            let lost = |error: StoreError| vec![Err(LedgerError::from(error)); count];
            match queued {
                Ok(()) => {
                    answer.await.unwrap_or_else(|_| lost(StoreError::Closed { outcome: Outcome::Unknown }))
                }
                Err(error) => lost(error),
            }
        }
    }

    fn queue(&self, command: Command<T>) -> Result<(), StoreError> {
        let closed = StoreError::Closed { outcome: Outcome::NotDone };
        let queue = self.queue.as_ref().ok_or_else(|| closed.clone())?;
        queue.try_send(command).map_err(|error| match error {
            TrySendError::Full(_) => StoreError::Busy,
            TrySendError::Disconnected(_) => closed,
        })
    }

    /// Counters since the start.
    #[cfg(test)]
    pub(super) fn statistics(&self) -> &Statistics {
        &self.statistics
    }
}

impl<T> std::fmt::Debug for Committer<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Committer").field("statistics", &self.statistics).finish_non_exhaustive()
    }
}

impl<T> Drop for Committer<T> {
    /// Ends the thread after it has committed what waits.
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Why a transaction failed.
struct Failure {
    error: StoreError,
    /// Whether one of the orders may be at fault alone, and not the database.
    of_orders: bool,
}

impl Failure {
    /// Whether the same may be done when it is tried again at once.
    fn is_conflict(&self) -> bool {
        matches!(self.error, StoreError::Conflict { .. })
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self { error, of_orders: false }
    }
}

struct Writer<T> {
    writing: Writing<T>,
    queue: Receiver<Command<T>>,
    /// What came out of the queue and begins the next transaction.
    next: Option<Command<T>>,
    batch: usize,
    statistics: Arc<Statistics>,
}

impl<T: Transaction> Writer<T> {
    fn run(mut self) {
        let mut done = Vec::with_capacity(self.batch);
        while let Some(first) = self.next.take().or_else(|| self.queue.recv().ok()) {
            let mut commands = VecDeque::from([first]);
            let mut failure = self.transact(&mut commands, &mut done).err();
            for _ in 1..TRIES {
                if !failure.as_ref().is_some_and(Failure::is_conflict) {
                    break;
                }
                self.writing.roll_back();
                commands = done.drain(..).chain(commands).collect();
                failure = self.transact(&mut commands, &mut done).err();
            }
            done.extend(commands);
            self.settle(&mut done, failure);
        }
    }

    /// Tells everybody what became of the transaction.
    fn settle(&mut self, done: &mut Vec<Command<T>>, failure: Option<Failure>) {
        let Some(Failure { error, of_orders }) = failure else {
            if done.is_empty() {
                return;
            }
            self.statistics.transactions.fetch_add(1, Ordering::Relaxed);
            self.statistics.commands.fetch_add(done.len() as u64, Ordering::Relaxed);
            metrics::committed(done.len(), self.queue.len());
            done.drain(..).for_each(|command| command.answer(None));
            return self.writing.view.tidy_up();
        };
        tracing::error!(%error, commands = done.len(), "a transaction of the store failed");
        self.writing.roll_back();
        let told = if of_orders { error.clone().spoiling() } else { error };
        for command in done.drain(..) {
            match command {
                Command::Orders(orders) if of_orders => self.record_one_by_one(orders),
                command => command.answer(Some(&told)),
            }
        }
    }

    /// Records each order in a transaction of its own, so that one which cannot be written fails
    /// alone.
    fn record_one_by_one(&mut self, mut orders: Orders) {
        orders.found = Vec::with_capacity(orders.orders.len());
        for order in &orders.orders {
            let one = [order];
            let mut record = || {
                self.guarded(|writing| {
                    writing.transact(|writing| tokens::record(writing, &one, Instant::now()))
                })
            };
            let mut recorded = record();
            for _ in 1..TRIES {
                if !matches!(recorded, Err(StoreError::Conflict { .. })) {
                    break;
                }
                recorded = record();
            }
            let recorded = recorded.unwrap_or_else(|error| {
                self.writing.roll_back();
                vec![Err(error.into())]
            });
            orders.found.extend(recorded);
        }
        orders.answer(None);
    }

    /// Runs these commands and what else waits in one transaction, and commits it. `done` gets every
    /// command that was begun and ends with it.
    fn transact(
        &mut self,
        commands: &mut VecDeque<Command<T>>,
        done: &mut Vec<Command<T>>,
    ) -> Result<(), Failure> {
        let mut next = commands.pop_front();
        let mut weight = 0;
        let (mut decided, mut any_orders) = (0, false);
        while let Some(command) = next {
            if command.is_abandoned() {
                command.answer(Some(&StoreError::DeadlinePassed));
            } else if T::SEVERAL && command.writes_rows() && !done.first().is_none_or(Command::writes_rows) {
                // It locks rows that decide, which the transaction shares with other servers so far:
                // whoever raises a lock may wait for somebody who does the same.
                self.next = Some(command);
                break;
            } else {
                if done.is_empty() {
                    done.push(command);
                    self.writing.begin()?;
                } else {
                    done.push(command);
                }
                weight += done.last().map_or(0, Command::weight);
                match done.last() {
                    Some(Command::Orders(_)) => any_orders = true,
                    Some(Command::Act(Kind::Rows, _)) => {
                        // What came before it is decided before it.
                        let before = done.len() - 1;
                        self.record(done.get_mut(decided..before).unwrap_or_default())?;
                        if any_orders {
                            self.flush()?;
                        }
                        decided = done.len();
                    }
                    Some(Command::Act(Kind::Note, _)) | None => {}
                }
                if let Some(Command::Act(kind, act)) = done.last_mut() {
                    self.act(*kind, act.as_mut())?;
                }
            }
            next = commands.pop_front();
            if next.is_none() && weight < self.batch {
                next = self.next.take().or_else(|| self.queue.try_recv().ok());
            }
        }
        if done.is_empty() {
            return Ok(());
        }
        self.record(done.get_mut(decided..).unwrap_or_default())?;
        self.writing.finish()?;
        if any_orders {
            self.flush()?;
            crash::point("ledger-before-commit");
        }
        self.writing.commit()?;
        if any_orders {
            crash::point("ledger-after-commit");
        }
        Ok(())
    }

    /// Has the store answer for what was written: one of the orders may be at fault alone.
    fn flush(&mut self) -> Result<(), Failure> {
        let flushed = self.writing.view.flush();
        flushed.map_err(|error| Failure { of_orders: !error.spoils_transaction(), error })
    }

    /// Records those of commands that are orders as one batch.
    fn record(&mut self, commands: &mut [Command<T>]) -> Result<(), Failure> {
        let orders: Vec<&NewToken> = commands
            .iter()
            .flat_map(|command| match command {
                Command::Orders(orders) => orders.orders.as_slice(),
                Command::Act(..) => &[],
            })
            .collect();
        if orders.is_empty() {
            return Ok(());
        }
        let recorded = self.guarded(|writing| tokens::record(writing, &orders, Instant::now()));
        let mut recorded =
            recorded.map_err(|error| Failure { of_orders: !error.spoils_transaction(), error })?.into_iter();
        for command in commands {
            if let Command::Orders(orders) = command {
                orders.found = recorded.by_ref().take(orders.orders.len()).collect();
            }
        }
        Ok(())
    }

    fn act(&mut self, kind: Kind, act: &mut dyn Act<T>) -> Result<(), StoreError> {
        if kind == Kind::Rows {
            self.writing.view.lock_rows()?;
            self.writing.check_seal_index();
        }
        let state = self.writing.state();
        self.writing.view.savepoint()?;
        if !self.guarded(|writing| act.run(writing))? {
            self.writing.view.roll_back_to_savepoint()?;
            self.writing.go_back(state);
        }
        self.writing.view.release_savepoint()
    }

    /// Runs it. Nobody knows what one that panicked has left, so its whole transaction is taken
    /// back; the thread goes on.
    fn guarded<R>(
        &mut self,
        work: impl FnOnce(&mut Writing<T>) -> Result<R, StoreError>,
    ) -> Result<R, StoreError> {
        catch_unwind(AssertUnwindSafe(|| work(&mut self.writing)))
            .unwrap_or_else(|_| Err(StoreError::Defect { reason: "a command of the store panicked".into() }))
    }
}

#[cfg(test)]
mod tests;
