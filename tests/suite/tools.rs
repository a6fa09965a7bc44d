//! What other people's tools ask of a server: reflection in both versions, health, and messages
//! that are packed.

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
};

use hyper::body::{Body as _, Bytes};
use prost::Message as _;
use prost_types::FileDescriptorProto;
use tonic::{Code, transport::Endpoint};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, ServerReflectionResponse, server_reflection_request::MessageRequest,
    server_reflection_response::MessageResponse,
};
use vendkey::api::{
    health::{
        HealthCheckRequest, HealthCheckResponse, HealthListRequest, health_check_response::ServingStatus,
        health_client::HealthClient,
    },
    v1::IssuedToken,
};

use crate::harness::{Answer, Home, Raw, Server, flagged, framed, grpc, issued, meter_test, reason};

const ISSUE: &str = "/vendkey.v1.TokenService/IssueToken";
const CHECK: &str = "/grpc.health.v1.Health/Check";
const V1: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
const V1ALPHA: &str = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";

/// Both versions have the same messages under another package name; so their answers have the same
/// bytes.
async fn both(raw: &mut Raw, home: &Home, body: Vec<u8>) -> Answer {
    let credential = home.credential();
    let old = raw.send(grpc(V1ALPHA, &credential), body.clone()).await;
    let new = raw.send(grpc(V1, &credential), body).await;
    assert_eq!(old.body, new.body);
    assert_eq!(old.grpc().code(), new.grpc().code());
    new
}

async fn reflected(raw: &mut Raw, home: &Home, asked: MessageRequest) -> Result<MessageResponse, String> {
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(asked) };
    let answer = both(raw, home, framed(&request.encode_to_vec())).await;
    if answer.grpc().code() != Code::Ok {
        assert_eq!(issued(&answer.grpc()), "no");
        return Err(reason(&answer.grpc()));
    }
    let response = ServerReflectionResponse::decode(&answer.messages()[0].1[..]).unwrap();
    assert_eq!(response.original_request, Some(request));
    Ok(response.message_response.unwrap())
}

fn files(answer: MessageResponse) -> Vec<FileDescriptorProto> {
    let MessageResponse::FileDescriptorResponse(found) = answer else { panic!("{answer:?}") };
    let decode = |file: &Vec<u8>| FileDescriptorProto::decode(&file[..]).unwrap();
    found.file_descriptor_proto.iter().map(decode).collect()
}

#[tokio::test]
async fn both_versions_of_reflection_answer_alike() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut raw = Raw::connect(&server.endpoint).await;

    // The bytes that older tools send first.
    let asked = include_bytes!("../cases/reflection-v1alpha/list-services.bin").to_vec();
    let listed = both(&mut raw, &home, asked).await;
    let response = ServerReflectionResponse::decode(&listed.messages()[0].1[..]).unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = response.message_response else {
        panic!("{listed:?}")
    };
    let services: BTreeSet<String> = list.service.into_iter().map(|service| service.name).collect();
    let ours = [
        "Approval",
        "Audit",
        "Client",
        "Configuration",
        "Ledger",
        "PublicKey",
        "Server",
        "Simulator",
        "Token",
        "TokenFile",
    ]
    .map(|name| format!("vendkey.v1.{name}Service"));
    let grpcs = [
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    ];
    let expected = ours.into_iter().chain(grpcs.map(str::to_owned)).collect();
    assert_eq!(services, expected);

    // Whatever it lists can be described, with all that its files need.
    let mut wanted = BTreeSet::new();
    for service in services {
        let found = reflected(&mut raw, &home, MessageRequest::FileContainingSymbol(service.clone())).await;
        let found = files(found.unwrap());
        let named = |file: &FileDescriptorProto| {
            file.service.iter().any(|named| service == format!("{}.{}", file.package(), named.name()))
        };
        assert!(found.iter().any(named), "{service}");
        wanted.extend(found.into_iter().flat_map(|file| file.dependency));
    }
    let mut seen = BTreeSet::new();
    while let Some(name) = wanted.pop_first() {
        let found = reflected(&mut raw, &home, MessageRequest::FileByFilename(name.clone())).await.unwrap();
        for file in files(found) {
            assert_eq!(file.name(), name);
            wanted.extend(file.dependency.into_iter().filter(|needed| !seen.contains(needed)));
        }
        seen.insert(name);
    }
    assert!(seen.contains("google/protobuf/timestamp.proto"), "{seen:?}");

    // The last of them in the details of refusals.
    for (symbol, package) in [
        ("vendkey.v1.IssuedToken", "vendkey.v1"),
        ("vendkey.v1.TokenService.IssueToken", "vendkey.v1"),
        ("google.rpc.ErrorInfo", "google.rpc"),
    ] {
        let found = reflected(&mut raw, &home, MessageRequest::FileContainingSymbol(symbol.to_owned())).await;
        assert!(files(found.unwrap()).iter().any(|file| file.package() == package), "{symbol}");
    }
    for unknown in [
        MessageRequest::FileContainingSymbol("vendkey.v1.Nothing".to_owned()),
        MessageRequest::FileByFilename("nothing.proto".to_owned()),
    ] {
        assert_eq!(reflected(&mut raw, &home, unknown).await.unwrap_err(), "SYMBOL_NOT_FOUND");
    }
    for path in [V1, V1ALPHA] {
        let answer = raw.send(grpc(path, "none"), framed(b"\x3a\x00")).await;
        assert_eq!(answer.grpc().code(), Code::Unauthenticated);
    }
}

