//! Where quotes are whole. The `csv` crate takes the rest of the file for a field whose quote does
//! not close.

use std::ops::Range;

use super::{
    fault::{Fault, Problem},
    rows::after_line,
};

/// Where a byte stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    FieldStart,
    /// Nothing but blanks so far.
    Blanks,
    Bare,
    Quoted,
    /// Behind a quote in a quoted field: another one makes a quote of both.
    Closed,
    /// Behind a closed field and a blank.
    BlankBehind,
}

/// The stretches without broken quotes from `start` on, which is on `line`, and a fault for each
/// quote that breaks one. Behind a broken quote the next line is taken for a new row.
pub(super) fn stretches(
    text: &str,
    start: usize,
    line: u64,
    separator: u8,
) -> (Vec<(Range<usize>, u64)>, Vec<Fault>) {
    let bytes = text.as_bytes();
    let (mut sound, mut faults) = (Vec::new(), Vec::new());
    // The start of the stretch, of the row, and of the last quoted field, with their lines.
    let (mut stretch, mut row, mut open) = ((start, line), start, (start, line));
    let (mut at, mut line, mut state) = (start, line, State::FieldStart);
    loop {
        let byte = bytes.get(at).copied();
        let is_end = matches!(byte, Some(b'\r' | b'\n'));
        let is_blank = byte == Some(b' ') || (byte == Some(b'\t') && separator != b'\t');
        let broken = match (state, byte) {
            (State::Quoted, None) => Some(Problem::OpenQuote),
            (_, None) => break,
            (State::Quoted, Some(b'"')) => {
                state = State::Closed;
                None
            }
            (State::Closed, Some(b'"')) => {
                state = State::Quoted;
                None
            }
            (State::Quoted, _) => None,
            (_, Some(byte)) if byte == separator => {
                state = State::FieldStart;
                None
            }
            (_, _) if is_end => {
                state = State::FieldStart;
                None
            }
            (State::Closed | State::BlankBehind, _) if is_blank => {
                state = State::BlankBehind;
                None
            }
            (State::Closed | State::BlankBehind, _) => Some(Problem::TextBehindQuote { closes: line }),
            (State::FieldStart, Some(b'"')) => {
                (state, open) = (State::Quoted, (at, line));
                None
            }
            (State::Blanks, Some(b'"')) => {
                open = (at, line);
                Some(Problem::BlankBeforeQuote)
            }
            (State::FieldStart | State::Blanks, _) if is_blank => {
                state = State::Blanks;
                None
            }
            (State::FieldStart | State::Blanks | State::Bare, _) => {
                state = State::Bare;
                None
            }
        };
        if let Some(problem) = broken {
            if row > stretch.0 {
                sound.push((stretch.0..row, stretch.1));
            }
            faults.push(Fault { line: open.1, problem });
            at = after_line(text, open.0);
            line = open.1 + u64::from(at < bytes.len());
            (stretch, row, state) = ((at, line), at, State::FieldStart);
            continue;
        }
        at += 1;
        if is_end {
            // CR LF is one end.
            let is_second = byte == Some(b'\n') && at > 1 && bytes[at - 2] == b'\r';
            line += u64::from(!is_second);
            if state == State::FieldStart {
                row = at;
            }
        }
    }
    if bytes.len() > stretch.0 {
        sound.push((stretch.0..bytes.len(), stretch.1));
    }
    (sound, faults)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> (Vec<&str>, Vec<String>) {
        let (sound, faults) = stretches(text, 0, 1, b',');
        for (range, line) in &sound {
            assert_eq!(1 + super::super::rows::line_ends(text.as_bytes(), 0, range.start), *line, "{text:?}");
        }
        (
            sound.into_iter().map(|(range, _)| &text[range]).collect(),
            faults.iter().map(ToString::to_string).collect(),
        )
    }

    #[test]
    fn whole_quotes_are_one_stretch() {
        for text in [
            "a,\"b, \"\"c\"\"\"\r\n\"two\nlines\",d\n",
            "a\rb\r",
            "\"a\" ,b\n",
            "12\" pipe,a\"b\n",
            "\"\"\n",
            "a",
        ] {
            assert_eq!(check(text), (vec![text], vec![]), "{text:?}");
        }
        assert_eq!(check(""), (vec![], vec![]));
    }

    #[test]
    fn a_broken_quote_is_named_where_it_opens_and_takes_its_own_line() {
        let open = "line 2: a quote opens here and does not close";
        assert_eq!(check("h,i\nb,\"c\nd,e\n"), (vec!["h,i\n", "d,e\n"], vec![open.to_owned()]));
        assert_eq!(check("h\r\"a"), (vec!["h\r"], vec![open.to_owned()]));
        assert_eq!(
            check("h,i\r\nb,\"c\r\nd,\"x, y\"\r\nlast,1\r\n"),
            (
                vec!["h,i\r\n", "d,\"x, y\"\r\nlast,1\r\n"],
                vec![
                    "line 2: a quote opens here and closes on line 3 in the middle of a field: one of the two is too many"
                        .to_owned()
                ]
            )
        );
        let blank =
            "line 1: a blank stands between a separator and a quote: the quote would be part of the value";
        assert_eq!(check("a, \"b\"\nc\n"), (vec!["c\n"], vec![blank.to_owned()]));
        assert_eq!(check("\"a\"b\nc\n").1.len(), 1);
    }
}
