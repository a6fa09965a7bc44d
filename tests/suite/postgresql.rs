//! A server whose ledger is in PostgreSQL.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use tonic::Code;
use tonic_types::StatusExt as _;
use vendkey::api::v1::{IssueTokenRequest, ListIssuedTokensRequest};

use crate::harness::{
    Authority, Cluster, DKGA04, Health, Home, Server, TestDatabase, Validity, issued, meter_test, reason,
    ten_kwh,
};

/// Settings with a database under this URL.
pub fn settings(home: &Home, url: &str, more: &str) {
    let root = rustix::process::geteuid().is_root();
    let text = format!(
        "[server]\nname = 'one'\nlisten = '127.0.0.1:0'\nallow_root = {root}\n\
         [hsm]\nmodule = '/usr/lib/softhsm/libsofthsm2.so'\ntoken_label = 'vendkey'\npin_file = 'hsm/pin'\n\
         [store]\nurl = '{url}'\ncheckpoint_file = 'checkpoint'\n[log]\nfilter = 'info'\n{more}"
    );
    fs::write(home.path("vendkey.toml"), text).unwrap();
}

/// A home whose database is under this URL, set up, with a till.
pub fn home(url: &str) -> Home {
    let home = Home::new();
    settings(&home, url, "");
    for file in ["credential", "till", "vendkey.db"] {
        fs::remove_file(home.path(file)).unwrap();
    }
    let setup = home.vendkey(&["setup", "--settings", &home.text("vendkey.toml")]);
    assert!(setup.status.success(), "{}", String::from_utf8_lossy(&setup.stderr));
    let server = Server::start(&home);
    let till = server.vendkey(
        &home,
        &["client", "create", "till", "--preset", "till", "--allow", "manage", "--out", &home.text("till")],
    );
    assert!(till.status.success(), "{}", String::from_utf8_lossy(&till.stderr));
    assert!(server.stop().success());
    home
}

#[tokio::test]
async fn tokens_are_what_the_standard_says_and_survive_a_restart() {
    let database = TestDatabase::new();
    let home = home(&database.url());
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let configuration = api.configuration(DKGA04).await;
    let request = ten_kwh(&configuration);
    let first = api.issue(request.clone()).await.unwrap();
    let test = api.issue(meter_test()).await.unwrap();
    assert_eq!(test.token, "56493153725450313471", "published: CTSA02, step 1");
    drop(server);
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let again = api.issue(request).await.unwrap();
    assert!(again.replay);
    assert_eq!((again.token, again.name), (first.token, first.name));
    let next = api.issue(ten_kwh(&configuration)).await.unwrap();
    assert_eq!(next.tid.unwrap().value, first.tid.unwrap().value + 1);
    assert_eq!(database.sql("SELECT count(*) FROM vendkey.issued_tokens"), "3");
    // A second one under the same name.
    let second = home.vendkey(&["serve", "--settings", &home.text("vendkey.toml")]);
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(said.contains("a server with the name \"one\" has the database already"), "{said}");
    assert_eq!(second.status.code(), Some(75));
    assert!(server.stop().success());
}

#[tokio::test]
async fn a_database_that_is_killed_and_comes_back_loses_and_doubles_nothing() {
    let mut cluster = Cluster::start();
    let home = home(&cluster.url("postgres"));
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let configuration = api.configuration(DKGA04).await;
    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (mut api, stop, asked) = (api.clone(), stop.clone(), asked.clone());
            let configuration = configuration.clone();
            tokio::spawn(async move {
                let mut answers = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let request = ten_kwh(&configuration);
                    asked.fetch_add(1, Ordering::Relaxed);
                    answers.push((request.clone(), until_answered(&mut api, request).await));
                }
                answers
            })
        })
        .collect();
    for _ in 0..3 {
        let before = asked.load(Ordering::Relaxed);
        while asked.load(Ordering::Relaxed) < before + 20 {
            tokio::task::yield_now().await;
        }
        cluster.kill();
        cluster.run();
    }
    stop.store(true, Ordering::Relaxed);
    let mut tokens = std::collections::BTreeSet::new();
    let mut answers = Vec::new();
    for caller in callers {
        answers.extend(caller.await.unwrap());
    }
    for (_, answer) in &answers {
        assert!(tokens.insert(answer.tid.unwrap().value), "an identifier was given twice");
    }
    let rows: usize = cluster.sql("postgres", "SELECT count(*) FROM vendkey.issued_tokens").parse().unwrap();
    assert_eq!((answers.len(), rows), (asked.load(Ordering::Relaxed) as usize, answers.len()));
    for (request, answer) in answers.into_iter().step_by(13) {
        assert_eq!(api.issue(request).await.unwrap().token, answer.token);
    }
    // A connection that reads finds out at its next use that the database was gone.
    let listed = loop {
        match api.tokens.list_issued_tokens(ListIssuedTokensRequest::default()).await {
            Ok(listed) => break listed,
            Err(status) => assert_eq!(reason(&status), "STORE_UNAVAILABLE"),
        }
    };
    assert!(!listed.get_ref().tokens.is_empty());
    loop {
        let exported = server.vendkey(&home, &["audit", "export", &home.text("audit")]);
        let told = String::from_utf8_lossy(&exported.stderr).into_owned();
        if exported.status.success() {
            break;
        }
        assert!(told.contains("STORE_UNAVAILABLE"), "{told}");
    }
}

