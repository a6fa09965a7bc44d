//! Known answers before the server says SERVING.

use tonic::{Code, transport::Endpoint};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use uuid::Uuid;
use vendkey::api::v1::{
    AllTests, IssueKeyChangeRequest, IssueTokenRequest, MeterTest, VerifyTokenRequest,
    issue_token_request::Content, meter_test,
};

use crate::harness::{DKGA04, DRN, Home, Server, reason, ten_kwh};

#[test]
fn the_command_prints_every_algorithm() {
    let home = Home::new();
    let output = home.vendkey(&["selftest", "--settings", &home.text("vendkey.toml")]);
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{out}{err}");
    for algorithm in [
        "SHA-256",
        "HMAC-SHA-256",
        "DES",
        "AES-128",
        "AES-256-GCM",
        "RSA PKCS#1 v1.5",
        "RSA PSS",
        "CRC",
        "EA07",
        "EA09",
        "EA11",
        "token under DKGA02 and EA07",
        "token under DKGA04 and EA11",
        "DKGA04 derivation",
        "audit signature",
        "own keys",
    ] {
        assert!(out.contains(algorithm), "{algorithm} is not in\n{out}");
    }
    assert!(!out.contains("FAILED") && out.contains("tests passed"), "{out}");

    let output = home
        .command(&["selftest", "--settings", &home.text("vendkey.toml")])
        .env("VENDKEY_FAIL_AT", "selftest")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stdout).unwrap().contains("FAILED"));
}

#[tokio::test]
async fn a_failed_self_test_latches() {
    let home = Home::new();
    let request = {
        let server = Server::start(&home);
        let mut api = server.api(&home).await;
        let request = ten_kwh(&api.configuration(DKGA04).await);
        api.issue(request.clone()).await.unwrap();
        request
    };
    let server = Server::start_with(&home, &[("VENDKEY_FAIL_AT", "selftest")]);
    let channel = Endpoint::from_shared(server.endpoint.clone()).unwrap().connect().await.unwrap();
    let health = HealthClient::new(channel).check(HealthCheckRequest::default()).await.unwrap();
    assert_eq!(health.into_inner().status(), ServingStatus::NotServing);
    let mut api = server.api(&home).await;
    let display = IssueTokenRequest {
        request_id: Uuid::now_v7().to_string(),
        content: Some(Content::MeterTest(MeterTest {
            test: Some(meter_test::Test::All(AllTests {})),
            ..MeterTest::default()
        })),
        ..IssueTokenRequest::default()
    };
    // A new request, a retry of a token that exists, and a token that needs no key.
    let fresh = IssueTokenRequest { request_id: Uuid::now_v7().to_string(), ..request.clone() };
    for refused in [fresh, request.clone(), display] {
        let status = api.issue(refused).await.unwrap_err();
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::Unavailable, "SELFTEST_FAILED"),
            "{status:?}"
        );
        assert!(status.message().contains("asked for"), "the reason is told: {status:?}");
    }
    let configuration = request.configuration.clone();
    let change = IssueKeyChangeRequest {
        source: configuration.clone(),
        target: format!("configurations/{}", Uuid::nil()),
        meter: DRN.to_owned(),
        request_id: Uuid::now_v7().to_string(),
        ..IssueKeyChangeRequest::default()
    };
    let look = VerifyTokenRequest {
        token: "70630503470028726114".to_owned(),
        configuration,
        meter: DRN.to_owned(),
        ..VerifyTokenRequest::default()
    };
    let refusals = [
        api.tokens.issue_key_change(change).await.unwrap_err(),
        api.tokens.verify_token(look).await.unwrap_err(),
    ];
    for status in refusals {
        assert_eq!(reason(&status), "SELFTEST_FAILED", "{status:?}");
    }
    drop(server);

    // Another process that passes its tests serves again, with the same digits.
    let server = Server::start(&home);
    assert!(server.api(&home).await.issue(request).await.unwrap().replay);
    assert!(home.log().contains("a self-test failed: nothing will be issued"));
}
