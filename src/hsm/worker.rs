//! The vending threads: each drains the queue, derives, and lets the caller finish while the keys
//! lie in its locked page.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::capabilities::Capabilities;
use super::derive::{CELL, derive};
use super::error::HsmError;
use super::keys::VendingKey;
use super::module::Module;
use crate::secret::LockedPage;
use crate::sts::cipher::DecoderKey;
use crate::sts::derivation::Derivation;

/// Decoder keys that a worker's locked page holds, hence the most that one job may ask for.
pub const MOST_DECODER_KEYS: usize = 1024;

/// HMACs that are answered together at most: waking one caller after another costs more than an
/// HMAC, and answers that come together travel together, but none should wait for long.
const HMACS_AT_ONCE: usize = 16;

/// A permit of the bounded vending queue, taken before anything is committed. Given back when
/// dropped.
#[derive(Debug)]
#[must_use = "a permit is taken for a job"]
pub struct QueuePermit {
    _permit: OwnedSemaphorePermit,
}

impl QueuePermit {
    /// By a permit of whatever bounds the queue.
    pub fn new(permit: OwnedSemaphorePermit) -> QueuePermit {
        QueuePermit { _permit: permit }
    }
}

/// The answer of an HSM thread.
pub(super) async fn answer_within<T>(
    timeout: Duration,
    answered: oneshot::Receiver<Result<T, HsmError>>,
) -> Result<T, HsmError> {
    match tokio::time::timeout(timeout, answered).await {
        Ok(Ok(answer)) => answer,
        // The thread dropped the job without an answer: it panicked in it.
        Ok(Err(_)) => Err(HsmError::Unavailable("the HSM thread gave no answer".to_owned())),
        Err(_) => Err(HsmError::Timeout(timeout)),
    }
}

/// What is done with the keys, or with the failure, on the worker's thread.
pub type Finish = Box<dyn FnOnce(Result<&[DecoderKey<'_>], HsmError>) + Send>;

/// What one caller asks for.
pub(super) struct Job {
    pub(super) wanted: Vec<(VendingKey, Derivation)>,
    pub(super) finish: Finish,
    pub(super) permit: QueuePermit,
}

impl Job {
    /// HMACs cost a call each.
    fn wants_hmac(&self) -> bool {
        self.wanted.iter().any(|(_, derivation)| matches!(derivation, Derivation::Dkga04 { .. }))
    }

    fn fail(self, error: HsmError) {
        let Job { finish, permit, .. } = self;
        finish_safely(|| finish(Err(error)));
        drop(permit);
    }
}

/// One vending thread.
pub(super) struct Worker {
    pub(super) module: Arc<Module>,
    pub(super) capabilities: Arc<Capabilities>,
    pub(super) queue: flume::Receiver<Job>,
    /// Which of the module's sessions is its own.
    pub(super) session: usize,
    /// How many workers share the queue.
    pub(super) workers: usize,
    pub(super) page: LockedPage,
}

impl Worker {
    /// Room for the decoder keys of the largest batch.
    pub(super) fn page() -> Result<LockedPage, HsmError> {
        Ok(LockedPage::new(MOST_DECODER_KEYS * CELL)?)
    }

    /// Serves until the queue is closed.
    pub(super) fn run(mut self) {
        while let Ok(first) = self.queue.recv() {
            let (hmacs, batch, left_over) = self.drain(first);
            self.serve(batch);
            for jobs in hmacs {
                self.serve(jobs);
            }
            self.serve(left_over.into_iter().collect());
        }
    }

    /// Takes what waits, a fair share where several workers take: (HMACs in groups, jobs to do as
    /// one batch, a job that no longer fits the page with the others).
    fn drain(&self, first: Job) -> (Vec<Vec<Job>>, Vec<Job>, Option<Job>) {
        // Nothing where another worker may be free to take it.
        let fair = self.queue.len() / self.workers.max(1);
        let (mut hmacs, mut batch, mut keys): (Vec<Vec<Job>>, _, _) = (Vec::new(), Vec::new(), 0);
        let mut room = 0;
        for job in std::iter::once(first).chain(self.queue.try_iter().take(fair)) {
            if job.wants_hmac() {
                match hmacs.last_mut().filter(|_| job.wanted.len() <= room) {
                    Some(group) => {
                        room -= job.wanted.len();
                        group.push(job);
                    }
                    None => {
                        room = HMACS_AT_ONCE.saturating_sub(job.wanted.len());
                        hmacs.push(vec![job]);
                    }
                }
                continue;
            }
            keys += job.wanted.len();
            if keys > MOST_DECODER_KEYS {
                return (hmacs, batch, Some(job));
            }
            batch.push(job);
        }
        (hmacs, batch, None)
    }

    /// Derives for all jobs at once and finishes each.
    fn serve(&mut self, jobs: Vec<Job>) {
        if jobs.is_empty() {
            return;
        }
        let wanted: Vec<_> = jobs.iter().flat_map(|job| job.wanted.iter().copied()).collect();
        let used = wanted.len() * CELL;
        let Self { module, capabilities, page, session, .. } = self;
        let Some(cells) = page.get_mut(..used) else {
            // `WithDecoderKeys` refuses such a job.
            for job in jobs {
                job.fail(HsmError::TooMany { asked: wanted.len(), most: MOST_DECODER_KEYS });
            }
            return;
        };
        let derived = module.with_session(*session, |guard| derive(guard, capabilities, &wanted, cells));
        match derived {
            Err(error) => jobs.into_iter().for_each(|job| job.fail(error.clone())),
            Ok(mut outcomes) => {
                let mut cells = &*cells;
                for job in jobs {
                    let count = job.wanted.len();
                    let outcome: Result<(), HsmError> = outcomes.drain(..count).collect();
                    let (mine, others) = cells.split_at(count * CELL);
                    cells = others;
                    match outcome {
                        Ok(()) => finish(job, mine),
                        Err(error) => job.fail(error),
                    }
                }
            }
        }
        zeroize::Zeroize::zeroize(&mut page[..used]);
    }
}

/// Hands the keys to the caller's closure, where they lie.
fn finish(job: Job, cells: &[u8]) {
    let Job { wanted, finish, permit } = job;
    let keys: Option<Vec<DecoderKey<'_>>> = wanted
        .iter()
        .zip(cells.chunks_exact(CELL))
        .map(|((_, derivation), cell)| DecoderKey::from_slice(&cell[..derivation.key_bytes()]))
        .collect();
    finish_safely(|| match &keys {
        Some(keys) => finish(Ok(keys)),
        None => finish(Err(HsmError::Nonsense("a decoder key of the wrong length"))),
    });
    drop(permit);
}

/// A panic of the caller's closure is the caller's: the thread and its page go on.
fn finish_safely(finish: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(finish)).is_err() {
        tracing::error!("a job panicked on an HSM thread");
    }
}
