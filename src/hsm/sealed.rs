//! Sealed vending keys (upload formats §5): from an RSA ciphertext to an immutable object of the
//! token, inside the HSM.
//!
//! What C_UnwrapKey makes is a session object that nobody but this session knows. It proves itself
//! there, by its check value and, of a DKGA02 key, by what its mask says of it; only then it is
//! copied into the token, immutable. So a key that is not the right one never was in the token, and
//! a crash leaves none.
//!
//! Whatever is wrong with a ciphertext, the same calls are made in the same order, on a random key
//! of the same form where the unwrapping failed, and the answer is the same.

use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, ObjectHandle};
use cryptoki::types::Ulong;
use subtle::ConstantTimeEq as _;

use super::capabilities::{Capabilities, UnwrapScheme};
use super::derive::{CELL, check_value, derive};
use super::error::{HsmError, Mismatch};
use super::import::{self, ImportedKey, allowed, destroy, key_template, mask_template};
use super::keys::{KeyId, KeyKind, Mask, Role, VendingKey, VendingKeyClass, VendingKeyMaterial};
use super::reference;
use super::seal_suite::SealSuite;
use super::session::SessionGuard;
use super::template::{KeyTemplate, Lifetime, Usage};
use super::unwrap::{unless_lost, unless_refused};
use crate::crash;
use crate::secret::SecretBytes;
use crate::sts::derivation::Derivation;

/// A vending key, sealed to the sealed server key of one token, with what it must prove to be.
/// Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedKey {
    /// Which sealed server key opens it; none: the one that is used now.
    pub server_key: Option<KeyId>,
    /// How it is encrypted.
    pub suite: SealSuite,
    /// The RSA ciphertext of the key in its [sealed form](sealed_form).
    pub vending_key: Vec<u8>,
    /// The check value that the HSM must make of it.
    pub kcv: [u8; 3],
    /// Its kind, with what that needs.
    pub class: SealedClass,
}

/// A kind of vending key with what its sealed form has beside the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SealedClass {
    /// Single DES, for DKGA02.
    Des {
        /// The key's ciphertext under a mask key that whoever sealed it chose.
        mask: SealedMask,
    },
    /// Two-key triple DES, for DKGA03.
    Des2,
    /// HMAC-SHA-256, for DKGA04.
    Hmac,
}

/// The mask of a sealed DKGA02 key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedMask {
    /// The RSA ciphertext of the mask key, 32 bytes of AES-256.
    pub key: Vec<u8>,
    /// The initialisation vector.
    pub iv: [u8; 16],
    /// AES-256-CBC, without padding, of [what a mask hides](sealed_mask).
    pub ciphertext: [u8; 32],
}

impl SealedKey {
    /// Its kind.
    pub fn kind(&self) -> KeyKind {
        match self.class {
            SealedClass::Des { .. } => KeyKind::Des,
            SealedClass::Des2 => KeyKind::Des2,
            SealedClass::Hmac => KeyKind::Hmac,
        }
    }
}

/// The derivation block of the decoder key by which a mask proves that it hides the key that came
/// with it. No meter has it.
const PROOF_BLOCK: [u8; 8] = *b"vendkey1";

/// What is encrypted of a vending key: the value of its object in the HSM. DKGA02: 24 bytes, the
/// key three times; DKGA03: 24 bytes, K1, K2, K1; DKGA04: 64 bytes, the key and zeros.
///
/// # Errors
/// [`HsmError::Memory`].
pub fn sealed_form(key: &VendingKeyMaterial) -> Result<SecretBytes, HsmError> {
    let clear = key.expose();
    let (len, repeated) = match key.kind() {
        KeyKind::Des | KeyKind::Des2 => (24, true),
        KeyKind::Hmac => (64, false),
    };
    let mut value = SecretBytes::zeroed(len)?;
    for (place, byte) in value.iter_mut().enumerate() {
        *byte = match clear.get(place) {
            Some(key) => *key,
            None if repeated => clear[place % clear.len()],
            None => 0,
        };
    }
    Ok(value)
}

/// What is encrypted under the mask key of a DKGA02 key, 32 bytes: the vending key twice, then the
/// decoder key of the block `vendkey1` twice. None for other kinds.
///
/// # Errors
/// [`HsmError::Memory`].
pub fn sealed_mask(key: &VendingKeyMaterial) -> Result<Option<SecretBytes>, HsmError> {
    if key.kind() != KeyKind::Des {
        return Ok(None);
    }
    let decoder_key = reference::dkga02(key.expose(), PROOF_BLOCK)?;
    let mut clear = SecretBytes::zeroed(32)?;
    for (place, half) in clear.chunks_exact_mut(8).enumerate() {
        half.copy_from_slice(if place < 2 { key.expose() } else { &decoder_key[..] });
    }
    Ok(Some(clear))
}

