//! What one client may take of the wire: slow, idle, greedy and too many clients, and a server that
//! refuses before it collapses.

use std::{
    convert::Infallible,
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use http::{Request, Response};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Code, Status,
    body::Body,
    transport::{Channel, Endpoint},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_types::StatusExt as _;
use tower::{Service as _, ServiceExt as _};
use vendkey::api::v1::{
    GetIssuedTokenRequest, IssueTokenRequest, ListConfigurationsRequest, ListIssuedTokensRequest, MeterTest,
    UploadConfigurationRequest, get_issued_token_request::By, issue_token_request::Content, meter_test,
    token_result,
};

use crate::harness::{Api, DKGA04, Home, Server, framed, issued, reason, ten_kwh};

/// What every wait here may take at most.
const TIMEOUT: Duration = Duration::from_secs(60);

fn with_settings(more: &str) -> (Home, Server) {
    let home = Home::new();
    home.write_settings(more);
    let server = Server::start(&home);
    (home, server)
}

fn address(server: &Server) -> SocketAddr {
    server.endpoint.rsplit('/').next().unwrap().parse().unwrap()
}

async fn channel(server: &Server) -> Channel {
    Endpoint::from_shared(server.endpoint.clone()).unwrap().connect().await.unwrap()
}

async fn healthy(channel: Channel) -> Result<(), Status> {
    HealthClient::new(channel).check(HealthCheckRequest::default()).await.map(drop)
}

/// A request for a token that needs no configuration.
fn meter_test() -> IssueTokenRequest {
    IssueTokenRequest {
        request_id: uuid::Uuid::now_v7().to_string(),
        content: Some(Content::MeterTest(MeterTest {
            test: Some(meter_test::Test::Control(1)),
            ..MeterTest::default()
        })),
        ..IssueTokenRequest::default()
    }
}

/// Waits until it is so.
async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let give_up = Instant::now() + TIMEOUT;
    while !so() {
        assert!(Instant::now() < give_up, "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What must come about in time.
async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(TIMEOUT, what).await.expect("it comes in time")
}

/// A body that is sent piece by piece, and not to its end.
struct Pieces(mpsc::Receiver<Vec<u8>>);

impl http_body::Body for Pieces {
    type Data = hyper::body::Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Self::Data>, Infallible>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| Ok(http_body::Frame::data(piece.into()))))
    }
}

/// Begins a call whose body comes from the sender.
fn begin(
    home: &Home,
    mut channel: Channel,
    path: &str,
) -> (mpsc::Sender<Vec<u8>>, tokio::task::JoinHandle<Response<Body>>) {
    let (pieces, body) = mpsc::channel(64);
    let request = Request::post(format!("http://localhost{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("authorization", format!("Bearer {}", home.till()))
        .body(Body::new(Pieces(body)))
        .unwrap();
    let call = tokio::spawn(async move { channel.ready().await.unwrap().call(request).await.unwrap() });
    (pieces, call)
}

/// The status of an answer without a body.
fn status(answer: &Response<Body>) -> Status {
    Status::from_header_map(answer.headers()).expect("the answer is a refusal")
}

/// Waits until the server closed it.
fn closed(mut connection: TcpStream) {
    connection.set_read_timeout(Some(TIMEOUT)).unwrap();
    let mut rest = Vec::new();
    match connection.read_to_end(&mut rest) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}"),
    }
}

const SLOW: &str = "[wire]\nrequest_seconds = 2\nopening_seconds = 2\nidle_seconds = 60\n";

