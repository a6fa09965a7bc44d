//! `vendkey server`.

use clap::{Args, Subcommand};

use super::{
    connection::Connection,
    output::{self, Failure},
};
use crate::api::v1::{
    GetServerStateRequest, ListServersRequest, Server, server_service_client::ServerServiceClient,
};

#[derive(Subcommand)]
pub(super) enum Command {
    /// List the servers that share the database
    List(List),
    /// Show how the server that answers is, and why it issues nothing if so
    State(State),
}

#[derive(Args)]
#[command(after_help = "Example: vendkey server list

Lists servers that are gone too: their chains stay. A server writes a sign of life every five seconds.")]
pub(super) struct List {
    #[command(flatten)]
    connection: Connection,
}

#[derive(Args)]
#[command(after_help = "Example: vendkey server state

Any client may ask. `vendkey ledger state` shows how far the ledger has come, to those who may read it.")]
pub(super) struct State {
    #[command(flatten)]
    connection: Connection,
}

impl Command {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self {
            Self::List(list) => list.run().await,
            Self::State(state) => state.run().await,
        }
    }
}

impl State {
    async fn run(self) -> Result<(), Failure> {
        let Self { connection } = self;
        let mut client = ServerServiceClient::new(connection.open().await?);
        let found = client.get_server_state(GetServerStateRequest {}).await;
        let found = found.map_err(Failure::refused(connection.json))?;
        output::show(connection.json, found.get_ref(), |found| {
            let causes = found.causes.iter().map(|cause| format!("{}: {}", cause.kind, cause.reason));
            output::fields([
                ("name", found.display_name.clone()),
                ("version", found.version.clone()),
                ("issues tokens", if found.serving { "yes" } else { "no" }.to_owned()),
                ("why not", causes.collect::<Vec<_>>().join("; ")),
                ("clock", output::time(found.time.as_ref())),
                ("persons needed", found.approvals_needed.to_string()),
            ])
        })
    }
}

impl List {
    async fn run(self) -> Result<(), Failure> {
        let Self { connection } = self;
        let mut client = ServerServiceClient::new(connection.open().await?);
        let found = client.list_servers(ListServersRequest {}).await;
        let found = found.map_err(Failure::refused(connection.json))?;
        output::show(connection.json, found.get_ref(), |found| {
            let titles = ["name", "number", "version", "HSM token", "last sign of life", "records", "chain"];
            output::table(titles, found.servers.iter().map(row))
        })
    }
}

fn row(server: &Server) -> [String; 7] {
    let asked = if server.answering { " (answers)" } else { "" };
    [
        format!("{}{asked}", server.display_name),
        server.name.trim_start_matches("servers/").to_owned(),
        server.version.clone(),
        server.hsm_token.clone(),
        output::time(server.last_life_time.as_ref()),
        server.position.to_string(),
        server.chain.clone(),
    ]
}
