//! The committer: one thread that writes, and writes whatever waits in one transaction.
//!
//! A commit costs one sync of the disk whether it holds one command or five hundred, so commands that come in during
//! a sync share the next. A request that comes alone waits for nobody. Each command but those of the ledger, which write
//! with one statement, runs in a savepoint of its own: a refusal takes back only itself. A failure of the database as a
//! whole, or a panic, takes back all, and everybody is told.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use flume::{Receiver, Sender, TrySendError};
use tokio::sync::oneshot;

use super::chain::Writing;
use super::failure::{Stage, spoils_transaction, store_error};
use super::log::Log;
use crate::crash;
use crate::metrics;
use crate::store::{Outcome, StoreError};

/// What a command answers: its result or a refusal of its own type, or a failure of the store.
type Answer<T, R> = Result<Result<T, R>, StoreError>;

/// How a command stands in its transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// It records tokens, and leaves nothing of what it refuses: no savepoint. The ledger's crash points surround its commit.
    Ledger,
    /// Anything else.
    Other,
}

/// How busy the committer was since it started.
#[derive(Debug, Default)]
pub struct Statistics {
    transactions: AtomicU64,
    commands: AtomicU64,
}

impl Statistics {
    /// Transactions committed.
    pub fn transactions(&self) -> u64 {
        self.transactions.load(Ordering::Relaxed)
    }

    /// Commands in them, refused ones included.
    pub fn commands(&self) -> u64 {
        self.commands.load(Ordering::Relaxed)
    }
}

/// The writing thread and the queue to it.
#[derive(Debug)]
pub(super) struct Committer {
    queue: Option<Sender<Box<dyn Command>>>,
    thread: Option<JoinHandle<()>>,
    statistics: Arc<Statistics>,
}

impl Committer {
    /// Starts the thread with its connection, and the log of the database if there is one to tend. `queue` commands may wait;
    /// rows for which `batch` is enough share a transaction.
    pub(super) fn start(
        connection: Writing,
        log: Option<Log>,
        queue: usize,
        batch: usize,
    ) -> std::io::Result<Self> {
        let (sender, receiver) = flume::bounded(queue.max(1));
        let statistics = Arc::new(Statistics::default());
        let writer = Writer {
            log,
            connection,
            queue: receiver,
            batch: batch.max(1),
            statistics: Arc::clone(&statistics),
        };
        let thread = std::thread::Builder::new().name("committer".into()).spawn(move || writer.run())?;
        Ok(Self { queue: Some(sender), thread: Some(thread), statistics })
    }

    /// Runs a command and answers when it is durable.
    ///
    /// The place in the queue is taken when this is called, not when it is awaited first: commands submitted one after
    /// another run in that order. A command whose deadline passed, or for whose answer nobody waits any more, is not
    /// run.
    pub(super) fn submit<T, R, F>(
        &self,
        class: Class,
        deadline: Option<Instant>,
        work: F,
    ) -> impl Future<Output = Answer<T, R>> + Send + use<T, R, F>
    where
        T: Send + 'static,
        R: Send + 'static,
        F: FnOnce(&Writing) -> Answer<T, R> + Send + 'static,
    {
        self.submit_many(class, 1, deadline, work)
    }

    /// The same for a command that writes so many rows.
    pub(super) fn submit_many<T, R, F>(
        &self,
        class: Class,
        weight: usize,
        deadline: Option<Instant>,
        work: F,
    ) -> impl Future<Output = Answer<T, R>> + Send + use<T, R, F>
    where
        T: Send + 'static,
        R: Send + 'static,
        F: FnOnce(&Writing) -> Answer<T, R> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let task = Task { class, weight, deadline, work: Some(work), found: None, reply };
        let queued = match &self.queue {
            None => Err(StoreError::Closed { outcome: Outcome::NotDone }),
            Some(queue) => queue.try_send(Box::new(task)).map_err(|error| match error {
                TrySendError::Full(_) => StoreError::Busy,
                TrySendError::Disconnected(_) => StoreError::Closed { outcome: Outcome::NotDone },
            }),
        };
        async move {
            queued?;
            answer.await.unwrap_or(Err(StoreError::Closed { outcome: Outcome::Unknown }))
        }
    }

    /// Counters since the start.
    pub(super) fn statistics(&self) -> &Statistics {
        &self.statistics
    }
}

