//! What the rest of the server holds: [`Hsm`], its threads behind it.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tokio::sync::{Semaphore, oneshot, watch};

use super::admin::{self, AdminJob};
use super::capabilities::Capabilities;
use super::error::{HsmError, Queue};
use super::keys::{KeyKind, OldKey, Role, SealKeyId, TokenId};
use super::module::{ADMIN_SESSION, Health, Module, WORKER_SESSIONS};
use super::monitor;
use super::own_keys::{self, ServerKey};
use super::probe::probe;
use super::rotation;
use super::session::SessionGuard;
use super::settings::HsmSettings;
use super::token::Access;
use super::worker::{Job, Worker, answer_within};

/// The running HSM layer: cheap to clone, usable from async code. Its threads end when the last
/// clone is gone.
#[derive(Debug, Clone)]
pub struct Hsm {
    pub(super) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) module: Arc<Module>,
    pub(super) capabilities: Arc<Capabilities>,
    pub(super) token: TokenId,
    pub(super) seal_key: SealKeyId,
    pub(super) vending: flume::Sender<Job>,
    pub(super) permits: Arc<Semaphore>,
    admin: flume::Sender<AdminJob>,
    seals: flume::Sender<AdminJob>,
    /// Last: dropped after the queues are closed, which ends the threads.
    _threads: Threads,
}

/// Waits for its threads when dropped: one that ends while the process does crashes OpenSSL's own
/// ending.
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
    /// A thread that is inside the library when the process ends crashes it (SoftHSM): waits for
    /// the calls under way.
    fn drop(&mut self) {
        self.module.shut_down();
    }
}

impl Hsm {
    /// Loads the module, logs in once, probes what it can do, checks the server's own keys, and
    /// starts the threads. Blocks.
    ///
    /// # Errors
    /// [`HsmError::NotSetUp`] before `vendkey setup`; [`HsmError::PinRefused`], which must not be
    /// tried again blindly; everything else that may be wrong with a module.
    pub fn start(settings: HsmSettings) -> Result<Hsm, HsmError> {
        Hsm::start_with(settings, true)
    }

    /// As [`Hsm::start`], on a token without the server's own keys: for session keys (conformance),
    /// not for serving.
    ///
    /// # Errors
    /// As [`Hsm::start`], but for [`HsmError::NotSetUp`].
    pub fn start_bare(settings: HsmSettings) -> Result<Hsm, HsmError> {
        Hsm::start_with(settings, false)
    }

    fn start_with(settings: HsmSettings, own_keys: bool) -> Result<Hsm, HsmError> {
        let workers = settings.threads.max(1);
        let (queue, admin_queue) = (settings.queue.max(1), settings.admin_queue.max(1));
        let sessions = [Access::ReadOnly, Access::ReadWrite, Access::ReadOnly].into_iter();
        let (module, alarms) =
            Module::load(settings, sessions.chain(std::iter::repeat_n(Access::ReadOnly, workers)))?;
        let mut capabilities = probe(&module, ADMIN_SESSION, false)?;
        let mut seal_key = SealKeyId([0; 8]);
        if own_keys {
            let (own, old) =
                module.with_session(ADMIN_SESSION, |guard| own_keys::check_all(guard, &capabilities))?;
            module.token().use_own_keys(own, old);
            capabilities = probe(&module, ADMIN_SESSION, true)?;
            let (token, key) = module.with_session(ADMIN_SESSION, |guard| {
                let key = guard.own(Role::RowSeal)?;
                Ok((own_keys::token_id(guard)?, own_keys::seal_key_id(guard, key)?))
            })?;
            module.token().name(token);
            seal_key = key;
        }
        let token = module.token().id();
        let capabilities = Arc::new(capabilities);
        module.load_handles(None);

        // Bounded by the permits: each job holds one.
        let mut threads = Threads::default();
        let (vending, jobs) = flume::unbounded();
        let (admin, admin_jobs) = flume::bounded(admin_queue);
        let (seals, seal_jobs) = flume::bounded(admin_queue);
        for worker in 0..workers {
            let worker = Worker {
                module: Arc::clone(&module),
                capabilities: Arc::clone(&capabilities),
                queue: jobs.clone(),
                session: WORKER_SESSIONS + worker,
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
            threads.0.push(spawn("hsm-monitor", move || monitor::run(&module, &alarms))?);
        }
        let permits = Arc::new(Semaphore::new(queue));
        tracing::info!(sessions = workers, queue, admin_queue, "the HSM's threads are ready");
        Ok(Hsm {
            inner: Arc::new(Inner {
                module,
                capabilities,
                token,
                seal_key,
                vending,
                permits,
                admin,
                seals,
                _threads: threads,
            }),
        })
    }

    /// Which token this is.
    pub fn token(&self) -> TokenId {
        self.inner.token
    }

    /// Whether the HSM can serve; changes as soon as a thread notices.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.inner.module.health()
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
        answer_within(self.inner.module.settings().answer_timeout, answered).await
    }

    /// Work through the admin thread's session. May be done twice when the session is lost in
    /// between.
    pub(super) async fn on_admin_session<T: Send + 'static>(
        &self,
        mut work: impl FnMut(&mut SessionGuard<'_>, &Capabilities) -> Result<T, HsmError> + Send + 'static,
    ) -> Result<T, HsmError> {
        self.on_admin_thread(move |module, capabilities| {
            module.with_session(ADMIN_SESSION, |guard| work(guard, capabilities))
        })
        .await
    }

    /// The public half of one of the server's own RSA keys.
    pub(super) async fn public_key(&self, role: Role) -> Result<ServerKey, HsmError> {
        self.on_admin_session(move |guard, _| {
            let key = guard.own(role)?;
            own_keys::server_key(guard, key)
        })
        .await
    }

    /// The old generations of server keys that open uploads still.
    pub fn old_keys(&self) -> Vec<OldKey> {
        self.inner.module.token().old_keys()
    }

    /// Destroys an old generation, with its public half and what the token says of it.
    ///
    /// # Errors
    /// Any failure of the HSM; the key may be there still.
    pub async fn destroy_old_key(&self, old: OldKey) -> Result<(), HsmError> {
        self.on_admin_thread(move |module, _| {
            module
                .with_session(ADMIN_SESSION, |guard| rotation::destroy_generation(guard, old.role, old.id))?;
            module.token().forget_old(old.id);
            Ok(())
        })
        .await
    }

    pub(super) fn queue_admin(&self, job: AdminJob) -> Result<(), HsmError> {
        queue(&self.inner.admin, job)
    }

    pub(super) fn queue_seal(&self, job: AdminJob) -> Result<(), HsmError> {
        queue(&self.inner.seals, job)
    }

    /// Whether keys of this kind can be served; see [`Capabilities::serves`].
    ///
    /// # Errors
    /// [`HsmError::NotServed`].
    pub fn serves(&self, kind: KeyKind) -> Result<(), HsmError> {
        self.inner.capabilities.serves(kind)
    }

    /// Ends the use of the module in order: waits for the calls under way, closes the sessions,
    /// finalises. Blocks. Later calls of any clone are refused.
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
