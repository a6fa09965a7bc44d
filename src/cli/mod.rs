//! The command line: the server, its set-up, and the administrator's and the vending platform's calls.

mod audit;
mod bench;
mod configuration;
mod connection;
mod csv;
mod ledger;
mod output;
mod public_key;
mod serve;
mod server_key;
mod setup;
mod token;
mod token_batch;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use connection::{Authorized, Bearer};
use output::Failure;

/// Vendkey: STS vending keys in an HSM, tokens over gRPC.
#[derive(Parser)]
#[command(name = "vendkey", version, about, max_term_width = 100, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Create the server's keys in the HSM, the database and the first credential; safe to run again
    Setup(setup::Arguments),
    /// Run the server
    Serve(serve::Arguments),
    /// Show the public key to which uploads are encrypted
    ServerKey(server_key::Arguments),
    /// The keys with which administrators sign uploads
    #[command(subcommand)]
    PublicKey(public_key::Command),
    /// STS configurations and their vending keys
    #[command(subcommand)]
    Configuration(configuration::Command),
    /// Tokens for meters
    #[command(subcommand)]
    Token(token::Command),
    /// The record of issued tokens, and what administrators decide about it
    #[command(subcommand)]
    Ledger(ledger::Command),
    /// Measure a server that vends nothing
    Bench(bench::Arguments),
    /// The audit chain
    #[command(subcommand)]
    Audit(audit::Command),
}

/// Parses the process's arguments, runs the command and answers its exit code.
pub fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Setup(arguments) => arguments.run(),
        Command::Serve(arguments) => arguments.run(),
        Command::ServerKey(arguments) => calling(arguments.run()),
        Command::PublicKey(command) => calling(command.run()),
        Command::Configuration(command) => command.run(),
        Command::Token(command) => calling(command.run()),
        Command::Ledger(command) => calling(command.run()),
        Command::Audit(command) => command.run(),
        Command::Bench(arguments) => arguments.run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// Runs a command that calls the server.
fn calling(call: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::text(format!("cannot start the runtime: {error}")))?
        .block_on(call)
}
