//! Rows that any reader takes apart into the same columns, and no spreadsheet runs.

use std::{borrow::Cow, io::Write};

use csv::{QuoteStyle, Terminator, Writer, WriterBuilder};

use super::number::{DecimalMark, decimal};

/// A writer of rows that end in LF, with quotes where a field needs them.
pub fn writer<W: Write>(to: W, separator: u8) -> Writer<W> {
    WriterBuilder::new()
        .delimiter(separator)
        .quote_style(QuoteStyle::Necessary)
        .terminator(Terminator::Any(b'\n'))
        .from_writer(to)
}

/// A text that a spreadsheet does not take for a formula: one that begins with `=`, `+`, `-`, `@`,
/// a tab or a line end gets an apostrophe in front. Numbers stay, negative ones too.
pub fn defused(text: &str) -> Cow<'_, str> {
    let is_number =
        || [DecimalMark::Point, DecimalMark::Comma].iter().any(|mark| decimal(text, *mark).is_ok());
    // Spreadsheets look behind blanks, and take the full-width signs for the others.
    let first = text.trim_start_matches([' ', '\u{a0}', '\u{feff}']).chars().next();
    let runs = matches!(first, Some('=' | '+' | '-' | '@' | '\t' | '\r' | '\n' | '＝' | '＋' | '－' | '＠'));
    if runs && !is_number() { Cow::Owned(format!("'{text}")) } else { Cow::Borrowed(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_defused_and_numbers_are_not() {
        for text in
            ["=1+1", "+27 11", "-cmd|' /C calc'!A0", "@SUM(A1)", "\tx", "\rx", " =1", "-", "＝1", "-1-1"]
        {
            assert_eq!(defused(text), format!("'{text}"), "{text:?}");
        }
        for text in ["-5", "-5.25", "-5,25", "12", "a=b", "", "two\n=lines"] {
            assert_eq!(defused(text), text, "{text:?}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let rows = [["a;b", "c,d", "e\"f", "two\r\nlines", " g\t", ""]];
        for separator in super::super::SEPARATORS {
            let mut bytes = Vec::new();
            let mut to = writer(&mut bytes, separator);
            for row in rows {
                to.write_record(row).unwrap();
            }
            to.flush().unwrap();
            drop(to);
            let read: Vec<_> = super::super::rows::reader(bytes.as_slice(), separator)
                .into_records()
                .map(Result::unwrap)
                .collect();
            assert_eq!(read, rows.map(|row| row.to_vec()));
            assert_eq!(bytes.last(), Some(&b'\n'));
        }
    }
}
