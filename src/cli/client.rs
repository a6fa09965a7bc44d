//! `vendkey client`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use uuid::Uuid;

use super::{
    connection::{Connection, Named},
    credential::{self, Holder},
    interruption,
    output::{self, Failure},
    rights::{RightsArguments, limits_text, rights_text},
    secret_file::SecretFile,
    stdout,
};
use crate::{
    access::rights::Rights,
    api::{
        rights_shown,
        v1::{
            Client, CreateClientRequest, DisableClientRequest, EnableClientRequest, GetCallerRequest,
            GetClientRequest, Limits, ListClientsRequest, ListClientsResponse, UpdateClientRequest,
            client_service_client::ClientServiceClient,
        },
    },
};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Create a till, an administrator or an auditor
    Create(Create),
    /// List the clients
    List(Connection),
    /// Show who calls: the client behind the credential in use
    Whoami(Whoami),
    /// Show one client with its rights and limits
    Show(Named),
    /// Change a client's name, rights or limits
    Update(Update),
    /// Let a client's credentials count again
    Enable(Named),
    /// Shut a client out at once, with all its credentials
    Disable(Named),
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Preset {
    /// Credits, meter tests, and the look at a token
    Till,
    /// Everything that administers, nothing that vends; may grant everything
    Administrator,
    /// The audit and the ledger, to read
    Auditor,
}

impl Preset {
    fn rights(self) -> Rights {
        match self {
            Self::Till => Rights::till(),
            Self::Administrator => Rights::administrator(),
            Self::Auditor => Rights::auditor(),
        }
    }
}

#[derive(Args)]
#[command(
    after_help = "Example: a till of one supply group that sells at most 500 kWh at once and 20000 kWh a day:

  vendkey client create \"till 7\" --preset till --supply-group 123456 --token-kind electricity_credit \\
    --limit electricity_credit.per_token=500 --limit electricity_credit.per_day=20000 --out till-7.credential

The secret is made here, written to the file with mode 600, and never sent: the server keeps its SHA-256."
)]
pub(super) struct Create {
    /// What to call it, for people
    display_name: String,
    /// What it may do; --allow and --deny change it
    #[arg(long, value_enum)]
    preset: Option<Preset>,
    #[command(flatten)]
    rights: RightsArguments,
    /// Make its first credential too, and write it to this file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// A UUID that makes it safe to repeat the command; a new one if not given
    #[arg(long, value_name = "UUID")]
    request_id: Option<Uuid>,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Args)]
#[command(
    after_help = "Example: vendkey client update clients/0199... --limit tokens_per_day=5000 --deny verify

What is not named stays as it is. If somebody else changed the client meanwhile, nothing is changed."
)]
pub(super) struct Update {
    /// clients/{uuid}
    name: String,
    /// Call it differently
    #[arg(long)]
    display_name: Option<String>,
    #[command(flatten)]
    rights: RightsArguments,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Args)]
#[command(after_help = "Example: vendkey client whoami --credential-file till-7.credential

Any client may ask what it may do.")]
pub(super) struct Whoami {
    #[command(flatten)]
    connection: Connection,
}

impl Command {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Create(create) => create.run().await,
            Self::List(connection) => list(&connection).await,
            Self::Whoami(Whoami { connection }) => {
                let mut client = ClientServiceClient::new(connection.open().await?);
                let reply = client.get_caller(GetCallerRequest {}).await;
                output::show(
                    connection.json,
                    &reply.map_err(Failure::refused(connection.json))?.into_inner(),
                    |caller| {
                        let client = caller.client.as_ref().map(described).unwrap_or_default();
                        let credential =
                            caller.credential.as_ref().map(|credential| credential.name.as_str());
                        format!("{client}\ncredential      {}", credential.unwrap_or_default())
                    },
                )
            }
            Self::Show(Named { name, connection }) => {
                let mut client = ClientServiceClient::new(connection.open().await?);
                let reply = client.get_client(GetClientRequest { name }).await;
                output::show(
                    connection.json,
                    &reply.map_err(Failure::refused(connection.json))?.into_inner(),
                    described,
                )
            }
            Self::Update(update) => update.run().await,
            Self::Enable(Named { name, connection }) => {
                let mut client = ClientServiceClient::new(connection.open().await?);
                let reply = client.enable_client(EnableClientRequest { name }).await;
                output::show(
                    connection.json,
                    &reply.map_err(Failure::refused(connection.json))?.into_inner(),
                    described,
                )
            }
            Self::Disable(Named { name, connection }) => {
                let mut client = ClientServiceClient::new(connection.open().await?);
                let reply = client.disable_client(DisableClientRequest { name }).await;
                output::show(
                    connection.json,
                    &reply.map_err(Failure::refused(connection.json))?.into_inner(),
                    described,
                )
            }
        }
    }
}

