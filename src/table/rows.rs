//! The rows of a table with the lines on which they begin.

use std::ops::Range;

use csv::{Reader, ReaderBuilder, StringRecord};

use super::{SEPARATORS, fault::Problem, trimmed};

/// A row that is not empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The line on which it begins, from 1.
    pub line: u64,
    /// Its fields as they stand, without their quotes.
    pub cells: StringRecord,
}

impl Row {
    /// The field of a column without the blanks around it; empty if there is none.
    pub fn cell(&self, column: usize) -> &str {
        trimmed(self.cells.get(column).unwrap_or_default())
    }

    /// What is wrong with the row as one under this header.
    ///
    /// # Errors
    /// [`Problem::Width`] or [`Problem::HeaderAgain`].
    pub fn fits(&self, header: &Row) -> Result<(), Problem> {
        let (found, wanted) = (self.cells.len(), header.cells.len());
        if found != wanted {
            let has_other = |mark: char| self.cells.iter().any(|cell| cell.contains(mark));
            let cause = if found == 1 && wanted > 1 && SEPARATORS.into_iter().map(char::from).any(has_other) {
                "its fields are separated otherwise than the header's"
            } else if found < wanted {
                "a field is missing"
            } else if self.cells.iter().skip(wanted).all(|cell| trimmed(cell).is_empty()) {
                "separators too many at its end"
            } else {
                "a value that holds the separator (12,5 or a text) must stand in quotes"
            };
            return Err(Problem::Width { found, wanted, cause });
        }
        let is_header =
            self.cells.iter().zip(&header.cells).all(|(cell, name)| trimmed(cell) == trimmed(name));
        if is_header { Err(Problem::HeaderAgain) } else { Ok(()) }
    }
}

/// Goes over the rows; counts those that are empty.
pub struct Rows<'a> {
    text: &'a str,
    separator: u8,
    stretches: std::slice::Iter<'a, (Range<usize>, u64)>,
    open: Option<Stretch<'a>>,
    empty: u64,
}

/// The stretch that is read.
struct Stretch<'a> {
    reader: Reader<&'a [u8]>,
    start: usize,
    end: usize,
    /// How far lines are counted, and the line there.
    at: usize,
    line: u64,
}

impl<'a> Rows<'a> {
    pub(super) fn new(text: &'a str, separator: u8, stretches: &'a [(Range<usize>, u64)]) -> Self {
        Self { text, separator, stretches: stretches.iter(), open: None, empty: 0 }
    }

    /// How many rows without any value were passed over so far.
    pub fn empty(&self) -> u64 {
        self.empty
    }
}

impl Iterator for Rows<'_> {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        loop {
            let stretch = match &mut self.open {
                Some(stretch) => stretch,
                None => {
                    let (range, line) = self.stretches.next()?;
                    let reader = reader(&self.text.as_bytes()[range.clone()], self.separator);
                    self.open.insert(Stretch {
                        reader,
                        start: range.start,
                        end: range.end,
                        at: range.start,
                        line: *line,
                    })
                }
            };
            let bytes = self.text.as_bytes();
            // The crate passes over empty lines: they are counted here.
            let ends = bytes[stretch.at..stretch.end].iter().take_while(|byte| matches!(byte, b'\r' | b'\n'));
            let begins = stretch.at + ends.count();
            let skipped = line_ends(bytes, stretch.at, begins);
            self.empty += skipped;
            (stretch.at, stretch.line) = (begins, stretch.line + skipped);
            let mut cells = StringRecord::new();
            // The text is UTF-8 and rows may have any width: nothing else can be wrong with it.
            if !stretch.reader.read_record(&mut cells).unwrap_or(false) {
                self.open = None;
                continue;
            }
            let line = stretch.line;
            let read = usize::try_from(stretch.reader.position().byte()).unwrap_or(usize::MAX);
            let behind = stretch.start.saturating_add(read).clamp(begins, stretch.end);
            stretch.line += line_ends(bytes, begins, behind);
            stretch.at = behind;
            // Whatever separators it was emptied with.
            if cells.iter().all(|cell| trimmed(cell).bytes().all(|byte| SEPARATORS.contains(&byte))) {
                self.empty += 1;
                continue;
            }
            return Some(Row { line, cells });
        }
    }
}

/// A reader of rows of any width, the header among them.
pub(super) fn reader<R: std::io::Read>(from: R, separator: u8) -> Reader<R> {
    ReaderBuilder::new().has_headers(false).flexible(true).delimiter(separator).from_reader(from)
}

/// How many line ends (LF, CR or CR LF) begin in a part of the text.
pub(super) fn line_ends(text: &[u8], from: usize, to: usize) -> u64 {
    let mut last = from.checked_sub(1).and_then(|before| text.get(before)).copied();
    let mut ends = 0;
    for byte in &text[from..to] {
        ends += u64::from(*byte == b'\r' || (*byte == b'\n' && last != Some(b'\r')));
        last = Some(*byte);
    }
    ends
}

/// Where the line behind the one of `at` begins.
pub(super) fn after_line(text: &str, at: usize) -> usize {
    let Some(end) = text[at..].find(['\r', '\n']) else { return text.len() };
    let end = at + end;
    if text[end..].starts_with("\r\n") { end + 2 } else { end + 1 }
}
