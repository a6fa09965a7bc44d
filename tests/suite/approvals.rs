//! Four eyes: what waits, who counts, and that nothing else is ever done.

use std::{
    fs,
    time::{Duration, Instant},
};

use rusqlite::Connection;
use serde_json::Value;
use uuid::Uuid;
use vendkey::{
    access::Credential,
    api::v1::{
        AcceptRestoreRequest, AllowKeyChangeRequest, ApproveRequest, Client, CreateCredentialRequest,
        DisableClientRequest, DisableCredentialRequest, EnableClientRequest, EnableCredentialRequest, Group,
        Limits, ListApprovalsRequest, ListClientsRequest, ListPublicKeysRequest, LowerLastTidRequest,
        MeterSeed, RestoreConfigurationRequest, ScheduleDestroyConfigurationRequest, SeedMetersRequest,
        UpdateClientRequest, approval::State, configuration::State as ConfigurationState,
    },
};

use crate::harness::{
    Api, DKGA02, DKGA04, Server,
    persons::{TWO, api, creating, enabling, held, home, said, waiting},
    reason, ten_kwh,
};

#[tokio::test]
async fn an_act_waits_for_a_second_person_and_is_done_in_the_name_of_the_first() {
    let home = home(TWO, &["asha"]);
    let second = home.vendkey(&[
        "setup",
        "--settings",
        &home.text("vendkey.toml"),
        "--credential-file",
        &home.text("again"),
    ]);
    assert!(second.status.success(), "{}", said(&second));
    let server = Server::start(&home);
    let mut first = api(&home, &server, "credential").await;
    let mut same = api(&home, &server, "again").await;
    let mut asha = api(&home, &server, "asha").await;

    let (administrator, request, name) = first.ask_for_key().await;
    assert_eq!(waiting(first.public_keys.register_public_key(request.clone()).await), name, "asked once");
    let keys = async |api: &mut Api| {
        let keys = api.public_keys.list_public_keys(ListPublicKeysRequest::default()).await;
        keys.unwrap().into_inner().public_keys
    };
    assert!(keys(&mut first).await.is_empty(), "nothing was done");
    let pending = asha.approval(&name).await;
    assert_eq!((pending.state(), pending.needed, pending.missing), (State::Pending, 2, 1));
    assert!(pending.summary.contains("register public key \"mine\""), "{}", pending.summary);

    // The same person, whatever the credential, is one person.
    for api in [&mut first, &mut same] {
        assert_eq!(reason(&api.approve(&name).await.unwrap_err()), "APPROVAL_OWN");
    }
    let other = ApproveRequest { name: name.clone(), content_sha256: "00".repeat(32) };
    assert_eq!(reason(&asha.approvals.approve(other).await.unwrap_err()), "APPROVAL_CONTENT_CHANGED");
    assert_eq!(asha.approval(&name).await.state(), State::Pending, "that ends nothing");

    let seen = ApproveRequest { name: name.clone(), content_sha256: pending.content_sha256 };
    let done = asha.approvals.approve(seen).await.unwrap().into_inner();
    assert_eq!(done.state(), State::Done, "{}", done.outcome);
    assert_eq!(asha.approve(&name).await.unwrap(), done, "a lost answer is answered again");
    let key = &keys(&mut first).await[0];
    assert_eq!((&key.name, &key.owner), (&done.outcome, &done.requester), "in the name of who asked");
    assert_ne!(done.requester, done.votes[0].client);
    first.public_keys.register_public_key(request).await.expect("what is so already waits for nobody");

    let uploaded = first.upload(&administrator.encrypt(DKGA04)).await.unwrap().configuration.unwrap();
    assert_eq!(uploaded.state(), ConfigurationState::Disabled);
    assert!(uploaded.warnings.iter().any(|warning| warning.code == "AWAITS_APPROVAL"));
    assert_eq!(reason(&first.issue(ten_kwh(&uploaded)).await.unwrap_err()), "CONFIGURATION_DISABLED");
    let name = waiting(first.configurations.enable_configuration(enabling(&uploaded)).await);
    assert_eq!(reason(&first.issue(ten_kwh(&uploaded)).await.unwrap_err()), "CONFIGURATION_DISABLED");
    let pending = asha.approval(&name).await;
    assert!(pending.summary.contains(&format!("KCV {}, SGC 123456", uploaded.kcv)), "{}", pending.summary);
    assert_eq!(asha.approve(&name).await.unwrap().state(), State::Done);
    first.issue(ten_kwh(&uploaded)).await.unwrap();

    let other = first.uploaded(&mut asha, DKGA02).await;
    let destroyed = ScheduleDestroyConfigurationRequest { name: uploaded.name.clone() };
    let enabled = asha.configurations.schedule_destroy_configuration(destroyed).await.unwrap_err();
    assert_ne!(reason(&enabled), "APPROVAL_PENDING", "only what is disabled is destroyed");
    let destroyed = ScheduleDestroyConfigurationRequest { name: other.name.clone() };
    let name = waiting(asha.configurations.schedule_destroy_configuration(destroyed.clone()).await);
    assert_eq!(first.state_of(&other).await, ConfigurationState::Disabled);
    assert_eq!(first.approve(&name).await.unwrap().state(), State::Done);
    assert_eq!(first.state_of(&other).await, ConfigurationState::DestroyScheduled);
    asha.configurations.schedule_destroy_configuration(destroyed).await.expect("scheduled already");
    let restored = RestoreConfigurationRequest { name: other.name.clone() };
    asha.configurations.restore_configuration(restored).await.expect("going back takes one person");
    let pair = AllowKeyChangeRequest { source: uploaded.name.clone(), target: other.name.clone() };
    let name = waiting(asha.configurations.allow_key_change(pair.clone()).await);
    assert_eq!(first.approve(&name).await.unwrap().state(), State::Done);
    asha.configurations.allow_key_change(pair).await.expect("allowed already");
}

