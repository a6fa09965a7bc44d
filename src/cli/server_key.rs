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
#[command(after_help = "Example: vendkey server-key --out server.pem --sealing-out sealing.pem

The first key opens uploads of three blobs (`vendkey configuration encrypt`), the sealing key opens sealed ones (`vendkey configuration \
seal`).")]
pub(super) struct Arguments {
    /// Write the key as PEM to this file as well
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write the sealing key as PEM to this file as well
    #[arg(long, value_name = "FILE")]
    sealing_out: Option<PathBuf>,
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
        if let Some(file) = &self.sealing_out {
            let sealing = key.sealing.as_ref().ok_or_else(|| {
                Failure::text("the server has no sealing key yet: run `vendkey setup` there again".to_owned())
            })?;
            whole_file::put(file, 0o666, &sealing.public_key_pem)
                .map_err(|error| Failure::created("--sealing-out", file, &error))?;
        }
        output::show(json, &key, |key| {
            let mut text = format!(
                "{}fingerprint (SHA-256): {}\nbits: {}\n",
                key.public_key_pem, key.fingerprint, key.bits
            );
            if let Some(sealing) = &key.sealing {
                text.push_str(&format!(
                    "\nsealing key, for sealed uploads:\n{}fingerprint (SHA-256): {}\nbits: {}\nsuites: {}\n",
                    sealing.public_key_pem,
                    sealing.fingerprint,
                    sealing.bits,
                    sealing.suites.join(", ")
                ));
            }
            text.push_str("Compare a fingerprint over another channel before you encrypt to its key.");
            text
        })
    }
}
