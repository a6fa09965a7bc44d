//! How the keys of sealed uploads are encrypted.

use std::fmt;
use std::str::FromStr;

use rsa::rand_core::CryptoRngCore;
use rsa::{Oaep, RsaPublicKey};
use thiserror::Error;

/// How the keys of a sealed upload are encrypted. The hash is part of it: SoftHSM 2.6.1 has OAEP
/// with SHA-1 alone, which is no weakness there, since OAEP needs no collisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealSuite {
    /// RSAES-OAEP with SHA-256 and MGF1-SHA-256, empty label.
    OaepSha256,
    /// RSAES-OAEP with SHA-1 and MGF1-SHA-1, empty label.
    OaepSha1,
}

impl SealSuite {
    /// All, best first.
    pub const ALL: [SealSuite; 2] = [SealSuite::OaepSha256, SealSuite::OaepSha1];

    /// Its name in a sealed upload.
    pub fn id(self) -> &'static str {
        match self {
            SealSuite::OaepSha256 => "RSA-OAEP-SHA-256",
            SealSuite::OaepSha1 => "RSA-OAEP-SHA-1",
        }
    }

    /// Encrypts to a server's key.
    ///
    /// # Errors
    /// No randomness, or a key too small for the message.
    pub fn encrypt(
        self,
        server: &RsaPublicKey,
        random: &mut impl CryptoRngCore,
        message: &[u8],
    ) -> Result<Vec<u8>, rsa::Error> {
        let padding = match self {
            SealSuite::OaepSha256 => Oaep::new::<rsa::sha2::Sha256>(),
            SealSuite::OaepSha1 => Oaep::new::<sha1::Sha1>(),
        };
        server.encrypt(random, padding, message)
    }
}

impl fmt::Display for SealSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

/// A text that names no suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not a suite: RSA-OAEP-SHA-256 or RSA-OAEP-SHA-1")]
pub struct UnknownSuite;

impl FromStr for SealSuite {
    type Err = UnknownSuite;

    fn from_str(text: &str) -> Result<SealSuite, UnknownSuite> {
        SealSuite::ALL.into_iter().find(|suite| suite.id() == text).ok_or(UnknownSuite)
    }
}
