//! Sealed uploads, made with nothing but openssl: the HSM alone sees the vending key.

use std::fs;

use serde_json::{Value, json};
use tonic::{Code, Status};
use vendkey::api::v1::{
    Configuration, GetServerKeyRequest, ImportSealedConfigurationRequest, ImportSealedConfigurationResponse,
    ListConfigurationsRequest, SealingKey, configuration::State,
};

use crate::harness::persons::{TWO, home as two_persons};
use crate::harness::{
    Administrator, Api, DKGA02, DKGA04, DRN, Home, Sealer, Server, decoder_key, flat, key_objects, openssl,
    reason, ten_kwh, unflat, violations,
};

async fn sealing_key(api: &mut Api) -> SealingKey {
    let key = api.configurations.get_server_key(GetServerKeyRequest {}).await.unwrap().into_inner();
    key.sealing.unwrap()
}

async fn import(api: &mut Api, document: impl ToString) -> Result<ImportSealedConfigurationResponse, Status> {
    let request = ImportSealedConfigurationRequest { document: document.to_string(), validate_only: false };
    api.configurations.import_sealed_configuration(request).await.map(tonic::Response::into_inner)
}

async fn listed(api: &mut Api) -> Vec<Configuration> {
    let listed = api.configurations.list_configurations(ListConfigurationsRequest::default()).await.unwrap();
    listed.into_inner().configurations
}

#[tokio::test]
async fn what_is_issued_under_a_sealed_key_a_meter_of_that_key_takes() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let administrator = api.administrator().await;
    let sealer = Sealer::new(&administrator, sealing_key(&mut api).await);
    fs::write(home.path("meter.key"), [7; 32]).unwrap();
    openssl(&["version"], b"");
    for (file, yaml, objects) in [("four", DKGA04, 1), ("two", DKGA02, 2)] {
        let before = key_objects(&home);
        let imported = import(&mut api, sealer.seal(yaml)).await.unwrap();
        let configuration = imported.configuration.unwrap();
        assert_eq!((imported.existing, configuration.state()), (false, State::Enabled));
        assert_eq!(key_objects(&home), before + objects);
        // The same key in a legacy upload is another configuration with the same check value.
        let legacy = api.upload(&administrator.encrypt(yaml)).await.unwrap().configuration.unwrap();
        assert_eq!((&legacy.kcv, &legacy.attributes), (&configuration.kcv, &configuration.attributes));
        let token = api.issue(ten_kwh(&configuration)).await.unwrap().token;
        fs::write(home.path("c.yaml"), yaml).unwrap();
        chmod(&home, "meter.key");
        let (file, yaml, key) = (home.text(file), home.text("c.yaml"), home.text("meter.key"));
        let new = ["meter", "new", &file, "--configuration", &yaml, "--meter", DRN, "--key-file", &key];
        assert!(home.vendkey(&new).status.success());
        let entered = home.vendkey(&["meter", "enter", &file, &token, "--key-file", &key]);
        let told = String::from_utf8(entered.stdout).unwrap();
        assert_eq!(told, "accepted: 10 kWh of electricity, 10 kWh now\n");
    }
}

fn chmod(home: &Home, file: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(home.path(file), fs::Permissions::from_mode(0o600)).unwrap();
}

#[tokio::test]
async fn the_same_document_twice_is_one_configuration_and_its_nonce_serves_no_other() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let administrator = api.administrator().await;
    let sealer = Sealer::new(&administrator, sealing_key(&mut api).await);
    let content = sealer.content(DKGA02);
    let document = sealer.sign(&content);
    let first = import(&mut api, &document).await.unwrap();
    let objects = key_objects(&home);
    let second = import(&mut api, &document).await.unwrap();
    assert!(second.existing);
    assert_eq!(first.configuration, second.configuration);
    let mut other = sealer.content(DKGA04);
    other["nonce"] = content["nonce"].clone();
    let status = import(&mut api, sealer.sign(&other)).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::AlreadyExists, "NONCE_USED"));
    // A server that starts anew remembers it.
    drop(server);
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let status = import(&mut api, sealer.sign(&other)).await.unwrap_err();
    assert_eq!(reason(&status), "NONCE_USED");
    assert_eq!((listed(&mut api).await.len(), key_objects(&home)), (1, objects));
}

