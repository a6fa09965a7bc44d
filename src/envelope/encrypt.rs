//! The administrator's side of a legacy upload, offline: a text in, the three blobs out.
//!
//! It does what the openssl commands of upload formats §1 do, byte for byte but for the randomness,
//! and reads the text by the server's own rules first, so that faults are found before anything
//! leaves the machine.

use std::fmt;

use aes::Aes128;
use cbc::Encryptor;
use cipher::block_padding::Pkcs7;
use cipher::{BlockModeEncrypt, KeyIvInit};
use rsa::pkcs1::DecodeRsaPrivateKey;
use rsa::pkcs8::DecodePrivateKey;
use rsa::rand_core::CryptoRngCore;
use rsa::{Pkcs1v15Encrypt, RsaPrivateKey};
use sha2::{Digest, Sha256};
use thiserror::Error;
use zeroize::Zeroizing;

use super::blob;
use super::configuration::ConfigurationDraft;
use super::fault::FieldFault;
use super::opening;
use super::public_key::{PublicKey, PublicKeyError};
use super::signature;

/// Why something is not a private key to sign with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AdministratorKeyError {
    /// A PEM of an encrypted key.
    #[error("the private key is encrypted: decrypt it first (openssl pkey)")]
    Encrypted,
    /// A PEM of a public key.
    #[error("this is a public key; the private one signs")]
    PublicKey,
    /// Neither PKCS#8 nor PKCS#1 in PEM, or its numbers do not fit together, or it has more than
    /// 4096 bits.
    #[error("not an RSA private key in PEM (PKCS#8 or PKCS#1) of at most 4096 bits")]
    Unreadable,
    /// Its public half cannot be registered.
    #[error(transparent)]
    Unusable(#[from] PublicKeyError),
}

/// An administrator's RSA private key. Wiped when dropped; prints as its public half.
pub struct AdministratorKey {
    private: RsaPrivateKey,
    public: PublicKey,
}

impl AdministratorKey {
    /// Reads a PEM of PKCS#8 or PKCS#1, not encrypted. The caller wipes `pem`.
    ///
    /// # Errors
    /// See [`AdministratorKeyError`].
    pub fn from_pem(pem: &str) -> Result<AdministratorKey, AdministratorKeyError> {
        if pem.contains("ENCRYPTED") {
            return Err(AdministratorKeyError::Encrypted);
        }
        if pem.contains("PUBLIC KEY-----") {
            return Err(AdministratorKeyError::PublicKey);
        }
        let private = RsaPrivateKey::from_pkcs8_pem(pem)
            .or_else(|_| RsaPrivateKey::from_pkcs1_pem(pem))
            .map_err(|_| AdministratorKeyError::Unreadable)?;
        let public = PublicKey::of(&private)?;
        Ok(AdministratorKey { private, public })
    }

    /// The public half, to be registered at the server.
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }
}

impl fmt::Debug for AdministratorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AdministratorKey({:?})", self.public)
    }
}

/// The three blobs of an upload, as the text of their files.
#[derive(Debug, Clone)]
pub struct Encrypted {
    /// The encrypted text, in lines of 76 characters.
    pub data: String,
    /// The signature, in lines of 64 characters.
    pub digest: String,
    /// The wrapped AES key, in lines of 76 characters.
    pub key: String,
    /// What the server will read, with its warnings.
    pub draft: ConfigurationDraft,
}

/// Why no blobs were made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EncryptError {
    /// The server would refuse the text.
    #[error("the configuration has {} faults", .0.len())]
    Faults(Vec<FieldFault>),
    /// RSA failed: the keys' numbers do not fit together, or no randomness.
    #[error("the {0} cannot be made with this key")]
    Rsa(&'static str),
    /// The AES padding did not fit; never with a buffer of the right size.
    #[error("the text cannot be encrypted")]
    Aes,
}

/// Makes the three blobs of `text` for `server`, signed by `administrator`; `now` is in seconds
/// since 1970.
///
/// # Errors
/// Every fault of the text, or a key that does not work.
pub fn encrypt(
    text: &[u8],
    server: &PublicKey,
    administrator: &AdministratorKey,
    now: i64,
    random: &mut impl CryptoRngCore,
) -> Result<Encrypted, EncryptError> {
    let draft = opening::read(WipedCopy(text.into()), now).map_err(EncryptError::Faults)?.draft;

    let mut aes_key = Zeroizing::new([0; 16]);
    let mut iv = [0; 16];
    random.try_fill_bytes(&mut aes_key[..]).map_err(|_| EncryptError::Aes)?;
    random.try_fill_bytes(&mut iv).map_err(|_| EncryptError::Aes)?;

    let digest: Zeroizing<[u8; 32]> = Zeroizing::new(Sha256::digest(text).into());
    let signed = administrator
        .private
        .sign_with_rng(random, signature::raw(), &digest[..])
        .map_err(|_| EncryptError::Rsa("signature"))?;
    let wrapped = server
        .rsa()
        .encrypt(random, Pkcs1v15Encrypt, &aes_key[..])
        .map_err(|_| EncryptError::Rsa("wrapped key"))?;

    Ok(Encrypted {
        // Lines as the tools of the published commands break them: base64 (76), openssl base64
        // (64).
        data: blob::encode(&seal(text, &aes_key, &iv)?, 76),
        digest: blob::encode(&signed, 64),
        key: blob::encode(&wrapped, 76),
        draft,
    })
}

