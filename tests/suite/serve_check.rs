//! `serve --check` says what `serve` would say, ends with the same code, and changes nothing.

use std::{collections::BTreeMap, fs, net::TcpListener, os::unix::fs::PermissionsExt as _, process::Output};

use rusqlite::Connection;

use crate::harness::{Home, Server};

/// The exit codes of docs/operations.md.
const UNAVAILABLE: i32 = 69;
const SYSTEM: i32 = 71;
const LATER: i32 = 75;
const SETTINGS: i32 = 78;
const PIN_REFUSED: i32 = 80;

fn run(home: &Home, check: bool, environment: &[(&str, &str)]) -> Output {
    let settings = home.text("vendkey.toml");
    let arguments = ["serve", "--settings", &settings, "--check"];
    let arguments = if check { &arguments[..] } else { &arguments[..3] };
    home.command(arguments).envs(environment.iter().copied()).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The database and what lies beside it.
fn files(home: &Home) -> BTreeMap<String, Option<Vec<u8>>> {
    let entries = fs::read_dir(home.path(".")).unwrap().map(Result::unwrap);
    let name = |entry: &fs::DirEntry| entry.file_name().into_string().unwrap();
    let ours = entries.filter(|entry| name(entry).starts_with("vendkey"));
    ours.map(|entry| (name(&entry), fs::read(entry.path()).ok())).collect()
}

/// Sees to it that `serve --check` changes nothing, tells exactly this setting, with these words,
/// and ends as `serve` does.
fn alike(home: &Home, environment: &[(&str, &str)], code: i32, setting: &str, words: &str) {
    let before = files(home);
    let check = run(home, true, environment);
    assert_eq!(files(home), before, "the check changed something");
    let text = said(&check);
    assert_eq!(check.status.code(), Some(code), "{text}");
    let faults: Vec<&str> = text.lines().filter(|line| line.starts_with("  ")).collect();
    assert!(matches!(faults[..], [fault] if fault.starts_with(&format!("  {setting}: "))), "{text}");
    assert!(text.contains(words), "{text}");
    let serve = run(home, false, environment);
    assert_eq!(serve.status.code(), Some(code), "serve: {}", said(&serve));
    assert!(said(&serve).contains(words), "serve: {}", said(&serve));
}

/// Sees to it that nothing is wrong, and that this is warned of, if anything.
fn usable(home: &Home, environment: &[(&str, &str)], warning: Option<&str>) {
    let before = files(home);
    let check = run(home, true, environment);
    assert_eq!(files(home), before, "the check changed something");
    let text = said(&check);
    assert!(check.status.success(), "{text}");
    assert!(String::from_utf8_lossy(&check.stdout).contains("can be used"));
    match warning {
        None => assert_eq!(text, ""),
        Some(warning) => assert!(text.starts_with("warning: ") && text.contains(warning), "{text}"),
    }
}

#[test]
fn a_server_in_order_is_told_so() {
    let home = Home::new();
    usable(&home, &[], None);
    Server::start(&home).stop();
    usable(&home, &[], None);
}

#[test]
fn the_token_and_its_pin_are_looked_at_and_the_pin_is_not_tried() {
    let home = Home::new();
    alike(&home, &[("VENDKEY_HSM__TOKEN_LABEL", "nowhere")], UNAVAILABLE, "hsm.token_label", "nowhere");
    let other = home.text("credential");
    alike(&home, &[("VENDKEY_HSM__MODULE", &other)], SETTINGS, "hsm.module", "cannot load");
    let pin = home.path("hsm/pin");
    fs::set_permissions(&pin, fs::Permissions::from_mode(0o640)).unwrap();
    alike(&home, &[], SETTINGS, "hsm.pin_file", "mode 640");
    fs::set_permissions(&pin, fs::Permissions::from_mode(0o600)).unwrap();
    let right = fs::read(&pin).unwrap();
    fs::write(&pin, "1234 \n").unwrap();
    alike(&home, &[], SETTINGS, "hsm.pin_file", "ends with a blank");
    // A wrong one looks like any other; once it was refused, the check says so too.
    fs::write(&pin, "0000000000").unwrap();
    usable(&home, &[], None);
    assert_eq!(run(&home, false, &[]).status.code(), Some(PIN_REFUSED));
    alike(&home, &[], PIN_REFUSED, "hsm.pin_file", "refused this PIN before");
    fs::write(&pin, right).unwrap();
    usable(&home, &[], None);
}

#[test]
fn the_database_is_looked_at() {
    let home = Home::new();
    let path = home.path("vendkey.db");
    let server = Server::start(&home);
    // While it runs only the codes and words are alike: it writes.
    for check in [true, false] {
        let output = run(&home, check, &[]);
        assert_eq!(output.status.code(), Some(LATER), "{}", said(&output));
        assert!(said(&output).contains("is in use by process"), "{}", said(&output));
    }
    assert!(server.stop().success());
    usable(&home, &[], None);

    let good = fs::read(&path).unwrap();
    let newer = "INSERT INTO schema_migrations (version, name, checksum) VALUES (999, 'x', zeroblob(32))";
    Connection::open(&path).unwrap().execute_batch(newer).unwrap();
    alike(&home, &[], SETTINGS, "store.path", "schema version 999");
    for (content, words) in [(&b""[..], "is an empty file"), (b"Dear Asha,", "is no SQLite database")] {
        fs::write(&path, content).unwrap();
        alike(&home, &[], SETTINGS, "store.path", words);
    }
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    alike(&home, &[], SETTINGS, "store.path", "is a folder");
    fs::remove_dir(&path).unwrap();
    fs::write(&path, &good).unwrap();
    fs::hard_link(&path, home.path("vendkey-2.db")).unwrap();
    alike(&home, &[], SETTINGS, "store.path", "hard links");
    fs::remove_file(home.path("vendkey-2.db")).unwrap();
    let missing = home.text("missing/vendkey.db");
    alike(&home, &[("VENDKEY_STORE__PATH", &missing)], SETTINGS, "store.path", "does not exist");
    // Root may write everywhere.
    if !rustix::process::geteuid().is_root() {
        for (name, mode) in [("vendkey.db", 0o600), (".", 0o700)] {
            fs::set_permissions(home.path(name), fs::Permissions::from_mode(mode & 0o500)).unwrap();
            alike(&home, &[], SETTINGS, "store.path", "cannot be written");
            fs::set_permissions(home.path(name), fs::Permissions::from_mode(mode)).unwrap();
        }
    }
    if rustix::process::geteuid().is_root() {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
        usable(&home, &[], Some("has mode 444, so that nobody but root can write it"));
    }
    fs::remove_file(&path).unwrap();
    usable(&home, &[], Some("store.path: there is no database sqlite:"));
    assert!(!path.exists());
    fs::write(&path, good).unwrap();
    usable(&home, &[], None);
    // A server would start and issue nothing, or keep no checkpoint.
    let kept = ("VENDKEY_STORE__CHECKPOINT_FILE", home.text("credential"));
    usable(&home, &[(kept.0, &kept.1)], Some("line 1 of the checkpoint is not what it should be; until"));
    let kept = (kept.0, home.text("hsm/none"));
    usable(&home, &[(kept.0, &kept.1)], Some("it is missing, and the database knows a checkpoint"));
    let kept = (kept.0, home.text("missing/checkpoint"));
    usable(&home, &[(kept.0, &kept.1)], Some("no checkpoint could be kept there"));
    let folder = home.text("hsm");
    let checkpoint = [("VENDKEY_STORE__CHECKPOINT_FILE", folder.as_str())];
    alike(&home, &checkpoint, 1, "store.checkpoint_file", "directory");
}

#[test]
fn the_addresses_are_looked_at() {
    let home = Home::new();
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = busy.local_addr().unwrap().to_string();
    alike(
        &home,
        &[("VENDKEY_SERVER__LISTEN", &taken)],
        SYSTEM,
        "server.listen",
        "another program has this port",
    );
    let administration = [("VENDKEY_ADMINISTRATION__LISTEN", taken.as_str())];
    alike(&home, &administration, SYSTEM, "administration.listen", &taken);
    alike(&home, &[("VENDKEY_METRICS__LISTEN", &taken)], SYSTEM, "metrics.listen", &taken);
    // One address for two.
    drop(busy);
    let both = [("VENDKEY_SERVER__LISTEN", taken.as_str()), ("VENDKEY_METRICS__LISTEN", &taken)];
    alike(&home, &both, SYSTEM, "metrics.listen", &taken);
}

#[test]
fn a_clock_in_doubt_is_warned_of() {
    let home = Home::new();
    Server::start(&home).stop();
    let played = home.text("played-clock");
    let environment = [("VENDKEY_PLAYED_CLOCK", played.as_str())];
    fs::write(&played, "0").unwrap();
    usable(&home, &environment, None);
    fs::write(&played, "259200000").unwrap();
    usable(&home, &environment, Some("warning: clock: the clock is 2592"));
    fs::write(&played, "259200000 synchronised").unwrap();
    usable(&home, &environment, None);
}

#[test]
fn several_faults_are_all_told_and_the_first_decides() {
    let home = Home::new();
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = busy.local_addr().unwrap().to_string();
    fs::write(home.path("vendkey.db"), "Dear Asha,").unwrap();
    fs::write(home.path("cut.pem"), "").unwrap();
    let listen = ("VENDKEY_SERVER__LISTEN", taken.as_str());
    let token = ("VENDKEY_HSM__TOKEN_LABEL", "nowhere");
    let (tls, key) = (home.text("cut.pem"), home.text("credential"));
    let pair =
        [("VENDKEY_SERVER__TLS__CERTIFICATE_FILE", tls.as_str()), ("VENDKEY_SERVER__TLS__KEY_FILE", &key)];
    let order = |environment: &[(&str, &str)], code: i32, settings: &[&str]| {
        let output = run(&home, true, environment);
        let text = said(&output);
        let found: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("  ")?.split_once(": "))
            .map(|(key, _)| key)
            .collect();
        assert_eq!((output.status.code(), found.as_slice()), (Some(code), settings), "{text}");
        assert_eq!(run(&home, false, environment).status.code(), Some(code));
    };
    order(&[listen], SETTINGS, &["store.path", "server.listen"]);
    order(&[listen, token], UNAVAILABLE, &["hsm.token_label", "store.path", "server.listen"]);
    let tls = ["server.tls.certificate_file", "server.tls.key_file"];
    let others = ["hsm.token_label", "store.path", "server.listen"];
    order(&[&[listen, token], &pair[..]].concat(), SETTINGS, &[&tls[..], &others].concat());
}
