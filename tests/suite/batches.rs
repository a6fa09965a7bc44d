//! Batches, streams, and tokens issued before.

use std::collections::BTreeMap;

use tokio_stream::StreamExt as _;
use uuid::Uuid;
use vendkey::api::v1::{
    BatchIssueTokensRequest, GetIssuedTokenRequest, IssueTokenRequest, IssuedToken, ListIssuedTokensRequest,
    Refusal, TokenResult, get_issued_token_request::By, token_result,
};

use crate::harness::{DKGA02, DKGA04, Home, Server, reason, ten_kwh};

const METERS: [&str; 3] = ["47500150231", "11111111115", "00000000000"];

fn token(result: &TokenResult) -> &IssuedToken {
    match &result.result {
        Some(token_result::Result::Token(token)) => token,
        other => panic!("{other:?}"),
    }
}

fn refusal(result: &TokenResult) -> &Refusal {
    match &result.result {
        Some(token_result::Result::Refusal(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

/// Tokens of one meter stand in the order of their identifiers, each minute once.
fn in_order(tokens: &[&IssuedToken]) {
    let mut last: BTreeMap<&str, u32> = BTreeMap::new();
    for token in tokens {
        let tid = token.tid.as_ref().unwrap().value;
        if let Some(before) = last.insert(&token.meter_pan, tid) {
            assert!(tid > before, "{tid} after {before}");
        }
    }
}

#[tokio::test]
async fn a_batch_answers_each_request_for_itself() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let configurations = [api.configuration(DKGA04).await, api.configuration(DKGA02).await];
    let mut requests: Vec<IssueTokenRequest> = (0..300)
        .map(|n| IssueTokenRequest { meter: METERS[n % 3].to_owned(), ..ten_kwh(&configurations[n / 3 % 2]) })
        .collect();
    requests[7].meter = "1".to_owned();
    requests[8].configuration = format!("configurations/{}", Uuid::now_v7());
    requests[9].request_id = "x".to_owned();
    requests[11].request_id = requests[10].request_id.clone();
    requests[14] = requests[13].clone();
    let batch = BatchIssueTokensRequest { requests: requests.clone() };
    let results = api.tokens.batch_issue_tokens(batch.clone()).await.unwrap().into_inner().results;
    assert_eq!(results.len(), 300);
    for (request, result) in requests.iter().zip(&results) {
        assert_eq!(request.request_id, result.request_id);
    }
    assert_eq!(refusal(&results[7]).field_violations[0].field, "meter");
    assert_eq!(refusal(&results[8]).reason, "CONFIGURATION_NOT_FOUND");
    assert_eq!(refusal(&results[9]).field_violations[0].field, "request_id");
    assert_eq!(refusal(&results[11]).reason, "REQUEST_ID_REUSED");
    assert_eq!(token(&results[14]).token, token(&results[13]).token);
    assert!(token(&results[14]).replay && !token(&results[13]).replay);
    let issued: Vec<&IssuedToken> = results
        .iter()
        .enumerate()
        .filter(|(n, _)| ![7, 8, 9, 11, 14].contains(n))
        .map(|(_, result)| token(result))
        .collect();
    in_order(&issued);

    // Again: the same digits, but for what was refused.
    let again = api.tokens.batch_issue_tokens(batch).await.unwrap().into_inner().results;
    for (first, second) in results
        .iter()
        .zip(&again)
        .filter(|(first, _)| matches!(first.result, Some(token_result::Result::Token(_))))
    {
        assert_eq!(token(first).token, token(second).token);
        assert!(token(second).replay);
    }
    for wrong in [0, 1_001] {
        let requests = vec![ten_kwh(&configurations[0]); wrong];
        let status = api.tokens.batch_issue_tokens(BatchIssueTokensRequest { requests }).await.unwrap_err();
        assert_eq!(reason(&status), "INVALID_FIELDS");
    }

    // What was refused in the batch is on record, counted.
    server.stop();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let events = api
        .audit
        .list_events(vendkey::api::v1::ListEventsRequest { page_size: 1_000, ..Default::default() })
        .await
        .unwrap()
        .into_inner()
        .events;
    let counted = events
        .iter()
        .find(|event| event.kind == "call.refused" && event.record.contains("REQUEST_ID_REUSED"));
    assert!(counted.unwrap().record.contains(r#"\"count\":\"2\""#), "{counted:?}");
}

#[tokio::test]
async fn a_stream_answers_in_order_and_goes_on_after_it_broke() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let configurations = [api.configuration(DKGA04).await, api.configuration(DKGA02).await];
    let mut requests: Vec<IssueTokenRequest> = (0..1_500)
        .map(|n| IssueTokenRequest { meter: METERS[n % 3].to_owned(), ..ten_kwh(&configurations[n / 3 % 2]) })
        .collect();
    requests[700].meter = "1".to_owned();
    // Broken off in the middle.
    let mut results =
        api.tokens.stream_tokens(tokio_stream::iter(requests.clone())).await.unwrap().into_inner();
    let mut first = Vec::new();
    for _ in 0..400 {
        first.push(results.message().await.unwrap().unwrap());
    }
    drop(results);
    let results = api.tokens.stream_tokens(tokio_stream::iter(requests.clone())).await.unwrap().into_inner();
    let results: Vec<TokenResult> = results.map(Result::unwrap).collect().await;
    assert_eq!(results.len(), requests.len());
    for (request, result) in requests.iter().zip(&results) {
        assert_eq!(request.request_id, result.request_id);
    }
    for (before, after) in first.iter().zip(&results) {
        assert_eq!(token(before).token, token(after).token);
        assert!(token(after).replay);
    }
    assert_eq!(refusal(&results[700]).reason, "INVALID_FIELDS");
    let issued: Vec<&IssuedToken> =
        results.iter().enumerate().filter(|(n, _)| *n != 700).map(|(_, result)| token(result)).collect();
    in_order(&issued);
}

#[tokio::test]
async fn issued_tokens_are_found_and_listed() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let configurations = [api.configuration(DKGA04).await, api.configuration(DKGA02).await];
    let mut issued = Vec::new();
    for n in 0..10 {
        let request =
            IssueTokenRequest { meter: METERS[n % 3].to_owned(), ..ten_kwh(&configurations[n % 2]) };
        issued.push(api.issue(request).await.unwrap());
    }
    for token in &issued {
        for by in [By::Name(token.name.clone()), By::RequestId(token.request_id.clone())] {
            let found = api
                .tokens
                .get_issued_token(GetIssuedTokenRequest { by: Some(by) })
                .await
                .unwrap()
                .into_inner();
            assert_eq!(
                (found.token, found.tid, found.kind, found.transferred.unwrap().amount),
                (token.token.clone(), token.tid, token.kind.clone(), "10".to_owned())
            );
        }
    }
    for (by, expected) in [
        (Some(By::Name("issuedTokens/999999".to_owned())), "TOKEN_NOT_FOUND"),
        (Some(By::RequestId(Uuid::now_v7().to_string())), "TOKEN_NOT_FOUND"),
        (Some(By::Name("issuedTokens/01".to_owned())), "INVALID_FIELDS"),
        (None, "INVALID_FIELDS"),
    ] {
        let status = api.tokens.get_issued_token(GetIssuedTokenRequest { by }).await.unwrap_err();
        assert_eq!(reason(&status), expected);
    }
    let mut listed = Vec::new();
    let mut request = ListIssuedTokensRequest { page_size: 3, digits: true, ..Default::default() };
    loop {
        let page = api.tokens.list_issued_tokens(request.clone()).await.unwrap().into_inner();
        listed.extend(page.tokens);
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    let digits = |tokens: &[IssuedToken]| tokens.iter().map(|token| token.token.clone()).collect::<Vec<_>>();
    assert_eq!(digits(&listed), digits(&issued));
    let of_meter = ListIssuedTokensRequest { meter_pan: issued[0].meter_pan.clone(), ..Default::default() };
    let of_meter = api.tokens.list_issued_tokens(of_meter).await.unwrap().into_inner().tokens;
    assert_eq!(of_meter.len(), 4);
    assert!(of_meter.iter().all(|token| token.token.is_empty() && token.meter_pan == issued[0].meter_pan));
}
