//! The ledger's rules from outside: the chain, the clock, a restored database, seeds, batches of
//! files.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};

use rusqlite::Connection;
use uuid::Uuid;
use vendkey::api::v1::{
    AcceptClockRequest, AcceptRestoreRequest, GetLedgerStateRequest, IssueTokenRequest,
    ListIssuedTokensRequest,
};

use crate::harness::{Api, DKGA04, DRN, Health, Home, Server, meter_test, reason, ten_kwh};

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Runs a command against the server.
fn run(home: &Home, server: &Server, arguments: &[&str]) -> Output {
    home.command(arguments).env("VENDKEY_ENDPOINT", &server.endpoint).output().unwrap()
}

/// Exports the chain with its checkpoint and answers the arguments that verify it.
fn exported(home: &Home, server: &Server) -> Vec<String> {
    let (file, checkpoint, key) =
        (home.text("chain.jsonl"), home.text("checkpoint.txt"), home.text("audit.pem"));
    let give_up = Instant::now() + Duration::from_secs(60);
    loop {
        let export =
            run(home, server, &["audit", "export", &file, "--checkpoint", &checkpoint, "--audit-key", &key]);
        if export.status.success() {
            break;
        }
        assert!(said(&export).contains("no checkpoint yet") && Instant::now() < give_up, "{}", said(&export));
        std::thread::sleep(Duration::from_millis(300));
    }
    ["audit", "verify", &file, "--checkpoint", &checkpoint, "--audit-key", &key].map(str::to_owned).to_vec()
}

