//! Full queues: whoever comes too many is told to come again, nothing is written for them, and the
//! retry gets its token once.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::OpenOptionsExt as _,
    process::Command,
    time::{Duration, Instant},
};

use prost::Message as _;
use rustix::fs::OFlags;
use tokio::{task::JoinSet, time::timeout};
use tonic::{Code, Status, transport::Endpoint};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_types::StatusExt as _;
use vendkey::api::v1::{
    BatchIssueTokensRequest, GetIssuedTokenRequest, IssueTokenRequest, IssuedToken, ListIssuedTokensRequest,
    get_issued_token_request::By, token_result,
};

use crate::harness::{Api, DKGA02, DKGA04, Home, Raw, Server, framed, grpc, issued, reason, ten_kwh};

/// After so long what should come does not.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A server whose first commit of tokens stands still, with `more` in its environment.
fn held(home: &Home, more: &[(&str, &str)]) -> Server {
    held_at(home, "ledger-before-commit", more)
}

/// A server that stands still at this point the first time, with `more` in its environment.
pub fn held_at(home: &Home, point: &str, more: &[(&str, &str)]) -> Server {
    let made = Command::new("mkfifo").arg(home.path("held")).status().unwrap();
    assert!(made.success());
    let at = format!("{point}={}", home.text("held"));
    Server::start_with(home, &[&[("VENDKEY_HOLD_AT", at.as_str())], more].concat())
}

/// Waits until it stands still there. It goes on when what this answers is dropped.
pub async fn reached(home: &Home) -> File {
    let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
    let give_up = Instant::now() + TIMEOUT;
    loop {
        // Opens only when the server has the other end.
        match OpenOptions::new().write(true).custom_flags(nonblocking).open(home.path("held")) {
            Ok(pipe) => return pipe,
            Err(error) => assert!(Instant::now() < give_up, "nothing stands still: {error}"),
        }
        tokio::task::yield_now().await;
    }
}

/// What a refusal by a full queue is.
fn busy(status: &Status, why: &str) {
    assert_eq!((status.code(), reason(status).as_str()), (Code::ResourceExhausted, why), "{status}");
    assert_eq!(issued(status), "no", "{status}");
    let delay = status.get_error_details().retry_info().and_then(|info| info.retry_delay);
    assert!(delay.is_some_and(|delay| !delay.is_zero()), "{status}");
}

/// The ledger holds nothing for this request.
async fn nothing_written(api: &mut Api, request: &IssueTokenRequest) {
    let by = Some(By::RequestId(request.request_id.clone()));
    let status = api.tokens.get_issued_token(GetIssuedTokenRequest { by }).await.unwrap_err();
    assert_eq!(reason(&status), "TOKEN_NOT_FOUND");
}

/// Comes again until the queue has a permit, and once more: a new token, and the same again.
async fn retried(api: &mut Api, request: &IssueTokenRequest, why: &str) -> IssuedToken {
    let give_up = Instant::now() + TIMEOUT;
    let token = loop {
        match api.issue(request.clone()).await {
            Ok(token) => break token,
            // A permit is given back a moment after its answer.
            Err(status) => busy(&status, why),
        }
        assert!(Instant::now() < give_up, "{why} does not end");
    };
    assert!(!token.replay, "nothing had been written");
    let again = api.issue(request.clone()).await.unwrap();
    assert_eq!((&again.token, &again.name, again.replay), (&token.token, &token.name, true));
    token
}

/// How many tokens the ledger holds.
async fn tokens(api: &mut Api) -> usize {
    let all = ListIssuedTokensRequest { page_size: 1_000, ..ListIssuedTokensRequest::default() };
    let listed = api.tokens.list_issued_tokens(all).await.unwrap();
    listed.into_inner().tokens.len()
}

