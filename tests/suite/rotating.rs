//! The server's own keys exchanged, the HSM compared with the database, and both brought back from
//! a backup.

use std::{
    fs,
    os::unix::process::ExitStatusExt as _,
    process::Output,
    time::{Duration, Instant},
};

use rusqlite::Connection;
use rustix::process::Signal;
use vendkey::api::v1::{
    AcceptRestoreRequest, Configuration, GetCheckpointRequest, GetServerKeyRequest,
    ImportSealedConfigurationRequest,
};

use crate::harness::{Api, DKGA02, DKGA04, Home, Sealer, Server, key_objects, pkcs11_tool, reason, ten_kwh};

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn rotate(home: &Home, key: &str) -> Output {
    home.vendkey(&["rotate", key, "--settings", &home.text("vendkey.toml")])
}

fn inventory(home: &Home, more: &[&str]) -> Output {
    home.vendkey(&[&["inventory", "--settings", &home.text("vendkey.toml")], more].concat())
}

/// The ids of private keys with this label.
fn private_keys(home: &Home, label: &str) -> Vec<String> {
    let listed = pkcs11_tool(home, &["--list-objects", "--type", "privkey"]);
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    text.split("Private Key Object")
        .filter(|object| object.contains(label))
        .filter_map(|object| object.lines().find_map(|line| line.trim().strip_prefix("ID:")))
        .map(|id| id.trim().to_owned())
        .collect()
}

/// How many rotations are on record.
fn rotations(home: &Home) -> u32 {
    let database = Connection::open(home.path("vendkey.db")).unwrap();
    let count = "SELECT count(*) FROM acts WHERE kind LIKE '%key.rotated'";
    database.query_row(count, (), |row| row.get(0)).unwrap()
}

