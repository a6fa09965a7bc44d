//! What is spoken on a port, and what is told to whoever speaks something else: content types,
//! methods, HTTP/1, TLS or none, and bytes that are no message.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use http::{Method, Request, StatusCode, header::CONTENT_TYPE};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, transport::Endpoint};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_types::StatusExt as _;
use vendkey::api::v1::{
    BatchIssueTokensRequest, GetIssuedTokenRequest, IssueTokenRequest, IssuedToken,
    get_issued_token_request::By, token_result,
};

use crate::harness::{
    Answer, Api, Authority, Home, Raw, Server, Validity, flagged, framed, grpc, issued, meter_test, post,
    reason,
};

const ISSUE: &str = "/vendkey.v1.TokenService/IssueToken";

fn address(server: &Server) -> &str {
    server.endpoint.rsplit('/').next().unwrap()
}

/// What the server answers to bytes on a bare connection, until it closes it.
fn told(server: &Server, bytes: &[u8]) -> String {
    let mut tcp = TcpStream::connect(address(server)).unwrap();
    tcp.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    tcp.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    tcp.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// One line and no more, of these words.
fn one_line(answer: &Answer, words: &str) {
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    assert!(text.contains(words) && text.ends_with('\n') && text.lines().count() == 1, "{text:?}");
    assert_eq!(answer.headers[CONTENT_TYPE], "text/plain");
}

/// The ledger holds nothing for this request.
async fn nothing_done(api: &mut Api, request: &IssueTokenRequest) {
    let by = Some(By::RequestId(request.request_id.clone()));
    let status = api.tokens.get_issued_token(GetIssuedTokenRequest { by }).await.unwrap_err();
    assert_eq!(reason(&status), "TOKEN_NOT_FOUND");
}

/// A server with a certificate of a new authority.
fn with_tls(home: &Home) -> (Server, Authority) {
    let authority = Authority::new(home, "authority");
    authority.sign(home, "server", &Validity::Good);
    home.write_settings("[server.tls]\ncertificate_file = 'server.pem'\nkey_file = 'server.key'\n");
    (Server::start(home), authority)
}

/// What openssl's client sees of a server that it sends `input`.
fn over_tls(server: &Server, options: &[&str], input: &[u8]) -> (bool, String) {
    let mut client = Command::new("openssl")
        .args(["s_client", "-connect", address(server), "-servername", "localhost", "-quiet"])
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may have gone already.
    let _ = client.stdin.take().unwrap().write_all(input);
    let output = client.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[tokio::test]
async fn other_content_types_get_415_and_do_nothing() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let mut raw = Raw::connect(&server.endpoint).await;
    let request = meter_test();
    let message = framed(&request.encode_to_vec());
    for kind in [
        None,
        Some("text/plain"),
        Some("application/json"),
        Some("application/x-www-form-urlencoded"),
        Some("multipart/form-data; boundary=x"),
        Some("application/octet-stream"),
        Some("application/protobuf"),
        Some("application/grpc+json"),
        Some("application/grpc-web+json"),
        Some("application/grpc-web-text+thrift"),
        Some("application/grpcx"),
    ] {
        for path in [ISSUE, "/grpc.health.v1.Health/Check", "/", "/nothing"] {
            let call =
                kind.into_iter().fold(post(path, &home.till()), |call, kind| call.header(CONTENT_TYPE, kind));
            let answer = raw.send(call, message.clone()).await;
            assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{kind:?} {path}");
            one_line(&answer, "application/grpc");
        }
    }
    nothing_done(&mut api, &request).await;
    for kind in ["application/grpc", "application/grpc+proto", "application/grpc; charset=utf-8"] {
        let call = post(ISSUE, &home.till()).header(CONTENT_TYPE, kind);
        let answer = raw.send(call, message.clone()).await;
        assert_eq!(answer.grpc().code(), Code::Ok, "{kind}");
        assert_eq!(IssuedToken::decode(&answer.messages()[0].1[..]).unwrap().request_id, request.request_id);
    }
}

#[tokio::test]
async fn other_methods_get_405() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let mut raw = Raw::connect(&server.endpoint).await;
    let request = meter_test();
    for method in [
        Method::GET,
        Method::HEAD,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
        Method::from_bytes(b"ISSUE").unwrap(),
    ] {
        let call = grpc(ISSUE, &home.till()).method(method.clone());
        let answer = raw.send(call, framed(&request.encode_to_vec())).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method}");
        assert_eq!(answer.headers["allow"], "POST");
        if method != Method::HEAD {
            one_line(&answer, "POST");
        }
    }
    nothing_done(&mut api, &request).await;
}

