//! kill -9 at random moments under load, with a recorded history that is checked afterwards.
//!
//! `make soak` runs it for as long as `SECONDS` says; `make test` for a few rounds.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio_stream::StreamExt as _;
use uuid::Uuid;
use vendkey::{
    api::v1::{Configuration, IssueTokenRequest, ListEventsRequest, ListIssuedTokensRequest, token_result},
    audit::{Line, Verification},
};

use crate::harness::{Api, DKGA02, DKGA04, Home, Server, ten_kwh};

const METERS: [&str; 5] = ["47500150231", "11111111115", "00000000000", "12345678903", "600727475001502312"];

/// What callers asked for and what they were answered.
#[derive(Default)]
pub struct History {
    pub asked: Vec<IssueTokenRequest>,
    /// By request id: the digits.
    pub answered: BTreeMap<String, String>,
}

impl History {
    /// The next request: a new one, or an old one again.
    pub fn ask(&mut self, configurations: &[Configuration]) -> IssueTokenRequest {
        if random(5) == 0 && !self.asked.is_empty() {
            let index = usize::try_from(random(self.asked.len() as u64)).unwrap();
            return self.asked[index].clone();
        }
        let new = order(configurations);
        self.asked.push(new.clone());
        new
    }

    /// Notes the digits of a request, which never change.
    pub fn answer(&mut self, request_id: String, token: String) {
        if let Some(before) = self.answered.insert(request_id, token.clone()) {
            assert_eq!(before, token, "a retry got other digits");
        }
    }
}

/// A number from the system, for moments and choices.
pub fn random(below: u64) -> u64 {
    Uuid::new_v4().as_u64_pair().1 % below
}

fn order(configurations: &[Configuration]) -> IssueTokenRequest {
    let pick = |count: usize| usize::try_from(random(count as u64)).unwrap();
    let request = ten_kwh(&configurations[pick(configurations.len())]);
    IssueTokenRequest { meter: METERS[pick(METERS.len())].to_owned(), ..request }
}

/// Asks until told to stop or until the server is gone: new requests, and old ones again.
async fn caller(
    mut api: Api,
    configurations: Arc<Vec<Configuration>>,
    history: Arc<Mutex<History>>,
    stop: Arc<AtomicBool>,
    stream: bool,
) {
    while !stop.load(Ordering::Relaxed) {
        let requests: Vec<IssueTokenRequest> = {
            let mut history = history.lock().unwrap();
            (0..if stream { 40 } else { 1 }).map(|_| history.ask(&configurations)).collect()
        };
        let answer = |request_id: String, token: String| history.lock().unwrap().answer(request_id, token);
        if stream {
            let Ok(results) = api.tokens.stream_tokens(tokio_stream::iter(requests)).await else { return };
            let mut results = results.into_inner();
            while let Some(Ok(result)) = results.next().await {
                if let Some(token_result::Result::Token(token)) = result.result {
                    answer(result.request_id, token.token);
                }
            }
        } else {
            for request in requests {
                match api.issue(request).await {
                    Ok(token) => answer(token.request_id, token.token),
                    Err(status) if status.code() == tonic::Code::Unavailable => return,
                    // Meters run ahead of the clock in a long run: refused, and nothing is lost.
                    Err(_) => {}
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_killed_every_token_is_there_once() {
    let seconds: u64 =
        std::env::var("VENDKEY_SOAK_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(6);
    let home = Home::new();
    home.write_settings("[vending]\nhorizon_minutes = 525600\n");
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let configurations = Arc::new(vec![api.configuration(DKGA04).await, api.configuration(DKGA02).await]);
    drop((api, server));
    let history: Arc<Mutex<History>> = Arc::default();
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut rounds = 0;
    while Instant::now() < end {
        let server = Server::start(&home);
        let stop: Arc<AtomicBool> = Arc::default();
        let mut callers = Vec::new();
        for n in 0..6 {
            let api = server.api(&home).await;
            callers.push(tokio::spawn(caller(
                api,
                configurations.clone(),
                history.clone(),
                stop.clone(),
                n % 2 == 0,
            )));
        }
        tokio::time::sleep(Duration::from_millis(100 + random(900))).await;
        // SIGKILL.
        drop(server);
        stop.store(true, Ordering::Relaxed);
        for caller in callers {
            caller.await.unwrap();
        }
        rounds += 1;
    }
    let history = std::mem::take(&mut *history.lock().unwrap());
    let server = Server::start(&home);
    check(&mut server.api(&home).await, &history).await;
    println!("{rounds} rounds, {} requests", history.asked.len());
}

/// Nothing acknowledged is lost, nothing is there twice, every retry has the same digits, the chain
/// verifies.
pub async fn check(api: &mut Api, history: &History) {
    assert!(!history.answered.is_empty());
    let (mut rows, mut identifiers) = (BTreeMap::new(), BTreeSet::new());
    let mut request = ListIssuedTokensRequest { page_size: 1_000, digits: true, ..Default::default() };
    loop {
        let page = api.tokens.list_issued_tokens(request.clone()).await.unwrap().into_inner();
        for row in page.tokens {
            let tid = row.tid.unwrap().value;
            assert!(identifiers.insert((row.meter_pan.clone(), tid)), "{} has {tid} twice", row.meter_pan);
            assert!(rows.insert(row.request_id, row.token).is_none(), "a request has two rows");
        }
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    for (request_id, token) in &history.answered {
        assert_eq!(rows.get(request_id), Some(token), "an acknowledged token is lost or another");
    }
    let asked: BTreeSet<&str> = history.asked.iter().map(|request| request.request_id.as_str()).collect();
    assert!(rows.keys().all(|row| asked.contains(row.as_str())), "a row that nobody asked for");
    for request in history.asked.iter().rev().take(500) {
        if let Some(token) = rows.get(&request.request_id) {
            assert_eq!(api.issue(request.clone()).await.unwrap().token, *token);
        }
    }
    let mut verification = Verification::new(None);
    let mut request = ListEventsRequest { page_size: 1_000, meters: true, ..Default::default() };
    loop {
        let page = api.audit.list_events(request.clone()).await.unwrap().into_inner();
        for event in &page.events {
            verification.feed(&Line::from_json(&event.record).unwrap());
        }
        request.page_token = page.next_page_token;
        if !page.more {
            break;
        }
    }
    let outcome = verification.finish();
    assert!(outcome.is_sound(), "{:?}", outcome.faults);
}
