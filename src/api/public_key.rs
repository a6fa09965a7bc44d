//! `vendkey.v1.PublicKeyService`.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::{
    authentication::caller,
    four_eyes::{FourEyes, method},
    parse::{Fields, NAME_LENGTH, timestamp},
    v1::{self, public_key_service_server::PublicKeyService},
};
use crate::{
    access::Caller,
    acts::{Reason, Refusal},
    clock::Clock,
    envelope,
    store::{Listing, NewPublicKey, PageRequest, PublicKey, PublicKeyId, Registered, Store},
};

/// The service.
pub struct PublicKeys {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    four_eyes: Arc<FourEyes>,
}

impl PublicKeys {
    /// Over the store.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, four_eyes: Arc<FourEyes>) -> Self {
        Self { store, clock, four_eyes }
    }

    /// What registering a key would do; nothing if this client registered it before.
    async fn registering(&self, new: &NewPublicKey) -> Result<Option<String>, Refusal> {
        let known = self.store.enabled_public_keys(new.owner).await?;
        if known.iter().any(|known| known.fingerprint == new.fingerprint) {
            return Ok(None);
        }
        let NewPublicKey { display_name, bits, .. } = new;
        let fingerprint = hex::encode(new.fingerprint);
        Ok(Some(format!(
            "register public key {display_name:?} (RSA of {bits} bits, fingerprint {fingerprint}), which will sign uploads of the client that asks"
        )))
    }

    /// What enabling a key would do.
    async fn enabling(&self, id: PublicKeyId) -> Result<Option<String>, Refusal> {
        let key = self.store.public_key(id).await?.ok_or_else(|| not_found(id))?;
        let PublicKey { display_name, owner, .. } = &key;
        let fingerprint = hex::encode(key.fingerprint);
        Ok((!key.enabled).then(|| {
            format!(
                "enable public key {display_name:?} (publicKeys/{id}, fingerprint {fingerprint}): it signs uploads of clients/{owner}"
            )
        }))
    }

    async fn set_enabled(
        &self,
        caller: &Caller,
        id: PublicKeyId,
        enabled: bool,
    ) -> Result<Response<v1::PublicKey>, Status> {
        let now_ms = self.clock.now_ms();
        let changed = self.store.set_public_key_enabled(id, enabled, caller.actor(), now_ms).await;
        let changed = changed.map_err(Refusal::from)?.ok_or_else(|| not_found(id))?;
        Ok(Response::new(shown(&changed)))
    }
}

#[tonic::async_trait]
impl PublicKeyService for PublicKeys {
    async fn register_public_key(
        &self,
        request: Request<v1::RegisterPublicKeyRequest>,
    ) -> Result<Response<v1::PublicKey>, Status> {
        let caller = caller(&request)?;
        let v1::RegisterPublicKeyRequest { public_key, display_name } = request.get_ref();
        let mut faults = Vec::new();
        if display_name.chars().count() > NAME_LENGTH || display_name.chars().any(char::is_control) {
            faults.push((
                "display_name".to_owned(),
                format!("at most {NAME_LENGTH} characters, none of them control characters"),
            ));
        }
        let parsed = envelope::PublicKey::parse(public_key)
            .map_err(|error| faults.push(("public_key".to_owned(), error.to_string())));
        let (Ok(key), true) = (parsed, faults.is_empty()) else {
            return Err(Refusal::fields(Reason::PublicKeyInvalid, faults).into());
        };
        let new = NewPublicKey {
            id: PublicKeyId::generate(),
            owner: caller.client,
            display_name: display_name.clone(),
            spki: key.spki_der().to_vec(),
            fingerprint: *key.fingerprint().as_bytes(),
            bits: u32::try_from(key.bits()).unwrap_or_default(),
            enabled: true,
            actor: caller.actor(),
            now_ms: self.clock.now_ms(),
        };
        self.four_eyes.pass(&request, method::REGISTER_PUBLIC_KEY, self.registering(&new)).await?;
        let (Registered::New(row) | Registered::Existing(row)) =
            self.store.register_public_key(new).await.map_err(Refusal::from)?;
        if row.owner != caller.client {
            let fault = ("public_key".to_owned(), "another client registered this key".to_owned());
            return Err(Refusal::fields(Reason::PublicKeyInvalid, vec![fault]).into());
        }
        Ok(Response::new(shown(&row)))
    }

    async fn get_public_key(
        &self,
        request: Request<v1::GetPublicKeyRequest>,
    ) -> Result<Response<v1::PublicKey>, Status> {
        let id = parse_name(&request.into_inner().name)?;
        let found = self.store.public_key(id).await.map_err(Refusal::from)?;
        let found = found.ok_or_else(|| not_found(id))?;
        Ok(Response::new(shown(&found)))
    }

    async fn list_public_keys(
        &self,
        request: Request<v1::ListPublicKeysRequest>,
    ) -> Result<Response<v1::ListPublicKeysResponse>, Status> {
        let v1::ListPublicKeysRequest { page_size, page_token } = request.into_inner();
        let page = PageRequest::new(Listing::PublicKeys, page_size, &page_token).map_err(Refusal::from)?;
        let page = self.store.list_public_keys(page).await.map_err(Refusal::from)?;
        Ok(Response::new(v1::ListPublicKeysResponse {
            public_keys: page.items.iter().map(shown).collect(),
            next_page_token: page.next.map(|token| token.to_string()).unwrap_or_default(),
        }))
    }

    async fn enable_public_key(
        &self,
        request: Request<v1::EnablePublicKeyRequest>,
    ) -> Result<Response<v1::PublicKey>, Status> {
        let caller = caller(&request)?;
        let id = parse_name(&request.get_ref().name)?;
        self.four_eyes.pass(&request, method::ENABLE_PUBLIC_KEY, self.enabling(id)).await?;
        self.set_enabled(&caller, id, true).await
    }

    async fn disable_public_key(
        &self,
        request: Request<v1::DisablePublicKeyRequest>,
    ) -> Result<Response<v1::PublicKey>, Status> {
        let caller = caller(&request)?;
        self.set_enabled(&caller, parse_name(&request.get_ref().name)?, false).await
    }
}

fn parse_name(name: &str) -> Result<PublicKeyId, Refusal> {
    let mut fields = Fields::default();
    let id = fields.name("name", "publicKeys", name);
    fields.finish(id)
}

fn not_found(id: PublicKeyId) -> Refusal {
    Refusal::new(Reason::PublicKeyNotFound, format!("there is no public key {id}"))
}

fn shown(row: &PublicKey) -> v1::PublicKey {
    // Stored keys were parsed once; one that no longer parses is shown without its PEM.
    let key = envelope::PublicKey::parse(&row.spki).ok();
    v1::PublicKey {
        name: format!("publicKeys/{}", row.id),
        display_name: row.display_name.clone(),
        enabled: row.enabled,
        fingerprint: hex::encode(row.fingerprint),
        bits: row.bits,
        public_key_pem: key.as_ref().map(envelope::PublicKey::spki_pem).unwrap_or_default(),
        owner: format!("clients/{}", row.owner),
        warnings: key.iter().filter_map(envelope::PublicKey::warning).map(warning).collect(),
        create_time: Some(timestamp(row.created_ms)),
        update_time: Some(timestamp(row.updated_ms)),
    }
}

fn warning(warning: envelope::PublicKeyWarning) -> v1::Warning {
    let code = match warning {
        envelope::PublicKeyWarning::Short { .. } => "SHORT_KEY",
    };
    v1::Warning { code: code.to_owned(), message: warning.to_string() }
}
