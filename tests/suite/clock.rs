//! A clock in doubt stops issuing, health says so, and a proof or a person lets it go on.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use rusqlite::Connection;
use vendkey::api::v1::{AcceptClockRequest, GetLedgerStateRequest};

use crate::harness::{DKGA04, Health, Home, Server, meter_test, reason, ten_kwh};

pub const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// The clock of the servers of a home, set by the test.
pub struct Played(PathBuf);

impl Played {
    pub fn new(home: &Home) -> Self {
        let played = Self(home.path("clock"));
        played.set("0");
        played
    }

    /// Whole or not at all: the server reads it all the time.
    pub fn set(&self, text: &str) {
        let new = self.0.with_extension("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, &self.0).unwrap();
    }

    pub fn start(&self, home: &Home, more: &[(&str, &str)]) -> Server {
        let played = [("VENDKEY_PLAYED_CLOCK", self.0.to_str().unwrap())];
        Server::start_with(home, &[&played[..], more].concat())
    }
}

fn database(home: &Home) -> Connection {
    Connection::open(home.path("vendkey.db")).unwrap()
}

/// How many acts of a kind are on record.
pub fn acts(home: &Home, kind: &str) -> i64 {
    let count = "SELECT count(*) FROM acts WHERE kind = ?1";
    database(home).query_row(count, [kind], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn a_jump_of_an_hour_and_back_stops_issuing_for_its_time() {
    let home = Home::new();
    let played = Played::new(&home);
    let metrics = [("VENDKEY_METRICS__LISTEN", "127.0.0.1:0")];
    let server = played.start(&home, &metrics);
    let mut api = server.api(&home).await;
    let configuration = api.configuration(DKGA04).await;
    let first = ten_kwh(&configuration);
    let token = api.issue(first.clone()).await.unwrap().token;
    let mut health = Health::of(&server).await;
    health.serving().await;

    for jump in [HOUR_MS, -HOUR_MS] {
        played.set(&jump.to_string());
        assert_eq!(reason(&api.issue(ten_kwh(&configuration)).await.unwrap_err()), "CLOCK_IN_DOUBT");
        health.not_serving().await;
        let state = api.ledger.get_ledger_state(GetLedgerStateRequest {}).await.unwrap().into_inner();
        assert!(!state.issuing && state.reason.contains("the clock jumped by"), "{}", state.reason);
        assert!(home.log().contains("not healthy: not serving cause=\"clock\""), "{}", home.log());
        assert_eq!(api.issue(first.clone()).await.unwrap().token, token, "replays go on");
        played.set("0");
        health.serving().await;
        api.issue(ten_kwh(&configuration)).await.unwrap();
    }
    assert_eq!((acts(&home, "issuing.stopped"), acts(&home, "clock.believed")), (2, 2));
    let scraped = scraped(&home);
    assert!(scraped.contains("vendkey_serving 1"), "{scraped}");
}

#[tokio::test]
async fn a_step_that_stays_is_believed_when_a_time_server_keeps_the_clock() {
    let home = Home::new();
    let played = Played::new(&home);
    // Kept all along, by a time server that makes the step: there and back.
    played.set("0 synchronised");
    let server = played.start(&home, &[]);
    let mut api = server.api(&home).await;
    Health::of(&server).await.serving().await;
    for (believed, off_by) in [(1, HOUR_MS), (2, 0)] {
        played.set(&format!("{off_by} synchronised"));
        // Whether a call or the look of every second comes first, it is on record before any token.
        let give_up = Instant::now() + Duration::from_secs(120);
        while acts(&home, "clock.believed") < believed {
            assert!(Instant::now() < give_up, "the step is not believed");
            if api.issue(meter_test()).await.is_ok() {
                assert_eq!(acts(&home, "clock.believed"), believed, "a token before the record");
            }
        }
        Health::of(&server).await.serving().await;
        api.issue(meter_test()).await.unwrap();
    }
    let mut health = Health::of(&server).await;
    // Somebody sets it, and no time server says that it is right.
    played.set(&HOUR_MS.to_string());
    health.not_serving().await;
    assert_eq!(reason(&api.issue(meter_test()).await.unwrap_err()), "CLOCK_IN_DOUBT");
    played.set(&format!("{HOUR_MS} synchronised"));
    health.serving().await;
    api.issue(meter_test()).await.unwrap();
    assert_eq!(acts(&home, "clock.believed"), 3);
}

/// The metrics, from the address that the log names.
fn scraped(home: &Home) -> String {
    use std::io::{Read as _, Write as _};
    let log = home.log();
    let address = log.split("metrics at http://").nth(1).unwrap().split("/metrics").next().unwrap();
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[tokio::test]
async fn after_a_weekend_the_clock_needs_a_proof_or_a_person() {
    let weekend = 3 * DAY_MS;
    let other_boot = "UPDATE heartbeat SET at_ms = at_ms - ?1, boot_id = randomblob(16)";
    // The machine was started anew: nobody knows how much time has passed.
    for (clock, by) in
        [("0 synchronised", "time server, from the start"), ("0", "time server"), ("0", "person")]
    {
        let home = Home::new();
        let played = Played::new(&home);
        let server = played.start(&home, &[]);
        let configuration = server.api(&home).await.configuration(DKGA04).await;
        assert!(server.stop().success());
        database(&home).execute(other_boot, [weekend]).unwrap();
        played.set(clock);
        let server = played.start(&home, &[]);
        let mut api = server.api(&home).await;
        let mut health = Health::of(&server).await;
        if clock == "0" {
            health.not_serving().await;
            assert_eq!(reason(&api.issue(ten_kwh(&configuration)).await.unwrap_err()), "CLOCK_IN_DOUBT");
            match by {
                // A machine that was off, and no time server: its battery-backed clock is the very
                // thing that may be wrong. One command of a person who has looked.
                "person" => {
                    let state = server.vendkey(&home, &["ledger", "state"]);
                    let told = String::from_utf8_lossy(&state.stdout).into_owned();
                    assert!(told.contains("vendkey ledger accept-clock"), "{told}");
                    assert!(server.vendkey(&home, &["ledger", "accept-clock"]).status.success());
                }
                _ => played.set("0 synchronised"),
            }
        }
        health.serving().await;
        api.issue(ten_kwh(&configuration)).await.unwrap();
        assert_eq!(acts(&home, "clock.believed"), i64::from(by != "person"), "{by}");
    }
}

#[tokio::test]
async fn after_a_weekend_a_machine_that_ran_all_the_while_is_believed() {
    let home = Home::new();
    let played = Played::new(&home);
    let server = played.start(&home, &[]);
    let configuration = server.api(&home).await.configuration(DKGA04).await;
    assert!(server.stop().success());
    // Set ahead while no server ran: the machine's own clock says otherwise.
    let uptime: i64 =
        database(&home).query_row("SELECT uptime_ms FROM heartbeat", [], |row| row.get(0)).unwrap();
    played.set(&(2 * DAY_MS).to_string());
    let server = played.start(&home, &[]);
    let mut api = server.api(&home).await;
    assert_eq!(reason(&api.issue(ten_kwh(&configuration)).await.unwrap_err()), "CLOCK_IN_DOUBT");
    drop(server);
    // What a server left that ended in doubt when the machine was just started: by both clocks that
    // is long ago.
    played.set("0");
    let started = "UPDATE heartbeat SET at_ms = at_ms - ?1, uptime_ms = uptime_ms - ?1, in_doubt = 1";
    database(&home).execute(started, [uptime]).unwrap();
    let server = played.start(&home, &[]);
    server.api(&home).await.issue(meter_test()).await.unwrap();
    assert_eq!(acts(&home, "clock.believed"), 1);
}

#[tokio::test]
async fn a_doubt_outlives_a_server_that_is_killed() {
    let home = Home::new();
    let played = Played::new(&home);
    let server = played.start(&home, &[]);
    let mut health = Health::of(&server).await;
    health.serving().await;
    played.set(&HOUR_MS.to_string());
    health.not_serving().await;
    let doubt = "SELECT in_doubt FROM heartbeat";
    let give_up = Instant::now() + Duration::from_secs(120);
    while !database(&home).query_row(doubt, [], |row| row.get::<_, bool>(0)).unwrap() {
        assert!(Instant::now() < give_up, "the doubt is not kept");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(server);
    let server = played.start(&home, &[]);
    let mut api = server.api(&home).await;
    assert_eq!(reason(&api.issue(meter_test()).await.unwrap_err()), "CLOCK_IN_DOUBT");
    api.ledger.accept_clock(AcceptClockRequest {}).await.unwrap();
    drop(server);
    let server = played.start(&home, &[]);
    server.api(&home).await.issue(meter_test()).await.unwrap();
}