/// Exports the chain into this folder of the home, and says what a verification says of it.
fn exported(home: &Home, server: &Server, folder: &str) {
    fs::create_dir_all(home.path(folder)).unwrap();
    let [chain, checkpoint, key] =
        ["chain.jsonl", "checkpoint.txt", "audit.pem"].map(|name| home.text(&format!("{folder}/{name}")));
    let give_up = Instant::now() + Duration::from_secs(60);
    loop {
        let export = home
            .command(&["audit", "export", &chain, "--checkpoint", &checkpoint, "--audit-key", &key])
            .env("VENDKEY_ENDPOINT", &server.endpoint)
            .output()
            .unwrap();
        if export.status.success() {
            return;
        }
        assert!(said(&export).contains("no checkpoint yet") && Instant::now() < give_up, "{}", said(&export));
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Verifies the chain of one folder by the checkpoint and the key of another.
fn verified(home: &Home, chain: &str, signed: &str) -> Output {
    let file = |folder: &str, name: &str| home.text(&format!("{folder}/{name}"));
    home.vendkey(&[
        "audit",
        "verify",
        &file(chain, "chain.jsonl"),
        "--checkpoint",
        &file(signed, "checkpoint.txt"),
        "--audit-key",
        &file(signed, "audit.pem"),
    ])
}

/// Rotates a key and keeps the old one for so many seconds.
fn rotate_and_keep(home: &Home, key: &str, seconds: i64) {
    let until = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
    let settings = home.text("vendkey.toml");
    let kept = ["rotate", key, "--settings", &settings, "--keep-old-until", &until.to_string()];
    let rotated = home.vendkey(&kept);
    assert!(rotated.status.success() && said(&rotated).contains("until "), "{}", said(&rotated));
}

#[tokio::test]
async fn uploads_to_an_old_key_are_opened_until_a_set_time() {
    const KEYS: [(&str, &str); 2] =
        [("server-key", "vendkey legacy server key"), ("sealed-key", "vendkey sealed server key")];
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let administrator = api.administrator().await;
    let get = GetServerKeyRequest {};
    let before = api.configurations.get_server_key(get).await.unwrap().into_inner();
    let sealer = Sealer::new(&administrator, before.sealing.clone().unwrap());
    assert!(server.stop().success());
    for (key, _) in KEYS {
        rotate_and_keep(&home, key, 3_600);
    }
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let after = api.configurations.get_server_key(get).await.unwrap().into_inner();
    assert_ne!(before.fingerprint, after.fingerprint);
    assert_ne!(sealer.server.fingerprint, after.sealing.as_ref().unwrap().fingerprint);
    // Those who have not heard of it, and those who have.
    let new = api.administrator().await;
    let new_sealer = Sealer::new(&new, after.sealing.unwrap());
    for (number, (administrator, sealer)) in
        [(&administrator, &sealer), (&new, &new_sealer)].iter().enumerate()
    {
        let yaml = DKGA02.replace("tariff_index: 01", &format!("tariff_index: {:02}", number + 10));
        let uploaded = api.upload(&administrator.encrypt(&yaml)).await.unwrap().configuration.unwrap();
        let sealed = imported(&mut api, sealer.seal(&yaml)).await.unwrap();
        for configuration in [uploaded, sealed] {
            api.issue(ten_kwh(&configuration)).await.unwrap();
        }
    }
    assert!(server.stop().success());

    for (key, _) in KEYS {
        rotate_and_keep(&home, key, 5);
    }
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let give_up = Instant::now() + Duration::from_secs(60);
    while KEYS.iter().any(|(_, label)| private_keys(&home, label).len() > 1) {
        assert!(Instant::now() < give_up, "the old keys are there still");
        std::thread::sleep(Duration::from_millis(200));
    }
    let late = api.upload(&administrator.encrypt(DKGA04)).await.unwrap_err();
    assert_eq!(reason(&late), "ENVELOPE_INVALID");
    let late = imported(&mut api, sealer.seal(DKGA04)).await.unwrap_err();
    assert_eq!(reason(&late), "UPLOAD_FOR_OTHER_SERVER");
    api.upload(&new.encrypt(DKGA04)).await.unwrap();
    imported(&mut api, new_sealer.seal(DKGA04)).await.unwrap();
    assert!(server.stop().success());
    let database = Connection::open(home.path("vendkey.db")).unwrap();
    let count = "SELECT count(*) FROM acts WHERE kind LIKE '%key.old_destroyed'";
    assert_eq!(database.query_row(count, (), |row| row.get::<_, u32>(0)).unwrap(), 2);
    drop(database);
    // Nothing is left of it: the next rotation is one like any other.
    let rotated = rotate(&home, "server-key");
    assert!(rotated.status.success() && said(&rotated).contains("destroyed"), "{}", said(&rotated));
}

#[tokio::test]
async fn an_old_key_that_is_kept_can_be_ended_at_once() {
    let home = Home::new();
    rotate_and_keep(&home, "server-key", 3_600);
    assert_eq!(private_keys(&home, "vendkey legacy server key").len(), 2);
    let ended = rotate(&home, "server-key");
    assert!(ended.status.success() && said(&ended).contains("destroyed"), "{}", said(&ended));
    assert_eq!(private_keys(&home, "vendkey legacy server key").len(), 1);
    assert_eq!(rotations(&home), 1, "it was exchanged once");
    assert!(Server::start(&home).stop().success());
    let past = ["rotate", "sealed-key", "--settings", &home.text("vendkey.toml")];
    let past = home.vendkey(&[&past[..], &["--keep-old-until", "2020-01-01T00:00:00Z"]].concat());
    assert_eq!(past.status.code(), Some(64), "{}", said(&past));
}

async fn imported(api: &mut Api, document: String) -> Result<Configuration, tonic::Status> {
    let request = ImportSealedConfigurationRequest { document, validate_only: false };
    let imported = api.configurations.import_sealed_configuration(request).await?;
    Ok(imported.into_inner().configuration.unwrap())
}

#[tokio::test]
async fn a_new_audit_key_goes_on_where_the_old_one_ended() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let configuration = api.configuration(DKGA04).await;
    let request = ten_kwh(&configuration);
    let token = api.issue(request.clone()).await.unwrap().token;
    let busy = rotate(&home, "audit-key");
    assert!(!busy.status.success() && said(&busy).contains("in use"), "{}", said(&busy));
    exported(&home, &server, "before");
    assert!(server.stop().success());
    let old = private_keys(&home, "vendkey audit key");

    let rotated = rotate(&home, "audit-key");
    assert!(rotated.status.success(), "{}", said(&rotated));
    let new = private_keys(&home, "vendkey audit key");
    assert_eq!((old.len(), new.len()), (1, 1));
    assert_ne!(old, new);
    let listed = pkcs11_tool(&home, &["--list-objects", "--type", "pubkey"]);
    assert!(!String::from_utf8_lossy(&listed.stdout).contains(&old[0]), "its public half went as well");

    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    assert_eq!(api.issue(request).await.unwrap().token, token);
    api.issue(ten_kwh(&configuration)).await.unwrap();
    exported(&home, &server, "after");
    for signed in ["after", "before"] {
        let sound = verified(&home, "after", signed);
        assert!(sound.status.success() && said(&sound).contains("nothing is wrong"), "{}", said(&sound));
    }
    let [before, after] =
        ["before/audit.pem", "after/audit.pem"].map(|file| fs::read(home.path(file)).unwrap());
    assert_ne!(before, after);
    // The record names both keys, and the old one signed over it.
    let checkpoint = api.audit.get_checkpoint(GetCheckpointRequest {}).await.unwrap().into_inner();
    let chain = fs::read_to_string(home.path("after/chain.jsonl")).unwrap();
    let record = chain.lines().find(|line| line.contains("audit_key.rotated")).unwrap();
    assert!(record.contains(&checkpoint.audit_key_fingerprint) && record.contains("old_key"), "{record}");
    let position: i64 = Connection::open(home.path("vendkey.db"))
        .unwrap()
        .query_row("SELECT position FROM acts WHERE kind = 'audit_key.rotated'", (), |row| row.get(0))
        .unwrap();
    let texts: Vec<String> = Connection::open(home.path("vendkey.db"))
        .unwrap()
        .prepare("SELECT text FROM checkpoints ORDER BY number")
        .unwrap()
        .query_map((), |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    let over = texts.iter().filter(|text| text.contains(&format!(" {position} "))).count();
    assert!(over >= 2, "one by each key: {texts:?}");
}

#[tokio::test]
async fn a_rotation_that_dies_is_ended_by_the_same_command() {
    for (key, points) in [
        (
            "audit-key",
            &[
                "rotate-after-new-key",
                "rotate-after-act",
                "rotate-between-checkpoints",
                "rotate-before-retire",
            ][..],
        ),
        ("row-seal-key", &["rotate-after-new-key", "rotate-before-retire"]),
    ] {
        let home = Home::new();
        let server = Server::start(&home);
        let mut api = server.api(&home).await;
        let configuration = api.configuration(DKGA04).await;
        let request = ten_kwh(&configuration);
        let token = api.issue(request.clone()).await.unwrap().token;
        assert!(server.stop().success());
        for (round, point) in (1..).zip(points) {
            let died = home
                .command(&["rotate", key, "--settings", &home.text("vendkey.toml")])
                .env("VENDKEY_CRASH_AT", point)
                .output()
                .unwrap();
            assert_eq!(died.status.code(), None, "{point}: {}", said(&died));
            let refused = home.vendkey(&["serve", "--settings", &home.text("vendkey.toml")]);
            assert!(
                !refused.status.success() && said(&refused).contains("did not end"),
                "{key} {point}: {}",
                said(&refused)
            );
            let rotated = rotate(&home, key);
            assert!(rotated.status.success(), "{key} {point}: {}", said(&rotated));
            assert_eq!(rotations(&home), round, "{key} {point}: on record once");
        }
        let server = Server::start(&home);
        let mut api = server.api(&home).await;
        assert_eq!(api.issue(request).await.unwrap().token, token, "{key}");
        api.issue(ten_kwh(&configuration)).await.unwrap();
        exported(&home, &server, "after");
        let sound = verified(&home, "after", "after");
        assert!(sound.status.success() && said(&sound).contains("nothing is wrong"), "{}", said(&sound));
    }
}

/// RSA-4096 takes its time in SoftHSM, so one rotation dies at every point, each time further on.
#[tokio::test]
async fn a_new_server_key_survives_every_death_on_its_way() {
    const LABEL: &str = "vendkey legacy server key";
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let mut administrator = api.administrator().await;
    let blobs = administrator.encrypt(DKGA04);
    let configuration = api.upload(&blobs).await.unwrap().configuration.unwrap();
    let request = ten_kwh(&configuration);
    let token = api.issue(request.clone()).await.unwrap().token;
    assert!(server.stop().success());
    let old = private_keys(&home, LABEL);
    let mut two = Vec::new();
    for (point, acts) in
        [("rotate-after-new-key", 0), ("rotate-after-act", 1), ("rotate-before-retire", 1), ("", 1)]
    {
        let rotation = home
            .command(&["rotate", "server-key", "--settings", &home.text("vendkey.toml")])
            .env("VENDKEY_CRASH_AT", point)
            .output()
            .unwrap();
        let died = (!point.is_empty()).then_some(Signal::KILL.as_raw());
        assert_eq!(rotation.status.signal(), died, "{point}: {}", said(&rotation));
        assert_eq!(rotations(&home), acts, "{point}: on record once");
        let keys = private_keys(&home, LABEL);
        if point.is_empty() {
            assert!(rotation.status.success(), "{}", said(&rotation));
            assert!(keys.len() == 1 && keys != old && two.contains(&keys[0]), "{keys:?}");
            break;
        }
        let refused = home.vendkey(&["serve", "--settings", &home.text("vendkey.toml")]);
        assert!(
            !refused.status.success() && said(&refused).contains("did not end"),
            "{point}: {}",
            said(&refused)
        );
        assert!(keys.len() == 2 && keys.contains(&old[0]), "{point}: {keys:?}");
        assert!(two.is_empty() || two == keys, "{point}: goes on with the key that it made");
        two = keys;
    }
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    assert_eq!(api.issue(request).await.unwrap().token, token);
    assert_eq!(reason(&api.upload(&blobs).await.unwrap_err()), "ENVELOPE_INVALID");
    let key = api.configurations.get_server_key(GetServerKeyRequest {}).await.unwrap().into_inner();
    administrator.use_server_key(&key.public_key_pem);
    let again = api.upload(&administrator.encrypt(DKGA04)).await.unwrap();
    assert!(again.existing && again.configuration.unwrap().name == configuration.name);
    exported(&home, &server, "after");
    let sound = verified(&home, "after", "after");
    assert!(sound.status.success() && said(&sound).contains("nothing is wrong"), "{}", said(&sound));
}

#[tokio::test]
async fn a_new_row_seal_key_seals_every_row_and_knows_every_upload() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let administrator = api.administrator().await;
    let blobs = administrator.encrypt(DKGA02);
    let configuration = api.upload(&blobs).await.unwrap().configuration.unwrap();
    assert!(server.stop().success());
    let seals = || -> Vec<Vec<u8>> {
        let database = Connection::open(home.path("vendkey.db")).unwrap();
        ["clients", "credentials", "public_keys", "configurations"]
            .map(|table| {
                database.query_row(&format!("SELECT seal FROM {table}"), (), |row| row.get(0)).unwrap()
            })
            .to_vec()
    };
    let (before, objects) = (seals(), key_objects(&home));
    let rotated = rotate(&home, "row-seal-key");
    assert!(rotated.status.success(), "{}", said(&rotated));
    let after = seals();
    assert!(before.iter().zip(&after).all(|(before, after)| before != after));
    assert_eq!(key_objects(&home), objects, "the old one is gone");

    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let again = api.upload(&blobs).await.unwrap();
    assert!(again.existing, "the fingerprint is the same");
    assert_eq!(again.configuration.unwrap().name, configuration.name);
    api.issue(ten_kwh(&configuration)).await.unwrap();
    assert!(!home.log().contains("changed by somebody else"), "{}", home.log());
    assert!(server.stop().success());

    // Somebody else's rows are not made good.
    let database = Connection::open(home.path("vendkey.db")).unwrap();
    database.execute("UPDATE clients SET display_name = 'mine'", ()).unwrap();
    drop(database);
    let refused = rotate(&home, "row-seal-key");
    assert!(!refused.status.success() && said(&refused).contains("clients 1"), "{}", said(&refused));
}

#[tokio::test]
async fn uploads_go_to_the_new_server_key_alone() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let mut administrator = api.administrator().await;
    let old = administrator.encrypt(DKGA04);
    let first = api.upload(&old).await.unwrap().configuration.unwrap();
    assert!(server.stop().success());
    let rotated = rotate(&home, "server-key");
    assert!(rotated.status.success(), "{}", said(&rotated));
    assert_eq!(private_keys(&home, "vendkey legacy server key").len(), 1);
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    assert_eq!(reason(&api.upload(&old).await.unwrap_err()), "ENVELOPE_INVALID");
    let key = api.configurations.get_server_key(GetServerKeyRequest {}).await.unwrap().into_inner();
    assert!(said(&rotated).contains(&key.fingerprint), "{}", said(&rotated));
    administrator.use_server_key(&key.public_key_pem);
    let again = api.upload(&administrator.encrypt(DKGA04)).await.unwrap();
    assert!(again.existing);
    assert_eq!(again.configuration.unwrap().name, first.name);
}

