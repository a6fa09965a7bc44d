//! `vendkey.v1.ClientService`.

use std::sync::Arc;

use prost::Message;
use prost_types::Timestamp;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{
    authentication::caller,
    four_eyes::{FourEyes, method},
    parse::{Fields, NAME_LENGTH, timestamp},
    rights::{limits, limits_shown, rights, rights_shown},
    token::request_id,
    v1::{self, client_service_server::ClientService, create_credential_request::Proof as WireProof},
};
use crate::{
    access::{Clients as Acts, CredentialOrder, KeyId, NewProof},
    acts::Refusal,
    store::{
        Client, ClientChange, ClientId, ClientRefusal, Credential, CredentialChange, Listing, PageRequest,
    },
};

/// The service.
pub struct Clients {
    acts: Arc<Acts>,
    four_eyes: Arc<FourEyes>,
}

impl Clients {
    /// Over the acts.
    pub fn new(acts: Arc<Acts>, four_eyes: Arc<FourEyes>) -> Self {
        Self { acts, four_eyes }
    }

    pub(super) fn acts(&self) -> &Acts {
        &self.acts
    }

    async fn set_enabled<T>(
        &self,
        request: Request<T>,
        name: impl Fn(&T) -> &str,
        enabled: bool,
    ) -> Result<Response<v1::Client>, Status> {
        let caller = caller(&request)?;
        let id = client_name(name(request.get_ref()))?;
        let changed = self.acts.set_enabled(&caller, id, enabled).await.map_err(Refusal::from)?;
        Ok(Response::new(shown(&changed)))
    }

    /// `method` is the call, where it may give somebody something back and so may have to wait.
    async fn change_credential<T: Message + Clone>(
        &self,
        request: Request<T>,
        method: Option<&'static str>,
        parse: impl Fn(T, &mut Fields) -> (String, Option<CredentialChange>),
    ) -> Result<Response<v1::Credential>, Status> {
        let caller = caller(&request)?;
        let mut fields = Fields::default();
        let (name, change) = parse(request.get_ref().clone(), &mut fields);
        let key_id = fields.take("name", credential_name(&name));
        let (key_id, change) = fields.finish(key_id.zip(change))?;
        if let Some(method) = method {
            self.four_eyes.pass(&request, method, self.reviving(&caller, &key_id, change)).await?;
        }
        let changed = self.acts.change_credential(&caller, &key_id, change).await.map_err(Refusal::from)?;
        Ok(Response::new(credential_shown(&changed)))
    }
}

#[tonic::async_trait]
impl ClientService for Clients {
    async fn create_client(
        &self,
        request: Request<v1::CreateClientRequest>,
    ) -> Result<Response<v1::Client>, Status> {
        let caller = caller(&request)?;
        let wire = request.get_ref().clone();
        let mut fields = Fields::default();
        let id = fields.take("request_id", request_id(&wire.request_id)).map(Uuid::into_bytes);
        let display_name = display_name(&mut fields, wire.display_name);
        let (rights, limits) = (rights(&mut fields, wire.rights), limits(&mut fields, wire.limits));
        let parsed = id.zip(display_name).zip(rights.zip(limits));
        let ((id, display_name), (rights, limits)) = fields.finish(parsed)?;
        let id = ClientId::from_bytes(id);
        let creating = self.creating(&caller, id, (&display_name, &rights, &limits));
        self.four_eyes.pass(&request, method::CREATE_CLIENT, creating).await?;
        let made = self.acts.create(&caller, id, display_name, rights, limits).await;
        Ok(Response::new(shown(&made.map_err(Refusal::from)?)))
    }

    async fn get_client(
        &self,
        request: Request<v1::GetClientRequest>,
    ) -> Result<Response<v1::Client>, Status> {
        let id = client_name(&request.into_inner().name)?;
        let found = self.acts.store().client(id).await.map_err(Refusal::from)?;
        let found = found.ok_or_else(|| Refusal::from(ClientRefusal::NotFound(id)))?;
        Ok(Response::new(shown(&found)))
    }

