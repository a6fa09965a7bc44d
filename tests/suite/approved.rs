//! What enough persons approved is done, and done once: whatever fails, whoever dies, and whatever
//! was changed meanwhile.

use std::{
    fs,
    time::{Duration, Instant},
};

use rusqlite::Connection;
use vendkey::{
    access::Credential,
    api::v1::{
        AcceptRestoreRequest, AllowKeyChangeRequest, Client, CreateClientRequest, CreateCredentialRequest,
        DisableClientRequest, DisableConfigurationRequest, DisableCredentialRequest, DisablePublicKeyRequest,
        EnableClientRequest, EnableCredentialRequest, EnablePublicKeyRequest, ForbidKeyChangeRequest, Group,
        Limits, ListClientsRequest, ListConfigurationsRequest, ListCredentialsRequest,
        ListKeyChangePairsRequest, ListPublicKeysRequest, LowerLastTidRequest, MeterSeed,
        RestoreConfigurationRequest, ScheduleDestroyConfigurationRequest, SeedMetersRequest,
        SetCredentialExpiryRequest, UpdateClientRequest, approval::State,
        configuration::State as ConfigurationState,
    },
};

use crate::{
    busy,
    clock::{HOUR_MS, Played},
    harness::{
        Api, DKGA02, DKGA04, Health, Home, Server,
        persons::{TWO, api, creating, enabling, held, home, waiting},
        reason, ten_kwh,
    },
};

#[tokio::test]
async fn an_act_whose_server_died_is_done_at_the_next_start() {
    for point in ["approval-before-act", "approval-after-act"] {
        let home = home(TWO, &["asha"]);
        let mut server = Server::start_with(&home, &[("VENDKEY_CRASH_AT", point)]);
        let mut first = api(&home, &server, "credential").await;
        let (_, _, name) = first.ask_for_key().await;
        let mut asha = api(&home, &server, "asha").await;
        asha.approve(&name).await.unwrap_err();
        server.wait();
        let server = Server::start(&home);
        let mut asha = api(&home, &server, "asha").await;
        let done = asha.approval(&name).await;
        assert_eq!(done.state(), State::Done, "{point}: {}", done.outcome);
        let keys = asha.public_keys.list_public_keys(ListPublicKeysRequest::default()).await.unwrap();
        let keys: Vec<_> = keys.get_ref().public_keys.iter().map(|key| key.name.clone()).collect();
        assert_eq!(keys, [done.outcome], "{point}");
    }
}

/// How many acts are on record that were done with this approval.
fn done_with(home: &Home, approval: &str) -> i64 {
    let database = Connection::open(home.path("vendkey.db")).unwrap();
    let count = "SELECT count(*) FROM acts WHERE kind NOT LIKE 'approval.%' AND instr(details, ?1) > 0";
    let id = approval.trim_start_matches("approvals/");
    database.query_row(count, [id], |row| row.get(0)).unwrap()
}

/// Waits until an approved act has ended.
async fn ended(api: &mut Api, name: &str) -> vendkey::api::v1::Approval {
    let give_up = Instant::now() + Duration::from_secs(120);
    loop {
        let approval = api.approval(name).await;
        if approval.state() != State::Approved {
            return approval;
        }
        assert!(Instant::now() < give_up, "it is never done");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

impl Api {
    /// A client that another person agrees to.
    async fn made(&mut self, other: &mut Self, request: CreateClientRequest) -> Client {
        let name = waiting(self.clients.create_client(request.clone()).await);
        other.approve(&name).await.unwrap();
        self.clients.create_client(request).await.unwrap().into_inner()
    }

    /// A credential that another person agrees to; answers its name.
    async fn given(&mut self, other: &mut Self, request: CreateCredentialRequest) -> String {
        let name = waiting(self.clients.create_credential(request).await);
        other.approve(&name).await.unwrap().outcome
    }

    /// All that the acts change.
    async fn state(&mut self, clients: &[&Client]) -> String {
        let keys = self.public_keys.list_public_keys(ListPublicKeysRequest::default()).await.unwrap();
        let listed = ListConfigurationsRequest::default();
        let configurations = self.configurations.list_configurations(listed).await.unwrap();
        let pairs = self.configurations.list_key_change_pairs(ListKeyChangePairsRequest::default()).await;
        let all = self.clients.list_clients(ListClientsRequest::default()).await.unwrap();
        let mut state = format!(
            "{:#?}\n{:#?}\n{:#?}\n{:#?}",
            keys.get_ref(),
            configurations.get_ref(),
            pairs.unwrap().get_ref(),
            all.get_ref()
        );
        for client in clients {
            let of = ListCredentialsRequest { client: client.name.clone(), ..Default::default() };
            let listed = self.clients.list_credentials(of).await.unwrap();
            state.push_str(&format!("\n{:#?}", listed.get_ref()));
        }
        state
    }
}

/// In so many seconds.
fn in_seconds(seconds: i64) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp { seconds: jiff::Timestamp::now().as_second() + seconds, nanos: 0 })
}

