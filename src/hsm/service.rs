//! What the rest of the server holds: [`Hsm`], its threads behind it.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tokio::sync::{Semaphore, TryAcquireError, oneshot, watch};

use super::admin::{self, AdminJob};
use super::capabilities::Capabilities;
use super::error::{HsmError, Queue};
use super::guardian;
use super::keys::VendingKey;
use super::module::{Health, Module};
use super::own_keys;
use super::probe::probe;
use super::seat::Access;
use super::settings::HsmSettings;
use super::worker::{Job, MOST_DECODER_KEYS, Place, Worker};
use crate::sts::cipher::DecoderKey;
use crate::sts::derivation::Derivation;

/// The running HSM layer: cheap to clone, usable from async code. Its threads end when the last clone is gone.
#[derive(Debug, Clone)]
pub struct Hsm {
    pub(super) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    module: Arc<Module>,
    capabilities: Arc<Capabilities>,
    vending: flume::Sender<Job>,
    places: Arc<Semaphore>,
    admin: flume::Sender<AdminJob>,
    seals: flume::Sender<AdminJob>,
    /// Last: dropped after the queues are closed, which ends the threads.
    _threads: Threads,
}

/// Waits for its threads when dropped: one that ends while the process does crashes OpenSSL's own ending.
#[derive(Debug, Default)]
struct Threads(Vec<JoinHandle<()>>);

