//! `vendkey audit`.

use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};

use super::{
    connection::Connection,
    output::{self, Failure},
    token_batch::progress,
    whole_file::{self, WholeFile},
};
use crate::{
    api::v1::{
        GetCheckpointRequest, GetLedgerStateRequest, ListEventsRequest,
        audit_service_client::AuditServiceClient, ledger_service_client::LedgerServiceClient,
    },
    audit::{Line, Outcome, SignedCheckpoint, Verification},
    envelope::PublicKey,
};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Write the chain of records, its last checkpoint and the key that signed it
    Export(Export),
    /// Verify an export, without the server
    Verify(Verify),
}

#[derive(Args)]
#[command(
    after_help = "Example: vendkey audit export chain.jsonl --checkpoint checkpoint.txt --audit-key audit.pem"
)]
pub(super) struct Export {
    /// Where the records go, one JSON object a line
    file: PathBuf,
    /// Where the last checkpoint goes
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Where the audit key (PEM) goes
    #[arg(long, value_name = "FILE")]
    audit_key: Option<PathBuf>,
    /// With the meters of tokens. Without, the export verifies all the same
    #[arg(long)]
    meters: bool,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Args)]
#[command(
    after_help = "Example: vendkey audit verify chain.jsonl --checkpoint checkpoint.txt --audit-key audit.pem

Says where the chain was cut, changed, reordered or truncated; exit code 1 then. Without a checkpoint a truncation, or a chain written
anew from some place on, cannot be noticed. Compare the audit key's fingerprint with the one that `vendkey setup` showed, and keep
checkpoints where whoever could change the database cannot."
)]
pub(super) struct Verify {
    /// What `vendkey audit export` wrote
    file: PathBuf,
    /// A checkpoint of then or earlier
    #[arg(long, value_name = "FILE", requires = "audit_key")]
    checkpoint: Option<PathBuf>,
    /// The audit key (PEM)
    #[arg(long, value_name = "FILE", requires = "checkpoint")]
    audit_key: Option<PathBuf>,
}

impl Command {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Export(export) => super::calling(export.run()),
            Self::Verify(verify) => verify.run(),
        }
    }
}

impl Export {
    async fn run(self) -> Result<(), Failure> {
        let refused = Failure::refused(self.connection.json);
        let channel = self.connection.open().await?;
        let mut client = AuditServiceClient::new(channel.clone());
        let state = LedgerServiceClient::new(channel).get_ledger_state(GetLedgerStateRequest {}).await;
        let state = state.map_err(&refused)?.into_inner();
        // Before the records: what it names is among them.
        let checkpoint = client.get_checkpoint(GetCheckpointRequest {}).await.map_err(&refused)?.into_inner();
        if let Some(file) = self.checkpoint.as_deref().filter(|_| checkpoint.text.is_empty()) {
            let text = "there is no checkpoint yet; try again in some seconds";
            return Err(Failure::text(format!("--checkpoint {}: {text}", file.display())));
        }

        let failure = |error: io::Error| Failure::created("file", &self.file, &error);
        let mut out = WholeFile::begin(&self.file, 0o666).map_err(failure)?;
        let bar = progress(state.records.max(state.position), "records");
        let (mut request, mut count) =
            (ListEventsRequest { page_size: 1_000, meters: self.meters, ..Default::default() }, 0_u64);
        loop {
            let page = client.list_events(request.clone()).await.map_err(&refused)?.into_inner();
            for event in &page.events {
                writeln!(out, "{}", event.record).map_err(failure)?;
                // A server of an older version knows no page tokens.
                request.after_position = event.position;
            }
            request.page_token = page.next_page_token;
            count += page.events.len() as u64;
            bar.set_position(count);
            if !page.more {
                break;
            }
        }
        // In this order, since an earlier checkpoint fits later records, and not the other way.
        out.finish().map_err(failure)?;
        put(self.checkpoint.as_deref(), "--checkpoint", &checkpoint.text)?;
        put(self.audit_key.as_deref(), "--audit-key", &checkpoint.audit_key_pem)?;
        bar.finish();
        output::print_text(format!("{count} records; audit key {}", checkpoint.audit_key_fingerprint))?;
        Ok(())
    }
}

fn put(file: Option<&Path>, option: &str, text: &str) -> Result<(), Failure> {
    let Some(file) = file else { return Ok(()) };
    whole_file::put(file, 0o666, text).map_err(|error| Failure::created(option, file, &error))
}

impl Verify {
    fn run(self) -> Result<(), Failure> {
        let checkpoint = match (&self.checkpoint, &self.audit_key) {
            (Some(checkpoint), Some(key)) => Some(signed(checkpoint, key)?),
            _ => None,
        };
        let outcome = self.verified(checkpoint.map(|signed| signed.checkpoint))?;
        for (chain, last) in &outcome.chains {
            output::print_text(format!("chain {chain}: records up to {last}"))?;
        }
        for (chain, from, to) in &outcome.lost {
            output::print_text(format!(
                "chain {chain}: records {from} to {to} were lost with a restored database, as an administrator accepted"
            ))?;
        }
        if self.checkpoint.is_none() {
            output::print_text("without a checkpoint a truncation cannot be noticed")?;
        }
        if outcome.is_sound() {
            output::print_text(format!("{} records, nothing is wrong", outcome.records))?;
            return Ok(());
        }
        let mut text = format!("{} of {} records or their order are wrong", outcome.count, outcome.records);
        for (chain, fault) in &outcome.faults {
            text.push_str(&format!("\n  chain {chain}: {fault}"));
        }
        Err(Failure::text(text))
    }

    fn verified(&self, checkpoint: Option<crate::audit::Checkpoint>) -> Result<Outcome, Failure> {
        let failure = |error: io::Error| Failure::file("file", &self.file, &error);
        let file = File::open(&self.file).map_err(failure)?;
        let bytes = file.metadata().map_err(failure)?.len();
        let template = "{bar:30} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::new(bytes).with_style(style);
        let mut verification = Verification::new(checkpoint);
        for (index, line) in BufReader::new(bar.wrap_read(file)).lines().enumerate() {
            let line = line.map_err(failure)?;
            let record = Line::from_json(&line).map_err(|error| {
                Failure::text(format!("{}: line {}: {error}", self.file.display(), index + 1))
            })?;
            verification.feed(&record);
        }
        bar.finish_and_clear();
        Ok(verification.finish())
    }
}

fn signed(checkpoint: &Path, key: &Path) -> Result<SignedCheckpoint, Failure> {
    let text =
        fs::read_to_string(checkpoint).map_err(|error| Failure::file("--checkpoint", checkpoint, &error))?;
    let key_bytes = fs::read(key).map_err(|error| Failure::file("--audit-key", key, &error))?;
    let public = PublicKey::parse(&key_bytes).map_err(|error| Failure::data("--audit-key", key, error))?;
    let signed = SignedCheckpoint::parse(&text)
        .and_then(|signed| signed.verify(public.spki_der()).map(|()| signed))
        .map_err(|error| Failure::text(format!("--checkpoint {}: {error}", checkpoint.display())))?;
    output::print_text(format!(
        "checkpoint {} is signed by the audit key {}",
        signed.checkpoint.number,
        public.fingerprint()
    ))?;
    Ok(signed)
}
