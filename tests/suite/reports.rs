//! Reports from the ledger: the same over gRPC, HTTP and the command, and only for who may see them.

use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, Instant},
};

use prost_types::Timestamp;
use rusqlite::Connection;
use tonic::Code;
use vendkey::api::v1::{GetVendingReportRequest, VendedSum, VendingReport};

use crate::harness::{DKGA02, DKGA04, Home, Server, meter_test, reason, ten_kwh, violations};

fn around_now(charts: bool) -> GetVendingReportRequest {
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs().cast_signed();
    let at = |seconds| Some(Timestamp { seconds, nanos: 0 });
    GetVendingReportRequest {
        start_time: at(now - 86_400),
        end_time: at(now + 86_400),
        utc_offset_hours: 0,
        charts,
    }
}

/// Tokens and amounts by key and kind, over all days or hours of a list.
fn sums(list: &[VendedSum]) -> BTreeMap<String, (u64, String)> {
    let mut sums = BTreeMap::new();
    for sum in list {
        let (tokens, amount): &mut (u64, String) = sums.entry(sum.kind.clone()).or_default();
        *tokens += sum.tokens;
        if amount.is_empty() {
            amount.clone_from(&sum.amount);
        }
    }
    sums
}

#[tokio::test]
async fn what_was_vended_is_in_every_list_and_every_face() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let administrator = api.administrator().await;
    let one = api.upload(&administrator.encrypt(DKGA04)).await.unwrap().configuration.unwrap();
    let other = DKGA02.replace("123456", "654321");
    let two = api.upload(&administrator.encrypt(&other)).await.unwrap().configuration.unwrap();
    for _ in 0..3 {
        api.issue(ten_kwh(&one)).await.unwrap();
    }
    api.issue(ten_kwh(&two)).await.unwrap();
    api.issue(meter_test()).await.unwrap();
    let mut wrong = ten_kwh(&one);
    wrong.meter = "47500150232".to_owned();
    assert!(api.issue(wrong).await.is_err());

    let report = api.ledger.get_vending_report(around_now(true)).await.unwrap().into_inner();
    let kinds: BTreeMap<String, (u64, String)> = sums(&report.kinds);
    assert_eq!(kinds["electricity_credit"], (4, "40".to_owned()));
    assert_eq!(kinds["meter_test"], (1, String::new()));
    for list in [&report.days, &report.hours, &report.clients, &report.supply_groups] {
        let all: u64 = list.iter().map(|sum| sum.tokens).sum();
        assert_eq!(all, 5, "{list:?}");
    }
    let groups: BTreeMap<(&str, &str), u64> =
        report.supply_groups.iter().map(|sum| ((sum.key.as_str(), sum.kind.as_str()), sum.tokens)).collect();
    let expected = [
        (("", "meter_test"), 1),
        (("123456", "electricity_credit"), 3),
        (("654321", "electricity_credit"), 1),
    ];
    assert_eq!(groups, BTreeMap::from(expected));
    assert!(report.clients.iter().all(|sum| sum.key.starts_with("clients/") && !sum.display_name.is_empty()));
    assert!(report.kinds.iter().any(|sum| sum.unit == "kWh"));
    assert!(report.kept_since.is_none(), "sums are kept since the first token");
    assert!(report.charts.len() >= 4 && report.charts.iter().all(|chart| chart.svg.starts_with("<svg ")));

    // HTTP says the same.
    let (start, end) = (report.start_time.unwrap().seconds, report.end_time.unwrap().seconds);
    let time = |seconds| jiff::Timestamp::from_second(seconds).unwrap().to_string();
    let url = format!(
        "{}/v1/ledger/vendingReport?startTime={}&endTime={}",
        server.endpoint,
        time(start),
        time(end)
    );
    let bearer = format!("Authorization: Bearer {}", home.credential());
    let told = std::process::Command::new("curl").args(["-sS", "-H", &bearer, &url]).output().unwrap();
    let json: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(json["kinds"].as_array().unwrap().len(), report.kinds.len(), "{json}");
    assert_eq!(json["kinds"][0]["tokens"], "4");
    assert!(json.get("charts").is_none());

    // And the command, as a table, CSV, JSON and a page.
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let (from, until) = (today.yesterday().unwrap().to_string(), today.tomorrow().unwrap().to_string());
    let page = home.text("report.html");
    let command = |more: &[&str]| {
        let mut arguments = vec!["report", "--from", &from, "--until", &until];
        arguments.extend(more);
        let done = server.vendkey(&home, &arguments);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    };
    let table = command(&[]);
    assert!(table.contains("electricity credit") && table.contains("654321"), "{table}");
    let csv = command(&["--csv"]);
    assert!(csv.contains("\nkind,,,electricity_credit,4,40,kWh\n") || csv.contains("\nkind,,"), "{csv}");
    assert!(csv.contains("supply group,123456,,electricity_credit,3,30,kWh"), "{csv}");
    let json: serde_json::Value = serde_json::from_str(&command(&["--json"])).unwrap();
    assert_eq!(json["kinds"][0]["tokens"], "4");
    command(&["--html", &page]);
    let html = fs::read_to_string(&page).unwrap();
    assert!(html.matches("<svg ").count() >= 4 && html.contains("654321"));
    let without_namespaces = html.replace("http://www.w3.org/2000/svg", "");
    for elsewhere in ["http:", "https:", "<script", "src=", "url("] {
        assert!(!without_namespaces.contains(elsewhere), "{elsewhere}");
    }
}

