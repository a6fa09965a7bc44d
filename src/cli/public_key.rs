//! `vendkey public-key`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use zeroize::Zeroizing;

use super::{
    connection::{Connection, Named},
    exit::Exit,
    output::{self, Failure},
    stdout,
};
use crate::{
    api::v1::{
        DisablePublicKeyRequest, EnablePublicKeyRequest, ListPublicKeysRequest, PublicKey,
        RegisterPublicKeyRequest, public_key_service_client::PublicKeyServiceClient,
    },
    envelope::{self, Holder, PublicKeyError},
};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Register the public key that signs your uploads
    Register(Register),
    /// List the registered keys
    List(Connection),
    /// Accept uploads signed with a key again
    Enable(Named),
    /// Refuse uploads signed with a key from now on
    Disable(Named),
}

#[derive(Args)]
#[command(
    after_help = "Example: vendkey public-key register --name \"Asha, office laptop\" admin-public.pem"
)]
pub(super) struct Register {
    /// An RSA public key of 2,048 bits or more: PEM, DER, base64, hex, JWK, XML or SSH; or a
    /// certificate or request that holds it
    file: PathBuf,
    /// What to call it; the file's name if not given
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

impl Command {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Register(Register { file, name, connection }) => {
                let (key, holder) = read(&file)?;
                if let Some(notice) = holder.notice() {
                    stdout::note(format!("{}: {notice}", file.display()));
                }
                let public_key = key.spki_pem().into_bytes();
                let fallback = || file.file_name().map(|name| name.to_string_lossy().into_owned());
                let display_name = name.or_else(fallback).unwrap_or_default();
                let mut client = PublicKeyServiceClient::new(connection.open().await?);
                let request = RegisterPublicKeyRequest { public_key, display_name };
                let reply =
                    client.register_public_key(request).await.map_err(Failure::refused(connection.json))?;
                output::show(connection.json, reply.get_ref(), described)
            }
            Self::List(connection) => list(&connection).await,
            Self::Enable(Named { name, connection }) => {
                let mut client = PublicKeyServiceClient::new(connection.open().await?);
                let reply = client
                    .enable_public_key(EnablePublicKeyRequest { name })
                    .await
                    .map_err(Failure::refused(connection.json))?;
                output::show(connection.json, reply.get_ref(), described)
            }
            Self::Disable(Named { name, connection }) => {
                let mut client = PublicKeyServiceClient::new(connection.open().await?);
                let reply = client
                    .disable_public_key(DisablePublicKeyRequest { name })
                    .await
                    .map_err(Failure::refused(connection.json))?;
                output::show(connection.json, reply.get_ref(), described)
            }
        }
    }
}

/// Reads the file here, so that nothing is sent of one that is no public key.
fn read(file: &Path) -> Result<(envelope::PublicKey, Holder), Failure> {
    let bytes = Zeroizing::new(fs::read(file).map_err(|error| Failure::file("file", file, &error))?);
    let name = file.display();
    envelope::PublicKey::read(&bytes).map_err(|error| {
        let text = match error {
            PublicKeyError::PrivateKey(form) => format!(
                "{name} is a private key ({form}) and WAS NOT SENT. Give the public key of the pair \
                 (openssl pkey -in {name} -pubout). If this file ever went over a network, replace the pair"
            ),
            other => format!("{name}: {other}; nothing was sent"),
        };
        Failure::exit(Exit::Data, text)
    })
}

async fn list(connection: &Connection) -> Result<(), Failure> {
    let mut client = PublicKeyServiceClient::new(connection.open().await?);
    let mut all = crate::api::v1::ListPublicKeysResponse::default();
    loop {
        let request = ListPublicKeysRequest { page_size: 0, page_token: all.next_page_token };
        let reply =
            client.list_public_keys(request).await.map_err(Failure::refused(connection.json))?.into_inner();
        all.public_keys.extend(reply.public_keys);
        all.next_page_token = reply.next_page_token;
        if all.next_page_token.is_empty() {
            break;
        }
    }
    output::show(connection.json, &all, |all| {
        let rows = all.public_keys.iter().map(|key| {
            let state = if key.enabled { "enabled" } else { "disabled" };
            [
                key.name.clone(),
                key.display_name.clone(),
                state.to_owned(),
                key.bits.to_string(),
                key.fingerprint.chars().take(16).collect(),
            ]
        });
        output::table(["name", "display name", "state", "bits", "fingerprint"], rows)
    })
}

fn described(key: &PublicKey) -> String {
    let warnings: Vec<String> = key.warnings.iter().map(|warning| warning.message.clone()).collect();
    output::fields([
        ("name", key.name.clone()),
        ("display name", key.display_name.clone()),
        ("state", if key.enabled { "enabled" } else { "disabled" }.to_owned()),
        ("bits", key.bits.to_string()),
        ("fingerprint", key.fingerprint.clone()),
        ("owner", key.owner.clone()),
        ("created", output::time(key.create_time.as_ref())),
        ("warnings", warnings.join("; ")),
    ])
}
