//! The end of a configuration's keys: scheduled by an administrator, done when the time has come.
//!
//! The row says that destruction has begun before the HSM is asked, and that it is done after the
//! HSM was seen to hold nothing any more. A crash anywhere between is found at the next look, and
//! what was begun is done again.

use super::{EnableError, Vending};
use crate::{
    access::Caller,
    configuration::{Configuration, ConfigurationState, Gone, KeyState},
    crash,
    hsm::{HsmError, KeyId},
    id::ConfigurationId,
    store::{ConfigurationError, StoreError},
};

/// Why a key is not destroyed. The next look tries again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DestroyError {
    /// The HSM does not answer, or still holds the key.
    #[error(transparent)]
    Hsm(#[from] HsmError),
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Vending {
    /// Schedules the destruction of a disabled configuration's keys. Nothing can be scheduled while
    /// the clock is in doubt: a clock that is behind would leave no time to think again.
    ///
    /// # Errors
    /// [`EnableError`].
    pub async fn schedule_destruction(
        &self,
        caller: &Caller,
        id: ConfigurationId,
    ) -> Result<Configuration, EnableError> {
        self.reach(caller, &[id]).await?;
        let now_ms = self.guard.pass().map_err(EnableError::Stopped)?;
        let destroy_ms = now_ms.saturating_add(self.policy.destroy_delay_ms());
        let scheduled = self.store.schedule_destruction(id, destroy_ms, caller.actor(), now_ms).await;
        scheduled.map_err(|error| EnableError::of(id, error))
    }

    /// Takes a scheduled destruction back; the configuration is disabled then.
    ///
    /// # Errors
    /// [`EnableError`].
    pub async fn restore_configuration(
        &self,
        caller: &Caller,
        id: ConfigurationId,
    ) -> Result<Configuration, EnableError> {
        self.reach(caller, &[id]).await?;
        let restored = self.store.restore_configuration(id, caller.actor(), self.clock.now_ms()).await;
        restored.map_err(|error| EnableError::of(id, error))
    }

    /// Destroys the keys whose time has come, and answers how many. Nothing while the clock or the
    /// database is in doubt.
    ///
    /// # Errors
    /// [`DestroyError`] of the first that could not be destroyed; what comes after it was tried all
    /// the same.
    pub async fn destroy_due(&self) -> Result<usize, DestroyError> {
        let Ok(now_ms) = self.guard.pass() else { return Ok(0) };
        let (mut destroyed, mut failed) = (0, None);
        for id in self.store.due_destructions(now_ms).await? {
            match self.destroy(id, now_ms).await {
                Ok(true) => destroyed += 1,
                Ok(false) => {}
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(destroyed), Err)
    }

    /// Says whether it was destroyed: a configuration that was restored meanwhile is not.
    async fn destroy(&self, id: ConfigurationId, now_ms: i64) -> Result<bool, DestroyError> {
        match self.store.begin_destruction(id, now_ms).await {
            Ok(_) => {}
            Err(ConfigurationError::Refused(_)) => return Ok(false),
            Err(ConfigurationError::Store(error)) => return Err(error.into()),
        }
        // Read anew from now on: the row says that the key is gone.
        self.configurations.forget(id);
        crash::point("destroy-after-begin");
        let tokens = self.hsm.tokens();
        let (mut gone, mut failed) = (Vec::new(), None);
        for token in &tokens {
            let destroyed = match self.hsm.on(*token) {
                Ok(hsm) => hsm.destroy_vending_key(KeyId(id.to_bytes())).await,
                Err(error) => Err(error),
            };
            match destroyed {
                Ok(()) => gone.push(*token),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        crash::point("destroy-after-keys");
        // One token alone leaves nothing to note before it is done.
        if let (Some(error), true) = (&failed, gone.is_empty()) {
            return Err(error.clone().into());
        }
        let Some(first) = tokens.first().copied() else { return Ok(false) };
        // One that was not reached yet is not among the tokens.
        let failed = failed.or_else(|| self.hsm.unreached());
        let gone = Gone { tokens: gone, first, all: failed.is_none() };
        match self.store.finish_destruction(id, gone, self.clock.now_ms()).await {
            Ok(row) if row.state != ConfigurationState::Destroyed => {
                let left = row.keys.iter().filter(|key| key.state == KeyState::Held);
                let left: Vec<_> = left.filter_map(|key| key.token).map(|token| token.to_string()).collect();
                tracing::warn!(configuration = %id, ?left, "the keys of a configuration are destroyed but for those on tokens that this server does not reach");
                failed.map_or(Ok(false), |error| Err(error.into()))
            }
            Ok(row) => {
                self.configurations.forget(id);
                tracing::warn!(configuration = %id, kcv = row.kcv().map(hex::encode), "the keys of a configuration are destroyed");
                Ok(true)
            }
            Err(ConfigurationError::Store(error)) => Err(error.into()),
            Err(ConfigurationError::Refused(refusal)) => {
                Err(StoreError::Defect { reason: format!("a destruction under way: {refusal}") }.into())
            }
        }
    }
}
