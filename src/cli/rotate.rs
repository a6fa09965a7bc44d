//! `vendkey rotate`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::output::{self, Failure};
use crate::{
    clock::{Clock as _, SystemClock},
    custody::{self, RotationError},
    hsm::{KeySizes, OwnKey, Role},
    settings::Settings,
};

#[derive(Subcommand)]
pub(super) enum Command {
    /// The key that opens uploads: whoever uploads must fetch the new one
    #[command(name = "server-key")]
    Server(Overlapping),
    /// The key that opens sealed uploads: whoever seals must fetch the new one
    #[command(name = "sealed-key")]
    Sealed(Overlapping),
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

#[derive(Args)]
#[command(
    after_help = "Example: vendkey rotate server-key --settings vendkey.toml --keep-old-until 2026-12-04T00:00:00Z

As the other rotations; with --keep-old-until the old key stays in the HSM beside the new one, and uploads to it are opened until that \
time. Then the server destroys it. The same command without it destroys the old key at once."
)]
pub(super) struct Overlapping {
    #[command(flatten)]
    arguments: Arguments,
    /// Until when uploads to the old key are opened; without it, no longer
    #[arg(long, value_name = "TIME")]
    keep_old_until: Option<Timestamp>,
}

impl Overlapping {
    fn until_ms(&self) -> Result<Option<i64>, Failure> {
        match self.keep_old_until.map(Timestamp::as_millisecond) {
            Some(until_ms) if until_ms <= SystemClock.now_ms() => {
                Err(Failure::usage("--keep-old-until: a time to come is expected"))
            }
            until_ms => Ok(until_ms),
        }
    }
}

impl Command {
    pub(super) fn run(self) -> Result<(), Failure> {
        let (role, arguments, until_ms) = match self {
            Self::Server(one) => {
                let until_ms = one.until_ms()?;
                (Role::Legacy, one.arguments, until_ms)
            }
            Self::Sealed(one) => {
                let until_ms = one.until_ms()?;
                (Role::Sealed, one.arguments, until_ms)
            }
            Self::Audit(arguments) => (Role::Audit, arguments, None),
            Self::RowSeal(arguments) => (Role::RowSeal, arguments, None),
        };
        let settings = Settings::load(&arguments.settings).map_err(Failure::settings)?;
        super::calling(async {
            let rotated = custody::rotate(&settings, role, KeySizes::default(), until_ms).await;
            let rotated = rotated.map_err(|error| match error {
                RotationError::Hsm(error) => Failure::hsm(error),
                RotationError::Open(error) => Failure::database(error),
                other => Failure::text(other.to_string()),
            })?;
            let kept = rotated.until_ms.and_then(|until_ms| Timestamp::from_millisecond(until_ms).ok());
            let old = kept.map_or("destroyed".to_owned(), |until| format!("until {until}"));
            let text =
                output::fields([(old.as_str(), key(&rotated.old)), ("in its place", key(&rotated.new))]);
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
