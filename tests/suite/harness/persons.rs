//! Several persons: a home where acts wait for a second one, and how each asks and agrees.

use std::process::Output;

use tonic::Status;
use tonic_types::StatusExt as _;
use uuid::Uuid;
use vendkey::{
    access::Credential,
    api::v1::{
        Approval, ApproveRequest, Client, Configuration, CreateClientRequest, CreateCredentialRequest,
        EnableConfigurationRequest, GetApprovalRequest, GetServerKeyRequest, Group, HeldSecret,
        ListClientsRequest, ListConfigurationsRequest, RegisterPublicKeyRequest, RejectRequest, Rights,
        approval::State, configuration::State as ConfigurationState, create_credential_request::Proof,
    },
};

use super::{Administrator, Api, Home, Server, reason};

pub const TWO: &str = "[access]\napprovals = 2\n";

/// A home where acts take several persons, with these administrators beside the first. Their
/// credentials are files.
pub fn home(settings: &str, more: &[&str]) -> Home {
    let home = Home::new();
    home.write_settings(settings);
    let mut arguments = vec!["setup".to_owned(), "--settings".to_owned(), home.text("vendkey.toml")];
    for name in more {
        arguments.extend(["--administrator".to_owned(), format!("{name}={}", home.text(name))]);
    }
    let setup = home.vendkey(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(setup.status.success(), "{}", said(&setup));
    home
}

/// The API as an administrator sees it; the till's tokens.
pub async fn api(home: &Home, server: &Server, credential: &str) -> Api {
    let till = Api::connect(&server.endpoint, &home.till()).await;
    Api { tokens: till.tokens, ..Api::connect(&server.endpoint, &home.secret(credential)).await }
}

pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The approval that a call waits for.
pub fn waiting<T: std::fmt::Debug>(answer: Result<T, Status>) -> String {
    let status = answer.unwrap_err();
    assert_eq!(reason(&status), "APPROVAL_PENDING", "{status:?}");
    status.get_error_details().error_info().unwrap().metadata["approval"].clone()
}

pub fn enabling(configuration: &Configuration) -> EnableConfigurationRequest {
    EnableConfigurationRequest { name: configuration.name.clone() }
}

impl Api {
    pub async fn approve(&mut self, name: &str) -> Result<Approval, Status> {
        let request = ApproveRequest { name: name.to_owned(), content_sha256: String::new() };
        Ok(self.approvals.approve(request).await?.into_inner())
    }

    pub async fn reject(&mut self, name: &str) -> Result<Approval, Status> {
        Ok(self.approvals.reject(RejectRequest { name: name.to_owned() }).await?.into_inner())
    }

    pub async fn approval(&mut self, name: &str) -> Approval {
        let found = self.approvals.get_approval(GetApprovalRequest { name: name.to_owned() }).await;
        found.unwrap().into_inner()
    }

    /// Asks for a signing key of its own.
    pub async fn ask_for_key(&mut self) -> (Administrator, RegisterPublicKeyRequest, String) {
        let key = self.configurations.get_server_key(GetServerKeyRequest {}).await.unwrap().into_inner();
        let administrator = Administrator::new(&key.public_key_pem);
        let request =
            RegisterPublicKeyRequest { public_key: administrator.public_key(), display_name: "mine".into() };
        let name = waiting(self.public_keys.register_public_key(request.clone()).await);
        (administrator, request, name)
    }

    /// An upload of this administrator, whose key the other approves. It is disabled.
    pub async fn uploaded(&mut self, other: &mut Self, yaml: &str) -> Configuration {
        let (administrator, _, name) = self.ask_for_key().await;
        assert_eq!(other.approve(&name).await.unwrap().state(), State::Done);
        self.upload(&administrator.encrypt(yaml)).await.unwrap().configuration.unwrap()
    }

    /// The same, enabled.
    pub async fn enabled(&mut self, other: &mut Self, yaml: &str) -> Configuration {
        let configuration = self.uploaded(other, yaml).await;
        let name = waiting(self.configurations.enable_configuration(enabling(&configuration)).await);
        assert_eq!(other.approve(&name).await.unwrap().state(), State::Done);
        configuration
    }

    /// The client of this name.
    pub async fn client(&mut self, display_name: &str) -> Client {
        let all = self.clients.list_clients(ListClientsRequest::default()).await.unwrap().into_inner();
        all.clients.into_iter().find(|client| client.display_name == display_name).unwrap()
    }

    pub async fn state_of(&mut self, configuration: &Configuration) -> ConfigurationState {
        let all = self.configurations.list_configurations(ListConfigurationsRequest::default()).await;
        let all = all.unwrap().into_inner().configurations;
        all.iter().find(|found| found.name == configuration.name).unwrap().state()
    }
}

/// A request for a client that may do this.
pub fn creating(display_name: &str, groups: &[Group]) -> CreateClientRequest {
    CreateClientRequest {
        request_id: Uuid::now_v7().to_string(),
        display_name: display_name.to_owned(),
        rights: Some(Rights {
            may_do: groups.iter().map(|group| (*group).into()).collect(),
            ..Rights::default()
        }),
        limits: None,
    }
}

/// A request for a credential whose secret its holder made.
pub fn held(client: &Client, made: &Credential) -> CreateCredentialRequest {
    let (key_id, secret_sha256) = (made.key_id().to_string(), hex::encode(made.hash().0));
    CreateCredentialRequest {
        client: client.name.clone(),
        proof: Some(Proof::HeldSecret(HeldSecret { key_id, secret_sha256 })),
        expire_time: None,
    }
}
