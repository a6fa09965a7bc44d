//! `vendkey server-key`.

use std::path::{Path, PathBuf};

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
    /// Write the sealing key as PEM to this file as well; those of further tokens beside it, to
    /// sealing.2.pem and so on
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
            for (place, sealing) in [sealing].into_iter().chain(&key.other_sealing).enumerate() {
                let file = numbered(file, place + 1);
                whole_file::put(&file, 0o666, &sealing.public_key_pem)
                    .map_err(|error| Failure::created("--sealing-out", &file, &error))?;
            }
        }
        output::show(json, &key, |key| {
            let mut text = format!(
                "{}fingerprint (SHA-256): {}\nbits: {}\n",
                key.public_key_pem, key.fingerprint, key.bits
            );
            for sealing in key.sealing.iter().chain(&key.other_sealing) {
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

/// The file of the key in this place: the file itself for the first, `sealing.2.pem` for the second.
fn numbered(file: &Path, place: usize) -> PathBuf {
    if place == 1 {
        return file.to_owned();
    }
    let ending = file.extension().map(|ending| ending.to_string_lossy().into_owned()).unwrap_or_default();
    let ending = if ending.is_empty() { place.to_string() } else { format!("{place}.{ending}") };
    file.with_extension(ending)
}