/// What changes one value of a document, and what is answered.
type Change = (&'static str, fn(&mut Value, &Sealer<'_>), &'static str);

#[tokio::test]
async fn whatever_is_changed_is_refused_and_nothing_is_stored() {
    let home = Home::new();
    home.write_settings("[vending]\nuploads_per_minute = 1000\n");
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let administrator = api.administrator().await;
    let sealer = Sealer::new(&administrator, sealing_key(&mut api).await);
    let objects = key_objects(&home);
    let good = sealer.content(DKGA02);

    // Without a new signature nothing of the content may be changed: a bit in each of its values.
    let document = sealer.sign(&good);
    let text = String::from_utf8(unflat(document["content"].as_str().unwrap())).unwrap();
    let values: Vec<String> = leaves(&good);
    assert!(values.len() > 20, "{values:?}");
    for value in values {
        let mut last = value.clone();
        let changed = if last.pop() == Some('1') { '2' } else { '1' };
        let mut document = document.clone();
        document["content"] = flat(text.replacen(&value, &format!("{last}{changed}"), 1).as_bytes()).into();
        let status = import(&mut api, &document).await.unwrap_err();
        assert_eq!(reason(&status), "ENVELOPE_INVALID", "{value}");
    }
    let flipped = |value: &Value| {
        let mut bytes = unflat(value.as_str().unwrap());
        bytes[20] ^= 1;
        Value::from(flat(&bytes))
    };
    for (field, value, expected) in [
        ("signature", flipped(&document["signature"]), "ENVELOPE_INVALID"),
        ("signer", sealer.server.fingerprint.clone().into(), "ENVELOPE_INVALID"),
        ("content", flat(b"{}").into(), "ENVELOPE_INVALID"),
        ("signature", "".into(), "ENVELOPE_MALFORMED"),
        ("signer", "0123".into(), "ENVELOPE_MALFORMED"),
        ("format", "vendkey sealed upload 2".into(), "ENVELOPE_MALFORMED"),
        ("comment", "".into(), "ENVELOPE_MALFORMED"),
    ] {
        let mut document = document.clone();
        document[field] = value;
        let status = import(&mut api, &document).await.unwrap_err();
        assert_eq!(reason(&status), expected, "{field}");
    }

    // Signed, and wrong.
    let changes: [Change; 15] = [
        ("purpose", |content, _| content["purpose"] = "another".into(), "ENVELOPE_MALFORMED"),
        ("nonce", |content, _| content["nonce"] = flat(&[1; 15]).into(), "ENVELOPE_MALFORMED"),
        ("expired", |content, _| validity(content, -7200, -1), "UPLOAD_NOT_NOW"),
        ("early", |content, _| validity(content, 600, 7200), "UPLOAD_NOT_NOW"),
        ("long", |content, _| validity(content, 0, 32 * 86_400), "ENVELOPE_MALFORMED"),
        (
            "suite",
            |content, _| recipient(content)["suite"] = "RSA-OAEP-SHA-256".into(),
            "KEY_CLASS_UNSUPPORTED",
        ),
        ("unknown suite", |content, _| recipient(content)["suite"] = "none".into(), "ENVELOPE_MALFORMED"),
        (
            "server",
            |content, _| recipient(content)["server_key"] = "00".repeat(32).into(),
            "UPLOAD_FOR_OTHER_SERVER",
        ),
        ("kcv", |content, _| content["kcv"] = "000000".into(), "ENVELOPE_INVALID"),
        (
            "sgc",
            |content, _| content["attributes"]["supply_group_code"] = "12345".into(),
            "CONFIGURATION_INVALID",
        ),
        (
            "key in clear",
            |content, _| content["attributes"]["vending_key"] = "0123456789abcdef".into(),
            "CONFIGURATION_INVALID",
        ),
        (
            "ciphertext",
            |content, _| {
                let mut bytes = unflat(recipient(content)["vending_key"].as_str().unwrap());
                bytes[300] ^= 1;
                recipient(content)["vending_key"] = flat(&bytes).into();
            },
            "ENVELOPE_INVALID",
        ),
        (
            "another key's mask",
            |content, sealer| {
                let key = hex::decode("1123456789abcdef").unwrap();
                recipient(content)["mask"] = sealer.mask(&key, &decoder_key(&key));
            },
            "ENVELOPE_INVALID",
        ),
        (
            "the mask's IV",
            |content, _| recipient(content)["mask"]["iv"] = flat(&[1; 16]).into(),
            "ENVELOPE_INVALID",
        ),
        (
            "a short key",
            |content, sealer| recipient(content)["vending_key"] = sealer.encrypt(b"01234567").into(),
            "ENVELOPE_INVALID",
        ),
    ];
    let mut told = Vec::new();
    for (what, change, expected) in changes {
        let mut content = good.clone();
        change(&mut content, &sealer);
        let document = sealer.sign(&content);
        let status = import(&mut api, &document).await.unwrap_err();
        assert_eq!(reason(&status), expected, "{what}: {status:?}");
        let request =
            ImportSealedConfigurationRequest { document: document.to_string(), validate_only: true };
        let preview = api.configurations.import_sealed_configuration(request).await.unwrap_err();
        assert_eq!(reason(&preview), expected, "{what}");
        assert!(!format!("{status:?}").contains("89abcdef"), "{status:?}");
        if expected == "ENVELOPE_INVALID" {
            told.push((status.code(), status.message().to_owned(), status.details().to_owned()));
        }
    }
    told.dedup();
    assert_eq!(told.len(), 1, "they look alike: {told:?}");
    assert_eq!((listed(&mut api).await.len(), key_objects(&home)), (0, objects));
    import(&mut api, &document).await.unwrap();
}

