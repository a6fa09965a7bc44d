//! The lines of a flat YAML text, found in the raw bytes without copying any.
//!
//! The vending key must be cut out before a YAML parser copies it into memory of its own (upload
//! formats §1), so that something must find it without being that parser. This reader knows only
//! the part of YAML that a configuration may use: one `field: value` per line, quoted or not,
//! comments, one document. All else is a fault of its line, which the parser never sees; `text`
//! checks afterwards that the parser read the same fields.

use std::ops::Range;

use super::characters::strange_character;
use super::fault::FormFault;

/// One line: its number, where it is, what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// Counted from 1.
    pub(super) number: usize,
    /// The line without its break.
    pub(super) span: Range<usize>,
    /// What it holds.
    pub(super) content: LineContent,
}

/// What a line holds; all ranges count bytes from the start of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LineContent {
    /// Nothing, a comment, or `---` and `...` where they may be.
    Nothing,
    /// A field and its value.
    Pair(Pair),
    /// Not allowed. `field` is where the name is, if there is one.
    Fault { field: Option<Range<usize>>, fault: FormFault },
}

/// A field and its value, without the quotation marks of either. An empty value is an empty range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) field: Range<usize>,
    pub(super) value: Range<usize>,
    /// What follows the value and its closing quotation mark: blanks and a comment.
    pub(super) rest: Range<usize>,
}

/// Which document of the text a line is in; the first one may have ended before it.
#[derive(Clone, Copy, PartialEq)]
enum Document {
    None,
    First,
    Ended,
    Second,
}

/// Reads all lines of `text`, which is UTF-8 (a byte order mark at its start is skipped).
pub(super) fn read(text: &[u8]) -> Vec<Line> {
    let mut document = Document::None;
    let mut indentation = None;
    let mut lines = Vec::new();
    for (index, span) in spans(text).into_iter().enumerate() {
        let line = &text[span.clone()];
        let content = match (marker(line), document) {
            (Some(Marker::Start), Document::None) => {
                document = Document::First;
                LineContent::Nothing
            }
            (Some(Marker::End), Document::First | Document::None | Document::Ended) => {
                document = Document::Ended;
                LineContent::Nothing
            }
            _ if is_nothing(line) => LineContent::Nothing,
            (_, Document::Ended) | (Some(Marker::Start), Document::First) => {
                document = Document::Second;
                LineContent::Fault { field: None, fault: FormFault::SecondDocument }
            }
            // One fault tells of a second document; its fields are nobody's.
            (_, Document::Second) => LineContent::Nothing,
            (_, Document::None | Document::First) => {
                document = Document::First;
                match pair(line, &mut indentation) {
                    Ok(Pair { field, value, rest }) => LineContent::Pair(Pair {
                        field: shift(field, &span),
                        value: shift(value, &span),
                        rest: shift(rest, &span),
                    }),
                    Err((field, fault)) => {
                        LineContent::Fault { field: field.map(|field| shift(field, &span)), fault }
                    }
                }
            }
        };
        let content = match strange_character(line) {
            Some(fault) => {
                let field = match content {
                    LineContent::Pair(pair) => Some(pair.field),
                    LineContent::Fault { field, .. } => field,
                    LineContent::Nothing => None,
                };
                LineContent::Fault { field, fault }
            }
            None => content,
        };
        lines.push(Line { number: index + 1, span, content });
    }
    lines
}

/// Splits at LF, CR LF and CR, all line breaks of YAML 1.2 (§5.4).
fn spans(text: &[u8]) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    let mut start = if text.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    let mut at = start;
    while at < text.len() {
        if text[at] == b'\n' || text[at] == b'\r' {
            spans.push(start..at);
            if text[at] == b'\r' && text.get(at + 1) == Some(&b'\n') {
                at += 1;
            }
            start = at + 1;
        }
        at += 1;
    }
    spans.push(start..text.len());
    spans
}

enum Marker {
    Start,
    End,
}

