//! A ledger carried from SQLite into PostgreSQL and back, by the command.

use std::{
    fs,
    process::Output,
    time::{Duration, Instant},
};

use rusqlite::Connection;
use serde_json::Value;
use vendkey::api::v1::{Configuration, IssueTokenRequest, IssuedToken, ListClientsRequest};

use crate::harness::{DKGA02, DKGA04, Home, Server, TestDatabase, reason, ten_kwh};

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Settings of a server on PostgreSQL, beside those on SQLite.
fn postgresql(home: &Home, database: &TestDatabase) {
    let text = fs::read_to_string(home.path("vendkey.toml")).unwrap();
    let store = format!("url = '{}'\ncheckpoint_file = 'checkpoint'", database.url());
    fs::write(home.path("postgresql.toml"), text.replace("path = 'vendkey.db'", &store)).unwrap();
}

fn migrate(home: &Home, more: &[&str]) -> Output {
    let settings = home.text("postgresql.toml");
    home.vendkey(&[&["store", "migrate", "--settings", &settings], more].concat())
}

/// Starts a server by other settings than the home's.
fn start(home: &Home, settings: &str) -> Server {
    fs::copy(home.path(settings), home.path("vendkey.toml")).unwrap();
    Server::start(home)
}

/// What `serve` says where it does not serve.
fn refused(home: &Home, settings: &str) -> String {
    for more in [&[][..], &["--check"]] {
        let output = home.vendkey(&[&["serve", "--settings", &home.text(settings)], more].concat());
        assert_eq!(output.status.code(), Some(78), "{}", said(&output));
    }
    said(&home.vendkey(&["serve", "--settings", &home.text(settings)]))
}

/// A till with four tokens a day, of which it had two.
async fn filled(home: &Home) -> (Configuration, Vec<(IssueTokenRequest, IssuedToken)>) {
    let server = Server::start(home);
    let mut api = server.api(home).await;
    let administrator = api.administrator().await;
    let mut configurations = Vec::new();
    for yaml in [DKGA04, DKGA02] {
        configurations.push(api.upload(&administrator.encrypt(yaml)).await.unwrap().configuration.unwrap());
    }
    let mut tokens = Vec::new();
    for configuration in &configurations {
        let request = ten_kwh(configuration);
        tokens.push((request.clone(), api.issue(request).await.unwrap()));
    }
    let clients = api.clients.list_clients(ListClientsRequest::default()).await.unwrap().into_inner().clients;
    let till = &clients.iter().find(|client| client.display_name == "till").unwrap().name;
    let limited = server.vendkey(home, &["client", "update", till, "--limit", "tokens_per_day=4"]);
    assert!(limited.status.success(), "{}", said(&limited));
    assert!(server.stop().success());
    (configurations.remove(0), tokens)
}

/// Exports the chains of a running server and verifies them.
fn verified(home: &Home, server: &Server) {
    let [chain, checkpoint, key] = ["chain.jsonl", "checkpoint.txt", "audit.pem"].map(|name| home.text(name));
    let files = ["--checkpoint", &checkpoint, "--audit-key", &key];
    let give_up = Instant::now() + Duration::from_secs(60);
    loop {
        let export = server.vendkey(home, &[&["audit", "export", &chain][..], &files].concat());
        if export.status.success() {
            break;
        }
        assert!(said(&export).contains("no checkpoint yet") && Instant::now() < give_up, "{}", said(&export));
        std::thread::sleep(Duration::from_millis(200));
    }
    let sound = home.vendkey(&[&["audit", "verify", &chain][..], &files].concat());
    assert!(sound.status.success() && said(&sound).contains("nothing is wrong"), "{}", said(&sound));
}

