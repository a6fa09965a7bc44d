//! Vending keys into the HSM and out of existence.

use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectHandle};
use cryptoki::types::Ulong;

use super::capabilities::{Capabilities, DesForm};
use super::derive::{CELL, check_value, derive};
use super::error::{HsmError, Mismatch};
use super::keys::{KeyId, KeyKind, Mask, Role, VendingKey, VendingKeyClass, VendingKeyMaterial};
use super::reference;
use super::session::SessionGuard;
use super::template::{self, KeyTemplate, Lifetime, Usage};
use crate::secret::SecretBytes;
use crate::sts::derivation::{DKGA04_MESSAGE_BYTES, Derivation, KeyBits};

/// What an import leaves to be written into the configuration's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImportedKey {
    /// The key with what deriving needs.
    pub key: VendingKey,
    /// Its check value, made by the HSM and compared with the key that was handed in.
    pub kcv: [u8; 3],
}

impl ImportedKey {
    /// The mask of a DKGA02 key.
    pub fn mask(&self) -> Option<Mask> {
        match self.key.class {
            VendingKeyClass::Des { mask } => Some(mask),
            VendingKeyClass::Des2 | VendingKeyClass::Hmac => None,
        }
    }
}

/// The key check value that an import of this key would answer. Software only; stores nothing.
///
/// # Errors
/// None in practice: material has the length of its kind.
pub fn key_check_value(material: &VendingKeyMaterial) -> Result<[u8; 3], HsmError> {
    reference::kcv(material.kind(), material.expose())
}

/// A key object found in the token, for the report of objects that no configuration knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyObject {
    /// Vending key or mask.
    pub role: Role,
    /// Its CKA_ID; None when that is no id of ours.
    pub id: Option<KeyId>,
}

/// Makes the key object (and the mask), and proves it: attributes, unreadable value, check value,
/// test derivations. Whatever was under this id before, a half import, is destroyed first; on any
/// doubt, so is what was made.
pub(super) fn import(
    guard: &mut SessionGuard<'_>,
    capabilities: &Capabilities,
    id: KeyId,
    material: &VendingKeyMaterial,
    lifetime: Lifetime,
) -> Result<ImportedKey, HsmError> {
    capabilities.serves(material.kind())?;
    destroy(guard, id)?;
    let made = make(guard, capabilities, id, material, lifetime);
    if made.is_err() {
        // When this fails, its error is the answer: the caller then keeps the row, and the same
        // upload comes back to destroy what is left.
        destroy(guard, id)?;
    }
    made
}

fn make(
    guard: &mut SessionGuard<'_>,
    capabilities: &Capabilities,
    id: KeyId,
    material: &VendingKeyMaterial,
    lifetime: Lifetime,
) -> Result<ImportedKey, HsmError> {
    let clear = material.expose();
    let kind = material.kind();
    let value = match kind {
        KeyKind::Des => des_value(capabilities.des_form()?, clear)?,
        KeyKind::Des2 => des_value(capabilities.des2_form()?, clear)?,
        KeyKind::Hmac => {
            // The rest stays zero: HMAC pads with zeros anyway (RFC 2104 §2).
            let mut value = SecretBytes::zeroed(capabilities.hmac_form()?.len())?;
            value[..clear.len()].copy_from_slice(clear);
            value
        }
    };
    let template = key_template(capabilities, id, kind, lifetime)?;
    let object = match lifetime {
        Lifetime::Token => template::create(guard.session, &template, &value)?,
        Lifetime::Session => template::create(guard.key_session()?, &template, &value)?,
    };
    template.check(guard.session, object)?;
    let class = match kind {
        KeyKind::Des => {
            let mut pair = SecretBytes::zeroed(16)?;
            pair[..8].copy_from_slice(clear);
            pair[8..].copy_from_slice(clear);
            let mask = make_mask(guard, capabilities, id, &pair, lifetime)?;
            VendingKeyClass::Des { mask }
        }
        KeyKind::Des2 => VendingKeyClass::Des2,
        KeyKind::Hmac => VendingKeyClass::Hmac,
    };
    let kcv = check_value(guard, capabilities, kind, object)?;
    if kcv != reference::kcv(kind, clear)? {
        return Err(untrusted(id, Mismatch::Kcv));
    }
    let key = VendingKey { token: guard.token_id(), id, class, kcv };
    prove(guard, capabilities, key, clear)?;
    Ok(ImportedKey { key, kcv })
}

/// What a vending key's object must look like.
pub(super) fn key_template(
    capabilities: &Capabilities,
    id: KeyId,
    kind: KeyKind,
    lifetime: Lifetime,
) -> Result<KeyTemplate, HsmError> {
    let des = |form: DesForm| (form.key_type(), Usage::Encrypt, des_mechanism(form));
    let (key_type, usage, mechanism) = match kind {
        KeyKind::Des => des(capabilities.des_form()?),
        KeyKind::Des2 => des(capabilities.des2_form()?),
        KeyKind::Hmac => (KeyType::GENERIC_SECRET, Usage::Sign, MechanismType::SHA256_HMAC),
    };
    let mechanisms = allowed(capabilities, mechanism);
    Ok(KeyTemplate { role: Role::VendingKey, id, key_type, usage, lifetime, immutable: true, mechanisms })
}

