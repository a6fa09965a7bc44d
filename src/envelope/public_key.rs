//! RSA public keys: of the administrators who sign uploads, and of the server that opens them.
//!
//! Whatever form a key arrives in (upload formats §3), it is kept as the DER of its
//! SubjectPublicKeyInfo, so that its fingerprint does not depend on the form.

use std::fmt;
use std::str::FromStr;

use rsa::BigUint;
use rsa::RsaPublicKey;
use rsa::pkcs8::EncodePublicKey;
use rsa::traits::PublicKeyParts;
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::blob::{self, Base64Fault};
use super::recognise::{Holder, Recognised, recognise};
use super::signature;

/// The fewest bits of a modulus.
const MIN_BITS: usize = 2048;
/// The documented size; less gets a warning.
const ADVISED_BITS: usize = 4096;
/// The most bits: verification gets slower with their square.
const MAX_BITS: usize = 8192;

/// Why something is not a public key that may sign uploads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PublicKeyError {
    /// No bytes, or blanks only.
    #[error("the key is empty")]
    Empty,
    /// A private key, and its form. Whoever sent it should make a new one.
    #[error(
        "this is a private key ({0}): register the public one, and replace this pair, because it has left your hands"
    )]
    PrivateKey(&'static str),
    /// A public key, but not of plain RSA: its algorithm.
    #[error("the key is not an RSA key ({0})")]
    NotRsa(&'static str),
    /// More than one key.
    #[error("there are {0} different keys in it: give the one that signs")]
    Several(usize),
    /// Something else that is known.
    #[error("this is {0}, not a public key")]
    Other(&'static str),
    /// Bytes that are no key.
    #[error("not a public key in PEM, DER, base64 or hex, nor a certificate")]
    Unreadable,
    /// Text that is no key.
    #[error("not a public key in PEM, DER, base64 or hex, nor a certificate: {0}")]
    Text(#[from] Base64Fault),
    /// An RSA key with an even modulus or an impossible exponent.
    #[error("the numbers of the RSA key are not valid")]
    InvalidNumbers,
    /// Too small.
    #[error("the RSA key has {bits} bits; at least 2048 are required")]
    TooShort {
        /// Bits of the modulus.
        bits: usize,
    },
    /// Too large.
    #[error("the RSA key has {bits} bits; at most 8192 are supported")]
    TooLong {
        /// Bits of the modulus.
        bits: usize,
    },
}

/// Something in an accepted key that its owner should know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PublicKeyWarning {
    /// Smaller than the documented 4096 bits.
    #[error("the RSA key has {bits} bits; 4096 are advised")]
    Short {
        /// Bits of the modulus.
        bits: usize,
    },
}

/// SHA-256 of the DER of a SubjectPublicKeyInfo; prints as 64 hex digits, as `openssl pkey -pubin
/// -outform DER | sha256sum` does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for Fingerprint {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

/// Not a fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a fingerprint is 64 hex digits")]
pub struct FingerprintError;

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    /// 64 hex digits in either case; colons between them are skipped, as some tools print them.
    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text.replace(':', ""), &mut bytes).map_err(|_| FingerprintError)?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An RSA public key of 2048 to 8192 bits.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    rsa: RsaPublicKey,
    spki: Box<[u8]>,
    fingerprint: Fingerprint,
}

impl PublicKey {
    /// Reads a key in any form, see [`PublicKey::read`].
    ///
    /// # Errors
    /// Whatever it is instead, see [`PublicKeyError`].
    pub fn parse(input: &[u8]) -> Result<PublicKey, PublicKeyError> {
        Self::read(input).map(|(key, _)| key)
    }

    /// Reads a key: SubjectPublicKeyInfo or PKCS#1 in PEM, DER, base64 or hex, JWK, XML, an SSH
    /// key; or the one key that a certificate, a request or a PKCS#7 holds. Says what it stood in.
    ///
    /// # Errors
    /// Whatever it is instead, see [`PublicKeyError`].
    pub fn read(input: &[u8]) -> Result<(PublicKey, Holder), PublicKeyError> {
        match recognise(input) {
            Recognised::RsaPublicKey { modulus, exponent, holder } => {
                Ok((Self::from_components(&modulus, &exponent)?, holder))
            }
            Recognised::Empty => Err(PublicKeyError::Empty),
            Recognised::PrivateKey(form) => Err(PublicKeyError::PrivateKey(form)),
            Recognised::OtherPublicKey(algorithm, _) => Err(PublicKeyError::NotRsa(algorithm)),
            Recognised::SeveralKeys(count) => Err(PublicKeyError::Several(count)),
            Recognised::Configuration => Err(PublicKeyError::Other("a configuration in clear")),
            Recognised::Salted => Err(PublicKeyError::Other("a file that openssl encrypted with a password")),
            Recognised::Other(phrase) => Err(PublicKeyError::Other(phrase)),
            Recognised::Bytes(_) => Err(PublicKeyError::Unreadable),
            Recognised::Text(fault) => Err(fault.into()),
        }
    }