#[tokio::test]
async fn what_was_changed_after_an_act_stays_so_when_its_end_was_not_noted() {
    let home = home(TWO, &["asha"]);
    let server = Server::start(&home);
    let mut first = api(&home, &server, "credential").await;
    let mut asha = api(&home, &server, "asha").await;
    let issuing = first.enabled(&mut asha, DKGA04).await;
    let disabled = first.uploaded(&mut asha, DKGA02).await;
    let next = DKGA04.replace("key_revision_no: 1", "key_revision_no: 2");
    let doomed = first.uploaded(&mut asha, &next).await;
    let keys = first.public_keys.list_public_keys(ListPublicKeysRequest::default()).await.unwrap();
    let key = keys.get_ref().public_keys[0].name.clone();
    first.public_keys.disable_public_key(DisablePublicKeyRequest { name: key.clone() }).await.unwrap();
    let kiosk = first.made(&mut asha, creating("kiosk", &[Group::Vend])).await;
    let away = first.made(&mut asha, creating("away", &[Group::Vend])).await;
    first.clients.disable_client(DisableClientRequest { name: away.name.clone() }).await.unwrap();
    let limited = |client: &Client, tokens_per_day| UpdateClientRequest {
        name: client.name.clone(),
        etag: client.etag.clone(),
        display_name: client.display_name.clone(),
        rights: client.rights.clone(),
        limits: Some(Limits { tokens_per_day: Some(tokens_per_day), ..Limits::default() }),
    };
    let kiosk = first.clients.update_client(limited(&kiosk, 10)).await.unwrap().into_inner();
    let generated = || Credential::generate().unwrap();
    let off = first.given(&mut asha, held(&kiosk, &generated())).await;
    first.clients.disable_credential(DisableCredentialRequest { name: off.clone() }).await.unwrap();
    let short = CreateCredentialRequest { expire_time: in_seconds(86_400), ..held(&kiosk, &generated()) };
    let short = first.given(&mut asha, short).await;
    let issued = first.issue(ten_kwh(&issuing)).await.unwrap();
    let (meter_pan, tid) = (issued.meter_pan.clone(), issued.tid.unwrap().value);
    let seed = || SeedMetersRequest {
        seeds: vec![MeterSeed { meter_pan: meter_pan.clone(), base_date: 2014, last_tid: tid + 1_000_000 }],
    };
    first.ledger.seed_meters(seed()).await.unwrap();
    assert!(server.stop().success());

    // Every act but one is done, and none can be noted.
    let server = Server::start_with(&home, &[("VENDKEY_FAIL_AT", "approval-note")]);
    let mut first = api(&home, &server, "credential").await;
    let mut asha = api(&home, &server, "asha").await;
    let (_, _, registered) = first.ask_for_key().await;
    let pair = (issuing.name.clone(), disabled.name.clone());
    let new = creating("new", &[Group::Vend]);
    let name = |name: &String| name.clone();
    let longer =
        |seconds| SetCredentialExpiryRequest { name: short.clone(), expire_time: in_seconds(seconds) };
    let destroyed = ScheduleDestroyConfigurationRequest { name: name(&doomed.name) };
    let allowed = AllowKeyChangeRequest { source: name(&pair.0), target: name(&pair.1) };
    let lowered = LowerLastTidRequest { meter_pan: meter_pan.clone(), base_date: 2014, last_tid: tid };
    let credential = held(&kiosk, &generated());
    let names = [
        registered,
        waiting(first.public_keys.enable_public_key(EnablePublicKeyRequest { name: name(&key) }).await),
        waiting(first.configurations.enable_configuration(enabling(&disabled)).await),
        waiting(first.configurations.schedule_destroy_configuration(destroyed).await),
        waiting(first.configurations.allow_key_change(allowed).await),
        waiting(first.clients.create_client(new.clone()).await),
        waiting(first.clients.update_client(limited(&kiosk, 20)).await),
        waiting(first.clients.enable_client(EnableClientRequest { name: name(&away.name) }).await),
        waiting(first.clients.create_credential(credential.clone()).await),
        waiting(first.clients.enable_credential(EnableCredentialRequest { name: name(&off) }).await),
        waiting(first.clients.set_credential_expiry(longer(864_000)).await),
        waiting(first.ledger.lower_last_tid(lowered).await),
    ];
    for approval in &names {
        assert_eq!(reason(&asha.approve(approval).await.unwrap_err()), "STORE_BUSY");
        assert_eq!((asha.approval(approval).await.state(), done_with(&home, approval)), (State::Approved, 1));
    }

    // Somebody changes their mind about each.
    let keys = first.public_keys.list_public_keys(ListPublicKeysRequest::default()).await.unwrap();
    let made = keys.get_ref().public_keys.last().unwrap().name.clone();
    for key in [&made, &key] {
        first.public_keys.disable_public_key(DisablePublicKeyRequest { name: name(key) }).await.unwrap();
    }
    let off_again = DisableConfigurationRequest { name: name(&disabled.name) };
    first.configurations.disable_configuration(off_again).await.unwrap();
    let restored = RestoreConfigurationRequest { name: name(&doomed.name) };
    first.configurations.restore_configuration(restored).await.unwrap();
    let forbidden = ForbidKeyChangeRequest { source: name(&pair.0), target: name(&pair.1) };
    first.configurations.forbid_key_change(forbidden).await.unwrap();
    let new = first.client("new").await;
    for client in [&new, &away] {
        first.clients.disable_client(DisableClientRequest { name: name(&client.name) }).await.unwrap();
    }
    let kiosk = first.client("kiosk").await;
    assert_eq!(kiosk.limits.as_ref().unwrap().tokens_per_day, Some(20));
    first.clients.update_client(limited(&kiosk, 5)).await.unwrap();
    let made_credential = first.clients.create_credential(credential).await.expect("it is there already");
    let made_credential = made_credential.into_inner().credential.unwrap().name;
    for credential in [&made_credential, &off] {
        let request = DisableCredentialRequest { name: name(credential) };
        first.clients.disable_credential(request).await.unwrap();
    }
    first.clients.set_credential_expiry(longer(3_600)).await.unwrap();
    first.ledger.seed_meters(seed()).await.unwrap();
    let before = first.state(&[&kiosk]).await;
    drop(server);

    let server = Server::start(&home);
    let mut first = api(&home, &server, "credential").await;
    let mut outcomes = Vec::new();
    for approval in &names {
        let found = first.approval(approval).await;
        assert_eq!((found.state(), done_with(&home, approval)), (State::Done, 1), "{found:?}");
        outcomes.extend(Some(found.outcome).filter(|outcome| !outcome.is_empty()));
    }
    assert_eq!(outcomes, [made, new.name.clone(), made_credential]);
    unchanged(&before, &first.state(&[&kiosk]).await);
    assert_eq!(reason(&first.issue(ten_kwh(&issuing)).await.unwrap_err()), "TID_BEYOND_HORIZON");
}

