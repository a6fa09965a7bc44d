//! Who derives decoder keys for the runner: the HSM under test, or software.

use super::fields::KeyBytes;
use crate::sts::cipher::DecoderKey;
use crate::sts::derivation::Derivation;
use crate::sts::software::{OwnedDecoderKey, derive};

/// A decoder key that the runner wants.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The vending key, of the length that the file gives.
    pub vending_key: KeyBytes,
    /// What to derive from it.
    pub derivation: Derivation,
}

/// Why there is no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// The module cannot do this: the vector is skipped, with this reason.
    #[error("not served: {0}")]
    Unsupported(String),
    /// It should have worked: the vector fails.
    #[error("{0}")]
    Failed(String),
}

/// Whoever holds vending keys and derives decoder keys from them.
pub trait Keys {
    /// Derives the keys and lets `finish` use them, in the order wanted, while they exist.
    ///
    /// # Errors
    /// [`KeysError`].
    fn with<R: Send + 'static>(
        &self,
        wanted: Vec<Wanted>,
        finish: impl FnOnce(&[DecoderKey<'_>]) -> R + Send + 'static,
    ) -> Result<R, KeysError>;
}

/// Derives in software.
#[derive(Clone, Copy, Debug, Default)]
pub struct SoftwareKeys;

impl Keys for SoftwareKeys {
    fn with<R: Send + 'static>(
        &self,
        wanted: Vec<Wanted>,
        finish: impl FnOnce(&[DecoderKey<'_>]) -> R + Send + 'static,
    ) -> Result<R, KeysError> {
        let owned: Vec<OwnedDecoderKey> = wanted
            .iter()
            .map(|wanted| derive(&wanted.derivation, wanted.vending_key.as_bytes()))
            .collect::<Result<_, _>>()
            .map_err(|error| KeysError::Failed(error.to_string()))?;
        let keys: Vec<DecoderKey<'_>> = owned.iter().map(OwnedDecoderKey::borrow).collect();
        Ok(finish(&keys))
    }
}
