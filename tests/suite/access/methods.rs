//! Every method needs its permission, and every act names who did it.

use prost_reflect::DescriptorPool;
use tonic::{Code, Request, Status, transport::Channel};
use vendkey::{
    access::{Need, need, rights},
    api::{
        DESCRIPTORS,
        v1::{Group, Limits, ListEventsRequest, Rights},
    },
};

use super::{create, credential, denied, rights};
use crate::harness::{DKGA04, Home, Server};

/// Calls a method with an empty message.
async fn call(channel: &Channel, path: &str, credential: &str) -> Result<(), Status> {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let mut request = Request::new(());
    let bearer = format!("Bearer {credential}").parse().unwrap();
    request.metadata_mut().insert("authorization", bearer);
    let path = path.parse().unwrap();
    client.unary(request, path, tonic_prost::ProstCodec::<(), ()>::default()).await.map(drop)
}

/// All that a client may do beside these groups, without them.
fn all_but(groups: &[rights::Group]) -> Rights {
    let vends = groups.iter().any(|group| group.is_vending());
    let others = rights::Group::ALL.iter().filter(|group| {
        !groups.contains(group) && if vends { !group.is_administrative() } else { !group.is_vending() }
    });
    let wire = |group: &rights::Group| Group::from_str_name(&group.as_str().to_ascii_uppercase()).unwrap();
    rights(&others.map(wire).collect::<Vec<_>>())
}

#[tokio::test]
async fn every_method_needs_its_permission() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let endpoint = tonic::transport::Endpoint::from_shared(server.endpoint.clone()).unwrap();
    let channel = endpoint.connect().await.unwrap();
    let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
    let ours = pool.services().filter(|service| service.package_name() == "vendkey.v1");
    let methods = ours.flat_map(|service| service.methods().collect::<Vec<_>>());
    let paths: Vec<String> =
        methods.map(|method| format!("/{}/{}", method.parent_service().full_name(), method.name())).collect();
    let (_, powerless) = {
        let client = create(&mut api, Rights::default(), Limits::default()).await.unwrap();
        credential(&mut api, &client).await.unwrap()
    };
    let mut secrets = std::collections::HashMap::new();
    for path in &paths {
        let groups: Vec<rights::Group> = match need(path).expect("every method is in the table") {
            Need::Group(group) => vec![group],
            Need::AnyOf(groups) => groups.to_vec(),
            Need::Authenticated => Vec::new(),
            Need::Open => panic!("{path} is open to everybody"),
        };
        let status = call(&channel, path, "none").await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{path}");
        let outcome = call(&channel, path, &powerless).await;
        if groups.is_empty() {
            assert_ne!(outcome.err().map(|status| status.code()), Some(Code::PermissionDenied), "{path}");
            continue;
        }
        denied(&outcome.unwrap_err(), groups[0].as_str());
        if !secrets.contains_key(&groups) {
            let client = create(&mut api, all_but(&groups), Limits::default()).await.unwrap();
            let lacking = credential(&mut api, &client).await.unwrap().1;
            let mut having = Vec::new();
            for group in &groups {
                let wire = Group::from_str_name(&group.as_str().to_ascii_uppercase()).unwrap();
                let client = create(&mut api, rights(&[wire]), Limits::default()).await.unwrap();
                having.push(credential(&mut api, &client).await.unwrap().1);
            }
            secrets.insert(groups.clone(), (lacking, having));
        }
        let (lacking, having) = &secrets[&groups];
        let status = call(&channel, path, lacking).await.unwrap_err();
        for group in &groups {
            denied(&status, group.as_str());
        }
        for having in having {
            let code = call(&channel, path, having).await.err().map(|status| status.code());
            assert!(
                !matches!(code, Some(Code::PermissionDenied | Code::Unimplemented | Code::Unauthenticated)),
                "{path}: {code:?}"
            );
        }
    }
    let status =
        call(&channel, "/vendkey.v1.TokenService/NoSuchMethod", &home.credential()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
}

#[tokio::test]
async fn every_act_names_who_did_it() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let configuration = api.configuration(DKGA04).await;
    let client = create(&mut api, rights(&[Group::Vend]), Limits::default()).await.unwrap();
    credential(&mut api, &client).await.unwrap();
    let request = ListEventsRequest { page_size: 1_000, ..ListEventsRequest::default() };
    let events = api.audit.list_events(request).await.unwrap().into_inner().events;
    for kind in ["public_key.registered", "configuration.uploaded", "client.created", "credential.created"] {
        let event = events.iter().rev().find(|event| event.kind == kind).expect(kind);
        assert!(event.actor.starts_with("clients/"), "{event:?}");
    }
    let created = events.iter().rev().find(|event| event.kind == "client.created").unwrap();
    assert!(created.record.contains(client.name.trim_start_matches("clients/")), "{created:?}");
    assert!(!configuration.name.is_empty());
}
