//! The report for spreadsheets: RFC 4180, a header, a line a vector.

use super::{Report, line, path_name, verdict_name};
use crate::table::defused;

/// The lines, each with CRLF. Every cell is in quotes: nothing in it is read as a number or loses
/// its zeros. A text that a spreadsheet would run as a formula gets an apostrophe in front.
pub(super) fn render(report: &Report) -> String {
    let mut out = csv::WriterBuilder::new()
        .quote_style(csv::QuoteStyle::Always)
        .terminator(csv::Terminator::CRLF)
        .from_writer(Vec::new());
    // Writing to memory does not fail.
    let header = ["file", "id", "group", "source", "keys", "verdict", "expected", "actual", "reason"];
    let _ = out.write_record(header);
    for checked in &report.checked {
        let cells = [
            checked.file.as_str(),
            &checked.id,
            &checked.group,
            &checked.source,
            path_name(checked.outcome.path),
            verdict_name(&checked.outcome.verdict),
            &line(&checked.expected),
            &line(&checked.outcome.actual),
            checked.reason().unwrap_or_default(),
        ];
        let _ = out.write_record(cells.map(|cell| defused(cell).into_owned()));
    }
    String::from_utf8(out.into_inner().unwrap_or_default()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::tests::report;
    use super::*;

    #[test]
    fn a_line_a_vector_with_quotes_doubled() {
        let lines: Vec<String> = render(&report()).lines().map(str::to_owned).collect();
        assert_eq!(lines.len(), 4);
        assert_eq!(
            lines[1],
            "\"f.json\",\"good\",\"luhn\",\"a \"\"quoted\"\", <b>source</b>\",\"no key\",\"passed\",\
             \"check_digit 3\",\"check_digit 3\",\"\""
        );
        assert!(lines[0].starts_with("\"file\",\"id\","), "{}", lines[0]);
    }
}
