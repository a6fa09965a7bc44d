//! `vendkey credential`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use prost_types::Timestamp;

use super::{
    connection::{Connection, Named},
    output::{self, Failure},
    secret_file::SecretFile,
    whole_file,
};
use crate::{
    access::Credential,
    api::v1::{
        self, CreateCredentialRequest, DisableCredentialRequest, EnableCredentialRequest, HeldSecret,
        ListCredentialsRequest, ListCredentialsResponse, SetCredentialExpiryRequest,
        client_service_client::ClientServiceClient, create_credential_request::Proof,
    },
    clock::{Clock as _, SystemClock},
    connection::Authorized,
};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Give a client one more credential
    Create(Create),
    /// List the credentials of a client; secrets are never shown
    List(List),
    /// Let a credential count again
    Enable(Named),
    /// Stop a credential at once
    Disable(Named),
    /// Say when a credential ends
    Expire(Expire),
    /// Make a secret for somebody else's administrator to register; works offline
    Generate(Generate),
}

#[derive(Args)]
#[command(after_help = "Examples:

  vendkey credential create clients/0199... --out till-7.credential --days 365
  vendkey credential create clients/0199... --key-id 4f... --secret-sha256 9a...
  vendkey credential create clients/0199... --certificate uri:spiffe://example.org/till/7

To rotate a secret, create a second credential, hand it over, and disable the first.")]
pub(super) struct Create {
    /// clients/{uuid}
    client: String,
    /// Make a secret here and write it to this file, mode 600; the server gets its SHA-256 only
    #[arg(long, value_name = "FILE", required_unless_present_any = ["key_id", "certificate"])]
    out: Option<PathBuf>,
    /// The key id of a secret that its holder made with `vendkey credential generate`
    #[arg(long, value_name = "HEX", requires = "secret_sha256", conflicts_with_all = ["out", "certificate"])]
    key_id: Option<String>,
    /// The SHA-256 of that secret
    #[arg(long, value_name = "HEX", requires = "key_id")]
    secret_sha256: Option<String>,
    /// A client certificate: spki: and the SHA-256 of its public key, or uri: and a URI among its
    /// names
    #[arg(long, value_name = "KEY-ID", conflicts_with = "out")]
    certificate: Option<String>,
    #[command(flatten)]
    end: End,
    #[command(flatten)]
    connection: Connection,
}

/// When a credential ends.
#[derive(Args)]
struct End {
    /// When it ends, such as 2027-01-01T00:00:00Z
    #[arg(long, value_name = "TIME", conflicts_with = "days")]
    at: Option<jiff::Timestamp>,
    /// After how many days it ends
    #[arg(long)]
    days: Option<u32>,
}

#[derive(Args)]
pub(super) struct List {
    /// clients/{uuid}
    client: String,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Args)]
#[command(after_help = "Example: vendkey credential expire credentials/4f... --days 7")]
pub(super) struct Expire {
    /// credentials/{key id}
    name: String,
    /// It does not end
    #[arg(long, conflicts_with_all = ["at", "days"], required_unless_present_any = ["at", "days"])]
    never: bool,
    #[command(flatten)]
    end: End,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Args)]
#[command(after_help = "Example: vendkey credential generate --out till-7.credential

Keep the file; give the two values to an administrator, who registers them with `vendkey credential create`.")]
pub(super) struct Generate {
    /// Where the credential is written, mode 600
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Who gets a credential, and until when.
pub(super) struct Holder {
    pub(super) client: String,
    pub(super) expire_time: Option<Timestamp>,
}

impl Command {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Create(create) => super::calling(create.run()),
            Self::List(list) => super::calling(list.run()),
            Self::Enable(Named { name, connection }) => super::calling(async move {
                let mut client = ClientServiceClient::new(connection.open().await?);
                let reply = client.enable_credential(EnableCredentialRequest { name }).await;
                shown(connection.json, reply)
            }),
            Self::Disable(Named { name, connection }) => super::calling(async move {
                let mut client = ClientServiceClient::new(connection.open().await?);
                let reply = client.disable_credential(DisableCredentialRequest { name }).await;
                shown(connection.json, reply)
            }),
            Self::Expire(Expire { name, never: _, end, connection }) => super::calling(async move {
                let mut client = ClientServiceClient::new(connection.open().await?);
                let request = SetCredentialExpiryRequest { name, expire_time: end.time() };
                shown(connection.json, client.set_credential_expiry(request).await)
            }),
            Self::Generate(Generate { out }) => {
                let made = Credential::generate().map_err(|error| Failure::text(error.to_string()))?;
                whole_file::create(&out, 0o600, format!("{}\n", *made.expose()))
                    .map_err(|error| Failure::created("--out", &out, &error))?;
                let text = output::fields([
                    ("key id", made.key_id().to_string()),
                    ("secret SHA-256", hex::encode(made.hash().0)),
                    ("written to", format!("{}, mode 600", out.display())),
                ]);
                output::print_text(&text).map_err(|failure| failure.again(|| text))
            }
        }
    }
}

