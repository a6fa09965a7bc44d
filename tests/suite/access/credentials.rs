//! Credentials: they overlap, end and are revoked, and the server need not know the secret.

use std::time::Duration;

use tokio::time::Instant;
use vendkey::api::v1::{
    CreateCredentialRequest, DisableClientRequest, DisableCredentialRequest, EnableCredentialRequest, Group,
    Limits, ListConfigurationsRequest, ListCredentialsRequest, SetCredentialExpiryRequest,
    create_credential_request::Proof,
};

use super::{create, credential, rights};
use crate::harness::{Api, DKGA04, Home, Server, reason, ten_kwh};

#[tokio::test]
async fn credentials_end_overlap_and_are_revoked() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let configuration = api.configuration(DKGA04).await;
    let client = create(&mut api, rights(&[Group::Vend]), Limits::default()).await.unwrap();
    let (old_name, old) = credential(&mut api, &client).await.unwrap();
    let (new_name, new) = credential(&mut api, &client).await.unwrap();
    let (mut before, mut after) =
        (Api::connect(&server.endpoint, &old).await, Api::connect(&server.endpoint, &new).await);
    let request = ten_kwh(&configuration);
    let token = before.issue(request.clone()).await.unwrap().token;
    let replay = after.issue(request.clone()).await.unwrap();
    assert_eq!((&replay.token, replay.replay), (&token, true), "both count while they overlap");

    let disabled = DisableCredentialRequest { name: old_name.clone() };
    assert!(!api.clients.disable_credential(disabled).await.unwrap().into_inner().enabled);
    // The ledger asks again at once; whatever else, within a second.
    let status = before.issue(ten_kwh(&configuration)).await.unwrap_err();
    assert_eq!(reason(&status), "CREDENTIAL_REFUSED");
    let give_up = Instant::now() + Duration::from_secs(30);
    while before.configurations.list_configurations(ListConfigurationsRequest::default()).await.is_ok() {
        assert!(Instant::now() < give_up, "a disabled credential still counts");
        tokio::task::yield_now().await;
    }
    assert_eq!(after.issue(request.clone()).await.unwrap().token, token);
    api.clients.enable_credential(EnableCredentialRequest { name: old_name.clone() }).await.unwrap();

    let past = prost_types::Timestamp { seconds: 1, nanos: 0 };
    let expire = SetCredentialExpiryRequest { name: new_name.clone(), expire_time: Some(past) };
    api.clients.set_credential_expiry(expire).await.unwrap();
    let status = after.issue(ten_kwh(&configuration)).await.unwrap_err();
    assert_eq!(reason(&status), "CREDENTIAL_REFUSED");
    let listed = ListCredentialsRequest { client: client.name.clone(), ..Default::default() };
    let listed = api.clients.list_credentials(listed).await.unwrap().into_inner().credentials;
    let names: Vec<&str> = listed.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, [old_name.as_str(), new_name.as_str()]);
    assert_eq!((listed[0].expire_time, listed[1].expire_time), (None, Some(past)));

    api.clients.disable_client(DisableClientRequest { name: client.name.clone() }).await.unwrap();
    let mut again = Api::connect(&server.endpoint, &old).await;
    assert_eq!(reason(&again.issue(request).await.unwrap_err()), "CREDENTIAL_REFUSED");
    let truncated = &new[..new.len() - 2];
    let mut short = Api::connect(&server.endpoint, truncated).await;
    let status = short.issue(ten_kwh(&configuration)).await.unwrap_err();
    assert_eq!(reason(&status), "CREDENTIAL_MISSING");
    for secret in [&old, &new] {
        let secret = secret.rsplit('_').next().unwrap();
        assert!(!home.log().contains(secret), "the log holds a secret");
    }
}

#[tokio::test]
async fn a_secret_that_its_holder_made_is_never_seen() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let client = create(&mut api, rights(&[Group::Vend]), Limits::default()).await.unwrap();
    let made = vendkey::access::Credential::generate().unwrap();
    let request = CreateCredentialRequest {
        client: client.name.clone(),
        proof: Some(Proof::HeldSecret(vendkey::api::v1::HeldSecret {
            key_id: made.key_id().to_string(),
            secret_sha256: hex::encode(made.hash().0),
        })),
        expire_time: None,
    };
    for _ in 0..2 {
        let created = api.clients.create_credential(request.clone()).await.unwrap().into_inner();
        assert_eq!(created.secret, "", "and the same request again answers the same");
    }
    let mut till = Api::connect(&server.endpoint, &made.expose()).await;
    till.configurations.list_configurations(ListConfigurationsRequest::default()).await.unwrap();
    let other = create(&mut api, rights(&[Group::Vend]), Limits::default()).await.unwrap();
    let stolen = CreateCredentialRequest { client: other.name, ..request };
    assert_eq!(reason(&api.clients.create_credential(stolen).await.unwrap_err()), "NAME_TAKEN");
}
