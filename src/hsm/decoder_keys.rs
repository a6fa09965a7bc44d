//! Decoder keys: derived in the HSM, and lent for the time of one closure.

use std::fmt;
use std::time::Duration;

use tokio::sync::{TryAcquireError, oneshot};

use super::error::{HsmError, Queue};
use super::keys::{TokenId, VendingKey};
use super::service::Hsm;
use super::tokens::Tokens;
use super::worker::{Finish, Job, MOST_DECODER_KEYS, QueuePermit, answer_within};
use crate::sts::cipher::DecoderKey;
use crate::sts::derivation::Derivation;

/// Derives decoder keys. What issuing and verifying need of an HSM; see [`WithDecoderKeys`] for how
/// it is used.
pub trait DecoderKeys: Tokens + fmt::Debug + Send + Sync {
    /// A permit of the queue. To be taken *before* the ledger's commit, so that a full queue refuses
    /// early.
    ///
    /// # Errors
    /// [`HsmError::Busy`]; [`HsmError::Unavailable`] while the HSM does not serve.
    fn try_reserve(&self) -> Result<QueuePermit, HsmError>;

    /// The same of the queue of one token.
    ///
    /// # Errors
    /// As [`DecoderKeys::try_reserve`].
    fn try_reserve_on(&self, _token: TokenId) -> Result<QueuePermit, HsmError> {
        self.try_reserve()
    }

    /// How many jobs are done at the same time: those that share an HSM of many sessions should be
    /// as many.
    fn jobs_at_once(&self) -> usize;

    /// Derives the decoder keys of `wanted`, at most [`MOST_DECODER_KEYS`], all by keys of one token,
    /// and calls `finish` with them in that order, on a thread of its own, or with the failure.
    ///
    /// The keys lie in locked memory and are wiped when `finish` returns.
    ///
    /// # Errors
    /// [`HsmError::Stopped`]: `finish` will not be called.
    fn derive(
        &self,
        permit: QueuePermit,
        wanted: Vec<(VendingKey, Derivation)>,
        finish: Finish,
    ) -> Result<(), HsmError>;

    /// How long an answer is waited for.
    fn answer_timeout(&self) -> Duration;

    /// Takes note that no answer of this token came within the time: a call that hangs fails nobody,
    /// so nobody else would notice.
    fn note_timeout(&self, token: TokenId, error: &HsmError);
}

/// What callers use of [`DecoderKeys`].
pub trait WithDecoderKeys: DecoderKeys {
    /// Derives the decoder keys of `wanted` and runs `finish` with them, in that order, on an HSM
    /// thread.
    ///
    /// The keys lie in the thread's locked page and are wiped when `finish` returns. `finish` must
    /// be quick, and must not wait for anything. Jobs of one DKGA02 key that wait at the same time
    /// share two HSM calls.
    ///
    /// # Errors
    /// [`HsmError::Unavailable`] when the HSM is lost: `finish` did not run. [`HsmError::Timeout`]
    /// when the time of the settings is over: `finish` may still run. [`HsmError::KeyMissing`],
    /// [`HsmError::KeyUntrusted`] (a row's mask does not fit), [`HsmError::WrongKind`],
    /// [`HsmError::TooMany`], [`HsmError::NotServed`].
    fn with_decoder_keys<R: Send + 'static>(
        &self,
        permit: QueuePermit,
        wanted: Vec<(VendingKey, Derivation)>,
        finish: impl FnOnce(&[DecoderKey<'_>]) -> R + Send + 'static,
    ) -> impl Future<Output = Result<R, HsmError>> + Send {
        async move {
            if wanted.len() > MOST_DECODER_KEYS {
                return Err(HsmError::TooMany { asked: wanted.len(), most: MOST_DECODER_KEYS });
            }
            let token = wanted.first().map(|(key, _)| key.token);
            let (answer, answered) = oneshot::channel();
            let finish = Box::new(move |keys: Result<&[DecoderKey<'_>], HsmError>| {
                // A caller that has gone needs no token now; it asks again.
                let _ = answer.send(keys.map(finish));
            });
            self.derive(permit, wanted, finish)?;
            let found = answer_within(self.answer_timeout(), answered).await;
            if let (Err(error @ HsmError::Timeout(_)), Some(token)) = (&found, token) {
                self.note_timeout(token, error);
            }
            found
        }
    }
}

impl<T: DecoderKeys + ?Sized> WithDecoderKeys for T {}

impl DecoderKeys for Hsm {
    fn try_reserve(&self) -> Result<QueuePermit, HsmError> {
        self.inner.module.serves()?;
        match self.inner.permits.clone().try_acquire_owned() {
            Ok(permit) => Ok(QueuePermit::new(permit)),
            Err(TryAcquireError::NoPermits) => Err(HsmError::Busy(Queue::Vending)),
            Err(TryAcquireError::Closed) => Err(HsmError::Stopped),
        }
    }

    fn jobs_at_once(&self) -> usize {
        self.inner.module.settings().threads.max(1)
    }

    fn derive(
        &self,
        permit: QueuePermit,
        wanted: Vec<(VendingKey, Derivation)>,
        finish: Finish,
    ) -> Result<(), HsmError> {
        self.inner.vending.send(Job { wanted, finish, permit }).map_err(|_| HsmError::Stopped)
    }

    fn answer_timeout(&self) -> Duration {
        self.inner.module.settings().answer_timeout
    }

    fn note_timeout(&self, _token: TokenId, error: &HsmError) {
        // The monitor takes it back if the token answers.
        self.inner.module.set_unhealthy(error);
        self.inner.module.wake_monitor();
    }
}
