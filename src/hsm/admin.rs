//! The admin thread: RSA work and imports, so that their milliseconds never stand before a token.

use std::sync::Arc;

use super::capabilities::{Capabilities, KeyKind};
use super::error::HsmError;
use super::import::{self, ImportedKey, KeyObject, fill_random};
use super::keys::{KeyId, Role, VendingKey, VendingKeyMaterial};
use super::module::Module;
use super::own_keys::{self, OwnKey, ROW_SEAL_DOMAIN, ServerKey};
use super::probe::probe;
use super::seat::Desk;
use super::service::Hsm;
use super::template::Lifetime;
use super::unwrap;
use crate::crash;
use crate::secret::SecretBytes;

/// The admin thread's seat, the only one that writes to the token.
pub(super) const SEAT: usize = 1;

/// The sealing thread's seat.
pub(super) const SEAL_SEAT: usize = 2;

/// One piece of work.
pub(super) type AdminJob = Box<dyn FnOnce(&Module, &Capabilities) + Send>;

/// Serves until the queue is closed.
pub(super) fn run(module: &Arc<Module>, capabilities: &Capabilities, jobs: &flume::Receiver<AdminJob>) {
    for job in jobs.iter() {
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| job(module, capabilities)));
        if done.is_err() {
            tracing::error!("a job panicked on the HSM's admin thread");
        }
    }
}

/// One self-test and how it went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelfTest {
    /// What was tested.
    pub name: String,
    /// How it is served, or what went wrong.
    pub outcome: Result<String, String>,
}

impl Hsm {
    /// Work at the admin thread's desk. May be done twice when a session is lost in between.
    async fn at_admin_desk<T: Send + 'static>(
        &self,
        mut work: impl FnMut(&mut Desk<'_>, &Capabilities) -> Result<T, HsmError> + Send + 'static,
    ) -> Result<T, HsmError> {
        self.on_admin_thread(move |module, capabilities| {
            module.at_seat(SEAT, |desk| work(desk, capabilities))
        })
        .await
    }

    /// The public half of the legacy server key, to which uploads are encrypted.
    ///
    /// # Errors
    /// [`HsmError::Busy`], [`HsmError::Unavailable`], [`HsmError::KeyMissing`].
    pub async fn server_key(&self) -> Result<ServerKey, HsmError> {
        self.public_key(Role::Legacy).await
    }

    /// The public half of the audit key, which verifies checkpoints.
    ///
    /// # Errors
    /// As [`Hsm::server_key`].
    pub async fn audit_public_key(&self) -> Result<ServerKey, HsmError> {
        self.public_key(Role::Audit).await
    }

    async fn public_key(&self, role: Role) -> Result<ServerKey, HsmError> {
        self.at_admin_desk(move |desk, _| {
            let key = desk.own(role)?;
            own_keys::server_key(desk, key)
        })
        .await
    }

    /// The server's own keys.
    ///
    /// # Errors
    /// As [`Hsm::server_key`].
    pub async fn own_keys(&self) -> Result<Vec<OwnKey>, HsmError> {
        self.on_admin_thread(|module, _| {
            let own = module.own_ids();
            module.at_seat(SEAT, |desk| {
                own.iter().map(|(role, id)| own_keys::described(desk, *role, *id)).collect()
            })
        })
        .await
    }

    /// Looks at a configuration's key objects: attributes, unreadable values, a derivation; answers the check value, made anew.
    ///
    /// # Errors
    /// [`HsmError::KeyMissing`], [`HsmError::KeyUntrusted`]; [`HsmError::Busy`], [`HsmError::Unavailable`].
    pub async fn inspect_vending_key(&self, key: VendingKey) -> Result<[u8; 3], HsmError> {
        self.at_admin_desk(move |desk, capabilities| import::inspect(desk, capabilities, key)).await
    }

