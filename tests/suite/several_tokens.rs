//! A server with two tokens: each holds the vending keys, one of them is enough, and one that lacks a
//! key gets it when the same upload is sent again.

use std::{process::Output, time::Duration};

use serde_json::Value;
use tonic::{Code, Status};
use vendkey::api::v1::{
    AllowKeyChangeRequest, Configuration, DisableConfigurationRequest, GetConfigurationRequest,
    GetServerKeyRequest, ImportSealedConfigurationRequest, ImportSealedConfigurationResponse,
    IssueKeyChangeRequest, IssueTokenRequest, ScheduleDestroyConfigurationRequest, VerifyTokenRequest,
    configuration::State, verify_token_response,
};

use crate::harness::{
    Api, DKGA02, DKGA04, Faults, Health, Home, Sealer, Server, Which, reason, shim, ten_kwh,
};

fn hsm(home: &Home, command: &str) -> (Value, Output) {
    let output = home.vendkey(&["hsm", command, "--settings", &home.text("vendkey.toml"), "--json"]);
    let json = serde_json::from_slice(&output.stdout);
    (json.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr))), output)
}

/// The findings of a token about each configuration.
fn findings(check: &Value, token: usize) -> Vec<&str> {
    let items = check["tokens"][token]["configurations"].as_array().unwrap();
    items.iter().map(|item| item["finding"].as_str().unwrap()).collect()
}

async fn import(api: &mut Api, document: &str) -> Result<ImportSealedConfigurationResponse, Status> {
    let request = ImportSealedConfigurationRequest { document: document.to_owned(), validate_only: false };
    api.configurations.import_sealed_configuration(request).await.map(tonic::Response::into_inner)
}

