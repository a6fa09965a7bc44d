//! gRPC-Web by a client of another hand: Node's `fetch`, with frames made by hand.

use std::process::Command;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{Method, Request, StatusCode};
use prost::Message as _;
use vendkey::api::v1::IssuedToken;

use crate::{
    harness::{Api, DKGA04, Home, Raw, Server, ten_kwh},
    wire::scrape,
};

const ISSUE: &str = "/vendkey.v1.TokenService/IssueToken";
const ORIGIN: &str = "https://tills.example";

fn fetched(server: &Server, form: &str, credential: &str, message: &[u8], origin: &str) -> serde_json::Value {
    let ran = Command::new("node")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/foreign/grpc_web.mjs"))
        .args([&format!("{}{ISSUE}", server.endpoint), form, credential, &STANDARD.encode(message), origin])
        .env("NO_PROXY", "127.0.0.1")
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    serde_json::from_slice(&ran.stdout).unwrap()
}

#[tokio::test]
async fn pages_issue_in_bytes_and_as_text_under_the_same_rules() {
    let home = Home::new();
    home.write_settings(&format!(
        "[http]\norigins = '{ORIGIN}'\n[wire]\nmessage_bytes = 65536\n[metrics]\nlisten = '127.0.0.1:0'\n"
    ));
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let configuration = api.configuration(DKGA04).await;
    let request = ten_kwh(&configuration);
    let message = request.encode_to_vec();
    let till = home.till();
    let mut digits = Vec::new();
    for (form, kind) in [("bytes", "application/grpc-web+proto"), ("text", "application/grpc-web-text+proto")]
    {
        let told = fetched(&server, form, &till, &message, "");
        assert_eq!((told["status"].as_u64(), told["kind"].as_str()), (Some(200), Some(kind)), "{told}");
        assert_eq!(told["trailers"]["grpc-status"], "0", "{told}");
        let issued = STANDARD.decode(told["message"].as_str().unwrap()).unwrap();
        digits.push(IssuedToken::decode(issued.as_slice()).unwrap().token);

        // Who may not, what is wrong, and what is too large.
        let status = |message: &[u8], credential: &str| {
            let told = fetched(&server, form, credential, message, "");
            assert_eq!(told["status"], 200, "{told}");
            (told["trailers"]["grpc-status"].as_str().unwrap().to_owned(), told.to_string())
        };
        assert_eq!(status(&message, "").0, "16", "no credential");
        let (code, told) = status(&ten_kwh(&Default::default()).encode_to_vec(), &till);
        assert_eq!(code, "3", "{told}");
        assert!(told.contains("grpc-status-details-bin"), "{told}");
        assert_ne!(status(&vec![0x0a; 70_000], &till).0, "0", "too large");
        // A page of a host that is named, and of one that is not.
        let named = fetched(&server, form, &till, &message, ORIGIN);
        assert_eq!(named["trailers"]["access-control-allow-origin"], ORIGIN, "{named}");
        let other = fetched(&server, form, &till, &message, "https://evil.example");
        assert_eq!(other["status"], 403, "{other}");
    }
    // The same request, so the same token: by gRPC too.
    digits.push(Api::connect(&server.endpoint, &till).await.issue(request).await.unwrap().token);
    assert!(digits.iter().all(|token| *token == digits[0] && token.len() == 20), "{digits:?}");

    // Each is counted as a call of gRPC.
    let text = scrape(&home);
    for (reason, calls) in [("OK", 5), ("INVALID_FIELDS", 2), ("CREDENTIAL_MISSING", 2)] {
        let line = format!("vendkey_calls_total{{method=\"{ISSUE}\",reason=\"{reason}\"}} {calls}\n");
        assert!(text.contains(&line), "{line} is not in\n{text}");
    }

    // A browser asks first.
    let mut raw = Raw::connect(&server.endpoint).await;
    for (origin, status) in
        [(ORIGIN, StatusCode::NO_CONTENT), ("https://evil.example", StatusCode::FORBIDDEN)]
    {
        let asks = Request::builder()
            .method(Method::OPTIONS)
            .uri(ISSUE)
            .header("origin", origin)
            .header("access-control-request-method", "POST");
        let answer = raw.send(asks, Vec::new()).await;
        assert_eq!(answer.status, status, "{origin}");
        if status == StatusCode::NO_CONTENT {
            let allowed = answer.headers["access-control-allow-headers"].to_str().unwrap().to_owned();
            assert!(allowed.contains("x-grpc-web") && allowed.contains("authorization"), "{allowed}");
        }
    }
}
