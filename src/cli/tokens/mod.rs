//! `vendkey tokens`: files and logs of tokens that other systems wrote.

mod clean;
mod known;
mod read;
mod report;
mod row;
mod workbook;

use clap::Subcommand;

use super::output::Failure;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Read messages and tables of tokens, and write one clean table
    Clean(Box<clean::Arguments>),
    /// Draw charts of such files: one HTML page with a summary
    Report(Box<report::Arguments>),
}

impl Command {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Clean(arguments) => arguments.run().await,
            Self::Report(arguments) => arguments.run(),
        }
    }
}
