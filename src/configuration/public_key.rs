//! The public keys of those who may sign uploads.

use crate::audit::Actor;
use crate::id::{ClientId, PublicKeyId};

/// A public key to register, parsed and checked by the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPublicKey {
    /// The id that it gets if it is new.
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
    /// Whether it counts at once.
    pub enabled: bool,
    /// Whose act it is.
    pub actor: Actor,
    /// When.
    pub now_ms: i64,
}

/// A registered public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    /// Its id.
    pub id: PublicKeyId,
    /// The client whose uploads it signs.
    pub owner: ClientId,
    /// Whose key it is, for people.
    pub display_name: String,
    /// The key as SubjectPublicKeyInfo in DER.
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
