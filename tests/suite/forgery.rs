//! Somebody else writes to the database while the server runs: nothing that it wrote is believed.

use std::time::{Duration, Instant};

use rusqlite::Connection;
use tonic::Code;
use vendkey::api::v1::{
    Client, CreateClientRequest, CreateCredentialRequest, GetConfigurationRequest, GetLedgerStateRequest,
    Group, IssueTokenRequest, Limits, ListEventsRequest, ListIssuedTokensRequest, Rights, UnitCredit,
    issue_token_request::Content, unit_credit::Amount,
};

use crate::harness::{Api, DKGA04, DRN, Health, Home, Server, meter_test, reason, ten_kwh};

fn forge(home: &Home, sql: &str) {
    let database = Connection::open(home.path("vendkey.db")).unwrap();
    database.busy_timeout(Duration::from_secs(30)).unwrap();
    assert_eq!(database.execute(sql, ()).unwrap(), 1, "{sql}");
}

/// A client that may only verify, and its credential.
async fn verifier(api: &mut Api) -> (Client, String) {
    let rights = Rights { may_do: vec![Group::Verify.into()], ..Rights::default() };
    let request = CreateClientRequest {
        request_id: uuid::Uuid::now_v7().to_string(),
        display_name: "verifier".to_owned(),
        rights: Some(rights),
        limits: Some(Limits::default()),
    };
    let client = api.clients.create_client(request).await.unwrap().into_inner();
    let request = CreateCredentialRequest { client: client.name.clone(), ..Default::default() };
    let secret = api.clients.create_credential(request).await.unwrap().into_inner().secret;
    (client, secret)
}

/// Calls until what the server believed a moment ago is over.
async fn until<T>(mut call: impl AsyncFnMut() -> Result<T, tonic::Status>, wanted: &str) {
    let give_up = Instant::now() + Duration::from_secs(30);
    loop {
        let found = call().await.err().map(|status| reason(&status)).unwrap_or_default();
        if found == wanted {
            return;
        }
        assert!(Instant::now() < give_up, "{found} and not {wanted}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_raised_permission_and_a_lifted_limit_are_refused() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let configuration = api.configuration(DKGA04).await;
    let (_, secret) = verifier(&mut api).await;
    let mut thief = Api::connect(&server.endpoint, &secret).await;
    assert_eq!(thief.issue(ten_kwh(&configuration)).await.unwrap_err().code(), Code::PermissionDenied);

    forge(
        &home,
        "UPDATE clients SET rights = replace(rights, '\"verify\"', '\"vend\"') WHERE display_name = 'verifier'",
    );
    until(async || thief.issue(ten_kwh(&configuration)).await, "SEAL_BROKEN").await;

    let mut till = Api::connect(&server.endpoint, &home.till()).await;
    till.issue(ten_kwh(&configuration)).await.unwrap();
    forge(&home, "UPDATE clients SET limits = replace(limits, 'null', '9') WHERE display_name = 'till'");
    until(async || till.issue(ten_kwh(&configuration)).await, "SEAL_BROKEN").await;
    // The others go on, and the record says what was found.
    let give_up = Instant::now() + Duration::from_secs(60);
    loop {
        let request = ListEventsRequest { page_size: 1_000, ..Default::default() };
        let events = api.audit.list_events(request).await.unwrap().into_inner().events;
        if let Some(event) = events.iter().find(|event| event.kind == "rows.forged") {
            assert!(event.record.contains("clients"), "{}", event.record);
            break;
        }
        assert!(Instant::now() < give_up, "nothing is on record");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(home.log().contains("changed by somebody else"));
}

#[tokio::test]
async fn a_swapped_public_key_and_an_enabled_configuration_are_refused() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let configuration = api.configuration(DKGA04).await;
    let administrator = api.administrator().await;
    forge(&home, "UPDATE public_keys SET spki = zeroblob(length(spki)) WHERE number = 1");
    let status = api.upload(&administrator.encrypt(DKGA04)).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::DataLoss, "SEAL_BROKEN"));

    forge(&home, "UPDATE configurations SET kcv = x'000000'");
    let request = GetConfigurationRequest { name: configuration.name.clone() };
    let status = api.configurations.get_configuration(request).await.unwrap_err();
    assert_eq!(reason(&status), "SEAL_BROKEN");
    let mut till = Api::connect(&server.endpoint, &home.till()).await;
    until(async || till.issue(ten_kwh(&configuration)).await, "SEAL_BROKEN").await;
}

#[tokio::test]
async fn a_row_that_was_taken_out_stops_issuing() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let configuration = api.configuration(DKGA04).await;
    assert!(server.stop().success());
    forge(&home, "DELETE FROM public_keys WHERE number = 1");
    let server = Server::start(&home);
    let mut till = Api::connect(&server.endpoint, &home.till()).await;
    let status = till.issue(ten_kwh(&configuration)).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::DataLoss, "SEAL_BROKEN"));
    Health::of(&server).await.not_serving().await;
    assert!(home.log().contains("not healthy: not serving cause=\"seals\""));
    assert!(server.stop().success());
    // An administrator has looked.
    let sealed = home.vendkey(&["setup", "--seal-rows", "--settings", &home.text("vendkey.toml")]);
    assert!(sealed.status.success());
    let server = Server::start(&home);
    let mut till = Api::connect(&server.endpoint, &home.till()).await;
    till.issue(ten_kwh(&configuration)).await.unwrap();
}

