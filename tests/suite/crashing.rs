//! kill -9 at named points: nothing is lost, nothing is doubled.

use vendkey::api::v1::{
    AllowKeyChangeRequest, Configuration, IssueKeyChangeRequest, ListConfigurationsRequest,
    ListIssuedTokensRequest, configuration::State,
};

use crate::harness::{Api, DKGA02, DKGA04, Home, Server, key_objects, ten_kwh};

#[tokio::test]
async fn a_lost_answer_is_answered_with_the_token_of_its_row() {
    for (point, recorded) in [
        ("ledger-before-commit", false),
        ("ledger-after-commit", true),
        ("issue-after-record", true),
        ("issue-after-derivation", true),
        ("issue-before-answer", true),
    ] {
        let home = Home::new();
        let server = Server::start(&home);
        let configuration = server.api(&home).await.configuration(DKGA04).await;
        drop(server);
        let mut server = Server::start_with(&home, &[("VENDKEY_CRASH_AT", point)]);
        let request = ten_kwh(&configuration);
        server.api(&home).await.issue(request.clone()).await.unwrap_err();
        server.wait();
        let server = Server::start(&home);
        let mut api = server.api(&home).await;
        let retry = api.issue(request.clone()).await.unwrap();
        assert_eq!(retry.replay, recorded, "{point}");
        let again = api.issue(request).await.unwrap();
        assert_eq!((again.token, &again.name, &again.tid), (retry.token, &retry.name, &retry.tid), "{point}");
        let next = api.issue(ten_kwh(&configuration)).await.unwrap();
        assert_eq!(next.tid.unwrap().value, retry.tid.unwrap().value + 1, "{point}");
        let listed = api.tokens.list_issued_tokens(ListIssuedTokensRequest::default()).await.unwrap();
        let names: Vec<&str> = listed.get_ref().tokens.iter().map(|token| token.name.as_str()).collect();
        assert_eq!(names, [retry.name.as_str(), next.name.as_str()], "{point}");
    }
}

#[tokio::test]
async fn a_lost_key_change_is_answered_with_the_set_of_its_row() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let next = DKGA04.replace("key_revision_no: 1", "key_revision_no: 2");
    let (source, target) = (api.configuration(DKGA04).await.name, api.configuration(&next).await.name);
    let pair = AllowKeyChangeRequest { source: source.clone(), target: target.clone() };
    api.configurations.allow_key_change(pair).await.unwrap();
    drop(server);
    let mut server = Server::start_with(&home, &[("VENDKEY_CRASH_AT", "key-change-after-record")]);
    let change = IssueKeyChangeRequest {
        source,
        target,
        meter: ten_kwh(&Configuration::default()).meter,
        request_id: uuid::Uuid::now_v7().to_string(),
        transfer_sgc: false,
    };
    server.api(&home).await.tokens.issue_key_change(change.clone()).await.unwrap_err();
    server.wait();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let retry = api.tokens.issue_key_change(change.clone()).await.unwrap().into_inner();
    assert!(retry.replay);
    assert_eq!(api.tokens.issue_key_change(change).await.unwrap().into_inner(), retry);
    let listed = api.tokens.list_issued_tokens(ListIssuedTokensRequest::default()).await.unwrap();
    assert_eq!(listed.get_ref().tokens.len(), 1);
}

#[tokio::test]
async fn a_repeated_upload_finishes_an_import_that_died() {
    for (yaml, objects) in [(DKGA04, 1), (DKGA02, 2)] {
        for point in ["import-after-begin", "import-before-finish"] {
            let home = Home::new();
            let before = key_objects(&home);
            let mut server = Server::start_with(&home, &[("VENDKEY_CRASH_AT", point)]);
            let mut api = server.api(&home).await;
            let administrator = api.administrator().await;
            let blobs = administrator.encrypt(yaml);
            api.upload(&blobs).await.unwrap_err();
            server.wait();
            let server = Server::start(&home);
            let mut api: Api = server.api(&home).await;
            let listed =
                api.configurations.list_configurations(ListConfigurationsRequest::default()).await.unwrap();
            let importing = &listed.get_ref().configurations[0];
            assert_eq!(importing.state(), State::Importing, "{point}");
            assert_eq!(
                crate::harness::reason(&api.issue(ten_kwh(importing)).await.unwrap_err()),
                "CONFIGURATION_IMPORTING"
            );
            let finished = api.upload(&blobs).await.unwrap().configuration.unwrap();
            assert_eq!((&finished.name, finished.state()), (&importing.name, State::Enabled), "{point}");
            api.issue(ten_kwh(&finished)).await.unwrap();
            assert_eq!(key_objects(&home), before + objects, "{point}: one key object (and its mask)");
        }
    }
}
