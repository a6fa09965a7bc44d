//! What is wrong with a table, by line.

use super::encoding::Encoding;

/// A fault with the line on which it stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct Fault {
    /// From 1, as editors count: the line on which the row, or the quote, begins.
    pub line: u64,
    /// What is wrong there.
    pub problem: Problem,
}

/// What can be wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Not a text at all: what it is.
    #[error("this is {0}, not CSV; save it as CSV (UTF-8)")]
    NotText(&'static str),
    /// Every second byte is zero and nothing says so.
    #[error("this looks like {0} without a byte order mark: say --encoding {0}")]
    NoByteOrderMark(Encoding),
    /// A byte that no UTF-8 has there, in a file without other UTF-8.
    #[error(
        "byte 0x{byte:02X} at place {place} is not UTF-8; this looks like Windows-1252 ({shown}): say --encoding windows-1252"
    )]
    Windows1252 {
        /// The byte.
        byte: u8,
        /// Its place on the line in bytes, from 1.
        place: usize,
        /// What it would be.
        shown: char,
    },
    /// The start of a character whose end is missing.
    #[error("byte 0x{byte:02X} at place {place} begins or ends a UTF-8 character that is cut or damaged")]
    CutCharacter {
        /// Its first byte.
        byte: u8,
        /// Its place on the line in bytes, from 1.
        place: usize,
    },
    /// Bytes that are not of the encoding that the file or an option names.
    #[error("some bytes are not {0}")]
    NotOfEncoding(Encoding),
    /// A byte of zero.
    #[error("a NUL byte at place {place}: the file is damaged")]
    Nul {
        /// Its place on the line in characters, from 1.
        place: usize,
    },
    /// Opened here, and the file ends.
    #[error("a quote opens here and does not close")]
    OpenQuote,
    /// Opened here, closed where a field goes on.
    #[error(
        "a quote opens here and closes on line {closes} in the middle of a field: one of the two is too many"
    )]
    TextBehindQuote {
        /// Where it closes.
        closes: u64,
    },
    /// A blank, then a quote.
    #[error("a blank stands between a separator and a quote: the quote would be part of the value")]
    BlankBeforeQuote,
    /// A row of another width than the header's.
    #[error("{found} fields where {wanted} are wanted; {cause}")]
    Width {
        /// Fields of the row.
        found: usize,
        /// Fields of the header, or what the command wants without one.
        wanted: usize,
        /// What may have happened.
        cause: &'static str,
    },
    /// The header again.
    #[error("the header once more: were files put together?")]
    HeaderAgain,
    /// Columns that are needed and not there.
    #[error("no column {missing}; the first line names {found}")]
    MissingColumns {
        /// Their names.
        missing: String,
        /// What was found instead.
        found: String,
    },
    /// A column that is there twice.
    #[error("the column {name} is there twice")]
    ColumnTwice {
        /// Its name.
        name: String,
    },
    /// A column that is nearly a known one.
    #[error("the column {found} is not known: is {meant} meant?")]
    ColumnNear {
        /// Its name.
        found: String,
        /// The one that it is near to.
        meant: &'static str,
    },
    /// A column that an output has.
    #[error("the column {0} says that this is the output of a batch: its lines were asked for already")]
    OutputColumn(&'static str),
    /// A value that cannot be taken.
    #[error("{column} {value}: {reason}")]
    Value {
        /// The name of its column.
        column: &'static str,
        /// The value in quotes, cut where it is long.
        value: String,
        /// Why, and what to do.
        reason: String,
    },
    /// A table without a row.
    #[error("there is no line to work on: {0}")]
    Nothing(&'static str),
}

impl Problem {
    /// A value that cannot be taken.
    pub fn value(column: &'static str, value: &str, reason: impl ToString) -> Self {
        const SHOWN: usize = 60;
        let mut shown: String = value.chars().take(SHOWN).collect();
        if shown.len() < value.len() {
            shown.push('…');
        }
        let value = if value.is_empty() { "(empty)".to_owned() } else { format!("{shown:?}") };
        Self::Value { column, value, reason: reason.to_string() }
    }
}
