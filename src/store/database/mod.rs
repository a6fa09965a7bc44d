//! The store over an engine: the contract kept by the committer and the readers, whatever the
//! engine.

mod access;
mod audit;
mod configurations;
mod ledger;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use async_trait::async_trait;

use super::committer::Committer;
#[cfg(test)]
use super::committer::Statistics;
use super::contract::HealthStore;
use super::engine::{Engine, NewChain, Transaction};
use super::readers::Readers;
use super::reading::Reading;
use super::seals::Seals;
use super::writing::{Lost, Writing};
use super::{OpenError, Sealer, StoreError};
use crate::audit::{Actor, ChainId, NewAct, SaltSource};
use crate::clock::SignOfLife;

/// What an engine opens: its connections, and what keeps the database this process's.
#[derive(Debug)]
pub(crate) struct Parts<E: Engine> {
    /// The connection that writes.
    pub(crate) transaction: E::Transaction,
    /// The connections that read.
    pub(crate) views: Vec<E::View>,
    /// What keeps others out.
    pub(crate) lock: E::Lock,
}

/// How the committer and the readers work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    /// How many commands, and how many queries, may wait.
    pub(crate) queue: usize,
    /// Rows for which this is enough share a transaction.
    pub(crate) batch: usize,
    /// Which multiple of a client's usual tokens of a day raises an alarm.
    pub(crate) alarm_pace: u32,
    /// Whether rows that decide are sealed as they are.
    pub(crate) seal_rows: bool,
}

/// The store. Dropping it commits what waits and lets go of the database; that blocks for the time
/// of a commit.
#[derive(Debug)]
pub(crate) struct Database<E: Engine> {
    // In the order in which they must end: the connection that writes is the last to close.
    readers: Readers<E::View>,
    pub(super) committer: Committer<E::Transaction>,
    lost: Lost,
    pub(super) _lock: E::Lock,
}

impl<E: Engine> Database<E> {
    /// Starts the threads of a store, and answers how many rows it has sealed. A new database gets
    /// its chain and its seal index.
    ///
    /// # Errors
    /// [`OpenError::Unsealed`] for rows that decide without a seal index, unless they are to be
    /// sealed.
    pub(crate) fn start(
        parts: Parts<E>,
        sealer: Arc<dyn Sealer>,
        work: Work,
    ) -> Result<(Self, u64), OpenError> {
        // The lock is let go last, also where a start fails.
        let Parts { lock, views, transaction } = parts;
        let seals = Arc::new(Seals::new(sealer));
        let mut writing = Writing::new(Reading::new(transaction, Arc::clone(&seals)), work.alarm_pace);
        let new = new_chain()?;
        // One server after another: two that start on a new database at once make one seal index.
        let sealed = writing.transact(|writing| {
            writing.view.lock_rows()?;
            writing.view.create_chain(&new)?;
            let (index, rows) = writing.has_seal_index_and_rows()?;
            match (index, work.seal_rows) {
                (true, false) => Ok(Some(0)),
                (false, false) if rows => Ok(None),
                _ => seal_rows(writing).map(Some),
            }
        })?;
        let sealed = sealed.ok_or(OpenError::Unsealed)?;
        let readings = views.into_iter().map(|view| Reading::new(view, Arc::clone(&seals))).collect();
        let threads = |error| OpenError::Threads { error };
        let lost = writing.lost.clone();
        let readers = Readers::start(readings, work.queue).map_err(threads)?;
        let committer = Committer::start(writing, work.queue, work.batch).map_err(threads)?;
        Ok((Self { readers, committer, lost, _lock: lock }, sealed))
    }

    /// How busy the committer was since the store was opened.
    #[cfg(test)]
    pub(super) fn statistics(&self) -> &Statistics {
        self.committer.statistics()
    }

    /// A write that nothing but a failure can refuse.
    pub(super) async fn write<A, F>(&self, work: F) -> Result<A, StoreError>
    where
        A: Send + 'static,
        F: FnOnce(&mut Writing<E::Transaction>) -> Result<A, StoreError> + Clone + Send + 'static,
    {
        let answer = self.committer.submit::<A, Infallible, _>(|writing| work(writing).map(Ok)).await?;
        match answer {
            Ok(found) => Ok(found),
            Err(never) => match never {},
        }
    }

    /// The same of what has nothing to do with rows under seal.
    async fn note<A, F>(&self, work: F) -> Result<A, StoreError>
    where
        A: Send + 'static,
        F: FnOnce(&mut Writing<E::Transaction>) -> Result<A, StoreError> + Clone + Send + 'static,
    {
        let answer = self.committer.submit_note::<A, Infallible, _>(|writing| work(writing).map(Ok)).await?;
        match answer {
            Ok(found) => Ok(found),
            Err(never) => match never {},
        }
    }

    /// A write that the rules may refuse.
    pub(super) async fn write_or_refuse<A, R, X, F>(&self, work: F) -> Result<A, X>
    where
        A: Send + 'static,
        R: Send + 'static,
        X: From<R> + From<StoreError>,
        F: FnOnce(&mut Writing<E::Transaction>) -> Result<Result<A, R>, StoreError> + Clone + Send + 'static,
    {
        Ok(self.committer.submit(work).await??)
    }

    /// A query on what is committed.
    pub(super) async fn read<A, F>(&self, query: F) -> Result<A, StoreError>
    where
        A: Send + 'static,
        F: FnOnce(&mut Reading<E::View>) -> Result<A, StoreError> + Send + 'static,
    {
        self.readers.query(query).await
    }
}

/// The chain of a server that has none.
fn new_chain() -> Result<NewChain, OpenError> {
    let (mut id, mut salts) = ([0; 16], [0; 32]);
    getrandom::fill(&mut id).and_then(|()| getrandom::fill(&mut salts)).map_err(OpenError::Randomness)?;
    Ok(NewChain { id: ChainId(id), salts: SaltSource(salts) })
}

/// Seals the rows that decide as they are, on record unless there are none.
fn seal_rows<T: Transaction>(writing: &mut Writing<T>) -> Result<u64, StoreError> {
    // The time of the last record: nobody needs the clock here.
    let now_ms = writing.view.chain()?.end.at_ms;
    let sealed = writing.seal_all()?;
    if sealed > 0 {
        let details = BTreeMap::from([("rows", sealed.to_string())]);
        writing.append_act(&NewAct { kind: "rows.sealed", actor: Actor::Local, details, now_ms })?;
    }
    Ok(sealed)
}

#[async_trait]
impl<E: Engine> HealthStore for Database<E> {
    async fn probe(&self, sign: SignOfLife) -> Result<(), StoreError> {
        self.note(move |c| {
            // A server to which nobody comes notices too that the database has lost commits.
            c.chain()?;
            c.view.put_sign_of_life(&sign)
        })
        .await
    }
}
