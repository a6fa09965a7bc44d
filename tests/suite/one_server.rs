//! One server for one database, whatever it is called.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Output},
};

use rusqlite::Connection;
use tonic::Code;

use crate::harness::{DKGA04, Health, Home, Server, reason, ten_kwh};

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The same command, ended from outside when a minute is over: a server that should have been
/// refused must fail the test and not hold it.
fn bounded(program: &str, home: &Home, command: &Command) -> Command {
    let mut bounded = Command::new("timeout");
    bounded.args(["60", program]);
    for (name, value) in command.get_envs() {
        bounded.env(name, value.unwrap());
    }
    bounded.env("VENDKEY_SERVER__ALLOW_ROOT", "true").current_dir(home.path("."));
    bounded
}

/// Runs a command of the program on a database of this name, to its end.
fn on(home: &Home, database: &str, arguments: &[&str]) -> Output {
    let command = home.command(arguments);
    bounded(command.get_program().to_str().unwrap(), home, &command)
        .args(command.get_args())
        .args(["--settings", &home.text("vendkey.toml")])
        .env("VENDKEY_STORE__PATH", database)
        .output()
        .unwrap()
}

/// The same where some folder or file is mounted over another; `None` without leave to mount.
fn mounted(home: &Home, from: &Path, to: &Path, database: &Path, arguments: &[&str]) -> Option<Output> {
    let allowed = Command::new("unshare").args(["-rm", "true"]).status();
    if !allowed.is_ok_and(|status| status.success()) {
        #[expect(clippy::print_stderr, reason = "whoever runs the tests should know")]
        {
            eprintln!("skipped: no leave for a namespace of mounts");
        }
        return None;
    }
    let command = home.command(arguments);
    let mut within = bounded("unshare", home, &command);
    within.args(["-rm", "sh", "-c", "mount --bind \"$0\" \"$1\" && shift && exec \"$@\""]);
    within.args([from, to, command.get_program().as_ref()]).args(command.get_args());
    within.args(["--settings", &home.text("vendkey.toml")]).env("VENDKEY_STORE__PATH", database);
    Some(within.output().unwrap())
}

#[tokio::test]
async fn a_second_one_is_refused_under_every_name() {
    let home = Home::new();
    let server = Server::start(&home);
    let database = home.path("vendkey.db");
    symlink(&database, home.path("link.db")).unwrap();
    symlink(home.path("."), home.path("folder")).unwrap();
    fs::create_dir(home.path("below")).unwrap();
    fs::create_dir(home.path("mount")).unwrap();

    let absolute = ["vendkey.db", "link.db", "folder/vendkey.db", "below/../vendkey.db"];
    let relative = ["./vendkey.db", "below/../link.db"].map(str::to_owned);
    for name in absolute.map(|name| home.text(name)).into_iter().chain(relative) {
        let refused = on(&home, &name, &["serve"]);
        assert!(!refused.status.success() && said(&refused).contains("is in use by process"), "{name}");
    }
    for command in [
        &["setup"][..],
        &["setup", "--seal-rows"],
        &["rotate", "server-key"],
        &["rotate", "audit-key"],
        &["rotate", "row-seal-key"],
    ] {
        let refused = on(&home, &home.text("link.db"), command);
        let said = said(&refused);
        assert!(!refused.status.success() && said.contains("is in use by process"), "{command:?}: {said}");
    }
    let (all, mount) = (home.path("."), home.path("mount"));
    if let Some(refused) = mounted(&home, &all, &mount, &mount.join("vendkey.db"), &["serve"]) {
        assert!(said(&refused).contains("is in use"), "{}", said(&refused));
    }

    // A copy is taken beside the server, under every name that leads to its log.
    for (name, copy) in [("vendkey.db", "one"), ("link.db", "two")] {
        let done = on(&home, &home.text(name), &["backup", "--out", &home.text(copy)]);
        assert!(done.status.success(), "{}", said(&done));
    }
    drop(server);
    // Killed: what it leaves hinders nobody.
    assert!(Server::start(&home).stop().success());
    let server = Server::start_with(&home, &[("VENDKEY_STORE__PATH", &home.text("link.db"))]);
    assert!(server.stop().success());
}

#[tokio::test]
async fn a_file_with_names_of_its_own_is_refused() {
    let home = Home::new();
    let database = home.path("vendkey.db");
    let hard = home.path("hard.db");
    fs::hard_link(&database, &hard).unwrap();
    for command in [&["serve"][..], &["setup"], &["backup", "--out", &home.text("copy")]] {
        for name in [&database, &hard] {
            let refused = on(&home, name.to_str().unwrap(), command);
            let said = said(&refused);
            assert!(!refused.status.success() && said.contains("has 2 names (hard links)"), "{said}");
        }
    }
    fs::remove_file(&hard).unwrap();
    fs::write(home.path("alone.db"), "").unwrap();
    let alone = home.path("alone.db");
    for command in [&["serve"][..], &["backup", "--out", &home.text("other")]] {
        if let Some(refused) = mounted(&home, &database, &alone, &alone, command) {
            let said = said(&refused);
            assert!(!refused.status.success() && said.contains("is mounted as a file alone"), "{said}");
        }
    }
    assert!(Server::start(&home).stop().success());
}

#[test]
fn lock_files_of_earlier_versions_mean_nothing() {
    let home = Home::new();
    fs::write(home.path("vendkey.db.lock"), "1\n").unwrap();
    let server = Server::start(&home);
    fs::rename(home.path("vendkey.db.lock"), home.path("away.lock")).unwrap();
    let refused = on(&home, &home.text("vendkey.db"), &["serve"]);
    assert!(said(&refused).contains("is in use by process"), "{}", said(&refused));
    assert!(server.stop().success());
}

#[tokio::test]
async fn a_server_whose_database_was_taken_over_stops_and_says_why() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let configuration = api.configuration(DKGA04).await;
    let first = ten_kwh(&configuration);
    let token = api.issue(first.clone()).await.unwrap().token;
    let mut health = Health::of(&server).await;
    health.serving().await;

    // As a server does that no lock kept out.
    let other = Connection::open(home.path("vendkey.db")).unwrap();
    other.execute("UPDATE claim SET run = randomblob(16)", []).unwrap();
    let status = api.issue(ten_kwh(&configuration)).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "LEDGER_TAKEN_OVER"));
    health.not_serving().await;
    assert!(home.log().contains("another process has opened the database since"));
    assert_eq!(api.issue(first.clone()).await.unwrap().token, token, "replays go on");
    server.stop();

    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    assert_eq!(api.issue(first).await.unwrap().token, token);
    api.issue(ten_kwh(&configuration)).await.unwrap();
}

#[tokio::test]
async fn a_server_whose_file_was_moved_stops_until_it_is_back() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let configuration = api.configuration(DKGA04).await;
    let (database, away) = (home.path("vendkey.db"), home.path("away.db"));
    fs::rename(&database, &away).unwrap();
    let request = ten_kwh(&configuration);
    let status = api.issue(request.clone()).await.unwrap_err();
    assert_eq!(reason(&status), "LEDGER_TAKEN_OVER");
    fs::copy(&away, &database).unwrap();
    let status = api.issue(request.clone()).await.unwrap_err();
    assert_eq!(reason(&status), "LEDGER_TAKEN_OVER", "another file of that name");
    fs::rename(&away, &database).unwrap();
    assert!(!api.issue(request).await.unwrap().replay, "nothing was recorded before");
}
