//! The public keys of those who may sign uploads.

use crate::audit::{Actor, Change, NewAct};
use crate::id::{ClientId, PublicKeyId};

/// A public key, parsed and checked by whoever registers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    /// Its id.
    pub id: PublicKeyId,
    /// The client whose uploads it signs.
    pub owner: ClientId,
    /// Whose key it is, for people.
    pub display_name: String,
    /// The key as SubjectPublicKeyInfo in DER (RFC 5280).
    pub spki: Vec<u8>,
    /// SHA-256 of `spki`.
    pub fingerprint: [u8; 32],
    /// Length of the modulus in bits.
    pub bits: u32,
    /// Whether its signature opens uploads.
    pub enabled: bool,
    /// When it was registered.
    pub created_ms: i64,
    /// When it was last enabled or disabled.
    pub updated_ms: i64,
}

/// What registering a key found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Registered {
    /// It was unknown.
    New(PublicKey),
    /// It is registered already, as this row, which is left as it is.
    Existing(PublicKey),
}

/// Registers a key that is unknown.
pub fn register(new: PublicKey, actor: Actor) -> Change<PublicKey> {
    let details = [
        ("public_key", new.id.to_string()),
        ("display_name", new.display_name.clone()),
        ("fingerprint", hex::encode(new.fingerprint)),
        ("owner", new.owner.to_string()),
    ];
    let act =
        NewAct { kind: "public_key.registered", actor, details: details.into(), now_ms: new.created_ms };
    Change { row: new, act }
}

impl PublicKey {
    /// Enables or disables it. `None`: it is so already.
    pub fn set_enabled(&self, enabled: bool, actor: Actor, now_ms: i64) -> Option<Change<Self>> {
        let kind = if enabled { "public_key.enabled" } else { "public_key.disabled" };
        let details = [("public_key", self.id.to_string())].into();
        (self.enabled != enabled).then(|| Change {
            row: Self { enabled, updated_ms: now_ms, ..self.clone() },
            act: NewAct { kind, actor, details, now_ms },
        })
    }
}
