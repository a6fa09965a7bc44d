//! What every key object must look like, and proof that it does.
//!
//! Modules forget and ignore parts of templates (hsm-facts §1, "Template to use"), so each object
//! is read back.

use cryptoki::mechanism::MechanismType;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use zeroize::Zeroize;

use super::capabilities::{Origin, Probe};
use super::error::{HsmError, Mismatch};
use super::keys::{KeyId, Role};

/// The one thing that a key may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Usage {
    /// C_Sign.
    Sign,
    /// C_Encrypt.
    Encrypt,
    /// C_Decrypt.
    Decrypt,
    /// C_Encrypt and C_Decrypt: only the session form of a mask key, for the moment of its birth.
    EncryptAndDecrypt,
    /// C_UnwrapKey.
    Unwrap,
}

/// How long an object lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lifetime {
    /// Until it is destroyed.
    Token,
    /// As long as the session that made it.
    Session,
}

/// Everything about a key object but its value.
#[derive(Debug, Clone)]
pub(super) struct KeyTemplate {
    pub(super) role: Role,
    pub(super) id: KeyId,
    pub(super) key_type: KeyType,
    pub(super) usage: Usage,
    pub(super) lifetime: Lifetime,
    /// Immutable from birth. Off only for what is copied and destroyed at once.
    pub(super) immutable: bool,
    /// CKA_ALLOWED_MECHANISMS; empty where the module does not obey it.
    pub(super) mechanisms: Vec<MechanismType>,
}

impl KeyTemplate {
    /// The attributes of the object. Every usage but the wanted ones is false explicitly: left out,
    /// modules add their own.
    pub(super) fn attributes(&self) -> Vec<Attribute> {
        let mut attributes = vec![
            Attribute::Class(self.role.class()),
            Attribute::KeyType(self.key_type),
            Attribute::Token(self.lifetime == Lifetime::Token),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Modifiable(!self.immutable),
            Attribute::Label(self.role.label().into()),
            Attribute::Id(self.role.cka_id(self.id).0.to_vec()),
        ];
        attributes.extend(self.usages());
        if !self.mechanisms.is_empty() {
            attributes.push(Attribute::AllowedMechanisms(self.mechanisms.clone()));
        }
        attributes
    }

    /// The usage flags. PKCS#11 gives CKA_WRAP, CKA_ENCRYPT and CKA_VERIFY to secret and public
    /// keys only.
    fn usages(&self) -> Vec<Attribute> {
        let is = |usages: &[Usage]| usages.contains(&self.usage);
        let mut flags = vec![
            Attribute::Decrypt(is(&[Usage::Decrypt, Usage::EncryptAndDecrypt])),
            Attribute::Sign(is(&[Usage::Sign])),
            Attribute::Unwrap(is(&[Usage::Unwrap])),
            Attribute::Derive(false),
        ];
        if self.role.class() == ObjectClass::SECRET_KEY {
            flags.push(Attribute::Encrypt(is(&[Usage::Encrypt, Usage::EncryptAndDecrypt])));
            flags.push(Attribute::Verify(false));
            flags.push(Attribute::Wrap(false));
        } else {
            flags.push(Attribute::SignRecover(false));
        }
        flags
    }

    /// Reads everything back, and tries to read the value.
    ///
    /// # Errors
    /// [`HsmError::KeyUntrusted`] with the first difference; a failing call as it is.
    pub(super) fn check(&self, session: &Session, key: ObjectHandle) -> Result<(), HsmError> {
        let untrusted = |mismatch| HsmError::KeyUntrusted { role: self.role, id: self.id, mismatch };
        let wanted = self.attributes();
        let types: Vec<AttributeType> = wanted.iter().map(Attribute::attribute_type).collect();
        let found = session.get_attributes(key, &types)?;
        for want in &wanted {
            let kind = want.attribute_type();
            let have = found.iter().find(|have| have.attribute_type() == kind);
            if have.is_none_or(|have| !self.same(want, have)) {
                return Err(untrusted(Mismatch::Attribute {
                    attribute: kind.to_string(),
                    wanted: format!("{want:?}"),
                    found: have.map_or_else(|| "not told".to_owned(), |have| format!("{have:?}")),
                }));
            }
        }
        let secrets: &[AttributeType] = if self.role.class() == ObjectClass::SECRET_KEY {
            &[AttributeType::Value]
        } else {
            &[AttributeType::PrivateExponent, AttributeType::Prime1, AttributeType::Prime2]
        };
        for secret in secrets {
            if is_readable(session, key, *secret)? {
                return Err(untrusted(Mismatch::ValueReadable));
            }
        }
        Ok(())
    }

    /// Equality of attributes; a list of mechanisms is a set, and one object may have two ids.
    fn same(&self, want: &Attribute, have: &Attribute) -> bool {
        match (want, have) {
            (Attribute::AllowedMechanisms(want), Attribute::AllowedMechanisms(have)) => {
                want.len() == have.len() && want.iter().all(|mechanism| have.contains(mechanism))
            }
            (Attribute::Id(_), Attribute::Id(have)) => {
                self.role.cka_ids(self.id).any(|id| id.0[..] == have[..])
            }
            _ => want == have,
        }
    }

    /// Checks that a key generated in the HSM never was anywhere else. Imported keys are neither
    /// always sensitive nor never extractable by definition (PKCS#11 v3.1 §4.8), so this is not
    /// asked of them. A module without known marks is asked for all of them.
    pub(super) fn check_born_inside(
        &self,
        session: &Session,
        key: ObjectHandle,
        marks: &Probe<Origin>,
    ) -> Result<(), HsmError> {
        let mut wanted = vec![Attribute::AlwaysSensitive(true), Attribute::NeverExtractable(true)];
        if *marks != Ok(Origin::NeverOutside) {
            wanted.push(Attribute::Local(true));
        }
        let types: Vec<AttributeType> = wanted.iter().map(Attribute::attribute_type).collect();
        let found = session.get_attributes(key, &types)?;
        match wanted.iter().find(|want| !found.contains(want)) {
            None => Ok(()),
            Some(want) => Err(HsmError::KeyUntrusted {
                role: self.role,
                id: self.id,
                mismatch: Mismatch::Attribute {
                    attribute: want.attribute_type().to_string(),
                    wanted: "true".to_owned(),
                    found: "false or not told".to_owned(),
                },
            }),
        }
    }
}

/// Whether the module hands out this secret. What it hands out is wiped.
fn is_readable(session: &Session, key: ObjectHandle, secret: AttributeType) -> Result<bool, HsmError> {
    let mut readable = false;
    for attribute in session.get_attributes(key, &[secret])? {
        if let Attribute::Value(mut bytes)
        | Attribute::PrivateExponent(mut bytes)
        | Attribute::Prime1(mut bytes)
        | Attribute::Prime2(mut bytes) = attribute
        {
            readable |= !bytes.is_empty();
            bytes.zeroize();
        }
    }
    Ok(readable)
}

/// C_CreateObject of a secret key, wiping our copy of the value.
pub(super) fn create(
    session: &Session,
    template: &KeyTemplate,
    value: &[u8],
) -> Result<ObjectHandle, HsmError> {
    let mut attributes = template.attributes();
    attributes.push(Attribute::Value(value.to_vec()));
    let created = session.create_object(&attributes);
    if let Some(Attribute::Value(value)) = attributes.last_mut() {
        value.zeroize();
    }
    Ok(created?)
}