fn recipient(content: &mut Value) -> &mut Value {
    &mut content["recipients"][0]
}

fn validity(content: &mut Value, from: i64, to: i64) {
    let now = jiff::Timestamp::now();
    for (field, seconds) in [("not_before", from), ("not_after", to)] {
        content[field] = (now + jiff::SignedDuration::from_secs(seconds)).to_string().into();
    }
}

/// All texts in a value.
fn leaves(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(values) => values.iter().flat_map(leaves).collect(),
        Value::Object(fields) => fields.values().flat_map(leaves).collect(),
        _ => Vec::new(),
    }
}

#[tokio::test]
async fn all_faults_of_a_document_are_named_at_once() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let administrator = api.administrator().await;
    let sealer = Sealer::new(&administrator, sealing_key(&mut api).await);
    let content = json!({
        "nonce": "AAAA",
        "not_before": "yesterday",
        "kcv": "12",
        "attributes": {},
        "recipients": [{"suite": "x", "mask": {}}],
    });
    let status = import(&mut api, sealer.sign(&content)).await.unwrap_err();
    assert_eq!(reason(&status), "ENVELOPE_MALFORMED");
    let mut fields = violations(&status);
    fields.sort();
    let expected = [
        "kcv",
        "nonce",
        "not_after",
        "not_before",
        "purpose",
        "recipients[0].mask.ciphertext",
        "recipients[0].mask.iv",
        "recipients[0].mask.key",
        "recipients[0].server_key",
        "recipients[0].suite",
        "recipients[0].vending_key",
    ];
    assert_eq!(fields, expected);
    let mut content = sealer.content(DKGA04);
    content["attributes"] = json!({"name": "a", "tariff_index": "1", "foo": "bar"});
    let status = import(&mut api, sealer.sign(&content)).await.unwrap_err();
    assert_eq!((reason(&status).as_str(), violations(&status).len()), ("CONFIGURATION_INVALID", 11));
}

