//! The HSM is lost under load and comes back: the server answers UNAVAILABLE meanwhile and heals
//! without a restart.

use std::{fs, time::Duration};

use tonic::Code;

use crate::harness::{Api, DKGA02, DKGA04, Health, Home, Server, reason, ten_kwh};

#[tokio::test]
async fn the_token_directory_vanishes_and_comes_back() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let configurations = [api.configuration(DKGA04).await, api.configuration(DKGA02).await];
    let first = ten_kwh(&configurations[0]);
    let token = api.issue(first.clone()).await.unwrap().token;
    let mut health = Health::of(&server).await;
    health.serving().await;

    fs::rename(home.path("hsm/tokens"), home.path("hsm/gone")).unwrap();
    health.not_serving().await;
    for configuration in &configurations {
        let status = api.issue(ten_kwh(configuration)).await.unwrap_err();
        assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "HSM_UNAVAILABLE"));
    }
    fs::rename(home.path("hsm/gone"), home.path("hsm/tokens")).unwrap();
    health.serving().await;
    for configuration in &configurations {
        issued(&mut api, ten_kwh(configuration)).await;
    }
    let replay = issued(&mut api, first).await;
    assert!(replay.replay && replay.token == token, "the same digits after healing");
}

/// Repeats as a client would after UNAVAILABLE.
async fn issued(
    api: &mut Api,
    request: vendkey::api::v1::IssueTokenRequest,
) -> vendkey::api::v1::IssuedToken {
    for _ in 0..100 {
        match api.issue(request.clone()).await {
            Ok(issued) => return issued,
            Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status:?}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("not healed");
}
