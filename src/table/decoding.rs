//! Bytes into text, with every line that is not of the encoding.

use super::{
    encoding::Encoding,
    fault::{Fault, Problem},
};

/// What files of other kinds begin with.
const NO_TEXT: [(&[u8], &str); 6] = [
    (b"PK\x03\x04", "a workbook (.xlsx, .ods) or another ZIP file"),
    (b"\xd0\xcf\x11\xe0", "an old workbook (.xls)"),
    (b"\x1f\x8b", "a compressed file (gzip)"),
    (b"%PDF", "a PDF"),
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
];

/// The text, lossily where a fault is named; one fault a line at most of each kind.
pub(super) fn decode(bytes: Vec<u8>, asked: Option<Encoding>) -> (String, Vec<Fault>) {
    let whole = |problem| (String::new(), vec![Fault { line: 1, problem }]);
    if let Some((_, what)) = NO_TEXT.iter().find(|(start, _)| bytes.starts_with(start)) {
        return whole(Problem::NotText(what));
    }
    let (encoding, mark) = match encoding_rs::Encoding::for_bom(&bytes) {
        Some((encoding, mark)) => (encoding, mark),
        None => (asked.map_or(encoding_rs::UTF_8, |asked| asked.0), 0),
    };
    let (mut text, mut faults) = if encoding == encoding_rs::UTF_8 {
        if let Some(encoding) = wide(&bytes) {
            return whole(Problem::NoByteOrderMark(encoding));
        }
        utf8(bytes, mark)
    } else {
        let (text, has_errors) = encoding.decode_without_bom_handling(&bytes[mark..]);
        let text = text.into_owned();
        let faults = if has_errors { marked(&text, encoding) } else { Vec::new() };
        (text, faults)
    };
    let html = text.trim_start().get(..6).is_some_and(|start| {
        let start = start.to_ascii_lowercase();
        start.starts_with("<html")
            || start.starts_with("<table")
            || start.starts_with("<?xml")
            || start == "<!doct"
    });
    if html {
        return whole(Problem::NotText("HTML or XML"));
    }
    faults.extend(nuls(&text));
    // DOS ended text files with this.
    text.truncate(text.trim_end_matches('\u{1a}').len());
    (text, faults)
}

/// The encoding of two-byte characters whose upper bytes are mostly zero.
fn wide(bytes: &[u8]) -> Option<Encoding> {
    let start = &bytes[..bytes.len().min(512)];
    let zeros = |odd: usize| start.iter().skip(odd).step_by(2).filter(|byte| **byte == 0).count();
    let mostly = |zeros: usize| zeros * 4 > start.len();
    match (mostly(zeros(1)), mostly(zeros(0))) {
        (true, false) => Some(Encoding(encoding_rs::UTF_16LE)),
        (false, true) => Some(Encoding(encoding_rs::UTF_16BE)),
        _ => None,
    }
}

fn utf8(bytes: Vec<u8>, mark: usize) -> (String, Vec<Fault>) {
    let mut bytes = bytes;
    bytes.drain(..mark);
    let bytes = match String::from_utf8(bytes) {
        Ok(text) => return (text, Vec::new()),
        Err(error) => error.into_bytes(),
    };
    let mut text = String::with_capacity(bytes.len());
    // (line, place, first byte, whether it was more than one byte or the file ended in it)
    let mut bad: Vec<(u64, usize, u8, bool)> = Vec::new();
    let (mut line, mut place, mut last) = (1, 0, 0);
    let mut has_other = false;
    for chunk in bytes.utf8_chunks() {
        has_other |= !chunk.valid().is_ascii();
        for byte in chunk.valid().bytes() {
            (line, place) = match byte {
                b'\n' if last == b'\r' => (line, 0),
                b'\n' | b'\r' => (line + 1, 0),
                _ => (line, place + 1),
            };
            last = byte;
        }
        text.push_str(chunk.valid());
        if let [first, rest @ ..] = chunk.invalid() {
            if bad.last().is_none_or(|(before, ..)| *before != line) {
                bad.push((line, place + 1, *first, !rest.is_empty()));
            }
            text.push(char::REPLACEMENT_CHARACTER);
            place += 1 + rest.len();
            last = 0;
        }
    }
    if let Some(end) = bad.last_mut()
        && let Err(error) = std::str::from_utf8(&bytes[bytes.len().saturating_sub(3)..])
        && error.error_len().is_none()
        && end.0 == line
    {
        end.3 = true;
    }
    let faults = bad.into_iter().map(|(line, place, byte, is_cut)| {
        let problem = if is_cut || has_other {
            Problem::CutCharacter { byte, place }
        } else {
            let shown = encoding_rs::WINDOWS_1252.decode_without_bom_handling(&[byte]).0.chars().next();
            Problem::Windows1252 { byte, place, shown: shown.unwrap_or('?') }
        };
        Fault { line, problem }
    });
    (text, faults.collect())
}