#[tokio::test]
async fn one_of_several_recipients_is_enough() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let administrator = api.administrator().await;
    let ours = Sealer::new(&administrator, sealing_key(&mut api).await);
    let private = openssl(&["genrsa", "3072"], b"");
    let spki = openssl(&["pkey", "-pubout", "-outform", "DER"], &private);
    let other = SealingKey {
        public_key_pem: String::from_utf8(openssl(&["pkey", "-pubout"], &private)).unwrap(),
        fingerprint: hex::encode(openssl(&["dgst", "-sha256", "-binary"], &spki)),
        ..SealingKey::default()
    };
    let other = Sealer::new(&administrator, other);
    let key = hex::decode("0123456789abcdef").unwrap();
    let mut content = ours.content(DKGA02);
    content["recipients"] = json!([other.recipient(&key), ours.recipient(&key)]);
    let configuration = import(&mut api, ours.sign(&content)).await.unwrap().configuration.unwrap();
    api.issue(ten_kwh(&configuration)).await.unwrap();
}

#[tokio::test]
async fn validate_only_opens_the_key_and_keeps_nothing() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let administrator = api.administrator().await;
    let sealer = Sealer::new(&administrator, sealing_key(&mut api).await);
    let objects = key_objects(&home);
    for yaml in [DKGA04, DKGA02] {
        let document = sealer.seal(yaml);
        let request = ImportSealedConfigurationRequest { document: document.clone(), validate_only: true };
        let preview = api.configurations.import_sealed_configuration(request).await.unwrap().into_inner();
        let preview = preview.configuration.unwrap();
        assert_eq!((preview.name.as_str(), preview.kcv.len()), ("", 6));
    }
    assert_eq!((listed(&mut api).await.len(), key_objects(&home)), (0, objects));
}

#[tokio::test]
async fn a_repeated_document_finishes_an_import_that_died() {
    for (yaml, point, objects) in [
        (DKGA04, "import-after-begin", 1),
        (DKGA02, "import-between-objects", 2),
        (DKGA04, "import-before-finish", 1),
        (DKGA02, "import-before-finish", 2),
    ] {
        let home = Home::new();
        let before = key_objects(&home);
        let mut server = Server::start_with(&home, &[("VENDKEY_CRASH_AT", point)]);
        let mut api = server.api(&home).await;
        let administrator = api.administrator().await;
        let sealer = Sealer::new(&administrator, sealing_key(&mut api).await);
        let document = sealer.seal(yaml);
        import(&mut api, &document).await.unwrap_err();
        server.wait();
        let server = Server::start(&home);
        let mut api = server.api(&home).await;
        let importing = listed(&mut api).await.remove(0);
        assert_eq!(importing.state(), State::Importing, "{point}");
        let finished = import(&mut api, &document).await.unwrap().configuration.unwrap();
        assert_eq!((&finished.name, finished.state()), (&importing.name, State::Enabled), "{point}");
        api.issue(ten_kwh(&finished)).await.unwrap();
        assert_eq!(key_objects(&home), before + objects, "{point}: one key object (and its mask)");
    }
}

#[tokio::test]
async fn four_eyes_hold_for_sealed_uploads() {
    let home = two_persons(TWO, &["asha"]);
    let server = Server::start(&home);
    let mut api = crate::harness::persons::api(&home, &server, "credential").await;
    let (key, _, name) = api.ask_for_key().await;
    let mut asha = crate::harness::persons::api(&home, &server, "asha").await;
    asha.approve(&name).await.unwrap();
    let administrator: Administrator = key;
    let sealer = Sealer::new(&administrator, sealing_key(&mut api).await);
    let imported = import(&mut api, sealer.seal(DKGA04)).await.unwrap();
    let configuration = imported.configuration.unwrap();
    assert_eq!(configuration.state(), State::Disabled);
    assert!(configuration.warnings.iter().any(|warning| warning.code == "AWAITS_APPROVAL"));
}

#[tokio::test]
async fn the_settings_can_take_sealed_uploads_alone() {
    let home = Home::new();
    home.write_settings("[uploads]\nlegacy = 'deny'\n");
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let administrator = api.administrator().await;
    let status = api.upload(&administrator.encrypt(DKGA04)).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, "POLICY_DENIES"));
    let sealer = Sealer::new(&administrator, sealing_key(&mut api).await);
    import(&mut api, sealer.seal(DKGA04)).await.unwrap();
}

