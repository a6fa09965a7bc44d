//! Who may do what: permissions by method, scope, grants, credentials, and the pace of requests.

use std::{collections::BTreeSet, time::Duration};

use prost_reflect::DescriptorPool;
use tokio::time::Instant;
use tonic::{Code, Request, Status, transport::Channel};
use uuid::Uuid;
use vendkey::{
    access::{Need, need},
    api::{
        DESCRIPTORS,
        v1::{
            AllTests, AllowKeyChangeRequest, BatchIssueTokensRequest, Client, Configuration,
            CreateClientRequest, CreateCredentialRequest, DisableClientRequest, DisableConfigurationRequest,
            DisableCredentialRequest, EnableCredentialRequest, GetClientRequest, GetConfigurationRequest,
            GetIssuedTokenRequest, Group, IssueKeyChangeRequest, IssueTokenRequest, Limits,
            ListClientsRequest, ListConfigurationsRequest, ListCredentialsRequest, ListEventsRequest,
            ListIssuedTokensRequest, MeterTest, Rights, SetCredentialExpiryRequest, TokenKind, UnitCredit,
            UpdateClientRequest, VerifyTokenRequest, create_credential_request::Proof,
            get_issued_token_request::By, issue_token_request::Content, meter_test, token_result,
            unit_credit::Amount,
        },
    },
    store,
};

use crate::harness::{Api, DKGA04, DRN, Home, Server, reason, ten_kwh};

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

/// Calls a method with an empty message.
async fn call(channel: &Channel, path: &str, credential: &str) -> Result<(), Status> {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let mut request = Request::new(());
    let bearer = format!("Bearer {credential}").parse().unwrap();
    request.metadata_mut().insert("authorization", bearer);
    let path = path.parse().unwrap();
    client.unary(request, path, tonic_prost::ProstCodec::<(), ()>::default()).await.map(drop)
}

/// All that a client may do beside these groups, without them.
fn all_but(groups: &[store::Group]) -> Rights {
    let vends = groups.iter().any(|group| group.is_vending());
    let others = store::Group::ALL.iter().filter(|group| {
        !groups.contains(group) && if vends { !group.is_administrative() } else { !group.is_vending() }
    });
    let wire = |group: &store::Group| Group::from_str_name(&group.as_str().to_ascii_uppercase()).unwrap();
    rights(&others.map(wire).collect::<Vec<_>>())
}

#[tokio::test]
async fn every_method_needs_its_permission() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let endpoint = tonic::transport::Endpoint::from_shared(server.endpoint.clone()).unwrap();
    let channel = endpoint.connect().await.unwrap();
    let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
    let methods = pool.services().flat_map(|service| service.methods().collect::<Vec<_>>());
    let paths: Vec<String> =
        methods.map(|method| format!("/{}/{}", method.parent_service().full_name(), method.name())).collect();
    let (_, powerless) = {
        let client = create(&mut api, Rights::default(), Limits::default()).await.unwrap();
        credential(&mut api, &client).await.unwrap()
    };
    let mut secrets = std::collections::HashMap::new();
    for path in &paths {
        let groups: Vec<store::Group> = match need(path).expect("every method is in the table") {
            Need::Group(group) => vec![group],
            Need::AnyOf(groups) => groups.to_vec(),
            Need::Authenticated => Vec::new(),
            Need::Open => panic!("{path} is open to everybody"),
        };
        let status = call(&channel, path, "none").await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{path}");
        let outcome = call(&channel, path, &powerless).await;
        if groups.is_empty() {
            assert_ne!(outcome.err().map(|status| status.code()), Some(Code::PermissionDenied), "{path}");
            continue;
        }
        denied(&outcome.unwrap_err(), groups[0].as_str());
        if !secrets.contains_key(&groups) {
            let client = create(&mut api, all_but(&groups), Limits::default()).await.unwrap();
            let lacking = credential(&mut api, &client).await.unwrap().1;
            let mut having = Vec::new();
            for group in &groups {
                let wire = Group::from_str_name(&group.as_str().to_ascii_uppercase()).unwrap();
                let client = create(&mut api, rights(&[wire]), Limits::default()).await.unwrap();
                having.push(credential(&mut api, &client).await.unwrap().1);
            }
            secrets.insert(groups.clone(), (lacking, having));
        }
        let (lacking, having) = &secrets[&groups];
        let status = call(&channel, path, lacking).await.unwrap_err();
        for group in &groups {
            denied(&status, group.as_str());
        }
        for having in having {
            let code = call(&channel, path, having).await.err().map(|status| status.code());
            assert!(
                !matches!(code, Some(Code::PermissionDenied | Code::Unimplemented | Code::Unauthenticated)),
                "{path}: {code:?}"
            );
        }
    }
    let status =
        call(&channel, "/vendkey.v1.TokenService/NoSuchMethod", &home.credential()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
}

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

