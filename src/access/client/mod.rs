//! Who calls: clients, and the credentials that prove it.

mod changes;
mod lock_out;

use std::fmt;

use thiserror::Error;

use super::limits::Limits;
use super::rights::Rights;
use crate::audit::Actor;
use crate::id::ClientId;

pub use changes::{change_client, change_credential, create_client, create_credential};
pub use lock_out::Everyone;

/// A client to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewClient {
    /// Its id.
    pub id: ClientId,
    /// Its name, for people; not unique.
    pub display_name: String,
    /// What it may do.
    pub rights: Rights,
    /// How much.
    pub limits: Limits,
    /// Whose act it is.
    pub actor: Actor,
    /// When.
    pub now_ms: i64,
}

/// A client as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its id.
    pub id: ClientId,
    /// Its name, for people; not unique.
    pub display_name: String,
    /// What it may do.
    pub rights: Rights,
    /// How much.
    pub limits: Limits,
    /// Whether any of its credentials counts.
    pub enabled: bool,
    /// Grows with every change.
    pub version: i64,
    /// When it was created.
    pub created_ms: i64,
    /// When it last changed.
    pub updated_ms: i64,
}

/// A change to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "made once for a call and never kept")]
pub enum ClientChange {
    /// Replaces what is not fixed, if the client is still as it was read.
    Replace {
        /// The version that was read.
        version: i64,
        /// Its new name.
        display_name: String,
        /// What it may do from now on.
        rights: Rights,
        /// How much.
        limits: Limits,
    },
    /// Its credentials count or do not.
    Enabled(bool),
}

/// What proves that a caller is the client.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// SHA-256 of the secret half of a bearer credential, which is 256 random bits: nothing to
    /// guess, so no slow hash is needed. Compare in constant time.
    Secret([u8; 32]),
    /// The handshake of TLS: the key id says which certificate.
    Certificate,
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Secret(_) => "Secret",
            Self::Certificate => "Certificate",
        })
    }
}

/// A credential to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCredential {
    /// The public half, by which it is found.
    pub key_id: String,
    /// Whose it is.
    pub client: ClientId,
    /// What proves it.
    pub proof: Proof,
    /// When it ends; `None`: never.
    pub expires_ms: Option<i64>,
    /// Whose act it is.
    pub actor: Actor,
    /// When.
    pub now_ms: i64,
}

/// A credential as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// The public half, by which it is found.
    pub key_id: String,
    /// Whose it is.
    pub client: ClientId,
    /// What proves it.
    pub proof: Proof,
    /// Whether it counts.
    pub enabled: bool,
    /// When it ends; `None`: never.
    pub expires_ms: Option<i64>,
    /// When it was created.
    pub created_ms: i64,
}

/// A change to a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialChange {
    /// It counts or does not.
    Enabled(bool),
    /// It ends then; `None`: never.
    Expires(Option<i64>),
}

/// A credential with the client whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialHolder {
    /// The credential.
    pub credential: Credential,
    /// Its client.
    pub client: Client,
}

impl CredentialHolder {
    /// Whether it is a credential of this client, and both count now.
    pub fn counts(&self, client: ClientId, now_ms: i64) -> bool {
        self.client.id == client && self.client.enabled && self.credential.counts(now_ms)
    }
}

impl Credential {
    /// Whether it is enabled and has not ended.
    pub fn counts(&self, now_ms: i64) -> bool {
        self.enabled && self.expires_ms.is_none_or(|end| end > now_ms)
    }
}

/// Whose change it is, when, and what must be left after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAct {
    /// Whose act it is.
    pub actor: Actor,
    /// When.
    pub now_ms: i64,
    /// How many clients must be able to give every right back ([`Rights::keeps_the_keys`]), each
    /// with a credential that counts.
    pub keepers: u32,
}

/// Why a client or credential does not change.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ClientRefusal {
    /// There is no such client.
    #[error("there is no client {0}")]
    NotFound(ClientId),
    /// There is no such credential.
    #[error("there is no credential {0}")]
    CredentialNotFound(String),
    /// Another client has this id, or another credential this key id.
    #[error("{0} exists already, and is another")]
    Exists(String),
    /// It was changed since it was read.
    #[error("the client was changed since it was read: it is at version {found}")]
    Changed {
        /// Its version now.
        found: i64,
    },
    /// Nobody could undo it.
    #[error("{left} administrators could still give every right back, and {needed} are needed")]
    LockOut {
        /// How many would be left.
        left: u32,
        /// How many are needed.
        needed: u32,
    },
}
