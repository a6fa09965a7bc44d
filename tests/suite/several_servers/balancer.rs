//! What stands before several servers: a small balancer of TCP connections, for tests that take
//! servers out and put them in.

use std::sync::{Arc, Mutex, MutexGuard};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy},
    net::{TcpListener, TcpStream},
    sync::Notify,
};

use crate::harness::Server;

/// Gives each connection to the next server that is in.
#[derive(Clone)]
pub struct Balancer {
    pub endpoint: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    servers: Mutex<Vec<Place>>,
    changed: Notify,
}

#[derive(Default)]
struct Place {
    /// None while it is out.
    address: Option<String>,
    /// Connections to it that it has not said anything on yet.
    silent: usize,
    /// Connections that it was given.
    given: usize,
}

impl Balancer {
    /// Starts one with these servers, each at the place of its number.
    pub async fn start(servers: &[Server]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let balancer = Self { endpoint, state: Arc::default() };
        for (place, server) in servers.iter().enumerate() {
            balancer.put_in(place, server);
        }
        let state = balancer.state.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(state.clone(), client));
            }
        });
        balancer
    }

    /// Gives connections to a server from now on.
    pub fn put_in(&self, place: usize, server: &Server) {
        let address = server.endpoint.trim_start_matches("http://").to_owned();
        let mut servers = self.state.servers();
        while servers.len() <= place {
            servers.push(Place::default());
        }
        servers[place].address = Some(address);
        drop(servers);
        self.state.changed.notify_waiters();
    }

    /// Gives it none any more, and waits until those that it was given last are its own.
    pub async fn take_out(&self, place: usize) {
        self.state.servers()[place].address = None;
        loop {
            let changed = self.state.changed.notified();
            if self.state.servers()[place].silent == 0 {
                return;
            }
            changed.await;
        }
    }

    /// The same of one that is gone.
    pub fn forget(&self, place: usize) {
        self.state.servers()[place].address = None;
    }
}

impl State {
    fn servers(&self) -> MutexGuard<'_, Vec<Place>> {
        self.servers.lock().unwrap()
    }

    /// The server that is in and was given least; waits for one.
    async fn next(&self) -> (usize, String) {
        loop {
            let changed = self.changed.notified();
            {
                let mut servers = self.servers();
                let least = servers.iter_mut().enumerate().filter(|(_, server)| server.address.is_some());
                if let Some((place, server)) = least.min_by_key(|(_, server)| server.given) {
                    server.silent += 1;
                    server.given += 1;
                    return (place, server.address.clone().unwrap());
                }
            }
            changed.await;
        }
    }

    fn heard(&self, place: usize) {
        self.servers()[place].silent -= 1;
        self.changed.notify_waiters();
    }
}

/// Passes a connection on, whose end is told to the other side.
async fn pass(state: Arc<State>, client: TcpStream) {
    let (place, address) = state.next().await;
    let Ok(server) = TcpStream::connect(address).await else { return state.heard(place) };
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let there = async move {
        let _ = copy(&mut from_client, &mut to_server).await;
        let _ = to_server.shutdown().await;
    };
    let back = async move {
        let mut first = [0; 1_024];
        let count = from_server.read(&mut first).await.unwrap_or(0);
        state.heard(place);
        if to_client.write_all(&first[..count]).await.is_ok() {
            let _ = copy(&mut from_server, &mut to_client).await;
        }
        let _ = to_client.shutdown().await;
    };
    tokio::join!(there, back);
}