/// Two configurations of two supply groups.
async fn two(api: &mut Api) -> (Configuration, Configuration) {
    let other = DKGA04.replace("supply_group_code: 123456", "supply_group_code: 123457");
    (api.configuration(DKGA04).await, api.configuration(&other).await)
}

#[tokio::test]
async fn rights_are_about_configurations_supply_groups_and_kinds() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let (mine, theirs) = two(&mut api).await;
    let vends = || rights(&[Group::Vend, Group::Manage, Group::ChangeKeys, Group::Verify, Group::ReadLedger]);
    let by_name = Rights { configurations: vec![mine.name.clone()], ..vends() };
    let by_group = Rights { supply_groups: vec!["123456".to_owned()], ..vends() };
    let foreign = api.issue(ten_kwh(&theirs)).await.unwrap();
    for scope in [by_name, by_group] {
        let mut till = as_client(&server, &mut api, scope).await;
        let issued = till.issue(ten_kwh(&mine)).await.unwrap();
        let text = theirs.name.as_str();
        denied(&till.issue(ten_kwh(&theirs)).await.unwrap_err(), text);
        let batch = BatchIssueTokensRequest { requests: vec![ten_kwh(&theirs), ten_kwh(&mine)] };
        let results = till.tokens.batch_issue_tokens(batch).await.unwrap().into_inner().results;
        let Some(token_result::Result::Refusal(refusal)) = &results[0].result else { panic!("issued") };
        assert_eq!(refusal.reason, "PERMISSION_DENIED");
        assert!(matches!(results[1].result, Some(token_result::Result::Token(_))));

        let change = |source: &Configuration, target: &Configuration| IssueKeyChangeRequest {
            source: source.name.clone(),
            target: target.name.clone(),
            meter: DRN.to_owned(),
            request_id: Uuid::now_v7().to_string(),
            transfer_sgc: false,
        };
        for request in [change(&mine, &theirs), change(&theirs, &mine)] {
            denied(&till.tokens.issue_key_change(request).await.unwrap_err(), text);
        }
        let look = VerifyTokenRequest {
            token: foreign.token.clone(),
            configuration: theirs.name.clone(),
            meter: DRN.to_owned(),
            ..VerifyTokenRequest::default()
        };
        denied(&till.tokens.verify_token(look).await.unwrap_err(), text);
        let get = GetConfigurationRequest { name: theirs.name.clone() };
        denied(&till.configurations.get_configuration(get).await.unwrap_err(), text);
        let listed = till.configurations.list_configurations(ListConfigurationsRequest::default()).await;
        let names: Vec<String> =
            listed.unwrap().into_inner().configurations.into_iter().map(|one| one.name).collect();
        assert_eq!(names, [mine.name.as_str()]);
        let by = Some(By::Name(foreign.name.clone()));
        let status = till.tokens.get_issued_token(GetIssuedTokenRequest { by }).await.unwrap_err();
        assert_eq!(reason(&status), "TOKEN_NOT_FOUND");
        let listed = till.tokens.list_issued_tokens(ListIssuedTokensRequest::default()).await.unwrap();
        let listed: BTreeSet<String> = listed.into_inner().tokens.into_iter().map(|one| one.name).collect();
        assert!(listed.contains(&issued.name) && !listed.contains(&foreign.name), "{listed:?}");
    }

    let kinds = Rights { token_kinds: vec![TokenKind::ElectricityCredit.into()], ..rights(&[Group::Vend]) };
    let mut till = as_client(&server, &mut api, kinds).await;
    till.issue(ten_kwh(&mine)).await.unwrap();
    let water = UnitCredit { amount: Some(Amount::Tenths(1)), rounding: 0 };
    let mut request = ten_kwh(&mine);
    request.content = Some(Content::WaterCredit(water));
    denied(&till.issue(request.clone()).await.unwrap_err(), "water_credit");
    request.content = Some(Content::ClearTamper(vendkey::api::v1::ClearTamper {}));
    denied(&till.issue(request).await.unwrap_err(), "manage");

    // Administrators have a scope too.
    let local = Rights { supply_groups: vec!["123456".to_owned()], ..rights(&[Group::Configurations]) };
    let mut local = as_client(&server, &mut api, local).await;
    let disable = |one: &Configuration| DisableConfigurationRequest { name: one.name.clone() };
    local.configurations.disable_configuration(disable(&mine)).await.unwrap();
    denied(&local.configurations.disable_configuration(disable(&theirs)).await.unwrap_err(), &theirs.name);
    let pair = AllowKeyChangeRequest { source: mine.name.clone(), target: theirs.name.clone() };
    denied(&local.configurations.allow_key_change(pair).await.unwrap_err(), &theirs.name);
}

