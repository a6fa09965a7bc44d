//! A file of orders goes on at another server where one is lost or issues nothing.

use std::{collections::BTreeSet, fmt::Write as _, fs};

use super::*;
use crate::harness::{DKGA04, DRN};

const METERS: [&str; 4] = [DRN, "11111111115", "00000000000", "12345678903"];
const LINES: usize = 300;

#[tokio::test]
async fn a_batch_goes_on_at_the_next_server_where_one_is_lost_or_issues_nothing() {
    let three = Three::start_with([
        &[("VENDKEY_FAIL_AT", "selftest")],
        &[("VENDKEY_CRASH_AT", "issue-before-answer")],
        &[],
    ]);
    let home = &three.home;
    let configuration = three.servers[2].api(home).await.configuration(DKGA04).await.name;
    let mut orders = "configuration,meter,kind,amount\n".to_owned();
    for line in 0..LINES {
        writeln!(orders, "{configuration},{},electricity,1", METERS[line % METERS.len()]).unwrap();
    }
    fs::write(home.path("orders.csv"), orders).unwrap();
    // Nobody listens at the first.
    let endpoints: Vec<&str> = ["http://127.0.0.1:1"]
        .into_iter()
        .chain(three.servers.iter().map(|server| server.endpoint.as_str()))
        .collect();
    let mut batch = home.command(&["token", "batch", &home.text("orders.csv"), &home.text("tokens.csv")]);
    batch.env("VENDKEY_ENDPOINT", endpoints.join(","));
    let output = tokio::task::spawn_blocking(move || batch.output().unwrap()).await.unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    assert!(told.contains("a known-answer test failed") || told.contains("self-test"), "{told}");
    for place in [2, 3] {
        assert!(told.contains(&format!("going on at {}", endpoints[place])), "{told}");
    }
    let tokens = fs::read_to_string(home.path("tokens.csv")).unwrap();
    let digits: BTreeSet<&str> = tokens.lines().skip(1).filter_map(|line| line.split(',').nth(4)).collect();
    assert_eq!((tokens.lines().count(), digits.len()), (LINES + 1, LINES), "{tokens}");
    assert_eq!(three.database.sql("SELECT count(*) FROM vendkey.issued_tokens"), LINES.to_string());
    // The one that was lost had recorded some, or all; the other has answered them.
    let of_second =
        three.database.sql("SELECT count(*) > 0 FROM vendkey.issued_tokens WHERE sequence >> 44 = 1");
    assert_eq!(of_second, "t");
}

#[test]
fn a_command_calls_the_first_server_that_answers() {
    let home = Home::new();
    let server = Server::start(&home);
    let list = |endpoints: &str| {
        let output = home.command(&["client", "list"]).env("VENDKEY_ENDPOINT", endpoints).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, told) = list(&format!("http://127.0.0.1:1,{}", server.endpoint));
    assert_eq!(code, Some(0), "{told}");
    let (code, told) = list("http://127.0.0.1:1,http://127.0.0.1:2");
    assert_eq!(code, Some(69), "{told}");
    assert!(told.contains("to http://127.0.0.1:1:") && told.contains("to http://127.0.0.1:2:"), "{told}");
    let (code, told) = list(&format!("{},tills.example", server.endpoint));
    assert!(code == Some(64) && told.contains("tills.example"), "{told}");
}