#[tokio::test]
async fn the_inventory_finds_what_is_missing_and_what_is_too_much() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let administrator = api.administrator().await;
    let mut upload =
        async |yaml| api.upload(&administrator.encrypt(yaml)).await.unwrap().configuration.unwrap();
    let (des, hmac) = (upload(DKGA02).await, upload(DKGA04).await);
    // Beside the server, which goes on.
    let sound = inventory(&home, &["--json"]);
    assert!(sound.status.success(), "{}", said(&sound));
    let found: serde_json::Value = serde_json::from_slice(&sound.stdout).unwrap();
    assert_eq!(found["sound"], true);
    assert_eq!(found["ownKeys"].as_array().unwrap().len(), 5);
    let names: Vec<&str> =
        found["configurations"].as_array().unwrap().iter().filter_map(|one| one["name"].as_str()).collect();
    assert_eq!(names, [des.name.as_str(), hmac.name.as_str()]);
    assert!(found["unknown"].as_array().unwrap().is_empty());
    api.issue(ten_kwh(&des)).await.unwrap();
    assert!(server.stop().success());

    let id = |name: &str| name.strip_prefix("configurations/").unwrap().replace('-', "");
    // The first bit of a mask's id is flipped.
    let mask = format!("8{}", &id(&des.name)[1..]);
    let delete = ["--delete-object", "--type", "secrkey", "--label", "vendkey mask key", "--id", &mask];
    assert!(pkcs11_tool(&home, &delete).status.success());
    let stray = [
        "--keygen",
        "--key-type",
        "generic:32",
        "--usage-sign",
        "--label",
        "vendkey vending key",
        "--id",
        "00112233445566778899aabbccddeeff",
    ];
    assert!(pkcs11_tool(&home, &stray).status.success());
    let found = inventory(&home, &[]);
    assert_eq!(found.status.code(), Some(1), "{}", said(&found));
    let text = said(&found);
    assert!(text.contains("mask key"), "{text}");
    assert!(
        text.contains("no configuration knows the vending key 00112233445566778899aabbccddeeff"),
        "{text}"
    );
    assert!(text.lines().any(|line| line.contains(&hmac.name) && line.contains("sound")), "{text}");
}

