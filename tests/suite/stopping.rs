//! The end of a server, and of connections that are old: whoever balances load can notice, what
//! runs is finished, and what does not run holds nobody.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use vendkey::api::v1::token_result;

use crate::harness::{Authority, Home, Server, Validity, meter_test, was_never_sent};

/// What every wait here may take at most.
const TIMEOUT: Duration = Duration::from_secs(60);

async fn channel(server: &Server) -> Channel {
    Endpoint::from_shared(server.endpoint.clone()).unwrap().connect().await.unwrap()
}

fn logged(home: &Home, text: &str) {
    let give_up = Instant::now() + TIMEOUT;
    while !home.log().contains(text) {
        assert!(Instant::now() < give_up, "the log does not say {text:?}:\n{}", home.log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[tokio::test]
async fn a_server_that_is_told_to_stop_says_so_and_serves_on() {
    let home = Home::new();
    let server = Server::start_with(&home, &[("VENDKEY_SERVER__DRAIN_SECONDS", "3600")]);
    let mut watched = HealthClient::new(channel(&server).await)
        .watch(HealthCheckRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(watched.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    server.signal(Signal::TERM);
    assert_eq!(watched.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    // Whoever has not noticed yet loses nothing.
    let mut api = server.api(&home).await;
    api.issue(meter_test()).await.unwrap();
    let mut health = HealthClient::new(channel(&server).await);
    let checked = health.check(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(checked.status(), ServingStatus::NotServing);
    // The second signal waits no longer; who watches is told the end.
    let ended = tokio::task::spawn_blocking(|| server.stop());
    assert!(watched.message().await.unwrap().is_none());
    assert!(ended.await.unwrap().success());
    assert!(!home.log().contains("connections were still open"), "{}", home.log());
}

#[tokio::test]
async fn the_time_of_draining_ends() {
    let home = Home::new();
    let server = Server::start_with(&home, &[("VENDKEY_SERVER__DRAIN_SECONDS", "1")]);
    assert!(server.stop().success());
    let log = home.log();
    let (drains, ends) = (log.rfind("health says NOT_SERVING").unwrap(), log.rfind("no new calls").unwrap());
    assert!(drains < ends);
}

#[tokio::test]
async fn what_does_not_run_holds_no_server() {
    let home = Home::new();
    let server = Server::start(&home);
    let address = server.endpoint.rsplit('/').next().unwrap().to_owned();
    let mut held = Vec::new();
    let hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    for begun in [&b""[..], b"P", b"PRI * HTTP/2.0\r\n\r\n", &hello[..24], hello, b"GET / HTTP/1.1\r\n"] {
        let mut tcp = TcpStream::connect(&address).unwrap();
        tcp.write_all(begun).unwrap();
        held.push(tcp);
    }
    // The server has them: a complete one is answered after those before it were accepted.
    let mut used = HealthClient::new(channel(&server).await);
    used.check(HealthCheckRequest::default()).await.unwrap();
    let mut watched = used.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    watched.message().await.unwrap().unwrap();
    assert!(server.stop().success());
    assert!(!home.log().contains("connections were still open"), "{}", home.log());
    for mut tcp in held {
        // What the server said before, and the end.
        let _ = tcp.read_to_end(&mut Vec::new());
    }
}

#[tokio::test]
async fn a_handshake_that_stands_still_holds_no_server() {
    let home = Home::new();
    Authority::new(&home, "authority").sign(&home, "server", &Validity::Good);
    home.write_settings("[server.tls]\ncertificate_file = 'server.pem'\nkey_file = 'server.key'\n");
    let server = Server::start(&home);
    let address = server.endpoint.rsplit('/').next().unwrap().to_owned();
    let mut begun = TcpStream::connect(&address).unwrap();
    begun.write_all(b"\x16\x03\x01").unwrap();
    let silent = TcpStream::connect(&address).unwrap();
    assert!(server.stop().success());
    assert!(!home.log().contains("connections were still open"), "{}", home.log());
    drop((begun, silent));
}

#[tokio::test]
async fn a_stream_that_runs_is_finished() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let (requests, receiver) = mpsc::channel(4);
    let mut answers = api.tokens.stream_tokens(ReceiverStream::new(receiver)).await.unwrap().into_inner();
    requests.send(meter_test()).await.unwrap();
    answers.message().await.unwrap().unwrap();
    server.signal(Signal::TERM);
    logged(&home, "no new calls");
    requests.send(meter_test()).await.unwrap();
    let answer = answers.message().await.unwrap().unwrap();
    assert!(matches!(answer.result, Some(token_result::Result::Token(_))), "{answer:?}");
    drop(requests);
    assert!(answers.message().await.unwrap().is_none());
    assert!(server.stop().success());
    assert!(!home.log().contains("connections were still open"), "{}", home.log());
}

#[tokio::test]
async fn old_connections_end_and_no_call_with_them() {
    let home = Home::new();
    // On a busy machine a call may well take a second.
    home.write_settings("[wire]\nage_seconds = 1\nage_grace_seconds = 5\n");
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    // A connection that is never idle gets old nevertheless, and calls go on over new ones.
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(3) {
        let request = meter_test();
        if let Err(status) = api.issue(request.clone()).await {
            assert!(was_never_sent(&status), "{status:?}");
            api.issue(request).await.unwrap();
        }
    }
    // What runs on for longer than it may is cut off, and the client told.
    let (requests, receiver) = mpsc::channel(4);
    let mut answers = api.tokens.stream_tokens(ReceiverStream::new(receiver)).await.unwrap().into_inner();
    requests.send(meter_test()).await.unwrap();
    answers.message().await.unwrap().unwrap();
    let cut = tokio::time::timeout(TIMEOUT, answers.message()).await.expect("it is cut off");
    assert!(cut.is_err(), "{cut:?}");
    logged(&home, "calls still ran when the connection was too old");
    api.issue(meter_test()).await.unwrap();
}

#[tokio::test]
async fn a_task_that_ends_before_its_time_ends_the_server_with_a_code() {
    let home = Home::new();
    let server = Server::start_with(&home, &[("VENDKEY_FAIL_AT", "task")]);
    // `EX_SOFTWARE`: whoever supervises the server starts it again.
    assert_eq!(server.ended().code(), Some(70));
    let log = home.log();
    assert!(log.contains("the task `destruction of keys` ended") && log.contains("task_ended"), "{log}");
    // In order: what can be kept is kept.
    assert!(log.contains("stopped") && !log.contains("no last checkpoint"), "{log}");
}
