//! The report for spreadsheets: RFC 4180, a header, a line a vector.

use super::{Report, line, path_name, verdict_name};

/// The lines, CRLF between them.
pub(super) fn render(report: &Report) -> String {
    let mut out = String::from("file,id,group,source,keys,verdict,expected,actual,reason\r\n");
    for checked in &report.checked {
        let cells = [
            &checked.file,
            &checked.id,
            &checked.group,
            &checked.source,
            path_name(checked.outcome.path),
            verdict_name(&checked.outcome.verdict),
            &line(&checked.expected),
            &line(&checked.outcome.actual),
            checked.reason().unwrap_or_default(),
        ];
        out.push_str(&cells.map(cell).join(","));
        out.push_str("\r\n");
    }
    out
}

/// Always in quotes: nothing in it is read as a number or loses its zeros. A text that a spreadsheet would run as a
/// formula gets an apostrophe in front.
fn cell(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    format!("\"{}{}\"", if formula { "'" } else { "" }, text.replace('"', "\"\""))
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
        assert_eq!(cell("=1+1"), "\"'=1+1\"");
    }
}
