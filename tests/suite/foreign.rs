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

/// Stands before a server and loses the answer to the first request, as a network does: the server
/// has done what was asked for.
fn losing_the_first_answer(server: String) -> String {
    use std::io::{Read as _, Write as _};
    use std::net::{Shutdown, TcpListener, TcpStream};
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for (number, client) in listener.incoming().enumerate() {
            let mut client = client.unwrap();
            let mut to_server = TcpStream::connect(&server).unwrap();
            let (mut from_client, mut answers) =
                (client.try_clone().unwrap(), to_server.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut from_client, &mut to_server));
            std::thread::spawn(move || {
                let mut buffer = [0; 16_384];
                while let Ok(length @ 1..) = answers.read(&mut buffer) {
                    if number == 0 || client.write_all(&buffer[..length]).is_err() {
                        break;
                    }
                }
                let _ = client.shutdown(Shutdown::Both);
            });
        }
    });
    own
}

/// The programs of docs/clients that need no gRPC: what they sell over a connection that loses the
/// first answer is sold once.
#[tokio::test]
async fn python_and_node_issue_over_http_and_ask_again() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let configuration = api.configuration(DKGA04).await.name;
    let programs = [("/usr/bin/python3", "issue_http.py"), ("node", "issue_http.mjs")];
    for (number, (interpreter, program)) in programs.into_iter().enumerate() {
        let issue = |url: &str, meter: &str| {
            Command::new(interpreter)
                .arg(format!("{}/docs/clients/{program}", env!("CARGO_MANIFEST_DIR")))
                .args([url, &home.text("till"), &configuration, meter, "25.5"])
                .env("NO_PROXY", "127.0.0.1")
                .output()
                .unwrap()
        };
        let breaking = losing_the_first_answer(server.endpoint.trim_start_matches("http://").to_owned());
        let ran = issue(&breaking, "47500150231");
        assert!(ran.status.success(), "{program}: {}", String::from_utf8_lossy(&ran.stderr));
        let token = String::from_utf8(ran.stdout).unwrap().trim().to_owned();
        let request =
            vendkey::api::v1::ListIssuedTokensRequest { page_size: 100, digits: true, ..Default::default() };
        let listed = api.tokens.list_issued_tokens(request).await.unwrap().into_inner().tokens;
        let tokens: Vec<&str> = listed.iter().map(|token| token.token.as_str()).collect();
        assert_eq!(tokens.len(), number + 1, "{program}: sold once");
        assert!(tokens.contains(&token.as_str()), "{program}: {token}");
        let refused = issue(&server.endpoint, "1");
        assert_eq!(refused.status.code(), Some(1), "{program}");
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(said.starts_with("INVALID_FIELDS: meter"), "{program}: {said}");
    }
}