/// `---` or `...` at the very start of a line, with nothing but a comment after it.
fn marker(line: &[u8]) -> Option<Marker> {
    let (head, rest) = line.split_at_checked(3)?;
    let alone = rest.is_empty() || (rest[0] == b' ' && is_nothing(rest));
    match head {
        b"---" if alone => Some(Marker::Start),
        b"..." if alone => Some(Marker::End),
        _ => None,
    }
}

/// Blank, or a comment only.
fn is_nothing(line: &[u8]) -> bool {
    matches!(line.iter().find(|byte| **byte != b' '), None | Some(b'#'))
}

type Faulty = (Option<Range<usize>>, FormFault);

/// Reads one line as `field: value`; ranges count from the start of the line.
fn pair(line: &[u8], indentation: &mut Option<usize>) -> Result<Pair, Faulty> {
    let indent = line.iter().take_while(|byte| **byte == b' ').count();
    let (field, after_field) = field(line, indent)?;
    let with_field = |fault| (Some(field.clone()), fault);
    if *indentation.get_or_insert(indent) != indent {
        return Err(with_field(FormFault::Nested));
    }
    let start = after_field + line[after_field..].iter().take_while(|byte| **byte == b' ').count();
    let (value, rest) = match line.get(start) {
        // `#` here always follows a blank: a comment.
        None | Some(b'#') => (after_field..after_field, after_field),
        Some(mark @ (b'"' | b'\'')) => {
            let value = quoted(line, start, *mark).map_err(with_field)?;
            let rest = value.end + 1;
            (value, rest)
        }
        Some(_) => {
            let value = plain(line, start).map_err(with_field)?;
            // The value itself may be "no value".
            let rest = if value.is_empty() { line.len() } else { value.end };
            (value, rest)
        }
    };
    Ok(Pair { field, value, rest: rest..line.len() })
}

/// The field's name and what follows its colon.
fn field(line: &[u8], start: usize) -> Result<(Range<usize>, usize), Faulty> {
    let first = line.get(start).copied().unwrap_or(b' ');
    let next_is_blank = matches!(line.get(start + 1), None | Some(b' '));
    let (name, after) = match first {
        b'"' | b'\'' => {
            let name = quoted_span(line, start, first).map_err(|fault| (None, fault))?;
            let after = name.end + 1;
            (name, after)
        }
        b'-' if next_is_blank => return Err((None, FormFault::List)),
        b'?' if next_is_blank => return Err((None, FormFault::NotAPair)),
        b'%' if start == 0 => return Err((None, FormFault::Directive)),
        _ => {
            if let Some(fault) = indicator(first) {
                return Err((None, fault));
            }
            let length = line[start..].iter().take_while(|byte| name_byte(**byte)).count();
            (start..start + length, start + length)
        }
    };
    let colon = after + line[after..].iter().take_while(|byte| **byte == b' ').count();
    // A tab or a non-breaking space is a fault of its own (`strange_character`), and better told
    // with the field's name.
    let followed = matches!(line.get(colon + 1), None | Some(b' ' | b'\t'))
        || line.get(colon + 1..).is_some_and(|rest| rest.starts_with("\u{a0}".as_bytes()));
    if name.is_empty() || line.get(colon) != Some(&b':') || !followed {
        return Err((None, FormFault::NotAPair));
    }
    Ok((name, colon + 1))
}

/// What a field's name is made of. Narrower than YAML, so that both readings of a line agree.
fn name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

/// A value in quotation marks, with nothing but a comment after it.
fn quoted(line: &[u8], start: usize, mark: u8) -> Result<Range<usize>, FormFault> {
    let inner = quoted_span(line, start, mark)?;
    let rest = &line[inner.end + 1..];
    match rest.first() {
        None => Ok(inner),
        Some(b' ') if is_nothing(rest) => Ok(inner),
        Some(_) => Err(FormFault::AfterQuote),
    }
}