    async fn list_clients(
        &self,
        request: Request<v1::ListClientsRequest>,
    ) -> Result<Response<v1::ListClientsResponse>, Status> {
        let v1::ListClientsRequest { page_size, page_token } = request.into_inner();
        let page = PageRequest::new(Listing::Clients, page_size, &page_token).map_err(Refusal::from)?;
        let page = self.acts.store().list_clients(page).await.map_err(Refusal::from)?;
        Ok(Response::new(v1::ListClientsResponse {
            clients: page.items.iter().map(shown).collect(),
            next_page_token: page.next.map(|token| token.to_string()).unwrap_or_default(),
        }))
    }

    async fn update_client(
        &self,
        request: Request<v1::UpdateClientRequest>,
    ) -> Result<Response<v1::Client>, Status> {
        let caller = caller(&request)?;
        let wire = request.get_ref().clone();
        let mut fields = Fields::default();
        let id = fields.name("name", "clients", &wire.name);
        let version =
            fields.take("etag", wire.etag.parse().map_err(|_| "is the etag of the client as it was read"));
        let display_name = display_name(&mut fields, wire.display_name);
        let (rights, limits) = (rights(&mut fields, wire.rights), limits(&mut fields, wire.limits));
        let parsed = id.zip(version).zip(display_name).zip(rights.zip(limits));
        let (((id, version), display_name), (rights, limits)) = fields.finish(parsed)?;
        let change = ClientChange::Replace { version, display_name, rights, limits };
        let updating = self.updating(&caller, id, &change);
        self.four_eyes.pass(&request, method::UPDATE_CLIENT, updating).await?;
        let changed = self.acts.update(&caller, id, change).await.map_err(Refusal::from)?;
        Ok(Response::new(shown(&changed)))
    }

    async fn enable_client(
        &self,
        request: Request<v1::EnableClientRequest>,
    ) -> Result<Response<v1::Client>, Status> {
        let caller = caller(&request)?;
        let id = client_name(&request.get_ref().name)?;
        self.four_eyes.pass(&request, method::ENABLE_CLIENT, self.enabling(&caller, id)).await?;
        self.set_enabled(request, |request| &request.name, true).await
    }

    async fn disable_client(
        &self,
        request: Request<v1::DisableClientRequest>,
    ) -> Result<Response<v1::Client>, Status> {
        self.set_enabled(request, |request| &request.name, false).await
    }

    async fn create_credential(
        &self,
        request: Request<v1::CreateCredentialRequest>,
    ) -> Result<Response<v1::CreateCredentialResponse>, Status> {
        let caller = caller(&request)?;
        let wire = request.get_ref().clone();
        let mut fields = Fields::default();
        let client = fields.name("client", "clients", &wire.client);
        let proof = proof(&mut fields, wire.proof);
        let expires_ms = expiry(&mut fields, wire.expire_time);
        let parsed = client.zip(proof).zip(expires_ms);
        let ((client, proof), expires_ms) = fields.finish(parsed)?;
        let order = CredentialOrder { client, proof, expires_ms };
        self.four_eyes.pass(&request, method::CREATE_CREDENTIAL, self.crediting(&caller, &order)).await?;
        let (made, secret) = self.acts.create_credential(&caller, order).await.map_err(Refusal::from)?;
        Ok(Response::new(v1::CreateCredentialResponse {
            credential: Some(credential_shown(&made)),
            // What is freed is wiped by the allocator: protobuf's own copies too.
            secret: secret.map(|secret| secret.expose().to_string()).unwrap_or_default(),
        }))
    }

    async fn list_credentials(
        &self,
        request: Request<v1::ListCredentialsRequest>,
    ) -> Result<Response<v1::ListCredentialsResponse>, Status> {
        let v1::ListCredentialsRequest { client, page_size, page_token } = request.into_inner();
        let mut fields = Fields::default();
        let client = fields.name("client", "clients", &client);
        let client = fields.finish(client)?;
        let page = PageRequest::new(Listing::Credentials, page_size, &page_token).map_err(Refusal::from)?;
        let store = self.acts.store();
        if store.client(client).await.map_err(Refusal::from)?.is_none() {
            return Err(Refusal::from(ClientRefusal::NotFound(client)).into());
        }
        let page = store.list_credentials(client, page).await.map_err(Refusal::from)?;
        Ok(Response::new(v1::ListCredentialsResponse {
            credentials: page.items.iter().map(credential_shown).collect(),
            next_page_token: page.next.map(|token| token.to_string()).unwrap_or_default(),
        }))
    }