/// Asks until there is an answer; what is told meanwhile is that it may be asked for again.
async fn until_answered(
    api: &mut crate::harness::Api,
    request: IssueTokenRequest,
) -> vendkey::api::v1::IssuedToken {
    loop {
        match api.issue(request.clone()).await {
            Ok(answer) => return answer,
            Err(status) => {
                assert_eq!(
                    (status.code(), reason(&status).as_str()),
                    (Code::Unavailable, "STORE_UNAVAILABLE")
                );
                assert!(status.get_error_details().retry_info().is_some(), "{status:?}");
                assert!(["no", "maybe"].contains(&issued(&status).as_str()));
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn health_says_that_the_database_is_away_and_heals() {
    let mut cluster = Cluster::start();
    let home = home(&cluster.url("postgres"));
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let configuration = api.configuration(DKGA04).await;
    cluster.kill();
    let refused = api.issue(ten_kwh(&configuration)).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::Unavailable, "STORE_UNAVAILABLE"));
    let mut health = Health::of(&server).await;
    health.not_serving().await;
    cluster.run();
    let since = Instant::now();
    health.serving().await;
    assert!(since.elapsed() < Duration::from_secs(30));
    api.issue(ten_kwh(&configuration)).await.unwrap();
}

#[test]
fn between_machines_the_database_proves_itself_and_the_server_its_password() {
    let home = Home::new();
    let (ours, others) = (Authority::new(&home, "ours"), Authority::new(&home, "others"));
    ours.sign(&home, "db", &Validity::Good);
    let mut cluster = Cluster::start();
    cluster.sql("postgres", "CREATE ROLE vendkey LOGIN SUPERUSER PASSWORD 'a secret of the database'");
    let port = cluster.speak_tls(&home.path("db.pem"), &home.path("db.key"));
    fs::write(home.path("db-password"), "a secret of the database\n").unwrap();
    fs::write(home.path("wrong-password"), "hush\n").unwrap();
    let check = |url: &str, more: &str| {
        settings(&home, url, "");
        let text = fs::read_to_string(home.path("vendkey.toml")).unwrap();
        fs::write(home.path("vendkey.toml"), text.replace("[log]", &format!("{more}\n[log]"))).unwrap();
        let output = home.vendkey(&["serve", "--check", "--settings", &home.text("vendkey.toml")]);
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let url = format!("postgresql://vendkey@localhost:{port}/postgres?sslmode=verify-full");
    let (ca, password) = ("tls_ca_file = 'ours.pem'", "password_file = 'db-password'");
    let good = check(&url, &format!("{ca}\n{password}"));
    assert!(good.contains("run `vendkey setup`"), "it was reached: {good}");
    let other = format!("tls_ca_file = '{}'\n{password}", others.file());
    let wrong = format!("{ca}\npassword_file = 'wrong-password'");
    let by_address = url.replace("localhost", "127.0.0.1");
    for (url, more, expected) in [
        (&url, other.as_str(), "UnknownIssuer"),
        (&by_address, &format!("{ca}\n{password}"), "not valid for name"),
        (&url, &wrong, "password authentication failed"),
        (&url, ca, "password missing"),
    ] {
        let said = check(url, more);
        assert!(said.contains(expected) && !said.contains("hush"), "{expected}: {said}");
    }
    let plain = check(&url.replace("verify-full", "disable"), password);
    assert!(plain.contains("no encryption"), "{plain}");
}

#[test]
fn what_cannot_be_used_is_told_with_what_to_do() {
    let home = Home::new();
    let check = |home: &Home| {
        let output = home.vendkey(&["serve", "--check", "--settings", &home.text("vendkey.toml")]);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let database = TestDatabase::new();
    settings(&home, &database.url(), "");
    let (code, said) = check(&home);
    assert!(code == Some(78) && said.contains("run `vendkey setup`"), "{code:?}: {said}");
    settings(&home, "postgresql://nobody@127.0.0.1:1/x", "");
    let (_, said) = check(&home);
    assert!(said.contains("the database postgresql://nobody@127.0.0.1:1/x cannot be reached"), "{said}");
    for (url, expected) in [
        ("postgresql://v:hush@127.0.0.1/x", "store.password_file"),
        ("postgresql://v@db.example/x?sslmode=require", "verify-full"),
        ("postgresql://db.example/x", "names no user"),
    ] {
        settings(&home, url, "");
        let (code, said) = check(&home);
        assert!(code == Some(78) && said.contains(expected) && !said.contains("hush"), "{url}: {said}");
    }
    settings(&home, &database.url(), "");
    let backup =
        home.vendkey(&["backup", "--settings", &home.text("vendkey.toml"), "--out", &home.text("backup")]);
    let said = String::from_utf8_lossy(&backup.stderr);
    assert!(!backup.status.success() && said.contains("pg_basebackup"), "{said}");
}
