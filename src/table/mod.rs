//! Tables as people keep them: CSV from spreadsheets and scripts, read whole and checked, and
//! written so that any reader gets the same columns back.
//!
//! The splitting is the `csv` crate's and the decoding `encoding_rs`'s. What they pass over
//! silently is looked for here: bytes that are no text, quotes that do not close, rows that do not
//! have the header's width.

mod decoding;
mod encoding;
mod fault;
mod header;
mod number;
mod quotes;
mod rows;
mod writer;

pub use encoding::Encoding;
pub use fault::{Fault, Problem};
pub use header::{Column, Columns, Presence};
pub use number::{DecimalMark, NumberError, decimal, digits, whole};
pub use rows::{Row, Rows};
pub use writer::{defused, writer};

use std::ops::Range;

/// What separates the fields of a row, in the order in which they are tried.
pub const SEPARATORS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// How a table is to be read, where it does not say so itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Format {
    /// UTF-8 if none is given. A byte order mark is believed more.
    pub encoding: Option<Encoding>,
    /// What the first line shows if none is given.
    pub separator: Option<u8>,
}

/// A table in memory, decoded.
#[derive(Debug)]
pub struct Table {
    text: String,
    separator: u8,
    /// Where the quotes are whole, with the number of the first line of each stretch.
    sound: Vec<(Range<usize>, u64)>,
    faults: Vec<Fault>,
}

impl Table {
    /// Decodes a file. `names` are the columns that are looked for: the separator is the one under
    /// which the first line holds the most of them.
    pub fn new(bytes: Vec<u8>, format: Format, names: &[&str]) -> Self {
        let (text, mut faults) = decoding::decode(bytes, format.encoding);
        let (mut start, mut line) = (0, 1);
        let mut said = None;
        // Excel's own way to name the separator: a first line such as `sep=;`.
        let first = first_line(&text, 0);
        if let Some(separator) = first.1.trim().to_ascii_lowercase().strip_prefix("sep=")
            && let [separator] = *separator.as_bytes()
        {
            said = Some(separator);
            start = rows::after_line(&text, first.0 + first.1.len());
            line = 1 + rows::line_ends(text.as_bytes(), 0, start);
        }
        let separator =
            format.separator.or(said).unwrap_or_else(|| separator(first_line(&text, start).1, names));
        let (sound, broken) = quotes::stretches(&text, start, line, separator);
        faults.extend(broken);
        Self { text, separator, sound, faults }
    }

    /// What separates the fields.
    pub fn separator(&self) -> u8 {
        self.separator
    }

    /// The whole text, for what is no table.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What is wrong with bytes and quotes. The rows are readable nevertheless, but for those that
    /// these faults name.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// The rows that are not empty, the header among them.
    pub fn rows(&self) -> Rows<'_> {
        Rows::new(&self.text, self.separator, &self.sound)
    }
}

/// The first line at or behind `from` that is not blank, and where it starts.
fn first_line(text: &str, from: usize) -> (usize, &str) {
    let rest = &text[from..];
    let start = from + (rest.len() - rest.trim_start_matches(['\r', '\n', ' ']).len());
    let end = text[start..].find(['\r', '\n']).map_or(text.len(), |end| start + end);
    (start, &text[start..end])
}

/// The separator under which a line holds the most of the names, or else the most fields.
fn separator(line: &str, names: &[&str]) -> u8 {
    let score = |separator: u8| {
        let mut reader = rows::reader(line.as_bytes(), separator);
        let mut fields = csv::StringRecord::new();
        let _ = reader.read_record(&mut fields);
        let known = fields.iter().filter(|field| names.contains(&header::normal(field).as_str())).count();
        (known, fields.len())
    };
    let mut best = (SEPARATORS[0], score(SEPARATORS[0]));
    for separator in SEPARATORS.into_iter().skip(1) {
        let score = score(separator);
        if score > best.1 {
            best = (separator, score);
        }
    }
    best.0
}

/// A value without the blanks around it, those that are not seen included.
pub fn trimmed(text: &str) -> &str {
    text.trim_matches(|c: char| {
        c.is_whitespace()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    })
}

#[cfg(test)]
mod tests;
