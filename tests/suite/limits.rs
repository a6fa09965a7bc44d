//! A till's limits, from outside: exactly as much passes as they say, whatever comes at once and
//! whatever restarts.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use uuid::Uuid;
use vendkey::api::v1::{
    BatchIssueTokensRequest, CreateClientRequest, CreateCredentialRequest, Group, Limits, Rights,
    token_result,
};

use crate::harness::{Api, DKGA04, Home, Server, reason, ten_kwh};

/// A till with these limits: its secret.
async fn till(api: &mut Api, limits: Limits) -> String {
    let request = CreateClientRequest {
        request_id: Uuid::now_v7().to_string(),
        display_name: "limited".to_owned(),
        rights: Some(Rights { may_do: vec![Group::Vend.into()], ..Rights::default() }),
        limits: Some(limits),
    };
    let client = api.clients.create_client(request).await.unwrap().into_inner().name;
    let request = CreateCredentialRequest { client, ..Default::default() };
    api.clients.create_credential(request).await.unwrap().into_inner().secret
}

fn limit(status: &Status) -> (String, bool) {
    let details = status.get_error_details();
    let metadata = details.error_info().unwrap().metadata.clone();
    let ends = metadata.get("ends").is_some_and(|ends| ends.ends_with("T00:00:00Z"));
    (metadata["limit"].clone(), ends && details.retry_info().is_some())
}

/// The day of the limits, UTC.
fn today() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 86_400
}

#[tokio::test]
async fn exactly_the_limit_passes_at_once_and_none_after_a_restart() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let configuration = api.configuration(DKGA04).await;
    let secret = till(&mut api, Limits { tokens_per_day: Some(25), ..Limits::default() }).await;
    let begun = today();
    let mut running = tokio::task::JoinSet::new();
    for caller in 0..8 {
        let mut api = Api::connect(&server.endpoint, &secret).await;
        let configuration = configuration.clone();
        running.spawn(async move {
            let mut passed = 0;
            if caller % 2 == 0 {
                let requests = (0..8).map(|_| ten_kwh(&configuration)).collect();
                let answer = api.tokens.batch_issue_tokens(BatchIssueTokensRequest { requests }).await;
                for result in answer.unwrap().into_inner().results {
                    match result.result.unwrap() {
                        token_result::Result::Token(_) => passed += 1,
                        token_result::Result::Refusal(refusal) => assert_eq!(refusal.reason, "LIMIT_REACHED"),
                    }
                }
            } else {
                for _ in 0..8 {
                    match api.issue(ten_kwh(&configuration)).await {
                        Ok(_) => passed += 1,
                        Err(status) => assert_eq!(reason(&status), "LIMIT_REACHED"),
                    }
                }
            }
            passed
        });
    }
    let passed: u32 = running.join_all().await.into_iter().sum();
    if today() != begun {
        // Midnight gave them another day's worth.
        return;
    }
    assert_eq!(passed, 25);
    assert!(server.stop().success());

    let server = Server::start(&home);
    let mut api = Api::connect(&server.endpoint, &secret).await;
    let outcome = api.issue(ten_kwh(&configuration)).await;
    if today() != begun {
        return;
    }
    let status = outcome.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::ResourceExhausted, "LIMIT_REACHED"));
    assert_eq!(limit(&status), ("tokens_per_day".to_owned(), true));
}

#[tokio::test]
async fn sums_that_another_hand_lowered_lift_no_limit() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let configuration = api.configuration(DKGA04).await;
    let secret = till(&mut api, Limits { tokens_per_day: Some(3), ..Limits::default() }).await;
    let begun = today();
    let mut limited = Api::connect(&server.endpoint, &secret).await;
    for _ in 0..3 {
        limited.issue(ten_kwh(&configuration)).await.unwrap();
    }
    assert!(server.stop().success());
    let database = rusqlite::Connection::open(home.path("vendkey.db")).unwrap();
    assert!(database.execute("UPDATE usage SET tokens = 0, least_units = '0'", ()).unwrap() > 0);

    let server = Server::start(&home);
    let raised = "SELECT EXISTS (SELECT 1 FROM acts WHERE kind = 'usage.raised')";
    let give_up = Instant::now() + Duration::from_secs(120);
    while !database.query_row(raised, (), |row| row.get::<_, bool>(0)).unwrap() {
        assert!(Instant::now() < give_up, "nothing was raised");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut limited = Api::connect(&server.endpoint, &secret).await;
    let refused = limited.issue(ten_kwh(&configuration)).await.map_err(|status| reason(&status));
    if begun == today() {
        assert_eq!(refused.unwrap_err(), "LIMIT_REACHED");
        assert!(home.log().contains("is not what the ledger says"));
    }
}
