//! The program as people and scripts use it.

use std::{fs, os::unix::fs::PermissionsExt as _};

use serde_json::Value;

use crate::harness::{DKGA04, DRN, Home, Server, key_objects, openssl};

fn json(output: &std::process::Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn setup_again_changes_nothing() {
    let home = Home::new();
    let (credential, objects) = (home.credential(), key_objects(&home));
    let again = home.vendkey(&["setup", "--settings", &home.text("vendkey.toml")]);
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    assert_eq!((home.credential(), key_objects(&home)), (credential, objects));
    let mode = fs::metadata(home.path("credential")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn bad_settings_are_all_named_and_exit_78() {
    let home = Home::new();
    home.write_settings("colour = 'red'\n[vending]\ndkga02 = 'maybe'\n");
    let checked = home
        .command(&["serve", "--check", "--settings", &home.text("vendkey.toml")])
        .env("VENDKEY_SERVER__LISTEN", "nowhere")
        .output()
        .unwrap();
    assert_eq!(checked.status.code(), Some(78));
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    for name in ["log.colour", "vending.dkga02", "server.listen"] {
        assert!(said.contains(name), "{said}");
    }
    home.write_settings("");
    assert!(home.vendkey(&["serve", "--check", "--settings", &home.text("vendkey.toml")]).status.success());
}

#[test]
fn root_is_refused_unless_allowed() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let home = Home::new();
    let served = home
        .command(&["serve", "--settings", &home.text("vendkey.toml")])
        .env("VENDKEY_SERVER__ALLOW_ROOT", "false")
        .output()
        .unwrap();
    assert!(!served.status.success());
    assert!(String::from_utf8_lossy(&served.stderr).contains("allow_root"));
}

#[test]
fn a_wrong_pin_is_said_and_not_tried_again() {
    let home = Home::new();
    fs::write(home.path("hsm/pin"), "0000000000").unwrap();
    let served = home.vendkey(&["serve", "--settings", &home.text("vendkey.toml")]);
    assert_eq!(served.status.code(), Some(80));
    let said = String::from_utf8_lossy(&served.stderr).into_owned();
    assert!(said.contains("PIN"), "{said}");
    assert!(!said.contains("0000000000"), "{said}");
}

/// SoftHSM counts no tries; it has a flag that a wrong one sets and a right one clears.
fn wrong_try_is_flagged(home: &Home) -> bool {
    let shown = pkcs11(home, &["--list-slots"]);
    shown.contains("user PIN count low")
}

fn clear_wrong_try(home: &Home, pin: &[u8]) {
    let pin = String::from_utf8_lossy(pin);
    pkcs11(home, &["--token-label", "vendkey", "--login", "--pin", pin.trim(), "--list-objects"]);
}

fn pkcs11(home: &Home, arguments: &[&str]) -> String {
    let mut tool = std::process::Command::new("pkcs11-tool");
    tool.args(["--module", "/usr/lib/softhsm/libsofthsm2.so"]).args(arguments);
    let shown = tool.env("SOFTHSM2_CONF", home.path("hsm/softhsm2.conf")).output().unwrap();
    assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
    String::from_utf8_lossy(&shown.stdout).into_owned()
}

#[test]
fn a_pin_that_was_refused_is_remembered_by_every_command() {
    let home = Home::new();
    let right = fs::read(home.path("hsm/pin")).unwrap();
    let settings = home.text("vendkey.toml");
    fs::write(home.path("hsm/pin"), "0000000000").unwrap();
    assert_eq!(home.vendkey(&["serve", "--settings", &settings]).status.code(), Some(80));
    let memory = home.path("vendkey.db.refused-pin");
    assert_eq!(fs::metadata(&memory).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!fs::read_to_string(&memory).unwrap().contains("0000000000"));
    assert!(wrong_try_is_flagged(&home));
    clear_wrong_try(&home, &right);
    assert!(!wrong_try_is_flagged(&home));
    for command in [&["serve"][..], &["selftest"], &["inventory"], &["rotate", "audit-key"], &["setup"]] {
        let again = home.vendkey(&[command, &["--settings", &settings]].concat());
        let said = String::from_utf8_lossy(&again.stderr);
        assert_eq!(again.status.code(), Some(80), "{command:?}: {said}");
        assert!(said.contains("refused this PIN before") && !said.contains("0000000000"), "{said}");
        assert!(!wrong_try_is_flagged(&home), "{command:?} tried the PIN");
    }
    // Another PIN is tried, and a right one makes all well.
    fs::write(home.path("hsm/pin"), "1111111111").unwrap();
    let other = home.vendkey(&["selftest", "--settings", &settings]);
    assert!(other.status.code() == Some(80) && wrong_try_is_flagged(&home));
    fs::write(home.path("hsm/pin"), &right).unwrap();
    assert!(home.vendkey(&["selftest", "--settings", &settings]).status.success());
    assert!(!memory.exists());
}

#[test]
fn a_pin_file_of_another_form_is_named_before_the_hsm_is_asked() {
    let home = Home::new();
    let cases = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/pin-files/");
    for (file, named) in [
        ("bom.txt", "byte order mark"),
        ("trailing-blank.txt", "ends with a blank"),
        ("blank-first.txt", "begins with a blank"),
        ("comment.txt", "more than one line"),
        ("environment.txt", "NAME=value"),
        ("quoted.txt", "quotation marks"),
    ] {
        fs::write(home.path("hsm/pin"), fs::read(format!("{cases}{file}")).unwrap()).unwrap();
        let served = home.vendkey(&["serve", "--settings", &home.text("vendkey.toml")]);
        let said = String::from_utf8_lossy(&served.stderr);
        assert_eq!(served.status.code(), Some(78), "{file}: {said}");
        assert!(said.contains(named) && !said.contains("12345678"), "{file}: {said}");
    }
    assert!(!wrong_try_is_flagged(&home));
}

#[test]
fn the_whole_way_with_our_own_commands() {
    let home = Home::new();
    let server = Server::start(&home);
    let run = |arguments: &[&str]| {
        home.command(arguments).env("VENDKEY_ENDPOINT", &server.endpoint).output().unwrap()
    };
    fs::write(home.path("private.pem"), openssl(&["genrsa", "2048"], b"")).unwrap();
    let public = openssl(&["rsa", "-in", &home.text("private.pem"), "-pubout"], b"");
    fs::write(home.path("public.pem"), public).unwrap();
    fs::write(home.path("c.yaml"), DKGA04).unwrap();

    let key = json(&run(&["server-key", "--json", "--out", &home.text("server.pem")]));
    assert_eq!(key["bits"], 4096);
    let fingerprint = key["fingerprint"].as_str().unwrap();
    let registered =
        json(&run(&["public-key", "register", &home.text("public.pem"), "--name", "me", "--json"]));
    let files = |name: &str| home.text(&format!("out/{name}"));
    let encrypt = |fingerprint: &str| {
        run(&[
            "configuration",
            "encrypt",
            &home.text("c.yaml"),
            "--server-key",
            &home.text("server.pem"),
            "--fingerprint",
            fingerprint,
            "--signing-key",
            &home.text("private.pem"),
            "--out",
            &home.text("out"),
        ])
    };
    let swapped = encrypt(&"0".repeat(64));
    assert!(!swapped.status.success() && !home.path("out").exists());
    // Whatever stands in place of the signing key is told by what it is.
    for (file, told) in
        [("public.pem", "a public key; the private key signs"), ("c.yaml", "the configuration in clear")]
    {
        let mut encrypt = vec!["configuration", "encrypt", "c.yaml", "--server-key", "server.pem"];
        encrypt.extend(["--fingerprint", fingerprint, "--signing-key", file, "--out", "out"]);
        let refused = home.command(&encrypt).current_dir(home.path("")).output().unwrap();
        let said = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(65), "{said}");
        assert!(said.contains(&format!("--signing-key {file}: this is {told}")), "{said}");
        assert!(!home.path("out").exists() && !said.contains("abababab"), "{said}");
    }
    let encrypted = encrypt(fingerprint);
    assert!(encrypted.status.success(), "{}", String::from_utf8_lossy(&encrypted.stderr));
    let (data, digest, key) = (files("c.data"), files("c.digest"), files("c.key"));
    let upload = ["configuration", "upload", "--data", &data, "--digest", &digest, "--key", &key, "--json"];
    let uploaded = json(&run(&upload));
    let configuration = &uploaded["configuration"];
    assert_eq!(configuration["state"], "ENABLED");
    assert_eq!(configuration["signer"], registered["name"]);
    let name = configuration["name"].as_str().unwrap();

    let issue = ["token", "issue", "--configuration", name, "--meter", DRN, "--electricity", "12.5"];
    let issued = json(&run(&[&issue[..], &["--json"]].concat()));
    assert_eq!(issued["token"].as_str().unwrap().len(), 20);
    assert_eq!(issued["transferred"]["amount"], "12.5");
    let shown = String::from_utf8(run(&issue).stdout).unwrap();
    assert!(shown.contains("12.5 kWh"), "{shown}");
    let refused = run(&["token", "issue", "--configuration", name, "--meter", "1", "--electricity", "0.01"]);
    assert!(!refused.status.success());
    let said = String::from_utf8(refused.stderr).unwrap();
    for part in ["meter", "electricity_credit", "INVALID_FIELDS"] {
        assert!(said.contains(part), "{said}");
    }

    assert_eq!(json(&run(&["configuration", "disable", name, "--json"]))["state"], "DISABLED");
    assert_eq!(json(&run(&["configuration", "show", name, "--json"]))["state"], "DISABLED");
    assert_eq!(json(&run(&["configuration", "enable", name, "--json"]))["state"], "ENABLED");
    let key = registered["name"].as_str().unwrap();
    assert_eq!(json(&run(&["public-key", "disable", key, "--json"]))["enabled"], Value::Null);
    let refused = run(&upload);
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("ENVELOPE_"));
    json(&run(&["public-key", "enable", key, "--json"]));
    assert_eq!(json(&run(&upload))["existing"], true);
    for list in [["configuration", "list"], ["public-key", "list"]] {
        assert!(run(&list).status.success());
    }
}

