//! Vending keys in memory behind the traits of an HSM, for tests of the layers above. It derives as
//! [`sts::software`](crate::sts::software) does.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Semaphore;

use super::audit_key::AuditKey;
use super::capabilities::{Capabilities, DesForm, HmacForm, ModuleFacts, Probe, TokenFacts, UnwrapScheme};
use super::decoder_keys::DecoderKeys;
use super::error::{HsmError, Queue};
use super::import::{ImportedKey, KeyObject, key_check_value};
use super::keys::{KeyId, KeyKind, Mask, Role, TokenId, VendingKey, VendingKeyClass, VendingKeyMaterial};
use super::own_keys::{OwnKey, ServerKey};
use super::seal_suite::SealSuite;
use super::sealed::SealedKey;
use super::tokens::Tokens;
use super::upload_key::{SealingKey, UploadKey};
use super::vending_keys::VendingKeys;
use super::worker::{Finish, QueuePermit};
use crate::secret::SecretBytes;
use crate::sts::cipher::DecoderKey;
use crate::sts::derivation::Derivation;
use crate::sts::software::{OwnedDecoderKey, derive};

/// One token in memory.
#[derive(Debug)]
pub(crate) struct SoftwareHsm {
    keys: Mutex<HashMap<KeyId, VendingKeyMaterial>>,
    capabilities: Capabilities,
    permits: Arc<Semaphore>,
    lost: AtomicBool,
}

impl SoftwareHsm {
    /// An empty token with a queue of this length.
    pub(crate) fn new(queue: usize) -> Self {
        Self {
            keys: Mutex::default(),
            capabilities: capabilities(),
            permits: Arc::new(Semaphore::new(queue)),
            lost: AtomicBool::new(false),
        }
    }

    /// Whether every derivation fails from now on, as by an HSM that is lost.
    pub(crate) fn lose(&self, lost: bool) {
        self.lost.store(lost, Ordering::Relaxed);
    }

    fn decoder_key(&self, key: VendingKey, derivation: &Derivation) -> Result<OwnedDecoderKey, HsmError> {
        if self.lost.load(Ordering::Relaxed) {
            return Err(HsmError::Unavailable("played".to_owned()));
        }
        let keys = self.keys.lock().unwrap();
        let missing = HsmError::KeyMissing { role: Role::VendingKey, id: key.id };
        Ok(derive(derivation, keys.get(&key.id).ok_or(missing)?.expose()).unwrap())
    }
}

/// It holds and derives every kind of vending key, and nothing else.
fn capabilities() -> Capabilities {
    fn not_played<T>() -> Probe<T> {
        Err("not played".to_owned())
    }
    Capabilities {
        module: ModuleFacts::default(),
        token: TokenFacts::default(),
        des: Ok(DesForm::Des3),
        mask: Ok(()),
        des2: Ok(DesForm::Des3),
        hmac: Ok(HmacForm::Native),
        upload_data: not_played(),
        unwrap: UnwrapScheme::ALL.map(|scheme| (scheme, not_played())),
        unwrap_refusals: Vec::new(),
        pss: not_played(),
        sealed: SealSuite::ALL.map(|suite| (suite, not_played())),
        origin: not_played(),
        allowed_mechanisms: not_played(),
    }
}

const TOKEN: [TokenId; 1] = [TokenId([7; 8])];

impl Tokens for SoftwareHsm {
    fn tokens(&self) -> Vec<TokenId> {
        TOKEN.to_vec()
    }

    fn on(&self, _token: TokenId) -> Result<&dyn VendingKeys, HsmError> {
        Ok(self)
    }

    fn first(&self) -> &dyn VendingKeys {
        self
    }

    fn serves_key(&self, _key: &VendingKey) -> bool {
        true
    }
}

impl DecoderKeys for SoftwareHsm {
    fn try_reserve(&self) -> Result<QueuePermit, HsmError> {
        let permit = self.permits.clone().try_acquire_owned();
        permit.map(QueuePermit::new).map_err(|_| HsmError::Busy(Queue::Vending))
    }

    fn jobs_at_once(&self) -> usize {
        1
    }

