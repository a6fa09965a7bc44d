//! The end of a key: scheduled, restored, destroyed, at every point where the server may die.

use std::{
    process::Output,
    time::{Duration, Instant},
};

use tonic::Code;
use vendkey::api::v1::{
    AllowKeyChangeRequest, Configuration, DisableConfigurationRequest, EnableConfigurationRequest,
    GetConfigurationRequest, GetIssuedTokenRequest, IssueKeyChangeRequest, ListEventsRequest,
    ListIssuedTokensRequest, RestoreConfigurationRequest, ScheduleDestroyConfigurationRequest,
    VerifyTokenRequest, configuration::State, get_issued_token_request::By,
};

use crate::harness::{Api, DKGA02, DKGA04, DRN, Home, Server, issued, key_objects, reason, ten_kwh};

/// No time to think again.
const AT_ONCE: &str = "[vending]\ndestroy_delay = '0s'\n";

async fn disable(api: &mut Api, configuration: &Configuration) {
    let request = DisableConfigurationRequest { name: configuration.name.clone() };
    api.configurations.disable_configuration(request).await.unwrap();
}

async fn schedule(api: &mut Api, configuration: &Configuration) -> Result<Configuration, tonic::Status> {
    let request = ScheduleDestroyConfigurationRequest { name: configuration.name.clone() };
    api.configurations.schedule_destroy_configuration(request).await.map(tonic::Response::into_inner)
}

async fn restore(api: &mut Api, configuration: &Configuration) -> Result<Configuration, tonic::Status> {
    let request = RestoreConfigurationRequest { name: configuration.name.clone() };
    api.configurations.restore_configuration(request).await.map(tonic::Response::into_inner)
}

async fn enable(api: &mut Api, configuration: &Configuration) -> Result<Configuration, tonic::Status> {
    let request = EnableConfigurationRequest { name: configuration.name.clone() };
    api.configurations.enable_configuration(request).await.map(tonic::Response::into_inner)
}

async fn get(api: &mut Api, configuration: &Configuration) -> Configuration {
    let request = GetConfigurationRequest { name: configuration.name.clone() };
    api.configurations.get_configuration(request).await.unwrap().into_inner()
}