#[tokio::test]
async fn whoever_gets_more_gets_it_from_two_persons() {
    let home = home(TWO, &["asha"]);
    let server = Server::start(&home);
    let mut first = api(&home, &server, "credential").await;
    let mut asha = api(&home, &server, "asha").await;
    for (name, groups) in [("dara", &[Group::Clients][..]), ("kiosk", &[Group::Vend])] {
        let request = creating(name, groups);
        let approval = waiting(first.clients.create_client(request.clone()).await);
        let summary = asha.approval(&approval).await.summary;
        assert!(summary.contains(&format!("{name:?}")) && summary.contains("limits: none"), "{summary}");
        let done = asha.approve(&approval).await.unwrap();
        let made = first.clients.create_client(request).await.unwrap().into_inner();
        assert_eq!((done.state(), done.outcome), (State::Done, made.name));
    }
    first.clients.create_client(creating("shelf", &[])).await.expect("who may do nothing needs nobody");

    // A secret that is made later could be shown to nobody.
    let dara = first.client("dara").await;
    let shown = CreateCredentialRequest { client: dara.name.clone(), ..Default::default() };
    assert_eq!(reason(&first.clients.create_credential(shown).await.unwrap_err()), "INVALID_FIELDS");
    let credential = Credential::generate().unwrap();
    let approval = waiting(first.clients.create_credential(held(&dara, &credential)).await);
    fs::write(home.path("dara"), &*credential.expose()).unwrap();
    let mut hers = api(&home, &server, "dara").await;
    let listed = hers.clients.list_clients(ListClientsRequest::default()).await;
    assert_eq!(reason(&listed.unwrap_err()), "CREDENTIAL_REFUSED", "not yet");
    asha.approve(&approval).await.unwrap();
    hers.clients.list_clients(ListClientsRequest::default()).await.unwrap();
    hers.clients.create_credential(held(&dara, &Credential::generate().unwrap())).await.expect("one's own");

    // Nor may who can do it, but not there.
    let mut request = creating("ben", &[Group::Configurations, Group::PublicKeys]);
    request.rights.as_mut().unwrap().supply_groups = vec!["999999".to_owned()];
    let approval = waiting(first.clients.create_client(request).await);
    asha.approve(&approval).await.unwrap();
    let (ben, credential_of_ben) = (first.client("ben").await, Credential::generate().unwrap());
    let approval = waiting(first.clients.create_credential(held(&ben, &credential_of_ben)).await);
    asha.approve(&approval).await.unwrap();
    let mut ben = Api::connect(&server.endpoint, &credential_of_ben.expose()).await;
    let configuration = first.uploaded(&mut asha, DKGA04).await;
    let outside = ben.configurations.enable_configuration(enabling(&configuration)).await;
    assert_eq!(reason(&outside.unwrap_err()), "PERMISSION_DENIED");
    let destroyed = ScheduleDestroyConfigurationRequest { name: configuration.name.clone() };
    let outside = ben.configurations.schedule_destroy_configuration(destroyed).await;
    assert_eq!(reason(&outside.unwrap_err()), "PERMISSION_DENIED");
    let approval = waiting(first.configurations.enable_configuration(enabling(&configuration)).await);
    assert_eq!(reason(&ben.approve(&approval).await.unwrap_err()), "PERMISSION_DENIED");

    // Who may not do it himself may not decide about it.
    let (_, _, key) = first.ask_for_key().await;
    assert_eq!(reason(&hers.approve(&key).await.unwrap_err()), "PERMISSION_DENIED");
    let mut till = Api::connect(&server.endpoint, &home.till()).await;
    assert_eq!(reason(&till.approve(&key).await.unwrap_err()), "PERMISSION_DENIED");
    assert_eq!(asha.approval(&key).await.missing, 1);

    // Whoever makes the secret of a till could vend with it.
    let kiosk = first.client("kiosk").await;
    let credential_of_kiosk = Credential::generate().unwrap();
    let approval = waiting(first.clients.create_credential(held(&kiosk, &credential_of_kiosk)).await);
    assert_eq!(asha.reject(&approval).await.unwrap().state(), State::Rejected);
    let limited = |client: &Client, tokens_per_day| UpdateClientRequest {
        name: client.name.clone(),
        etag: client.etag.clone(),
        display_name: client.display_name.clone(),
        rights: client.rights.clone(),
        limits: Some(Limits { tokens_per_day, ..Limits::default() }),
    };
    let lower = first.clients.update_client(limited(&kiosk, Some(10))).await;
    let kiosk = lower.expect("taking away takes one person").into_inner();
    let approval = waiting(first.clients.update_client(limited(&kiosk, Some(11))).await);
    let summary = asha.approval(&approval).await.summary;
    assert!(summary.ends_with("limits: 11 tokens per day, instead of 10 tokens per day"), "{summary}");
    assert_eq!(asha.approve(&approval).await.unwrap().state(), State::Done);
    assert_eq!(first.client("kiosk").await.limits.unwrap().tokens_per_day, Some(11));

    // Out at once, back with two.
    first.clients.disable_client(DisableClientRequest { name: dara.name.clone() }).await.unwrap();
    let back = waiting(first.clients.enable_client(EnableClientRequest { name: dara.name.clone() }).await);
    assert!(!first.client("dara").await.enabled);
    assert_eq!(asha.approve(&back).await.unwrap().state(), State::Done);
    assert!(first.client("dara").await.enabled);
    let name = format!("credentials/{}", credential.key_id());
    first.clients.disable_credential(DisableCredentialRequest { name: name.clone() }).await.unwrap();
    let back = waiting(first.clients.enable_credential(EnableCredentialRequest { name }).await);
    assert_eq!(asha.approve(&back).await.unwrap().state(), State::Done);
}

