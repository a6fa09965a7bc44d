//! The whole way on a module that is not SoftHSM: NSS softokn, or the one that `VENDKEY_TEST_MODULE`
//! names. What its probe says that it cannot do is refused with that reason, and skipped aloud.

#![allow(clippy::print_stdout)] // what is skipped is said

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    time::{Duration, Instant},
};

use serde_json::Value;
use vendkey::api::v1::{
    Configuration, DisableConfigurationRequest, GetConfigurationRequest, GetServerKeyRequest,
    ImportSealedConfigurationRequest, IssueTokenRequest, ScheduleDestroyConfigurationRequest,
    configuration::State,
};

use crate::harness::{
    Administrator, Api, Blobs, DKGA02, DKGA04, DRN, Home, Sealer, Server, base64, chosen_module, openssl,
    reason, ten_kwh,
};

const PUBLISHED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/sts-vectors.json");

fn module() -> String {
    chosen_module().unwrap_or_else(|| "nss".to_owned())
}

fn said(output: &std::process::Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// What `vendkey hsm probe` says that the module serves, by name, or what it lacks.
struct Probed(Value);

impl Probed {
    fn of(home: &Home) -> Self {
        let output = home.vendkey(&["hsm", "probe", "--json", "--settings", &home.text("vendkey.toml")]);
        let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)));
        Self(report)
    }

    /// Whether it serves this; if not, says aloud that it is skipped.
    fn serves(&self, name: &str) -> bool {
        let services = self.0["services"].as_array().unwrap();
        let service = services.iter().find(|service| service["name"] == name).unwrap();
        let served = service["served"].as_bool().unwrap();
        if !served {
            println!("skipped on {}: {name}: {}", module(), service["missing"]);
        }
        served
    }
}

/// A configuration with a token that was issued under it.
struct Issued {
    configuration: Configuration,
    request: IssueTokenRequest,
    token: String,
}

async fn import_sealed(api: &mut Api, document: String) -> Result<Configuration, tonic::Status> {
    let request = ImportSealedConfigurationRequest { document, validate_only: false };
    let imported = api.configurations.import_sealed_configuration(request).await?;
    Ok(imported.into_inner().configuration.unwrap())
}

/// Issues under it, and a meter in software that has the key takes the token.
async fn issue(home: &Home, api: &mut Api, yaml: &str, configuration: Configuration) -> Issued {
    let request = ten_kwh(&configuration);
    let token = api.issue(request.clone()).await.unwrap().token;
    let (yaml_file, key) = (home.text("c.yaml"), home.text("meter.key"));
    fs::write(&yaml_file, yaml).unwrap();
    fs::write(&key, [7; 32]).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let meter = home.text(&format!("meter-{}", configuration.name.replace('/', "-")));
    let new = home.vendkey(&[
        "meter",
        "new",
        &meter,
        "--configuration",
        &yaml_file,
        "--meter",
        DRN,
        "--key-file",
        &key,
    ]);
    assert!(new.status.success(), "{}", said(&new));
    let entered = home.vendkey(&["meter", "enter", &meter, &token, "--key-file", &key]);
    assert_eq!(said(&entered), "accepted: 10 kWh of electricity, 10 kWh now\n");
    Issued { configuration, request, token }
}

/// Every upload that the module can take, with a token; what it cannot take is refused with the
/// reason.
async fn uploaded(home: &Home, probed: &Probed, api: &mut Api, by: &Administrator) -> Vec<Issued> {
    let key = api.configurations.get_server_key(GetServerKeyRequest {}).await.unwrap().into_inner();
    let sealing = key.sealing.unwrap();
    let opens = sealing.suites.iter().any(|suite| suite == "RSA-OAEP-SHA-1");
    let sealer = Sealer::new(by, sealing);
    let mut all = Vec::new();
    for (kind, yaml) in [("DKGA04 (HMAC-SHA-256)", DKGA04), ("DKGA02 (DES)", DKGA02)] {
        let legacy = api.upload(&by.encrypt(yaml)).await.map(|reply| reply.configuration.unwrap());
        if probed.serves(&format!("{kind} keys, legacy uploads")) {
            let legacy = legacy.unwrap_or_else(|status| panic!("{status:?}\n{}", home.log()));
            all.push(issue(home, api, yaml, legacy).await);
        } else {
            assert_eq!(reason(&legacy.unwrap_err()), "KEY_CLASS_UNSUPPORTED");
        }
        let sealed = import_sealed(api, sealer.seal(yaml)).await;
        if probed.serves(&format!("{kind} keys, sealed uploads")) && opens {
            let sealed = sealed.unwrap_or_else(|status| panic!("{status:?}\n{}", home.log()));
            all.push(issue(home, api, yaml, sealed).await);
        } else {
            assert_eq!(reason(&sealed.unwrap_err()), "KEY_CLASS_UNSUPPORTED");
        }
    }
    all
}

