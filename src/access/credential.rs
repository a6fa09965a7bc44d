//! Bearer credentials: `vendkey_<key id>_<secret>`, 16 and 64 hex digits.
//!
//! The secret has 256 random bits, so a plain SHA-256 of it is kept: there is nothing to guess.

use std::{fmt, str::FromStr};

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize as _, ZeroizeOnDrop, Zeroizing};

/// By what a credential is found: the public half of a bearer credential (16 lower-case hex
/// digits), or which certificate it is (`spki:` and the SHA-256 of its public key in 64 hex digits,
/// or `uri:` and a URI among its names).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct KeyId(String);

/// The text names no credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected 16 hex digits, or spki: and 64 hex digits, or uri: and a URI; in lower case")]
pub struct KeyIdError;

/// The most characters of a URI.
const URI_LENGTH: usize = 512;

impl KeyId {
    /// Of the certificates of a key pair, by the SHA-256 of their SubjectPublicKeyInfo.
    pub fn of_public_key(spki_sha256: &[u8; 32]) -> Self {
        Self(format!("spki:{}", hex::encode(spki_sha256)))
    }

    /// Of the certificates that bear a name.
    ///
    /// # Errors
    /// It is no URI of at most 512 visible ASCII characters.
    pub fn of_uri(uri: &str) -> Result<Self, KeyIdError> {
        let fits = uri.len() <= URI_LENGTH && uri.contains(':') && uri.bytes().all(|b| b.is_ascii_graphic());
        if fits { Ok(Self(format!("uri:{uri}"))) } else { Err(KeyIdError) }
    }

    /// Whether a certificate proves it, and not a secret.
    pub fn is_of_certificate(&self) -> bool {
        self.0.contains(':')
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for KeyId {
    type Err = KeyIdError;

    fn from_str(text: &str) -> Result<Self, KeyIdError> {
        if let Some(uri) = text.strip_prefix("uri:") {
            return Self::of_uri(uri);
        }
        let (digits, count) = text.strip_prefix("spki:").map_or((text, 16), |digits| (digits, 64));
        if digits.len() == count && is_lower_hex(digits) {
            Ok(Self(text.to_owned()))
        } else {
            Err(KeyIdError)
        }
    }
}

fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
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
    ///
    /// # Errors
    /// [`CredentialError::Randomness`].
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
        let mut secret = Secret([0; 32]);
        if id.len() != 16
            || !is_lower_hex(id)
            || !is_lower_hex(digits)
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
    fn key_ids_have_three_forms() {
        let spki = KeyId::of_public_key(&[7; 32]).to_string();
        for good in ["0123456789abcdef", &spki, "uri:spiffe://example.org/till/7"] {
            let parsed: KeyId = good.parse().unwrap();
            assert_eq!(parsed.to_string(), good);
            assert_eq!(parsed.is_of_certificate(), good.len() != 16);
        }
        for bad in
            ["", "0123456789ABCDEF", "0123", "spki:0123456789abcdef", "uri:", "uri:till", "uri:a:b c", "x:y"]
        {
            assert!(bad.parse::<KeyId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn debug_hides_the_secret() {
        let made = Credential::generate().unwrap();
        let secret = made.expose().rsplit('_').next().unwrap().to_owned();
        assert!(!format!("{made:?}").contains(&secret));
    }
}