    fn derive(
        &self,
        _permit: QueuePermit,
        wanted: Vec<(VendingKey, Derivation)>,
        finish: Finish,
    ) -> Result<(), HsmError> {
        let derived: Result<Vec<OwnedDecoderKey>, HsmError> =
            wanted.iter().map(|(key, derivation)| self.decoder_key(*key, derivation)).collect();
        match derived {
            Ok(keys) => {
                let keys: Vec<DecoderKey<'_>> = keys.iter().map(OwnedDecoderKey::borrow).collect();
                finish(Ok(&keys));
            }
            Err(error) => finish(Err(error)),
        }
        Ok(())
    }

    fn answer_timeout(&self) -> Duration {
        Duration::from_secs(60)
    }

    fn note_timeout(&self, _token: TokenId, _error: &HsmError) {}
}

#[async_trait]
impl VendingKeys for SoftwareHsm {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn import_vending_key(&self, id: KeyId, key: VendingKeyMaterial) -> Result<ImportedKey, HsmError> {
        let kcv = key_check_value(&key)?;
        let class = match key.kind() {
            KeyKind::Des => VendingKeyClass::Des { mask: Mask { iv: [0; 16], ciphertext: [0; 16] } },
            KeyKind::Des2 => VendingKeyClass::Des2,
            KeyKind::Hmac => VendingKeyClass::Hmac,
        };
        self.keys.lock().unwrap().insert(id, key);
        Ok(ImportedKey { key: VendingKey { token: TOKEN[0], id, class, kcv }, kcv })
    }

    async fn import_sealed_key(&self, _: KeyId, _: Arc<SealedKey>) -> Result<Option<ImportedKey>, HsmError> {
        Err(HsmError::NotSetUp(vec![Role::Sealed]))
    }

    async fn opens_sealed_key(&self, _: Arc<SealedKey>) -> Result<bool, HsmError> {
        Err(HsmError::NotSetUp(vec![Role::Sealed]))
    }

    async fn destroy_vending_key(&self, id: KeyId) -> Result<(), HsmError> {
        self.keys.lock().unwrap().remove(&id);
        Ok(())
    }

    async fn inspect_vending_key(&self, key: VendingKey) -> Result<[u8; 3], HsmError> {
        let keys = self.keys.lock().unwrap();
        let missing = HsmError::KeyMissing { role: Role::VendingKey, id: key.id };
        key_check_value(keys.get(&key.id).ok_or(missing)?)
    }

    async fn key_objects(&self) -> Result<Vec<KeyObject>, HsmError> {
        let objects = |id: &KeyId| KeyObject { role: Role::VendingKey, id: Some(*id) };
        Ok(self.keys.lock().unwrap().keys().map(objects).collect())
    }

    async fn own_keys(&self) -> Result<Vec<OwnKey>, HsmError> {
        Ok(Vec::new())
    }
}

/// The server's own RSA keys are not played: what needs them is tested on a token.
#[async_trait]
impl UploadKey for SoftwareHsm {
    async fn server_key(&self) -> Result<ServerKey, HsmError> {
        Err(HsmError::NotSetUp(vec![Role::Legacy]))
    }

    async fn sealing_key(&self) -> Result<Option<SealingKey>, HsmError> {
        Ok(None)
    }

    async fn sealing_keys(&self, _now_ms: i64) -> Result<Vec<(TokenId, SealingKey)>, HsmError> {
        Ok(Vec::new())
    }

    async fn open_legacy(
        &self,
        _wrapped_key: Vec<u8>,
        _data: Vec<u8>,
        _now_ms: i64,
    ) -> Result<Vec<SecretBytes>, HsmError> {
        Err(HsmError::NotSetUp(vec![Role::Legacy]))
    }

    async fn fingerprint(&self, _domain: &'static str, _data: &[u8]) -> Result<[u8; 32], HsmError> {
        Err(HsmError::NotSetUp(vec![Role::Fingerprint]))
    }
}

#[async_trait]
impl AuditKey for SoftwareHsm {
    async fn audit_public_key(&self) -> Result<ServerKey, HsmError> {
        Err(HsmError::NotSetUp(vec![Role::Audit]))
    }

    async fn sign_checkpoint(&self, _message: &[u8]) -> Result<Vec<u8>, HsmError> {
        Err(HsmError::NotSetUp(vec![Role::Audit]))
    }
}