#[tokio::test]
async fn a_body_that_is_still_on_its_way_breaks_no_refusal() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut raw = Raw::connect(&server.endpoint).await;
    // More than the window of a stream: most of it comes after the answer is known.
    let large = vec![0; 3_000_000];
    for _ in 0..20 {
        let answer = raw.send(post(ISSUE, &home.till()), large.clone()).await;
        assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
        let answer = raw.send(grpc("/nothing", &home.till()), large.clone()).await;
        assert_eq!(reason(&answer.grpc()), "METHOD_UNKNOWN");
        let answer = raw.send(grpc(ISSUE, "none"), large.clone()).await;
        assert_eq!(reason(&answer.grpc()), "CREDENTIAL_MISSING");
    }
}

#[tokio::test]
async fn http_1_is_told_what_is_spoken() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let request = meter_test();
    let body = framed(&request.encode_to_vec());
    let issue = |kind: &str| {
        let head = format!(
            "POST {ISSUE} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
            home.till(),
            body.len()
        );
        [head.as_bytes(), &body].concat()
    };
    for bytes in [
        b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(),
        b"GET / HTTP/1.0\r\n\r\n".to_vec(),
        b"PUT / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n".to_vec(),
        b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n\r\n"
            .to_vec(),
        issue("application/grpc"),
        issue("application/json"),
    ] {
        let answer = told(&server, &bytes);
        let (head, text) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(" 505 HTTP Version Not Supported"), "{answer}");
        assert!(text.contains("gRPC") && text.contains("HTTP/2") && text.lines().count() == 1, "{answer}");
    }
    assert!(told(&server, b"hello\r\n\r\n").starts_with("HTTP/1.1 400 Bad Request\r\n"));
    nothing_done(&mut api, &request).await;
}

#[tokio::test]
async fn http_2_that_comes_byte_by_byte_is_understood() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut tcp = TcpStream::connect(address(&server)).unwrap();
    tcp.set_nodelay(true).unwrap();
    for byte in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0" {
        tcp.write_all(&[*byte]).unwrap();
    }
    let mut head = [0; 9];
    tcp.read_exact(&mut head).unwrap();
    assert_eq!(head[3..], [4, 0, 0, 0, 0, 0], "the server's settings");
}

#[tokio::test]
async fn plain_text_at_a_port_of_tls_is_told_so() {
    let home = Home::new();
    let (server, authority) = with_tls(&home);
    for bytes in [
        "GET / HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(),
        format!("POST {ISSUE} HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n12345"),
    ] {
        let answer = told(&server, bytes.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nthis port speaks TLS: use https://\n"), "{answer}");
    }
    // What a gRPC client without TLS shows to its user.
    let endpoint = format!("http://{}", address(&server));
    let channel = Endpoint::from_shared(endpoint.clone()).unwrap().connect().await.unwrap();
    let status = HealthClient::new(channel).check(HealthCheckRequest::default()).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, "TLS_REQUIRED"));
    assert_eq!(issued(&status), "no");
    let mut raw = Raw::connect(&endpoint).await;
    let request = meter_test();
    let answer = raw.send(grpc(ISSUE, &home.till()), framed(&request.encode_to_vec())).await;
    assert_eq!(reason(&answer.grpc()), "TLS_REQUIRED");
    let answer = raw.send(post("/", ""), "x").await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    one_line(&answer, "use https://");

    // Under TLS, HTTP/1.1 is told what is spoken.
    let ca = home.text(&authority.file());
    for options in [&["-alpn", "http/1.1"][..], &[]] {
        let options = [&["-CAfile", &ca], options].concat();
        let (_, said) = over_tls(&server, &options, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n");
        assert!(said.contains("505 HTTP Version Not Supported") && said.contains("gRPC"), "{said}");
    }
    let settings = ["configuration", "list", "--endpoint", &endpoint];
    let listed = home.vendkey(&settings);
    let said = String::from_utf8_lossy(&listed.stderr);
    assert!(!listed.status.success() && said.contains("use https://"), "{said}");
}

