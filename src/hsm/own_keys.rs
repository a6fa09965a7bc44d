//! The server's own keys: made once in the HSM by `setup`, checked at every start. `rotation` makes
//! later generations.

use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectHandle};
use cryptoki::types::Ulong;
use rsa::pkcs8::EncodePublicKey;
use rsa::traits::PublicKeyParts;
use rsa::{BigUint, RsaPublicKey};
use sha2::{Digest, Sha256};

use super::capabilities::Capabilities;
use super::error::HsmError;
use super::keys::{KeyId, OldKey, Role, SealKeyId, TokenId};
use super::overlap;
use super::reference;
use super::session::SessionGuard;
use super::template::{KeyTemplate, Lifetime, Usage};
use super::token::OwnIds;

/// The public half of an RSA key in the HSM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerKey {
    /// SubjectPublicKeyInfo, DER.
    pub spki_der: Vec<u8>,
    /// SHA-256 of `spki_der`, 64 lower-case hexadecimal digits.
    pub fingerprint: String,
    /// Length of the modulus in bits.
    pub bits: usize,
}

/// The keys that `setup` makes, in the order in which it makes them.
pub(super) const OWN: [Role; 5] = [Role::RowSeal, Role::Fingerprint, Role::Legacy, Role::Sealed, Role::Audit];

/// Whether a server starts without this key: tokens that were set up before there were sealed
/// uploads have none for them, until `setup` is run again.
fn may_be_missing(role: Role) -> bool {
    role == Role::Sealed
}

/// Domain of the seals of rows among the HMACs of the row-seal key.
pub(super) const ROW_SEAL_DOMAIN: &str = "row seal";

/// Sizes of the RSA keys that `setup` makes, in bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeySizes {
    /// The legacy server key.
    pub legacy: u16,
    /// The sealed server key.
    pub sealed: u16,
    /// The audit key.
    pub audit: u16,
}

impl Default for KeySizes {
    fn default() -> KeySizes {
        KeySizes { legacy: 4096, sealed: 4096, audit: 3072 }
    }
}

/// What `setup` did with one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provision {
    /// It was missing and is there now.
    Created,
    /// It was there, and is what it must be.
    Found,
}

pub(super) fn template(role: Role, id: KeyId, capabilities: &Capabilities) -> KeyTemplate {
    let (key_type, usage, mechanisms) = match role {
        Role::Legacy => {
            (KeyType::RSA, Usage::Unwrap, vec![MechanismType::RSA_PKCS, MechanismType::RSA_PKCS_OAEP])
        }
        Role::Sealed => (KeyType::RSA, Usage::Unwrap, vec![MechanismType::RSA_PKCS_OAEP]),
        Role::Audit => (KeyType::RSA, Usage::Sign, vec![MechanismType::RSA_PKCS_PSS]),
        // The others are not made here.
        Role::RowSeal | Role::Fingerprint | Role::VendingKey | Role::Mask => {
            (KeyType::GENERIC_SECRET, Usage::Sign, vec![MechanismType::SHA256_HMAC])
        }
    };
    let mechanisms = if capabilities.allowed_mechanisms.is_ok() { mechanisms } else { Vec::new() };
    let lifetime = Lifetime::Token;
    KeyTemplate { role, id, key_type, usage, lifetime, immutable: true, mechanisms }
}

/// Makes what is missing, checks what is there, and answers which objects are used.
pub(super) fn provide(
    guard: &mut SessionGuard<'_>,
    capabilities: &Capabilities,
    sizes: KeySizes,
) -> Result<(OwnIds, Vec<(Role, Provision)>), HsmError> {
    guard.exclusive()?;
    let (mut ids, mut report) = (OwnIds::new(), Vec::new());
    for role in OWN {
        let (id, provision) = match in_use(guard, role)? {
            Some((id, _)) => (id, Provision::Found),
            None => {
                let id = role.own_id(0).ok_or(HsmError::Nonsense("an own key without an id"))?;
                generate(guard, &template(role, id, capabilities), sizes)?;
                (id, Provision::Created)
            }
        };
        check(guard, &template(role, id, capabilities), capabilities)?;
        ids.insert(role, id);
        report.push((role, provision));
    }
    Ok((ids, report))
}

