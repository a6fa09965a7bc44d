//! All tokens of a server: the first one with the server's own keys, and further ones that hold
//! vending keys. Work with a key goes to the token that is named in it; whoever calls chooses one
//! that serves ([`Tokens::serves_key`]).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::audit_key::AuditKey;
use super::decoder_keys::DecoderKeys;
use super::error::HsmError;
use super::keys::{KeyId, TokenId, VendingKey};
use super::module::Health;
use super::own_keys::ServerKey;
use super::service::Hsm;
use super::settings::HsmSettings;
use super::token::lock;
use super::tokens::{Tokens, not_in_use};
use super::upload_key::{SealingKey, UploadKey};
use super::vending_keys::VendingKeys;
use super::worker::{Finish, QueuePermit};
use crate::metrics;
use crate::secret::SecretBytes;
use crate::sts::derivation::Derivation;

/// How often it is looked whether the tokens serve.
const LOOK: Duration = Duration::from_millis(100);
/// First and longest pause between two attempts to reach a token that was not there.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));
/// How often a token is asked again for a key that it had lost.
const LOST_LOOK: Duration = Duration::from_secs(60);

/// The tokens of one server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct TokenList {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    first: Hsm,
    others: Vec<Other>,
    /// Keys that were found to be lost where they are said to lie: they are looked for elsewhere.
    lost: Mutex<BTreeMap<(TokenId, KeyId), VendingKey>>,
    health: watch::Sender<Health>,
}

/// A token beside the first one.
#[derive(Debug)]
struct Other {
    settings: HsmSettings,
    /// None until it was reached; from then on it heals by itself.
    hsm: OnceLock<Hsm>,
    fault: Mutex<Option<HsmError>>,
}

/// How a token is.
#[derive(Debug, Clone)]
pub struct TokenState {
    /// How the settings name it.
    pub name: String,
    /// The token; none of one that was not reached yet.
    pub hsm: Option<Hsm>,
    /// Why it does not serve, if so.
    pub fault: Option<String>,
}

impl TokenList {
    /// Starts the first token, and those of the others that are there. One that is not is told, and
    /// tried again by [`TokenList::watch`]. Blocks.
    ///
    /// # Errors
    /// Of the first token alone, as [`Hsm::start`].
    pub fn start(first: HsmSettings, others: Vec<HsmSettings>) -> Result<TokenList, HsmError> {
        let first = Hsm::start(first)?;
        let others = others.into_iter().map(|settings| Other {
            settings,
            hsm: OnceLock::new(),
            fault: Mutex::default(),
        });
        let list = TokenList {
            inner: Arc::new(Inner {
                first,
                others: others.collect(),
                lost: Mutex::default(),
                health: watch::Sender::new(Health::Healthy),
            }),
        };
        for other in &list.inner.others {
            if let Err(error) = list.reach(other) {
                tracing::error!(token = %other.settings.token, reason = %error, "a token does not serve");
                metrics::alarm("token_missing", "");
            }
        }
        Ok(list)
    }

    /// The first token, which holds the server's own keys.
    pub fn first_token(&self) -> &Hsm {
        &self.inner.first
    }

    /// How each token is, in the order of the settings.
    pub fn states(&self) -> Vec<TokenState> {
        let state = |settings: &HsmSettings, hsm: Option<&Hsm>, fault: Option<HsmError>| TokenState {
            name: settings.token.to_string(),
            hsm: hsm.cloned(),
            fault: match hsm {
                Some(hsm) => match &*hsm.health().borrow() {
                    Health::Healthy => None,
                    Health::Unhealthy { reason } => Some(reason.clone()),
                },
                None => fault.map(|error| error.to_string()),
            },
        };
        let first = &self.inner.first;
        let others = self.inner.others.iter();
        let others = others.map(|other| state(&other.settings, other.hsm.get(), lock(&other.fault).clone()));
        [state(first.inner.module.settings(), Some(first), None)].into_iter().chain(others).collect()
    }

    /// Whether any token serves.
    pub fn health(&self) -> watch::Receiver<Health> {
        if self.inner.others.is_empty() { self.inner.first.health() } else { self.inner.health.subscribe() }
    }

