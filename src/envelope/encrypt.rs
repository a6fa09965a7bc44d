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
use super::recognise::{Recognised, recognise, text};
use super::signature;

/// Why something is not a private key to sign with.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AdministratorKeyError {
    /// No bytes, or blanks only.
    #[error("the file is empty")]
    Empty,
    /// An encrypted key: its form.
    #[error("this is an encrypted private key ({0}): decrypt a copy first (openssl pkey -in FILE -out COPY)")]
    Encrypted(&'static str),
    /// A key in a form that is not read: which.
    #[error(
        "this is a private key ({0}); what signs is RSA as PKCS#8 or PKCS#1, in PEM or DER, not encrypted: \
         convert a copy (openssl pkey, openssl pkcs12 -nocerts -nodes, ssh-keygen -p -m pkcs8)"
    )]
    OtherForm(&'static str),
    /// PKCS#8 or PKCS#1, but of no use.
    #[error(
        "this is a private key ({0}) that cannot sign: it is damaged, not of RSA, has more than 4096 bits, \
         or is neither in PEM nor in DER"
    )]
    Unreadable(&'static str),
    /// A public key, or something that holds one: a phrase with its article.
    #[error("this is {0}; the private key signs")]
    PublicKey(String),
    /// Something else: a phrase with its article.
    #[error("this is {0}, not a private key in PEM or DER")]
    Other(String),
    /// Its public half cannot be registered.
    #[error(transparent)]
    Unusable(#[from] PublicKeyError),
}

/// An administrator's RSA private key. Wiped when dropped; prints as its public half.
pub struct AdministratorKey {
    pub(super) private: RsaPrivateKey,
    public: PublicKey,
}

impl AdministratorKey {
    /// Reads PKCS#8 or PKCS#1 in PEM or DER, not encrypted; other blocks may stand around a PEM. The
    /// caller wipes `input`.
    ///
    /// # Errors
    /// Whatever it is instead, see [`AdministratorKeyError`].
    pub fn read(input: &[u8]) -> Result<AdministratorKey, AdministratorKeyError> {
        let private = rsa_key(input).ok_or_else(|| instead(input))?;
        let public = PublicKey::of(&private)?;
        Ok(AdministratorKey { private, public })
    }

    /// The public half, to be registered at the server.
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }
}

fn rsa_key(input: &[u8]) -> Option<RsaPrivateKey> {
    let der = RsaPrivateKey::from_pkcs8_der(input).or_else(|_| RsaPrivateKey::from_pkcs1_der(input));
    if let Ok(key) = der {
        return Some(key);
    }
    let text = Zeroizing::new(text(input)?);
    ["PRIVATE KEY", "RSA PRIVATE KEY"].into_iter().find_map(|label| {
        let [begin, end] = ["BEGIN", "END"].map(|word| format!("-----{word} {label}-----"));
        let block = &text[text.find(&begin)?..];
        let block = &block[..block.find(&end)? + end.len()];
        RsaPrivateKey::from_pkcs8_pem(block).or_else(|_| RsaPrivateKey::from_pkcs1_pem(block)).ok()
    })
}

/// What stands in place of a private key.
fn instead(input: &[u8]) -> AdministratorKeyError {
    match recognise(input) {
        Recognised::Empty => AdministratorKeyError::Empty,
        Recognised::PrivateKey(form) if form.ends_with("encrypted") => AdministratorKeyError::Encrypted(form),
        Recognised::PrivateKey(form @ ("PKCS#8" | "PKCS#1")) => AdministratorKeyError::Unreadable(form),
        Recognised::PrivateKey(form) => AdministratorKeyError::OtherForm(form),
        known @ (Recognised::RsaPublicKey { .. }
        | Recognised::OtherPublicKey(..)
        | Recognised::SeveralKeys(_)) => AdministratorKeyError::PublicKey(known.phrase()),
        other => AdministratorKeyError::Other(other.phrase()),
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
pub(super) struct WipedCopy(pub(super) Box<[u8]>);

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
        let pem = test_keys::administrator().to_pkcs8_pem(LineEnding::LF).unwrap();
        AdministratorKey::read(pem.as_bytes()).unwrap()
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
    fn private_keys_in_the_forms_that_tools_write() {
        let private = test_keys::administrator();
        let pkcs1 = private.to_pkcs1_pem(LineEnding::CRLF).unwrap();
        let pkcs8 = private.to_pkcs8_pem(LineEnding::LF).unwrap();
        let public = private.to_public_key().to_public_key_pem(LineEnding::LF).unwrap();
        let utf16: Vec<u8> =
            format!("\u{feff}{}", *pkcs1).encode_utf16().flat_map(u16::to_le_bytes).collect();
        for form in [
            pkcs1.as_bytes(),
            pkcs8.as_bytes(),
            private.to_pkcs1_der().unwrap().as_bytes(),
            private.to_pkcs8_der().unwrap().as_bytes(),
            format!("{public}{}", *pkcs8).as_bytes(),
            format!("Bag Attributes\n    friendlyName: me\n{}{public}", *pkcs8).as_bytes(),
            format!("\u{feff}{}", *pkcs8).as_bytes(),
            &utf16,
        ] {
            let key = AdministratorKey::read(form).unwrap();
            assert_eq!(key.public_key(), administrator().public_key());
            assert_eq!(format!("{key:?}"), format!("AdministratorKey({:?})", key.public_key()));
        }
    }

    #[test]
    fn whatever_stands_in_its_place_is_told() {
        let private = test_keys::administrator();
        let public = private.to_public_key().to_public_key_pem(LineEnding::LF).unwrap();
        let pkcs8 = private.to_pkcs8_pem(LineEnding::LF).unwrap();
        let hex = hex::encode(private.to_pkcs8_der().unwrap().as_bytes());
        let cut = &pkcs8[..pkcs8.len() / 2];
        for (input, told) in [
            (public.as_str(), "this is a public key; the private key signs"),
            (
                "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFh5 me",
                "this is a public key (SSH key of another kind);",
            ),
            ("-----BEGIN ENCRYPTED PRIVATE KEY-----\n", "encrypted private key (PKCS#8, encrypted): decrypt"),
            ("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n", "private key (PKCS#1, encrypted)"),
            ("-----BEGIN EC PRIVATE KEY-----\n", "private key (EC); what signs is RSA"),
            ("-----BEGIN OPENSSH PRIVATE KEY-----\n", "private key (OpenSSH); what signs"),
            ("PuTTY-User-Key-File-3: ssh-rsa\n", "private key (PuTTY .ppk); what signs"),
            (cut, "private key (PKCS#8) that cannot sign"),
            (&hex, "private key (PKCS#8) that cannot sign"),
            (TEXT, "this is the configuration in clear, not a private key"),
            ("hello", "this is a text of no known form, not a private key"),
            (" \n", "the file is empty"),
        ] {
            let error = AdministratorKey::read(input.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(told), "{told}: {error}");
            assert!(!error.contains(&pkcs8[40..60]), "{error}");
        }
    }
}
