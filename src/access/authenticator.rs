//! From a bearer credential to the client that calls.

use std::sync::Arc;

use super::{AccessError, Credential, KeyId, SecretHash};
use crate::{
    store::{Actor, ClientId, Role, Store},
    vending::Clock,
};

/// Who calls, proven by a credential.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The client.
    pub client: ClientId,
    /// The credential that it used.
    pub key_id: KeyId,
    /// What the client is there for.
    pub role: Role,
}

impl Caller {
    /// Who is to be named on record for what this caller does.
    pub fn actor(&self) -> Actor {
        Actor::Client { client: self.client, credential: self.key_id.to_string() }
    }
}

/// Checks credentials against the store.
pub struct Authenticator {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
}

impl Authenticator {
    /// One that asks this store.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }

    /// Checks the value of an `authorization` header.
    ///
    /// Whether a credential is unknown, wrong, disabled or expired goes to the log, not to the caller.
    pub async fn authenticate(&self, header: Option<&[u8]>) -> Result<Caller, AccessError> {
        let presented: Credential = header
            .and_then(|value| std::str::from_utf8(value).ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .and_then(|(_, credential)| credential.parse().ok())
            .ok_or(AccessError::Missing)?;
        let key_id = presented.key_id().clone();
        let refused = |why: &str| {
            tracing::warn!(credential = %key_id, why, "credential refused");
            Err(AccessError::Refused)
        };
        let Some(holder) = self.store.credential(key_id.as_str()).await? else {
            return refused("unknown");
        };
        if SecretHash(holder.credential.secret_sha256) != presented.hash() {
            return refused("wrong secret");
        }
        if !holder.credential.enabled || !holder.client.enabled {
            return refused("disabled");
        }
        if holder.credential.expires_ms.is_some_and(|end| end <= self.clock.now_ms()) {
            return refused("expired");
        }
        Ok(Caller { client: holder.client.id, key_id, role: holder.client.role })
    }
}
