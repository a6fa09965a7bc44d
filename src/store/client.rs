//! Who calls: clients, and the credentials that prove it.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::id::ClientId;

/// What a client is there for. Recorded, and not enforced yet: permissions come with access control.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Manages configurations, keys and clients; does not vend.
    Administrator,
    /// Vends.
    Vending,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 2] = [Self::Administrator, Self::Vending];

    /// The name in the database and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Administrator => "administrator",
            Self::Vending => "vending",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a role: administrator or vending is expected")]
pub struct UnknownRole;

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or(UnknownRole)
    }
}

/// A client to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewClient {
    /// Its id.
    pub id: ClientId,
    /// Its name, for people; not unique.
    pub display_name: String,
    /// What it is there for.
    pub role: Role,
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
    /// What it is there for.
    pub role: Role,
    /// Whether any of its credentials counts.
    pub enabled: bool,
    /// When it was created.
    pub created_ms: i64,
    /// When it last changed.
    pub updated_ms: i64,
}

/// A credential to create.
#[derive(Clone, PartialEq, Eq)]
pub struct NewCredential {
    /// The public half, by which it is found.
    pub key_id: String,
    /// Whose it is.
    pub client: ClientId,
    /// SHA-256 of the secret half, which is 256 random bits: nothing to guess, so no slow hash is needed.
    pub secret_sha256: [u8; 32],
    /// When it ends; `None`: never.
    pub expires_ms: Option<i64>,
    /// When.
    pub now_ms: i64,
}

impl fmt::Debug for NewCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewCredential")
            .field("key_id", &self.key_id)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

/// A credential as stored.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// The public half, by which it is found.
    pub key_id: String,
    /// Whose it is.
    pub client: ClientId,
    /// SHA-256 of the secret half. Compare in constant time.
    pub secret_sha256: [u8; 32],
    /// Whether it counts.
    pub enabled: bool,
    /// When it ends; `None`: never.
    pub expires_ms: Option<i64>,
    /// When it was created.
    pub created_ms: i64,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("key_id", &self.key_id)
            .field("client", &self.client)
            .field("enabled", &self.enabled)
            .field("expires_ms", &self.expires_ms)
            .finish_non_exhaustive()
    }
}

/// A credential with the client whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialHolder {
    /// The credential.
    pub credential: Credential,
    /// Its client.
    pub client: Client,
}