#[tokio::test]
async fn a_backup_of_token_and_database_vends_the_same_digits() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let administrator = api.administrator().await;
    let mut kept = Vec::new();
    for yaml in [DKGA02, DKGA04] {
        let configuration = api.upload(&administrator.encrypt(yaml)).await.unwrap().configuration.unwrap();
        let request = ten_kwh(&configuration);
        kept.push((configuration, request.clone(), api.issue(request).await.unwrap()));
    }
    // Beside the server, which goes on.
    let backup = ["backup", "--settings", &home.text("vendkey.toml"), "--out", &home.text("backup")];
    let made = home.vendkey(&backup);
    assert!(made.status.success(), "{}", said(&made));
    assert!(!home.vendkey(&backup).status.success(), "nothing is overwritten");
    let lost = api.issue(ten_kwh(&kept[0].0)).await.unwrap();
    assert!(server.stop().success());

    // Another machine: the token and the database from the backup, and no checkpoint.
    let restored = home.copied();
    drop(home);
    for side in ["", "-wal", "-shm", ".checkpoint"] {
        let _ = fs::remove_file(restored.path(&format!("vendkey.db{side}")));
    }
    fs::copy(restored.path("backup/vendkey.db"), restored.path("vendkey.db")).unwrap();
    let found = inventory(&restored, &[]);
    assert!(found.status.success(), "{}", said(&found));
    let server = Server::start(&restored);
    let mut api = server.api(&restored).await;
    for (_, request, token) in &kept {
        let again = api.issue(request.clone()).await.unwrap();
        assert_eq!((&again.token, again.replay), (&token.token, true));
    }
    let refused = api.issue(ten_kwh(&kept[0].0)).await.unwrap_err();
    assert_eq!(reason(&refused), "LEDGER_BEHIND_CHECKPOINT", "what came after the backup is forgotten");
    api.ledger.accept_restore(AcceptRestoreRequest {}).await.unwrap();
    let next = api.issue(ten_kwh(&kept[0].0)).await.unwrap();
    assert!(next.tid.unwrap().value > lost.tid.unwrap().value + 1_000, "beyond whatever was forgotten");
}