    /// The key of this modulus and exponent, both big endian, as an HSM gives them.
    ///
    /// # Errors
    /// [`PublicKeyError::TooShort`], [`TooLong`](PublicKeyError::TooLong) or
    /// [`InvalidNumbers`](PublicKeyError::InvalidNumbers).
    pub fn from_components(modulus: &[u8], exponent: &[u8]) -> Result<PublicKey, PublicKeyError> {
        let modulus = BigUint::from_bytes_be(modulus);
        match modulus.bits() {
            bits if bits < MIN_BITS => return Err(PublicKeyError::TooShort { bits }),
            bits if bits > MAX_BITS => return Err(PublicKeyError::TooLong { bits }),
            _ => {}
        }
        let rsa = RsaPublicKey::new_with_max_size(modulus, BigUint::from_bytes_be(exponent), MAX_BITS)
            .map_err(|_| PublicKeyError::InvalidNumbers)?;
        let spki = rsa
            .to_public_key_der()
            .map_err(|_| PublicKeyError::InvalidNumbers)?
            .into_vec()
            .into_boxed_slice();
        let fingerprint = Fingerprint(Sha256::digest(&spki).into());
        Ok(PublicKey { rsa, spki, fingerprint })
    }

    /// The public half of `private`.
    pub(super) fn of(private: &rsa::RsaPrivateKey) -> Result<PublicKey, PublicKeyError> {
        PublicKey::from_components(&private.n().to_bytes_be(), &private.e().to_bytes_be())
    }

    /// SHA-256 of [`spki_der`](Self::spki_der).
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The DER of the SubjectPublicKeyInfo (RFC 5280 §4.1.2.7).
    pub fn spki_der(&self) -> &[u8] {
        &self.spki
    }

    /// The SubjectPublicKeyInfo as PEM, lines of 64 columns.
    pub fn spki_pem(&self) -> String {
        format!("-----BEGIN PUBLIC KEY-----\n{}-----END PUBLIC KEY-----\n", blob::encode(&self.spki, 64))
    }

    /// Bits of the modulus.
    pub fn bits(&self) -> usize {
        self.rsa.n().bits()
    }

    /// Bytes of the modulus, hence of a signature and of a wrapped key.
    pub fn modulus_bytes(&self) -> usize {
        self.rsa.size()
    }

    /// What its owner should know.
    pub fn warning(&self) -> Option<PublicKeyWarning> {
        let bits = self.bits();
        (bits < ADVISED_BITS).then_some(PublicKeyWarning::Short { bits })
    }

    /// Whether `signature` is this key's over the SHA-256 `digest`, PKCS#1 v1.5 type 1, with or
    /// without DigestInfo.
    pub fn verifies(&self, digest: &[u8; 32], signature: &[u8]) -> bool {
        signature::verify(&self.rsa, digest, signature)
    }

    /// Whether `signature` is this key's over `message`: RSASSA-PSS with SHA-256, MGF1-SHA-256 and a
    /// salt of 32 bytes.
    pub(super) fn verifies_pss(&self, message: &[u8], signature: &[u8]) -> bool {
        signature::verify_pss(&self.rsa, message, signature)
    }

