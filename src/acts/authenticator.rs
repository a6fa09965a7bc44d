//! From a credential to the client that calls.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use crate::{
    access::{
        Caller, Credential, KeyId, PeerCertificate, SecretHash,
        client::{CredentialHolder, Proof},
    },
    clock::Clock,
    store::{Store, StoreError},
};

/// Why a call is not let in. The caller learns no more than that.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// No `authorization` header, or not `Bearer` with a credential of ours.
    #[error("no credential: send `authorization: Bearer CREDENTIAL`")]
    Missing,
    /// Unknown, wrong, disabled or expired: which, only the log says.
    #[error("the credential is not accepted")]
    Refused,
    /// The store could not be asked.
    #[error("credentials cannot be checked now")]
    Store(#[from] StoreError),
}

/// Checks credentials against the store.
pub struct Authenticator {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    /// Credentials that the store knows, as they were moments ago: never more than there are.
    seen: RwLock<HashMap<KeyId, (Instant, Arc<Known>)>>,
}

/// A credential that the store knows, and the caller behind it.
struct Known {
    holder: CredentialHolder,
    caller: Caller,
}

/// How long a credential is believed without asking the store again. Tokens do not wait for it: the
/// ledger checks in the transaction that records them.
const BELIEVED: Duration = Duration::from_secs(1);

impl Authenticator {
    /// One that asks this store.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock, seen: RwLock::default() }
    }

    async fn known(&self, key_id: &KeyId) -> Result<Option<Arc<Known>>, StoreError> {
        let seen = self.seen.read().unwrap_or_else(PoisonError::into_inner).get(key_id).cloned();
        if let Some((at, known)) = seen
            && at.elapsed() < BELIEVED
        {
            return Ok(Some(known));
        }
        let holder = self.store.credential(key_id.as_str()).await?;
        let known = holder.map(|holder| {
            let caller = Caller::new(&holder.client, key_id.clone());
            Arc::new(Known { holder, caller })
        });
        if let Some(known) = &known {
            let mut seen = self.seen.write().unwrap_or_else(PoisonError::into_inner);
            seen.insert(key_id.clone(), (Instant::now(), known.clone()));
        }
        Ok(known)
    }

    /// Checks the value of an `authorization` header or, where there is none, the certificate of
    /// the connection.
    ///
    /// Whether a credential is unknown, wrong, disabled or expired goes to the log, not to the
    /// caller.
    ///
    /// # Errors
    /// [`AccessError`]: there is no credential, it is refused, or it could not be looked up.
    pub async fn authenticate(
        &self,
        header: Option<&[u8]>,
        peer: Option<&PeerCertificate>,
    ) -> Result<Caller, AccessError> {
        match (header, peer) {
            (None, Some(peer)) => self.by_certificate(peer).await,
            (header, _) => self.by_secret(header).await,
        }
    }

    /// A caller as they are now, by the credential that they proved before.
    ///
    /// # Errors
    /// As for a new call.
    pub async fn renewed(&self, caller: &Caller) -> Result<Caller, AccessError> {
        let known = self.known(&caller.key_id).await?;
        let known = known.filter(|known| known.caller.client == caller.client);
        self.in_force(&*known.ok_or_else(|| refused(&caller.key_id, "gone"))?)
    }

    async fn by_secret(&self, header: Option<&[u8]>) -> Result<Caller, AccessError> {
        let presented: Credential = header
            .and_then(|value| std::str::from_utf8(value).ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .and_then(|(_, credential)| credential.parse().ok())
            .ok_or(AccessError::Missing)?;
        let Some(known) = self.known(presented.key_id()).await? else {
            return Err(refused(presented.key_id(), "unknown"));
        };
        match known.holder.credential.proof {
            Proof::Secret(hash) if SecretHash(hash) == presented.hash() => self.in_force(&known),
            Proof::Secret(_) | Proof::Certificate => Err(refused(presented.key_id(), "wrong secret")),
        }
    }

    /// The key of the certificate counts before its names; of the names, the first that is known.
    async fn by_certificate(&self, peer: &PeerCertificate) -> Result<Caller, AccessError> {
        let key = KeyId::of_public_key(&peer.spki_sha256);
        let names = peer.uris.iter().filter_map(|uri| KeyId::of_uri(uri).ok());
        for key_id in std::iter::once(key.clone()).chain(names) {
            if let Some(known) = self.known(&key_id).await?
                && known.holder.credential.proof == Proof::Certificate
            {
                return self.in_force(&known);
            }
        }
        Err(refused(&key, "no credential is of this certificate"))
    }

    fn in_force(&self, known: &Known) -> Result<Caller, AccessError> {
        let Known { holder: CredentialHolder { credential, client }, caller } = known;
        if !credential.enabled || !client.enabled {
            return Err(refused(&caller.key_id, "disabled"));
        }
        if credential.expires_ms.is_some_and(|end| end <= self.clock.now_ms()) {
            return Err(refused(&caller.key_id, "expired"));
        }
        Ok(caller.clone())
    }
}

