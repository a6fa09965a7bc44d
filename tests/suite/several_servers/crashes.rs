//! Servers that are killed, at named points and at random, and a database that is, under load: every
//! request that was asked for is issued once.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tonic::{Code, transport::Endpoint};

use super::*;
use crate::{
    harness::{Cluster, DKGA02, DKGA04},
    history::{self, History, random},
};

/// Clients that ask until they have an answer.
struct Clients {
    history: Arc<Mutex<History>>,
    answers: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    running: tokio::task::JoinSet<()>,
}

impl Clients {
    fn start(endpoint: &str, credential: &str, configurations: &[Configuration]) -> Self {
        let mut clients = Self {
            history: Arc::default(),
            answers: Arc::default(),
            stop: Arc::default(),
            running: tokio::task::JoinSet::new(),
        };
        for _ in 0..6 {
            let endpoint = Endpoint::from_shared(endpoint.to_owned()).unwrap();
            let (history, answers) = (clients.history.clone(), clients.answers.clone());
            let (stop, configurations) = (clients.stop.clone(), configurations.to_vec());
            let credential = credential.to_owned();
            clients.running.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let request = history.lock().unwrap().ask(&configurations);
                    let token = loop {
                        // A connection for each try, to whichever server.
                        let mut api = Api::over(endpoint.connect_lazy(), &credential);
                        match api.issue(request.clone()).await {
                            Ok(token) => break token,
                            Err(status) => assert_ne!(status.code(), Code::Internal, "{status}"),
                        }
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    };
                    history.lock().unwrap().answer(token.request_id, token.token);
                    answers.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        clients
    }

    /// Waits for so many more answers.
    async fn go_on(&mut self, more: usize) {
        let before = self.answers.load(Ordering::Relaxed);
        while self.answers.load(Ordering::Relaxed) < before + more {
            if let Some(ended) = self.running.try_join_next() {
                ended.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Lets each have the answer that it waits for.
    async fn ended(self) -> History {
        self.stop.store(true, Ordering::Relaxed);
        self.running.join_all().await;
        std::mem::take(&mut *self.history.lock().unwrap())
    }
}

/// Where a server dies with its first token after it began.
const POINTS: [&str; 4] =
    ["ledger-before-commit", "ledger-after-commit", "issue-after-record", "issue-before-answer"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_killed_of_three_servers_and_their_database_every_token_is_there_once() {
    let mut cluster = Cluster::start();
    let home = postgresql::home(&cluster.url("postgres"));
    let settings = std::fs::read_to_string(home.path("vendkey.toml")).unwrap();
    std::fs::write(home.path("vendkey.toml"), settings + "[vending]\nhorizon_minutes = 525600\n").unwrap();
    let mut servers: Vec<Server> = NAMES.map(|name| start(&home, name, &[])).into();
    let mut api = servers[0].api(&home).await;
    let configurations = [api.configuration(DKGA04).await, api.configuration(DKGA02).await];
    let balancer = Balancer::start(&servers).await;
    let mut clients = Clients::start(&balancer.endpoint, &home.till(), &configurations);
    for (round, point) in POINTS.into_iter().enumerate() {
        let place = round % 3;
        // At random: it dies wherever it stands.
        clients.go_on(usize::try_from(5 + random(40)).unwrap()).await;
        balancer.forget(place);
        drop(servers.remove(place));
        clients.go_on(5).await;
        // At this point, with what it does first.
        let mut server = start(&home, NAMES[place], &[("VENDKEY_CRASH_AT", point)]);
        balancer.put_in(place, &server);
        tokio::task::spawn_blocking(move || server.wait()).await.unwrap();
        balancer.forget(place);
        if round % 2 == 0 {
            cluster.kill();
            cluster.run();
        }
        let server = start(&home, NAMES[place], &[]);
        balancer.put_in(place, &server);
        servers.insert(place, server);
    }
    clients.go_on(30).await;
    let history = clients.ended().await;
    assert_eq!(history.answered.len(), history.asked.len(), "whoever asked has an answer");
    history::check(&mut servers[1].api(&home).await, &history).await;
    let rows = cluster.sql("postgres", "SELECT count(*) FROM vendkey.issued_tokens");
    assert_eq!(rows, history.asked.len().to_string());
}
