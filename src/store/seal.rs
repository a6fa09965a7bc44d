//! Who seals the rows that decide: the HSM's row-seal key (DESIGN §6).

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use thiserror::Error;

use crate::hsm::{Hsm, RowSealKey};

/// Makes the seals of rows: an HMAC by a key that no database holds. Blocks; called on the store's own threads.
pub trait Sealer: fmt::Debug + Send + Sync {
    /// The seal of a message: the same for the same message, and for nobody else to make.
    ///
    /// # Errors
    /// The HSM does not answer.
    fn seal(&self, message: &[u8]) -> Result<[u8; 32], NoSeal>;
}

/// No seal can be made or checked now.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the HSM does not seal: {0}")]
pub struct NoSeal(pub String);

impl Sealer for Hsm {
    fn seal(&self, message: &[u8]) -> Result<[u8; 32], NoSeal> {
        self.seal_row(message).map_err(|error| NoSeal(error.to_string()))
    }
}

/// What a look at all rows that decide found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SealReport {
    /// Rows that do not bear their seal, by table and number: they are refused wherever they are loaded. And rows of the
    /// ledger that are none of ours, as far as they were met: they are left out.
    pub forged: Vec<String>,
    /// Whether rows were taken out, or put back as they once were, by another hand.
    pub roll_broken: bool,
}

impl SealReport {
    /// Whether all is as the store left it.
    pub fn is_sound(&self) -> bool {
        self.forged.is_empty() && !self.roll_broken
    }
}

/// A key in memory, for benchmarks and tests of the store alone.
pub struct SoftwareSealer(pub [u8; 32]);

impl fmt::Debug for SoftwareSealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SoftwareSealer(..)")
    }
}

impl Sealer for SoftwareSealer {
    fn seal(&self, message: &[u8]) -> Result<[u8; 32], NoSeal> {
        let mut hmac = Hmac::<Sha256>::new_from_slice(&self.0).map_err(|error| NoSeal(error.to_string()))?;
        hmac.update(message);
        Ok(hmac.finalize().into_bytes().into())
    }
}
