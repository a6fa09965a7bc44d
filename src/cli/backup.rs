//! `vendkey backup`.

use std::{io, path::PathBuf};

use clap::Args;

use super::{
    output::{self, Failure},
    whole_file,
};
use crate::{crash, custody::checkpoint_file, settings::Settings, store};

#[derive(Args)]
#[command(after_help = "Example: vendkey backup --settings vendkey.toml --out /backup/2026-11-22

Copies the last checkpoint and then the database, as it is at one moment; the server may run. Back up the HSM's token after that, by \
your module's own means: so it holds every key that the copied database names. Both together are worth as much as the server.")]
pub(super) struct Arguments {
    /// The settings file
    #[arg(long, env = "VENDKEY_SETTINGS", value_name = "FILE")]
    settings: PathBuf,
    /// A folder, made if missing; nothing in it is overwritten
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

impl Arguments {
    pub(super) fn run(self) -> Result<(), Failure> {
        let settings = Settings::load(&self.settings).map_err(Failure::settings)?;
        let failure = |error| Failure::created("--out", &self.out, &error);
        std::fs::create_dir_all(&self.out).map_err(failure)?;
        let (database, checkpoint) = (self.out.join("vendkey.db"), self.out.join("vendkey.db.checkpoint"));
        // First: a checkpoint that is newer than its database says that records were lost.
        let kept = checkpoint_file::read(&settings.store.checkpoint_file).map_err(|error| {
            Failure::file("store.checkpoint_file", &settings.store.checkpoint_file, &error)
        })?;
        // One from before is neither overwritten nor mixed with this one.
        if let Some(there) = [&database, &checkpoint].into_iter().find(|file| file.symlink_metadata().is_ok())
        {
            let text = "it is there already, and nothing was copied: name another folder";
            return Err(Failure::created(
                "--out",
                there,
                &io::Error::new(io::ErrorKind::AlreadyExists, text),
            ));
        }
        let copied = whole_file::made(&database, 0o600, |beside| {
            store::copy(&settings.store.url, beside).map_err(Fault::Open)?;
            crash::point("backup-before-name");
            Ok(())
        });
        copied.map_err(|fault| match fault {
            Fault::Open(error) => Failure::database(error),
            Fault::System(error) => Failure::created("--out", &database, &error),
        })?;
        let checkpoint = match kept {
            Some(text) => {
                whole_file::put(&checkpoint, 0o600, &text)
                    .map_err(|error| Failure::created("--out", &checkpoint, &error))?;
                checkpoint.display().to_string()
            }
            None => "none yet".to_owned(),
        };
        output::print_text(format!(
            "{}\nNow back up the HSM's token.",
            output::fields([("database", database.display().to_string()), ("checkpoint", checkpoint)])
        ))?;
        Ok(())
    }
}

/// Why there is no copy.
enum Fault {
    Open(store::OpenError),
    System(io::Error),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}