/// What is between the mark at `start` and its partner on the same line. In single quotes `''` is a
/// quotation mark.
fn quoted_span(line: &[u8], start: usize, mark: u8) -> Result<Range<usize>, FormFault> {
    let mut at = start + 1;
    while let Some(byte) = line.get(at) {
        match *byte {
            b'\\' if mark == b'"' => return Err(FormFault::Escape),
            byte if byte == mark && mark == b'\'' && line.get(at + 1) == Some(&mark) => at += 2,
            byte if byte == mark => return Ok(start + 1..at),
            _ => at += 1,
        }
    }
    Err(FormFault::OpenQuote)
}

/// A value without quotation marks: up to a comment or the end, without trailing blanks.
fn plain(line: &[u8], start: usize) -> Result<Range<usize>, FormFault> {
    let first = line[start];
    if let Some(fault) = indicator(first) {
        return Err(fault);
    }
    if matches!(first, b'-' | b'?' | b':') && matches!(line.get(start + 1), None | Some(b' ')) {
        return Err(FormFault::NeedsQuotes);
    }
    let mut end = start;
    let mut at = start;
    while let Some(&byte) = line.get(at) {
        match byte {
            b' ' if line.get(at + 1) == Some(&b'#') => break,
            b' ' => {}
            b':' if matches!(line.get(at + 1), None | Some(b' ')) => return Err(FormFault::NeedsQuotes),
            _ => end = at + 1,
        }
        at += 1;
    }
    match &line[start..end] {
        // The plain words that YAML reads as "no value" (YAML 1.2 §10.2).
        b"~" | b"null" | b"Null" | b"NULL" => Ok(start..start),
        _ => Ok(start..end),
    }
}

/// The characters that begin something else than plain text (YAML 1.2 §5.3).
fn indicator(first: u8) -> Option<FormFault> {
    match first {
        b'{' | b'}' | b'[' | b']' | b',' => Some(FormFault::Flow),
        b'&' => Some(FormFault::Anchor),
        b'*' => Some(FormFault::Alias),
        b'!' => Some(FormFault::Tag),
        b'|' | b'>' => Some(FormFault::Block),
        b'%' | b'@' | b'`' => Some(FormFault::NeedsQuotes),
        _ => None,
    }
}

