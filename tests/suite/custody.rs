//! The vending key is in the HSM and nowhere else.

use std::fs;

use crate::harness::{DKGA02, DKGA04, Home, Server, key_objects, pkcs11_tool, ten_kwh};

/// The two vending keys of the test configurations.
const KEYS: [&str; 2] = ["abababababababab949494949494949401234567", "0123456789abcdef"];

#[tokio::test]
async fn the_token_holds_no_key_that_can_be_read() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    for yaml in [DKGA04, DKGA02] {
        api.configuration(yaml).await;
    }
    let listed = pkcs11_tool(&home, &["--list-objects", "--type", "secrkey"]);
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let keys = listed.matches("Secret Key Object").count();
    assert_eq!(keys, 5, "row seal, fingerprint, two vending keys, one mask:\n{listed}");
    // Those made in the HSM were never extractable; those brought in are not, though they once were
    // elsewhere.
    assert!(!listed.replace("never extractable", "").contains("extractable"), "{listed}");
    assert_eq!(listed.matches("Access:     sensitive").count(), keys, "{listed}");
    let mut refused = 0;
    for id in listed.lines().filter_map(|line| line.trim().strip_prefix("ID:")) {
        for label in
            ["vendkey vending key", "vendkey mask key", "vendkey row-seal key", "vendkey fingerprint key"]
        {
            let arguments = ["--read-object", "--type", "secrkey", "--id", id.trim(), "--label", label];
            let read = pkcs11_tool(&home, &arguments);
            let said = String::from_utf8_lossy(&read.stderr).into_owned();
            if said.contains("object not found") {
                continue;
            }
            refused += 1;
            assert!(
                !read.status.success() && read.stdout.is_empty(),
                "the value of {label} {id} can be read"
            );
        }
    }
    assert_eq!(refused, 5, "{listed}");
    // A key that may be read is read: the refusals above mean something.
    let file = home.text("readable");
    fs::write(&file, [7; 16]).unwrap();
    let readable =
        ["--write-object", &file, "--type", "secrkey", "--key-type", "AES:16", "--id", "0f", "--extractable"];
    let written = pkcs11_tool(&home, &readable);
    assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
    let read = pkcs11_tool(&home, &["--read-object", "--type", "secrkey", "--id", "0f"]);
    assert_eq!(read.stdout, [7; 16], "what may be read can be: {}", String::from_utf8_lossy(&read.stderr));
}

#[tokio::test]
async fn neither_database_nor_log_nor_error_holds_the_key() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let administrator = api.administrator().await;
    let mut said = Vec::new();
    for yaml in [DKGA04, DKGA02] {
        let configuration = api.upload(&administrator.encrypt(yaml)).await.unwrap().configuration.unwrap();
        let issued = api.issue(ten_kwh(&configuration)).await.unwrap();
        said.extend(format!("{configuration:?} {:?}", issued.transferred).into_bytes());
        // Faults on every line, beside and on the key.
        for (from, to) in [
            ("key_type: 2", "key_type: 9"),
            ("vending_key: ", "vending_key: 0"),
            ("vending_key: ", "tariff_indes: "),
            ("name: ", "name: abababababababab949494949494949401234567 0123456789abcdef "),
            ("supply_group_code: 123456", "supply_group_code: 0123456789abcdef"),
        ] {
            let status = api.upload(&administrator.encrypt(yaml.replace(from, to))).await.unwrap_err();
            said.extend(format!("{status:?}").into_bytes());
            said.extend(status.details());
        }
    }
    // Its client is still connected: that must not keep it alive.
    assert!(server.stop().success());
    said.extend(fs::read(home.path("log")).unwrap());
    for entry in fs::read_dir(home.path("")).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with("vendkey.db") {
            said.extend(fs::read(path).unwrap());
        }
    }
    let said = searchable(&said);
    for key in KEYS {
        let bytes = hex::decode(key).unwrap();
        let reversed: Vec<u8> = bytes.iter().rev().copied().collect();
        for encoding in encodings(&bytes).into_iter().chain(encodings(&reversed)) {
            let encoding = searchable(&encoding);
            let around = said.find(&encoding).map(|at| said[..at].chars().rev().take(80).collect::<Vec<_>>());
            let around = around.map(|reversed| reversed.into_iter().rev().collect::<String>());
            assert_eq!(around, None, "the key stands as {encoding:?}");
        }
    }
}

/// Bytes as text of one character each, letters in lower case.
fn searchable(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(byte.to_ascii_lowercase())).collect()
}

/// The bytes, and their hex, base64 and decimal-list texts, without what depends on their position.
fn encodings(bytes: &[u8]) -> Vec<Vec<u8>> {
    use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
    let list =
        |separator: &str| bytes.iter().map(u8::to_string).collect::<Vec<_>>().join(separator).into_bytes();
    let mut encodings = vec![bytes.to_vec(), hex::encode(bytes).into_bytes(), list(", "), list(",")];
    for skipped in 0..3 {
        let whole = (bytes.len() - skipped) / 3 * 3;
        encodings.push(STANDARD_NO_PAD.encode(&bytes[skipped..skipped + whole]).into_bytes());
    }
    encodings
}

#[tokio::test]
async fn objects_that_no_configuration_knows_are_reported_and_left_alone() {
    let home = Home::new();
    fs::copy(home.path("vendkey.db"), home.path("before.db")).unwrap();
    let server = Server::start(&home);
    server.api(&home).await.configuration(DKGA04).await;
    assert!(server.stop().success());
    assert!(!home.log().contains("no configuration knows"));
    fs::rename(home.path("before.db"), home.path("vendkey.db")).unwrap();
    let objects = key_objects(&home);
    drop(Server::start(&home));
    assert!(home.log().contains("no configuration knows"), "{}", home.log());
    assert_eq!(key_objects(&home), objects);
}
