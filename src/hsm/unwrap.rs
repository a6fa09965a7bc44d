//! Opening a legacy upload (upload-formats §3, §4) without becoming an oracle.
//!
//! Whatever is wrong, the same calls are made in the same order, and the caller learns only what
//! came out. An unwrapping key that answers "bad padding" audibly would decrypt anything for a
//! patient attacker (Bleichenbacher).

use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsOaepParams, PkcsOaepSource};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::types::Ulong;

use super::capabilities::{Capabilities, UnwrapScheme};
use super::error::{Cure, HsmError};
use super::keys::Role;
use super::session::SessionGuard;
use crate::secret::SecretBytes;

/// The AES key of an upload is 16 bytes.
const AES_KEY_BYTES: u64 = 16;

impl UnwrapScheme {
    pub(super) fn mechanism(self) -> Mechanism<'static> {
        let oaep =
            |hash, mgf| Mechanism::RsaPkcsOaep(PkcsOaepParams::new(hash, mgf, PkcsOaepSource::empty()));
        match self {
            UnwrapScheme::Pkcs1v15 => Mechanism::RsaPkcs,
            UnwrapScheme::OaepSha1 => oaep(MechanismType::SHA1, PkcsMgfType::MGF1_SHA1),
            UnwrapScheme::OaepSha256 => oaep(MechanismType::SHA256, PkcsMgfType::MGF1_SHA256),
        }
    }
}

/// All plaintexts that `wrapped` and `data` (IV, then AES-128-CBC with PKCS#7 padding) may mean,
/// one per scheme at most; usually one, none when anything is wrong. A plaintext proves nothing:
/// modules make up keys, and bad padding is right by chance once in 256 times. The caller compares
/// the signed digest.
///
/// # Errors
/// Only what says nothing about the upload: a lost session or token, or a module without the
/// mechanisms.
pub(super) fn open_legacy(
    guard: &mut SessionGuard<'_>,
    capabilities: &Capabilities,
    wrapped: &[u8],
    data: &[u8],
) -> Result<Vec<SecretBytes>, HsmError> {
    capabilities
        .cbc_pad
        .clone()
        .map_err(|why| HsmError::NotServed { what: "uploads (CKM_AES_CBC_PAD)", why })?;
    let schemes: Vec<UnwrapScheme> = capabilities.unwrap_schemes().collect();
    if schemes.is_empty() {
        let why = "no way of unwrapping works with the legacy server key".to_owned();
        return Err(HsmError::NotServed { what: "uploads", why });
    }
    // Lengths are public, so this answer gives nothing away.
    let Some((iv, ciphertext)) = data.split_first_chunk::<16>() else { return Ok(Vec::new()) };
    if ciphertext.is_empty() || ciphertext.len() % 16 != 0 {
        return Ok(Vec::new());
    }
    // The session ends afterwards whatever the outcome, and with it all keys and operations that a
    // failure may leave in it.
    guard.close_after();
    let server_key = guard.own(Role::Legacy)?;
    let mut candidates = Vec::new();
    for scheme in schemes {
        candidates.extend(open_as(guard, scheme, server_key, wrapped, iv, ciphertext)?);
    }
    // Failures above count as bad uploads. Whether the token answers is asked apart, every time.
    guard.check_token()?;
    Ok(candidates)
}

/// One scheme: unwrap or go on with a random key, decrypt, destroy the key.
fn open_as(
    guard: &SessionGuard<'_>,
    scheme: UnwrapScheme,
    server_key: ObjectHandle,
    wrapped: &[u8],
    iv: &[u8; 16],
    ciphertext: &[u8],
) -> Result<Option<SecretBytes>, HsmError> {
    let session = guard.session;
    let unwrapped = session.unwrap_key(&scheme.mechanism(), server_key, wrapped, &aes_template());
    let unwrapped = unless_lost(unwrapped.map_err(HsmError::from))?;
    let genuine = match unwrapped {
        Some(key) if may_be_aes_128(guard, key)? => Some(key),
        Some(key) => {
            session.destroy_object(key)?;
            None
        }
        None => None,
    };
    // Made every time, so that success and failure take the same calls.
    let mut attributes = aes_template();
    attributes.push(Attribute::ValueLen(Ulong::new(AES_KEY_BYTES)));
    let random = session.generate_key(&Mechanism::AesKeyGen, &attributes)?;
    let decrypted = session.decrypt(&Mechanism::AesCbcPad(*iv), genuine.unwrap_or(random), ciphertext);
    let decrypted = unless_lost(decrypted.map_err(HsmError::from))?;
    for key in genuine.into_iter().chain([random]) {
        session.destroy_object(key)?;
    }
    match (genuine, decrypted) {
        (Some(_), Some(clear)) => Ok(Some(SecretBytes::absorb(clear)?)),
        // What a random key "decrypts" is noise.
        (_, clear) => {
            drop(zeroize::Zeroizing::new(clear));
            Ok(None)
        }
    }
}

/// The session form of an upload's AES key: it decrypts, and nothing else. No CKA_VALUE_LEN or
/// CKA_MODIFIABLE: SoftHSM answers CKR_ATTRIBUTE_READ_ONLY to either in an unwrap template.
fn aes_template() -> Vec<Attribute> {
    vec![
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::Token(false),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Decrypt(true),
        Attribute::Encrypt(false),
        Attribute::Sign(false),
        Attribute::Verify(false),
        Attribute::Wrap(false),
        Attribute::Unwrap(false),
        Attribute::Derive(false),
    ]
}

/// Whether the unwrapped key may be one of 16 bytes. SoftHSM unwraps "AES keys" of any length (17
/// bytes: a line end in the key file) and then says that they have 0 bytes; it refuses to decrypt
/// with those that are no AES key. A key of 24 or 32 bytes gets past it, to a plaintext whose
/// signed digest the caller checks like any other.
fn may_be_aes_128(guard: &SessionGuard<'_>, key: ObjectHandle) -> Result<bool, HsmError> {
    let found = guard.session.get_attributes(key, &[AttributeType::ValueLen])?;
    Ok(match found.as_slice() {
        [Attribute::ValueLen(len)] => **len == AES_KEY_BYTES || **len == 0,
        _ => true,
    })
}

/// None for a failure that may be the upload's fault. SoftHSM says CKR_GENERAL_ERROR for bad
/// padding.
pub(super) fn unless_lost<T>(outcome: Result<T, HsmError>) -> Result<Option<T>, HsmError> {
    match outcome {
        Ok(done) => Ok(Some(done)),
        Err(error) => match error.cure() {
            Cure::Refusal | Cure::Suspect => Ok(None),
            Cure::Renew | Cure::Rebuild | Cure::Never => Err(error),
        },
    }
}
