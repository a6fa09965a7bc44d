//! `vendkey key-change`.

use clap::{Args, Subcommand};
use uuid::Uuid;

use super::{
    connection::Connection,
    interruption,
    output::{self, Failure},
    stdout,
    token::grouped,
};
use crate::api::v1::{
    AllowKeyChangeRequest, ForbidKeyChangeRequest, IssueKeyChangeRequest, KeyChangePair, KeyChangeSet,
    ListKeyChangePairsRequest, ListKeyChangePairsResponse,
    configuration_service_client::ConfigurationServiceClient, token_service_client::TokenServiceClient,
};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Issue the tokens that carry a meter from one configuration's key to another's
    Issue(Issue),
    /// Let meters be carried from one configuration to another
    Allow(Pair),
    /// Forbid it again
    Forbid(Pair),
    /// List the allowed pairs
    List(Connection),
}

#[derive(Args)]
#[command(
    after_help = "Example: vendkey key-change issue --from configurations/4f... --to configurations/9a... --meter 47500150231"
)]
pub(super) struct Issue {
    #[command(flatten)]
    pair: Ends,
    /// The meter's number: 11, 13 or 18 digits; blanks and hyphens do not matter
    #[arg(long, value_parser = super::token::meter_number)]
    meter: String,
    /// Add the third token of a 64-bit key, which transfers the supply group code
    #[arg(long)]
    transfer_sgc: bool,
    /// A UUID; the same one again answers the same tokens. A new one is made if not given
    #[arg(long, value_name = "UUID")]
    request_id: Option<Uuid>,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Args)]
struct Ends {
    /// configurations/{uuid} under whose key the meter is
    #[arg(long, value_name = "CONFIGURATION")]
    from: String,
    /// configurations/{uuid} under whose key it comes
    #[arg(long, value_name = "CONFIGURATION")]
    to: String,
}

#[derive(Args)]
pub(super) struct Pair {
    #[command(flatten)]
    pair: Ends,
    #[command(flatten)]
    connection: Connection,
}

impl Command {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Issue(issue) => issue.run().await,
            Self::Allow(Pair { pair, connection }) => {
                let mut client = ConfigurationServiceClient::new(connection.open().await?);
                let request = AllowKeyChangeRequest { source: pair.from, target: pair.to };
                let reply =
                    client.allow_key_change(request).await.map_err(Failure::refused(connection.json))?;
                output::show(connection.json, reply.get_ref(), |pair| {
                    format!("allowed\n{}", described_pair(pair))
                })
            }
            Self::Forbid(Pair { pair, connection }) => {
                let mut client = ConfigurationServiceClient::new(connection.open().await?);
                let request = ForbidKeyChangeRequest { source: pair.from, target: pair.to };
                let reply =
                    client.forbid_key_change(request).await.map_err(Failure::refused(connection.json))?;
                output::show(connection.json, reply.get_ref(), |reply| {
                    if reply.was_allowed { "forbidden" } else { "it had not been allowed" }.to_owned()
                })
            }
            Self::List(connection) => list(&connection).await,
        }
    }
}

impl Issue {
    async fn run(self) -> Result<(), Failure> {
        let json = self.connection.json;
        let request_id = self.request_id.unwrap_or_else(Uuid::now_v7);
        let request = IssueKeyChangeRequest {
            source: self.pair.from,
            target: self.pair.to,
            meter: self.meter,
            request_id: request_id.to_string(),
            transfer_sgc: self.transfer_sgc,
        };
        let mut client = TokenServiceClient::new(self.connection.open().await?);
        let again = format!(
            "request id: {request_id}\nthe same command with --request-id {request_id} shows it; without, it issues another one"
        );
        let interrupted = interruption::tell(format!("the set may be issued\n{again}"));
        let reply = client.issue_key_change(request).await.map_err(|status| {
            // Without the id the caller could not ask for a set that may exist.
            stdout::note(format!("request id: {request_id}"));
            Failure::refused(json)(status)
        })?;
        let shown = output::show(json, reply.get_ref(), described);
        drop(interrupted);
        shown.map_err(|failure| failure.again(|| format!("the set is issued\n{again}")))
    }
}

async fn list(connection: &Connection) -> Result<(), Failure> {
    let mut client = ConfigurationServiceClient::new(connection.open().await?);
    let mut all = ListKeyChangePairsResponse::default();
    loop {
        let request = ListKeyChangePairsRequest { page_size: 0, page_token: all.next_page_token };
        let reply = client.list_key_change_pairs(request).await;
        let reply = reply.map_err(Failure::refused(connection.json))?.into_inner();
        all.pairs.extend(reply.pairs);
        all.next_page_token = reply.next_page_token;
        if all.next_page_token.is_empty() {
            break;
        }
    }
    output::show(connection.json, &all, |all| {
        let rows = all.pairs.iter().map(|pair| {
            [
                pair.source.clone(),
                pair.target.clone(),
                pair.allowed_by.clone(),
                output::time(pair.create_time.as_ref()),
            ]
        });
        output::table(["from", "to", "allowed by", "when"], rows)
    })
}

fn described_pair(pair: &KeyChangePair) -> String {
    output::fields([
        ("from", pair.source.clone()),
        ("to", pair.target.clone()),
        ("allowed by", pair.allowed_by.clone()),
        ("when", output::time(pair.create_time.as_ref())),
    ])
}

fn described(set: &KeyChangeSet) -> String {
    let yes = |flag| if flag { "yes" } else { "no" }.to_owned();
    let tokens: Vec<String> = set
        .tokens
        .iter()
        .zip(1..)
        .map(|(token, place)| format!("token {place} of {}  {}", set.tokens.len(), grouped(&token.token)))
        .collect();
    let fields = output::fields([
        ("meter", format!("{} (DRN {})", set.meter_pan, set.drn)),
        ("from", format!("{} (KCV {})", set.source, set.source_kcv)),
        ("to", format!("{} (KCV {})", set.target, set.target_kcv)),
        ("forgets token identifiers", yes(set.roll_over)),
        ("transfers the supply group", yes(set.transfers_sgc)),
        ("name", set.name.clone()),
        ("request id", set.request_id.clone()),
        ("issued", output::time(set.issue_time.as_ref())),
        ("replay", yes(set.replay)),
    ]);
    format!("{}\n{fields}\nEnter all of them, then any credit under the new key.", tokens.join("\n"))
}