fn verify(home: &Home, arguments: &[String]) -> Output {
    home.vendkey(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

#[tokio::test]
async fn an_exported_chain_verifies_and_tampering_is_named() {
    let home = Home::new();
    home.write_settings("");
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let configuration = api.configuration(DKGA04).await;
    for _ in 0..20 {
        api.issue(ten_kwh(&configuration)).await.unwrap();
    }
    // The last checkpoint of a stop names all.
    server.stop();
    let server = Server::start(&home);
    let arguments = exported(&home, &server);
    let sound = verify(&home, &arguments);
    assert!(sound.status.success() && said(&sound).contains("nothing is wrong"), "{}", said(&sound));
    let whole = fs::read_to_string(home.path("chain.jsonl")).unwrap();
    assert!(!whole.contains(DRN), "meters are left out unless asked for");
    let lines: Vec<&str> = whole.lines().collect();

    let without = |from: usize, to: usize| [&lines[..from], &lines[to..]].concat().join("\n");
    let mut swapped = lines.clone();
    swapped.swap(9, 10);
    let last_token = lines.iter().rposition(|line| line.contains("\"token\"")).unwrap();
    for (text, said_of) in [
        (without(9, 11), "cut: records 10 to 11 are missing"),
        (without(0, 2), "cut: it starts with record 3"),
        (without(last_token, lines.len()), "truncated: it ends with record"),
        (swapped.join("\n"), "reordered: record 10 stands behind record 11"),
        (whole.replacen("\"tid\":", "\"tid\":1", 1), "changed: record"),
        (whole.replacen("client.created", "client.deleted", 1), "changed: record 1 "),
    ] {
        fs::write(home.path("chain.jsonl"), text).unwrap();
        let found = verify(&home, &arguments);
        assert_eq!(found.status.code(), Some(1), "{}", said(&found));
        assert!(said(&found).contains(said_of), "{said_of}: {}", said(&found));
    }
    let checkpoint = fs::read_to_string(home.path("checkpoint.txt")).unwrap();
    fs::write(home.path("checkpoint.txt"), checkpoint.replacen("time 1", "time 2", 1)).unwrap();
    let found = verify(&home, &arguments);
    assert!(said(&found).contains("signature of the checkpoint does not hold"), "{}", said(&found));
    drop(server);
}

#[tokio::test]
async fn a_restored_database_stops_until_it_is_accepted() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let configuration = api.configuration(DKGA04).await;
    let kept = ten_kwh(&configuration);
    let kept_token = api.issue(kept.clone()).await.unwrap();
    assert!(server.stop().success());
    fs::copy(home.path("vendkey.db"), home.path("backup.db")).unwrap();

    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let lost = ten_kwh(&configuration);
    let lost_token = api.issue(lost.clone()).await.unwrap();
    assert!(server.stop().success());
    for side in ["vendkey.db-wal", "vendkey.db-shm"] {
        let _ = fs::remove_file(home.path(side));
    }
    fs::copy(home.path("backup.db"), home.path("vendkey.db")).unwrap();

    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    for request in [ten_kwh(&configuration), lost.clone()] {
        assert_eq!(reason(&api.issue(request).await.unwrap_err()), "LEDGER_BEHIND_CHECKPOINT");
    }
    assert_eq!(api.issue(kept.clone()).await.unwrap().token, kept_token.token, "replays go on");
    let state = api.ledger.get_ledger_state(GetLedgerStateRequest {}).await.unwrap().into_inner();
    assert!(!state.issuing && state.reason.contains("accept-restore"), "{}", state.reason);
    Health::of(&server).await.not_serving().await;
    // A stop does not overwrite the checkpoint on which the doubt rests.
    assert!(server.stop().success());
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    assert_eq!(reason(&api.issue(lost.clone()).await.unwrap_err()), "LEDGER_BEHIND_CHECKPOINT");

    let mut health = Health::of(&server).await;
    health.not_serving().await;
    let accepted = run(&home, &server, &["ledger", "accept-restore"]);
    assert!(accepted.status.success(), "{}", said(&accepted));
    health.serving().await;
    let status = api.ledger.accept_restore(AcceptRestoreRequest {}).await.unwrap_err();
    assert_eq!(reason(&status), "NOTHING_TO_ACCEPT");
    assert_eq!(reason(&api.issue(lost).await.unwrap_err()), "REQUEST_ID_TOO_OLD", "it may have been issued");
    let next = api.issue(ten_kwh(&configuration)).await.unwrap();
    let ahead = next.tid.as_ref().unwrap().value - lost_token.tid.as_ref().unwrap().value;
    assert!(ahead >= 1_440, "{ahead}: what was lost may have had any identifier up to the horizon");
    let number = |name: &str| name.strip_prefix("issuedTokens/").unwrap().parse::<u64>().unwrap();
    assert!(number(&next.name) > number(&lost_token.name));
    assert!(server.stop().success());

    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    api.issue(ten_kwh(&configuration)).await.unwrap();
    let found = verify(&home, &exported(&home, &server));
    assert!(
        found.status.success() && said(&found).contains("were lost with a restored database"),
        "{}",
        said(&found)
    );
}

#[tokio::test]
async fn a_clock_far_from_the_last_commit_stops_until_it_is_accepted() {
    for days in [2, -2] {
        let home = Home::new();
        // No time server keeps the clock, whatever the machine of the test says.
        fs::write(home.path("clock"), "0").unwrap();
        let clock = home.text("clock");
        let played = [("VENDKEY_PLAYED_CLOCK", clock.as_str())];
        let server = Server::start_with(&home, &played);
        let mut api = server.api(&home).await;
        let configuration = api.configuration(DKGA04).await;
        let kept = ten_kwh(&configuration);
        let token = api.issue(kept.clone()).await.unwrap();
        let test = meter_test();
        let tested = api.issue(test.clone()).await.unwrap();
        assert!(server.stop().success());
        let database = Connection::open(home.path("vendkey.db")).unwrap();
        let shift = days * 86_400_000_i64;
        database.execute("UPDATE heartbeat SET at_ms = at_ms - ?1", [shift]).unwrap();
        database.execute("UPDATE chain SET at_ms = at_ms - ?1", [shift]).unwrap();
        drop(database);

        let server = Server::start_with(&home, &played);
        let mut api = server.api(&home).await;
        assert_eq!(reason(&api.issue(ten_kwh(&configuration)).await.unwrap_err()), "CLOCK_IN_DOUBT");
        assert_eq!(api.issue(kept).await.unwrap().token, token.token);
        let again = api.issue(test).await.unwrap();
        assert_eq!((again.replay, again.name), (true, tested.name), "class 1 is answered again as well");
        assert_eq!(reason(&api.issue(meter_test()).await.unwrap_err()), "CLOCK_IN_DOUBT");
        let state = api.ledger.accept_clock(AcceptClockRequest {}).await.unwrap().into_inner();
        assert!(state.issuing);
        api.issue(ten_kwh(&configuration)).await.unwrap();
    }
}

#[tokio::test]
async fn seeds_raise_and_are_on_record() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let configuration = api.configuration(DKGA04).await;
    let first = api.issue(ten_kwh(&configuration)).await.unwrap();
    let last = first.tid.as_ref().unwrap().value + 100;
    fs::write(home.path("seeds.csv"), format!("meter,base,tid\n{},2014,{last}\n", first.meter_pan)).unwrap();
    for raised in ["1 raised", "0 raised"] {
        let seeded = run(&home, &server, &["ledger", "seed", &home.text("seeds.csv")]);
        assert!(seeded.status.success() && said(&seeded).contains(raised), "{}", said(&seeded));
    }
    let next = api.issue(ten_kwh(&configuration)).await.unwrap();
    assert!(next.tid.unwrap().value > last);
    fs::write(home.path("seeds.csv"), "meter,base,tid\n1,2014,7\n").unwrap();
    assert_eq!(run(&home, &server, &["ledger", "seed", &home.text("seeds.csv")]).status.code(), Some(65));
    let exported = run(&home, &server, &["ledger", "export", "--digits"]);
    assert!(said(&exported).contains(&next.token), "{}", said(&exported));
    let lines = run(&home, &server, &["ledger", "export", "--format", "jsonl"]);
    assert_eq!(said(&lines).lines().count(), 2, "{}", said(&lines));
}

