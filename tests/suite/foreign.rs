//! A client in another language, with other gRPC code: Python's grpcio.

use std::process::Command;

use crate::harness::{Administrator, DKGA04, Home, Server};
use vendkey::api::{DESCRIPTORS, v1::GetServerKeyRequest};

#[tokio::test]
async fn python_uploads_and_issues() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let server_key = api.configurations.get_server_key(GetServerKeyRequest {}).await.unwrap().into_inner();
    let administrator = Administrator::new(&server_key.public_key_pem);
    let [data, digest, key] = administrator.files(&administrator.encrypt(DKGA04));
    let public_key = administrator.path("public.pem");
    std::fs::write(&public_key, administrator.public_key()).unwrap();

    let target = api.configuration(&DKGA04.replace("key_revision_no: 1", "key_revision_no: 2")).await.name;

    // From the descriptors that reflection gives: nothing else has to be installed, not even
    // Google's own proto files.
    let descriptors = administrator.path("descriptors.bin");
    std::fs::write(&descriptors, DESCRIPTORS).unwrap();
    let stubs = administrator.path("stubs");
    std::fs::create_dir(&stubs).unwrap();
    let files =
        ["attributes", "configuration", "public_key", "token"].map(|name| format!("vendkey/v1/{name}.proto"));
    let made = Command::new("protoc")
        .args(["--descriptor_set_in", &descriptors, "--python_out", &stubs, "--grpc_python_out", &stubs])
        .arg("--plugin=protoc-gen-grpc_python=/usr/bin/grpc_python_plugin")
        .args(files)
        .args(["google/api/annotations.proto", "google/api/http.proto"])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));

    let address = server.endpoint.trim_start_matches("http://");
    let ran = Command::new("/usr/bin/python3")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/foreign/client.py"))
        .args([
            &stubs,
            address,
            &home.text("credential"),
            &home.text("till"),
            &data,
            &digest,
            &key,
            &public_key,
            &target,
        ])
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let said: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(said["configuration"]["state"], "ENABLED");
    assert_eq!(said["first"]["token"].as_str().unwrap().len(), 20);
    assert_eq!(said["first"]["token"], said["again"]["token"]);
    assert_eq!(said["again"]["replay"], true);
    assert_eq!(said["packed"]["token"], said["first"]["token"]);
    let verified = said["verified"].as_object().unwrap();
    assert_eq!(verified.len(), 16);
    for (kind, result) in verified {
        assert_eq!(result, if kind == "meter_test" { "METER_TEST" } else { "VALID" }, "{kind}");
    }
    assert_eq!(said["change"], serde_json::json!(["VALID", "VALID"]));
    assert_eq!(said["refused"]["code"], "INVALID_ARGUMENT");
    assert_eq!(said["anonymous"], "UNAUTHENTICATED");

    // The program of docs/clients.md.
    let configuration = said["configuration"]["name"].as_str().unwrap();
    let issue = |meter: &str| {
        Command::new("/usr/bin/python3")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/clients/issue.py"))
            .args([address, &home.text("till"), configuration, meter, "25.5"])
            .env("PYTHONPATH", &stubs)
            .output()
            .unwrap()
    };
    let ran = issue("47500150231");
    let token = String::from_utf8(ran.stdout).unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    assert!(token.trim().len() == 20 && token.trim().bytes().all(|byte| byte.is_ascii_digit()), "{token}");
    let refused = issue("1");
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).starts_with("INVALID_ARGUMENT: meter"));
}