#[test]
fn the_check_finds_what_serve_would_find_and_says_it_in_words() {
    let home = Home::new();
    let cases = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/serve-check/");
    let settings = home.text("vendkey.toml");
    for (certificate, key, words) in [
        ("tls.pem", "encrypted.key", "passphrase"),
        ("request.pem", "tls.key", "a request for a certificate"),
        ("empty.pem", "tls.key", "an empty file"),
        ("public.pem", "tls.key", "a public key"),
        ("only-certificate.p12", "tls.key", "PKCS#12"),
        ("tls.pem", "tls.pem", "it is a certificate"),
    ] {
        home.write_settings(&format!(
            "[server.tls]\ncertificate_file = '{cases}{certificate}'\nkey_file = '{cases}{key}'\n"
        ));
        for arguments in
            [&["serve", "--check", "--settings", &settings][..], &["serve", "--settings", &settings]]
        {
            let found = home.vendkey(arguments);
            let said = String::from_utf8_lossy(&found.stderr);
            assert_eq!(found.status.code(), Some(78), "{certificate} {key}: {said}");
            assert!(said.contains(words), "{certificate} {key}: {said}");
        }
    }
    // All at once, and nothing changed.
    let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    fs::remove_file(home.path("vendkey.db")).unwrap();
    fs::create_dir(home.path("vendkey.db")).unwrap();
    fs::write(home.path("hsm/pin"), "12345678 \n").unwrap();
    let found = home
        .command(&["serve", "--check", "--settings", &settings])
        .env("VENDKEY_HSM__TOKEN_LABEL", "nowhere")
        .env("VENDKEY_SERVER__LISTEN", busy.local_addr().unwrap().to_string())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&found.stderr);
    assert_eq!(found.status.code(), Some(78), "{said}");
    for words in [
        "cannot listen on",
        "nowhere",
        "ends with a blank",
        "store.path: ",
        "certificate",
        "may read the private key",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
}