#[tokio::test]
async fn a_token_identifier_that_is_none_is_told_and_the_server_starts() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let configuration = api.configuration(DKGA04).await;
    let kept = api.issue(ten_kwh(&configuration)).await.unwrap();
    let forged = api.issue(ten_kwh(&configuration)).await.unwrap();
    assert!(server.stop().success());
    forge(
        &home,
        "UPDATE issued_tokens SET tid = 99999999 WHERE sequence = (SELECT max(sequence) FROM issued_tokens)",
    );

    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let mut health = Health::of(&server).await;
    health.not_serving().await;
    let accepted = home.vendkey(&["ledger", "accept-restore", "--endpoint", &server.endpoint]);
    assert!(accepted.status.success(), "{}", String::from_utf8_lossy(&accepted.stderr));
    health.serving().await;
    let next = api.issue(ten_kwh(&configuration)).await.unwrap();
    let listed =
        api.tokens.list_issued_tokens(ListIssuedTokensRequest::default()).await.unwrap().into_inner();
    let names: Vec<&str> = listed.tokens.iter().map(|token| token.name.as_str()).collect();
    assert_eq!(names, [&kept.name, &next.name]);
    let request = ListEventsRequest { page_size: 1_000, ..Default::default() };
    let events = api.audit.list_events(request).await.unwrap().into_inner().events;
    let told = events.iter().find(|event| event.kind == "rows.forged").unwrap();
    let row = forged.name.replace("issuedTokens/", "issued_tokens ");
    assert!(told.record.contains(&row), "{row}: {}", told.record);
}

/// A database in which the second of two tokens holds the block of the first, which transfers more;
/// and the requests that made them.
async fn bent(home: &Home) -> [IssueTokenRequest; 2] {
    let server = Server::start(home);
    let mut api = server.api(home).await;
    let configuration = api.configuration(DKGA04).await;
    // Both have one identifier, since they are for one minute.
    let token_time =
        Some(prost_types::Timestamp { seconds: jiff::Timestamp::now().as_second() - 3_600, nanos: 0 });
    let request = |meter: &str, amount: &str| IssueTokenRequest {
        meter: meter.to_owned(),
        token_time,
        content: Some(Content::ElectricityCredit(UnitCredit {
            amount: Some(Amount::Decimal(amount.to_owned())),
            rounding: 0,
        })),
        ..ten_kwh(&configuration)
    };
    let requests = [request("11111111115", "5000"), request(DRN, "10")];
    let mut names = Vec::new();
    for request in &requests {
        let token = api.issue(request.clone()).await.unwrap();
        assert_eq!(api.issue(request.clone()).await.unwrap().token, token.token);
        names.push(token.name.replace("issuedTokens/", ""));
        // One behind it: a row beside one that was changed is not believed either.
        api.issue(meter_test()).await.unwrap();
    }
    let [rich, poor] = [&names[0], &names[1]];
    forge(
        home,
        &format!(
            "UPDATE issued_tokens SET (block, rnd) = (SELECT block, rnd FROM issued_tokens WHERE sequence = {rich})
             WHERE sequence = {poor}"
        ),
    );
    let status = api.issue(requests[1].clone()).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::DataLoss, "LEDGER_DAMAGED"));
    let listed = ListIssuedTokensRequest { digits: true, ..Default::default() };
    let status = api.tokens.list_issued_tokens(listed).await.unwrap_err();
    assert_eq!(reason(&status), "LEDGER_DAMAGED", "its digits are in no list");
    api.issue(requests[0].clone()).await.unwrap();
    assert!(home.log().contains(&format!("row=\"issued_tokens {poor}\"")), "the row is named");
    assert!(server.stop().success());
    requests
}

#[tokio::test]
async fn a_forged_block_is_not_replayed_and_the_walk_stops_issuing_until_it_is_accepted() {
    let home = Home::new();
    let requests = bent(&home).await;
    for _ in 0..2 {
        let server = Server::start(&home);
        let mut api = server.api(&home).await;
        Health::of(&server).await.not_serving().await;
        let new =
            || IssueTokenRequest { request_id: uuid::Uuid::now_v7().to_string(), ..requests[0].clone() };
        let status = api.issue(new()).await.unwrap_err();
        assert_eq!((status.code(), reason(&status).as_str()), (Code::DataLoss, "LEDGER_DAMAGED"));
        assert!(status.message().contains("changed: record"), "{status}");
        assert!(api.issue(requests[0].clone()).await.unwrap().replay, "what holds is answered");
        assert_eq!(reason(&api.issue(requests[1].clone()).await.unwrap_err()), "LEDGER_DAMAGED");
        let state = api.ledger.get_ledger_state(GetLedgerStateRequest {}).await.unwrap().into_inner();
        assert!(!state.issuing && state.reason.contains("accept-restore"), "{}", state.reason);
        let request = ListEventsRequest { page_size: 1_000, ..Default::default() };
        let events = api.audit.list_events(request).await.unwrap().into_inner().events;
        let told: Vec<_> = events.iter().filter(|event| event.kind == "ledger.damaged").collect();
        assert!(told.len() == 1 && told[0].record.contains("changed: record"), "told once: {told:?}");
        assert!(server.stop().success());
    }
    assert!(home.log().contains("not healthy: not serving cause=\"ledger\""));

    let server = Server::start(&home);
    let mut health = Health::of(&server).await;
    health.not_serving().await;
    let accept = ["ledger", "accept-restore", "--endpoint", &server.endpoint];
    let accepted = home.vendkey(&accept);
    assert!(accepted.status.success(), "{}", String::from_utf8_lossy(&accepted.stderr));
    health.serving().await;
    assert!(server.stop().success());
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    Health::of(&server).await.serving().await;
    let new = IssueTokenRequest {
        request_id: uuid::Uuid::now_v7().to_string(),
        token_time: None,
        ..requests[0].clone()
    };
    api.issue(new).await.unwrap();
    assert_eq!(reason(&api.issue(requests[1].clone()).await.unwrap_err()), "LEDGER_DAMAGED", "for ever");
}
