//! CSV as input: how every command reads it, and how it says what is wrong with it.

use std::{fmt::Write as _, fs, path::Path};

use clap::Args;

use super::{exit::Exit, output::Failure};
use crate::table::{DecimalMark, Encoding, Fault, Format, Table};

/// The most faults that are listed.
const LISTED: usize = 10_000;

/// How a file is to be read where it does not show that itself.
#[derive(Args)]
pub(super) struct Reading {
    /// The file's encoding, such as windows-1252 or utf-16le; UTF-8, or what a byte order mark
    /// says, if not given
    #[arg(long, value_name = "NAME")]
    encoding: Option<Encoding>,
    /// What separates fields: comma, semicolon, tab or pipe; what the first line shows if not given
    #[arg(long, value_name = "NAME", value_parser = separator)]
    separator: Option<u8>,
}

/// How numbers are written where their file does not show that itself.
#[derive(Args)]
pub(super) struct Decimals {
    /// Numbers have a decimal comma: 12,5 or 1.234,5
    #[arg(long)]
    decimal_comma: bool,
    /// Numbers have a decimal point, also where fields are separated by semicolons: 1.234 is less
    /// than two
    #[arg(long, conflicts_with = "decimal_comma")]
    decimal_point: bool,
}

impl Decimals {
    /// The mark that is said.
    pub(super) fn said(&self) -> Option<DecimalMark> {
        match (self.decimal_comma, self.decimal_point) {
            (true, _) => Some(DecimalMark::Comma),
            (_, true) => Some(DecimalMark::Point),
            _ => None,
        }
    }
}

fn separator(text: &str) -> Result<u8, String> {
    match text {
        "comma" | "," => Ok(b','),
        "semicolon" | ";" => Ok(b';'),
        "tab" | "\t" | "\\t" => Ok(b'\t'),
        "pipe" | "|" => Ok(b'|'),
        _ => Err("expected comma, semicolon, tab or pipe".to_owned()),
    }
}

impl Reading {
    /// The encoding and the separator that are said.
    pub(super) fn said(&self) -> (Option<Encoding>, Option<u8>) {
        (self.encoding, self.separator)
    }

    /// Reads the whole file. What is wrong with it stays in the table, to be told with all else.
    pub(super) fn table(&self, file: &Path, names: &[&str]) -> Result<Table, Failure> {
        let bytes = fs::read(file).map_err(|error| Failure::file("input", file, &error))?;
        let format = Format { encoding: self.encoding, separator: self.separator };
        Ok(Table::new(bytes, format, names))
    }
}

/// All faults of a file by line; `undone` says what was not done because of them.
pub(super) fn refused(file: &Path, mut faults: Vec<Fault>, undone: &str) -> Failure {
    faults.sort_by_key(|fault| fault.line);
    let count = match faults.len() {
        1 => "1 fault".to_owned(),
        count => format!("{count} faults"),
    };
    let mut text = format!("{}: {count}; {undone}", file.display());
    for fault in faults.iter().take(LISTED) {
        let _ = write!(text, "\n  {fault}");
    }
    if faults.len() > LISTED {
        let _ = write!(text, "\n  and {} more", faults.len() - LISTED);
    }
    Failure::exit(Exit::Data, text)
}

/// How many empty rows were passed over, for people; nothing if none were.
pub(super) fn passed_over(empty: u64) -> String {
    match empty {
        0 => String::new(),
        1 => "; 1 empty row passed over".to_owned(),
        _ => format!("; {empty} empty rows passed over"),
    }
}
