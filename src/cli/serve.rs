//! `vendkey serve`.

use std::path::PathBuf;

use clap::Args;

use super::{
    exit::Exit,
    output::{self, Failure},
    stdout,
};
use crate::{server, settings::Settings};

#[derive(Args)]
#[command(after_help = "Example: vendkey serve --settings /etc/vendkey/vendkey.toml")]
pub(super) struct Arguments {
    /// The settings file
    #[arg(long, env = "VENDKEY_SETTINGS", value_name = "FILE")]
    settings: PathBuf,
    /// Look at all that the server needs, change nothing, and stop: the settings, the files of TLS,
    /// the module, the token, the PIN file (the PIN itself is not tried), the database, the clock and
    /// the addresses. Ends with the code that `serve` would end with
    #[arg(long)]
    check: bool,
}

impl Arguments {
    pub(super) fn run(self) -> Result<(), Failure> {
        let settings = Settings::load(&self.settings).map_err(Failure::settings)?;
        if self.check {
            return self.checked(&settings);
        }
        server::run(settings).map_err(|error| Failure::exit(Exit::from(&error), error.to_string()))
    }
}

impl Arguments {
    fn checked(&self, settings: &Settings) -> Result<(), Failure> {
        let report = server::check(settings);
        for warning in &report.warnings {
            stdout::note(format!("warning: {warning}"));
        }
        let file = self.settings.display();
        let Some(first) = report.faults.first() else {
            return output::print_text(format!("{file} can be used; the PIN itself was not tried"));
        };
        // What `serve` would end with: it comes upon them in this order.
        let exit = Exit::from(&first.error);
        let faults: String = report.faults.iter().map(|fault| format!("\n  {fault}")).collect();
        Err(Failure::exit(exit, format!("{file} cannot be used:{faults}")))
    }
}
