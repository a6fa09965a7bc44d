//! `vendkey server-key`.

use std::path::PathBuf;

use clap::Args;

use super::{
    connection::Connection,
    output::{self, Failure},
    whole_file,
};
use crate::api::v1::{GetServerKeyRequest, configuration_service_client::ConfigurationServiceClient};

#[derive(Args)]
#[command(after_help = "Example: vendkey server-key --out server.pem")]
pub(super) struct Arguments {
    /// Write the key as PEM to this file as well
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    connection: Connection,
}

impl Arguments {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let json = self.connection.json;
        let mut client = ConfigurationServiceClient::new(self.connection.open().await?);
        let key =
            client.get_server_key(GetServerKeyRequest {}).await.map_err(Failure::refused(json))?.into_inner();
        if let Some(file) = &self.out {
            whole_file::put(file, 0o666, &key.public_key_pem)
                .map_err(|error| Failure::created("--out", file, &error))?;
        }
        output::show(json, &key, |key| {
            format!(
                "{}fingerprint (SHA-256): {}\nbits: {}\nCompare the fingerprint over another channel before you encrypt to this key.",
                key.public_key_pem, key.fingerprint, key.bits
            )
        })
    }
}
