//! `vendkey rotate`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::output::{self, Failure};
use crate::{
    custody::{self, RotationError},
    hsm::{KeySizes, OwnKey, Role},
    settings::Settings,
};

#[derive(Subcommand)]
pub(super) enum Command {
    /// The key that opens uploads: whoever uploads must fetch the new one
    #[command(name = "server-key")]
    Server(Arguments),
    /// The key that opens sealed uploads: whoever seals must fetch the new one
    #[command(name = "sealed-key")]
    Sealed(Arguments),
    /// The key that signs checkpoints of the audit chain
    #[command(name = "audit-key")]
    Audit(Arguments),
    /// The key that seals the rows that decide
    #[command(name = "row-seal-key")]
    RowSeal(Arguments),
}

#[derive(Args)]
#[command(after_help = "Example: vendkey rotate audit-key --settings vendkey.toml

Stop the server first. A new key is made in the HSM, what rested on the old one is made to rest on the new one, on record, and the old \
one is destroyed. Cut off in whatever way, the same command again goes on; until it has ended, no server starts. Make new backups of \
the HSM and the database together afterwards: older ones of the HSM do not fit the database any more.")]
pub(super) struct Arguments {
    /// The settings file
    #[arg(long, env = "VENDKEY_SETTINGS", value_name = "FILE")]
    settings: PathBuf,
}

impl Command {
    pub(super) fn run(self) -> Result<(), Failure> {
        let (role, arguments) = match self {
            Self::Server(arguments) => (Role::Legacy, arguments),
            Self::Sealed(arguments) => (Role::Sealed, arguments),
            Self::Audit(arguments) => (Role::Audit, arguments),
            Self::RowSeal(arguments) => (Role::RowSeal, arguments),
        };
        let settings = Settings::load(&arguments.settings).map_err(Failure::settings)?;
        super::calling(async {
            let rotated = custody::rotate(&settings, role, KeySizes::default()).await;
            let rotated = rotated.map_err(|error| match error {
                RotationError::Hsm(error) => Failure::hsm(error),
                RotationError::Open(error) => Failure::database(error),
                other => Failure::text(other.to_string()),
            })?;
            let text =
                output::fields([("destroyed", key(&rotated.old)), ("in its place", key(&rotated.new))]);
            output::print_text(&text).map_err(|failure| {
                failure.again(|| {
                    format!(
                        "the key is exchanged; the same command again would exchange it once more\n{text}"
                    )
                })
            })
        })
    }
}

/// A key as people compare it.
pub(super) fn key(key: &OwnKey) -> String {
    format!("{} key, generation {}: {}", key.role, key.generation, key.fingerprint)
}