/// Looks at a key that was imported before: attributes and unreadable values of its objects, and a
/// derivation on the path of tokens, which fails where the row's mask does not fit. Answers the
/// check value, made anew by the HSM.
pub(super) fn inspect(
    guard: &mut SessionGuard<'_>,
    capabilities: &Capabilities,
    key: VendingKey,
) -> Result<[u8; 3], HsmError> {
    // Handles of the cache would not tell that an object is gone.
    guard.exclusive()?;
    guard.check_token()?;
    let kind = key.class.kind();
    capabilities.serves(kind)?;
    let object = the_object(guard, Role::VendingKey, key.id)?;
    key_template(capabilities, key.id, kind, Lifetime::Token)?.check(guard.session, object)?;
    if matches!(key.class, VendingKeyClass::Des { .. }) {
        let mask = the_object(guard, Role::Mask, key.id)?;
        let template = mask_template(allowed(capabilities, MechanismType::AES_CBC), key.id);
        let settled =
            KeyTemplate { usage: Usage::Decrypt, lifetime: Lifetime::Token, immutable: true, ..template };
        settled.check(guard.session, mask)?;
    }
    let mut cells = SecretBytes::zeroed(2 * CELL)?;
    for outcome in derive(guard, capabilities, &test_derivations(key)?.map(|(wanted, _)| wanted), &mut cells)?
    {
        outcome?;
    }
    check_value(guard, capabilities, kind, object)
}

/// The one object of a role and id, by a search.
fn the_object(guard: &SessionGuard<'_>, role: Role, id: KeyId) -> Result<ObjectHandle, HsmError> {
    match *guard.find(role, id)?.as_slice() {
        [object] => Ok(object),
        [] => Err(HsmError::KeyMissing { role, id }),
        ref several => Err(HsmError::KeyAmbiguous { role, id, count: several.len() }),
    }
}

fn untrusted(id: KeyId, mismatch: Mismatch) -> HsmError {
    HsmError::KeyUntrusted { role: Role::VendingKey, id, mismatch }
}

/// CKA_ALLOWED_MECHANISMS, where the module obeys it.
pub(super) fn allowed(capabilities: &Capabilities, mechanism: MechanismType) -> Vec<MechanismType> {
    if capabilities.allowed_mechanisms.is_ok() { vec![mechanism] } else { Vec::new() }
}

fn des_mechanism(form: DesForm) -> MechanismType {
    match form {
        DesForm::Des3 | DesForm::Des2 => MechanismType::DES3_ECB,
        DesForm::Des => MechanismType::DES_ECB,
    }
}

/// CKA_VALUE of a DES key of 8 bytes (K|K|K) or 16 (K1|K2|K1) in this form. The parity is never
/// touched: DKGA02 xors the bytes as given.
pub(super) fn des_value(form: DesForm, clear: &[u8]) -> Result<SecretBytes, HsmError> {
    let len = match form {
        DesForm::Des3 => 24,
        DesForm::Des2 => 16,
        DesForm::Des => 8,
    };
    let mut value = SecretBytes::zeroed(len)?;
    for (byte, key) in value.iter_mut().zip(clear.iter().cycle()) {
        *byte = *key;
    }
    Ok(value)
}

/// Two derivations on the very path that tokens take, against software.
fn prove(
    guard: &mut SessionGuard<'_>,
    capabilities: &Capabilities,
    key: VendingKey,
    clear: &[u8],
) -> Result<(), HsmError> {
    let tests = test_derivations(key)?;
    let mut cells = SecretBytes::zeroed(tests.len() * CELL)?;
    for outcome in derive(guard, capabilities, &tests.map(|(wanted, _)| wanted), &mut cells)? {
        outcome?;
    }
    for ((_, message), cell) in tests.iter().zip(cells.chunks_exact(CELL)) {
        let same = match key.class {
            VendingKeyClass::Des { .. } => cell[..8] == reference::dkga02(clear, first_block(message))?[..],
            VendingKeyClass::Des2 => cell[..8] == reference::dkga03(clear, first_block(message))?[..],
            VendingKeyClass::Hmac => cell[..16] == reference::hmac(clear, message)?[..16],
        };
        if !same {
            return Err(untrusted(key.id, Mismatch::Derivation));
        }
    }
    Ok(())
}

type Message = [u8; DKGA04_MESSAGE_BYTES];

/// A derivation with the message that it is made from.
type Test = ((VendingKey, Derivation), Message);