impl Create {
    async fn run(self) -> Result<(), Failure> {
        let json = self.connection.json;
        let holder = Holder { client: self.client, expire_time: self.end.time() };
        if let Some(file) = &self.out {
            let mut client = ClientServiceClient::new(self.connection.open_and_ask().await?);
            let secret = SecretFile::begin("--out", file, None)?;
            let made = create_held(&mut client, holder, secret, json).await?;
            output::show(json, &made, |made| {
                format!("{}\nwritten to {}, mode 600", described(made), file.display())
            })
            .map_err(|failure| {
                failure.again(|| {
                    format!(
                        "{} is made, and written to {}\nvendkey credential list {} shows it",
                        made.name,
                        file.display(),
                        made.client
                    )
                })
            })?;
            return Ok(());
        }
        let proof = match (self.certificate, self.key_id, self.secret_sha256) {
            (Some(certificate), ..) => Proof::Certificate(certificate),
            (None, Some(key_id), Some(secret_sha256)) => {
                Proof::HeldSecret(HeldSecret { key_id, secret_sha256 })
            }
            (None, ..) => return Err(Failure::usage("--out is missing: where should the secret go?")),
        };
        let mut client = ClientServiceClient::new(self.connection.open().await?);
        let made = create(&mut client, holder, proof, json).await?;
        output::show(json, &made, described)
    }
}

impl End {
    fn time(&self) -> Option<Timestamp> {
        let days = self.days.map(|days| SystemClock.now_ms().div_euclid(1000) + i64::from(days) * 86_400);
        let seconds = self.at.map(jiff::Timestamp::as_second).or(days)?;
        Some(Timestamp { seconds, nanos: 0 })
    }
}

impl List {
    async fn run(self) -> Result<(), Failure> {
        let json = self.connection.json;
        let mut client = ClientServiceClient::new(self.connection.open().await?);
        let mut all = ListCredentialsResponse::default();
        loop {
            let request = ListCredentialsRequest {
                client: self.client.clone(),
                page_size: 0,
                page_token: all.next_page_token,
            };
            let reply = client.list_credentials(request).await.map_err(Failure::refused(json))?.into_inner();
            all.credentials.extend(reply.credentials);
            all.next_page_token = reply.next_page_token;
            if all.next_page_token.is_empty() {
                break;
            }
        }
        output::show(json, &all, |all| {
            let rows = all.credentials.iter().map(|credential| {
                [
                    credential.name.clone(),
                    state(credential),
                    ends(credential),
                    output::time(credential.create_time.as_ref()),
                ]
            });
            output::table(["name", "state", "ends", "created"], rows)
        })
    }
}

/// Registers the hash of a secret that lies in its file. The file goes again if the server will
/// never know it.
pub(super) async fn create_held(
    client: &mut ClientServiceClient<Authorized>,
    holder: Holder,
    secret: SecretFile,
    json: bool,
) -> Result<v1::Credential, Failure> {
    let proof = Proof::HeldSecret(HeldSecret {
        key_id: secret.credential.key_id().to_string(),
        secret_sha256: hex::encode(secret.credential.hash().0),
    });
    match create(client, holder, proof, json).await {
        Ok(created) => {
            secret.finish();
            Ok(created)
        }
        Err(failure) => Err(secret.refused(failure)),
    }
}

async fn create(
    client: &mut ClientServiceClient<Authorized>,
    Holder { client: name, expire_time }: Holder,
    proof: Proof,
    json: bool,
) -> Result<v1::Credential, Failure> {
    let request = CreateCredentialRequest { client: name, proof: Some(proof), expire_time };
    let reply = client.create_credential(request).await.map_err(Failure::refused(json))?;
    Ok(reply.into_inner().credential.unwrap_or_default())
}

fn shown(json: bool, reply: Result<tonic::Response<v1::Credential>, tonic::Status>) -> Result<(), Failure> {
    output::show(json, reply.map_err(Failure::refused(json))?.get_ref(), described)
}

fn state(credential: &v1::Credential) -> String {
    if credential.enabled { "enabled" } else { "disabled" }.to_owned()
}

fn ends(credential: &v1::Credential) -> String {
    credential.expire_time.as_ref().map_or_else(|| "never".to_owned(), |time| output::time(Some(time)))
}

fn described(credential: &v1::Credential) -> String {
    output::fields([
        ("name", credential.name.clone()),
        ("client", credential.client.clone()),
        ("state", state(credential)),
        ("ends", ends(credential)),
        ("created", output::time(credential.create_time.as_ref())),
    ])
}