#[tokio::test]
async fn tokens_limits_and_chains_go_on_in_postgresql_and_back_in_a_file() {
    let home = Home::new();
    let database = TestDatabase::new();
    postgresql(&home, &database);
    fs::copy(home.path("vendkey.toml"), home.path("sqlite.toml")).unwrap();
    let (configuration, mut tokens) = filled(&home).await;
    let running = Server::start(&home);
    let busy = migrate(&home, &["--from", &home.text("vendkey.db")]);
    assert_eq!(busy.status.code(), Some(75), "{}", said(&busy));
    assert!(
        said(&busy).contains("the source: the database") && said(&busy).contains("in use"),
        "{}",
        said(&busy)
    );
    assert!(running.stop().success());

    let done = migrate(&home, &["--from", &home.text("vendkey.db"), "--json"]);
    assert!(done.status.success(), "{}", said(&done));
    let json: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!((&json["rows"]["tokens"], &json["rows"]["configurations"]), (&2.into(), &2.into()), "{json}");
    assert!(json["sealsVerified"].as_u64().unwrap() > 5, "{json}");
    assert_eq!(json["chains"].as_array().unwrap().len(), 1);
    assert!(refused(&home, "sqlite.toml").contains("was migrated to postgresql://"));

    let server = start(&home, "postgresql.toml");
    let mut api = server.api(&home).await;
    for (request, token) in &tokens {
        let again = api.issue(request.clone()).await.unwrap();
        assert!(again.replay);
        assert_eq!((&again.token, &again.name, again.tid), (&token.token, &token.name, token.tid));
    }
    let request = ten_kwh(&configuration);
    let next = api.issue(request.clone()).await.unwrap();
    assert!(next.tid.unwrap().value > tokens[1].1.tid.unwrap().value, "a meter's identifiers go on rising");
    tokens.push((request, next));
    verified(&home, &server);
    assert!(server.stop().success());
    assert!(!home.log().contains("lacks records"), "the checkpoint file went along");

    // Back: the settings are those of the source now, and the checkpoint file has another name.
    let back = migrate(&home, &["--to", &home.text("back.db")]);
    assert!(back.status.success(), "{}", said(&back));
    assert!(
        said(&back).contains("| tokens") && said(&back).contains("the ledger is in sqlite:"),
        "{}",
        said(&back)
    );
    assert!(home.path("back.db.checkpoint").exists());
    assert!(refused(&home, "postgresql.toml").contains("was migrated to sqlite:"));
    let text = fs::read_to_string(home.path("sqlite.toml")).unwrap();
    fs::write(home.path("back.toml"), text.replace("vendkey.db", "back.db")).unwrap();
    let server = start(&home, "back.toml");
    let mut api = server.api(&home).await;
    for (request, token) in &tokens {
        assert_eq!(api.issue(request.clone()).await.unwrap().token, token.token);
    }
    api.issue(ten_kwh(&configuration)).await.unwrap();
    let over = api.issue(ten_kwh(&configuration)).await.unwrap_err();
    assert_eq!(reason(&over), "LIMIT_REACHED", "four tokens a day, wherever they were given");
    verified(&home, &server);
}

#[tokio::test]
async fn a_migration_that_dies_is_ended_by_the_same_command() {
    let home = Home::new();
    let database = TestDatabase::new();
    postgresql(&home, &database);
    fs::copy(home.path("vendkey.toml"), home.path("sqlite.toml")).unwrap();
    let (configuration, tokens) = filled(&home).await;
    let from = home.text("vendkey.db");
    for point in
        ["migrate-after-mark", "migrate-between-batches", "migrate-before-close", "migrate-before-open"]
    {
        let died = home
            .command(&["store", "migrate", "--settings", &home.text("postgresql.toml"), "--from", &from])
            .env("VENDKEY_CRASH_AT", point)
            .output()
            .unwrap();
        assert_eq!(died.status.code(), None, "{point}: {}", said(&died));
        let half = refused(&home, "postgresql.toml");
        assert!(half.contains("is being filled from sqlite:"), "{point}: {half}");
        // The source is open until all was read again.
        if point == "migrate-before-open" {
            assert!(refused(&home, "sqlite.toml").contains("was migrated to"), "{point}");
        } else {
            let server = start(&home, "sqlite.toml");
            let again = server.api(&home).await.issue(tokens[0].0.clone()).await.unwrap();
            assert_eq!(again.token, tokens[0].1.token, "{point}");
            assert!(server.stop().success());
        }
    }
    let ended = migrate(&home, &["--from", &from]);
    assert!(ended.status.success(), "{}", said(&ended));
    let again = migrate(&home, &["--from", &from]);
    assert!(
        again.status.code() == Some(1) && said(&again).contains("the migration is done"),
        "{}",
        said(&again)
    );
    let server = start(&home, "postgresql.toml");
    let mut api = server.api(&home).await;
    for (request, token) in &tokens {
        assert_eq!(api.issue(request.clone()).await.unwrap().token, token.token);
    }
    api.issue(ten_kwh(&configuration)).await.unwrap();
    verified(&home, &server);
    let acts: i64 = Connection::open(home.path("vendkey.db"))
        .unwrap()
        .query_row("SELECT count(*) FROM acts", (), |row| row.get(0))
        .unwrap();
    assert!(database.sql("SELECT count(*) FROM vendkey.acts").parse::<i64>().unwrap() >= acts);
    assert!(server.stop().success());
}