async fn destroy(api: &mut Api, configuration: &Configuration) {
    let name = configuration.name.clone();
    api.configurations
        .disable_configuration(DisableConfigurationRequest { name: name.clone() })
        .await
        .unwrap();
    let schedule = ScheduleDestroyConfigurationRequest { name: name.clone() };
    api.configurations.schedule_destroy_configuration(schedule).await.unwrap();
    let give_up = Instant::now() + Duration::from_secs(60);
    loop {
        let get = GetConfigurationRequest { name: name.clone() };
        let now = api.configurations.get_configuration(get).await.unwrap().into_inner();
        if now.state() == State::Destroyed {
            return;
        }
        assert!(Instant::now() < give_up, "{now:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn keys_go_all_the_way_from_upload_to_destruction() {
    let home = Home::on(&module());
    let probed = Probed::of(&home);
    home.write_settings("[vending]\ndestroy_delay = '0s'\n");
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let administrator = api.administrator().await;
    let all = uploaded(&home, &probed, &mut api, &administrator).await;
    assert!(!all.is_empty(), "the module serves nothing");

    // What does not open is refused alike, whatever is wrong with it.
    let blobs = administrator.encrypt(DKGA04);
    let changed = |text: &str, place: usize| {
        let mut bytes = openssl(&["base64", "-d"], text.as_bytes());
        let place = bytes.len() - place;
        bytes[place] ^= 1;
        base64(&bytes)
    };
    let mut told = Vec::new();
    for bad in [
        Blobs { data: changed(&blobs.data, 1), ..blobs.clone() },
        Blobs { data: changed(&blobs.data, 40), ..blobs.clone() },
        Blobs { key: changed(&blobs.key, 1), ..blobs.clone() },
        Blobs { key: changed(&blobs.key, 100), ..blobs.clone() },
    ] {
        let status = api.upload(&bad).await.unwrap_err();
        told.push((status.code(), reason(&status), status.message().to_owned()));
    }
    assert!(told.iter().all(|one| *one == told[0]), "{told:?}");
    assert!(server.stop().success());

    // Another process issues the same tokens and new ones.
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    for one in &all {
        assert_eq!(api.issue(one.request.clone()).await.unwrap().token, one.token);
        api.issue(ten_kwh(&one.configuration)).await.unwrap();
    }
    for one in &all {
        destroy(&mut api, &one.configuration).await;
        let refused = api.issue(ten_kwh(&one.configuration)).await.unwrap_err();
        assert_eq!(reason(&refused), "CONFIGURATION_DESTROYED");
    }
    assert!(server.stop().success());

    let inventory = home.vendkey(&["inventory", "--json", "--settings", &home.text("vendkey.toml")]);
    assert!(inventory.status.success(), "{}", said(&inventory));
    let inventory: Value = serde_json::from_slice(&inventory.stdout).unwrap();
    assert_eq!((&inventory["sound"], &inventory["unknown"]), (&true.into(), &Value::Array(vec![])));
}

#[test]
fn published_vectors_come_out() {
    let home = Home::on(&module());
    let probed = Probed::of(&home);
    let settings = home.text("vendkey.toml");
    let output = home.vendkey(&["conformance", "--settings", &settings, "--vectors", PUBLISHED]);
    let text = said(&output);
    assert!(output.status.success() && text.contains(" passed, 0 failed, "), "{text}");
    let whole = ["DKGA04 (HMAC-SHA-256)", "DKGA02 (DES)", "DKGA03 (triple DES)"]
        .iter()
        .all(|kind| probed.serves(&format!("{kind} keys, legacy uploads")));
    assert_eq!(text.contains("343 passed, 0 failed, 0 skipped"), whole, "{text}");
    println!("{}: {}", module(), text.lines().last().unwrap_or_default());
}

#[test]
fn the_servers_own_keys_are_tested_and_rotated() {
    let home = Home::on(&module());
    let settings = home.text("vendkey.toml");
    let selftest = home.vendkey(&["selftest", "--settings", &settings]);
    assert!(selftest.status.success(), "{}", said(&selftest));
    for key in ["server-key", "sealed-key", "audit-key", "row-seal-key"] {
        let rotated = home.vendkey(&["rotate", key, "--settings", &settings]);
        assert!(rotated.status.success(), "{key}: {}", said(&rotated));
    }
    assert!(Server::start(&home).stop().success());
}
