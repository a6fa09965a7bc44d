//! The readers: a few threads with read-only connections for queries, beside the committer and
//! never in its way.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::JoinHandle;

use flume::{Sender, TrySendError};
use tokio::sync::oneshot;

use super::engine::View;
use super::reading::Reading;
use super::{Outcome, StoreError};

type Query<V> = Box<dyn FnOnce(&mut Reading<V>) + Send>;

/// The reading threads and the queue that they share.
pub(super) struct Readers<V> {
    queue: Option<Sender<Query<V>>>,
    threads: Vec<JoinHandle<()>>,
}

impl<V: View> Readers<V> {
    /// Starts a thread for each connection. `queue` queries may wait.
    pub(super) fn start(connections: Vec<Reading<V>>, queue: usize) -> std::io::Result<Self> {
        let (sender, receiver) = flume::bounded::<Query<V>>(queue.max(1));
        let mut readers = Self { queue: Some(sender), threads: Vec::with_capacity(connections.len()) };
        for mut connection in connections {
            let receiver = receiver.clone();
            let run = move || {
                while let Ok(query) = receiver.recv() {
                    query(&mut connection);
                }
            };
            readers.threads.push(std::thread::Builder::new().name("reader".into()).spawn(run)?);
        }
        Ok(readers)
    }

    /// Runs a query on what is committed.
    pub(super) async fn query<T, F>(&self, query: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Reading<V>) -> Result<T, StoreError> + Send + 'static,
    {
        let closed = StoreError::Closed { outcome: Outcome::NotDone };
        let (reply, answer) = oneshot::channel();
        let query: Query<V> = Box::new(move |connection| {
            if !reply.is_closed() {
                // A query that panics leaves nothing: the thread and its connection go on.
                let found = catch_unwind(AssertUnwindSafe(|| query(connection)))
                    .unwrap_or_else(|_| Err(StoreError::Defect { reason: "a query panicked".into() }));
                let _ = reply.send(found);
            }
        });
        self.queue.as_ref().ok_or_else(|| closed.clone())?.try_send(query).map_err(|error| match error {
            TrySendError::Full(_) => StoreError::Busy,
            TrySendError::Disconnected(_) => closed.clone(),
        })?;
        answer.await.unwrap_or(Err(closed))
    }
}

impl<V> std::fmt::Debug for Readers<V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Readers").field("threads", &self.threads.len()).finish_non_exhaustive()
    }
}

impl<V> Drop for Readers<V> {
    fn drop(&mut self) {
        self.queue = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::SoftwareSealer;
    use crate::store::engine::Table;
    use crate::store::memory::Memory;
    use crate::store::seals::Seals;

    #[tokio::test]
    async fn a_panic_is_said_and_the_thread_goes_on() {
        let seals = Arc::new(Seals::new(Arc::new(SoftwareSealer([1; 32]))));
        let reading = Reading::new(Memory::default().connection(), seals);
        let readers = Readers::start(vec![reading], 4).unwrap();
        let panicking: Result<(), _> = readers.query(|_| panic!("played")).await;
        assert!(matches!(panicking, Err(StoreError::Defect { .. })), "{panicking:?}");
        let found = readers.query(|reading| reading.view.seals(Table::Clients)).await;
        assert_eq!(found, Ok(Vec::new()));
    }
}
