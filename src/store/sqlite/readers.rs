//! The readers: a few threads with read-only connections for queries, beside the committer and never in its way.

use std::thread::JoinHandle;

use flume::{Sender, TrySendError};
use tokio::sync::oneshot;

use super::sealed::Reading;
use crate::store::{Outcome, StoreError};

type Query = Box<dyn FnOnce(&Reading) + Send>;

/// The reading threads and the queue that they share.
#[derive(Debug)]
pub(super) struct Readers {
    queue: Option<Sender<Query>>,
    threads: Vec<JoinHandle<()>>,
}

impl Readers {
    /// Starts a thread for each connection. `queue` queries may wait.
    pub(super) fn start(connections: Vec<Reading>, queue: usize) -> std::io::Result<Self> {
        let (sender, receiver) = flume::bounded::<Query>(queue.max(1));
        let mut readers = Self { queue: Some(sender), threads: Vec::with_capacity(connections.len()) };
        for connection in connections {
            let receiver = receiver.clone();
            let run = move || {
                while let Ok(query) = receiver.recv() {
                    query(&connection);
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
        F: FnOnce(&Reading) -> Result<T, StoreError> + Send + 'static,
    {
        let closed = StoreError::Closed { outcome: Outcome::NotDone };
        let (reply, answer) = oneshot::channel();
        let query: Query = Box::new(move |connection| {
            if !reply.is_closed() {
                let _ = reply.send(query(connection));
            }
        });
        self.queue.as_ref().ok_or_else(|| closed.clone())?.try_send(query).map_err(|error| match error {
            TrySendError::Full(_) => StoreError::Busy,
            TrySendError::Disconnected(_) => closed.clone(),
        })?;
        answer.await.unwrap_or(Err(closed))
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.queue = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