#[tokio::test]
async fn health_of_services_known_and_unknown() {
    let home = Home::new();
    let server = Server::start(&home);
    let channel = Endpoint::from_shared(server.endpoint.clone()).unwrap().connect().await.unwrap();
    let mut health = HealthClient::new(channel);
    let asked = |service: &str| HealthCheckRequest { service: service.to_owned() };

    let listed = health.list(HealthListRequest {}).await.unwrap().into_inner().statuses;
    for service in
        ["", "vendkey.v1.TokenService", "vendkey.v1.ConfigurationService", "vendkey.v1.AuditService"]
    {
        assert_eq!(listed[service].status(), ServingStatus::Serving, "{service}");
        let checked = health.check(asked(service)).await.unwrap().into_inner();
        assert_eq!(checked.status(), ServingStatus::Serving, "{service}");
        let mut watched = health.watch(asked(service)).await.unwrap().into_inner();
        assert_eq!(watched.message().await.unwrap().unwrap().status(), ServingStatus::Serving, "{service}");
    }
    assert_eq!(listed.len(), 11);
    for service in ["nothing", "vendkey.v1.tokenservice", "vendkey.v1.TokenService/IssueToken"] {
        let status = health.check(asked(service)).await.unwrap_err();
        assert_eq!((status.code(), reason(&status).as_str()), (Code::NotFound, "SERVICE_NOT_FOUND"));
    }

    // A watch of what is not known says so once, and stays open while the server's own status
    // changes.
    let mut unknown = health.watch(asked("nothing")).await.unwrap().into_inner();
    assert_eq!(unknown.message().await.unwrap().unwrap().status(), ServingStatus::ServiceUnknown);
    let mut known = health.watch(asked("")).await.unwrap().into_inner();
    assert_eq!(known.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    std::fs::rename(home.path("hsm/tokens"), home.path("hsm/gone")).unwrap();
    assert_eq!(known.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    let checked = health.check(asked("vendkey.v1.TokenService")).await.unwrap().into_inner();
    assert_eq!(checked.status(), ServingStatus::NotServing);
    std::fs::rename(home.path("hsm/gone"), home.path("hsm/tokens")).unwrap();
    assert_eq!(known.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    tokio::select! {
        biased;
        more = unknown.message() => panic!("{more:?}"),
        () = std::future::ready(()) => {}
    }
}

fn pack(encoding: &str, bytes: &[u8]) -> Vec<u8> {
    if encoding == "zstd" {
        return zstd::encode_all(bytes, 0).unwrap();
    }
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

fn unpack(encoding: &str, bytes: &[u8]) -> Vec<u8> {
    if encoding == "zstd" {
        return zstd::decode_all(bytes).unwrap();
    }
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(bytes).read_to_end(&mut plain).unwrap();
    plain
}

#[tokio::test]
async fn messages_are_unpacked_and_packed_as_the_client_wants() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut raw = Raw::connect(&server.endpoint).await;
    let request = meter_test();
    // What the request is packed with, what the client says that it takes, and what the answer is
    // packed with.
    for (sent, accepted, answered) in [
        (None, None, None),
        (None, Some("gzip"), Some("gzip")),
        (None, Some("zstd"), Some("zstd")),
        (None, Some("zstd, gzip"), Some("zstd")),
        (None, Some("deflate,gzip"), Some("gzip")),
        (None, Some("br"), None),
        // What Python, Node and .NET say in every call.
        (None, Some("identity, deflate, gzip"), None),
        (Some("gzip"), Some("identity, deflate, gzip"), Some("gzip")),
        (Some("gzip"), Some("gzip,identity"), Some("gzip")),
        (Some("zstd"), Some("identity,zstd"), Some("zstd")),
        (Some("gzip"), None, None),
        (Some("zstd"), None, None),
        (Some("identity"), None, None),
    ] {
        for path in [ISSUE, CHECK, V1] {
            let message = match path {
                ISSUE => request.encode_to_vec(),
                CHECK => HealthCheckRequest::default().encode_to_vec(),
                _ => vec![0x3a, 0],
            };
            let body = match sent {
                Some(encoding @ ("gzip" | "zstd")) => flagged(1, &pack(encoding, &message)),
                _ => framed(&message),
            };
            let mut call = grpc(path, &home.till());
            for (name, value) in [("grpc-encoding", sent), ("grpc-accept-encoding", accepted)] {
                call = value.into_iter().fold(call, |call, value| call.header(name, value));
            }
            let answer = raw.send(call, body).await;
            let what = format!("{path} {sent:?} {accepted:?}");
            assert_eq!(answer.grpc().code(), Code::Ok, "{what}");
            let encoding = answer.headers.get("grpc-encoding").map(|value| value.to_str().unwrap());
            assert_eq!(encoding, answered, "{what}");
            let (flag, message) = answer.messages().swap_remove(0);
            assert_eq!(flag, u8::from(answered.is_some()), "{what}");
            let message = answered.map_or_else(|| message.clone(), |encoding| unpack(encoding, &message));
            match path {
                ISSUE => {
                    let token = IssuedToken::decode(&message[..]).unwrap();
                    assert_eq!(token.request_id, request.request_id);
                }
                CHECK => {
                    let health = HealthCheckResponse::decode(&message[..]).unwrap();
                    assert_eq!(health.status(), ServingStatus::Serving);
                }
                _ => assert!(ServerReflectionResponse::decode(&message[..]).is_ok()),
            }
        }
    }
}

#[tokio::test]
async fn streams_are_packed_too() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut raw = Raw::connect(&server.endpoint).await;
    let requests: Vec<_> = (0..3).map(|_| meter_test()).collect();
    // Each message says for itself whether it is packed.
    let body = [
        flagged(1, &pack("gzip", &requests[0].encode_to_vec())),
        framed(&requests[1].encode_to_vec()),
        flagged(1, &pack("gzip", &requests[2].encode_to_vec())),
    ]
    .concat();
    let call = grpc("/vendkey.v1.TokenService/StreamTokens", &home.till())
        .header("grpc-encoding", "gzip")
        .header("grpc-accept-encoding", "gzip");
    let answer = raw.send(call, body).await;
    assert_eq!(answer.grpc().code(), Code::Ok);
    let found: Vec<String> = answer
        .messages()
        .iter()
        .map(|(flag, message)| {
            assert_eq!(*flag, 1);
            vendkey::api::v1::TokenResult::decode(&unpack("gzip", message)[..]).unwrap().request_id
        })
        .collect();
    assert_eq!(found, requests.iter().map(|request| request.request_id.clone()).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_watch_by_the_bytes_stays_open() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut raw = Raw::connect(&server.endpoint).await;
    let asked = HealthCheckRequest { service: "nothing".to_owned() };
    let call = grpc("/grpc.health.v1.Health/Watch", "none");
    let mut answer = raw.open(call, framed(&asked.encode_to_vec())).await;
    let frame = http_body_util::BodyExt::frame(answer.body_mut()).await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), Bytes::from_static(&[0, 0, 0, 0, 2, 8, 3]));
    assert!(!answer.body().is_end_stream());
}