    pub(super) fn rsa(&self) -> &RsaPublicKey {
        &self.rsa
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({} bits, {})", self.bits(), self.fingerprint)
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_keys;
    use super::*;
    use proptest::prelude::*;
    use rsa::pkcs1::EncodeRsaPublicKey;
    use rsa::pkcs8::{EncodePrivateKey, LineEnding};

    #[test]
    fn every_form_gives_the_same_key() {
        let private = test_keys::administrator();
        let rsa = private.to_public_key();
        let key = PublicKey::from_components(&rsa.n().to_bytes_be(), &rsa.e().to_bytes_be()).unwrap();
        let spki_pem = rsa.to_public_key_pem(LineEnding::LF).unwrap();
        let pkcs1_pem = rsa.to_pkcs1_pem(LineEnding::LF).unwrap();
        let spki = rsa.to_public_key_der().unwrap().into_vec();
        let pkcs1 = rsa.to_pkcs1_der().unwrap().into_vec();
        assert_eq!(key.spki_pem(), spki_pem);
        assert_eq!(key.spki_der(), spki);
        for form in [
            spki_pem.clone().into_bytes(),
            spki_pem.replace('\n', "\r\n").into_bytes(),
            format!("\u{feff}A key\n\n{spki_pem}\n\n").into_bytes(),
            pkcs1_pem.into_bytes(),
            spki.clone(),
            pkcs1.clone(),
            blob::encode(&spki, 64).into_bytes(),
            blob::encode(&spki, 100_000)
                .trim_end()
                .trim_end_matches('=')
                .replace('+', "-")
                .replace('/', "_")
                .into_bytes(),
            blob::encode(&pkcs1, 76).into_bytes(),
        ] {
            let read = PublicKey::parse(&form).unwrap();
            assert_eq!(read, key);
            assert_eq!(read.fingerprint(), key.fingerprint());
        }
        assert_eq!(key.fingerprint().as_bytes()[..], Sha256::digest(&spki)[..]);
        assert_eq!((key.bits(), key.modulus_bytes()), (2048, 256));
        assert_eq!(key.warning(), Some(PublicKeyWarning::Short { bits: 2048 }));
    }

    #[test]
    fn what_is_no_public_rsa_key_is_named() {
        let private = test_keys::administrator();
        let private_pem = private.to_pkcs8_pem(LineEnding::LF).unwrap();
        let private_der = private.to_pkcs8_der().unwrap();
        // id-ecPublicKey on P-256, the point all zero.
        let mut elliptic = hex::decode("3059301306072a8648ce3d020106082a8648ce3d030107034200").unwrap();
        elliptic.extend([4; 65]);
        let elliptic_pem =
            format!("-----BEGIN PUBLIC KEY-----\n{}-----END PUBLIC KEY-----\n", blob::encode(&elliptic, 64));
        let bad = |column, character| Base64Fault::BadCharacter { line: 1, column, character }.into();
        let cases: [(&[u8], PublicKeyError); 12] = [
            (b"", PublicKeyError::Empty),
            (b" \r\n", PublicKeyError::Empty),
            (b"hello, world", bad(6, ',')),
            (b"QUJD", PublicKeyError::Unreadable),
            (b"\x30\x82\x01\x00", PublicKeyError::Unreadable),
            (b"\xff\xfe", PublicKeyError::Empty),
            (private_pem.as_bytes(), PublicKeyError::PrivateKey("PKCS#8")),
            (private_der.as_bytes(), PublicKeyError::PrivateKey("PKCS#8")),
            (b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n", PublicKeyError::PrivateKey("PKCS#8, encrypted")),
            (b"vending_key: 00", PublicKeyError::Other("a configuration in clear")),
            (&elliptic, PublicKeyError::NotRsa("EC")),
            (elliptic_pem.as_bytes(), PublicKeyError::NotRsa("EC")),
        ];
        for (input, error) in cases {
            assert_eq!(PublicKey::parse(input), Err(error), "{}", String::from_utf8_lossy(input));
        }
        assert!(PublicKey::parse(&vec![b'A'; 1024 * 1024]).is_err());
    }

    #[test]
    fn fingerprints_are_read_as_they_are_written() {
        let fingerprint = test_keys::public(test_keys::administrator()).fingerprint();
        let text = fingerprint.to_string();
        let with_colons = text
            .to_uppercase()
            .as_bytes()
            .chunks(2)
            .map(|pair| String::from_utf8_lossy(pair))
            .collect::<Vec<_>>()
            .join(":");
        assert_eq!(text.parse(), Ok(fingerprint));
        assert_eq!(with_colons.parse(), Ok(fingerprint));
        for wrong in ["", "00", &text[1..], &format!("{text}00"), &text.replace(&text[..1], "g")] {
            assert_eq!(wrong.parse::<Fingerprint>(), Err(FingerprintError));
        }
    }

    #[test]
    fn sizes_and_numbers_are_checked() {
        let number = |bits: usize, last: u8| {
            let mut bytes = vec![0xff; bits / 8];
            bytes[bits / 8 - 1] = last;
            bytes
        };
        let parse = |modulus: &[u8], exponent: &[u8]| PublicKey::from_components(modulus, exponent);
        assert_eq!(parse(&number(1024, 1), &[3]).err(), Some(PublicKeyError::TooShort { bits: 1024 }));
        assert_eq!(parse(&[], &[3]).err(), Some(PublicKeyError::TooShort { bits: 0 }));
        assert_eq!(parse(&number(8200, 1), &[3]).err(), Some(PublicKeyError::TooLong { bits: 8200 }));
        for (modulus, exponent) in [
            (number(2048, 2), &[1, 0, 1][..]),
            (number(2048, 1), &[1]),
            (number(2048, 1), &[4]),
            (number(2048, 1), &[]),
        ] {
            assert_eq!(parse(&modulus, exponent).err(), Some(PublicKeyError::InvalidNumbers));
        }
        assert_eq!(parse(&number(4096, 1), &[1, 0, 1]).unwrap().warning(), None);
        assert!(parse(&number(8192, 1), &[1, 0, 1]).is_ok());
    }

    proptest! {
        #[test]
        fn any_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = PublicKey::parse(&bytes);
        }
    }
}