#[tokio::test]
async fn one_word_against_it_ends_it() {
    let home = home(TWO, &["asha"]);
    let server = Server::start(&home);
    let mut first = api(&home, &server, "credential").await;
    let mut asha = api(&home, &server, "asha").await;
    let configuration = first.uploaded(&mut asha, DKGA04).await;
    for rejects_himself in [false, true] {
        let name = waiting(first.configurations.enable_configuration(enabling(&configuration)).await);
        let rejected = if rejects_himself { &mut first } else { &mut asha }.reject(&name).await.unwrap();
        assert_eq!(rejected.state(), State::Rejected);
        assert_eq!(reason(&asha.approve(&name).await.unwrap_err()), "APPROVAL_ENDED");
        assert_eq!(first.state_of(&configuration).await, ConfigurationState::Disabled);
        let again = waiting(first.configurations.enable_configuration(enabling(&configuration)).await);
        assert_ne!(again, name, "asked for anew");
        asha.reject(&again).await.unwrap();
    }
    let open = asha.approvals.list_approvals(ListApprovalsRequest::default()).await.unwrap();
    assert!(open.get_ref().approvals.is_empty());
    let missing = "approvals/019ab3c4-0000-7000-8000-000000000000";
    assert_eq!(reason(&asha.approve(missing).await.unwrap_err()), "APPROVAL_NOT_FOUND");
}

