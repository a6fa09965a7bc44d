//! `vendkey hsm probe`, and a module without CKM_AES_CBC_PAD.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;
use vendkey::api::v1::{GetServerKeyRequest, ImportSealedConfigurationRequest};

use crate::harness::{
    AES_IV, AES_KEY, Blobs, DKGA02, DKGA04, Faults, Home, Sealer, Server, base64, flat, openssl, reason,
    ten_kwh,
};

const CKM_RSA_PKCS: &str = "1";
const CKM_RSA_PKCS_OAEP: &str = "9";
const CKM_SHA256_HMAC: &str = "593";
const CKM_AES_CBC_PAD: &str = "4229";

/// What the probe answers, with the exit status, on a module without these mechanisms.
fn probe(home: &Home, without: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let settings = home.text("vendkey.toml");
    let output = home
        .command(&[&["hsm", "probe", "--settings", &settings], arguments].concat())
        .env("PKCS11_SHIM_WITHOUT", without)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn named<'a>(report: &'a Value, list: &str, name: &str) -> &'a Value {
    let all = report[list].as_array().unwrap();
    all.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("{name} is not in {all:?}"))
}

/// Every file below a folder, but those that a login changes: SoftHSM writes the token's own object
/// anew.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with("token.object") {
                found.insert(path.display().to_string(), fs::read(&path).unwrap());
            }
        }
    }
    found
}

#[test]
fn an_empty_token_is_probed_and_left_as_it_was() {
    let home = Home::with_empty_token("softhsm");
    let before = files(&home.path("hsm"));
    let (exit, json, err) = probe(&home, "", &["--json"]);
    assert_eq!(exit, Some(0), "{json}{err}");
    let report: Value = serde_json::from_str(&json).unwrap();
    for name in [
        "the server itself",
        "DKGA04 (HMAC-SHA-256) keys, legacy uploads",
        "DKGA02 (DES) keys, legacy uploads",
        "DKGA04 (HMAC-SHA-256) keys, sealed uploads",
        "DKGA02 (DES) keys, sealed uploads",
    ] {
        assert_eq!(named(&report, "services", name)["served"], true, "{json}");
    }
    // SoftHSM's OAEP has SHA-1 alone.
    let refused = named(&report, "abilities", "upload key, OAEP SHA-256");
    assert_eq!(refused["served"], false);
    assert!(refused["detail"].as_str().unwrap().contains("C_UnwrapKey answered ArgumentsBad"), "{refused}");
    assert_eq!(named(&report, "ownKeys", "audit key")["made"], true);
    let listed = named(&report, "mechanisms", "CKM_AES_CBC_PAD");
    assert_eq!((&listed["code"], listed["listed"]["largestKey"].as_u64()), (&4229.into(), Some(32)));

    let (exit, text, _) = probe(&home, "", &[]);
    assert_eq!(exit, Some(0));
    assert!(text.contains("Vendkey can serve") && text.contains("CKK_DES3, CKM_DES3_ECB"), "{text}");
    let pin = fs::read_to_string(home.path("hsm/pin")).unwrap();
    assert!(!text.contains(pin.trim()) && !json.contains(pin.trim()));
    assert_eq!(files(&home.path("hsm")), before, "something was left on the token");
}

#[test]
fn what_a_module_lacks_is_said_with_what_hangs_on_it() {
    let home = Home::with_empty_token("softhsm");
    Faults::put_between(&home);
    let (exit, json, err) = probe(&home, CKM_RSA_PKCS_OAEP, &["--json"]);
    assert_eq!(exit, Some(0), "{json}{err}");
    let report: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(named(&report, "services", "DKGA02 (DES) keys, legacy uploads")["served"], true);
    let sealed = named(&report, "services", "DKGA02 (DES) keys, sealed uploads");
    assert_eq!(sealed["served"], false);
    assert!(sealed["missing"].to_string().contains("RSA-OAEP-SHA-256"), "{sealed}");

    for without in [format!("{CKM_RSA_PKCS},{CKM_RSA_PKCS_OAEP}"), CKM_SHA256_HMAC.to_owned()] {
        let (exit, text, err) = probe(&home, &without, &[]);
        assert_eq!(exit, Some(1), "{text}");
        assert!(text.contains("MechanismInvalid"), "{text}");
        assert!(err.contains("no configuration could be served with this HSM"), "{err}");
    }
}