#[tokio::test]
async fn slow_clients_hold_nobody_and_are_shown_out() {
    let (home, server) = with_settings(&format!("{SLOW}calls = 60\n"));
    let mut api = server.api(&home).await;
    let configuration = api.configuration(DKGA04).await;
    // Some say nothing, some no more than hello, some hold the half of a request.
    let hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let mut silent = Vec::new();
    for number in 0..60 {
        let mut connection = TcpStream::connect(address(&server)).unwrap();
        if number % 2 == 0 {
            connection.write_all(hello).unwrap();
        }
        silent.push(connection);
    }
    let slow = channel(&server).await;
    let message = framed(&ten_kwh(&configuration).encode_to_vec());
    let mut halves = Vec::new();
    for _ in 0..50 {
        let (pieces, call) = begin(&home, slow.clone(), "/vendkey.v1.TokenService/IssueToken");
        pieces.send(message[..message.len() / 2].to_vec()).await.unwrap();
        halves.push((pieces, call));
    }
    // One that comes whole, but not in time: a byte always follows.
    let (trickle, trickled) = begin(&home, slow.clone(), "/vendkey.v1.TokenService/IssueToken");
    let trickling = tokio::spawn(async move {
        for byte in message {
            if trickle.send(vec![byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    for _ in 0..20 {
        api.issue(ten_kwh(&configuration)).await.unwrap();
    }
    for (_pieces, call) in halves {
        let status = status(&within(call).await.unwrap());
        assert_eq!((status.code(), reason(&status).as_str()), (Code::DeadlineExceeded, "REQUEST_TOO_SLOW"));
        assert_eq!(issued(&status), "no");
    }
    assert_eq!(reason(&status(&within(trickled).await.unwrap())), "REQUEST_TOO_SLOW");
    trickling.abort();
    for connection in silent {
        closed(connection);
    }
    api.issue(ten_kwh(&configuration)).await.unwrap();
}

#[tokio::test]
async fn a_slow_handshake_is_given_up() {
    let home = Home::new();
    crate::harness::Authority::new(&home, "authority").sign(&home, "server", &crate::harness::Validity::Good);
    home.write_settings(&format!(
        "{SLOW}[server.tls]\ncertificate_file = 'server.pem'\nkey_file = 'server.key'\n"
    ));
    let server = Server::start(&home);
    let mut connection = TcpStream::connect(address(&server)).unwrap();
    connection.write_all(b"\x16\x03\x01").unwrap();
    closed(connection);
    until("a line in the log", || home.log().contains("the TLS handshake took too long")).await;
}

#[tokio::test]
async fn a_stream_that_idles_is_ended_with_a_reason() {
    let (home, server) = with_settings("[wire]\nstream_idle_seconds = 1\n");
    let mut api = server.api(&home).await;
    let (requests, receiver) = mpsc::channel(4);
    let mut answers = api.tokens.stream_tokens(ReceiverStream::new(receiver)).await.unwrap().into_inner();
    requests.send(meter_test()).await.unwrap();
    let answer = answers.message().await.unwrap().unwrap();
    assert!(matches!(answer.result, Some(token_result::Result::Token(_))), "{answer:?}");
    let status = within(answers.message()).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::DeadlineExceeded, "STREAM_IDLE"));
    assert_eq!(issued(&status), "maybe");

    // Bytes are no requests.
    let (pieces, call) = begin(&home, channel(&server).await, "/vendkey.v1.TokenService/StreamTokens");
    let trickling = tokio::spawn(async move {
        for byte in framed(&[b'x'; 10_000]) {
            if pieces.send(vec![byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let mut body = call.await.unwrap().into_body();
    let ended = async {
        loop {
            let frame =
                std::future::poll_fn(|context| http_body::Body::poll_frame(Pin::new(&mut body), context))
                    .await;
            match frame {
                Some(Ok(frame)) if frame.is_trailers() => return frame.into_trailers().unwrap(),
                Some(Ok(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    };
    let trailers = within(ended).await;
    assert_eq!(reason(&Status::from_header_map(&trailers).unwrap()), "STREAM_IDLE");
    trickling.abort();
}

#[tokio::test]
async fn a_stream_takes_no_large_requests() {
    let (home, server) = with_settings("");
    let mut api = server.api(&home).await;
    let mut large = meter_test();
    large.configuration = "x".repeat(20_000);
    let requests = ReceiverStream::new({
        let (requests, receiver) = mpsc::channel(4);
        requests.send(large).await.unwrap();
        receiver
    });
    let mut answers = api.tokens.stream_tokens(requests).await.unwrap().into_inner();
    let status = within(answers.message()).await.unwrap_err();
    assert_eq!(reason(&status), "INVALID_FIELDS");
}

#[tokio::test]
async fn whoever_does_not_take_answers_is_cut_off() {
    let (home, server) = with_settings("[wire]\nstream_idle_seconds = 1\n");
    let narrow = Endpoint::from_shared(server.endpoint.clone()).unwrap().initial_stream_window_size(1_000);
    let mut greedy = Api::over(narrow.connect().await.unwrap(), &home.till());
    let (requests, receiver) = mpsc::channel(4);
    let mut answers = greedy.tokens.stream_tokens(ReceiverStream::new(receiver)).await.unwrap().into_inner();
    let sending = tokio::spawn(async move { while requests.send(meter_test()).await.is_ok() {} });
    until("a cut", || home.log().contains("answers were not taken")).await;
    sending.abort();
    while let Ok(answer) = within(answers.message()).await {
        assert!(answer.is_some(), "the stream ended in order");
    }
}

#[tokio::test]
async fn a_message_of_the_maximum_size_and_one_byte_more() {
    let (home, server) = with_settings("[wire]\nmessage_bytes = 65536\n");
    let mut api = server.api(&home).await;
    let mut request =
        UploadConfigurationRequest { data: "A".repeat(65_000), ..UploadConfigurationRequest::default() };
    request.data.push_str(&"A".repeat(65_536 - request.encoded_len()));
    assert_eq!(request.encoded_len(), 65_536);
    let status = api.configurations.upload_configuration(request.clone()).await.unwrap_err();
    assert_eq!(reason(&status), "ENVELOPE_MALFORMED");
    request.data.push('A');
    let status = api.configurations.upload_configuration(request).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::ResourceExhausted, "MESSAGE_TOO_LARGE"));
    assert_eq!(issued(&status), "no");
    let mut request = meter_test();
    request.configuration = "A".repeat(65_536);
    assert_eq!(reason(&api.issue(request).await.unwrap_err()), "MESSAGE_TOO_LARGE");
    api.issue(meter_test()).await.unwrap();
}

#[tokio::test]
async fn requests_that_are_not_whole_share_a_bounded_room() {
    let (home, server) = with_settings("[wire]\nreceiving_bytes = 1048576\nmessage_bytes = 524288\n");
    let greedy = channel(&server).await;
    let mut held = Vec::new();
    let mut message = framed(&[b'x'; 500_000]);
    message.truncate(400_000);
    for _ in 0..2 {
        let (pieces, call) = begin(&home, greedy.clone(), "/vendkey.v1.TokenService/BatchIssueTokens");
        pieces.send(message.clone()).await.unwrap();
        held.push((pieces, call));
    }
    // The two came in before the third, or it is one of the two that is refused.
    let other = channel(&server).await;
    let (pieces, call) = begin(&home, other, "/vendkey.v1.TokenService/BatchIssueTokens");
    pieces.send(message).await.unwrap();
    held.push((pieces, call));
    let mut calls: Vec<_> = Vec::new();
    let mut pieces = Vec::new();
    for (piece, call) in held {
        pieces.push(piece);
        calls.push(call);
    }
    until("a refusal", || calls.iter().any(tokio::task::JoinHandle::is_finished)).await;
    let refused = calls.iter().position(tokio::task::JoinHandle::is_finished).unwrap();
    let status = status(&calls.remove(refused).await.unwrap());
    assert_eq!((status.code(), reason(&status).as_str()), (Code::ResourceExhausted, "SERVER_BUSY"));
    // What is small is taken, and what was counted is free again.
    let mut api = server.api(&home).await;
    api.issue(meter_test()).await.unwrap();
}

#[tokio::test]
async fn headers_have_a_limit() {
    let (home, server) = with_settings("");
    let mut api = server.api(&home).await;
    let with = |bytes: usize| {
        let mut request = tonic::Request::new(ListConfigurationsRequest::default());
        request.metadata_mut().insert("x-filler", "a".repeat(bytes).parse().unwrap());
        request
    };
    api.configurations.list_configurations(with(8_000)).await.unwrap();
    let status = api.configurations.list_configurations(with(40_000)).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::ResourceExhausted, "METADATA_TOO_LARGE"));
    assert_eq!(issued(&status), "no");
    // What is far too large does not get through HTTP/2.
    api.configurations.list_configurations(with(200_000)).await.unwrap_err();
    api.configurations.list_configurations(with(8_000)).await.unwrap();
}

#[tokio::test]
async fn connections_are_counted_in_all_and_by_address() {
    let (home, server) = with_settings("[wire]\nconnections = 6\nconnections_per_address = 4\n");
    let from = |address| connect_from(address, self::address(&server));
    let mut held: Vec<TcpStream> = (0..4).map(|_| TcpStream::connect(address(&server)).unwrap()).collect();
    closed(TcpStream::connect(address(&server)).unwrap());
    // Another address is taken, until all are too many.
    let second = [from([127, 0, 0, 2]).await, from([127, 0, 0, 2]).await];
    closed(from([127, 0, 0, 3]).await);
    held.clear();
    drop(second);
    let give_up = Instant::now() + TIMEOUT;
    while Endpoint::from_shared(server.endpoint.clone()).unwrap().connect().await.is_err() {
        assert!(Instant::now() < give_up, "the permits did not come back");
    }
    until("a line in the log", || home.log().contains("refused: too many connections")).await;
}

/// A connection from an address of one's own on this machine.
async fn connect_from(from: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((from, 0))).unwrap();
    let stream = socket.connect(to).await.unwrap().into_std().unwrap();
    stream.set_nonblocking(false).unwrap();
    stream
}

#[tokio::test]
async fn a_full_server_refuses_at_once_and_says_when_to_come_back() {
    let (home, server) = with_settings("[wire]\ncalls = 2\n");
    let mut api = server.api(&home).await;
    let mut open = Vec::new();
    for _ in 0..2 {
        let (requests, receiver) = mpsc::channel(4);
        let answers = api.tokens.stream_tokens(ReceiverStream::new(receiver)).await.unwrap();
        open.push((requests, answers));
    }
    let status = api.issue(meter_test()).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::ResourceExhausted, "SERVER_BUSY"));
    assert_eq!(issued(&status), "no");
    assert!(status.get_error_details().retry_info().unwrap().retry_delay.unwrap() > Duration::ZERO);
    healthy(channel(&server).await).await.unwrap();
    open.pop();
    let give_up = Instant::now() + TIMEOUT;
    while let Err(status) = api.issue(meter_test()).await {
        assert_eq!(reason(&status), "SERVER_BUSY");
        assert!(Instant::now() < give_up, "the permit did not come back");
    }
}

#[tokio::test]
async fn idle_connections_end_and_no_call_with_them() {
    let (home, server) = with_settings("[wire]\nidle_seconds = 1\n[metrics]\nlisten = '127.0.0.1:0'\n");
    let mut api = server.api(&home).await;
    // About the moment at which it ends, before and after.
    for pause in [900, 1_000, 1_100, 1_200, 1_300] {
        api.issue(meter_test()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
    until("the end of the connection", || {
        scrape(&home).contains("vendkey_connections{listener=\"main\"} 0\n")
    })
    .await;
    api.issue(meter_test()).await.unwrap();
}

/// What the metrics say.
pub fn scrape(home: &Home) -> String {
    let log = home.log();
    let from = log.rfind("metrics at http://").expect("the log names the address");
    let address = log[from + 18..].split('/').next().unwrap();
    let mut connection = TcpStream::connect(address).unwrap();
    connection.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut text = String::new();
    connection.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
    text
}

#[tokio::test]
async fn metrics_count_and_name_nobody() {
    let (home, server) = with_settings("[metrics]\nlisten = '127.0.0.1:0'\n");
    let mut api = server.api(&home).await;
    let configuration = api.configuration(DKGA04).await;
    let request = ten_kwh(&configuration);
    let token = api.issue(request.clone()).await.unwrap();
    api.issue(request.clone()).await.unwrap();
    let mut wrong = ten_kwh(&configuration);
    wrong.meter = "1".to_owned();
    api.issue(wrong).await.unwrap_err();
    let text = scrape(&home);
    for line in [
        "vendkey_calls_total{method=\"/vendkey.v1.TokenService/IssueToken\",reason=\"OK\"} 2\n",
        "vendkey_calls_total{method=\"/vendkey.v1.TokenService/IssueToken\",reason=\"INVALID_FIELDS\"} 1\n",
        "vendkey_call_seconds_count{method=\"/vendkey.v1.TokenService/IssueToken\"} 3\n",
        "vendkey_tokens_total{class=\"0\",subclass=\"0\",replay=\"no\"} 1\n",
        "vendkey_tokens_total{class=\"0\",subclass=\"0\",replay=\"yes\"} 1\n",
        "vendkey_refusals_total{reason=\"INVALID_FIELDS\"} 1\n",
        "vendkey_connections{listener=\"main\"} 2\n",
        "vendkey_hsm_up 1\n",
        "vendkey_store_up 1\n",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    for secret in [&token.drn, &token.meter_pan, &token.token, &request.request_id] {
        assert!(!text.contains(secret.as_str()), "{secret} is in the metrics");
    }
}

#[tokio::test]
async fn administrators_have_a_listener_of_their_own() {
    let (home, server) = with_settings("[administration]\nlisten = '127.0.0.1:0'\n");
    let administration = server.administration.clone().expect("a second listener");
    let mut tills = server.api(&home).await;
    let mut administrators = Api::connect(&administration, &home.credential()).await;
    let configuration = administrators.configuration(DKGA04).await;
    tills.issue(ten_kwh(&configuration)).await.unwrap();
    let mut lost = Api::connect(&administration, &home.till()).await;
    let refused = lost.issue(ten_kwh(&configuration)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    // There tokens are read, with the right to it, and verified.
    let rows = administrators.tokens.list_issued_tokens(ListIssuedTokensRequest::default()).await;
    let rows = rows.unwrap().into_inner().tokens;
    assert_eq!((rows.len(), rows[0].token.as_str()), (1, ""), "rows without digits");
    let one = GetIssuedTokenRequest { by: Some(By::Name(rows[0].name.clone())) };
    let one = administrators.tokens.get_issued_token(one).await.unwrap().into_inner();
    let bits: Vec<String> = one.bit_layout.iter().map(|field| field.bits.clone()).collect();
    assert_eq!((one.token.as_str(), bits.concat().len()), ("", 66));
    let listed = tills.configurations.list_configurations(ListConfigurationsRequest::default()).await;
    assert_eq!(listed.unwrap_err().code(), Code::Unimplemented);
    for endpoint in [&server.endpoint, &administration] {
        let channel = Endpoint::from_shared(endpoint.clone()).unwrap().connect().await.unwrap();
        healthy(channel).await.unwrap();
    }
    assert!(server.stop().success());
}
