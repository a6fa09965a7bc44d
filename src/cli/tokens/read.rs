//! How files are read, and what is told of them.

use std::{fmt::Write as _, fs, path::PathBuf};

use clap::Args;
use indicatif::ProgressBar;

use crate::{
    cli::{
        csv::{Decimals, Reading},
        exit::Exit,
        output::Failure,
        stdout, token_batch,
    },
    token_log::{DateOrder, File, Log, Profile},
};

/// The most lines that are listed.
const LISTED: usize = 10_000;

/// The files, and what a person says of them.
#[derive(Args)]
pub(super) struct Files {
    /// Messages as text, or tables as CSV
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// What the files do not say themselves, as TOML; see docs/token-files.md
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// The order of dates that do not show it: dmy, mdy or ymd
    #[arg(long, value_name = "ORDER", value_parser = date_order)]
    date_order: Option<DateOrder>,
    #[command(flatten)]
    decimals: Decimals,
    #[command(flatten)]
    reading: Reading,
}

fn date_order(text: &str) -> Result<DateOrder, String> {
    match text {
        "dmy" => Ok(DateOrder::Dmy),
        "mdy" => Ok(DateOrder::Mdy),
        "ymd" => Ok(DateOrder::Ymd),
        _ => Err("expected dmy, mdy or ymd".to_owned()),
    }
}

impl Files {
    fn said(&self) -> Result<Profile, Failure> {
        let mut profile = match &self.profile {
            None => Profile::default(),
            Some(file) => {
                let text =
                    fs::read_to_string(file).map_err(|error| Failure::file("--profile", file, &error))?;
                Profile::parse(&text).map_err(|error| Failure::data("--profile", file, error))?
            }
        };
        let (encoding, separator) = self.reading.said();
        profile.encoding = encoding.or(profile.encoding);
        profile.separator = separator.or(profile.separator);
        profile.date_order = self.date_order.or(profile.date_order);
        profile.decimal_mark = self.decimals.said().or(profile.decimal_mark);
        Ok(profile)
    }

    /// Reads all files and marks what is strange.
    pub(super) fn read(&self) -> Result<Log, Failure> {
        let profile = self.said()?;
        let mut contents = Vec::new();
        for file in &self.files {
            contents.push(fs::read(file).map_err(|error| Failure::file("FILE", file, &error))?);
        }
        let lines = contents.iter().map(|bytes| bytes.iter().filter(|byte| **byte == b'\n').count() as u64);
        let bar: ProgressBar = token_batch::progress(lines.sum(), "lines");
        let mut log = Log::default();
        for (file, bytes) in self.files.iter().zip(contents) {
            log.read(&file.display().to_string(), bytes, &profile, || bar.inc(1));
        }
        bar.finish_and_clear();
        log.mark();
        Ok(log)
    }
}

/// Tells on standard error how each file was read, and what was not understood.
pub(super) fn tell(log: &Log) {
    for File { name, not_understood, decisions, .. } in &log.files {
        let mut text = String::new();
        for decision in decisions {
            let _ = writeln!(text, "{name}: {decision}");
        }
        for one in not_understood.iter().take(LISTED) {
            let _ = writeln!(text, "{name}: line {}: {}", one.line, one.why);
        }
        if let Some(more) = not_understood.len().checked_sub(LISTED).filter(|more| *more > 0) {
            let _ = writeln!(text, "{name}: and {more} more");
        }
        if !text.is_empty() {
            stdout::note(text.trim_end());
        }
    }
}

/// Tokens, lines that were not understood, greetings: of all files, for people.
pub(super) fn summary(log: &Log) -> String {
    let not_understood: usize = log.files.iter().map(|file| file.not_understood.len()).sum();
    let prose: u64 = log.files.iter().map(|file| file.prose).sum();
    let mut text = format!(
        "{} tokens in {}, {not_understood} lines not understood",
        log.entries.len(),
        match log.files.len() {
            1 => "1 file".to_owned(),
            count => format!("{count} files"),
        }
    );
    if prose > 0 {
        let _ = write!(text, ", {prose} lines without any value passed over");
    }
    for (mark, count) in marks(log) {
        let _ = write!(text, "\n  {count} {mark}");
    }
    text
}

/// How many lines have each mark; those that none has are left out.
pub(super) fn marks(log: &Log) -> Vec<(&'static str, usize)> {
    let count = |mark| log.entries.iter().filter(|entry| entry.marks.contains(&mark)).count();
    crate::token_log::Mark::ALL
        .into_iter()
        .map(|mark| (mark.name(), count(mark)))
        .filter(|(_, count)| *count > 0)
        .collect()
}

/// The end of a command that may have left lines out.
pub(super) fn ended(log: &Log) -> Result<(), Failure> {
    let nothing = log.entries.is_empty();
    let not_understood: usize = log.files.iter().map(|file| file.not_understood.len()).sum();
    if nothing {
        let text = "no token was found: is it a file of tokens? A profile names words and columns of other layouts (docs/token-files.md)";
        return Err(Failure::exit(Exit::Data, text));
    }
    if not_understood > 0 {
        let text = format!("{not_understood} lines were not understood: they stand above and in no table");
        return Err(Failure::exit(Exit::Partly, text));
    }
    Ok(())
}