    /// Opens a legacy upload: `wrapped_key` is the RSA-wrapped AES key, `data` the IV (16 bytes) and the AES-128-CBC ciphertext.
    /// Answers every plaintext that they may mean: none when anything is wrong, and never why. The caller finds
    /// the right one by the signed digest.
    ///
    /// # Errors
    /// [`HsmError::Busy`], [`HsmError::Unavailable`], [`HsmError::NotServed`]: nothing that depends on the upload.
    pub async fn open_legacy(
        &self,
        wrapped_key: Vec<u8>,
        data: Vec<u8>,
    ) -> Result<Vec<SecretBytes>, HsmError> {
        self.at_admin_desk(move |desk, capabilities| {
            unwrap::open_legacy(desk, capabilities, &wrapped_key, &data)
        })
        .await
    }

    /// HMAC-SHA-256 by the fingerprint key over `domain`, a zero byte and `data`: a hash that only this token can make, so no
    /// test of guesses for whoever steals it. Secret data must be in memory that wipes itself.
    ///
    /// # Errors
    /// [`HsmError::Busy`], [`HsmError::Unavailable`].
    pub async fn fingerprint(&self, domain: &'static str, data: &[u8]) -> Result<[u8; 32], HsmError> {
        let data = SecretBytes::copy_of(data)?;
        self.at_admin_desk(move |desk, _| {
            let key = desk.own(Role::Fingerprint)?;
            own_keys::seal(desk, key, domain, &data)
        })
        .await
    }

    /// The seal of a row: HMAC-SHA-256 by the row-seal key. Blocks, so it is not for async code; has a thread of its own, so that it
    /// never waits for an RSA operation.
    ///
    /// # Errors
    /// [`HsmError::Busy`], [`HsmError::Unavailable`], [`HsmError::Silent`].
    pub fn seal_row(&self, message: &[u8]) -> Result<[u8; 32], HsmError> {
        let message = message.to_vec();
        let (answer, answered) = flume::bounded(1);
        self.queue_seal(Box::new(move |module, _| {
            let sealed = module.at_seat(SEAL_SEAT, |desk| {
                let key = desk.own(Role::RowSeal)?;
                own_keys::seal(desk, key, ROW_SEAL_DOMAIN, &message)
            });
            let _ = answer.send(sealed);
        }))?;
        let patience = self.patience();
        answered.recv_timeout(patience).unwrap_or(Err(HsmError::Silent(patience)))
    }

    /// Makes the token objects of a vending key under this id, and proves them: attributes read back, the value unreadable,
    /// check value and test derivations compared with software. Objects that are under this id already (a half import)
    /// are destroyed first. After an error nothing is left, unless the HSM itself was lost.
    ///
    /// # Errors
    /// [`HsmError::NotServed`]; [`HsmError::KeyUntrusted`] when the proof failed; [`HsmError::Busy`]; [`HsmError::Unavailable`].
    pub async fn import_vending_key(
        &self,
        id: KeyId,
        key: VendingKeyMaterial,
    ) -> Result<ImportedKey, HsmError> {
        self.on_admin_thread(move |module, capabilities| {
            let imported =
                module.at_seat(SEAT, |desk| import::import(desk, capabilities, id, &key, Lifetime::Token))?;
            module.warm(Some(id));
            Ok(imported)
        })
        .await
    }

    /// Destroys a vending key and its mask, and sees that they are gone. Of an id without objects: nothing to do.
    ///
    /// # Errors
    /// [`HsmError::Busy`], [`HsmError::Unavailable`].
    pub async fn destroy_vending_key(&self, id: KeyId) -> Result<(), HsmError> {
        self.at_admin_desk(move |desk, _| {
            import::destroy_in_steps(desk, id, || crash::point("destroy-between-objects"))
        })
        .await
    }