fn unchanged(before: &str, after: &str) {
    let changed: Vec<_> =
        before.lines().zip(after.lines()).filter(|(before, after)| before != after).collect();
    assert!(changed.is_empty() && before.len() == after.len(), "{changed:?}");
}

#[tokio::test]
async fn a_restore_that_was_accepted_is_accepted_once() {
    // The server dies at once, or makes a checkpoint of what was accepted first.
    for (fault, point) in [("VENDKEY_CRASH_AT", "approval-after-act"), ("VENDKEY_FAIL_AT", "approval-note")] {
        let home = home(TWO, &["asha"]);
        let server = Server::start(&home);
        let mut first = api(&home, &server, "credential").await;
        let mut asha = api(&home, &server, "asha").await;
        let configuration = first.enabled(&mut asha, DKGA04).await;
        assert!(server.stop().success());
        fs::copy(home.path("vendkey.db"), home.path("backup.db")).unwrap();
        let server = Server::start(&home);
        api(&home, &server, "credential").await.issue(ten_kwh(&configuration)).await.unwrap();
        assert!(server.stop().success());
        for side in ["vendkey.db-wal", "vendkey.db-shm"] {
            let _ = fs::remove_file(home.path(side));
        }
        fs::copy(home.path("backup.db"), home.path("vendkey.db")).unwrap();

        let mut server = Server::start_with(&home, &[(fault, point)]);
        let mut first = api(&home, &server, "credential").await;
        let name = waiting(first.ledger.accept_restore(AcceptRestoreRequest {}).await);
        api(&home, &server, "asha").await.approve(&name).await.unwrap_err();
        if fault == "VENDKEY_CRASH_AT" {
            server.wait();
        } else {
            assert!(server.stop().success());
        }
        let server = Server::start(&home);
        let mut first = api(&home, &server, "credential").await;
        let done = first.approval(&name).await;
        assert_eq!((done.state(), done.outcome.as_str()), (State::Done, ""), "{point}");
        first.issue(ten_kwh(&configuration)).await.unwrap();
        assert_eq!(done_with(&home, &name), 1, "{point}");
        let nothing = first.ledger.accept_restore(AcceptRestoreRequest {}).await.unwrap_err();
        assert_eq!(reason(&nothing), "NOTHING_TO_ACCEPT");
    }
}

