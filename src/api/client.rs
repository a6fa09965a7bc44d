//! `vendkey.v1.ClientService`.

use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{
    authentication::caller,
    credential,
    parse::{self, Fields, NAME_LENGTH, request_id, timestamp},
    rights::{limits, limits_shown, rights, rights_shown},
    services::Services,
    v1::{self, client_service_server::ClientService},
};
use crate::{
    access::client::{Client, CredentialHolder},
    acts::{CreateClient, EnableClient, EnableCredential, Listing, Refusal, UpdateClient},
    id::ClientId,
};

#[tonic::async_trait]
impl ClientService for Services {
    async fn create_client(
        &self,
        request: Request<v1::CreateClientRequest>,
    ) -> Result<Response<v1::Client>, Status> {
        let caller = caller(&request)?;
        let made = self.acts.create_client(&caller, creation(request.into_inner())?).await?;
        Ok(Response::new(shown(&made)))
    }

    async fn get_caller(
        &self,
        request: Request<v1::GetCallerRequest>,
    ) -> Result<Response<v1::Caller>, Status> {
        let CredentialHolder { client, credential } = self.acts.caller(&caller(&request)?).await?;
        let (client, credential) = (Some(shown(&client)), Some(credential::shown(&credential)));
        Ok(Response::new(v1::Caller { client, credential }))
    }

    async fn get_client(
        &self,
        request: Request<v1::GetClientRequest>,
    ) -> Result<Response<v1::Client>, Status> {
        let id = parse::name("name", "clients", &request.into_inner().name)?;
        Ok(Response::new(shown(&self.acts.client(id).await?)))
    }

    async fn list_clients(
        &self,
        request: Request<v1::ListClientsRequest>,
    ) -> Result<Response<v1::ListClientsResponse>, Status> {
        let v1::ListClientsRequest { page_size, page_token } = request.into_inner();
        let page = self.acts.list_clients(parse::page(Listing::Clients, page_size, &page_token)?).await?;
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
        let changed = self.acts.update_client(&caller, update(request.into_inner())?).await?;
        Ok(Response::new(shown(&changed)))
    }

    async fn enable_client(
        &self,
        request: Request<v1::EnableClientRequest>,
    ) -> Result<Response<v1::Client>, Status> {
        let caller = caller(&request)?;
        let client = parse::name("name", "clients", &request.into_inner().name)?;
        Ok(Response::new(shown(&self.acts.enable_client(&caller, EnableClient { client }).await?)))
    }

    async fn disable_client(
        &self,
        request: Request<v1::DisableClientRequest>,
    ) -> Result<Response<v1::Client>, Status> {
        let caller = caller(&request)?;
        let id = parse::name("name", "clients", &request.into_inner().name)?;
        Ok(Response::new(shown(&self.acts.disable_client(&caller, id).await?)))
    }

    async fn create_credential(
        &self,
        request: Request<v1::CreateCredentialRequest>,
    ) -> Result<Response<v1::CreateCredentialResponse>, Status> {
        let caller = caller(&request)?;
        let order = credential::creation(request.into_inner())?;
        let (made, secret) = self.acts.create_credential(&caller, order).await?;
        Ok(Response::new(v1::CreateCredentialResponse {
            credential: Some(credential::shown(&made)),
            // What is freed is wiped by the allocator: protobuf's own copies too.
            secret: secret.map(|secret| secret.expose().to_string()).unwrap_or_default(),
        }))
    }

    async fn list_credentials(
        &self,
        request: Request<v1::ListCredentialsRequest>,
    ) -> Result<Response<v1::ListCredentialsResponse>, Status> {
        let v1::ListCredentialsRequest { client, page_size, page_token } = request.into_inner();
        let client = parse::name("client", "clients", &client)?;
        let page = parse::page(Listing::Credentials, page_size, &page_token)?;
        let page = self.acts.list_credentials(client, page).await?;
        Ok(Response::new(v1::ListCredentialsResponse {
            credentials: page.items.iter().map(credential::shown).collect(),
            next_page_token: page.next.map(|token| token.to_string()).unwrap_or_default(),
        }))
    }

    async fn enable_credential(
        &self,
        request: Request<v1::EnableCredentialRequest>,
    ) -> Result<Response<v1::Credential>, Status> {
        let caller = caller(&request)?;
        let credential = credential::name(&request.into_inner().name)?;
        let enabled = self.acts.enable_credential(&caller, EnableCredential { credential }).await?;
        Ok(Response::new(credential::shown(&enabled)))
    }

    async fn disable_credential(
        &self,
        request: Request<v1::DisableCredentialRequest>,
    ) -> Result<Response<v1::Credential>, Status> {
        let caller = caller(&request)?;
        let credential = credential::name(&request.into_inner().name)?;
        let disabled = self.acts.disable_credential(&caller, &credential).await?;
        Ok(Response::new(credential::shown(&disabled)))
    }

    async fn set_credential_expiry(
        &self,
        request: Request<v1::SetCredentialExpiryRequest>,
    ) -> Result<Response<v1::Credential>, Status> {
        let caller = caller(&request)?;
        let order = credential::end(request.into_inner())?;
        Ok(Response::new(credential::shown(&self.acts.set_credential_expiry(&caller, order).await?)))
    }
}

fn creation(wire: v1::CreateClientRequest) -> Result<CreateClient, Refusal> {
    let mut fields = Fields::default();
    let id = fields.take("request_id", request_id(&wire.request_id)).map(Uuid::into_bytes);
    let display_name = display_name(&mut fields, wire.display_name);
    let (rights, limits) = (rights(&mut fields, wire.rights), limits(&mut fields, wire.limits));
    let parsed = id.zip(display_name).zip(rights.zip(limits));
    let ((id, display_name), (rights, limits)) = fields.finish(parsed)?;
    Ok(CreateClient { client: ClientId::from_bytes(id), display_name, rights, limits })
}

fn update(wire: v1::UpdateClientRequest) -> Result<UpdateClient, Refusal> {
    let mut fields = Fields::default();
    let client = fields.name("name", "clients", &wire.name);
    let version =
        fields.take("etag", wire.etag.parse().map_err(|_| "is the etag of the client as it was read"));
    let display_name = display_name(&mut fields, wire.display_name);
    let (rights, limits) = (rights(&mut fields, wire.rights), limits(&mut fields, wire.limits));
    let parsed = client.zip(version).zip(display_name).zip(rights.zip(limits));
    let (((client, version), display_name), (rights, limits)) = fields.finish(parsed)?;
    Ok(UpdateClient { client, version, display_name, rights, limits })
}

fn display_name(fields: &mut Fields, text: String) -> Option<String> {
    let fits = !text.is_empty() && text.chars().count() <= NAME_LENGTH && !text.chars().any(char::is_control);
    let problem = format!("1 to {NAME_LENGTH} characters, none of them control characters");
    fields.take("display_name", fits.then_some(text).ok_or(problem))
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
