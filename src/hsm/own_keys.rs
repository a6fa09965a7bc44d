//! The server's own keys: made once in the HSM by `setup`, checked at every start.

use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType};
use cryptoki::types::Ulong;
use rsa::pkcs8::EncodePublicKey;
use rsa::traits::PublicKeyParts;
use rsa::{BigUint, RsaPublicKey};
use sha2::{Digest, Sha256};

use super::capabilities::Capabilities;
use super::error::HsmError;
use super::keys::{AUDIT_ID, KeyId, LEGACY_ID, ROW_SEAL_ID, Role};
use super::seat::Desk;
use super::template::{KeyTemplate, Lifetime, Usage};

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
const OWN: [Role; 3] = [Role::RowSeal, Role::Legacy, Role::Audit];

/// Sizes of the RSA keys that `setup` makes, in bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeySizes {
    /// The legacy server key.
    pub legacy: u16,
    /// The audit key.
    pub audit: u16,
}

impl Default for KeySizes {
    fn default() -> KeySizes {
        KeySizes { legacy: 4096, audit: 3072 }
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

fn id_of(role: Role) -> KeyId {
    match role {
        Role::Legacy => LEGACY_ID,
        Role::Audit => AUDIT_ID,
        // The others have ids of their configurations.
        Role::RowSeal | Role::VendingKey | Role::Mask => ROW_SEAL_ID,
    }
}

fn template(role: Role, capabilities: &Capabilities) -> KeyTemplate {
    let (key_type, usage, mechanisms) = match role {
        Role::Legacy => {
            (KeyType::RSA, Usage::Unwrap, vec![MechanismType::RSA_PKCS, MechanismType::RSA_PKCS_OAEP])
        }
        Role::Audit => (KeyType::RSA, Usage::Sign, vec![MechanismType::RSA_PKCS_PSS]),
        Role::RowSeal | Role::VendingKey | Role::Mask => {
            (KeyType::GENERIC_SECRET, Usage::Sign, vec![MechanismType::SHA256_HMAC])
        }
    };
    let mechanisms = if capabilities.allowed_mechanisms.is_ok() { mechanisms } else { Vec::new() };
    let lifetime = Lifetime::Token;
    KeyTemplate { role, id: id_of(role), key_type, usage, lifetime, immutable: true, mechanisms }
}

/// Makes what is missing and checks what is there.
pub(super) fn provide(
    desk: &mut Desk<'_>,
    capabilities: &Capabilities,
    sizes: KeySizes,
) -> Result<Vec<(Role, Provision)>, HsmError> {
    desk.alone()?;
    let mut report = Vec::new();
    for role in OWN {
        let template = template(role, capabilities);
        let provision = match desk.find(role, template.id)?.len() {
            0 => {
                generate(desk, &template, sizes)?;
                Provision::Created
            }
            _ => Provision::Found,
        };
        check(desk, &template)?;
        report.push((role, provision));
    }
    Ok(report)
}

/// Checks at start that all own keys are there, and are what they must be.
pub(super) fn check_all(desk: &mut Desk<'_>, capabilities: &Capabilities) -> Result<(), HsmError> {
    desk.alone()?;
    let mut missing = Vec::new();
    for role in OWN {
        if desk.find(role, id_of(role))?.is_empty() {
            missing.push(role);
        }
    }
    if !missing.is_empty() {
        return Err(HsmError::NotSetUp(missing));
    }
    OWN.iter().try_for_each(|role| check(desk, &template(*role, capabilities)))
}

fn check(desk: &mut Desk<'_>, template: &KeyTemplate) -> Result<(), HsmError> {
    let key = desk.handle(template.role, template.id)?;
    template.check(desk.session, key)?;
    template.check_born_inside(desk.session, key)
}

fn generate(desk: &Desk<'_>, template: &KeyTemplate, sizes: KeySizes) -> Result<(), HsmError> {
    let mut private = template.attributes();
    let bits = match template.role {
        Role::Legacy => sizes.legacy,
        Role::Audit => sizes.audit,
        Role::RowSeal | Role::VendingKey | Role::Mask => {
            private.push(Attribute::ValueLen(Ulong::new(32)));
            desk.session.generate_key(&Mechanism::GenericSecretKeyGen, &private)?;
            return Ok(());
        }
    };
    // The public half in the token serves nothing: the public key is computed from the private object.
    let public = [
        Attribute::Token(true),
        Attribute::Private(false),
        Attribute::Modifiable(false),
        Attribute::Label(template.role.label().into()),
        Attribute::Id(template.id.0.to_vec()),
        Attribute::ModulusBits(Ulong::new(bits.into())),
        Attribute::PublicExponent(vec![1, 0, 1]),
        Attribute::Encrypt(false),
        Attribute::Verify(false),
        Attribute::VerifyRecover(false),
        Attribute::Wrap(false),
    ];
    desk.session.generate_key_pair(&Mechanism::RsaPkcsKeyPairGen, &public, &private)?;
    Ok(())
}

/// The public key of a private key object, from its modulus and exponent.
pub(super) fn public_key(desk: &mut Desk<'_>, role: Role) -> Result<RsaPublicKey, HsmError> {
    let key = desk.handle(role, id_of(role))?;
    let (mut modulus, mut exponent) = (None, None);
    for attribute in
        desk.session.get_attributes(key, &[AttributeType::Modulus, AttributeType::PublicExponent])?
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
pub(super) fn server_key(desk: &mut Desk<'_>, role: Role) -> Result<ServerKey, HsmError> {
    let key = public_key(desk, role)?;
    let spki = key.to_public_key_der().map_err(|_| HsmError::Nonsense("an RSA key that has no encoding"))?;
    let spki_der = spki.into_vec();
    let fingerprint = hex::encode(Sha256::digest(&spki_der));
    Ok(ServerKey { spki_der, fingerprint, bits: key.n().bits() })
}

/// RSASSA-PSS with SHA-256, MGF1-SHA-256 and a salt of 32 bytes, by the audit key.
pub(super) fn sign(desk: &mut Desk<'_>, message: &[u8]) -> Result<Vec<u8>, HsmError> {
    let key = desk.handle(Role::Audit, AUDIT_ID)?;
    let parameters = PkcsPssParams {
        hash_alg: MechanismType::SHA256,
        mgf: PkcsMgfType::MGF1_SHA256,
        s_len: Ulong::new(32),
    };
    Ok(desk.session.sign(&Mechanism::RsaPkcsPss(parameters), key, &Sha256::digest(message))?)
}

/// HMAC-SHA-256 by the row-seal key over `domain`, a zero byte, `data`. Domains hold no zero byte, so no two pairs collide.
pub(super) fn seal(desk: &mut Desk<'_>, domain: &str, data: &[u8]) -> Result<[u8; 32], HsmError> {
    let key = desk.handle(Role::RowSeal, ROW_SEAL_ID)?;
    let message = zeroize::Zeroizing::new([domain.as_bytes(), &[0], data].concat());
    Ok(*desk.hmac(key, &message)?)
}
