//! From the decrypted text to a list of fields and values, with the vending key left out.
//!
//! `lines` finds the fields; the YAML parser reads a copy of the text in which only the values of
//! known fields are left: comments, faulty lines and unknown fields are blank, the vending key is a
//! placeholder. So the parser's memory never sees the key, nor a key pasted into a comment or under
//! a misspelled name.

use std::ops::Range;

use super::fault::{FieldFault, FieldReason, MAX_FAULTS, TextFault, WHOLE_TEXT, quotable_name};
use super::field::Field;
use super::lines::{self, Line, LineContent, Pair};
use super::{vending_key, yaml};

/// The most that a text may have, in bytes (upload formats §4).
const MAX_BYTES: usize = 64 * 1024;

/// One field of the text with its value. The vending key's value is its placeholder.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) field: Field,
    /// The line, counted from 1, where there are lines.
    pub(super) line: Option<usize>,
    pub(super) value: String,
}

/// What the text holds.
#[derive(Debug)]
pub(super) struct Fields {
    /// In the order of the text; no field twice.
    pub(super) entries: Vec<Entry>,
    /// Where the hex digits of the vending key are, if it is well formed.
    pub(super) vending_key: Option<Range<usize>>,
    /// The faults found so far. A field named by one of them is no longer missing.
    pub(super) faults: Vec<FieldFault>,
}

/// Reads the fields of `text`.
///
/// # Errors
/// When the text as a whole cannot be read; faults of single lines are in [`Fields::faults`].
pub(super) fn read(text: &[u8]) -> Result<Fields, FieldFault> {
    if text.len() > MAX_BYTES {
        return Err(FieldFault::whole(TextFault::TooLong(text.len())));
    }
    if text.starts_with(b"\xff\xfe") || text.starts_with(b"\xfe\xff") {
        return Err(FieldFault::whole(TextFault::Utf16));
    }
    if std::str::from_utf8(text).is_err() {
        return Err(FieldFault::whole(TextFault::NotUtf8));
    }
    let lines = lines::read(text);
    let mut fields = Fields { entries: Vec::new(), vending_key: None, faults: Vec::new() };
    let mut masked = Masked::new(text);
    for line in &lines {
        if fields.faults.len() >= MAX_FAULTS {
            break;
        }
        match &line.content {
            LineContent::Nothing => {}
            LineContent::Fault { field, fault } => {
                let name = field.clone().map_or(Some(WHOLE_TEXT), |field| name_of(&text[field]));
                fields.faults.push(FieldFault::new(
                    name.unwrap_or(WHOLE_TEXT),
                    Some(line.number),
                    (*fault).into(),
                ));
            }
            LineContent::Pair(pair) => match accept(text, line, pair, &mut fields) {
                Ok(field) => masked.keep(text, line, pair, field),
                Err(fault) => fields.faults.push(fault),
            },
        }
    }
    if lines.iter().all(|line| line.content == LineContent::Nothing) {
        return Err(FieldFault::whole(TextFault::NoFields));
    }
    masked.parse_into(text, &mut fields.entries).map_err(FieldFault::whole)?;
    Ok(fields)
}

/// The fields of a text without faults that may be seen by everybody: all but the vending key.
pub(super) fn clear_pairs(text: &[u8]) -> Vec<(String, String)> {
    let entries = read(text).map(|fields| fields.entries).unwrap_or_default();
    let clear = entries.into_iter().filter(|entry| entry.field != Field::VendingKey);
    clear.map(|entry| (entry.field.name().to_owned(), entry.value)).collect()
}

/// Whether the parser may see this line; if so it becomes an entry, without its value yet.
fn accept(text: &[u8], line: &Line, pair: &Pair, fields: &mut Fields) -> Result<Field, FieldFault> {
    let name = &text[pair.field.clone()];
    let Some(field) = Field::of(name) else {
        return Err(FieldFault::new(
            name_of(name).unwrap_or(WHOLE_TEXT),
            Some(line.number),
            FieldReason::Unknown,
        ));
    };
    let fault = |reason| FieldFault::new(field.name(), Some(line.number), reason);
    if fields.entries.iter().any(|entry| entry.field == field) {
        return Err(fault(FieldReason::Duplicate));
    }
    if pair.value.is_empty() {
        return Err(fault(FieldReason::Empty));
    }
    if field == Field::VendingKey {
        vending_key::check(&text[pair.value.clone()]).map_err(fault)?;
        fields.vending_key = Some(pair.value.clone());
    }
    fields.entries.push(Entry { field, line: Some(line.number), value: String::new() });
    Ok(field)
}

/// The name as a fault may show it.
fn name_of(name: &[u8]) -> Option<&str> {
    match Field::of(name) {
        Some(field) => Some(field.name()),
        None => quotable_name(name),
    }
}

