//! An HSM in another process, as a network HSM is: it dies, hangs and comes back, under load and at each
//! step of an import.

#![allow(clippy::print_stderr)] // what was measured is said

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use vendkey::api::v1::{
    Configuration, GetServerKeyRequest, ImportSealedConfigurationRequest, IssueTokenRequest,
    ListIssuedTokensRequest, configuration::State,
};

use crate::harness::{Api, DKGA02, DKGA04, Health, Home, RemoteHsm, Sealer, Server, reason, ten_kwh};

/// How long anything may take on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(120);

/// Looks whether a refusal says that the same request may come again, and when.
fn is_to_come_again(status: &Status) {
    assert!(matches!(status.code(), Code::Unavailable | Code::ResourceExhausted), "{status:?}");
    assert!(["HSM_UNAVAILABLE", "HSM_BUSY"].contains(&reason(status).as_str()), "{status:?}");
    assert!(status.get_error_details().retry_info().is_some(), "{status:?}");
}

/// Repeats a request until it is answered.
async fn issued(api: &mut Api, request: &IssueTokenRequest) -> String {
    let give_up = Instant::now() + PATIENCE;
    loop {
        match api.issue(request.clone()).await {
            Ok(issued) => return issued.token,
            Err(status) => is_to_come_again(&status),
        }
        assert!(Instant::now() < give_up, "it does not heal");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What came of the requests, with the digits of each.
type Tokens = Arc<Mutex<Vec<(IssueTokenRequest, String)>>>;

/// Asks for tokens, one after another, until it is told to stop.
async fn load(
    server: String,
    till: String,
    configuration: Configuration,
    tokens: Tokens,
    stop: Arc<AtomicBool>,
) {
    let mut api = Api::connect(&server, &till).await;
    while !stop.load(Ordering::SeqCst) {
        let request = ten_kwh(&configuration);
        let token = issued(&mut api, &request).await;
        tokens.lock().unwrap().push((request, token));
    }
}

/// Waits until some more tokens are issued.
async fn some_more(tokens: &Tokens) {
    let before = tokens.lock().unwrap().len() + 20;
    let give_up = Instant::now() + PATIENCE;
    while tokens.lock().unwrap().len() <= before {
        assert!(Instant::now() < give_up, "nothing is issued");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Asks again for every token by the same token of SoftHSM without another process between, and
/// compares the digits. As many tokens are on record as were asked for.
async fn are_right(home: &Home, tokens: &[(IssueTokenRequest, String)]) {
    RemoteHsm::taken_out(home);
    let server = Server::start(home);
    let mut api = server.api(home).await;
    for (request, token) in tokens {
        let again = api.issue(request.clone()).await.unwrap();
        assert!(again.replay && again.token == *token, "{again:?} is not {token}");
    }
    let mut listed = 0;
    let mut page_token = String::new();
    loop {
        let request = ListIssuedTokensRequest { page_size: 1_000, page_token, ..Default::default() };
        let page = api.tokens.list_issued_tokens(request).await.unwrap().into_inner();
        listed += page.tokens.len();
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(listed, tokens.len(), "one token for each request");
    assert!(server.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_dies_and_returns_under_load_and_nobody_gets_a_wrong_token() {
    let home = Home::on("softhsm");
    let mut hsm = RemoteHsm::of(&home);
    let server = hsm.server(&home);
    let mut api = server.api(&home).await;
    let configurations = [api.configuration(DKGA04).await, api.configuration(DKGA02).await];
    let mut health = Health::of(&server).await;
    health.serving().await;
    let (tokens, stop) = (Tokens::default(), Arc::new(AtomicBool::new(false)));
    let clients: Vec<_> = (0..6)
        .map(|number: usize| {
            let configuration = configurations[number % 2].clone();
            let (tokens, stop) = (Arc::clone(&tokens), Arc::clone(&stop));
            tokio::spawn(load(server.endpoint.clone(), home.till(), configuration, tokens, stop))
        })
        .collect();
    let mut healed = Vec::new();
    for round in 0..3 {
        some_more(&tokens).await;
        hsm.dies();
        health.not_serving().await;
        assert!(home.log().contains("CKR_DEVICE_ERROR") || home.log().contains("DeviceError"), "{round}");
        hsm.comes_back();
        let back = Instant::now();
        health.serving().await;
        healed.push(back.elapsed().as_millis());
    }
    eprintln!("served again after {healed:?} ms");
    // One that hangs is given up, and goes on where it was.
    hsm.hangs();
    health.not_serving().await;
    hsm.goes_on();
    health.serving().await;
    some_more(&tokens).await;
    stop.store(true, Ordering::SeqCst);
    for client in clients {
        client.await.unwrap();
    }
    assert!(server.stop().success());
    drop(hsm);
    let tokens = tokens.lock().unwrap().clone();
    are_right(&home, &tokens).await;
}

/// An upload that may be sent again.
enum Upload {
    Legacy(crate::harness::Blobs),
    Sealed(String),
}

async fn sent(api: &mut Api, upload: &Upload) -> Result<Configuration, Status> {
    match upload {
        Upload::Legacy(blobs) => Ok(api.upload(blobs).await?.configuration.unwrap()),
        Upload::Sealed(document) => {
            let request =
                ImportSealedConfigurationRequest { document: document.clone(), validate_only: false };
            let sent = api.configurations.import_sealed_configuration(request).await?;
            Ok(sent.into_inner().configuration.unwrap())
        }
    }
}

/// It dies behind the first call of an import, behind a later one, and so on to the last: the same
/// upload makes it good each time, and nothing is left that nobody knows of. Every seventh call, and each
/// one with `VENDKEY_EVERY_CALL`, which takes some minutes.
async fn at_each_step(yaml: &str, is_sealed: bool) {
    let home = Home::on("softhsm");
    home.write_settings("[vending]\nuploads_per_minute = 1000\n");
    let mut hsm = RemoteHsm::of(&home);
    let server = hsm.server(&home);
    let mut api = server.api(&home).await;
    let administrator = api.administrator().await;
    let key = api.configurations.get_server_key(GetServerKeyRequest {}).await.unwrap().into_inner();
    let sealer = Sealer::new(&administrator, key.sealing.unwrap());
    Health::of(&server).await.serving().await;
    let stride = if std::env::var_os("VENDKEY_EVERY_CALL").is_some() { 1 } else { 7 };
    let mut tokens = Vec::new();
    let mut steps = 1;
    loop {
        // Another supply group, so another configuration.
        let yaml =
            yaml.replace("supply_group_code: 123456", &format!("supply_group_code: {:06}", 200_000 + steps));
        let upload = if is_sealed {
            Upload::Sealed(sealer.seal(&yaml))
        } else {
            Upload::Legacy(administrator.encrypt(&yaml))
        };
        hsm.dies_behind(steps);
        let first = sent(&mut api, &upload).await;
        let died = hsm.is_dead();
        hsm.dies_behind(0);
        if let Err(status) = &first {
            is_to_come_again(status);
        }
        let give_up = Instant::now() + PATIENCE;
        let configuration = loop {
            // Perhaps another call came between, and was the last one.
            if hsm.is_dead() {
                hsm.comes_back();
            }
            match sent(&mut api, &upload).await {
                Ok(configuration) => break configuration,
                Err(status) => is_to_come_again(&status),
            }
            assert!(Instant::now() < give_up, "step {steps}: it does not heal");
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        assert_eq!(configuration.state(), State::Enabled, "step {steps}");
        let request = ten_kwh(&configuration);
        let token = issued(&mut api, &request).await;
        tokens.push((request, token));
        if !died && first.is_ok() {
            break;
        }
        steps += stride;
    }
    eprintln!("an import has some {steps} calls");
    assert!(steps > 10, "{steps}: an import is more than that");
    assert!(server.stop().success());
    drop(hsm);
    RemoteHsm::taken_out(&home);
    let check = home.vendkey(&["hsm", "check", "--settings", &home.text("vendkey.toml"), "--json"]);
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(check.status.success(), "{said}");
    are_right(&home, &tokens).await;
}

#[tokio::test]
async fn it_dies_at_each_step_of_a_legacy_import() {
    at_each_step(DKGA02, false).await;
}

#[tokio::test]
async fn it_dies_at_each_step_of_a_sealed_import() {
    at_each_step(DKGA04, true).await;
}