    async fn enable_credential(
        &self,
        request: Request<v1::EnableCredentialRequest>,
    ) -> Result<Response<v1::Credential>, Status> {
        let parse = |wire: v1::EnableCredentialRequest, _: &mut Fields| {
            (wire.name, Some(CredentialChange::Enabled(true)))
        };
        self.change_credential(request, Some(method::ENABLE_CREDENTIAL), parse).await
    }

    async fn disable_credential(
        &self,
        request: Request<v1::DisableCredentialRequest>,
    ) -> Result<Response<v1::Credential>, Status> {
        let parse = |wire: v1::DisableCredentialRequest, _: &mut Fields| {
            (wire.name, Some(CredentialChange::Enabled(false)))
        };
        self.change_credential(request, None, parse).await
    }

    async fn set_credential_expiry(
        &self,
        request: Request<v1::SetCredentialExpiryRequest>,
    ) -> Result<Response<v1::Credential>, Status> {
        let parse = |wire: v1::SetCredentialExpiryRequest, fields: &mut Fields| {
            (wire.name, expiry(fields, wire.expire_time).map(CredentialChange::Expires))
        };
        self.change_credential(request, Some(method::SET_CREDENTIAL_EXPIRY), parse).await
    }
}

fn client_name(name: &str) -> Result<ClientId, Refusal> {
    let mut fields = Fields::default();
    let id = fields.name("name", "clients", name);
    fields.finish(id)
}

/// The key id in `credentials/{key id}`.
fn credential_name(name: &str) -> Result<KeyId, String> {
    let key_id = name.strip_prefix("credentials/").ok_or("expected credentials/ and a key id")?;
    key_id.parse::<KeyId>().map_err(|error| error.to_string())
}

fn display_name(fields: &mut Fields, text: String) -> Option<String> {
    let fits = !text.is_empty() && text.chars().count() <= NAME_LENGTH && !text.chars().any(char::is_control);
    let problem = format!("1 to {NAME_LENGTH} characters, none of them control characters");
    fields.take("display_name", fits.then_some(text).ok_or(problem))
}

fn proof(fields: &mut Fields, wire: Option<WireProof>) -> Option<NewProof> {
    match wire {
        None => Some(NewProof::Made),
        Some(WireProof::Certificate(text)) => {
            let parsed = text.parse().ok().filter(KeyId::is_of_certificate);
            let problem = "expected spki: and 64 hex digits, or uri: and a URI";
            fields.take("certificate", parsed.ok_or(problem)).map(NewProof::Certificate)
        }
        Some(WireProof::HeldSecret(held)) => {
            let key_id = held.key_id.parse().ok().filter(|key_id: &KeyId| !key_id.is_of_certificate());
            let key_id = fields.take("held_secret.key_id", key_id.ok_or("expected 16 lower-case hex digits"));
            let mut secret_sha256 = [0; 32];
            let decoded = hex::decode_to_slice(&held.secret_sha256, &mut secret_sha256);
            fields.take("held_secret.secret_sha256", decoded.map_err(|_| "expected 64 hex digits"))?;
            Some(NewProof::Held { key_id: key_id?, secret_sha256 })
        }
    }
}

/// Milliseconds since 1970, or never.
fn expiry(fields: &mut Fields, wire: Option<Timestamp>) -> Option<Option<i64>> {
    let Some(time) = wire else { return Some(None) };
    let ms = time.seconds.checked_mul(1000).filter(|_| (0..1_000_000_000).contains(&time.nanos));
    let ms = ms.and_then(|ms| ms.checked_add(i64::from(time.nanos) / 1_000_000));
    fields.take("expire_time", ms.ok_or("is no time")).map(Some)
}

fn shown(client: &Client) -> v1::Client {
    v1::Client {
        name: format!("clients/{}", client.id),
        display_name: client.display_name.clone(),
        rights: Some(rights_shown(&client.rights)),
        limits: Some(limits_shown(&client.limits)),
        enabled: client.enabled,
        etag: client.version.to_string(),
        create_time: Some(timestamp(client.created_ms)),
        update_time: Some(timestamp(client.updated_ms)),
    }
}

fn credential_shown(credential: &Credential) -> v1::Credential {
    v1::Credential {
        name: format!("credentials/{}", credential.key_id),
        client: format!("clients/{}", credential.client),
        enabled: credential.enabled,
        expire_time: credential.expires_ms.map(timestamp),
        create_time: Some(timestamp(credential.created_ms)),
    }
}