/// What stands in for each digit of the vending key: no hex digit.
const PLACEHOLDER: u8 = b'x';

/// The copy of the text that the parser sees: blanks, but for what was kept.
struct Masked(Vec<u8>);

/// A byte order mark is not shown to the parser: in blanks it would indent the first line.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

impl Masked {
    /// Only the line breaks of `text`.
    fn new(text: &[u8]) -> Self {
        Self(text.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { *byte } else { b' ' }).collect())
    }

    /// What the parser gets; `text` is what the copy was made of.
    fn without_mark(&self, text: &[u8]) -> &[u8] {
        if text.starts_with(BYTE_ORDER_MARK) { &self.0[BYTE_ORDER_MARK.len()..] } else { &self.0 }
    }

    /// Shows the parser this line, without its comment, and without the value if it is the vending
    /// key.
    fn keep(&mut self, text: &[u8], line: &Line, pair: &Pair, field: Field) {
        let shown = line.span.start..pair.rest.start;
        if field == Field::VendingKey {
            self.0[shown.start..pair.value.start].copy_from_slice(&text[shown.start..pair.value.start]);
            self.0[pair.value.clone()].fill(PLACEHOLDER);
            self.0[pair.value.end..shown.end].copy_from_slice(&text[pair.value.end..shown.end]);
        } else {
            self.0[shown.clone()].copy_from_slice(&text[shown]);
        }
    }

    /// Parses the copy and fills in the values, after checking that the parser found the same
    /// fields in the same order and nothing but the placeholder where the key was.
    fn parse_into(&self, text: &[u8], entries: &mut [Entry]) -> Result<(), TextFault> {
        if entries.is_empty() {
            return Ok(());
        }
        let pairs = yaml::pairs(self.without_mark(text)).ok_or(TextFault::Ambiguous)?;
        if pairs.len() != entries.len() {
            return Err(TextFault::Ambiguous);
        }
        for (entry, (name, value)) in entries.iter_mut().zip(pairs) {
            let hidden = entry.field != Field::VendingKey || value.bytes().all(|byte| byte == PLACEHOLDER);
            if entry.field.name() != name || !hidden {
                return Err(TextFault::Ambiguous);
            }
            entry.value = value;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fault::FormFault;
    use super::*;
    use proptest::prelude::*;

    fn values(text: &str) -> Vec<(Field, String)> {
        let fields = read(text.as_bytes()).unwrap();
        assert_eq!(fields.faults, [], "{text:?}");
        fields.entries.into_iter().map(|entry| (entry.field, entry.value)).collect()
    }

    #[test]
    fn scalars_stay_text() {
        let text = "decoder_key_generation_algorithm: 04\nissuer_identification_no: 0000\nsupply_group_code: 000046\n\
                    name: 0x0abc\nbase_date: 0123456789012e34\nkey_type: no\ntariff_index: 1_0\ntype: 'null'";
        let expected = ["04", "0000", "000046", "0x0abc", "0123456789012e34", "no", "1_0", "null"];
        let values = values(text);
        assert_eq!(values.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn quotes_comments_and_order_do_not_matter() {
        let expected = [(Field::VendingKey, "x".repeat(16)), (Field::Name, "it's # 1".to_owned())];
        for text in [
            "vending_key: 0123456789abcdef\nname: 'it''s # 1'\n",
            "---\n'vending_key': \"0123456789abcdef\"   # 0123456789abcdef\n\n# 0123456789abcdef\n\"name\": \"it's # 1\"\n...\n",
            "\u{feff}vending_key : '0123456789abcdef'\r\nname: 'it''s # 1'   \r\n",
            "  vending_key: 0123456789ABCDEF # c\r  name: \"it's # 1\"",
            "\u{feff}---\nvending_key: 0123456789ABCDEF\n   # c\nname: \"it's # 1\" ",
        ] {
            assert_eq!(values(text), expected, "{text:?}");
        }
    }

    #[test]
    fn every_fault_is_found_at_once() {
        let text = "name: a\nname: b\ntarif_index: 01\ntariff_index:\t01\n0123456789abcdef: vending_key\nkey_type:\n  - 2\n\
                    vending_key: 'abc'\nvending_key: 0123456789abcdef\nsupply_group_code: &a 123456\nbase_date: !!str 2014\n\
                    key_expiry_no: *a\n---\nname: c\n";
        let fields = read(text.as_bytes()).unwrap();
        let faults: Vec<_> = fields
            .faults
            .iter()
            .map(|fault| (fault.field.as_str(), fault.line.unwrap(), fault.reason.clone()))
            .collect();
        let expected = [
            ("name", 2, FieldReason::Duplicate),
            ("tarif_index", 3, FieldReason::Unknown),
            ("tariff_index", 4, FormFault::Tab.into()),
            ("data", 5, FieldReason::Unknown),
            ("key_type", 6, FieldReason::Empty),
            ("data", 7, FormFault::List.into()),
            ("vending_key", 8, FieldReason::KeyLength { digits: 3 }),
            ("supply_group_code", 10, FormFault::Anchor.into()),
            ("base_date", 11, FormFault::Tag.into()),
            ("key_expiry_no", 12, FormFault::Alias.into()),
            ("data", 13, FormFault::SecondDocument.into()),
        ];
        assert_eq!(faults, expected);
    }

    #[test]
    fn texts_that_cannot_be_read() {
        let long = format!("name: a\n{}", " \n".repeat(MAX_BYTES / 2));
        for (text, fault) in [
            (&b""[..], TextFault::NoFields),
            (b"---\n# name: a\n", TextFault::NoFields),
            (b"name: \xe9\n", TextFault::NotUtf8),
            (b"\xff\xfen\0a\0", TextFault::Utf16),
            (long.as_bytes(), TextFault::TooLong(long.len())),
        ] {
            assert_eq!(read(text).err(), Some(FieldFault::whole(fault)));
        }
    }

    #[test]
    fn a_flood_of_faults_is_cut_off() {
        let fields = read("a\n".repeat(10_000).as_bytes()).unwrap();
        assert_eq!(fields.faults.len(), MAX_FAULTS);
    }

    /// What the parser would see of a text.
    fn masked(text: &str) -> String {
        let mut masked = Masked::new(text.as_bytes());
        let mut fields = Fields { entries: Vec::new(), vending_key: None, faults: Vec::new() };
        for line in &lines::read(text.as_bytes()) {
            if let LineContent::Pair(pair) = &line.content
                && let Ok(field) = accept(text.as_bytes(), line, pair, &mut fields)
            {
                masked.keep(text.as_bytes(), line, pair, field);
            }
        }
        String::from_utf8(masked.0).unwrap()
    }

    #[test]
    fn the_parser_never_sees_the_key() {
        for text in [
            "vending_key: 0123456789abcdef",
            "\"vending_key\": '0123456789abcdef' # 0123456789abcdef",
            "# vending_key: 0123456789abcdef",
            "vending_key: 0123456789abcdef\nvending_key: 0123456789abcdef",
            "vending_key:\n  0123456789abcdef",
            "vending_key: >\n  0123456789abcdef",
            "vending_key: \"0123456789\n  abcdef\"",
            "\"vending\\x5fkey\": 0123456789abcdef",
            "Vending_Key: 0123456789abcdef",
            "vending-key: 0123456789abcdef",
            "vending_key: !!str 0123456789abcdef",
            "{vending_key: 0123456789abcdef}",
            "? vending_key\n: 0123456789abcdef",
            "name: a # 0123456789abcdef",
            "--- 0123456789abcdef",
            "a: b\n---\nvending_key: 0123456789abcdef",
            "\u{feff}vending_key: 0123456789abcdef",
            "%TAG 0123456789abcdef",
        ] {
            let seen = masked(text);
            assert!(!seen.contains("0123456789"), "{text:?}: {seen:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }

        /// Lines made of the pieces that matter: the parser never reads them otherwise than `lines`
        /// does, and no fault shows the key.
        #[test]
        fn both_readings_agree(
            name in pieces(),
            key in pieces(),
            free in pieces(),
        ) {
            let text = format!("name: {name}\nvending_key: {key}\n{free}\n");
            match read(text.as_bytes()) {
                Ok(fields) => {
                    for entry in fields.entries.iter().filter(|entry| entry.field == Field::VendingKey) {
                        prop_assert_eq!(&entry.value, &"x".repeat(entry.value.len()));
                    }
                    for fault in &fields.faults {
                        prop_assert!(!fault.to_string().contains("0123456"), "{}", fault);
                    }
                }
                Err(fault) => prop_assert_ne!(fault.reason, TextFault::Ambiguous.into(), "{:?}", text),
            }
        }
    }

    /// Up to six pieces of YAML in a row.
    fn pieces() -> impl Strategy<Value = String> {
        let piece = proptest::sample::select(vec![
            "name",
            "vending_key",
            "key_type",
            ":",
            ": ",
            " ",
            "\n",
            "\r",
            "'",
            "\"",
            "#",
            " #",
            "---",
            "...",
            "-",
            "- ",
            "&a",
            "*a",
            "!!str ",
            "|",
            ">",
            "{",
            "}",
            "[",
            "]",
            ",",
            "?",
            "~",
            "<<",
            "%",
            "\\",
            "\t",
            "0123456789abcdef",
            "a",
            "\u{a0}",
            "\u{feff}",
            "\u{85}",
            "null",
        ]);
        proptest::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
    }
}