impl Drop for Committer {
    /// Ends the thread after it has committed what waits.
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A command of any result type.
trait Command: Send {
    fn class(&self) -> Class;
    /// How many rows it writes, roughly: what a transaction is bounded by.
    fn weight(&self) -> usize;
    /// Why it should not be run any more, if so.
    fn expired(&self, now: Instant) -> Option<StoreError>;
    /// Runs it and keeps the answer. `Ok(true)`: keep what it wrote; `Ok(false)`: take it back.
    fn execute(&mut self, writing: &Writing) -> Result<bool, StoreError>;
    /// Tells the caller what it found, or the failure that befell the whole transaction.
    fn answer(self: Box<Self>, failure: Option<&StoreError>);
}

struct Task<T, R, F> {
    class: Class,
    weight: usize,
    deadline: Option<Instant>,
    work: Option<F>,
    found: Option<Answer<T, R>>,
    reply: oneshot::Sender<Answer<T, R>>,
}

impl<T, R, F> Command for Task<T, R, F>
where
    T: Send,
    R: Send,
    F: FnOnce(&Writing) -> Answer<T, R> + Send,
{
    fn class(&self) -> Class {
        self.class
    }

    fn weight(&self) -> usize {
        self.weight
    }

    fn expired(&self, now: Instant) -> Option<StoreError> {
        (self.reply.is_closed() || self.deadline.is_some_and(|deadline| deadline <= now))
            .then_some(StoreError::DeadlinePassed)
    }

    fn execute(&mut self, writing: &Writing) -> Result<bool, StoreError> {
        let Some(work) = self.work.take() else { return Ok(false) };
        let found = work(writing);
        let keep = match &found {
            Ok(Ok(_)) => true,
            Err(error) if spoils_transaction(error) => return Err(error.clone()),
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
        // A caller who went away finds the token by repeating his request id.
        let _ = self.reply.send(answer);
    }
}

struct Writer {
    /// Ends before the connection: the last one to close tidies up the log.
    log: Option<Log>,
    connection: Writing,
    queue: Receiver<Box<dyn Command>>,
    batch: usize,
    statistics: Arc<Statistics>,
}

impl Writer {
    fn run(self) {
        let mut done = Vec::with_capacity(self.batch);
        while let Ok(first) = self.queue.recv() {
            let failure = self.transact(first, &mut done).err();
            match &failure {
                None if done.is_empty() => {}
                None => {
                    self.statistics.transactions.fetch_add(1, Ordering::Relaxed);
                    self.statistics.commands.fetch_add(done.len() as u64, Ordering::Relaxed);
                    metrics::committed(done.len(), self.queue.len());
                }
                Some(error) => {
                    tracing::error!(%error, commands = done.len(), "a transaction of the store failed");
                    self.roll_back();
                }
            }
            let committed = failure.is_none() && !done.is_empty();
            for command in done.drain(..) {
                command.answer(failure.as_ref());
            }
            if let Some(log) = self.log.as_ref().filter(|_| committed) {
                log.tend(&self.connection);
            }
        }
    }

    /// Runs what waits in one transaction and commits it. `done` gets every command that shares its fate.
    fn transact(&self, first: Box<dyn Command>, done: &mut Vec<Box<dyn Command>>) -> Result<(), StoreError> {
        let mut ledger = false;
        let mut begun = false;
        let mut next = Some(first);
        let mut weight = 0;
        while let Some(command) = next {
            if let Some(error) = command.expired(Instant::now()) {
                command.answer(Some(&error));
            } else {
                ledger |= command.class() == Class::Ledger;
                weight += command.weight();
                done.push(command);
                if !begun {
                    self.statement("BEGIN IMMEDIATE", Stage::Before)?;
                    begun = true;
                    self.connection.check_claim()?;
                }
                // Just pushed, and the borrow must not outlive the statement.
                if let Some(command) = done.last_mut() {
                    self.execute(command.as_mut())?;
                }
            }
            next = if weight < self.batch { self.queue.try_recv().ok() } else { None };
        }
        if !begun {
            return Ok(());
        }
        if ledger {
            self.connection.merge_newest()?;
        }
        self.connection.write_head()?;
        if ledger {
            crash::point("ledger-before-commit");
        }
        self.statement("COMMIT", Stage::Commit)?;
        self.connection.newest().committed();
        if ledger {
            crash::point("ledger-after-commit");
        }
        Ok(())
    }

    fn execute(&self, command: &mut dyn Command) -> Result<(), StoreError> {
        if command.class() == Class::Ledger {
            return self.guarded(command).map(|_| ());
        }
        self.connection.heed_other_hands();
        let mark = self.connection.mark();
        self.statement("SAVEPOINT command", Stage::Before)?;
        if !self.guarded(command)? {
            self.statement("ROLLBACK TO command", Stage::Before)?;
            self.connection.go_back(mark);
        }
        self.statement("RELEASE command", Stage::Before)
    }

    /// Runs it. Nobody knows what one that panicked has left, so its whole transaction is taken back; the thread goes on.
    fn guarded(&self, command: &mut dyn Command) -> Result<bool, StoreError> {
        catch_unwind(AssertUnwindSafe(|| command.execute(&self.connection)))
            .unwrap_or_else(|_| Err(StoreError::Defect { reason: "a command of the store panicked".into() }))
    }

    fn statement(&self, sql: &str, stage: Stage) -> Result<(), StoreError> {
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute([]))
            .map(|_| ())
            .map_err(|error| store_error(&error, stage))
    }

    /// SQLite may have rolled back by itself already, which is no error. Where the chain ends now, only the database knows.
    fn roll_back(&self) {
        self.connection.go_back(None);
        if !self.connection.is_autocommit()
            && let Err(error) = self.statement("ROLLBACK", Stage::Before)
        {
            tracing::error!(%error, "the store cannot roll back");
        }
        // Before anybody hears of the failure and looks. If it fails, the next token will do it.
        if let Err(error) = self.connection.know_newest() {
            tracing::debug!(%error, "the newest rows could not be read");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::time::Duration;

    use super::*;
    use crate::store::SoftwareSealer;
    use crate::store::sqlite::SqliteSettings;
    use crate::store::sqlite::sealed::{Reading, Seals};

    fn committer(queue: usize, batch: usize) -> Committer {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE t (x INTEGER UNIQUE)").unwrap();
        let seals = Arc::new(Seals::new(Arc::new(SoftwareSealer([1; 32]))));
        let reading = Reading::new(connection, seals, Arc::default());
        Committer::start(Writing::new(reading, &SqliteSettings::new("")), None, queue, batch).unwrap()
    }

    fn insert(x: i64) -> impl FnOnce(&Writing) -> Answer<usize, ()> + Send {
        move |connection: &Writing| Ok(Ok(connection.execute("INSERT INTO t VALUES (?1)", [x])?))
    }

    fn count(connection: &Writing) -> Answer<i64, Infallible> {
        Ok(Ok(connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0))?))
    }

    /// Holds the committer inside a transaction until the returned sender is dropped.
    fn hold(committer: &Committer) -> (Sender<()>, impl Future<Output = Answer<(), ()>> + use<>) {
        let (release, held) = flume::bounded::<()>(0);
        let (inside, entered) = flume::bounded::<()>(1);
        let answer = committer.submit(Class::Other, None, move |_| {
            let _ = inside.send(());
            let _ = held.recv();
            Ok(Ok(()))
        });
        entered.recv().unwrap();
        (release, answer)
    }

    #[tokio::test]
    async fn what_waits_shares_a_transaction() {
        let committer = committer(64, 64);
        let (release, first) = hold(&committer);
        let waiting: Vec<_> = (0..20).map(|x| committer.submit(Class::Other, None, insert(x))).collect();
        drop(release);
        assert_eq!(first.await, Ok(Ok(())));
        for answer in waiting {
            assert_eq!(answer.await, Ok(Ok(1)));
        }
        assert_eq!((committer.statistics().transactions(), committer.statistics().commands()), (1, 21));
    }

    #[tokio::test]
    async fn a_transaction_is_no_longer_than_a_batch() {
        let committer = committer(64, 4);
        let (release, first) = hold(&committer);
        let waiting: Vec<_> = (0..11).map(|x| committer.submit(Class::Other, None, insert(x))).collect();
        drop(release);
        first.await.unwrap().unwrap();
        for answer in waiting {
            answer.await.unwrap().unwrap();
        }
        assert_eq!(committer.statistics().transactions(), 3);
    }

    #[tokio::test]
    async fn a_refusal_takes_back_only_itself() {
        let committer = committer(64, 64);
        let (release, first) = hold(&committer);
        let before = committer.submit(Class::Other, None, insert(1));
        let refused = committer.submit(Class::Other, None, |connection| {
            connection.execute("INSERT INTO t VALUES (2)", [])?;
            Ok(Err::<(), _>("no"))
        });
        let failed = committer.submit(Class::Other, None, |connection| {
            connection.execute("INSERT INTO t VALUES (3)", [])?;
            connection.execute("INSERT INTO t VALUES (3)", [])?;
            Ok(Ok::<(), ()>(()))
        });
        let after = committer.submit(Class::Other, None, insert(4));
        drop(release);
        first.await.unwrap().unwrap();
        assert_eq!(before.await, Ok(Ok(1)));
        assert_eq!(refused.await, Ok(Err("no")));
        assert!(matches!(failed.await, Err(StoreError::Defect { .. })));
        assert_eq!(after.await, Ok(Ok(1)));
        assert_eq!(committer.statistics().transactions(), 1);
        assert_eq!(committer.submit(Class::Other, None, count).await, Ok(Ok(2)));
    }

    #[tokio::test]
    async fn a_failure_of_the_database_takes_back_all_and_heals() {
        let committer = committer(64, 64);
        let (release, first) = hold(&committer);
        let before = committer.submit(Class::Other, None, insert(1));
        let full = committer.submit(Class::Other, None, |_| {
            Err::<Result<(), ()>, _>(StoreError::Full { outcome: Outcome::NotDone })
        });
        drop(release);
        let failure = StoreError::Full { outcome: Outcome::NotDone };
        assert_eq!(first.await, Err(failure.clone()));
        assert_eq!(before.await, Err(failure.clone()));
        assert_eq!(full.await, Err(failure));
        assert_eq!(committer.submit(Class::Other, None, count).await, Ok(Ok(0)));
        assert_eq!(committer.submit(Class::Other, None, insert(1)).await, Ok(Ok(1)));
    }

    #[tokio::test]
    async fn a_panic_takes_back_its_transaction_and_the_thread_goes_on() {
        for class in [Class::Other, Class::Ledger] {
            let committer = committer(64, 64);
            let (release, first) = hold(&committer);
            let before = committer.submit(Class::Other, None, insert(1));
            let panicking = committer.submit(class, None, |connection| {
                connection.execute("INSERT INTO t VALUES (2)", [])?;
                panic!("played");
                #[expect(unreachable_code, reason = "it says the types")]
                Ok(Ok::<(), ()>(()))
            });
            drop(release);
            for answer in [first.await, panicking.await, before.await.map(|found| found.map(drop))] {
                assert!(matches!(answer, Err(StoreError::Defect { .. })), "{answer:?}");
            }
            assert_eq!(committer.submit(Class::Other, None, count).await, Ok(Ok(0)));
            assert_eq!(committer.submit(Class::Other, None, insert(1)).await, Ok(Ok(1)));
        }
    }

    #[tokio::test]
    async fn a_full_queue_is_said_at_once() {
        let committer = committer(2, 64);
        let (release, first) = hold(&committer);
        let waiting: Vec<_> = (0..2).map(|x| committer.submit(Class::Other, None, insert(x))).collect();
        assert_eq!(committer.submit(Class::Other, None, insert(9)).await, Err(StoreError::Busy));
        drop(release);
        first.await.unwrap().unwrap();
        for answer in waiting {
            answer.await.unwrap().unwrap();
        }
        assert_eq!(committer.submit(Class::Other, None, count).await, Ok(Ok(2)));
    }

    #[tokio::test]
    async fn nobody_waits_so_nothing_is_written() {
        let committer = committer(64, 64);
        let (release, first) = hold(&committer);
        let late =
            committer.submit(Class::Other, Some(Instant::now() + Duration::from_millis(20)), insert(1));
        drop(committer.submit(Class::Other, None, insert(2)));
        std::thread::sleep(Duration::from_millis(30));
        drop(release);
        first.await.unwrap().unwrap();
        assert_eq!(late.await, Err(StoreError::DeadlinePassed));
        assert_eq!(committer.submit(Class::Other, None, count).await, Ok(Ok(0)));
    }

    #[tokio::test]
    async fn what_waits_is_committed_before_the_end() {
        let committer = committer(64, 2);
        let (release, first) = hold(&committer);
        let waiting: Vec<_> = (0..9).map(|x| committer.submit(Class::Other, None, insert(x))).collect();
        drop(release);
        drop(committer);
        first.await.unwrap().unwrap();
        for answer in waiting {
            assert_eq!(answer.await, Ok(Ok(1)));
        }
    }
}