/// Repeats as a client that is told to come again.
async fn issued(api: &mut Api, request: &IssueTokenRequest) -> String {
    for _ in 0..300 {
        match api.issue(request.clone()).await {
            Ok(issued) => return issued.token,
            Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("nothing is issued");
}

/// Sends an upload until the answer names both tokens.
async fn held_by_both(api: &mut Api, document: &str) -> Configuration {
    for _ in 0..300 {
        let sent = import(api, document).await.unwrap();
        let configuration = sent.configuration.unwrap();
        assert!(sent.existing);
        if configuration.hsm_tokens.len() == 2 {
            assert!(!warned(&configuration), "{:?}", configuration.warnings);
            return configuration;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("one token lacks the key still");
}

/// Whether the answer says that a token lacks the key.
fn warned(configuration: &Configuration) -> bool {
    configuration.warnings.iter().any(|warning| warning.code == "KEY_NOT_ON_TOKEN")
}

#[tokio::test]
async fn either_token_may_go_and_come_back() {
    let home = Home::with_two_tokens();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let mut configurations = Vec::new();
    let mut known = Vec::new();
    let next = DKGA04.replace("key_revision_no: 1", "key_revision_no: 2");
    for yaml in [DKGA04, DKGA02, &next] {
        let configuration = api.configuration(yaml).await;
        assert_eq!((configuration.hsm_tokens.len(), warned(&configuration)), (2, false));
        let request = ten_kwh(&configuration);
        known.push((request.clone(), api.issue(request).await.unwrap().token));
        configurations.push(configuration);
    }
    let [source, _, target] = &configurations[..] else { panic!("three configurations") };
    let pair = AllowKeyChangeRequest { source: source.name.clone(), target: target.name.clone() };
    api.configurations.allow_key_change(pair.clone()).await.unwrap();
    let change = IssueKeyChangeRequest {
        source: pair.source,
        target: pair.target,
        meter: ten_kwh(source).meter,
        request_id: uuid::Uuid::now_v7().to_string(),
        ..IssueKeyChangeRequest::default()
    };
    let set = api.tokens.issue_key_change(change.clone()).await.unwrap().into_inner().tokens;
    let (status, output) = hsm(&home, "status");
    assert!(output.status.success());
    let keys: Vec<_> = (0..2).map(|token| status["tokens"][token]["vendingKeys"].as_u64().unwrap()).collect();
    assert_eq!(keys, [3, 3]);
    let (check, output) = hsm(&home, "check");
    assert!(output.status.success(), "{check}");
    for token in 0..2 {
        assert_eq!(findings(&check, token), ["sound"; 3]);
    }
    let mut health = Health::of(&server).await;
    health.serving().await;
    for away in [Which::Second, Which::First] {
        home.lose_token(away);
        if away == Which::Second {
            let (status, output) = hsm(&home, "status");
            assert_eq!(
                (output.status.success(), status["tokens"][1]["answers"].as_bool()),
                (false, Some(false))
            );
        }
        for (configuration, (request, token)) in configurations.iter().zip(&known) {
            // By the token that is left: new ones, and the digits of old ones.
            issued(&mut api, &ten_kwh(configuration)).await;
            assert_eq!(&issued(&mut api, request).await, token, "{away:?} is away");
            let look = VerifyTokenRequest {
                configuration: configuration.name.clone(),
                meter: request.meter.clone(),
                token: token.clone(),
                ..VerifyTokenRequest::default()
            };
            let found = api.tokens.verify_token(look).await.unwrap().into_inner();
            assert_eq!(found.result(), verify_token_response::Result::Valid, "{away:?} is away");
        }
        let again = api.tokens.issue_key_change(change.clone()).await.unwrap().into_inner().tokens;
        assert_eq!(again, set, "{away:?} is away");
        home.return_token(away);
    }
    // With none it does not serve; whoever comes back is enough.
    home.lose_token(Which::First);
    home.lose_token(Which::Second);
    health.not_serving().await;
    let refused = api.issue(ten_kwh(&configurations[0])).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::Unavailable, "HSM_UNAVAILABLE"));
    home.return_token(Which::Second);
    health.serving().await;
    for (request, token) in &known {
        assert_eq!(&issued(&mut api, request).await, token);
    }
    home.return_token(Which::First);
    assert!(server.stop().success());
}

#[tokio::test]
async fn a_token_that_was_away_gets_its_keys_when_the_upload_is_sent_again() {
    let home = Home::with_two_tokens();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let administrator = api.administrator().await;
    let key = api.configurations.get_server_key(GetServerKeyRequest {}).await.unwrap().into_inner();
    let (first, second) = (key.sealing.unwrap(), key.other_sealing[0].clone());
    assert_ne!(first.fingerprint, second.fingerprint);
    assert!(server.stop().success());
    home.lose_token(Which::Second);
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let (first, second) = (Sealer::new(&administrator, first), Sealer::new(&administrator, second));
    let mut uploads = Vec::new();
    for yaml in [DKGA04, DKGA02] {
        let (mut content, other) = (first.content(yaml), second.content(yaml));
        content["recipients"].as_array_mut().unwrap().push(other["recipients"][0].clone());
        let document = first.sign(&content).to_string();
        let imported = import(&mut api, &document).await.unwrap();
        let configuration = imported.configuration.unwrap();
        assert_eq!((imported.existing, configuration.state()), (false, State::Enabled));
        assert_eq!((configuration.hsm_tokens.len(), warned(&configuration)), (1, true));
        issued(&mut api, &ten_kwh(&configuration)).await;
        uploads.push((document, configuration));
    }
    // One that is sealed to the token that is away can wait.
    let for_second = second.seal(DKGA04);
    assert_eq!(reason(&import(&mut api, &for_second).await.unwrap_err()), "UPLOAD_FOR_OTHER_SERVER");

    home.return_token(Which::Second);
    let (check, output) = loop {
        let found = hsm(&home, "check");
        if found.0["tokens"][1]["configurations"].is_array() {
            break found;
        }
    };
    assert!(output.status.success(), "what is lacking is told, and no fault: {check}");
    assert_eq!(findings(&check, 1), ["lacking: send the same upload again"; 2]);
    for (document, before) in &uploads {
        let now = held_by_both(&mut api, document).await;
        assert_eq!((&now.name, &now.kcv), (&before.name, &before.kcv));
        assert_eq!(held_by_both(&mut api, document).await.hsm_tokens, now.hsm_tokens);
    }
    let (check, output) = hsm(&home, "check");
    assert!(output.status.success() && findings(&check, 1) == ["sound", "sound"], "{check}");
    // A configuration on the second token alone.
    let alone = import(&mut api, &for_second).await.unwrap().configuration.unwrap();
    assert_eq!(alone.hsm_tokens.len(), 1);
    issued(&mut api, &ten_kwh(&alone)).await;
    home.lose_token(Which::First);
    for (_, configuration) in &uploads {
        issued(&mut api, &ten_kwh(configuration)).await;
    }
    home.return_token(Which::First);
}

/// Calls of an import, at which the HSM may be lost.
const STEPS: [&str; 9] = [
    "C_CreateObject",
    "C_GenerateKey",
    "C_CopyObject",
    "C_GetAttributeValue",
    "C_Encrypt",
    "C_Decrypt",
    "C_Sign",
    "C_FindObjects",
    "C_DestroyObject",
];

#[tokio::test]
async fn a_token_that_is_lost_at_any_step_of_an_import_gets_the_key_later() {
    let home = Home::with_two_tokens();
    home.second_through(shim());
    let file = home.text("faults");
    let environment = [("PKCS11_SHIM_MODULE", home.second_library()), ("PKCS11_SHIM_FAULTS", file.clone())];
    let environment: Vec<(&str, &str)> =
        environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let faults = Faults::in_file(file.clone().into());
    let server = Server::start_with(&home, &environment);
    let mut api = server.api(&home).await;
    let administrator = api.administrator().await;
    let mut configurations = Vec::new();
    for (number, step) in STEPS.iter().enumerate() {
        // CKR_DEVICE_ERROR.
        faults.are(&format!("{step} answer 48\n"));
        let yaml = DKGA02.replace("tariff_index: 01", &format!("tariff_index: {:02}", number + 10));
        let blobs = administrator.encrypt(&yaml);
        let uploaded = api.upload(&blobs).await.unwrap().configuration.unwrap();
        assert_eq!(uploaded.state(), State::Enabled, "{step}");
        issued(&mut api, &ten_kwh(&uploaded)).await;
        faults.end();
        let mut tokens = uploaded.hsm_tokens;
        for _ in 0..300 {
            if tokens.len() == 2 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            let again = api.upload(&blobs).await.unwrap();
            assert!(again.existing);
            tokens = again.configuration.unwrap().hsm_tokens;
        }
        assert_eq!(tokens.len(), 2, "{step}:\n{}", home.log());
        configurations.push(uploaded.name);
    }
    assert!(server.stop().success());
    home.second_through(&home.second_library());
    let (check, output) = hsm(&home, "check");
    assert!(output.status.success(), "{check}");
    for token in 0..2 {
        assert_eq!(findings(&check, token), vec!["sound"; STEPS.len()], "nothing is left over");
    }
}

#[tokio::test]
async fn a_crash_before_the_row_knows_leaves_an_object_that_the_same_upload_adopts() {
    let home = Home::with_two_tokens();
    let mut server = Server::start_with(&home, &[("VENDKEY_CRASH_AT", "import-before-key-added")]);
    let mut api = server.api(&home).await;
    let administrator = api.administrator().await;
    let blobs = administrator.encrypt(DKGA02);
    api.upload(&blobs).await.unwrap_err();
    server.wait();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let again = api.upload(&blobs).await.unwrap();
    let configuration = again.configuration.unwrap();
    assert_eq!((again.existing, configuration.hsm_tokens.len()), (true, 2));
    let (check, output) = hsm(&home, "check");
    assert!(output.status.success() && findings(&check, 1) == ["sound"], "{check}");
}

#[tokio::test]
async fn a_key_is_destroyed_once_no_token_holds_it() {
    let home = Home::with_two_tokens();
    let settings = std::fs::read_to_string(home.path("vendkey.toml")).unwrap();
    std::fs::write(home.path("vendkey.toml"), format!("{settings}[vending]\ndestroy_delay = '0s'\n"))
        .unwrap();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let name = api.configuration(DKGA02).await.name;
    let mut health = Health::of(&server).await;
    health.serving().await;
    home.lose_token(Which::Second);
    let disable = DisableConfigurationRequest { name: name.clone() };
    api.configurations.disable_configuration(disable).await.unwrap();
    let destroy = ScheduleDestroyConfigurationRequest { name: name.clone() };
    api.configurations.schedule_destroy_configuration(destroy).await.unwrap();
    let state = |tokens: usize| {
        let (mut api, name) = (api.configurations.clone(), name.clone());
        async move {
            loop {
                let get = GetConfigurationRequest { name: name.clone() };
                let found = api.get_configuration(get).await.unwrap().into_inner();
                if found.hsm_tokens.len() == tokens {
                    return found.state();
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    };
    assert_eq!(state(1).await, State::DestroyScheduled, "the other token may hold it");
    home.return_token(Which::Second);
    assert_eq!(state(0).await, State::Destroyed);
    assert!(server.stop().success());
    let (check, output) = hsm(&home, "check");
    assert!(output.status.success(), "{check}");
    assert_eq!((findings(&check, 0), findings(&check, 1)), (vec!["gone"], vec!["gone"]));
}