    /// All vending and mask keys in the token, for the report of those that no configuration knows. Scans the token.
    ///
    /// # Errors
    /// [`HsmError::Busy`], [`HsmError::Unavailable`].
    pub async fn key_objects(&self) -> Result<Vec<KeyObject>, HsmError> {
        self.at_admin_desk(|desk, _| import::key_objects(desk)).await
    }

    /// Signs an audit checkpoint: RSASSA-PSS, SHA-256, salt of 32 bytes.
    ///
    /// # Errors
    /// [`HsmError::Busy`], [`HsmError::Unavailable`].
    pub async fn sign_checkpoint(&self, message: &[u8]) -> Result<Vec<u8>, HsmError> {
        let message = message.to_vec();
        self.at_admin_desk(move |desk, _| {
            let key = desk.own(Role::Audit)?;
            own_keys::sign(desk, key, &message)
        })
        .await
    }

    /// A vending key as a session object, proved as an imported one: for vectors and demonstrations. It is gone when the
    /// answer is dropped, when the module had to be healed, and when the process ends.
    ///
    /// # Errors
    /// As [`Hsm::import_vending_key`].
    pub async fn import_session_key(&self, key: VendingKeyMaterial) -> Result<SessionKey, HsmError> {
        let mut id = [0; 16];
        fill_random(&mut id)?;
        let id = KeyId(id);
        let imported = self
            .at_admin_desk(move |desk, capabilities| {
                import::import(desk, capabilities, id, &key, Lifetime::Session)
            })
            .await?;
        Ok(SessionKey { imported, hsm: self.clone() })
    }

    /// Runs the known-answer operations again. Abilities that the module did not have at start are left out.
    ///
    /// # Errors
    /// [`HsmError::Busy`], [`HsmError::Unavailable`]; a failing test is an outcome.
    pub async fn selftest(&self) -> Result<Vec<SelfTest>, HsmError> {
        self.on_admin_thread(|module, at_start| {
            let own_keys = module.own_id(Role::RowSeal).is_some();
            let now = probe(module, SEAT, own_keys)?;
            let mut tests: Vec<SelfTest> = at_start
                .rows()
                .into_iter()
                .zip(now.rows())
                .filter(|(then, _)| then.served)
                .map(|(_, now)| SelfTest {
                    name: now.name,
                    outcome: if now.served { Ok(now.detail) } else { Err(now.detail) },
                })
                .collect();
            if own_keys {
                let checked = module.at_seat(SEAT, |desk| own_keys::check_all(desk, at_start));
                tests.push(SelfTest {
                    name: "own keys".to_owned(),
                    outcome: match checked {
                        Ok(_) => Ok("present, immutable, one usage each, unreadable".to_owned()),
                        Err(error) => Err(error.to_string()),
                    },
                });
            }
            Ok(tests)
        })
        .await
    }

    /// Whether keys of this kind can be served; see [`Capabilities::serves`].
    ///
    /// # Errors
    /// [`HsmError::NotServed`].
    pub fn serves(&self, kind: KeyKind) -> Result<(), HsmError> {
        self.capabilities().serves(kind)
    }
}

/// A vending key that lives as a session object, as long as this value.
#[derive(Debug)]
pub struct SessionKey {
    imported: ImportedKey,
    hsm: Hsm,
}

impl SessionKey {
    /// What deriving needs.
    pub fn key(&self) -> VendingKey {
        self.imported.key
    }

    /// Its check value.
    pub fn kcv(&self) -> [u8; 3] {
        self.imported.kcv
    }
}

impl Drop for SessionKey {
    fn drop(&mut self) {
        let id = self.imported.key.id;
        let destroy: AdminJob = Box::new(move |module, _| {
            if let Err(error) = module.at_seat(SEAT, |desk| import::destroy(desk, id)) {
                tracing::warn!(%error, "a session key lives until the process ends");
            }
        });
        if let Err(error) = self.hsm.queue_admin(destroy) {
            tracing::warn!(%error, "a session key lives until the process ends");
        }
    }
}
