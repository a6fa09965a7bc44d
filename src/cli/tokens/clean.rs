//! `vendkey tokens clean`.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use clap::Args;
use serde_json::json;

use super::{
    known::{Ledger, look_up},
    read::{self, Files},
    row::{COLUMNS, row},
    workbook,
};
use crate::{
    cli::{
        connection::Connection,
        output::{Failure, print_text},
        stdout,
        whole_file::WholeFile,
    },
    table::{self, defused},
    token_log::{Entry, Log},
};

#[derive(Args)]
#[command(
    after_help = "Example: vendkey tokens clean sms-export.txt gateway.csv --out tokens.csv --xlsx tokens.xlsx

Reads short messages and tables in English, French, Portuguese, Spanish and Swahili: meter, token in
any grouping, units, amount and time. What a date or a number means is settled by the others of its
file; what stays open is left out and marked, never guessed. Every line that was not understood is
told on standard error, and the exit code is 2 then. docs/token-files.md tells all of it.

With --with-ledger the server is asked for the tokens of each meter that your credential issued, and
those that it has are marked in_ledger, the others not_in_ledger."
)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    files: Files,
    /// Where the clean CSV goes; standard output if neither this nor --xlsx is given
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write a workbook too
    #[arg(long, value_name = "FILE")]
    xlsx: Option<PathBuf>,
    /// Mark the tokens that the server's ledger has
    #[arg(long)]
    with_ledger: bool,
    #[command(flatten)]
    ledger: Ledger,
    #[command(flatten)]
    connection: Connection,
}

impl Arguments {
    pub(in crate::cli) async fn run(self) -> Result<(), Failure> {
        let mut log = self.files.read()?;
        if self.with_ledger {
            look_up(&mut log, &self.ledger, &self.connection).await?;
        }
        if let Some(file) = &self.out {
            let failure = |error: io::Error| Failure::created("--out", file, &error);
            let out = WholeFile::begin(file, 0o666).map_err(failure)?;
            written(&log, out).and_then(WholeFile::finish).map_err(failure)?;
        }
        if let Some(file) = &self.xlsx {
            let failure = |error: io::Error| Failure::created("--xlsx", file, &error);
            let mut out = WholeFile::begin(file, 0o666).map_err(failure)?;
            out.write_all(&workbook::of(&log).map_err(failure)?).map_err(failure)?;
            out.finish().map_err(failure)?;
        }
        let to_stdout = self.out.is_none() && self.xlsx.is_none();
        if self.connection.json {
            if to_stdout {
                let lines: Vec<String> =
                    log.entries.iter().map(|entry| as_json(&log, entry).to_string()).collect();
                print_text(lines.join("\n"))?;
            } else {
                print_text(format!("{:#}", told(&log)))?;
            }
        } else {
            if to_stdout {
                written(&log, io::stdout().lock()).map(drop).map_err(Failure::not_shown)?;
            }
            read::tell(&log);
            stdout::note(read::summary(&log));
        }
        read::ended(&log)
    }
}

/// Writes the table.
fn written<W: Write>(log: &Log, out: W) -> io::Result<W> {
    let mut out = table::writer(out, b',');
    out.write_record(COLUMNS)?;
    for entry in &log.entries {
        out.write_record(row(log, entry).map(|field| defused(&field).into_owned()))?;
    }
    out.into_inner().map_err(|error| error.error().kind().into())
}

fn as_json(log: &Log, entry: &Entry) -> serde_json::Value {
    let cells = row(log, entry);
    let mut object: serde_json::Map<String, serde_json::Value> = COLUMNS
        .iter()
        .zip(cells)
        .filter(|(_, cell)| !cell.is_empty())
        .map(|(name, cell)| ((*name).to_owned(), json!(cell)))
        .collect();
    object.insert("line".to_owned(), json!(entry.line));
    let marks: Vec<&str> = entry.marks.iter().map(|mark| mark.name()).collect();
    object.insert("marks".to_owned(), json!(marks));
    object.insert("notes".to_owned(), json!(entry.notes));
    object.into()
}

/// What is told, for scripts.
fn told(log: &Log) -> serde_json::Value {
    let files: Vec<serde_json::Value> = log
        .files
        .iter()
        .map(|file| {
            let lines: Vec<serde_json::Value> =
                file.not_understood.iter().map(|one| json!({"line": one.line, "why": one.why})).collect();
            json!({
                "name": file.name,
                "tokens": file.tokens,
                "linesWithoutValues": file.prose,
                "decisions": file.decisions,
                "notUnderstood": lines,
            })
        })
        .collect();
    let marks: serde_json::Map<String, serde_json::Value> =
        read::marks(log).into_iter().map(|(name, count)| (name.to_owned(), json!(count))).collect();
    json!({"tokens": log.entries.len(), "marks": marks, "files": files})
}
