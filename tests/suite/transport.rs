//! Who gets in: credentials, TLS, health, reflection.

use std::fs;

use tonic::{
    Code,
    transport::{Certificate, ClientTlsConfig, Endpoint},
};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use vendkey::api::v1::ListConfigurationsRequest;

use crate::harness::{Api, Home, Server, openssl, reason};

async fn health(channel: tonic::transport::Channel, service: &str) -> ServingStatus {
    let request = HealthCheckRequest { service: service.to_owned() };
    HealthClient::new(channel).check(request).await.unwrap().into_inner().status()
}

#[tokio::test]
async fn every_call_needs_a_credential() {
    let home = Home::new();
    let server = Server::start(&home);
    let good = home.credential();
    let wrong_secret = format!("{}{}", &good[..good.len() - 1], if good.ends_with('0') { '1' } else { '0' });
    let unknown = format!("vendkey_{}{}", "0".repeat(16), &good[24..]);
    for (credential, expected) in [
        (wrong_secret.as_str(), "CREDENTIAL_REFUSED"),
        (&unknown, "CREDENTIAL_REFUSED"),
        (&good[..good.len() - 1], "CREDENTIAL_MISSING"),
        ("", "CREDENTIAL_MISSING"),
        ("x", "CREDENTIAL_MISSING"),
    ] {
        let mut api = Api::connect(&server.endpoint, credential).await;
        let status =
            api.configurations.list_configurations(ListConfigurationsRequest::default()).await.unwrap_err();
        assert_eq!((status.code(), reason(&status).as_str()), (Code::Unauthenticated, expected));
        let status = api.issue(vendkey::api::v1::IssueTokenRequest::default()).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated);
    }
    let log = home.log();
    let secret = good.rsplit('_').next().unwrap();
    assert!(!log.contains(secret), "the log holds a secret");
}

#[tokio::test]
async fn health_needs_none_and_says_serving() {
    let home = Home::new();
    let server = Server::start(&home);
    let channel = Endpoint::from_shared(server.endpoint.clone()).unwrap().connect().await.unwrap();
    for service in ["", "vendkey.v1.TokenService", "vendkey.v1.ClientService", "vendkey.v1.ApprovalService"] {
        assert_eq!(health(channel.clone(), service).await, ServingStatus::Serving, "{service}");
    }
}

#[tokio::test]
async fn tls_with_certificate_files() {
    let home = Home::new();
    openssl(
        &[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
            "-keyout",
            &home.text("tls.key"),
            "-out",
            &home.text("tls.pem"),
        ],
        b"",
    );
    home.write_settings("[server.tls]\ncertificate_file = 'tls.pem'\nkey_file = 'tls.key'\n");
    let server = Server::start(&home);
    let port = server.endpoint.rsplit(':').next().unwrap();
    assert!(server.endpoint.starts_with("https://"));
    let endpoint = format!("https://localhost:{port}");
    let ca = Certificate::from_pem(fs::read(home.path("tls.pem")).unwrap());
    let endpoint_with = |tls| Endpoint::from_shared(endpoint.clone()).unwrap().tls_config(tls).unwrap();
    let channel = endpoint_with(ClientTlsConfig::new().ca_certificate(ca)).connect().await.unwrap();
    assert_eq!(health(channel, "").await, ServingStatus::Serving);
    assert!(
        endpoint_with(ClientTlsConfig::new()).connect().await.is_err(),
        "an unknown authority is refused"
    );
    let plain = Endpoint::from_shared(format!("http://127.0.0.1:{port}")).unwrap().connect().await;
    if let Ok(channel) = plain {
        let request = HealthCheckRequest::default();
        HealthClient::new(channel).check(request).await.unwrap_err();
    }

    let listed = home.vendkey(&[
        "configuration",
        "list",
        "--json",
        "--endpoint",
        &endpoint,
        "--ca",
        &home.text("tls.pem"),
    ]);
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
}

#[tokio::test]
async fn reflection_lists_the_services() {
    use tokio_stream::{StreamExt as _, once};
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let home = Home::new();
    let server = Server::start(&home);
    let channel = Endpoint::from_shared(server.endpoint.clone()).unwrap().connect().await.unwrap();
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut request = tonic::Request::new(once(request));
    let bearer = format!("Bearer {}", home.credential()).parse().unwrap();
    request.metadata_mut().insert("authorization", bearer);
    let mut answers =
        ServerReflectionClient::new(channel).server_reflection_info(request).await.unwrap().into_inner();
    let Some(MessageResponse::ListServicesResponse(list)) =
        answers.next().await.unwrap().unwrap().message_response
    else {
        panic!("no list");
    };
    let names: Vec<String> = list.service.into_iter().map(|service| service.name).collect();
    for name in ["vendkey.v1.TokenService", "vendkey.v1.PublicKeyService", "grpc.health.v1.Health"] {
        assert!(names.iter().any(|found| found == name), "{name} is not in {names:?}");
    }
}

#[tokio::test]
async fn sigterm_ends_it_in_order() {
    let home = Home::new();
    assert!(Server::start(&home).stop().success());
}
