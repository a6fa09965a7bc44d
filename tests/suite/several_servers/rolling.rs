//! Servers that are exchanged one after another under load lose no request, not even of a client
//! that asks for nothing twice.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use rustix::process::Signal;
use tonic::transport::Endpoint;
use vendkey::api::v1::{Configuration, IssuedToken};

use super::*;
use crate::harness::{DKGA04, Health, ten_kwh, was_never_sent};

/// It stays while the balancer is told; the second signal ends it.
const DRAIN: [(&str, &str); 1] = [("VENDKEY_SERVER__DRAIN_SECONDS", "3600")];

/// Clients without retries, and how many answers they got.
struct Clients {
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicUsize>,
    running: tokio::task::JoinSet<Vec<IssuedToken>>,
}

impl Clients {
    /// Each has one connection for all calls, or one for each call.
    fn start(endpoint: &str, credential: &str, configuration: &Configuration) -> Self {
        let (stop, answers) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let mut running = tokio::task::JoinSet::new();
        for keeps_connection in [true, true, true, false, false] {
            let (stop, answers) = (stop.clone(), answers.clone());
            let (credential, configuration) = (credential.to_owned(), configuration.clone());
            let endpoint = Endpoint::from_shared(endpoint.to_owned()).unwrap();
            running.spawn(async move {
                let mut api = Api::over(endpoint.connect_lazy(), &credential);
                let mut tokens = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    if !keeps_connection {
                        api = Api::over(endpoint.connect_lazy(), &credential);
                    }
                    let request = ten_kwh(&configuration);
                    let answer = match api.issue(request.clone()).await {
                        Err(status) if was_never_sent(&status) => api.issue(request).await,
                        answer => answer,
                    };
                    tokens.push(answer.expect("a request was lost"));
                    answers.fetch_add(1, Ordering::Relaxed);
                }
                tokens
            });
        }
        Self { stop, answers, running }
    }

    /// Waits for some more answers.
    async fn go_on(&mut self) {
        let before = self.answers.load(Ordering::Relaxed);
        while self.answers.load(Ordering::Relaxed) < before + 20 {
            if let Some(ended) = self.running.try_join_next() {
                ended.unwrap();
            }
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_under_load_loses_no_request() {
    let database = TestDatabase::new();
    let home = postgresql::home(&database.url());
    let mut servers: Vec<Server> = NAMES.map(|name| start(&home, name, &DRAIN)).into();
    let configuration = servers[0].api(&home).await.configuration(DKGA04).await;
    let balancer = Balancer::start(&servers).await;
    let mut clients = Clients::start(&balancer.endpoint, &home.till(), &configuration);
    for (place, name) in NAMES.into_iter().enumerate() {
        clients.go_on().await;
        let server = servers.remove(place);
        let mut health = Health::of(&server).await;
        server.signal(Signal::TERM);
        health.not_serving().await;
        // Whoever comes before the balancer knows is served as ever.
        clients.go_on().await;
        balancer.take_out(place).await;
        clients.go_on().await;
        let ended = tokio::task::spawn_blocking(|| server.stop());
        clients.go_on().await;
        assert!(ended.await.unwrap().success(), "{}", home.log());
        let server = start(&home, name, &DRAIN);
        Health::of(&server).await.serving().await;
        balancer.put_in(place, &server);
        servers.insert(place, server);
    }
    clients.go_on().await;
    clients.stop.store(true, Ordering::Relaxed);
    let answered: Vec<IssuedToken> = clients.running.join_all().await.into_iter().flatten().collect();
    let tids: std::collections::BTreeSet<u32> = answered.iter().map(tid).collect();
    assert_eq!(tids.len(), answered.len(), "each identifier once");
    let rows: usize = database.sql("SELECT count(*) FROM vendkey.issued_tokens").parse().unwrap();
    assert_eq!(rows, answered.len());
    let chains = database.sql("SELECT count(DISTINCT sequence >> 44) FROM vendkey.issued_tokens");
    assert_eq!(chains, "3", "all of them served");
    assert!(!home.log().contains("connections were still open"), "{}", home.log());
}
