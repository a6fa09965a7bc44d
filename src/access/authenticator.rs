//! From a bearer credential to the client that calls.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use super::{AccessError, Credential, KeyId, SecretHash};
use crate::{
    clock::Clock,
    store::{Actor, ClientId, CredentialHolder, Role, Store, StoreError},
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
    /// Credentials that the store knows, as they were moments ago: never more than there are.
    seen: RwLock<HashMap<KeyId, (Instant, Arc<CredentialHolder>)>>,
}

/// How long a credential is believed without asking the store again. Tokens do not wait for it: the ledger checks in the
/// transaction that records them.
const BELIEVED: Duration = Duration::from_secs(1);

impl Authenticator {
    /// One that asks this store.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock, seen: RwLock::default() }
    }

    async fn holder(&self, key_id: &KeyId) -> Result<Option<Arc<CredentialHolder>>, StoreError> {
        let seen = self.seen.read().unwrap_or_else(PoisonError::into_inner).get(key_id).cloned();
        if let Some((at, holder)) = seen
            && at.elapsed() < BELIEVED
        {
            return Ok(Some(holder));
        }
        let holder = self.store.credential(key_id.as_str()).await?.map(Arc::new);
        if let Some(holder) = &holder {
            let mut seen = self.seen.write().unwrap_or_else(PoisonError::into_inner);
            seen.insert(key_id.clone(), (Instant::now(), holder.clone()));
        }
        Ok(holder)
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
        let Some(holder) = self.holder(&key_id).await? else {
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