fn refused(credential: &KeyId, why: &str) -> AccessError {
    tracing::warn!(%credential, why, "credential refused");
    AccessError::Refused
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::client::{ClientAct, ClientChange, CredentialChange, NewClient, NewCredential};
    use crate::access::{limits::Limits, rights::Rights};
    use crate::audit::Actor;
    use crate::clock::SetClock;
    use crate::id::ClientId;
    use crate::store::{SoftwareSealer, memory::Memory};

    struct Scene {
        store: Arc<dyn Store>,
        clock: Arc<SetClock>,
        client: ClientId,
    }

    const ACT: ClientAct = ClientAct { actor: Actor::Local, now_ms: 0, keepers: 0 };

    impl Scene {
        async fn new() -> Self {
            let sealer = Arc::new(SoftwareSealer([1; 32]));
            let store: Arc<dyn Store> = Arc::new(Memory::default().open(sealer).unwrap());
            let client = ClientId::generate();
            let new = NewClient {
                id: client,
                display_name: "till".to_owned(),
                rights: Rights::till(),
                limits: Limits::default(),
                actor: Actor::Local,
                now_ms: 0,
            };
            store.create_client(new).await.unwrap();
            Self { store, clock: Arc::default(), client }
        }

        async fn credential(&self, key_id: &KeyId, proof: Proof) {
            let new = NewCredential {
                key_id: key_id.to_string(),
                client: self.client,
                proof,
                expires_ms: Some(1_000),
                actor: Actor::Local,
                now_ms: 0,
            };
            self.store.create_credential(new).await.unwrap();
        }

        /// A new one each time: it believes what it read for a second.
        async fn ask(
            &self,
            header: Option<&str>,
            peer: Option<&PeerCertificate>,
        ) -> Result<ClientId, AccessError> {
            let authenticator = Authenticator::new(self.store.clone(), self.clock.clone());
            let caller = authenticator.authenticate(header.map(str::as_bytes), peer).await?;
            Ok(caller.client)
        }
    }

    fn peer(spki: u8, uris: &[&str]) -> PeerCertificate {
        PeerCertificate {
            spki_sha256: [spki; 32],
            uris: uris.iter().map(|uri| (*uri).to_owned()).collect(),
            expires_ms: i64::MAX,
        }
    }

    #[tokio::test]
    async fn a_secret_counts_until_it_is_disabled_or_ends() {
        let scene = Scene::new().await;
        let secret = Credential::generate().unwrap();
        scene.credential(secret.key_id(), Proof::Secret(secret.hash().0)).await;
        let header = format!("Bearer {}", *secret.expose());
        assert_eq!(scene.ask(Some(&header), None).await.unwrap(), scene.client);
        scene.clock.set(1_000);
        assert!(matches!(scene.ask(Some(&header), None).await, Err(AccessError::Refused)));
        scene.clock.set(999);
        let key_id = secret.key_id().as_str();
        for enabled in [false, true] {
            let change = CredentialChange::Enabled(enabled);
            scene.store.change_credential(key_id, change, ACT).await.unwrap();
            assert_eq!(scene.ask(Some(&header), None).await.is_ok(), enabled);
        }
        scene.store.change_client(scene.client, ClientChange::Enabled(false), ACT).await.unwrap();
        assert!(scene.ask(Some(&header), None).await.is_err());
    }

    #[tokio::test]
    async fn a_certificate_stands_for_a_credential() {
        let scene = Scene::new().await;
        let known = peer(1, &["urn:other", "spiffe://example.org/till/7"]);
        assert!(matches!(scene.ask(None, Some(&known)).await, Err(AccessError::Refused)));
        assert!(matches!(scene.ask(None, None).await, Err(AccessError::Missing)));
        scene.credential(&KeyId::of_uri("spiffe://example.org/till/7").unwrap(), Proof::Certificate).await;
        assert_eq!(scene.ask(None, Some(&known)).await.unwrap(), scene.client);
        assert!(scene.ask(None, Some(&peer(1, &["spiffe://example.org/till/70"]))).await.is_err());
        scene.credential(&KeyId::of_public_key(&[2; 32]), Proof::Certificate).await;
        assert_eq!(scene.ask(None, Some(&peer(2, &[]))).await.unwrap(), scene.client);
        // Whoever sends a credential is judged by it, whatever their certificate.
        assert!(matches!(scene.ask(Some("Bearer x"), Some(&known)).await, Err(AccessError::Missing)));
        scene.clock.set(1_000);
        assert!(scene.ask(None, Some(&known)).await.is_err(), "it ended");
    }
}