impl Drop for Threads {
    fn drop(&mut self) {
        for thread in self.0.drain(..) {
            // The last clone may go on one of these threads, with a closure that held it.
            if thread.thread().id() != thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

impl Drop for Inner {
    /// A thread that is inside the library when the process ends crashes it (SoftHSM): waits for the calls under way.
    fn drop(&mut self) {
        self.module.shut_down();
    }
}

impl Hsm {
    /// Loads the module, logs in once, probes what it can do, checks the server's own keys, and starts the threads. Blocks.
    ///
    /// # Errors
    /// [`HsmError::NotSetUp`] before `vendkey setup`; [`HsmError::PinRefused`], which must not be tried again blindly; everything
    /// else that may be wrong with a module.
    pub fn start(settings: HsmSettings) -> Result<Hsm, HsmError> {
        Hsm::start_with(settings, true)
    }

    /// As [`Hsm::start`], on a token without the server's own keys: for session keys (conformance), not for serving.
    ///
    /// # Errors
    /// As [`Hsm::start`], but for [`HsmError::NotSetUp`].
    pub fn start_bare(settings: HsmSettings) -> Result<Hsm, HsmError> {
        Hsm::start_with(settings, false)
    }

    fn start_with(settings: HsmSettings, own_keys: bool) -> Result<Hsm, HsmError> {
        let workers = settings.threads.max(1);
        let (queue, admin_queue) = (settings.queue.max(1), settings.admin_queue.max(1));
        let seats = [Access::ReadOnly, Access::ReadWrite, Access::ReadOnly].into_iter();
        let (module, alarms) =
            Module::load(settings, seats.chain(std::iter::repeat_n(Access::ReadOnly, workers)))?;
        let module = Arc::new(module);
        let mut capabilities = probe(&module, admin::SEAT, false)?;
        if own_keys {
            let own = module.at_seat(admin::SEAT, |desk| own_keys::check_all(desk, &capabilities))?;
            module.use_own_keys(own);
            capabilities = probe(&module, admin::SEAT, true)?;
        }
        let capabilities = Arc::new(capabilities);
        module.warm(None);

        // Bounded by the places: each job holds one.
        let mut threads = Threads::default();
        let (vending, jobs) = flume::unbounded();
        let (admin, admin_jobs) = flume::bounded(admin_queue);
        let (seals, seal_jobs) = flume::bounded(admin_queue);
        for worker in 0..workers {
            let worker = Worker {
                module: Arc::clone(&module),
                capabilities: Arc::clone(&capabilities),
                queue: jobs.clone(),
                seat: admin::SEAL_SEAT + 1 + worker,
                workers,
                page: Worker::page()?,
            };
            if !worker.page.locked() {
                tracing::warn!("decoder keys lie in memory that may be swapped out: raise RLIMIT_MEMLOCK");
            }
            threads.0.push(spawn("hsm-vending", move || worker.run())?);
        }
        {
            let (module, capabilities) = (Arc::clone(&module), Arc::clone(&capabilities));
            threads.0.push(spawn("hsm-admin", move || admin::run(&module, &capabilities, &admin_jobs))?);
        }
        {
            let (module, capabilities) = (Arc::clone(&module), Arc::clone(&capabilities));
            threads.0.push(spawn("hsm-seal", move || admin::run(&module, &capabilities, &seal_jobs))?);
        }
        {
            let module = Arc::clone(&module);
            threads.0.push(spawn("hsm-guardian", move || guardian::run(&module, &alarms))?);
        }
        let places = Arc::new(Semaphore::new(queue));
        Ok(Hsm {
            inner: Arc::new(Inner { module, capabilities, vending, places, admin, seals, _threads: threads }),
        })
    }

    /// What the probes at start found.
    pub fn capabilities(&self) -> &Capabilities {
        &self.inner.capabilities
    }

    /// Whether the HSM can serve; changes as soon as a thread notices.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.inner.module.health().subscribe()
    }

    /// A place in the vending queue. To be taken *before* the ledger's commit, so that a full queue refuses early.
    ///
    /// # Errors
    /// [`HsmError::Busy`]; [`HsmError::Unavailable`] while the HSM is ill.
    pub fn try_reserve(&self) -> Result<Place, HsmError> {
        if let Health::Ill { reason } = &*self.inner.module.health().borrow() {
            return Err(HsmError::Unavailable(reason.clone()));
        }
        match Arc::clone(&self.inner.places).try_acquire_owned() {
            Ok(permit) => Ok(Place::new(permit)),
            Err(TryAcquireError::NoPermits) => Err(HsmError::Busy(Queue::Vending)),
            Err(TryAcquireError::Closed) => Err(HsmError::Stopped),
        }
    }

    /// Derives the decoder keys of `wanted` and runs `finish` with them, in that order, on an HSM thread.
    ///
    /// The keys lie in the thread's locked page and are wiped when `finish` returns. `finish` must be quick, and must not
    /// wait for anything. Jobs of one DKGA02 key that wait at the same time share two HSM calls.
    ///
    /// # Errors
    /// [`HsmError::Unavailable`] when the HSM is lost: `finish` did not run. [`HsmError::Silent`] when the patience of the settings is
    /// over: `finish` may still run. [`HsmError::KeyMissing`], [`HsmError::KeyUntrusted`] (a row's mask does not fit),
    /// [`HsmError::WrongKind`], [`HsmError::TooMany`], [`HsmError::NotServed`].
    pub async fn with_decoder_keys<R: Send + 'static>(
        &self,
        place: Place,
        wanted: Vec<(VendingKey, Derivation)>,
        finish: impl FnOnce(&[DecoderKey<'_>]) -> R + Send + 'static,
    ) -> Result<R, HsmError> {
        if wanted.len() > MOST_DECODER_KEYS {
            return Err(HsmError::TooMany { asked: wanted.len(), most: MOST_DECODER_KEYS });
        }
        let (answer, answered) = oneshot::channel();
        let job = Job {
            wanted,
            finish: Box::new(move |keys| {
                // A caller that has gone needs no token now; it asks again.
                let _ = answer.send(keys.map(finish));
            }),
            place,
        };
        self.inner.vending.send(job).map_err(|_| HsmError::Stopped)?;
        let answer = self.wait_for(answered).await;
        if let Err(error @ HsmError::Silent(_)) = &answer {
            // A call that hangs fails nobody, so nobody else would notice. The guardian takes it back if its canary sings.
            self.inner.module.fall_ill(error);
            self.inner.module.call_guardian();
        }
        answer
    }

    /// Queues work for the admin thread and waits for its answer.
    pub(super) async fn on_admin_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Module, &Capabilities) -> Result<T, HsmError> + Send + 'static,
    ) -> Result<T, HsmError> {
        let (answer, answered) = oneshot::channel();
        self.queue_admin(Box::new(move |module, capabilities| {
            if !answer.is_closed() {
                let _ = answer.send(work(module, capabilities));
            }
        }))?;
        self.wait_for(answered).await
    }

    pub(super) fn queue_admin(&self, job: AdminJob) -> Result<(), HsmError> {
        queue(&self.inner.admin, job)
    }

    pub(super) fn queue_seal(&self, job: AdminJob) -> Result<(), HsmError> {
        queue(&self.inner.seals, job)
    }

    /// How long an answer is waited for.
    pub(super) fn patience(&self) -> std::time::Duration {
        self.inner.module.settings().patience
    }

    async fn wait_for<T>(&self, answered: oneshot::Receiver<Result<T, HsmError>>) -> Result<T, HsmError> {
        let patience = self.patience();
        match tokio::time::timeout(patience, answered).await {
            Ok(Ok(answer)) => answer,
            // The thread dropped the job without an answer: it panicked in it.
            Ok(Err(_)) => Err(HsmError::Unavailable("the HSM thread gave no answer".to_owned())),
            Err(_) => Err(HsmError::Silent(patience)),
        }
    }

    /// Ends the use of the module in order: waits for the calls under way, closes the sessions, finalises. Blocks. Later
    /// calls of any clone are refused.
    pub fn stop(&self) {
        self.inner.module.shut_down();
    }
}

fn queue(queue: &flume::Sender<AdminJob>, job: AdminJob) -> Result<(), HsmError> {
    queue.try_send(job).map_err(|error| match error {
        flume::TrySendError::Full(_) => HsmError::Busy(Queue::Admin),
        flume::TrySendError::Disconnected(_) => HsmError::Stopped,
    })
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, HsmError> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .map_err(|_| HsmError::Nonsense("the system gives no thread"))
}
