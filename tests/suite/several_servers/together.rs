//! What many servers promise at once: one token for a request, rising identifiers, exact limits, and
//! lists that miss nothing.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use vendkey::{
    api::v1::{ListEventsRequest, ListIssuedTokensRequest},
    audit::{Line, Verification},
};

use super::*;
use crate::harness::{DKGA04, DRN, reason, ten_kwh};

#[tokio::test]
async fn a_request_at_three_servers_is_one_token_and_the_identifiers_of_a_meter_rise() {
    let three = Three::start();
    let mut apis = three.apis().await;
    let configuration = apis[0].configuration(DKGA04).await;
    let mut last = 0;
    for _ in 0..20 {
        let request = ten_kwh(&configuration);
        let [one, two, three] = apis.as_mut_slice() else { panic!() };
        let (one, two, three) =
            tokio::join!(one.issue(request.clone()), two.issue(request.clone()), three.issue(request));
        let tokens = [one.unwrap(), two.unwrap(), three.unwrap()];
        assert!(
            tokens.iter().all(|token| (&token.token, &token.name) == (&tokens[0].token, &tokens[0].name))
        );
        assert_eq!(tokens.iter().filter(|token| !token.replay).count(), 1);
        assert!(tid(&tokens[0]) > last);
        last = tid(&tokens[0]);
    }
    for round in 0..12 {
        let token = apis[round % 3].issue(ten_kwh(&configuration)).await.unwrap();
        assert!(tid(&token) > last, "after that of another server");
        last = tid(&token);
    }
    assert_eq!(three.database.sql("SELECT count(*) FROM vendkey.issued_tokens"), "32");
}

#[tokio::test]
async fn a_limit_of_a_day_lets_exactly_as_much_pass_through_three_servers() {
    const LIMIT: usize = 30;
    let three = Three::start();
    let limited = three.servers[0].vendkey(
        &three.home,
        &[
            "client",
            "create",
            "limited",
            "--preset",
            "till",
            "--limit",
            &format!("tokens_per_day={LIMIT}"),
            "--out",
            &three.home.text("limited"),
        ],
    );
    assert!(limited.status.success(), "{}", String::from_utf8_lossy(&limited.stderr));
    let configuration = three.apis().await[0].configuration(DKGA04).await;
    let passed = Arc::new(AtomicUsize::new(0));
    let mut running = tokio::task::JoinSet::new();
    for server in &three.servers {
        for _ in 0..2 {
            let mut api = Api::connect(&server.endpoint, &three.home.secret("limited")).await;
            let (passed, configuration) = (passed.clone(), configuration.clone());
            running.spawn(async move {
                // More than the limit together, whoever comes first.
                for _ in 0..LIMIT {
                    match api.issue(ten_kwh(&configuration)).await {
                        Ok(_) => drop(passed.fetch_add(1, Ordering::Relaxed)),
                        Err(status) => assert_eq!(reason(&status), "LIMIT_REACHED", "{status}"),
                    }
                }
            });
        }
    }
    running.join_all().await;
    assert_eq!(passed.load(Ordering::Relaxed), LIMIT);
}

/// What three servers record until they are told to end: the names, as they are answered.
struct Writers {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicUsize>,
    running: tokio::task::JoinSet<Vec<String>>,
}

impl Writers {
    fn start(apis: &[Api], configuration: &Configuration) -> Self {
        let (stop, written) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let mut running = tokio::task::JoinSet::new();
        for (api, meter) in apis.iter().zip([DRN, "11111111115", "00000000000"]) {
            let (mut api, configuration) = (api.clone(), configuration.clone());
            let (stop, written) = (stop.clone(), written.clone());
            running.spawn(async move {
                let mut names = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    names.push(api.issue(for_meter(&configuration, meter)).await.unwrap().name);
                    written.fetch_add(1, Ordering::Relaxed);
                }
                names
            });
        }
        Self { stop, written, running }
    }

    /// Waits for some more.
    async fn go_on(&self) {
        let before = self.written.load(Ordering::Relaxed);
        while self.written.load(Ordering::Relaxed) < before + 5 {
            tokio::task::yield_now().await;
        }
    }

    async fn ended(self) -> BTreeSet<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.running.join_all().await.into_iter().flatten().collect()
    }
}

#[tokio::test]
async fn lists_and_exports_miss_and_repeat_nothing_while_three_servers_write() {
    let three = Three::start();
    let apis = three.apis().await;
    let mut api = apis[0].clone();
    let configuration = api.configuration(DKGA04).await;
    let writers = Writers::start(&apis, &configuration);
    writers.go_on().await;
    // Pages, each from another server than the one before, and something is written between them.
    let (mut listed, mut lines) = (Vec::new(), Vec::new());
    let mut tokens = ListIssuedTokensRequest { page_size: 7, ..Default::default() };
    let mut events = ListEventsRequest { page_size: 7, ..Default::default() };
    for page in 0..12 {
        let mut api = apis[page % 3].clone();
        let found = api.tokens.list_issued_tokens(tokens.clone()).await.unwrap().into_inner();
        // One that has come to the end is asked for again below, when more stands on it.
        if !found.next_page_token.is_empty() {
            listed.extend(found.tokens.into_iter().map(|token| token.name));
            tokens.page_token = found.next_page_token;
        }
        let found = api.audit.list_events(events.clone()).await.unwrap().into_inner();
        lines.extend(found.events.into_iter().map(|event| event.record));
        events.page_token = found.next_page_token;
        writers.go_on().await;
    }
    let file = three.home.text("exported.csv");
    let exported = three.servers[1].vendkey(&three.home, &["ledger", "export", "--out", &file]);
    assert!(exported.status.success(), "{}", String::from_utf8_lossy(&exported.stderr));
    let before_export = listed.clone();
    let written = writers.ended().await;
    // The rest, when nobody writes any more.
    loop {
        let found = api.tokens.list_issued_tokens(tokens.clone()).await.unwrap().into_inner();
        listed.extend(found.tokens.into_iter().map(|token| token.name));
        if found.next_page_token.is_empty() {
            break;
        }
        tokens.page_token = found.next_page_token;
    }
    loop {
        let found = api.audit.list_events(events.clone()).await.unwrap().into_inner();
        lines.extend(found.events.into_iter().map(|event| event.record));
        events.page_token = found.next_page_token;
        if !found.more {
            break;
        }
    }
    let all: BTreeSet<String> = listed.iter().cloned().collect();
    assert_eq!(all.len(), listed.len(), "none twice");
    assert_eq!(all, written, "none is missed");
    let exported = std::fs::read_to_string(file).unwrap();
    let names: Vec<&str> = exported.lines().skip(1).filter_map(|line| line.split(',').next()).collect();
    let exported: BTreeSet<&str> = names.iter().copied().collect();
    assert_eq!(exported.len(), names.len(), "none twice");
    assert!(before_export.iter().all(|name| exported.contains(name.as_str())), "none is missed");
    let mut verification = Verification::new(None);
    lines.iter().for_each(|line| verification.feed(&Line::from_json(line).unwrap()));
    let outcome = verification.finish();
    assert!(outcome.is_sound(), "{:?}", outcome.faults);
    let records: u64 = outcome.chains.values().sum();
    assert_eq!(records, lines.len() as u64, "every record of every chain");
}
