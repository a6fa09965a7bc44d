//! Opening a legacy upload (upload-formats §3, §4) without becoming an oracle.
//!
//! Whatever is wrong, the same calls are made in the same order, and the caller learns only what
//! came out. An unwrapping key that answers "bad padding" audibly would decrypt anything for a
//! patient attacker (Bleichenbacher).

use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsOaepParams, PkcsOaepSource};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::types::Ulong;
use subtle::{ConstantTimeEq as _, ConstantTimeGreater as _};

use super::capabilities::{Capabilities, CbcForm, UnwrapScheme};
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
    now_ms: i64,
) -> Result<Vec<SecretBytes>, HsmError> {
    let mut candidates = open_by(guard, capabilities, |guard| guard.own(Role::Legacy), wrapped, data)?;
    for old in guard.old_keys(Role::Legacy, now_ms) {
        match open_by(guard, capabilities, |guard| guard.handle(Role::Legacy, old), wrapped, data) {
            Ok(more) => candidates.extend(more),
            // Another server has destroyed it.
            Err(HsmError::KeyMissing { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(candidates)
}

/// As [`open_legacy`], by whatever RSA key `server_key` answers.
pub(super) fn open_by(
    guard: &mut SessionGuard<'_>,
    capabilities: &Capabilities,
    server_key: impl FnOnce(&mut SessionGuard<'_>) -> Result<ObjectHandle, HsmError>,
    wrapped: &[u8],
    data: &[u8],
) -> Result<Vec<SecretBytes>, HsmError> {
    let form = capabilities
        .upload_data
        .clone()
        .map_err(|why| HsmError::NotServed { what: "uploads (AES in CBC mode)", why })?;
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
    let server_key = server_key(guard)?;
    let mut candidates = Vec::new();
    for scheme in schemes {
        let ways = (scheme, form);
        candidates.extend(open_as(guard, capabilities, ways, server_key, wrapped, iv, ciphertext)?);
    }
    // Failures above count as bad uploads. Whether the token answers is asked apart, every time.
    guard.check_token()?;
    Ok(candidates)
}

/// One scheme: unwrap or go on with a random key, decrypt, destroy the key.
fn open_as(
    guard: &SessionGuard<'_>,
    capabilities: &Capabilities,
    (scheme, form): (UnwrapScheme, CbcForm),
    server_key: ObjectHandle,
    wrapped: &[u8],
    iv: &[u8; 16],
    ciphertext: &[u8],
) -> Result<Option<SecretBytes>, HsmError> {
    let session = guard.session;
    let unwrapped = session.unwrap_key(&scheme.mechanism(), server_key, wrapped, &aes_template());
    let unwrapped = unless_refused(unwrapped.map_err(HsmError::from), capabilities)?;
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
    let decrypted = decrypt(guard, form, genuine.unwrap_or(random), iv, ciphertext);
    let decrypted = unless_lost(decrypted)?.flatten();
    for key in genuine.into_iter().chain([random]) {
        session.destroy_object(key)?;
    }
    match (genuine, decrypted) {
        (Some(_), clear) => Ok(clear),
        // What a random key "decrypts" is noise.
        (None, _) => Ok(None),
    }
}

/// AES-CBC without its padding; none where the padding is wrong and the module does not say so
/// itself.
pub(super) fn decrypt(
    guard: &SessionGuard<'_>,
    form: CbcForm,
    key: ObjectHandle,
    iv: &[u8; 16],
    ciphertext: &[u8],
) -> Result<Option<SecretBytes>, HsmError> {
    let mechanism = match form {
        CbcForm::Padded => Mechanism::AesCbcPad(*iv),
        CbcForm::Plain => Mechanism::AesCbc(*iv),
    };
    let clear = SecretBytes::absorb(guard.session.decrypt(&mechanism, key, ciphertext)?)?;
    match form {
        CbcForm::Padded => Ok(Some(clear)),
        CbcForm::Plain => match length_without_padding(&clear) {
            Some(length) => Ok(Some(SecretBytes::copy_of(&clear[..length])?)),
            None => Ok(None),
        },
    }
}

/// How long a text is without its PKCS#7 padding (RFC 5652 §6.3); none where that is wrong. Looks at
/// the whole last block whatever is in it.
fn length_without_padding(clear: &[u8]) -> Option<usize> {
    let block = clear.last_chunk::<16>()?;
    let [.., padding] = *block;
    let mut right = padding.ct_gt(&0) & !padding.ct_gt(&16);
    for (place, byte) in (0u8..).zip(block.iter().rev()) {
        right &= !padding.ct_gt(&place) | byte.ct_eq(&padding);
    }
    bool::from(right).then(|| clear.len() - usize::from(padding))
}

/// The session form of an upload's AES key: it decrypts, and nothing else. No CKA_VALUE_LEN or
/// CKA_MODIFIABLE: SoftHSM answers CKR_ATTRIBUTE_READ_ONLY to either in an unwrap template.
pub(super) fn aes_template() -> Vec<Attribute> {
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

/// As [`unless_lost`], of what C_UnwrapKey answered.
pub(super) fn unless_refused<T>(
    outcome: Result<T, HsmError>,
    capabilities: &Capabilities,
) -> Result<Option<T>, HsmError> {
    match outcome {
        Err(HsmError::Call { code, .. }) if capabilities.unwrap_refusals.contains(&code) => Ok(None),
        outcome => unless_lost(outcome),
    }
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

#[cfg(test)]
mod tests {
    use super::length_without_padding;

    #[test]
    fn padding_is_right_in_sixteen_ways_alone() {
        let block = |text: &[u8], padding: &[u8]| [&[0x55; 32], text, padding].concat();
        for length in 1..=16u8 {
            let text = vec![0; 16 - usize::from(length)];
            let padding = vec![length; length.into()];
            let whole = block(&text, &padding);
            assert_eq!(length_without_padding(&whole), Some(48 - usize::from(length)), "{length}");
            for place in 0..padding.len() - 1 {
                let mut wrong = padding.clone();
                wrong[place] ^= 0x40;
                assert_eq!(length_without_padding(&block(&text, &wrong)), None, "{length} {place}");
            }
        }
        for last in (0..=255u8).filter(|last| !(1..=16).contains(last)) {
            assert_eq!(length_without_padding(&block(&[], &[last; 16])), None, "{last}");
        }
        assert_eq!(length_without_padding(&[1; 15]), None);
        assert_eq!(length_without_padding(&[]), None);
    }
}