#[tokio::test]
async fn a_full_queue_of_the_hsm_refuses_before_anything_is_written() {
    let home = Home::new();
    let server = held(&home, &[("VENDKEY_HSM__QUEUE", "1")]);
    let mut api = server.api(&home).await;
    let administrator = api.administrator().await;
    let mut upload =
        async |yaml| api.upload(&administrator.encrypt(yaml)).await.unwrap().configuration.unwrap();
    let (hmac, des) = (upload(DKGA04).await, upload(DKGA02).await);
    // The first has the only permit, and waits for the ledger with it.
    let first = tokio::spawn({
        let (mut api, request) = (api.clone(), ten_kwh(&hmac));
        async move { api.issue(request).await }
    });
    let commit = reached(&home).await;
    let request = ten_kwh(&hmac);
    for _ in 0..2 {
        let outcome = timeout(TIMEOUT, api.issue(request.clone())).await.expect("it waits in no queue");
        busy(&outcome.unwrap_err(), "HSM_BUSY");
        nothing_written(&mut api, &request).await;
    }
    drop(commit);
    assert!(!first.await.unwrap().unwrap().replay);
    retried(&mut api, &request, "HSM_BUSY").await;
    assert_eq!(tokens(&mut api).await, 2);

    // Two keys in a batch want two permits.
    let requests = vec![ten_kwh(&hmac), ten_kwh(&des)];
    let batch = BatchIssueTokensRequest { requests: requests.clone() };
    let results = api.tokens.batch_issue_tokens(batch).await.unwrap().into_inner().results;
    let mut refused = Vec::new();
    for (request, result) in requests.iter().zip(results) {
        match result.result.unwrap() {
            token_result::Result::Token(token) => assert!(!token.replay),
            token_result::Result::Refusal(refusal) => {
                assert_eq!((refusal.reason.as_str(), refusal.maybe_issued), ("HSM_BUSY", false));
                assert!(refusal.retry_after_ms > 0);
                refused.push(request);
            }
        }
    }
    assert!(!refused.is_empty());
    for request in &refused {
        retried(&mut api, request, "HSM_BUSY").await;
    }
    assert_eq!(tokens(&mut api).await, 4);
}

#[tokio::test]
async fn a_deadline_that_passes_on_the_way_says_what_is_known() {
    let home = Home::new();
    let server = held(&home, &[]);
    let mut api = server.api(&home).await;
    let request = ten_kwh(&api.configuration(DKGA04).await);
    let message = framed(&request.encode_to_vec());
    let mut raw = Raw::connect(&server.endpoint).await;
    let call = |path: &str| grpc(path, &home.till()).header("grpc-timeout", "300m");
    let passed = |status: Status, expected: &str| {
        assert_eq!((status.code(), reason(&status).as_str()), (Code::DeadlineExceeded, "DEADLINE_PASSED"));
        assert_eq!(issued(&status), expected, "{status}");
    };
    // Half a message asks for nothing.
    let half = raw.send_unfinished(call("/vendkey.v1.TokenService/IssueToken"), message[..20].to_vec()).await;
    passed(half.grpc(), "no");
    nothing_written(&mut api, &request).await;
    // A commit stands still, and nobody knows how it ends.
    let (first, commit) =
        tokio::join!(raw.send(call("/vendkey.v1.TokenService/IssueToken"), message), reached(&home));
    passed(first.grpc(), "maybe");
    drop(commit);
    assert!(api.issue(request).await.unwrap().replay);
    assert_eq!(tokens(&mut api).await, 1);
}

#[tokio::test]
async fn a_full_queue_of_the_ledger_refuses_and_writes_nothing() {
    let home = Home::new();
    let server = held(&home, &[("VENDKEY_STORE__QUEUE", "8")]);
    let mut api = server.api(&home).await;
    let configuration = api.configuration(DKGA04).await;
    let channel = Endpoint::from_shared(server.endpoint.clone()).unwrap().connect().await.unwrap();
    let mut health = HealthClient::new(channel);
    let mut calls = JoinSet::new();
    let call = |calls: &mut JoinSet<_>| {
        let (mut api, request) = (api.clone(), ten_kwh(&configuration));
        calls.spawn(async move { (request.clone(), api.issue(request).await) });
    };
    call(&mut calls);
    let commit = reached(&home).await;
    // One after another, until the first is answered while the ledger stands still.
    let (mut begun, give_up) = (1, Instant::now() + TIMEOUT);
    let mut answered = loop {
        if let Some(answer) = calls.try_join_next() {
            break vec![answer.unwrap()];
        }
        assert!(Instant::now() < give_up, "{begun} calls wait");
        call(&mut calls);
        begun += 1;
        health.check(HealthCheckRequest::default()).await.unwrap();
    };
    let (request, outcome) = &answered[0];
    busy(outcome.as_ref().unwrap_err(), "STORE_BUSY");
    nothing_written(&mut api, request).await;
    drop(commit);
    answered.extend(calls.join_all().await);
    assert_eq!(answered.len(), begun);
    for (request, outcome) in answered {
        match outcome {
            Ok(token) => assert!(!token.replay),
            Err(status) => {
                busy(&status, "STORE_BUSY");
                nothing_written(&mut api, &request).await;
                retried(&mut api, &request, "STORE_BUSY").await;
            }
        }
    }
    assert_eq!(tokens(&mut api).await, begun, "each once");
}