#[tokio::test]
async fn a_module_without_cbc_pad_opens_legacy_uploads_and_tells_no_more_than_another() {
    let home = Home::on("softhsm");
    let (server, _faults) = Faults::server(&home, &[("PKCS11_SHIM_WITHOUT", CKM_AES_CBC_PAD)]);
    let (_, told, _) = probe(&home, CKM_AES_CBC_PAD, &[]);
    assert!(told.contains("padding taken off by the server"), "{told}");
    let mut api = server.api(&home).await;
    let administrator = api.administrator().await;
    let blobs = administrator.encrypt(DKGA04);

    let refused = |bad: &[u8]| {
        let mut blobs = blobs.clone();
        blobs.data = base64(bad);
        blobs
    };
    let data = openssl(&["base64", "-d"], blobs.data.as_bytes());
    let mut bad_block = data.clone();
    *bad_block.last_mut().unwrap() ^= 1;
    let mut told = Vec::new();
    // Padding of 16 zeros, of a length past the block, and a block of noise.
    for bad in [bad_block, padded(0), padded(17)] {
        let status = api.upload(&refused(&bad)).await.unwrap_err();
        told.push((status.code(), reason(&status), status.message().to_owned()));
    }
    let other_digest = administrator.encrypt(DKGA04.replace("123456", "654321"));
    let wrong = Blobs { digest: other_digest.digest, ..blobs.clone() };
    let status = api.upload(&wrong).await.unwrap_err();
    told.push((status.code(), reason(&status), status.message().to_owned()));
    assert!(told.iter().all(|one| *one == told[0]), "{told:?}");

    let configuration = api.upload(&blobs).await.unwrap().configuration.unwrap();
    let request = ten_kwh(&configuration);
    let token = api.issue(request.clone()).await.unwrap().token;
    drop(server);

    // The module with all its mechanisms issues the same.
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    assert_eq!(api.issue(request).await.unwrap().token, token);
}

/// kryoptic says that the device failed of whatever does not unwrap: that is the upload's fault, and no
/// reason to tear down a good HSM.
#[tokio::test]
async fn a_module_that_calls_a_bad_upload_a_device_error_goes_on() {
    let home = Home::on("softhsm");
    fs::write(home.path("faults"), "C_UnwrapKey refuse 48\n").unwrap();
    let (server, _faults) = Faults::server(&home, &[]);
    let mut api = server.api(&home).await;
    let administrator = api.administrator().await;
    let configuration = api.upload(&administrator.encrypt(DKGA04)).await.unwrap().configuration.unwrap();
    let blobs = administrator.encrypt(DKGA02);
    let mut refusals = Vec::new();
    let mut data = openssl(&["base64", "-d"], blobs.data.as_bytes());
    *data.last_mut().unwrap() ^= 1;
    for bad in
        [Blobs { data: base64(&data), ..blobs.clone() }, Blobs { key: base64(&[7; 512]), ..blobs.clone() }]
    {
        let status = api.upload(&bad).await.unwrap_err();
        refusals.push((status.code(), reason(&status)));
        // The HSM is not healed meanwhile: tokens are issued at once.
        api.issue(ten_kwh(&configuration)).await.unwrap();
    }
    assert_eq!(refusals[0], refusals[1]);
    assert!(!home.log().contains("does not serve"), "{}", home.log());
    let sealing = api.configurations.get_server_key(GetServerKeyRequest {}).await.unwrap().into_inner();
    let sealer = Sealer::new(&administrator, sealing.sealing.unwrap());
    let mut content = sealer.content(DKGA02);
    content["recipients"][0]["vending_key"] = flat(&[7; 512]).into();
    let document = sealer.sign(&content).to_string();
    let request = ImportSealedConfigurationRequest { document, validate_only: false };
    let status = api.configurations.import_sealed_configuration(request).await.unwrap_err();
    assert_eq!(status.code(), refusals[0].0, "{status:?}");
    api.issue(ten_kwh(&configuration)).await.unwrap();
    assert!(!home.log().contains("does not serve"), "{}", home.log());
}

/// The data of an upload whose text ends with a block of this byte in the place of padding.
fn padded(byte: u8) -> Vec<u8> {
    let text = format!("{DKGA04}{}", " ".repeat((16 - DKGA04.len() % 16) % 16));
    let clear = [text.as_bytes(), &[byte; 16]].concat();
    let (key, iv) = (hex::encode(AES_KEY), hex::encode(AES_IV));
    let encrypted = openssl(&["enc", "-aes-128-cbc", "-nopad", "-K", &key, "-iv", &iv], &clear);
    [&AES_IV[..], &encrypted].concat()
}