impl Create {
    async fn run(self) -> Result<(), Failure> {
        let json = self.connection.json;
        let mut rights = self.preset.map(|preset| rights_shown(&preset.rights())).unwrap_or_default();
        let mut limits = Limits::default();
        self.rights.apply(&mut rights, &mut limits);
        let channel = match self.out {
            Some(_) => self.connection.open_and_ask().await?,
            None => self.connection.open().await?,
        };
        let mut client = ClientServiceClient::new(channel);
        // The file first: a client without a credential helps nobody.
        let secret =
            self.out.as_deref().map(|file| SecretFile::begin("--out", file, self.request_id)).transpose()?;
        let request_id = match &secret {
            Some(secret) => secret.request_id,
            None => self.request_id.unwrap_or_else(Uuid::now_v7),
        };
        let _interrupted = secret.is_none().then(|| {
            interruption::tell(format!(
                "the client may be made\nrequest id: {request_id}\nthe same command with --request-id {request_id} makes no second one"
            ))
        });
        let request = CreateClientRequest {
            request_id: request_id.to_string(),
            display_name: self.display_name,
            rights: Some(rights),
            limits: Some(limits),
        };
        let made = match client.create_client(request).await.map_err(Failure::refused(json)) {
            Ok(made) => made.into_inner(),
            Err(failure) => {
                let failure = match secret {
                    Some(secret) => secret.refused(failure),
                    None => failure,
                };
                if failure.may_still_happen() {
                    stdout::note(format!("request id: {request_id}"));
                }
                return Err(failure);
            }
        };
        let mut written = String::new();
        if let (Some(secret), Some(file)) = (secret, &self.out) {
            let holder = Holder { client: made.name.clone(), expire_time: None };
            let credential =
                credential::create_held(&mut client, holder, secret, json).await.inspect_err(|_| {
                    stdout::note(format!("{} is made, and has no credential yet", made.name));
                })?;
            written =
                format!("\ncredential      {} (written to {}, mode 600)", credential.name, file.display());
        }
        // A script reads one message: the client.
        output::show(json, &made, |made| described(made) + &written).map_err(|failure| {
            failure.again(|| {
                format!(
                    "{} is made{written}\nrequest id: {request_id}\nvendkey client show {} shows it",
                    made.name, made.name
                )
            })
        })
    }
}

impl Update {
    async fn run(self) -> Result<(), Failure> {
        let json = self.connection.json;
        let mut client = ClientServiceClient::new(self.connection.open().await?);
        let read = client.get_client(GetClientRequest { name: self.name }).await;
        let read = read.map_err(Failure::refused(json))?.into_inner();
        let (mut rights, mut limits) = (read.rights.unwrap_or_default(), read.limits.unwrap_or_default());
        self.rights.apply(&mut rights, &mut limits);
        let request = UpdateClientRequest {
            name: read.name,
            etag: read.etag,
            display_name: self.display_name.unwrap_or(read.display_name),
            rights: Some(rights),
            limits: Some(limits),
        };
        let changed = client.update_client(request).await.map_err(Failure::refused(json))?;
        output::show(json, changed.get_ref(), described)
    }
}

async fn list(connection: &Connection) -> Result<(), Failure> {
    let mut client = ClientServiceClient::new(connection.open().await?);
    let mut all = ListClientsResponse::default();
    loop {
        let request = ListClientsRequest { page_size: 0, page_token: all.next_page_token };
        let reply = client.list_clients(request).await.map_err(Failure::refused(connection.json))?;
        let reply = reply.into_inner();
        all.clients.extend(reply.clients);
        all.next_page_token = reply.next_page_token;
        if all.next_page_token.is_empty() {
            break;
        }
    }
    output::show(connection.json, &all, |all| {
        let rows = all.clients.iter().map(|client| {
            let (may_do, ..) = rights_text(client.rights.as_ref());
            [client.name.clone(), client.display_name.clone(), state(client), may_do]
        });
        output::table(["name", "display name", "state", "may do"], rows)
    })
}

fn state(client: &Client) -> String {
    if client.enabled { "enabled" } else { "disabled" }.to_owned()
}

fn described(client: &Client) -> String {
    let (may_do, may_grant, scope, kinds) = rights_text(client.rights.as_ref());
    output::fields([
        ("name", client.name.clone()),
        ("display name", client.display_name.clone()),
        ("state", state(client)),
        ("may do", may_do),
        ("may grant", may_grant),
        ("configurations", scope),
        ("token kinds", kinds),
        ("limits", limits_text(client.limits.as_ref())),
        ("created", output::time(client.create_time.as_ref())),
        ("changed", output::time(client.update_time.as_ref())),
    ])
}