/// Checks at start that all own keys are there, and are what they must be. Answers which objects
/// are used, and the old generations that open uploads still.
pub(super) fn check_all(
    guard: &mut SessionGuard<'_>,
    capabilities: &Capabilities,
) -> Result<(OwnIds, Vec<OldKey>), HsmError> {
    guard.exclusive()?;
    let (mut ids, mut old, mut missing) = (OwnIds::new(), Vec::new(), Vec::new());
    for role in OWN {
        match in_use(guard, role)? {
            Some((id, kept)) => {
                ids.insert(role, id);
                old.extend(kept);
            }
            None if may_be_missing(role) => {}
            None => missing.push(role),
        }
    }
    if !missing.is_empty() {
        return Err(HsmError::NotSetUp(missing));
    }
    let kept = old.iter().map(|old: &OldKey| (old.role, old.id));
    let mut all = ids.iter().map(|(role, id)| (*role, *id)).chain(kept);
    all.try_for_each(|(role, id)| check(guard, &template(role, id, capabilities), capabilities))?;
    Ok((ids, old))
}

/// The generation of an own key that is used, and one before it whose time is not over. Two without
/// that mean that a rotation did not end: which one is right, only its end tells.
fn in_use(guard: &SessionGuard<'_>, role: Role) -> Result<Option<(KeyId, Option<OldKey>)>, HsmError> {
    match *generations(guard, role)?.as_slice() {
        [] => Ok(None),
        [(_, id)] => Ok(Some((id, None))),
        [(_, old), (_, new)] if overlap::of(guard, old)?.is_some() => {
            Ok(Some((new, overlap::of(guard, old)?)))
        }
        _ => Err(HsmError::RotationUnfinished(role)),
    }
}

/// The generations of an own key in the token, oldest first. Under exclusive locking.
pub(super) fn generations(guard: &SessionGuard<'_>, role: Role) -> Result<Vec<(u8, KeyId)>, HsmError> {
    let mut found: Vec<(u8, KeyId)> = guard
        .objects_of(role)?
        .into_iter()
        .filter_map(|(id, _)| id.and_then(|id| Some((role.generation(id)?, id))))
        .collect();
    found.sort_unstable();
    // Several objects of one id are told when the key is used.
    found.dedup();
    Ok(found)
}

pub(super) fn check(
    guard: &mut SessionGuard<'_>,
    template: &KeyTemplate,
    capabilities: &Capabilities,
) -> Result<(), HsmError> {
    let key = guard.handle(template.role, template.id)?;
    template.check(guard.session, key)?;
    template.check_born_inside(guard.session, key, &capabilities.origin)
}

/// Makes a key, an RSA pair with its public half, and answers the private or secret object.
pub(super) fn generate(
    guard: &SessionGuard<'_>,
    template: &KeyTemplate,
    sizes: KeySizes,
) -> Result<ObjectHandle, HsmError> {
    let mut private = template.attributes();
    let bits = match template.role {
        Role::Legacy => sizes.legacy,
        Role::Sealed => sizes.sealed,
        Role::Audit => sizes.audit,
        Role::RowSeal | Role::Fingerprint | Role::VendingKey | Role::Mask => {
            private.push(Attribute::ValueLen(Ulong::new(32)));
            return Ok(guard.session.generate_key(&Mechanism::GenericSecretKeyGen, &private)?);
        }
    };
    // The public half in the token serves nothing: the public key is computed from the private
    // object. That of a key that signs may verify, since NSS tries the new pair so.
    let public = [
        Attribute::Token(template.lifetime == Lifetime::Token),
        Attribute::Private(false),
        Attribute::Modifiable(false),
        Attribute::Label(template.role.label().into()),
        Attribute::Id(template.id.0.to_vec()),
        Attribute::ModulusBits(Ulong::new(bits.into())),
        Attribute::PublicExponent(vec![1, 0, 1]),
        Attribute::Encrypt(false),
        Attribute::Verify(template.usage == Usage::Sign),
        Attribute::VerifyRecover(false),
        Attribute::Wrap(false),
    ];
    let (_, private) = guard.session.generate_key_pair(&Mechanism::RsaPkcsKeyPairGen, &public, &private)?;
    Ok(private)
}