#[tokio::test]
async fn rows_of_others_need_a_permission() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let configuration = api.configuration(DKGA04).await;
    let theirs = api.issue(ten_kwh(&configuration)).await.unwrap();
    let mut till = as_client(&server, &mut api, rights(&[Group::Vend])).await;
    let own = till.issue(ten_kwh(&configuration)).await.unwrap();
    let mut reader = as_client(&server, &mut api, rights(&[Group::ReadLedger])).await;
    let get = |name: &str| GetIssuedTokenRequest { by: Some(By::Name(name.to_owned())) };
    let found = till.tokens.get_issued_token(get(&own.name)).await.unwrap().into_inner();
    assert_eq!(found.token, own.token);
    let status = till.tokens.get_issued_token(get(&theirs.name)).await.unwrap_err();
    assert_eq!(reason(&status), "TOKEN_NOT_FOUND");
    let found = reader.tokens.get_issued_token(get(&theirs.name)).await.unwrap().into_inner();
    assert_eq!(
        (found.name.as_str(), found.token.as_str()),
        (theirs.name.as_str(), ""),
        "digits are the till's own"
    );
    let listed = till.tokens.list_issued_tokens(ListIssuedTokensRequest::default()).await.unwrap();
    let names: Vec<String> = listed.into_inner().tokens.into_iter().map(|one| one.name).collect();
    assert_eq!(names, [own.name]);
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
    denied(&update(&mut local, &chief, own, Limits::default()).await.unwrap_err(), "his own");
    let limits = Limits { tokens_per_day: Some(1), ..Limits::default() };
    let same = chief.rights.clone().unwrap();
    denied(&update(&mut local, &chief, same, limits).await.unwrap_err(), "his own");
    // But everybody changes his own secret.
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

#[tokio::test]
async fn requests_have_a_pace() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let configuration = api.configuration(DKGA04).await;
    let limits = Limits { requests_per_second: Some(3), ..Limits::default() };
    let client = create(&mut api, rights(&[Group::Vend]), limits).await.unwrap();
    let (_, secret) = credential(&mut api, &client).await.unwrap();
    let mut till = Api::connect(&server.endpoint, &secret).await;
    // The call counts, and each of its requests.
    let batch = BatchIssueTokensRequest { requests: vec![ten_kwh(&configuration); 200] };
    let results = till.tokens.batch_issue_tokens(batch).await.unwrap().into_inner().results;
    let refused: Vec<_> = results
        .iter()
        .filter_map(|result| match &result.result {
            Some(token_result::Result::Refusal(refusal)) => Some(refusal),
            _ => None,
        })
        .collect();
    assert!(refused.len() >= 190, "{} of 200 were refused", refused.len());
    assert!(results.len() - refused.len() >= 2, "some were not");
    assert!(refused.iter().all(|one| one.reason == "REQUESTS_LIMITED" && one.retry_after_ms > 0));
    // Others are not held up.
    api.issue(ten_kwh(&configuration)).await.unwrap();
}

