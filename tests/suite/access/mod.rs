//! Who may do what: permissions by method, scope, grants, credentials, and requests in progress.

mod commands;
mod credentials;
mod granting;
mod methods;
mod requests;
mod scope;

use tonic::{Code, Status};
use uuid::Uuid;
use vendkey::api::v1::{
    Client, CreateClientRequest, CreateCredentialRequest, Group, Limits, Rights, UpdateClientRequest,
};

use crate::harness::{Api, Server, reason};

fn rights(may_do: &[Group]) -> Rights {
    Rights { may_do: may_do.iter().map(|group| i32::from(*group)).collect(), ..Rights::default() }
}

async fn create(api: &mut Api, rights: Rights, limits: Limits) -> Result<Client, Status> {
    let request = CreateClientRequest {
        request_id: Uuid::now_v7().to_string(),
        display_name: "test".to_owned(),
        rights: Some(rights),
        limits: Some(limits),
    };
    Ok(api.clients.create_client(request).await?.into_inner())
}

async fn update(api: &mut Api, client: &Client, rights: Rights, limits: Limits) -> Result<Client, Status> {
    let request = UpdateClientRequest {
        name: client.name.clone(),
        etag: client.etag.clone(),
        display_name: client.display_name.clone(),
        rights: Some(rights),
        limits: Some(limits),
    };
    Ok(api.clients.update_client(request).await?.into_inner())
}

async fn credential(api: &mut Api, client: &Client) -> Result<(String, String), Status> {
    let request = CreateCredentialRequest { client: client.name.clone(), ..Default::default() };
    let made = api.clients.create_credential(request).await?.into_inner();
    Ok((made.credential.unwrap().name, made.secret))
}

/// The API as a new client with these rights sees it.
async fn as_client(server: &Server, api: &mut Api, rights: Rights) -> Api {
    let client = create(api, rights, Limits::default()).await.unwrap();
    let (_, secret) = credential(api, &client).await.unwrap();
    Api::connect(&server.endpoint, &secret).await
}

fn denied(status: &Status, text: &str) {
    assert_eq!(
        (status.code(), reason(status).as_str()),
        (Code::PermissionDenied, "PERMISSION_DENIED"),
        "{status}"
    );
    assert!(status.message().contains(text), "{text}: {status}");
}