/// A sealed key that opened, as session objects.
pub(super) struct Opened {
    vending_key: ObjectHandle,
    mask: Option<(ObjectHandle, Mask)>,
}

impl Opened {
    /// The vending key, which nobody but this session knows.
    pub(super) fn vending_key(&self) -> ObjectHandle {
        self.vending_key
    }
}

/// Makes the key objects of a sealed key, and proves them. Whatever was under this id before, a half
/// import, is destroyed first. None: it does not open.
pub(super) fn import(
    guard: &mut SessionGuard<'_>,
    capabilities: &Capabilities,
    id: KeyId,
    sealed: &SealedKey,
) -> Result<Option<ImportedKey>, HsmError> {
    capabilities.opens(sealed.suite, sealed.kind())?;
    destroy(guard, id)?;
    let Some(opened) = opened(guard, capabilities, |guard| opener(guard, sealed), id, sealed)? else {
        return Ok(None);
    };
    let kept = keep(guard, capabilities, id, sealed, &opened);
    if kept.is_err() {
        // When this fails, its error is the answer: the caller then keeps the row, and the same
        // upload comes back to destroy what is left.
        destroy(guard, id)?;
    }
    kept.map(Some)
}

/// Whether a sealed key opens and proves itself. Nothing is kept.
pub(super) fn opens(
    guard: &mut SessionGuard<'_>,
    capabilities: &Capabilities,
    sealed: &SealedKey,
) -> Result<bool, HsmError> {
    capabilities.opens(sealed.suite, sealed.kind())?;
    let mut id = KeyId([0; 16]);
    import::fill_random(&mut id.0)?;
    Ok(opened(guard, capabilities, |guard| opener(guard, sealed), id, sealed)?.is_some())
}

/// The server key that opens a sealed key.
fn opener(guard: &mut SessionGuard<'_>, sealed: &SealedKey) -> Result<ObjectHandle, HsmError> {
    match sealed.server_key {
        Some(id) => guard.handle(Role::Sealed, id),
        None => guard.own(Role::Sealed),
    }
}