#[tokio::test]
async fn an_approved_act_waits_for_an_hsm_that_is_away_and_for_a_store_that_is_busy() {
    for fault in ["HSM_UNAVAILABLE", "STORE_UNAVAILABLE"] {
        let home = home(TWO, &["asha"]);
        let server = Server::start(&home);
        let mut first = api(&home, &server, "credential").await;
        let configuration = first.uploaded(&mut api(&home, &server, "asha").await, DKGA04).await;
        assert!(server.stop().success());
        let server = busy::held_at(&home, "approval-before-act", &[]);
        let mut first = api(&home, &server, "credential").await;
        let mut asha = api(&home, &server, "asha").await;
        let name = waiting(first.configurations.enable_configuration(enabling(&configuration)).await);
        let mut health = Health::of(&server).await;
        health.serving().await;
        let vote = tokio::spawn({
            let (mut asha, name) = (asha.clone(), name.clone());
            async move { asha.approve(&name).await }
        });
        let standing = busy::reached(&home).await;
        let writer = Connection::open(home.path("vendkey.db")).unwrap();
        if fault == "HSM_UNAVAILABLE" {
            fs::rename(home.path("hsm/tokens"), home.path("hsm/gone")).unwrap();
            health.not_serving().await;
        } else {
            writer.execute_batch("BEGIN IMMEDIATE").unwrap();
        }
        drop(standing);
        let deferred = vote.await.unwrap().unwrap();
        assert_eq!(deferred.state(), State::Approved, "{deferred:?}");
        assert!(deferred.outcome.starts_with(fault), "{}", deferred.outcome);
        assert_eq!(first.state_of(&configuration).await, ConfigurationState::Disabled);
        if fault == "HSM_UNAVAILABLE" {
            fs::rename(home.path("hsm/gone"), home.path("hsm/tokens")).unwrap();
        } else {
            writer.execute_batch("ROLLBACK").unwrap();
        }
        let done = ended(&mut asha, &name).await;
        assert_eq!((done.state(), done.outcome.as_str()), (State::Done, ""));
        assert_eq!(first.state_of(&configuration).await, ConfigurationState::Enabled);
        assert_eq!(done_with(&home, &name), 1);
    }
}

#[tokio::test]
async fn an_approved_act_that_fails_for_now_is_done_when_it_can_be() {
    let home = home(TWO, &["asha"]);
    let clock = Played::new(&home);
    let mut server = clock.start(&home, &[]);
    let mut first = api(&home, &server, "credential").await;
    let mut asha = api(&home, &server, "asha").await;
    for restarts in [false, true] {
        let configuration = first.uploaded(&mut asha, if restarts { DKGA02 } else { DKGA04 }).await;
        let destroyed = ScheduleDestroyConfigurationRequest { name: configuration.name.clone() };
        let name = waiting(first.configurations.schedule_destroy_configuration(destroyed).await);
        // Nothing is destroyed while the clock is in doubt.
        clock.set(&HOUR_MS.to_string());
        let deferred = asha.approve(&name).await.unwrap();
        assert_eq!(deferred.state(), State::Approved, "{}", deferred.outcome);
        assert!(deferred.outcome.starts_with("CLOCK_IN_DOUBT"), "{}", deferred.outcome);
        assert_eq!(asha.approval(&name).await.outcome, deferred.outcome);
        assert_eq!(first.state_of(&configuration).await, ConfigurationState::Disabled);
        if restarts {
            server.signal(rustix::process::Signal::KILL);
            server.wait();
        }
        clock.set("0");
        if restarts {
            server = clock.start(&home, &[]);
            (first, asha) = (api(&home, &server, "credential").await, api(&home, &server, "asha").await);
        }
        let done = ended(&mut asha, &name).await;
        assert_eq!((done.state(), done.outcome.as_str()), (State::Done, ""));
        assert_eq!(first.state_of(&configuration).await, ConfigurationState::DestroyScheduled);
    }
}
