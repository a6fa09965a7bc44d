//! Clients, credentials and the first administrators by the command line.

use uuid::Uuid;

use crate::harness::{Home, Server};

#[test]
fn clients_and_credentials_by_the_command_line() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = Home::new();
    let server = Server::start(&home);
    let run = |arguments: &[&str]| {
        let output = server.vendkey(&home, arguments);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        said
    };
    let json = |arguments: &[&str]| -> serde_json::Value {
        serde_json::from_str(&run(&[arguments, &["--json"]].concat())).unwrap()
    };
    let file = home.text("till-7");
    let made = json(&[
        "client",
        "create",
        "till 7",
        "--preset",
        "till",
        "--supply-group",
        "123456",
        "--limit",
        "electricity_credit.per_token=500",
        "--limit",
        "tokens_per_day=1000",
        "--out",
        &file,
    ]);
    let name = made["name"].as_str().unwrap();
    assert_eq!(made["rights"]["supplyGroups"][0], "123456");
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let shown = run(&["client", "show", name]);
    for text in [
        "till 7",
        "vend, verify",
        "supply group 123456",
        "electricity_credit.per_token=500",
        "tokens_per_day=1000",
    ] {
        assert!(shown.contains(text), "{shown}");
    }
    run(&["client", "update", name, "--deny", "verify", "--limit", "tokens_per_day=none"]);
    let shown = run(&["client", "show", name]);
    assert!(!shown.contains("verify") && !shown.contains("tokens_per_day"), "{shown}");
    assert!(run(&["client", "list"]).contains("till 7"));

    let second = home.text("till-7-new");
    let created = run(&["credential", "create", name, "--out", &second, "--days", "30"]);
    assert!(!created.contains(home.secret("till-7-new").rsplit('_').next().unwrap()), "{created}");
    let key_id = |file: &str| home.secret(file).split('_').nth(1).unwrap().to_owned();
    let listed = run(&["credential", "list", name]);
    assert!(listed.contains(&key_id("till-7")) && listed.contains(&key_id("till-7-new")), "{listed}");
    let first = format!("credentials/{}", key_id("till-7"));
    assert!(run(&["credential", "disable", &first]).contains("disabled"));
    assert!(run(&["credential", "enable", &first]).contains("enabled"));
    assert!(run(&["credential", "expire", &first, "--days", "7"]).contains("ends"));
    assert!(run(&["credential", "expire", &first, "--never"]).contains("never"));
    let certificate = "uri:spiffe://example.org/till/7";
    assert!(run(&["credential", "create", name, "--certificate", certificate]).contains(certificate));
    let generated = run(&["credential", "generate", "--out", &home.text("elsewhere")]);
    let word = |line: &str| {
        let line = generated.lines().find(|text| text.starts_with(line)).unwrap();
        line.split_whitespace().last().unwrap().to_owned()
    };
    let (key, hash) = (word("key id"), word("secret SHA-256"));
    run(&["credential", "create", name, "--key-id", &key, "--secret-sha256", &hash]);
    // A file that is there is never overwritten, and one that leads nowhere does not stay.
    let again = server.vendkey(&home, &["credential", "create", name, "--out", &second]);
    assert!(!again.status.success());
    let nobody = format!("clients/{}", Uuid::now_v7());
    let lost = server.vendkey(&home, &["credential", "create", &nobody, "--out", &home.text("nobody")]);
    assert!(!lost.status.success() && !home.path("nobody").exists());
    run(&["client", "disable", name]);
    run(&["client", "enable", name]);
}

#[test]
fn setup_makes_as_many_administrators_as_acts_take() {
    let home = Home::new();
    let settings = home.text("vendkey.toml");
    home.write_settings("[access]\napprovals = 2\n");
    let lonely = home.vendkey(&["setup", "--settings", &settings]);
    assert_eq!(lonely.status.code(), Some(64), "{}", String::from_utf8_lossy(&lonely.stderr));
    assert!(String::from_utf8_lossy(&lonely.stderr).contains("--administrator"));
    let files = [format!("asha={}", home.text("asha")), format!("ben={}", home.text("ben"))];
    let arguments =
        ["setup", "--settings", &settings, "--administrator", &files[0], "--administrator", &files[1]];
    for _ in 0..2 {
        let output = home.vendkey(&arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_ne!(home.secret("asha"), home.secret("ben"));
    let server = Server::start(&home);
    let listed = String::from_utf8(server.vendkey(&home, &["client", "list"]).stdout).unwrap();
    for name in ["administrator", "asha", "ben"] {
        assert_eq!(listed.matches(&format!(" {name} ")).count(), 1, "{listed}");
    }
}