async fn destroyed(api: &mut Api, configuration: &Configuration) -> Configuration {
    let give_up = Instant::now() + Duration::from_secs(60);
    loop {
        let now = get(api, configuration).await;
        if now.state() == State::Destroyed {
            return now;
        }
        assert!(Instant::now() < give_up, "{now:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn recorded(api: &mut Api) -> Vec<String> {
    let request = ListEventsRequest { page_size: 1_000, ..ListEventsRequest::default() };
    let events = api.audit.list_events(request).await.unwrap().into_inner().events;
    events.into_iter().map(|event| event.kind).filter(|kind| kind.starts_with("configuration.")).collect()
}

fn run(home: &Home, server: &Server, arguments: &[&str]) -> Output {
    home.command(arguments).env("VENDKEY_ENDPOINT", &server.endpoint).output().unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test]
async fn what_is_scheduled_issues_nothing_answers_replays_and_can_be_restored() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let configuration = api.configuration(DKGA04).await;
    let request = ten_kwh(&configuration);
    let token = api.issue(request.clone()).await.unwrap().token;
    assert_eq!(reason(&schedule(&mut api, &configuration).await.unwrap_err()), "CONFIGURATION_ENABLED");
    disable(&mut api, &configuration).await;

    let name = configuration.name.as_str();
    for wrong in ["123456", ""] {
        let refused = run(&home, &server, &["configuration", "destroy", name, "--confirm", wrong]);
        assert!(!refused.status.success() && said(&refused).contains("nothing was changed"));
    }
    assert_eq!(run(&home, &server, &["configuration", "destroy", name]).status.code(), Some(64));
    assert_eq!(get(&mut api, &configuration).await.state(), State::Disabled);
    let kcv = configuration.kcv.to_uppercase();
    let scheduled = run(&home, &server, &["configuration", "destroy", name, "--confirm", &kcv]);
    assert!(scheduled.status.success(), "{}", said(&scheduled));
    assert!(said(&scheduled).contains("destroy scheduled"), "{}", said(&scheduled));

    let scheduled = get(&mut api, &configuration).await;
    assert_eq!(scheduled.state(), State::DestroyScheduled);
    let delay = scheduled.destroy_time.unwrap().seconds - scheduled.update_time.unwrap().seconds;
    assert_eq!(delay, 7 * 86_400);
    assert_eq!(schedule(&mut api, &configuration).await.unwrap(), scheduled, "it keeps its time");
    let refused = api.issue(ten_kwh(&configuration)).await.unwrap_err();
    assert_eq!((reason(&refused), issued(&refused)), ("CONFIGURATION_DESTROY_SCHEDULED".into(), "no".into()));
    assert_eq!(api.issue(request.clone()).await.unwrap().token, token);
    let refused = enable(&mut api, &configuration).await.unwrap_err();
    assert_eq!(reason(&refused), "CONFIGURATION_DESTROY_SCHEDULED");

    let restored = run(&home, &server, &["configuration", "restore", name]);
    assert!(restored.status.success() && said(&restored).contains("disabled"), "{}", said(&restored));
    assert_eq!(get(&mut api, &configuration).await.destroy_time, None);
    assert_eq!(restore(&mut api, &configuration).await.unwrap().state(), State::Disabled);
    enable(&mut api, &configuration).await.unwrap();
    api.issue(ten_kwh(&configuration)).await.unwrap();
}

#[tokio::test]
async fn a_destroyed_key_is_gone_and_its_ledger_stays() {
    for (yaml, objects) in [(DKGA04, 1), (DKGA02, 2)] {
        let home = Home::new();
        home.write_settings(AT_ONCE);
        let none = key_objects(&home);
        let server = Server::start(&home);
        let mut api = server.api(&home).await;
        let administrator = api.administrator().await;
        let blobs = administrator.encrypt(yaml);
        let configuration = api.upload(&blobs).await.unwrap().configuration.unwrap();
        let request = ten_kwh(&configuration);
        let token = api.issue(request.clone()).await.unwrap();
        assert_eq!(key_objects(&home), none + objects);
        disable(&mut api, &configuration).await;
        schedule(&mut api, &configuration).await.unwrap();
        let gone = destroyed(&mut api, &configuration).await;
        assert_eq!(key_objects(&home), none);
        assert_eq!((&gone.kcv, &gone.attributes), (&configuration.kcv, &configuration.attributes));
        assert!(gone.destroy_time.is_some());

        let fails = |status: tonic::Status, maybe: &str| {
            assert_eq!(status.code(), Code::FailedPrecondition);
            assert_eq!((reason(&status), issued(&status)), ("CONFIGURATION_DESTROYED".into(), maybe.into()));
        };
        fails(api.issue(request.clone()).await.unwrap_err(), "maybe");
        fails(api.issue(ten_kwh(&configuration)).await.unwrap_err(), "no");
        fails(schedule(&mut api, &configuration).await.unwrap_err(), "no");
        fails(restore(&mut api, &configuration).await.unwrap_err(), "no");
        fails(enable(&mut api, &configuration).await.unwrap_err(), "no");
        fails(api.upload(&blobs).await.unwrap_err(), "no");
        let verify = VerifyTokenRequest {
            configuration: configuration.name.clone(),
            meter: DRN.to_owned(),
            token: token.token.clone(),
            ..VerifyTokenRequest::default()
        };
        fails(api.tokens.verify_token(verify).await.unwrap_err(), "no");
        let by_name = GetIssuedTokenRequest { by: Some(By::Name(token.name.clone())) };
        fails(api.tokens.get_issued_token(by_name).await.unwrap_err(), "maybe");
        let list = ListIssuedTokensRequest { digits: true, ..ListIssuedTokensRequest::default() };
        let listed = api.tokens.list_issued_tokens(list).await.unwrap().into_inner().tokens;
        assert_eq!(listed.len(), 1);
        assert_eq!(
            (listed[0].token.as_str(), &listed[0].name, &listed[0].tid),
            ("", &token.name, &token.tid)
        );

        assert_eq!(
            recorded(&mut api).await,
            ["uploaded", "imported", "disabled", "destroy_scheduled", "destruction_begun", "destroyed"]
                .map(|kind| format!("configuration.{kind}"))
        );
        // Known to a server that starts anew as well, and nothing is missed.
        assert!(server.stop().success());
        let server = Server::start(&home);
        fails(server.api(&home).await.issue(request).await.unwrap_err(), "maybe");
        assert!(!home.log().contains("does not hold this configuration's key"));
        let inventory = home.vendkey(&["inventory", "--settings", &home.text("vendkey.toml")]);
        assert!(inventory.status.success() && said(&inventory).contains("gone"), "{}", said(&inventory));
    }
}

#[tokio::test]
async fn a_destruction_that_dies_goes_on_at_the_next_start() {
    for point in ["destroy-after-begin", "destroy-between-objects", "destroy-after-keys"] {
        let home = Home::new();
        home.write_settings(AT_ONCE);
        let none = key_objects(&home);
        let mut server = Server::start_with(&home, &[("VENDKEY_CRASH_AT", point)]);
        let mut api = server.api(&home).await;
        let configuration = api.configuration(DKGA02).await;
        let request = ten_kwh(&configuration);
        api.issue(request.clone()).await.unwrap();
        disable(&mut api, &configuration).await;
        // The server may die before it answers.
        let _ = schedule(&mut api, &configuration).await;
        server.wait();
        let left = match point {
            "destroy-after-begin" => 2,
            "destroy-between-objects" => 1,
            _ => 0,
        };
        assert_eq!(key_objects(&home), none + left, "{point}");

        // Even where nothing new would be destroyed: what was begun is ended.
        home.write_settings("");
        let server = Server::start(&home);
        let mut api = server.api(&home).await;
        let refused = restore(&mut api, &configuration).await.unwrap_err();
        assert_eq!(reason(&refused), "CONFIGURATION_DESTROYED", "{point}");
        destroyed(&mut api, &configuration).await;
        assert_eq!(key_objects(&home), none, "{point}");
        assert_eq!(reason(&api.issue(request).await.unwrap_err()), "CONFIGURATION_DESTROYED", "{point}");
        let once = |kinds: &[String], wanted: &str| kinds.iter().filter(|kind| *kind == wanted).count();
        let kinds = recorded(&mut api).await;
        assert_eq!(once(&kinds, "configuration.destruction_begun"), 1, "{point}: {kinds:?}");
        assert_eq!(once(&kinds, "configuration.destroyed"), 1, "{point}: {kinds:?}");
    }
}

#[tokio::test]
async fn a_configuration_without_a_key_can_be_destroyed() {
    let home = Home::new();
    home.write_settings(AT_ONCE);
    let none = key_objects(&home);
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let short = DKGA04.replace("abababababababab949494949494949401234567", "0123456789abcdef");
    let configuration = api.configuration(&short).await;
    assert_eq!((configuration.state(), configuration.kcv.as_str()), (State::Disabled, ""));
    let name = configuration.name.as_str();
    let scheduled =
        run(&home, &server, &["configuration", "destroy", name, "--confirm", "test configuration"]);
    assert!(scheduled.status.success(), "{}", said(&scheduled));
    destroyed(&mut api, &configuration).await;
    assert_eq!(key_objects(&home), none);
}

#[tokio::test]
async fn meters_are_not_carried_from_or_to_a_destroyed_key() {
    let home = Home::new();
    home.write_settings(AT_ONCE);
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let administrator = api.administrator().await;
    let mut upload = async |revision: &str| {
        let yaml = DKGA04
            .replace("key_revision_no: 1", &format!("key_revision_no: {revision}"))
            .replace("4567\n", &format!("456{revision}\n"));
        api.upload(&administrator.encrypt(&yaml)).await.unwrap().configuration.unwrap()
    };
    let [kept, gone, other] = [upload("1").await, upload("2").await, upload("3").await];
    let pair = |source: &Configuration, target: &Configuration| AllowKeyChangeRequest {
        source: source.name.clone(),
        target: target.name.clone(),
    };
    for allowed in [pair(&kept, &gone), pair(&gone, &kept)] {
        api.configurations.allow_key_change(allowed).await.unwrap();
    }
    let change = |source: &Configuration, target: &Configuration| IssueKeyChangeRequest {
        source: source.name.clone(),
        target: target.name.clone(),
        meter: DRN.to_owned(),
        request_id: uuid::Uuid::now_v7().to_string(),
        ..IssueKeyChangeRequest::default()
    };
    let done = change(&kept, &gone);
    api.tokens.issue_key_change(done.clone()).await.unwrap();
    disable(&mut api, &gone).await;
    schedule(&mut api, &gone).await.unwrap();
    destroyed(&mut api, &gone).await;
    for (request, maybe) in [(change(&kept, &gone), "no"), (change(&gone, &kept), "no"), (done, "maybe")] {
        let refused = api.tokens.issue_key_change(request).await.unwrap_err();
        assert_eq!((reason(&refused), issued(&refused)), ("CONFIGURATION_DESTROYED".into(), maybe.into()));
    }
    for refused in [pair(&gone, &other), pair(&other, &gone)] {
        let refused = api.configurations.allow_key_change(refused).await.unwrap_err();
        assert_eq!(reason(&refused), "CONFIGURATION_DESTROYED");
    }
}