    /// Keeps [`TokenList::health`] true, reaches tokens that were not there, and asks again for keys
    /// that were lost. Ends with whoever runs it; with one token there is nothing to do.
    pub async fn watch(self) {
        if self.inner.others.is_empty() {
            return std::future::pending().await;
        }
        let mut serving: Vec<bool> = Vec::new();
        // Modules may hang: the look goes on beside them.
        let mut attempts: Vec<Attempt> = self.inner.others.iter().map(|_| Attempt::new()).collect();
        let (mut next_lost, mut lost) = (Instant::now() + LOST_LOOK, None::<JoinHandle<()>>);
        loop {
            let states = self.states();
            let now: Vec<bool> = states.iter().map(|state| state.fault.is_none()).collect();
            for (place, state) in states.iter().enumerate() {
                let before = serving.get(place).copied();
                if before == Some(true) && state.fault.is_some() {
                    let reason = state.fault.as_deref().unwrap_or_default();
                    tracing::error!(token = state.name, reason, "a token does not serve");
                    metrics::alarm("token_missing", "");
                } else if before == Some(false) && state.fault.is_none() {
                    tracing::warn!(token = state.name, "a token serves again");
                }
            }
            serving = now;
            self.inner.health.send_if_modified(|health| {
                let now = whole(&states);
                let changed = *health != now;
                *health = now;
                changed
            });
            for (place, attempt) in attempts.iter_mut().enumerate() {
                attempt.go_on(&self, place);
            }
            if Instant::now() >= next_lost && lost.as_ref().is_none_or(JoinHandle::is_finished) {
                let list = self.clone();
                lost = Some(tokio::spawn(async move { list.look_for_lost().await }));
                next_lost = Instant::now() + LOST_LOOK;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Ends the use of all tokens in order; see [`Hsm::stop`].
    pub fn stop(&self) {
        self.hsms().for_each(Hsm::stop);
    }

    /// Those that were reached.
    fn hsms(&self) -> impl Iterator<Item = &Hsm> {
        std::iter::once(&self.inner.first).chain(self.inner.others.iter().filter_map(|other| other.hsm.get()))
    }

    fn hsm(&self, token: TokenId) -> Result<&Hsm, HsmError> {
        self.hsms().find(|hsm| hsm.inner.token == token).ok_or_else(|| not_in_use(token))
    }

    fn reach(&self, other: &Other) -> Result<(), HsmError> {
        // A PIN that was refused is not tried again.
        if let Some(error @ (HsmError::PinRefused(_) | HsmError::PinRefusedBefore { .. })) =
            &*lock(&other.fault)
        {
            return Err(error.clone());
        }
        let started = Hsm::start(other.settings.clone()).and_then(|hsm| {
            if self.hsms().any(|known| known.inner.token == hsm.inner.token) {
                return Err(HsmError::Nonsense("the settings name this token twice"));
            }
            Ok(hsm)
        });
        match started {
            Ok(hsm) => {
                let _ = other.hsm.set(hsm);
                *lock(&other.fault) = None;
                Ok(())
            }
            Err(error) => {
                *lock(&other.fault) = Some(error.clone());
                Err(error)
            }
        }
    }

    async fn look_for_lost(&self) {
        let lost: Vec<VendingKey> = lock(&self.inner.lost).values().copied().collect();
        for key in lost {
            let Ok(hsm) = self.hsm(key.token) else { continue };
            if hsm.inspect_vending_key(key).await == Ok(key.kcv) {
                self.note_key(&key);
                tracing::warn!(token = %key.token, key = %key.id, "a token holds a key that it had lost");
            }
        }
    }

    /// Takes a token out for a key that it has lost.
    fn note_lost(&self, key: &VendingKey, error: &HsmError) {
        if self.inner.others.is_empty() {
            return;
        }
        if lock(&self.inner.lost).insert((key.token, key.id), *key).is_none() {
            tracing::error!(
                token = %key.token, key = %key.id, reason = %error,
                "a token has lost a key: it is taken out for it until the same upload is sent again"
            );
            metrics::alarm("key_lost", "");
        }
    }
}

/// The attempts to reach a token that was not there.
struct Attempt {
    pause: Duration,
    next: Instant,
    running: Option<JoinHandle<()>>,
}

impl Attempt {
    fn new() -> Self {
        let (first, _) = PAUSES;
        Self { pause: first, next: Instant::now() + first, running: None }
    }

    /// Begins one when it is time.
    fn go_on(&mut self, list: &TokenList, place: usize) {
        if self.running.take_if(|running| running.is_finished()).is_some() {
            self.next = Instant::now() + self.pause;
            let (_, longest) = PAUSES;
            self.pause = (self.pause * 2).min(longest);
        }
        let missing = list.inner.others.get(place).is_some_and(|other| other.hsm.get().is_none());
        if missing && self.running.is_none() && Instant::now() >= self.next {
            let list = list.clone();
            self.running = Some(tokio::task::spawn_blocking(move || {
                // What is in the way is kept for whoever asks.
                let _ = list.inner.others.get(place).map(|other| list.reach(other));
            }));
        }
    }
}

/// Any that serves will do.
fn whole(states: &[TokenState]) -> Health {
    match states.iter().map(|state| state.fault.as_ref()).collect::<Option<Vec<&String>>>() {
        None => Health::Healthy,
        Some(faults) => {
            let reason = faults.first().map(|fault| (*fault).clone()).unwrap_or_default();
            Health::Unhealthy { reason }
        }
    }
}

impl Tokens for TokenList {
    fn tokens(&self) -> Vec<TokenId> {
        self.hsms().map(|hsm| hsm.inner.token).collect()
    }

    fn on(&self, token: TokenId) -> Result<&dyn VendingKeys, HsmError> {
        self.hsm(token).map(|hsm| hsm as &dyn VendingKeys)
    }

    fn first(&self) -> &dyn VendingKeys {
        &self.inner.first
    }

    fn serves_key(&self, key: &VendingKey) -> bool {
        self.hsm(key.token).is_ok_and(|hsm| hsm.serves_key(key))
            && !lock(&self.inner.lost).contains_key(&(key.token, key.id))
    }

    fn unreached(&self) -> Option<HsmError> {
        let missing = self.inner.others.iter().find(|other| other.hsm.get().is_none())?;
        let why = lock(&missing.fault).as_ref().map(ToString::to_string).unwrap_or_default();
        Some(HsmError::Unavailable(format!("{} was not reached yet: {why}", missing.settings.token)))
    }

    fn note_key(&self, key: &VendingKey) {
        lock(&self.inner.lost).remove(&(key.token, key.id));
    }
}

impl DecoderKeys for TokenList {
    fn try_reserve(&self) -> Result<QueuePermit, HsmError> {
        let mut others = self.hsms().skip(1);
        self.inner
            .first
            .try_reserve()
            .or_else(|error| others.find_map(|hsm| hsm.try_reserve().ok()).ok_or(error))
    }

    fn try_reserve_on(&self, token: TokenId) -> Result<QueuePermit, HsmError> {
        self.hsm(token)?.try_reserve()
    }

    fn jobs_at_once(&self) -> usize {
        self.inner.first.jobs_at_once()
    }

    fn derive(
        &self,
        permit: QueuePermit,
        wanted: Vec<(VendingKey, Derivation)>,
        finish: Finish,
    ) -> Result<(), HsmError> {
        let Some((first, _)) = wanted.first() else { return self.inner.first.derive(permit, wanted, finish) };
        let token = first.token;
        if wanted.iter().any(|(key, _)| key.token != token) {
            return Err(HsmError::Nonsense("keys of several tokens in one job"));
        }
        let (list, keys) = (self.clone(), wanted.iter().map(|(key, _)| *key).collect::<Vec<_>>());
        let finish: Finish = Box::new(move |derived| {
            if let Err(
                error @ (HsmError::KeyMissing { id, .. }
                | HsmError::KeyAmbiguous { id, .. }
                | HsmError::KeyUntrusted { id, .. }),
            ) = &derived
                && let Some(key) = keys.iter().find(|key| key.id == *id)
            {
                list.note_lost(key, error);
            }
            finish(derived);
        });
        self.hsm(token)?.derive(permit, wanted, finish)
    }

    fn answer_timeout(&self) -> Duration {
        self.inner.first.answer_timeout()
    }

    fn note_timeout(&self, token: TokenId, error: &HsmError) {
        if let Ok(hsm) = self.hsm(token) {
            hsm.note_timeout(token, error);
        }
    }
}

/// Uploads of the legacy format are opened by the first token alone, which also makes all fingerprints:
/// so an upload is the same whichever token holds its key.
#[async_trait]
impl UploadKey for TokenList {
    async fn server_key(&self) -> Result<ServerKey, HsmError> {
        self.inner.first.server_key().await
    }

    async fn sealing_key(&self) -> Result<Option<SealingKey>, HsmError> {
        self.inner.first.sealing_key().await
    }

    async fn sealing_keys(&self, now_ms: i64) -> Result<Vec<(TokenId, SealingKey)>, HsmError> {
        let mut keys = self.inner.first.sealing_keys(now_ms).await?;
        for hsm in self.hsms().skip(1) {
            match hsm.sealing_keys(now_ms).await {
                Ok(more) => keys.extend(more),
                Err(error) => tracing::debug!(%error, "the sealing key of a token cannot be read"),
            }
        }
        Ok(keys)
    }

    async fn open_legacy(
        &self,
        wrapped_key: Vec<u8>,
        data: Vec<u8>,
        now_ms: i64,
    ) -> Result<Vec<SecretBytes>, HsmError> {
        self.inner.first.open_legacy(wrapped_key, data, now_ms).await
    }

    async fn fingerprint(&self, domain: &'static str, data: &[u8]) -> Result<[u8; 32], HsmError> {
        self.inner.first.fingerprint(domain, data).await
    }
}

#[async_trait]
impl AuditKey for TokenList {
    async fn audit_public_key(&self) -> Result<ServerKey, HsmError> {
        self.inner.first.audit_public_key().await
    }

    async fn sign_checkpoint(&self, message: &[u8]) -> Result<Vec<u8>, HsmError> {
        self.inner.first.sign_checkpoint(message).await
    }
}