#[tokio::test]
async fn two_last_votes_at_once_do_it_once() {
    let home = home(TWO, &["asha", "ben"]);
    let server = Server::start(&home);
    let mut first = api(&home, &server, "credential").await;
    let (mut asha, mut ben) = (api(&home, &server, "asha").await, api(&home, &server, "ben").await);
    for _ in 0..5 {
        let (_, _, name) = first.ask_for_key().await;
        let (of_asha, of_ben) = tokio::join!(asha.approve(&name), ben.approve(&name));
        // Whoever came second finds it being done, or done.
        let answers = [of_asha, of_ben].map(|answer| {
            answer.map_or_else(|status| reason(&status), |voted| voted.state().as_str_name().to_owned())
        });
        assert!(answers.iter().any(|answer| answer == "DONE"), "{answers:?}");
        let known = ["DONE", "APPROVED", "APPROVAL_ENDED"];
        assert!(answers.iter().all(|answer| known.contains(&answer.as_str())), "{answers:?}");
    }
    assert!(server.stop().success());
    let database = Connection::open(home.path("vendkey.db")).unwrap();
    for kind in ["approval.granted", "approval.done", "public_key.registered"] {
        let count: i64 = database
            .query_row("SELECT count(*) FROM acts WHERE kind = ?1", [kind], |row| row.get(0))
            .unwrap();
        assert_eq!(count, 5, "{kind}");
    }
}

