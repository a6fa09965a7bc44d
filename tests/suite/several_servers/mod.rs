//! Several servers on one PostgreSQL and one HSM token promise together what one promises alone.

mod balancer;
mod batch;
mod crashes;
mod rolling;
mod standby;
mod together;

use vendkey::api::v1::{Configuration, IssueTokenRequest, IssuedToken};

use crate::{
    harness::{Api, Home, Server, TestDatabase},
    postgresql,
};
use balancer::Balancer;

const NAMES: [&str; 3] = ["one", "two", "three"];

/// Starts a server of this name, which has a checkpoint file of its own.
fn start(home: &Home, name: &str, environment: &[(&str, &str)]) -> Server {
    // The first is the one that set up the home.
    let file = home.text(&if name == NAMES[0] { "checkpoint".into() } else { format!("{name}.checkpoint") });
    let own = [("VENDKEY_SERVER__NAME", name), ("VENDKEY_STORE__CHECKPOINT_FILE", file.as_str())];
    Server::start_with(home, &[&own[..], environment].concat())
}

/// Three servers on a database of their own.
struct Three {
    home: Home,
    servers: Vec<Server>,
    database: TestDatabase,
}

impl Three {
    fn start() -> Self {
        Self::start_with([&[]; 3])
    }

    /// With variables in the environment of each.
    fn start_with(environments: [&[(&str, &str)]; 3]) -> Self {
        let database = TestDatabase::new();
        let home = postgresql::home(&database.url());
        let servers = NAMES.into_iter().zip(environments).map(|(name, more)| start(&home, name, more));
        Self { servers: servers.collect(), home, database }
    }

    /// The API of each.
    async fn apis(&self) -> Vec<Api> {
        let mut apis = Vec::new();
        for server in &self.servers {
            apis.push(server.api(&self.home).await);
        }
        apis
    }
}

/// The identifier of a token.
fn tid(token: &IssuedToken) -> u32 {
    token.tid.unwrap().value
}

/// A request for this meter.
fn for_meter(configuration: &Configuration, meter: &str) -> IssueTokenRequest {
    IssueTokenRequest { meter: meter.to_owned(), ..crate::harness::ten_kwh(configuration) }
}