#[tokio::test]
async fn the_commands_seal_and_upload() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let administrator = api.administrator().await;
    let key = sealing_key(&mut api).await;
    let pem = home.text("sealing.pem");
    let shown = server.vendkey(&home, &["server-key", "--sealing-out", &pem]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains(&key.fingerprint) && shown.contains("suites: RSA-OAEP-SHA-1\n"), "{shown}");
    for (yaml, kcv) in [(DKGA04, None), (DKGA02, Some("d5d44f"))] {
        fs::write(home.path("c.yaml"), yaml).unwrap();
        let file = home.text("c.yaml");
        let signing_key = administrator.path("private.pem");
        let seal = ["configuration", "seal", &file, "--sealing-key", &pem, "--signing-key", &signing_key];
        let wrong = home.vendkey(&[&seal[..], &["--fingerprint", &"0".repeat(64)]].concat());
        assert!(!wrong.status.success() && !home.path("c.sealed").exists());
        let rest = ["--fingerprint", &key.fingerprint, "--suite", "RSA-OAEP-SHA-1"];
        let sealed = home.vendkey(&[&seal[..], &rest].concat());
        let told = String::from_utf8_lossy(&sealed.stdout).into_owned();
        assert!(sealed.status.success(), "{told}{}", String::from_utf8_lossy(&sealed.stderr));
        if let Some(kcv) = kcv {
            assert!(told.contains(&format!("key check value: {kcv}")), "{told}");
        }
        let document = home.text("c.sealed");
        let uploaded = server.vendkey(&home, &["configuration", "upload", "--sealed", &document]);
        let told = String::from_utf8_lossy(&uploaded.stdout).into_owned();
        assert!(told.starts_with("uploaded\n"), "{told}{}", String::from_utf8_lossy(&uploaded.stderr));
        let wrong = server.vendkey(&home, &["configuration", "upload", "--sealed", &file]);
        let told = String::from_utf8_lossy(&wrong.stderr).into_owned();
        assert!(told.contains("nothing was sent") && told.contains("configuration in clear"), "{told}");
        fs::remove_file(&document).unwrap();
    }
    for configuration in listed(&mut api).await {
        api.issue(ten_kwh(&configuration)).await.unwrap();
    }
}

#[tokio::test]
async fn a_token_of_before_gets_its_sealing_key_by_a_second_setup() {
    let home = Home::new();
    let arguments = ["--delete-object", "--label", "vendkey sealed server key"];
    for kind in ["privkey", "pubkey"] {
        let deleted = crate::harness::pkcs11_tool(&home, &[&arguments[..], &["--type", kind]].concat());
        assert!(deleted.status.success(), "{}", String::from_utf8_lossy(&deleted.stderr));
    }
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    api.configuration(DKGA04).await;
    let key = api.configurations.get_server_key(GetServerKeyRequest {}).await.unwrap().into_inner();
    assert_eq!(key.sealing, None);
    assert!(server.stop().success());
    let setup = home.vendkey(&["setup", "--settings", &home.text("vendkey.toml")]);
    assert!(setup.status.success(), "{}", String::from_utf8_lossy(&setup.stderr));
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let administrator = api.administrator().await;
    let sealer = Sealer::new(&administrator, sealing_key(&mut api).await);
    import(&mut api, sealer.seal(DKGA04)).await.unwrap();
    assert!(server.stop().success());
    // And another one by rotation.
    let rotated = home.vendkey(&["rotate", "sealed-key", "--settings", &home.text("vendkey.toml")]);
    assert!(rotated.status.success(), "{}", String::from_utf8_lossy(&rotated.stderr));
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let status = import(&mut api, sealer.seal(DKGA04)).await.unwrap_err();
    assert_eq!(reason(&status), "UPLOAD_FOR_OTHER_SERVER");
    let sealer = Sealer::new(&administrator, sealing_key(&mut api).await);
    import(&mut api, sealer.seal(DKGA04)).await.unwrap();
}
