//! `vendkey serve`.

use std::path::PathBuf;

use clap::Args;

use super::{exit::Exit, output::Failure, stdout};
use crate::{server, settings::Settings};

#[derive(Args)]
#[command(after_help = "Example: vendkey serve --settings /etc/vendkey/vendkey.toml")]
pub(super) struct Arguments {
    /// The settings file
    #[arg(long, env = "VENDKEY_SETTINGS", value_name = "FILE")]
    settings: PathBuf,
    /// Parse the settings and stop
    #[arg(long)]
    check: bool,
}

impl Arguments {
    pub(super) fn run(self) -> Result<(), Failure> {
        let settings = Settings::load(&self.settings).map_err(Failure::settings)?;
        if self.check {
            stdout::print(format!("{} can be used", self.settings.display()))?;
            return Ok(());
        }
        server::run(settings).map_err(|error| Failure::exit(Exit::from(&error), error.to_string()))
    }
}