/// As many as one likes: it carries no identifier.
fn meter_test() -> IssueTokenRequest {
    let test = Some(meter_test::Test::All(AllTests {}));
    IssueTokenRequest {
        request_id: Uuid::now_v7().to_string(),
        content: Some(Content::MeterTest(MeterTest { test, ..MeterTest::default() })),
        ..IssueTokenRequest::default()
    }
}

#[tokio::test]
async fn a_stream_does_not_outlive_its_rights() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let client = create(&mut api, rights(&[Group::Vend]), Limits::default()).await.unwrap();
    let (_, secret) = credential(&mut api, &client).await.unwrap();
    let mut till = Api::connect(&server.endpoint, &secret).await;
    let (send, requests) = tokio::sync::mpsc::channel(1);
    let requests = tokio_stream::wrappers::ReceiverStream::new(requests);
    send.send(meter_test()).await.unwrap();
    let mut answers = till.tokens.stream_tokens(requests).await.unwrap().into_inner();
    let first = answers.message().await.unwrap().unwrap();
    assert!(matches!(first.result, Some(token_result::Result::Token(_))), "{first:?}");

    update(&mut api, &client, rights(&[Group::Verify]), Limits::default()).await.unwrap();
    let give_up = Instant::now() + Duration::from_secs(30);
    loop {
        assert!(Instant::now() < give_up, "a permission that was taken away still counts");
        send.send(meter_test()).await.unwrap();
        let answer = answers.message().await.unwrap().unwrap();
        if let Some(token_result::Result::Refusal(refusal)) = answer.result {
            assert_eq!(refusal.reason, "PERMISSION_DENIED");
            break;
        }
    }
    api.clients.disable_client(DisableClientRequest { name: client.name }).await.unwrap();
    let ended = loop {
        assert!(Instant::now() < give_up, "a disabled client still streams");
        if send.send(meter_test()).await.is_err() {
            break answers.message().await.unwrap_err();
        }
        match answers.message().await {
            Ok(answer) => assert!(matches!(answer.unwrap().result, Some(token_result::Result::Refusal(_)))),
            Err(status) => break status,
        }
    };
    assert_eq!(reason(&ended), "CREDENTIAL_REFUSED");
}

#[tokio::test]
async fn every_act_names_who_did_it() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let configuration = api.configuration(DKGA04).await;
    let client = create(&mut api, rights(&[Group::Vend]), Limits::default()).await.unwrap();
    credential(&mut api, &client).await.unwrap();
    let request = ListEventsRequest { page_size: 1_000, ..ListEventsRequest::default() };
    let events = api.audit.list_events(request).await.unwrap().into_inner().events;
    for kind in ["public_key.registered", "configuration.uploaded", "client.created", "credential.created"] {
        let event = events.iter().rev().find(|event| event.kind == kind).expect(kind);
        assert!(event.actor.starts_with("clients/"), "{event:?}");
    }
    let created = events.iter().rev().find(|event| event.kind == "client.created").unwrap();
    assert!(created.record.contains(client.name.trim_start_matches("clients/")), "{created:?}");
    assert!(!configuration.name.is_empty());
}