/// IV ‖ AES-128-CBC-PKCS7.
fn seal(text: &[u8], aes_key: &[u8; 16], iv: &[u8; 16]) -> Result<Vec<u8>, EncryptError> {
    let mut data = vec![0; iv.len() + (text.len() / 16 + 1) * 16];
    let (head, body) = data.split_at_mut(iv.len());
    head.copy_from_slice(iv);
    Encryptor::<Aes128>::new(aes_key.into(), iv.into())
        .encrypt_padded_b2b::<Pkcs7>(text, body)
        .map_err(|_| EncryptError::Aes)?;
    Ok(data)
}

/// A copy for the reader, which wipes it ([`opening::read`]).
struct WipedCopy(Box<[u8]>);

impl std::ops::Deref for WipedCopy {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl std::ops::DerefMut for WipedCopy {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::super::fault::FieldReason;
    use super::super::{legacy, test_keys};
    use super::*;
    use rsa::pkcs1::EncodeRsaPrivateKey;
    use rsa::pkcs8::{EncodePrivateKey, EncodePublicKey, LineEnding};
    use rsa::rand_core::OsRng;

    const TEXT: &str = "name: a\nkey_expiry_no: 255\nencryption_algorithm: misty1\ntoken_carrier_type: numeric\n\
        decoder_key_generation_algorithm: 04\ntariff_index: 01\nkey_revision_no: 1\n\
        vending_key: abababababababab949494949494949401234567\nsupply_group_code: 123456\nkey_type: 2\nbase_date: 2014\n\
        issuer_identification_no: 600727\n";

    fn administrator() -> AdministratorKey {
        AdministratorKey::from_pem(&test_keys::administrator().to_pkcs8_pem(LineEnding::LF).unwrap()).unwrap()
    }

    #[test]
    fn what_is_encrypted_opens() {
        let server = test_keys::public(test_keys::server());
        let administrator = administrator();
        let made = encrypt(TEXT.as_bytes(), &server, &administrator, 1_767_225_600, &mut OsRng).unwrap();
        assert_eq!(made.draft.warnings, []);
        let blobs = legacy::Blobs {
            data: made.data.as_bytes(),
            digest: made.digest.as_bytes(),
            key: made.key.as_bytes(),
        };
        let signers = [administrator.public_key().clone()];
        let envelope = legacy::parse(&blobs, server.modulus_bytes(), &signers).unwrap();
        let plain = test_keys::decrypt(&envelope).unwrap();
        assert_eq!(*plain, *TEXT.as_bytes());
        let upload = envelope.verify([plain], &signers).unwrap().read(1_767_225_600).unwrap();
        assert_eq!(upload.draft, made.draft);
        assert_eq!(made.data.lines().map(str::len).max(), Some(76));
        assert_eq!(made.digest.lines().map(str::len).max(), Some(64));
    }

    #[test]
    fn faults_are_found_offline() {
        let server = test_keys::public(test_keys::server());
        let text = TEXT.replace("key_type: 2\n", "");
        let fault = FieldFault::new("key_type", None, FieldReason::Missing);
        let made = encrypt(text.as_bytes(), &server, &administrator(), 0, &mut OsRng);
        assert_eq!(made.err(), Some(EncryptError::Faults(vec![fault])));
    }

    #[test]
    fn private_keys_in_either_form() {
        let private = test_keys::administrator();
        let pkcs1 = private.to_pkcs1_pem(LineEnding::CRLF).unwrap();
        let key = AdministratorKey::from_pem(&pkcs1).unwrap();
        assert_eq!(key.public_key(), administrator().public_key());
        let public = private.to_public_key().to_public_key_pem(LineEnding::LF).unwrap();
        for (pem, error) in [
            (public.as_str(), AdministratorKeyError::PublicKey),
            ("-----BEGIN ENCRYPTED PRIVATE KEY-----\n", AdministratorKeyError::Encrypted),
            ("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n", AdministratorKeyError::Encrypted),
            ("", AdministratorKeyError::Unreadable),
        ] {
            assert_eq!(AdministratorKey::from_pem(pem).err(), Some(error));
        }
        assert_eq!(format!("{key:?}"), format!("AdministratorKey({:?})", key.public_key()));
    }
}