#[tokio::test]
async fn tls_at_a_plain_port_fails_and_is_in_the_log() {
    let home = Home::new();
    let server = Server::start(&home);
    let (reached, said) = over_tls(&server, &["-alpn", "h2"], b"");
    assert!(!reached, "{said}");
    let give_up = Instant::now() + Duration::from_secs(60);
    let says = |line: &str| {
        line.contains(" WARN ") && line.contains("the client speaks TLS, and this listener does not")
    };
    while !home.log().lines().any(says) {
        assert!(Instant::now() < give_up, "{}", home.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    server.api(&home).await.issue(meter_test()).await.unwrap();
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 0).unwrap()
}

#[tokio::test]
async fn what_the_transport_refuses_has_a_reason() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let mut raw = Raw::connect(&server.endpoint).await;
    let request = meter_test();
    let message = request.encode_to_vec();
    // Just too large, and 5 MB in some hundred bytes.
    let large = IssueTokenRequest { configuration: "x".repeat(4_194_304), ..request.clone() }.encode_to_vec();
    let bomb = vec![0; 5_000_000];
    let mut cut = gzip(&message);
    cut.truncate(cut.len() / 2);
    let malformed = (Code::Internal, "MESSAGE_MALFORMED");
    let too_large = (Code::ResourceExhausted, "MESSAGE_TOO_LARGE");
    let unknown = (Code::Unimplemented, "METHOD_UNKNOWN");
    let unsupported = (Code::Unimplemented, "COMPRESSION_UNSUPPORTED");
    for (what, path, encoding, body, expected) in [
        ("an unknown method", "/vendkey.v1.TokenService/Nothing", None, framed(&message), unknown),
        ("an unknown service", "/vendkey.v9.TokenService/IssueToken", None, framed(&message), unknown),
        ("no path", "/", None, framed(&message), unknown),
        ("nothing", ISSUE, None, vec![], malformed),
        ("a part of a frame's head", ISSUE, None, vec![0, 0], malformed),
        ("less than the frame says", ISSUE, None, framed(&message)[..20].to_vec(), malformed),
        ("an unknown flag", ISSUE, None, flagged(7, &message), malformed),
        ("a text", ISSUE, None, b"{\"meter\": \"47500150231\"}".to_vec(), malformed),
        ("no protobuf", ISSUE, None, framed(&[0xff; 20]), malformed),
        ("a field of another type", ISSUE, None, framed(&[0x08, 0x01]), malformed),
        ("a string that is no UTF-8", ISSUE, None, framed(&[0x0a, 0x02, 0xff, 0xfe]), malformed),
        ("packed, not said how", ISSUE, None, flagged(1, &gzip(&message)), malformed),
        ("packed as identity", ISSUE, Some("identity"), flagged(1, &gzip(&message)), malformed),
        ("not packed as it says", ISSUE, Some("gzip"), flagged(1, &message), malformed),
        ("not packed as it says", ISSUE, Some("zstd"), flagged(1, &message), malformed),
        ("packed and cut", ISSUE, Some("gzip"), flagged(1, &cut), malformed),
        ("too large", ISSUE, None, framed(&large), too_large),
        ("said to be too large", ISSUE, None, vec![0, 0xff, 0xff, 0xff, 0xff, 1], too_large),
        ("too large when unpacked", ISSUE, Some("gzip"), flagged(1, &gzip(&large)), too_large),
        ("a bomb", ISSUE, Some("gzip"), flagged(1, &gzip(&bomb)), too_large),
        ("a bomb", ISSUE, Some("zstd"), flagged(1, &zstd(&bomb)), too_large),
        ("an unknown packing", ISSUE, Some("br"), flagged(1, &message), unsupported),
        ("an unknown packing", ISSUE, Some("deflate"), flagged(1, &message), unsupported),
        (
            "an unknown packing of health",
            "/grpc.health.v1.Health/Check",
            Some("snappy"),
            framed(b""),
            unsupported,
        ),
    ] {
        let call = encoding
            .into_iter()
            .fold(grpc(path, &home.till()), |call, encoding| call.header("grpc-encoding", encoding));
        let answer = raw.send(call, body).await;
        let status = answer.grpc();
        let found = (status.code(), reason(&status));
        assert_eq!((found.0, found.1.as_str()), expected, "{what}: {status}");
        assert_eq!(status.get_error_details().error_info().unwrap().domain, "vendkey");
        assert_eq!(issued(&status), "no", "{what}");
        assert!(!status.message().is_empty(), "{what}");
        if expected == unsupported {
            assert_eq!(answer.headers["grpc-accept-encoding"], "gzip,zstd,identity");
        }
    }
    let call = grpc(ISSUE, &home.till()).header("x-filler", "a".repeat(20_000));
    let status = raw.send(call, framed(&message)).await.grpc();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::ResourceExhausted, "METADATA_TOO_LARGE"));
    nothing_done(&mut api, &request).await;
    assert!(!api.issue(request).await.unwrap().replay);
}

