//! `vendkey selftest`.

use std::path::PathBuf;

use clap::Args;

use super::output::{self, Failure};
use crate::{
    hsm::{Hsm, HsmError, VendingKeys},
    selftest::{self, SelfTest},
    settings::Settings,
};

const MORE: &str = "\
Example: vendkey selftest --settings vendkey.toml

Runs a known answer for every algorithm, in software and through the HSM, as the server does before it serves. Exits 1 if any \
does not come out. A token without the server's own keys is tested without them.";

#[derive(Args)]
#[command(after_help = MORE)]
pub(super) struct Arguments {
    /// The settings file; only its section [hsm] is used
    #[arg(long, env = "VENDKEY_SETTINGS", value_name = "FILE")]
    settings: PathBuf,
}

impl Arguments {
    pub(super) fn run(self) -> Result<(), Failure> {
        let settings = Settings::load(&self.settings).map_err(Failure::settings)?;
        let hsm = match Hsm::start(settings.hsm.clone()) {
            Err(HsmError::NotSetUp(_)) => Hsm::start_bare(settings.hsm),
            started => started,
        }
        .map_err(Failure::hsm)?;
        let facts = hsm.capabilities();
        output::print_text(format!(
            "{} {}, token {}",
            facts.module.description, facts.module.version, facts.token.label
        ))?;
        super::calling(async move {
            let report = selftest::run(&hsm).await;
            hsm.stop();
            output::print_text(list("in software", &report.software))?;
            output::print_text(list("through the HSM", &report.hsm))?;
            match report.failure() {
                None => {
                    output::print_text(format!("{} tests passed", report.software.len() + report.hsm.len()))?;
                    Ok(())
                }
                Some(failure) => Err(Failure::text(format!("self-test failed: {failure}"))),
            }
        })
    }
}

fn list(title: &str, tests: &[SelfTest]) -> String {
    let width = tests.iter().map(|test| test.name.chars().count()).max().unwrap_or(0);
    let mut text = format!("{title}:\n");
    for SelfTest { name, outcome } in tests {
        let (verdict, detail) = match outcome {
            Ok(detail) => ("passed", detail),
            Err(why) => ("FAILED", why),
        };
        text.push_str(&format!("  {verdict}  {name:width$}  {detail}\n"));
    }
    text
}