/// Unwraps a sealed key into session objects, by whatever RSA key `server_key` answers, and has them
/// prove themselves. They end with the session, which ends with this operation.
pub(super) fn opened(
    guard: &mut SessionGuard<'_>,
    capabilities: &Capabilities,
    server_key: impl FnOnce(&mut SessionGuard<'_>) -> Result<ObjectHandle, HsmError>,
    id: KeyId,
    sealed: &SealedKey,
) -> Result<Option<Opened>, HsmError> {
    guard.exclusive()?;
    guard.close_after();
    let born =
        KeyTemplate { immutable: false, ..key_template(capabilities, id, sealed.kind(), Lifetime::Session)? };
    let server_key = server_key(guard)?;
    let stand_in = match sealed.class {
        SealedClass::Des { .. } | SealedClass::Des2 => (Mechanism::Des3KeyGen, None),
        SealedClass::Hmac => (Mechanism::GenericSecretKeyGen, Some(64)),
    };
    let key = unwrapped(guard, capabilities, sealed.suite, server_key, &sealed.vending_key, &born, stand_in)?;
    let kcv = unless_lost(check_value(guard, capabilities, sealed.kind(), key.object))?;
    let right_key = kcv.is_some_and(|kcv| bool::from(kcv.ct_eq(&sealed.kcv)));
    let mut mask = None;
    let mut right_mask = true;
    if let SealedClass::Des { mask: sealed_mask } = &sealed.class {
        let born = KeyTemplate {
            usage: Usage::Decrypt,
            ..mask_template(allowed(capabilities, MechanismType::AES_CBC), id)
        };
        let wrapped = &sealed_mask.key;
        let stand_in = (Mechanism::AesKeyGen, Some(32));
        let found = unwrapped(guard, capabilities, sealed.suite, server_key, wrapped, &born, stand_in)?;
        let proved = unless_lost(hides(guard, capabilities, key.object, found.object, sealed_mask))?;
        right_mask = found.genuine & proved.unwrap_or(false);
        let [ciphertext, _] = blocks(&sealed_mask.ciphertext);
        mask = Some((found.object, Mask { iv: sealed_mask.iv, ciphertext }));
    }
    // Failures above count as the upload's. Whether the token answers is asked apart, every time.
    guard.check_token()?;
    let opened = Opened { vending_key: key.object, mask };
    Ok((key.genuine & right_key & right_mask).then_some(opened))
}

/// What came of an unwrapping: the key, or a random one in its place.
struct Unwrapped {
    object: ObjectHandle,
    genuine: bool,
}

fn unwrapped(
    guard: &SessionGuard<'_>,
    capabilities: &Capabilities,
    suite: SealSuite,
    server_key: ObjectHandle,
    wrapped: &[u8],
    template: &KeyTemplate,
    (stand_in, length): (Mechanism<'_>, Option<u64>),
) -> Result<Unwrapped, HsmError> {
    let attributes = template.attributes();
    // Made every time, so that success and failure take the same calls.
    let mut random = attributes.clone();
    random.extend(length.map(|bytes| Attribute::ValueLen(Ulong::new(bytes))));
    let random = guard.session.generate_key(&stand_in, &random)?;
    let unwrapped =
        guard.session.unwrap_key(&UnwrapScheme::from(suite).mechanism(), server_key, wrapped, &attributes);
    Ok(match unless_refused(unwrapped.map_err(HsmError::from), capabilities)? {
        Some(object) => {
            guard.session.destroy_object(random)?;
            Unwrapped { object, genuine: true }
        }
        None => Unwrapped { object: random, genuine: false },
    })
}

fn blocks(ciphertext: &[u8; 32]) -> [[u8; 16]; 2] {
    let mut blocks = [[0; 16]; 2];
    for (block, bytes) in blocks.iter_mut().zip(ciphertext.chunks_exact(16)) {
        block.copy_from_slice(bytes);
    }
    blocks
}

/// Whether the mask hides the vending key: the decoder key of the proof block comes out alike, once
/// derived by the way of all tokens, once as whoever sealed the key computed it.
fn hides(
    guard: &SessionGuard<'_>,
    capabilities: &Capabilities,
    vending_key: ObjectHandle,
    mask_key: ObjectHandle,
    mask: &SealedMask,
) -> Result<bool, HsmError> {
    let x = guard.des(capabilities.des_form()?, vending_key, &PROOF_BLOCK)?;
    let [hidden, told] = blocks(&mask.ciphertext);
    let mut shifted = mask.iv;
    for ((byte, x), block) in shifted.iter_mut().zip(x.iter().cycle()).zip(PROOF_BLOCK.iter().cycle()) {
        *byte ^= x ^ block;
    }
    let derived = guard.cbc_decrypt(mask_key, shifted, &hidden)?;
    let told = guard.cbc_decrypt(mask_key, hidden, &told)?;
    Ok(bool::from(derived.ct_eq(&told) & derived[..8].ct_eq(&derived[8..])))
}

/// Copies the session objects into the token, immutable, and looks at what became of them.
fn keep(
    guard: &mut SessionGuard<'_>,
    capabilities: &Capabilities,
    id: KeyId,
    sealed: &SealedKey,
    opened: &Opened,
) -> Result<ImportedKey, HsmError> {
    let kind = sealed.kind();
    let template = key_template(capabilities, id, kind, Lifetime::Token)?;
    let object = settle(guard, opened.vending_key, &template)?;
    crash::point("import-between-objects");
    let class = match (&opened.mask, kind) {
        (Some((newborn, mask)), _) => {
            let template = KeyTemplate {
                usage: Usage::Decrypt,
                lifetime: Lifetime::Token,
                immutable: true,
                ..mask_template(allowed(capabilities, MechanismType::AES_CBC), id)
            };
            settle(guard, *newborn, &template)?;
            VendingKeyClass::Des { mask: *mask }
        }
        (None, KeyKind::Des2) => VendingKeyClass::Des2,
        (None, _) => VendingKeyClass::Hmac,
    };
    let untrusted = |mismatch| HsmError::KeyUntrusted { role: Role::VendingKey, id, mismatch };
    let kcv = check_value(guard, capabilities, kind, object)?;
    if kcv != sealed.kcv {
        return Err(untrusted(Mismatch::Kcv));
    }
    let key = VendingKey { token: guard.token_id(), id, class, kcv };
    if let VendingKeyClass::Des { .. } = class {
        // Once on the very path that tokens take; it fails where mask and key do not fit.
        let mut cell = SecretBytes::zeroed(CELL)?;
        let proof = [(key, Derivation::Dkga02 { block: PROOF_BLOCK })];
        derive(guard, capabilities, &proof, &mut cell)?.into_iter().collect::<Result<(), _>>()?;
    }
    Ok(ImportedKey { key, kcv })
}

/// The immutable copy of a session object in the token.
fn settle(
    guard: &SessionGuard<'_>,
    newborn: ObjectHandle,
    template: &KeyTemplate,
) -> Result<ObjectHandle, HsmError> {
    let changes = [Attribute::Token(true), Attribute::Modifiable(false)];
    let copied = guard.session.copy_object(newborn, &changes)?;
    guard.session.destroy_object(newborn)?;
    template.check(guard.session, copied)?;
    Ok(copied)
}