/// Two derivations of this key's kind, from random messages.
fn test_derivations(key: VendingKey) -> Result<[Test; 2], HsmError> {
    let mut random = [[0; DKGA04_MESSAGE_BYTES]; 2];
    for message in &mut random {
        fill_random(message)?;
    }
    Ok(random.map(|message| {
        let derivation = match key.class {
            VendingKeyClass::Des { .. } => Derivation::Dkga02 { block: first_block(&message) },
            VendingKeyClass::Des2 => Derivation::Dkga03 { block: first_block(&message) },
            VendingKeyClass::Hmac => Derivation::Dkga04 { message, bits: KeyBits::Bits128 },
        };
        ((key, derivation), message)
    }))
}

fn first_block(message: &Message) -> [u8; 8] {
    let mut block = [0; 8];
    block.copy_from_slice(&message[..8]);
    block
}

/// The form in which a mask key is born.
pub(super) fn mask_template(mechanisms: Vec<MechanismType>, id: KeyId) -> KeyTemplate {
    KeyTemplate {
        role: Role::Mask,
        id,
        key_type: KeyType::AES,
        usage: Usage::EncryptAndDecrypt,
        lifetime: Lifetime::Session,
        immutable: false,
        mechanisms,
    }
}

/// A mask key for this configuration alone, and the pair VK|VK encrypted under it.
///
/// The key is born as a session object that can encrypt, makes the one ciphertext of its life, and
/// becomes an immutable copy that can only decrypt: nobody can make another ciphertext under it,
/// and `C_Decrypt` gives back nothing but what goes with this configuration's row.
pub(super) fn make_mask(
    guard: &mut SessionGuard<'_>,
    capabilities: &Capabilities,
    id: KeyId,
    pair: &[u8],
    lifetime: Lifetime,
) -> Result<Mask, HsmError> {
    let born = mask_template(allowed(capabilities, MechanismType::AES_CBC), id);
    let mut attributes = born.attributes();
    attributes.push(Attribute::ValueLen(Ulong::new(32)));
    let newborn = guard.session.generate_key(&Mechanism::AesKeyGen, &attributes)?;
    // Asked of the newborn: NSS's copies lose these marks.
    born.check_born_inside(guard.session, newborn, &capabilities.origin)?;
    let mut iv = [0; 16];
    fill_random(&mut iv)?;
    let encrypted = guard.session.encrypt(&Mechanism::AesCbc(iv), newborn, pair)?;
    let ciphertext =
        encrypted.try_into().map_err(|_| HsmError::Nonsense("a ciphertext of the wrong length"))?;
    let settled = KeyTemplate { usage: Usage::Decrypt, lifetime, immutable: true, ..born };
    let changes = [
        Attribute::Token(lifetime == Lifetime::Token),
        Attribute::Encrypt(false),
        Attribute::Modifiable(false),
    ];
    let copied = match lifetime {
        Lifetime::Token => guard.session.copy_object(newborn, &changes)?,
        Lifetime::Session => guard.key_session()?.copy_object(newborn, &changes)?,
    };
    guard.session.destroy_object(newborn)?;
    settled.check(guard.session, copied)?;
    Ok(Mask { iv, ciphertext })
}

/// Destroys a configuration's key and mask, and sees that they are gone.
pub(super) fn destroy(guard: &mut SessionGuard<'_>, id: KeyId) -> Result<(), HsmError> {
    destroy_in_steps(guard, id, || {})
}

/// As [`destroy`], and does something between the one and the other.
pub(super) fn destroy_in_steps(
    guard: &mut SessionGuard<'_>,
    id: KeyId,
    mut between: impl FnMut(),
) -> Result<(), HsmError> {
    guard.exclusive()?;
    // "Not found" proves something only when the token answers.
    guard.check_token()?;
    for role in [Role::VendingKey, Role::Mask] {
        destroy_objects(guard, role, id)?;
        between();
    }
    guard.forget(id);
    Ok(())
}

/// Destroys all key objects of this role and id, and sees by another search that they are gone.
pub(super) fn destroy_objects(guard: &SessionGuard<'_>, role: Role, id: KeyId) -> Result<(), HsmError> {
    for object in guard.find(role, id)? {
        guard.session.destroy_object(object)?;
    }
    if guard.find(role, id)?.is_empty() {
        Ok(())
    } else {
        Err(HsmError::Nonsense("a destroyed object is still there"))
    }
}

/// All vending and mask keys in the token.
pub(super) fn key_objects(guard: &mut SessionGuard<'_>) -> Result<Vec<KeyObject>, HsmError> {
    guard.exclusive()?;
    guard.check_token()?;
    let mut objects = Vec::new();
    for (role, id, object) in guard.key_objects()? {
        let token = guard.session.get_attributes(object, &[AttributeType::Token])?;
        if token == [Attribute::Token(true)] {
            objects.push(KeyObject { role, id });
        }
    }
    objects.sort_unstable();
    Ok(objects)
}

/// The system's randomness.
pub(super) fn fill_random(bytes: &mut [u8]) -> Result<(), HsmError> {
    getrandom::fill(bytes).map_err(|_| HsmError::Nonsense("the system has no randomness"))
}