/// All rows of the ledger, with digits.
async fn all(api: &mut Api) -> Vec<vendkey::api::v1::IssuedToken> {
    let mut request = ListIssuedTokensRequest { page_size: 1_000, digits: true, ..Default::default() };
    let mut rows = Vec::new();
    loop {
        let page = api.tokens.list_issued_tokens(request.clone()).await.unwrap().into_inner();
        rows.extend(page.tokens);
        if page.next_page_token.is_empty() {
            return rows;
        }
        request.page_token = page.next_page_token;
    }
}

/// A tmpfs of 3 MiB, gone when dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn new(folder: &Path) -> Option<Self> {
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=3m", "tmpfs"]).arg(folder).output();
        mount.is_ok_and(|mount| mount.status.success()).then(|| Self(folder.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Lazily: the server's files may still be open.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_full_disk_is_said_and_heals() {
    let home = Home::new();
    let small = home.path("small");
    fs::create_dir(&small).unwrap();
    let Some(_mounted) = Mounted::new(&small) else {
        eprintln!("skipped: no leave to mount a small tmpfs");
        return;
    };
    for file in ["vendkey.db", "vendkey.db-wal", "vendkey.db-shm", "vendkey.db.checkpoint"] {
        let _ = fs::copy(home.path(file), small.join(file));
    }
    let path = small.join("vendkey.db");
    let settings = [("VENDKEY_STORE__PATH", path.to_str().unwrap())];
    let server = Server::start_with(&home, &settings);
    let mut api = server.api(&home).await;
    let configuration = api.configuration(DKGA04).await;
    let first = ten_kwh(&configuration);
    let token = api.issue(first.clone()).await.unwrap();
    fs::write(small.join("ballast"), vec![0; 8 << 20]).unwrap_err();
    let mut refused: Option<IssueTokenRequest> = None;
    for n in 0..20_000 {
        let request = IssueTokenRequest {
            meter: ["11111111115", "00000000000"][n % 2].to_owned(),
            ..ten_kwh(&configuration)
        };
        let request = IssueTokenRequest { request_id: Uuid::new_v4().to_string(), ..request };
        if let Err(status) = api.issue(request.clone()).await {
            assert_eq!(reason(&status), "STORE_UNAVAILABLE", "{status:?}");
            refused = Some(request);
            break;
        }
    }
    let refused = refused.expect("the disk never filled");
    assert_eq!(api.issue(first).await.unwrap().token, token.token, "replays need no room");
    fs::remove_file(small.join("ballast")).unwrap();
    let healed = api.issue(refused.clone()).await.unwrap();
    assert_eq!(api.issue(refused).await.unwrap().token, healed.token);
    assert!(all(&mut api).await.iter().any(|row| row.token == token.token));
    let arguments = exported(&home, &server);
    let found = verify(&home, &arguments);
    assert!(found.status.success(), "{}", said(&found));
    drop(server);
}