/// The lines on which a decoder put a replacement.
fn marked(text: &str, encoding: &'static encoding_rs::Encoding) -> Vec<Fault> {
    by_line(text, char::REPLACEMENT_CHARACTER, |_| Problem::NotOfEncoding(Encoding(encoding)))
}

fn nuls(text: &str) -> Vec<Fault> {
    by_line(text, '\0', |place| Problem::Nul { place })
}

/// A fault for each line that holds the character, with its place.
fn by_line(text: &str, wanted: char, problem: impl Fn(usize) -> Problem) -> Vec<Fault> {
    if !text.contains(wanted) {
        return Vec::new();
    }
    let mut faults: Vec<Fault> = Vec::new();
    let (mut line, mut place, mut last) = (1, 0, '\0');
    for character in text.chars() {
        (line, place) = match character {
            '\n' if last == '\r' => (line, 0),
            '\n' | '\r' => (line + 1, 0),
            _ => (line, place + 1),
        };
        last = character;
        if character == wanted && faults.last().is_none_or(|fault| fault.line != line) {
            faults.push(Fault { line, problem: problem(place) });
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(bytes: &[u8], asked: Option<&str>) -> (String, Vec<String>) {
        let (text, faults) = decode(bytes.to_vec(), asked.map(|name| name.parse().unwrap()));
        (text, faults.iter().map(ToString::to_string).collect())
    }

    fn utf16(text: &str, unit: impl Fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(unit).collect()
    }

    #[test]
    fn encodings_that_are_read() {
        let text = "é,€\n";
        let mut marked = b"\xef\xbb\xbf".to_vec();
        marked.extend(text.bytes());
        let le = utf16(&format!("\u{feff}{text}"), u16::to_le_bytes);
        let be = utf16(&format!("\u{feff}{text}"), u16::to_be_bytes);
        for (bytes, asked) in [
            (text.as_bytes(), None),
            (&marked, None),
            // A byte order mark is believed more than an option.
            (&marked, Some("windows-1252")),
            (&le, None),
            (&be, None),
            (&utf16(text, u16::to_le_bytes), Some("utf-16le")),
            (&utf16(text, u16::to_be_bytes), Some("UTF-16BE")),
            (b"\xe9,\x80\n", Some("windows-1252")),
            (b"\xe9,\x80\n", Some("latin1")),
        ] {
            assert_eq!(faults(bytes, asked), (text.to_owned(), Vec::new()), "{asked:?}");
        }
        assert!("ebcdic".parse::<Encoding>().is_err());
    }

    #[test]
    fn bytes_that_are_not_are_named_by_line_and_place() {
        assert_eq!(
            faults(b"a\r\nJos\xe9,b\r\nx\xe9y\xe9\n", None).1,
            [
                "line 2: byte 0xE9 at place 4 is not UTF-8; this looks like Windows-1252 (é): say --encoding windows-1252",
                "line 3: byte 0xE9 at place 2 is not UTF-8; this looks like Windows-1252 (é): say --encoding windows-1252",
            ]
        );
        let cut = "byte 0xE2 at place 2 begins or ends a UTF-8 character that is cut or damaged";
        assert_eq!(faults(b"a\rb\xe2\x82,c\r", None).1, [format!("line 2: {cut}")]);
        assert_eq!(faults(b"a\nb\xe2", None).1, [format!("line 2: {cut}")]);
        // Other characters are good: this is no other encoding.
        assert_eq!(
            faults("é\nb\u{0}c".as_bytes(), None).1,
            ["line 2: a NUL byte at place 2: the file is damaged"]
        );
        assert!(faults(b"\xc3\xa9\nb\xe9,\n", None).1[0].contains("damaged"));
        assert_eq!(
            faults(&utf16("meter,kind\n", u16::to_le_bytes), None).1,
            ["line 1: this looks like utf-16le without a byte order mark: say --encoding utf-16le"]
        );
        assert!(faults(&utf16("meter,kind\n", u16::to_be_bytes), None).1[0].contains("--encoding utf-16be"));
        assert_eq!(faults(b"\xff\xfea\0\n\0b", None).1, ["line 2: some bytes are not utf-16le"]);
    }

    #[test]
    fn other_files_are_told_by_what_they_are() {
        for (bytes, what) in [
            (&b"PK\x03\x04..."[..], ".xlsx"),
            (b"\xd0\xcf\x11\xe0..", ".xls"),
            (b"\x1f\x8b", "gzip"),
            (b"\xff\xfe\x00\x00a\0\0\0", "UTF-32"),
            (b"<html><table>", "HTML"),
        ] {
            assert!(faults(bytes, None).1[0].contains(what), "{what}");
        }
    }
}
