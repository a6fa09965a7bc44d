//! `vendkey.v1.PublicKeyService`.

use tonic::{Request, Response, Status};

use super::{
    authentication::caller,
    parse::{self, NAME_LENGTH, timestamp},
    services::Services,
    v1::{self, public_key_service_server::PublicKeyService},
};
use crate::{
    acts::{EnablePublicKey, Listing, Reason, Refusal, RegisterPublicKey},
    configuration::PublicKey,
    envelope::{self, Holder},
};

#[tonic::async_trait]
impl PublicKeyService for Services {
    async fn register_public_key(
        &self,
        request: Request<v1::RegisterPublicKeyRequest>,
    ) -> Result<Response<v1::PublicKey>, Status> {
        let caller = caller(&request)?;
        let (registration, holder) = registration(request.into_inner())?;
        let registered = self.acts.register_public_key(&caller, registration).await?;
        let mut shown = shown(&registered);
        let taken_out = |message| v1::Warning { code: "KEY_TAKEN_OUT".to_owned(), message };
        shown.warnings.extend(holder.notice().map(taken_out));
        Ok(Response::new(shown))
    }

    async fn get_public_key(
        &self,
        request: Request<v1::GetPublicKeyRequest>,
    ) -> Result<Response<v1::PublicKey>, Status> {
        let id = parse::name("name", "publicKeys", &request.into_inner().name)?;
        Ok(Response::new(shown(&self.acts.public_key(id).await?)))
    }

    async fn list_public_keys(
        &self,
        request: Request<v1::ListPublicKeysRequest>,
    ) -> Result<Response<v1::ListPublicKeysResponse>, Status> {
        let v1::ListPublicKeysRequest { page_size, page_token } = request.into_inner();
        let page = parse::page(Listing::PublicKeys, page_size, &page_token)?;
        let page = self.acts.list_public_keys(page).await?;
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
        let public_key = parse::name("name", "publicKeys", &request.into_inner().name)?;
        let enabled = self.acts.enable_public_key(&caller, EnablePublicKey { public_key }).await?;
        Ok(Response::new(shown(&enabled)))
    }

    async fn disable_public_key(
        &self,
        request: Request<v1::DisablePublicKeyRequest>,
    ) -> Result<Response<v1::PublicKey>, Status> {
        let caller = caller(&request)?;
        let id = parse::name("name", "publicKeys", &request.into_inner().name)?;
        Ok(Response::new(shown(&self.acts.disable_public_key(&caller, id).await?)))
    }
}

/// What is to be registered, and what the key stood in.
fn registration(wire: v1::RegisterPublicKeyRequest) -> Result<(RegisterPublicKey, Holder), Refusal> {
    let v1::RegisterPublicKeyRequest { public_key, display_name } = wire;
    let mut faults = Vec::new();
    if display_name.chars().count() > NAME_LENGTH || display_name.chars().any(char::is_control) {
        let problem = format!("at most {NAME_LENGTH} characters, none of them control characters");
        faults.push(("display_name".to_owned(), problem));
    }
    let parsed = envelope::PublicKey::read(&public_key)
        .map_err(|error| faults.push(("public_key".to_owned(), error.to_string())));
    match parsed {
        Ok((public_key, holder)) if faults.is_empty() => {
            Ok((RegisterPublicKey { display_name, public_key }, holder))
        }
        _ => Err(Refusal::fields(Reason::PublicKeyInvalid, faults)),
    }
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
