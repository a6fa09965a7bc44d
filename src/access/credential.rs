//! Bearer credentials: `vendkey_<key id>_<secret>`, 16 and 64 hex digits.
//!
//! The secret has 256 random bits, so a plain SHA-256 of it is kept: there is nothing to guess.

use std::{fmt, str::FromStr};

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize as _, ZeroizeOnDrop, Zeroizing};

/// The public half of a credential: 16 lower-case hex digits.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct KeyId(String);

impl KeyId {
    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyId {
    type Err = CredentialError;

    fn from_str(text: &str) -> Result<Self, CredentialError> {
        let digits = text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if digits { Ok(Self(text.to_owned())) } else { Err(CredentialError::Shape) }
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// SHA-256 of a secret's 32 bytes, compared in constant time.
#[derive(Clone)]
pub struct SecretHash(pub [u8; 32]);

impl PartialEq for SecretHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

/// A whole credential, as a client holds it. Does not print.
pub struct Credential {
    key_id: KeyId,
    secret: Secret,
}

#[derive(ZeroizeOnDrop)]
struct Secret([u8; 32]);

/// The text is no credential.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// Not `vendkey_`, 16 hex digits, `_`, 64 hex digits.
    #[error("not a credential: `vendkey_`, 16 hex digits, `_`, 64 hex digits are expected")]
    Shape,
    /// The system gave no random bytes.
    #[error("the system gives no randomness: {0}")]
    Randomness(getrandom::Error),
}

const PREFIX: &str = "vendkey_";

impl Credential {
    /// A new one from the system's randomness.
    pub fn generate() -> Result<Self, CredentialError> {
        let (mut id, mut secret) = ([0; 8], Secret([0; 32]));
        getrandom::fill(&mut id).map_err(CredentialError::Randomness)?;
        getrandom::fill(&mut secret.0).map_err(CredentialError::Randomness)?;
        Ok(Self { key_id: KeyId(hex::encode(id)), secret })
    }

    /// The public half.
    pub fn key_id(&self) -> &KeyId {
        &self.key_id
    }

    /// What is stored of the secret.
    pub fn hash(&self) -> SecretHash {
        SecretHash(Sha256::digest(self.secret.0).into())
    }

    /// The text that a client sends: written to a file once, never logged.
    pub fn expose(&self) -> Zeroizing<String> {
        let secret = Zeroizing::new(hex::encode(self.secret.0));
        Zeroizing::new(format!("{PREFIX}{}_{}", self.key_id, *secret))
    }
}

impl FromStr for Credential {
    type Err = CredentialError;

    fn from_str(text: &str) -> Result<Self, CredentialError> {
        let (id, digits) = text
            .trim()
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split_once('_'))
            .ok_or(CredentialError::Shape)?;
        let lower_hex = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let mut secret = Secret([0; 32]);
        if id.len() != 16
            || !lower_hex(id)
            || !lower_hex(digits)
            || hex::decode_to_slice(digits, &mut secret.0).is_err()
        {
            secret.0.zeroize();
            return Err(CredentialError::Shape);
        }
        Ok(Self { key_id: KeyId(id.to_owned()), secret })
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({})", self.key_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        let made = Credential::generate().unwrap();
        let read: Credential = format!("{}\n", *made.expose()).parse().unwrap();
        assert_eq!(read.key_id(), made.key_id());
        assert!(read.hash() == made.hash());
        assert!(Credential::generate().unwrap().hash() != made.hash());
    }

    #[test]
    fn other_text_is_refused() {
        let good = Credential::generate().unwrap().expose();
        for bad in [
            "",
            "vendkey_",
            "vendkey_00_00",
            &good[1..],
            &good[..good.len() - 1],
            &good.to_uppercase(),
            "x y",
        ] {
            assert!(bad.parse::<Credential>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn debug_hides_the_secret() {
        let made = Credential::generate().unwrap();
        let secret = made.expose().rsplit('_').next().unwrap().to_owned();
        assert!(!format!("{made:?}").contains(&secret));
    }
}
