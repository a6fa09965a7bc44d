//! Nobody gives what they may not grant, decides about themselves, or locks everybody out.

use tonic::Code;
use vendkey::api::v1::{
    DisableClientRequest, DisableCredentialRequest, GetClientRequest, Group, Limits, ListClientsRequest,
    Rights,
};

use super::{create, credential, denied, rights, update};
use crate::harness::{Api, Home, Server, reason};

#[tokio::test]
async fn only_what_one_may_grant_is_granted() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let chief = Rights { may_grant: vec![Group::Vend.into()], ..rights(&[Group::Clients]) };
    let chief = create(&mut api, chief, Limits::default()).await.unwrap();
    let (chief_credential, secret) = credential(&mut api, &chief).await.unwrap();
    let mut local = Api::connect(&server.endpoint, &secret).await;
    let till = create(&mut local, rights(&[Group::Vend]), Limits::default()).await.unwrap();
    denied(&create(&mut local, rights(&[Group::Audit]), Limits::default()).await.unwrap_err(), "audit");
    let grants = Rights { may_grant: vec![Group::Clients.into()], ..Rights::default() };
    denied(&create(&mut local, grants, Limits::default()).await.unwrap_err(), "clients");
    let more = update(&mut local, &till, rights(&[Group::Vend, Group::Manage]), Limits::default()).await;
    denied(&more.unwrap_err(), "manage");

    // A credential of another client is all its rights.
    let auditor = create(&mut api, rights(&[Group::Audit]), Limits::default()).await.unwrap();
    denied(&credential(&mut local, &auditor).await.unwrap_err(), "audit");
    credential(&mut local, &till).await.unwrap();
    // Taking away is anybody's who manages clients; giving back is not.
    local.clients.disable_client(DisableClientRequest { name: auditor.name.clone() }).await.unwrap();
    let back = vendkey::api::v1::EnableClientRequest { name: auditor.name.clone() };
    denied(&local.clients.enable_client(back).await.unwrap_err(), "audit");

    // Nobody decides about himself.
    let own = rights(&[Group::Clients, Group::Audit]);
    denied(&update(&mut local, &chief, own, Limits::default()).await.unwrap_err(), "their own");
    let limits = Limits { tokens_per_day: Some(1), ..Limits::default() };
    let same = chief.rights.clone().unwrap();
    denied(&update(&mut local, &chief, same, limits).await.unwrap_err(), "their own");
    // But everybody changes their own secret.
    credential(&mut local, &chief).await.unwrap();
    local.clients.disable_credential(DisableCredentialRequest { name: chief_credential }).await.unwrap();

    // Administering and vending never meet.
    let both = create(&mut api, rights(&[Group::Vend, Group::Clients]), Limits::default()).await.unwrap_err();
    assert_eq!((both.code(), reason(&both).as_str()), (Code::InvalidArgument, "INVALID_FIELDS"));
    // A client as it was read before somebody else changed it is not overwritten.
    let changed = update(&mut api, &till, rights(&[Group::Verify]), Limits::default()).await.unwrap();
    let stale = update(&mut api, &till, rights(&[Group::Vend]), Limits::default()).await.unwrap_err();
    assert_eq!((stale.code(), reason(&stale).as_str()), (Code::Aborted, "CLIENT_CHANGED"));
    let found = api.clients.get_client(GetClientRequest { name: till.name }).await.unwrap().into_inner();
    assert_eq!(found, changed);
}

#[tokio::test]
async fn nobody_locks_everybody_out() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let clients = api.clients.list_clients(ListClientsRequest::default()).await.unwrap().into_inner().clients;
    let chief = clients.into_iter().find(|client| client.display_name == "administrator").unwrap();
    let refused = api.clients.disable_client(DisableClientRequest { name: chief.name.clone() }).await;
    assert_eq!(reason(&refused.unwrap_err()), "LOCK_OUT");
    let key_id = home.credential().split('_').nth(1).unwrap().to_owned();
    let name = format!("credentials/{key_id}");
    let refused = api.clients.disable_credential(DisableCredentialRequest { name }).await;
    assert_eq!(reason(&refused.unwrap_err()), "LOCK_OUT");
    // A second one with the same rights makes the first free to go.
    let second = create(&mut api, chief.rights.clone().unwrap(), Limits::default()).await.unwrap();
    credential(&mut api, &second).await.unwrap();
    api.clients.disable_client(DisableClientRequest { name: chief.name }).await.unwrap();
}