#[tokio::test]
async fn a_message_that_breaks_a_stream_leaves_its_tokens_in_doubt() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut raw = Raw::connect(&server.endpoint).await;
    let body = [framed(&meter_test().encode_to_vec()), framed(&[0xff; 20])].concat();
    let answer = raw.send(grpc("/vendkey.v1.TokenService/StreamTokens", &home.till()), body).await;
    let status = answer.grpc();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Internal, "MESSAGE_MALFORMED"));
    assert_eq!(issued(&status), "maybe");
}

#[tokio::test]
async fn an_answer_that_is_too_large_leaves_its_tokens_in_doubt() {
    let home = Home::new();
    home.write_settings("[wire]\nmessage_bytes = 65536\n");
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let requests: Vec<_> = (0..900).map(|_| meter_test()).collect();
    let batch = BatchIssueTokensRequest { requests: requests.clone() };
    assert!(batch.encoded_len() <= 65_536);
    let status = api.tokens.batch_issue_tokens(batch).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::ResourceExhausted, "MESSAGE_TOO_LARGE"));
    assert_eq!(issued(&status), "maybe");
    // In smaller batches the same requests get the same tokens.
    let batch = BatchIssueTokensRequest { requests: requests[..50].to_vec() };
    for result in api.tokens.batch_issue_tokens(batch).await.unwrap().into_inner().results {
        let Some(token_result::Result::Token(token)) = result.result else { panic!("{result:?}") };
        assert!(token.replay);
    }
}

#[tokio::test]
async fn one_wrong_stream_does_not_end_the_others() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let (requests, receiver) = mpsc::channel(4);
    let mut answers = api.tokens.stream_tokens(ReceiverStream::new(receiver)).await.unwrap().into_inner();
    let mut raw = Raw::connect(&server.endpoint).await;
    let get = Request::get("http://localhost/");
    assert_eq!(raw.send(get, "").await.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(raw.send(post("/", ""), "").await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let answer = raw.send(grpc(ISSUE, &home.till()), framed(&meter_test().encode_to_vec())).await;
    assert_eq!(answer.grpc().code(), Code::Ok);
    requests.send(meter_test()).await.unwrap();
    assert!(answers.message().await.unwrap().is_some());
}