fn shift(range: Range<usize>, span: &Range<usize>) -> Range<usize> {
    range.start + span.start..range.end + span.start
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Result<(&str, &str), FormFault> {
        let mut lines = read(text.as_bytes());
        assert_eq!(lines.len(), 1, "{text:?}");
        match lines.remove(0).content {
            LineContent::Pair(pair) => Ok((&text[pair.field], &text[pair.value])),
            LineContent::Fault { fault, .. } => Err(fault),
            LineContent::Nothing => Ok(("", "")),
        }
    }

    #[test]
    fn pairs_are_found_however_they_are_written() {
        for (text, field, value) in [
            ("name: a", "name", "a"),
            ("name: a b  ", "name", "a b"),
            ("name : a", "name", "a"),
            ("name:    a # why", "name", "a"),
            ("name: a#b", "name", "a#b"),
            ("name: a:b", "name", "a:b"),
            ("name: 'a # b'", "name", "a # b"),
            ("name: 'it''s'   # c", "name", "it''s"),
            ("name: \"it's\"", "name", "it's"),
            ("'name': a", "name", "a"),
            ("\"name\" : 'a'", "name", "a"),
            ("\u{feff}name: a", "name", "a"),
            ("  name: a", "name", "a"),
            ("name: -a", "name", "-a"),
            ("name: a\\b", "name", "a\\b"),
            ("name:", "name", ""),
            ("name: # nothing", "name", ""),
            ("name: ''", "name", ""),
            ("name: ~", "name", ""),
            ("name: null", "name", ""),
            ("name: 'null'", "name", "null"),
            ("<name: a", "", ""),
        ] {
            if field.is_empty() {
                assert_eq!(one(text), Err(FormFault::NotAPair), "{text:?}");
            } else {
                assert_eq!(one(text), Ok((field, value)), "{text:?}");
            }
        }
    }

    #[test]
    fn all_else_is_a_fault_of_its_line() {
        for (text, fault) in [
            ("name", FormFault::NotAPair),
            ("name:a", FormFault::NotAPair),
            ("two words: a", FormFault::NotAPair),
            ("? name", FormFault::NotAPair),
            (": a", FormFault::NotAPair),
            ("- name: a", FormFault::List),
            ("{name: a}", FormFault::Flow),
            ("name: {a: b}", FormFault::Flow),
            ("name: [a]", FormFault::Flow),
            ("name: &a b", FormFault::Anchor),
            ("&a name: b", FormFault::Anchor),
            ("name: *a", FormFault::Alias),
            ("name: !!str a", FormFault::Tag),
            ("!t name: a", FormFault::Tag),
            ("name: |", FormFault::Block),
            ("name: >-", FormFault::Block),
            ("%YAML 1.2", FormFault::Directive),
            ("name: 'a", FormFault::OpenQuote),
            ("name: \"a", FormFault::OpenQuote),
            ("name: 'a'b", FormFault::AfterQuote),
            ("name: 'a' b", FormFault::AfterQuote),
            ("name: 'a'#b", FormFault::AfterQuote),
            ("name: \"a\\\"\"", FormFault::Escape),
            ("\"n\\x61me\": a", FormFault::Escape),
            ("name: a: b", FormFault::NeedsQuotes),
            ("name: a:", FormFault::NeedsQuotes),
            ("name: - a", FormFault::NeedsQuotes),
            ("name: @a", FormFault::NeedsQuotes),
            ("name:\ta", FormFault::Tab),
            ("# a\tb", FormFault::Tab),
            ("name: a\u{a0}", FormFault::SpecialSpace),
        ] {
            assert_eq!(one(text), Err(fault), "{text:?}");
        }
    }

    fn faults(text: &str) -> Vec<(usize, FormFault)> {
        let lines = read(text.as_bytes()).into_iter();
        lines
            .filter_map(|line| match line.content {
                LineContent::Fault { fault, .. } => Some((line.number, fault)),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn one_document_with_one_indentation() {
        for text in [
            "---\na: b\n",
            "# c\n--- # d\na: b\n...\n",
            "a: b\n\n  # c\nd: e",
            "  a: b\n  d: e\n",
            "a: b\r\nd: e\r\n",
            "a: b\rd: e",
            "---\n",
            "",
        ] {
            assert_eq!(faults(text), [], "{text:?}");
        }
        for (text, number, fault) in [
            ("---\na: b\n---\na: c\nd: e\n", 3, FormFault::SecondDocument),
            ("a: b\n---\n", 2, FormFault::SecondDocument),
            ("a: b\n...\nd: e\nf: g\n", 3, FormFault::SecondDocument),
            ("a: b\n  c: d\n", 2, FormFault::Nested),
            ("  a: b\nc: d\n", 2, FormFault::Nested),
            ("a: b\r\n\r\nc d\r\n", 3, FormFault::NotAPair),
            ("--- a: b\n", 1, FormFault::NotAPair),
        ] {
            assert_eq!(faults(text), [(number, fault)], "{text:?}");
        }
    }

    #[test]
    fn the_rest_is_what_follows_the_value() {
        for (text, expected) in [
            ("a: b # c", " # c"),
            ("a: 'b' # c", " # c"),
            ("a: \"b\"", ""),
            ("a: b'", ""),
            ("a:", ""),
            ("a: # c", " # c"),
        ] {
            let lines = read(text.as_bytes());
            let LineContent::Pair(pair) = &lines[0].content else { panic!("{text:?}") };
            assert_eq!(&text[pair.rest.clone()], expected, "{text:?}");
        }
    }
}