#[tokio::test]
async fn time_ends_what_nobody_approved() {
    let home = home(&format!("{TWO}approval_expiry = '1s'\n"), &["asha"]);
    let server = Server::start(&home);
    let mut first = api(&home, &server, "credential").await;
    let mut asha = api(&home, &server, "asha").await;
    let (_, request, name) = first.ask_for_key().await;
    let give_up = Instant::now() + Duration::from_secs(60);
    while asha.approval(&name).await.state() == State::Pending {
        assert!(Instant::now() < give_up, "it never expires");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(asha.approval(&name).await.state(), State::Expired);
    assert_eq!(reason(&asha.approve(&name).await.unwrap_err()), "APPROVAL_ENDED");
    assert_ne!(waiting(first.public_keys.register_public_key(request).await), name);
}

#[tokio::test]
async fn persons_who_were_disabled_do_not_count() {
    let home = home("[access]\napprovals = 3\n", &["asha", "ben", "cleo"]);
    let server = Server::start(&home);
    let mut first = api(&home, &server, "credential").await;
    let (_, _, by_first) = first.ask_for_key().await;
    let mut asha = api(&home, &server, "asha").await;
    let (_, _, by_asha) = asha.ask_for_key().await;
    assert_eq!(asha.approve(&by_first).await.unwrap().missing, 1);
    assert_eq!(first.approve(&by_asha).await.unwrap().missing, 1);
    let mut ben = api(&home, &server, "ben").await;
    let asha = ben.client("asha").await;
    ben.clients.disable_client(DisableClientRequest { name: asha.name }).await.unwrap();
    let voted = ben.approve(&by_first).await.unwrap();
    assert_eq!((voted.state(), voted.missing), (State::Pending, 1), "her vote does not count any more");
    // What she asked for is not done in her name, however many are for it.
    let mut cleo = api(&home, &server, "cleo").await;
    assert_eq!(ben.approve(&by_asha).await.unwrap().missing, 1);
    let ended = cleo.approve(&by_asha).await.unwrap();
    assert_eq!(ended.state(), State::Failed);
    assert!(ended.outcome.starts_with("PERMISSION_DENIED"), "{}", ended.outcome);
    assert_eq!(cleo.approve(&by_first).await.unwrap().state(), State::Done);
}

#[tokio::test]
async fn content_that_was_changed_in_the_database_is_not_done() {
    let home = home(TWO, &["asha"]);
    let server = Server::start(&home);
    let mut first = api(&home, &server, "credential").await;
    let mut asha = api(&home, &server, "asha").await;
    let wanted = first.uploaded(&mut asha, DKGA04).await;
    let other = first.uploaded(&mut asha, DKGA02).await;
    let name = waiting(first.configurations.enable_configuration(enabling(&wanted)).await);
    server.stop();
    let id = other.name.trim_start_matches("configurations/");
    let changed = format!(r#"{{"version":1,"act":{{"enable_configuration":{{"configuration":"{id}"}}}}}}"#);
    let database = Connection::open(home.path("vendkey.db")).unwrap();
    let sql = format!(
        "DROP TRIGGER approvals_keep_their_content;
         UPDATE approvals SET request = x'{}' WHERE state = 'PENDING'",
        hex::encode(changed)
    );
    database.execute_batch(&sql).unwrap();
    drop(database);

    let server = Server::start(&home);
    let mut asha = api(&home, &server, "asha").await;
    assert_eq!(reason(&asha.approve(&name).await.unwrap_err()), "SEAL_BROKEN");
    server.stop();
    // Even under a good seal: whoever sealed it did not look.
    let sealed = home.vendkey(&["setup", "--seal-rows", "--settings", &home.text("vendkey.toml")]);
    assert!(sealed.status.success(), "{}", said(&sealed));
    let server = Server::start(&home);
    let mut asha = api(&home, &server, "asha").await;
    assert_eq!(reason(&asha.approve(&name).await.unwrap_err()), "APPROVAL_CONTENT_CHANGED");
    assert_eq!(reason(&asha.approve(&name).await.unwrap_err()), "APPROVAL_ENDED");
    let ended = asha.approval(&name).await;
    assert_eq!(ended.state(), State::Failed);
    assert!(ended.outcome.starts_with("APPROVAL_CONTENT_CHANGED"), "{}", ended.outcome);
    assert!(home.log().contains("approval_content_changed"), "the alarm");
    for configuration in [&wanted, &other] {
        assert_eq!(asha.state_of(configuration).await, ConfigurationState::Disabled);
    }
}

#[tokio::test]
async fn a_last_tid_falls_when_two_persons_want_it() {
    let home = home(TWO, &["asha"]);
    let server = Server::start(&home);
    let mut first = api(&home, &server, "credential").await;
    let mut asha = api(&home, &server, "asha").await;
    let configuration = first.enabled(&mut asha, DKGA04).await;
    let issued = first.issue(ten_kwh(&configuration)).await.unwrap();
    let (meter_pan, tid) = (issued.meter_pan.clone(), issued.tid.unwrap().value);
    let seed = MeterSeed { meter_pan: meter_pan.clone(), base_date: 2014, last_tid: tid + 1_000_000 };
    first.ledger.seed_meters(SeedMetersRequest { seeds: vec![seed] }).await.unwrap();
    let stuck = first.issue(ten_kwh(&configuration)).await.unwrap_err();
    assert_eq!(reason(&stuck), "TID_BEYOND_HORIZON");

    let lower = |last_tid| LowerLastTidRequest { meter_pan: meter_pan.clone(), base_date: 2014, last_tid };
    // What cannot be done bothers nobody.
    for (last_tid, why) in [(tid + 1_000_001, "INVALID_FIELDS"), (tid - 1, "TID_ISSUED")] {
        assert_eq!(reason(&first.ledger.lower_last_tid(lower(last_tid)).await.unwrap_err()), why);
    }
    let name = waiting(first.ledger.lower_last_tid(lower(tid)).await);
    assert!(asha.approval(&name).await.summary.contains(&meter_pan));
    assert_eq!(asha.approve(&name).await.unwrap().state(), State::Done);
    let next = first.issue(ten_kwh(&configuration)).await.unwrap();
    assert!(next.tid.unwrap().value > tid, "no identifier is given twice");
}

#[tokio::test]
async fn a_restored_database_is_accepted_by_two_persons() {
    let home = home(TWO, &["asha"]);
    let server = Server::start(&home);
    let mut first = api(&home, &server, "credential").await;
    let mut asha = api(&home, &server, "asha").await;
    let configuration = first.enabled(&mut asha, DKGA04).await;
    let (_, _, forgotten) = first.ask_for_key().await;
    assert!(server.stop().success());
    fs::copy(home.path("vendkey.db"), home.path("backup.db")).unwrap();
    let server = Server::start(&home);
    api(&home, &server, "asha").await.reject(&forgotten).await.unwrap();
    assert!(server.stop().success());
    for side in ["vendkey.db-wal", "vendkey.db-shm"] {
        let _ = fs::remove_file(home.path(side));
    }
    fs::copy(home.path("backup.db"), home.path("vendkey.db")).unwrap();

    let server = Server::start(&home);
    let mut first = api(&home, &server, "credential").await;
    let mut asha = api(&home, &server, "asha").await;
    let name = waiting(first.ledger.accept_restore(AcceptRestoreRequest {}).await);
    assert_eq!(reason(&first.issue(ten_kwh(&configuration)).await.unwrap_err()), "LEDGER_BEHIND_CHECKPOINT");
    let done = asha.approve(&name).await.unwrap();
    assert_eq!(done.state(), State::Done, "{}", done.outcome);
    first.issue(ten_kwh(&configuration)).await.unwrap();
    // The backup does not know that it was rejected.
    assert_eq!(asha.approval(&forgotten).await.state(), State::Expired);
    assert_eq!(reason(&asha.approve(&forgotten).await.unwrap_err()), "APPROVAL_ENDED");
    let nothing = first.ledger.accept_restore(AcceptRestoreRequest {}).await.unwrap_err();
    assert_eq!(reason(&nothing), "NOTHING_TO_ACCEPT");
}

#[tokio::test]
async fn people_decide_on_the_command_line() {
    let home = home(TWO, &["asha"]);
    let server = Server::start(&home);
    let run = |credential: &str, arguments: &[&str]| {
        home.command(arguments)
            .env("VENDKEY_ENDPOINT", &server.endpoint)
            .env("VENDKEY_CREDENTIAL_FILE", home.path(credential))
            .output()
            .unwrap()
    };
    let mut first = api(&home, &server, "credential").await;
    let mut asha = api(&home, &server, "asha").await;
    let configuration = first.uploaded(&mut asha, DKGA04).await;

    let waits = run("credential", &["configuration", "enable", &configuration.name]);
    assert_eq!(waits.status.code(), Some(75), "{}", said(&waits));
    let told = said(&waits);
    let name =
        told.lines().last().unwrap().trim().strip_prefix("vendkey approval approve ").unwrap().to_owned();
    assert!(told.contains("1 more person must approve: enable configuration"), "{told}");
    let waits = run("credential", &["configuration", "enable", &configuration.name, "--json"]);
    assert_eq!(waits.status.code(), Some(75));
    let told: Value = serde_json::from_slice(&waits.stderr).unwrap();
    assert_eq!(told["error"]["metadata"]["approval"], name.as_str());

    let list = run("asha", &["approval", "list"]);
    assert!(said(&list).contains(&name), "{}", said(&list));
    let shown = said(&run("asha", &["approval", "show", &name]));
    let id = configuration.name.trim_start_matches("configurations/");
    assert!(shown.contains(&format!(r#"{{"enable_configuration":{{"configuration":"{id}"}}}}"#)), "{shown}");
    let own = run("credential", &["approval", "approve", &name]);
    assert!(!own.status.success() && said(&own).contains("APPROVAL_OWN"), "{}", said(&own));
    let approved = run("asha", &["approval", "approve", &name]);
    assert!(
        approved.status.success() && said(&approved).contains("approved, and done"),
        "{}",
        said(&approved)
    );
    let enabled = run("credential", &["configuration", "enable", &configuration.name]);
    assert!(enabled.status.success(), "{}", said(&enabled));
    let all: Value =
        serde_json::from_slice(&run("asha", &["approval", "list", "--all", "--json"]).stdout).unwrap();
    assert_eq!(all["approvals"].as_array().unwrap().len(), 2);
    let late = run("asha", &["approval", "reject", &name]);
    assert!(!late.status.success() && said(&late).contains("APPROVAL_ENDED"), "{}", said(&late));
}

#[tokio::test]
async fn what_an_earlier_version_stored_is_to_be_asked_for_again() {
    let home = home(TWO, &["asha"]);
    let server = Server::start(&home);
    let mut first = api(&home, &server, "credential").await;
    let mut asha = api(&home, &server, "asha").await;
    let configuration = first.uploaded(&mut asha, DKGA04).await;
    let [voted, granted] = [0, 1].map(|_| Uuid::now_v7());
    let name = waiting(first.configurations.enable_configuration(enabling(&configuration)).await);
    server.stop();
    // As it was stored once: the bytes of the message, and a hash over them that fits.
    let request = prost::Message::encode_to_vec(&enabling(&configuration));
    let database = Connection::open(home.path("vendkey.db")).unwrap();
    database.execute_batch("DROP TRIGGER approvals_keep_their_content").unwrap();
    let approval =
        "SELECT clients.id, method, summary, salt FROM approvals JOIN clients ON requester = clients.number
                    WHERE state = 'PENDING'";
    let (requester, method, summary, salt): ([u8; 16], String, String, [u8; 16]) = database
        .query_row(approval, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
        .unwrap();
    let requester = vendkey::id::ClientId::from_bytes(requester);
    let hash = vendkey::access::approval::content_sha256(&salt, requester, &method, &summary, &request);
    let old = "UPDATE approvals SET request = ?1, content_sha256 = ?2 WHERE state = 'PENDING'";
    assert_eq!(database.execute(old, (&request, hash)).unwrap(), 1);
    // And one that was approved when its server died.
    let columns =
        "requester, credential, method, request, summary, salt, content_sha256, outcome, created_ms,
                   expires_ms, updated_ms, seal";
    for (id, state) in [(voted, "PENDING"), (granted, "APPROVED")] {
        let copy = format!(
            "INSERT INTO approvals (id, state, {columns}) SELECT ?1, ?2, {columns} FROM approvals WHERE request = ?3 LIMIT 1"
        );
        database.execute(&copy, (id.as_bytes(), state, &request)).unwrap();
    }
    drop(database);
    let sealed = home.vendkey(&["setup", "--seal-rows", "--settings", &home.text("vendkey.toml")]);
    assert!(sealed.status.success(), "{}", said(&sealed));

    let server = Server::start(&home);
    let mut first = api(&home, &server, "credential").await;
    let mut asha = api(&home, &server, "asha").await;
    let told = "ask for the act again";
    let refused = asha.approve(&name).await.unwrap_err();
    assert_eq!(reason(&refused), "APPROVAL_ENDED");
    assert!(refused.message().contains(told), "{refused:?}");
    let granted = format!("approvals/{granted}");
    for ended in [asha.approval(&name).await, asha.approval(&granted).await] {
        assert_eq!((ended.state(), ended.act.as_str()), (State::Failed, ""));
        assert!(
            ended.outcome.starts_with("APPROVAL_ENDED") && ended.outcome.contains(told),
            "{}",
            ended.outcome
        );
    }
    assert_eq!(asha.reject(&format!("approvals/{voted}")).await.unwrap().state(), State::Rejected);
    assert_eq!(asha.state_of(&configuration).await, ConfigurationState::Disabled);
    let again = waiting(first.configurations.enable_configuration(enabling(&configuration)).await);
    assert_eq!(asha.approve(&again).await.unwrap().state(), State::Done);
}