/// The public key of a private key object, from its modulus and exponent.
pub(super) fn public_key(guard: &SessionGuard<'_>, key: ObjectHandle) -> Result<RsaPublicKey, HsmError> {
    let (mut modulus, mut exponent) = (None, None);
    for attribute in
        guard.session.get_attributes(key, &[AttributeType::Modulus, AttributeType::PublicExponent])?
    {
        match attribute {
            Attribute::Modulus(bytes) => modulus = Some(BigUint::from_bytes_be(&bytes)),
            Attribute::PublicExponent(bytes) => exponent = Some(BigUint::from_bytes_be(&bytes)),
            _ => {}
        }
    }
    modulus
        .zip(exponent)
        .and_then(|(modulus, exponent)| RsaPublicKey::new_with_max_size(modulus, exponent, 16_384).ok())
        .ok_or(HsmError::Nonsense("no RSA public key in a private key object"))
}

/// The public key with its fingerprint.
pub(super) fn server_key(guard: &SessionGuard<'_>, key: ObjectHandle) -> Result<ServerKey, HsmError> {
    let key = public_key(guard, key)?;
    let spki = key.to_public_key_der().map_err(|_| HsmError::Nonsense("an RSA key that has no encoding"))?;
    let spki_der = spki.into_vec();
    let fingerprint = hex::encode(Sha256::digest(&spki_der));
    Ok(ServerKey { spki_der, fingerprint, bits: key.n().bits() })
}

/// RSASSA-PSS with SHA-256, MGF1-SHA-256 and a salt of 32 bytes, by an audit key.
pub(super) fn sign(guard: &SessionGuard<'_>, key: ObjectHandle, message: &[u8]) -> Result<Vec<u8>, HsmError> {
    let parameters = PkcsPssParams {
        hash_alg: MechanismType::SHA256,
        mgf: PkcsMgfType::MGF1_SHA256,
        s_len: Ulong::new(32),
    };
    Ok(guard.session.sign(&Mechanism::RsaPkcsPss(parameters), key, &Sha256::digest(message))?)
}

/// HMAC-SHA-256 over `domain`, a zero byte, `data`. Domains hold no zero byte, so no two pairs
/// collide.
pub(super) fn seal(
    guard: &SessionGuard<'_>,
    key: ObjectHandle,
    domain: &str,
    data: &[u8],
) -> Result<[u8; 32], HsmError> {
    let message = zeroize::Zeroizing::new([domain.as_bytes(), &[0], data].concat());
    Ok(*guard.hmac(key, &message)?)
}

/// Which token this is: made by its fingerprint key, which lives as long as the token.
pub(super) fn token_id(guard: &mut SessionGuard<'_>) -> Result<TokenId, HsmError> {
    let key = guard.own(Role::Fingerprint)?;
    Ok(TokenId(first_bytes(seal(guard, key, "token id", &[])?)))
}

/// Which row-seal key this is.
pub(super) fn seal_key_id(guard: &SessionGuard<'_>, key: ObjectHandle) -> Result<SealKeyId, HsmError> {
    Ok(SealKeyId(first_bytes(seal(guard, key, "seal key id", &[])?)))
}

fn first_bytes(mac: [u8; 32]) -> [u8; 8] {
    let [a, b, c, d, e, f, g, h, ..] = mac;
    [a, b, c, d, e, f, g, h]
}

/// One of the server's own keys, as people compare it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnKey {
    /// Which.
    pub role: Role,
    /// Its CKA_ID.
    pub id: KeyId,
    /// Counts up from 0 with each rotation.
    pub generation: u8,
    /// SHA-256 of the public key; of an HMAC key the key check value. Hexadecimal.
    pub fingerprint: String,
    /// The public key as SubjectPublicKeyInfo, DER; none of an HMAC key.
    pub spki_der: Option<Vec<u8>>,
}

/// What is known of an own key.
pub(super) fn described(guard: &mut SessionGuard<'_>, role: Role, id: KeyId) -> Result<OwnKey, HsmError> {
    let key = guard.handle(role, id)?;
    let generation = role.generation(id).ok_or(HsmError::Nonsense("an own key without a generation"))?;
    let (fingerprint, spki_der) = match role {
        Role::Legacy | Role::Sealed | Role::Audit => {
            let public = server_key(guard, key)?;
            (public.fingerprint, Some(public.spki_der))
        }
        Role::RowSeal | Role::Fingerprint | Role::VendingKey | Role::Mask => {
            (hex::encode(&guard.hmac(key, reference::KCV_MESSAGE)?[..3]), None)
        }
    };
    Ok(OwnKey { role, id, generation, fingerprint, spki_der })
}