#[test]
fn clients_and_credentials_by_the_command_line() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = Home::new();
    let server = Server::start(&home);
    let run = |arguments: &[&str]| {
        let output = server.vendkey(&home, arguments);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        said
    };
    let json = |arguments: &[&str]| -> serde_json::Value {
        serde_json::from_str(&run(&[arguments, &["--json"]].concat())).unwrap()
    };
    let file = home.text("till-7");
    let made = json(&[
        "client",
        "create",
        "till 7",
        "--preset",
        "till",
        "--supply-group",
        "123456",
        "--limit",
        "electricity_credit.per_token=500",
        "--limit",
        "tokens_per_day=1000",
        "--out",
        &file,
    ]);
    let name = made["name"].as_str().unwrap();
    assert_eq!(made["rights"]["supplyGroups"][0], "123456");
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let shown = run(&["client", "show", name]);
    for text in [
        "till 7",
        "vend, verify",
        "supply group 123456",
        "electricity_credit.per_token=500",
        "tokens_per_day=1000",
    ] {
        assert!(shown.contains(text), "{shown}");
    }
    run(&["client", "update", name, "--deny", "verify", "--limit", "tokens_per_day=none"]);
    let shown = run(&["client", "show", name]);
    assert!(!shown.contains("verify") && !shown.contains("tokens_per_day"), "{shown}");
    assert!(run(&["client", "list"]).contains("till 7"));

    let second = home.text("till-7-new");
    let created = run(&["credential", "create", name, "--out", &second, "--days", "30"]);
    assert!(!created.contains(home.secret("till-7-new").rsplit('_').next().unwrap()), "{created}");
    let key_id = |file: &str| home.secret(file).split('_').nth(1).unwrap().to_owned();
    let listed = run(&["credential", "list", name]);
    assert!(listed.contains(&key_id("till-7")) && listed.contains(&key_id("till-7-new")), "{listed}");
    let first = format!("credentials/{}", key_id("till-7"));
    assert!(run(&["credential", "disable", &first]).contains("disabled"));
    assert!(run(&["credential", "enable", &first]).contains("enabled"));
    assert!(run(&["credential", "expire", &first, "--days", "7"]).contains("ends"));
    assert!(run(&["credential", "expire", &first, "--never"]).contains("never"));
    let certificate = "uri:spiffe://example.org/till/7";
    assert!(run(&["credential", "create", name, "--certificate", certificate]).contains(certificate));
    let generated = run(&["credential", "generate", "--out", &home.text("elsewhere")]);
    let word = |line: &str| {
        let line = generated.lines().find(|text| text.starts_with(line)).unwrap();
        line.split_whitespace().last().unwrap().to_owned()
    };
    let (key, hash) = (word("key id"), word("secret SHA-256"));
    run(&["credential", "create", name, "--key-id", &key, "--secret-sha256", &hash]);
    // A file that is there is never overwritten, and one that leads nowhere does not stay.
    let again = server.vendkey(&home, &["credential", "create", name, "--out", &second]);
    assert!(!again.status.success());
    let nobody = format!("clients/{}", Uuid::now_v7());
    let lost = server.vendkey(&home, &["credential", "create", &nobody, "--out", &home.text("nobody")]);
    assert!(!lost.status.success() && !home.path("nobody").exists());
    run(&["client", "disable", name]);
    run(&["client", "enable", name]);
}

#[test]
fn setup_makes_as_many_administrators_as_acts_take() {
    let home = Home::new();
    let settings = home.text("vendkey.toml");
    home.write_settings("[access]\napprovals = 2\n");
    let lonely = home.vendkey(&["setup", "--settings", &settings]);
    assert_eq!(lonely.status.code(), Some(64), "{}", String::from_utf8_lossy(&lonely.stderr));
    assert!(String::from_utf8_lossy(&lonely.stderr).contains("--administrator"));
    let files = [format!("asha={}", home.text("asha")), format!("ben={}", home.text("ben"))];
    let arguments =
        ["setup", "--settings", &settings, "--administrator", &files[0], "--administrator", &files[1]];
    for _ in 0..2 {
        let output = home.vendkey(&arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_ne!(home.secret("asha"), home.secret("ben"));
    let server = Server::start(&home);
    let listed = String::from_utf8(server.vendkey(&home, &["client", "list"]).stdout).unwrap();
    for name in ["administrator", "asha", "ben"] {
        assert_eq!(listed.matches(&format!(" {name} ")).count(), 1, "{listed}");
    }
}
