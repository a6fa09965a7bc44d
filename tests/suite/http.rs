//! HTTP with JSON: `curl` as the client, and the same answers and refusals as over gRPC.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use http::{Request, StatusCode, header::CONTENT_TYPE};
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor, Value};
use serde_json::{Value as Json, json};
use tonic_types::StatusExt as _;
use uuid::Uuid;
use vendkey::api::DESCRIPTORS;

use crate::harness::{Administrator, DKGA04, DRN, Home, Raw, Server, framed, grpc, ten_kwh};

/// What `curl` said: the status and the body.
struct Told {
    status: u16,
    headers: String,
    body: String,
}

impl Told {
    fn json(&self) -> Json {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    fn reason(&self) -> String {
        self.json()["details"][0]["reason"].as_str().unwrap_or_default().to_owned()
    }
}

/// Runs `curl` on a path, with a body where one is given.
fn curl(server: &Server, credential: &str, arguments: &[&str], path: &str, body: Option<&str>) -> Told {
    let mut command = Command::new("curl");
    command.args(["-sS", "-i", "--max-time", "60", "-H", &format!("Authorization: Bearer {credential}")]);
    if body.is_some() {
        command.args(["-H", "Content-Type: application/json", "--data-binary", "@-"]);
    }
    command.args(arguments).arg(format!("{}{path}", server.endpoint));
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(body.unwrap_or_default().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let (headers, body) = text.split_once("\r\n\r\n").unwrap();
    let status = headers.split(' ').nth(1).unwrap().parse().unwrap();
    Told { status, headers: headers.to_lowercase(), body: body.to_owned() }
}

#[tokio::test]
async fn curl_uploads_vends_repeats_and_lists() {
    let home = Home::new();
    let server = Server::start(&home);
    let (admin, till) = (home.credential(), home.till());
    let key = curl(&server, &admin, &[], "/v1/serverKey", None).json();
    let administrator = Administrator::new(key["publicKeyPem"].as_str().unwrap());
    // In one line, as `base64 -w 0` gives it.
    let public_key = crate::harness::base64(&administrator.public_key()).replace('\n', "");
    let body = json!({"publicKey": public_key, "displayName": "curl"}).to_string();
    let registered = curl(&server, &admin, &[], "/v1/publicKeys", Some(&body));
    assert_eq!(registered.status, 200, "{}", registered.body);

    let blobs = administrator.encrypt(DKGA04);
    let body = json!({"data": blobs.data, "digest": blobs.digest, "key": blobs.key}).to_string();
    let uploaded = curl(&server, &admin, &[], "/v1/configurations:upload", Some(&body)).json();
    let configuration = uploaded["configuration"]["name"].as_str().unwrap().to_owned();
    assert_eq!(uploaded["configuration"]["state"], "ENABLED");

    let request_id = Uuid::now_v7().to_string();
    let body = json!({"configuration": configuration, "meter": DRN, "electricityCredit": {"decimal": "10"}});
    let keyed = ["-H", &format!("Idempotency-Key: {request_id}")];
    let first = curl(&server, &till, &keyed, "/v1/tokens:issue", Some(&body.to_string()));
    assert_eq!(first.status, 200, "{}", first.body);
    let first = first.json();
    assert_eq!(first["requestId"], request_id.as_str());
    // The same over HTTP/2, with the id in the body.
    let mut again = body.clone();
    again["requestId"] = request_id.as_str().into();
    let http2 = ["--http2-prior-knowledge"];
    let again = curl(&server, &till, &http2, "/v1/tokens:issue", Some(&again.to_string()));
    assert!(again.headers.starts_with("http/2 200"), "{}", again.headers);
    assert_eq!((&again.json()["token"], &again.json()["replay"]), (&first["token"], &json!(true)));

    let name = first["name"].as_str().unwrap();
    let by_name = curl(&server, &till, &[], &format!("/v1/{name}"), None).json();
    let by_request =
        curl(&server, &till, &[], &format!("/v1/issuedTokens:byRequest?requestId={request_id}"), None).json();
    assert_eq!((&by_name["token"], &by_request["token"]), (&first["token"], &first["token"]));
    let pan = first["meterPan"].as_str().unwrap();
    let listed =
        curl(&server, &till, &[], &format!("/v1/issuedTokens?meterPan={pan}&digits=true"), None).json();
    assert_eq!(listed["tokens"][0]["token"], first["token"]);
    let verify = json!({"token": first["token"], "configuration": configuration, "meter": DRN}).to_string();
    assert_eq!(curl(&server, &till, &[], "/v1/tokens:verify", Some(&verify)).json()["result"], "VALID");

    // An act on a resource needs no body.
    let act = |verb: &str| {
        curl(&server, &admin, &["-X", "POST"], &format!("/v1/{configuration}:{verb}"), None).json()
    };
    assert_eq!(act("disable")["state"], "DISABLED");
    assert_eq!(act("enable")["state"], "ENABLED");
}

#[tokio::test]
async fn lines_of_json_are_a_stream_both_ways() {
    let home = Home::new();
    let server = Server::start(&home);
    let configuration = server.api(&home).await.configuration(DKGA04).await.name;
    let order = |meter: &str| {
        json!({"configuration": configuration, "meter": meter, "requestId": Uuid::now_v7().to_string(),
               "electricityCredit": {"decimal": "1"}})
        .to_string()
    };
    let lines = format!("{}\n\n{}\r\n{}", order(DRN), order("1"), order(DRN));
    let kind = ["-H", "Content-Type: application/x-ndjson"];
    let stream = |body: &str| {
        let body = body.to_owned();
        curl(
            &server,
            &home.till(),
            &[&kind[..], &["--data-binary", &body]].concat(),
            "/v1/tokens:stream",
            None,
        )
    };
    let told = stream(&lines);
    assert_eq!(told.status, 200, "{}", told.body);
    assert!(told.headers.contains("content-type: application/x-ndjson"));
    let answers: Vec<Json> = told.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), 3);
    assert_eq!(answers[0]["token"]["token"].as_str().unwrap().len(), 20);
    assert_eq!(answers[1]["refusal"]["reason"], "INVALID_FIELDS");
    assert_eq!(answers[2]["token"]["token"].as_str().unwrap().len(), 20);