#[tokio::test]
async fn refusals_are_counted_by_reason() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let mut wrong = meter_test();
    wrong.request_id = "none".to_owned();
    let mut reasons = Vec::new();
    for _ in 0..3 {
        reasons.push(reason(&api.issue(wrong.clone()).await.unwrap_err()));
    }
    // What was counted is put on record at the end at the latest.
    assert!(server.stop().success());
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let report: VendingReport = api.ledger.get_vending_report(around_now(false)).await.unwrap().into_inner();
    let counted = report.refused.iter().find(|count| count.key == reasons[0]);
    assert_eq!(counted.map(|count| count.calls), Some(3), "{report:?}");
    assert_eq!(report.refused_days.iter().map(|day| day.calls).sum::<u64>(), 3);
}

#[tokio::test]
async fn a_report_is_for_those_who_may_see_it_and_bad_spans_are_named() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let configuration = api.configuration(DKGA04).await;
    api.issue(ten_kwh(&configuration)).await.unwrap();
    let mut till = crate::harness::Api::connect(&server.endpoint, &home.till()).await;
    let refused = till.ledger.get_vending_report(around_now(false)).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);

    // One whose rights are about another supply group sees none of it, and no clients.
    let created = server.vendkey(
        &home,
        &[
            "client",
            "create",
            "auditor",
            "--allow",
            "read_ledger",
            "--supply-group",
            "999999",
            "--out",
            &home.text("auditor"),
        ],
    );
    assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));
    let mut auditor = crate::harness::Api::connect(&server.endpoint, &home.secret("auditor")).await;
    let seen = auditor.ledger.get_vending_report(around_now(false)).await.unwrap().into_inner();
    assert!(seen.kinds.is_empty() && seen.days.is_empty() && seen.clients.is_empty(), "{seen:?}");

    let mut bad = around_now(false);
    (bad.start_time, bad.end_time, bad.utc_offset_hours) = (bad.end_time, bad.start_time, 15);
    let refused = api.ledger.get_vending_report(bad).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let mut named = violations(&refused);
    named.sort_unstable();
    assert_eq!(named, ["end_time", "utc_offset_hours"]);
    let refused = api.ledger.get_vending_report(GetVendingReportRequest::default()).await.unwrap_err();
    assert_eq!(violations(&refused).len(), 2);
    let mut long = around_now(false);
    long.start_time = Some(Timestamp { seconds: 0, nanos: 0 });
    assert_eq!(violations(&api.ledger.get_vending_report(long).await.unwrap_err()), ["end_time"]);
}

/// Two tokens of the day before yesterday of which no sums are kept, and one of the last hour but one,
/// of which they are: as after a server of a version that kept none.
#[tokio::test]
async fn what_was_vended_before_there_were_sums_is_counted_from_the_ledger() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let configuration = api.configuration(DKGA04).await;
    for _ in 0..3 {
        api.issue(ten_kwh(&configuration)).await.unwrap();
    }
    assert!(server.stop().success());
    let database = Connection::open(home.path("vendkey.db")).unwrap();
    let sql = "
        UPDATE issued_tokens SET issued_ms = issued_ms -
            CASE sequence WHEN (SELECT max(sequence) FROM issued_tokens) THEN 3600000 ELSE 50 * 3600000 END;
        DELETE FROM vended_hours;
        INSERT INTO vended_hours SELECT issued_ms / 3600000, configuration, 'electricity_credit', 1, '1000000'
            FROM issued_tokens ORDER BY sequence DESC LIMIT 1;
        UPDATE usage SET day = day - 3;";
    database.execute_batch(sql).unwrap();
    drop(database);
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let mut span = around_now(false);
    span.start_time.as_mut().unwrap().seconds -= 3 * 86_400;
    let give_up = Instant::now() + Duration::from_secs(60);
    let report = loop {
        let report = api.ledger.get_vending_report(span).await.unwrap().into_inner();
        if report.kinds[0].tokens > 1 {
            break report;
        }
        assert!(report.kept_since.is_some() && Instant::now() < give_up, "{report:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(sums(&report.kinds)["electricity_credit"], (3, "30".to_owned()));
    assert_eq!(report.supply_groups[0].key, "123456");
    assert_eq!(report.hours.iter().map(|sum| sum.tokens).sum::<u64>(), 3);
    let days: Vec<u64> = report.days.iter().map(|sum| sum.tokens).collect();
    assert_eq!(days, [2, 1]);
}
