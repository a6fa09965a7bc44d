//! Calls that hold many requests: each counts, and each asks what its caller may do now.

use std::time::Duration;

use tokio::time::Instant;
use vendkey::api::v1::{BatchIssueTokensRequest, DisableClientRequest, Group, Limits, token_result};

use super::{create, credential, rights, update};
use crate::harness::{Api, DKGA04, Home, Server, meter_test, reason, ten_kwh};

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