    // A line that is no message ends the stream, and the last line says why.
    let told = stream(&format!("{}\n{{\"metre\":\"1\"}}\n", order(DRN)));
    let last: Json = serde_json::from_str(told.body.lines().last().unwrap()).unwrap();
    assert_eq!(last["error"]["details"][0]["reason"], "JSON_MALFORMED", "{}", told.body);
    assert!(last["error"]["message"].as_str().unwrap().starts_with("line 2: "), "{last}");
    // What the lines before it asked for may be issued.
    assert_eq!(last["error"]["details"][0]["metadata"]["issued"], "maybe", "{last}");
}

#[tokio::test]
async fn what_cannot_be_served_is_told_and_nothing_is_done() {
    let home = Home::new();
    let server = Server::start(&home);
    let till = home.till();
    let issue = "/v1/tokens:issue";
    for (arguments, path, body, status, reason) in [
        (&[][..], "/v1/none", None, 404, "METHOD_UNKNOWN"),
        (&[], issue, None, 405, "METHOD_UNKNOWN"),
        (&["-X", "DELETE"], "/v1/configurations/1", None, 405, "METHOD_UNKNOWN"),
        (&["-X", "POST"], "/openapi.json", None, 405, "METHOD_UNKNOWN"),
        (&[], issue, Some("{"), 400, "JSON_MALFORMED"),
        (&[], issue, Some("\"\u{fffd}\""), 400, "JSON_MALFORMED"),
        (&[], issue, Some(r#"{"metre":"1"}"#), 400, "JSON_MALFORMED"),
        (&[], issue, Some(r#"{"meter":"1"}"#), 400, "INVALID_FIELDS"),
        (&[], "/v1/issuedTokens?colour=red", None, 400, "INVALID_FIELDS"),
        (&[], "/v1/issuedTokens/x", None, 400, "INVALID_FIELDS"),
        (&[], "/v1/issuedTokens/99", None, 404, "TOKEN_NOT_FOUND"),
        (&[], "/v1/clients", None, 403, "PERMISSION_DENIED"),
        (&["-H", "Origin: https://evil.example"], "/v1/issuedTokens", None, 403, "PERMISSION_DENIED"),
    ] {
        let told = curl(&server, &till, arguments, path, body);
        assert_eq!((told.status, told.reason().as_str()), (status, reason), "{path} {body:?}: {}", told.body);
        assert_eq!(told.headers.contains("\nallow: "), status == 405, "{path}");
    }
    let large = format!(r#"{{"meter":"{}"}}"#, "1".repeat(10 << 20));
    let told = curl(&server, &till, &["-H", "Expect:"], issue, Some(&large));
    assert_eq!((told.status, told.reason().as_str()), (413, "MESSAGE_TOO_LARGE"));

    // Who has no credential is told so first, whatever they sent.
    let told = curl(&server, "wrong", &[], issue, Some("{"));
    assert_eq!((told.status, told.reason().as_str()), (401, "CREDENTIAL_MISSING"));
    assert!(told.headers.contains("www-authenticate: bearer"), "{}", told.headers);

    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/grpc-web", ""] {
        let header = format!("Content-Type: {kind}");
        let told = curl(&server, &till, &["-H", &header, "-d", r#"{"meter":"1"}"#], issue, None);
        assert_eq!(told.status, 415, "{kind}");
        assert!(told.body.contains("application/json"), "{}", told.body);
    }
    // The paths of gRPC take gRPC alone.
    let told =
        curl(&server, &till, &["--http2-prior-knowledge"], "/vendkey.v1.TokenService/IssueToken", Some("{}"));
    assert_eq!(told.status, 415);
}

#[tokio::test]
async fn pages_of_named_origins_may_call() {
    let home = Home::new();
    home.write_settings("[http]\norigins = 'https://console.example'\n");
    let server = Server::start(&home);
    let origin = ["-H", "Origin: https://console.example"];
    let told = curl(&server, &home.till(), &origin, "/v1/issuedTokens", None);
    assert_eq!(told.status, 200, "{}", told.body);
    assert!(told.headers.contains("access-control-allow-origin: https://console.example"));
    let asks = [&origin[..], &["-X", "OPTIONS", "-H", "Access-Control-Request-Method: POST"]].concat();
    let told = curl(&server, "", &asks, "/v1/tokens:issue", None);
    assert_eq!(told.status, 204, "{}", told.body);
    assert!(told.headers.contains("access-control-allow-methods: post"), "{}", told.headers);
    assert!(told.headers.contains("idempotency-key"));
}

#[tokio::test]
async fn it_can_be_switched_off() {
    let home = Home::new();
    home.write_settings("[http]\nenabled = false\n");
    let server = Server::start(&home);
    assert_eq!(curl(&server, &home.till(), &[], "/v1/issuedTokens", None).status, 505);
}

/// A message whose fields of texts that name resources have these values.
fn message(method: &MethodDescriptor, names: &[(String, String)]) -> DynamicMessage {
    let mut message = DynamicMessage::new(method.input());
    for (field, value) in names {
        message.set_field_by_name(field, Value::String(value.clone()));
    }
    message
}

/// Every method, asked for something that is not there and for nothing at all, says the same over
/// HTTP as over gRPC.
#[tokio::test]
async fn every_method_answers_as_over_grpc() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let configuration = api.configuration(DKGA04).await;
    let mut till = crate::harness::Api::connect(&server.endpoint, &home.till()).await;
    till.issue(ten_kwh(&configuration)).await.unwrap();

    let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
    let openapi: Json = serde_json::from_str(&vendkey::http::openapi().unwrap()).unwrap();
    let mut raw = Raw::connect(&server.endpoint).await;
    let credential = home.credential();
    let (mut answered, mut refused) = (0, 0);
    for (path, verbs) in openapi["paths"].as_object().unwrap() {
        for (verb, operation) in verbs.as_object().unwrap() {
            let service = operation["tags"][0].as_str().unwrap();
            let method = operation["operationId"].as_str().unwrap();
            let method = method.split("By").next().unwrap();
            let service = pool.get_service_by_name(&format!("vendkey.v1.{service}")).unwrap();
            let method = service.methods().find(|found| found.name() == method).unwrap();
            // Acts that change something alone would answer otherwise the second time.
            if method.is_client_streaming() || matches!(method.name(), "AcceptClock") {
                continue;
            }
            // `/v1/clients/{name}:enable` holds `clients/x`.
            let mut names = Vec::new();
            let mut url = path.clone();
            if let Some((before, rest)) = path.split_once('{') {
                let (field, _) = rest.split_once('}').unwrap();
                names.push((field.to_owned(), format!("{}x", before.strip_prefix("/v1/").unwrap())));
                url = path.replace(&format!("{{{field}}}"), "x");
            }
            let request = Request::builder()
                .method(verb.to_uppercase().as_str())
                .uri(format!("http://localhost{url}"))
                .header("authorization", format!("Bearer {credential}"))
                .header(CONTENT_TYPE, "application/json");
            let http = raw.send(request, if verb == "get" { "" } else { "{}" }).await;
            let body: Json = serde_json::from_slice(&http.body).unwrap();

            let called = grpc(&format!("/{}/{}", service.full_name(), method.name()), &credential);
            let over_grpc = raw.send(called, framed(&message(&method, &names).encode_to_vec())).await;
            let status = over_grpc.grpc();
            if status.code() == tonic::Code::Ok {
                answered += 1;
                assert_eq!(http.status, StatusCode::OK, "{path}: {body}");
                // What refusals and signs of life change between the two calls is answered, and is not
                // the same.
                let changing =
                    ["ListEvents", "GetCheckpoint", "GetLedgerState", "ListServers", "GetServerState"];
                if changing.contains(&method.name()) {
                    continue;
                }
                let (_, bytes) = over_grpc.messages().remove(0);
                let answer = DynamicMessage::decode(method.output(), bytes.as_slice()).unwrap();
                assert_eq!(serde_json::to_value(&answer).unwrap(), body, "{path}");
            } else {
                refused += 1;
                assert!(http.status.is_client_error(), "{path}: {}", http.status);
                let details = status.get_error_details();
                let info = details.error_info().unwrap();
                assert_eq!(body["code"], i32::from(status.code()), "{path}: {body}");
                assert_eq!(body["message"], status.message(), "{path}");
                assert_eq!(body["details"][0]["reason"], info.reason.as_str(), "{path}");
                assert_eq!(
                    body["details"][0]["metadata"]["issued"],
                    info.metadata["issued"].as_str(),
                    "{path}"
                );
                let bad = details.bad_request().map_or(0, |bad| bad.field_violations.len());
                let listed = body["details"].as_array().unwrap().iter();
                let listed =
                    listed.filter_map(|detail| detail["fieldViolations"].as_array()).flatten().count();
                assert_eq!(bad, listed, "{path}: {body}");
            }
        }
    }
    assert!(answered >= 8 && refused >= 20, "{answered} answered, {refused} refused");
}
