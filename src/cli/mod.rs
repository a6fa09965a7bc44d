//! The command line: the server, its set-up, and the administrator's and the vending platform's
//! calls.

mod approval;
mod audit;
mod backup;
mod bench;
mod capabilities;
mod client;
mod configuration;
mod configuration_shown;
mod conformance;
mod connection;
mod credential;
mod csv;
mod destruction;
mod encrypting;
mod exit;
mod hsm;
mod hsm_tokens;
mod interruption;
mod inventory;
mod key_change;
mod ledger;
mod ledger_seed;
mod meter;
mod meter_cell;
mod output;
mod public_key;
mod report;
mod rights;
mod rotate;
mod seal;
mod secret_file;
mod selftest;
mod serve;
mod server;
mod server_key;
mod setup;
mod stdout;
mod store;
mod token;
mod token_batch;
mod tokens;
mod unfinished;
mod whole_file;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use exit::Exit;
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
    /// Create the server's keys in the HSM, the database and the first administrators; safe to run
    /// again
    Setup(setup::Arguments),
    /// Run the server
    Serve(serve::Arguments),
    /// The servers that share a database
    #[command(subcommand)]
    Server(server::Command),
    /// Show the public keys to which uploads are encrypted
    ServerKey(server_key::Arguments),
    /// The keys with which administrators sign uploads
    #[command(subcommand)]
    PublicKey(public_key::Command),
    /// STS configurations and their vending keys
    #[command(subcommand)]
    Configuration(configuration::Command),
    /// Carrying meters from one key to another
    #[command(subcommand)]
    KeyChange(key_change::Command),
    /// Who may call: tills, administrators, their rights and limits
    #[command(subcommand)]
    Client(client::Command),
    /// What proves who calls: secrets and certificates of clients
    #[command(subcommand)]
    Credential(credential::Command),
    /// Show what the server can do, and why not what it cannot
    Capabilities(capabilities::Arguments),
    /// Tokens for meters
    #[command(subcommand)]
    Token(token::Command),
    /// Files and logs of tokens that other systems wrote: clean tables and charts of them
    #[command(subcommand)]
    Tokens(tokens::Command),
    /// The record of issued tokens, and what administrators decide about it
    #[command(subcommand)]
    Ledger(ledger::Command),
    /// What was vended in a month: sums and charts from the ledger
    Report(Box<report::Arguments>),
    /// Acts that wait until more than one person has approved them
    #[command(subcommand)]
    Approval(approval::Command),
    /// Measure a server that vends nothing
    Bench(bench::Arguments),
    /// The audit chain
    #[command(subcommand)]
    Audit(audit::Command),
    /// Prove the standard on your own HSM with published vectors; needs no server
    Conformance(conformance::Arguments),
    /// A meter in software: type tokens into it; for test keys
    #[command(subcommand)]
    Meter(meter::Command),
    /// Exchange one of the server's own keys in the HSM; the server must be stopped
    #[command(subcommand)]
    Rotate(rotate::Command),
    /// The database of the ledger
    #[command(subcommand)]
    Store(store::Command),
    /// Copy the database and its checkpoint, beside the running server
    Backup(backup::Arguments),
    /// The HSM, its PKCS#11 module, its tokens and the keys on them
    #[command(subcommand)]
    Hsm(hsm::Command),
    /// Compare what the HSM holds with what the database knows
    Inventory(inventory::Arguments),
    /// Run the known-answer tests that the server runs before it serves
    Selftest(selftest::Arguments),
}

/// Parses the process's arguments, runs the command and answers its exit code.
pub fn main() -> ExitCode {
    // Every command may hold a PIN, a credential or a key.
    if let Err(error) = crate::secret::harden_process() {
        let text = format!("the process cannot be protected from core dumps: {error}");
        return Failure::exit(Exit::System, text).report();
    }
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // What was asked for (--help, --version) goes to standard output, all else to standard
            // error.
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::NotShown };
            return match error.print() {
                Ok(()) if !error.use_stderr() => ExitCode::SUCCESS,
                _ => exit.into(),
            };
        }
    };
    let result = match arguments.command {
        Command::Setup(arguments) => arguments.run(),
        Command::Serve(arguments) => arguments.run(),
        Command::Server(command) => calling(command.run()),
        Command::ServerKey(arguments) => calling(arguments.run()),
        Command::PublicKey(command) => calling(command.run()),
        Command::Configuration(command) => command.run(),
        Command::KeyChange(command) => calling(command.run()),
        Command::Client(command) => calling(command.run()),
        Command::Credential(command) => command.run(),
        Command::Capabilities(arguments) => calling(arguments.run()),
        Command::Token(command) => calling(command.run()),
        Command::Tokens(command) => calling(command.run()),
        Command::Ledger(command) => calling(command.run()),
        Command::Report(arguments) => calling(arguments.run()),
        Command::Approval(command) => calling(command.run()),
        Command::Audit(command) => command.run(),
        Command::Bench(arguments) => arguments.run(),
        Command::Conformance(arguments) => arguments.run(),
        Command::Meter(command) => command.run(),
        Command::Rotate(command) => command.run(),
        Command::Store(command) => command.run(),
        Command::Backup(arguments) => arguments.run(),
        Command::Hsm(command) => command.run(),
        Command::Inventory(arguments) => arguments.run(),
        Command::Selftest(arguments) => arguments.run(),
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
        .map_err(Failure::runtime)?
        .block_on(call)
}
