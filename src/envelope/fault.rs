//! Every reason to refuse the text of a configuration.
//!
//! These texts reach the administrator, the log and the audit record. None of them may hold a piece
//! of the vending key, wherever in the text it was put by mistake: see [`quotable_value`] and
//! [`quotable_name`].

use std::fmt;

use thiserror::Error;

/// How many faults one answer names; a text with more has a common cause.
pub(super) const MAX_FAULTS: usize = 64;

/// What a fault that belongs to no field is filed under: the blob that holds the text.
pub(super) const WHOLE_TEXT: &str = "data";

/// One fault of a configuration text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldFault {
    /// The field's name as in the text, or `data` where the fault belongs to none or the name could
    /// hold a secret.
    pub field: String,
    /// The line, counted from 1, where one is to blame.
    pub line: Option<usize>,
    /// What is wrong.
    pub reason: FieldReason,
}

impl FieldFault {
    pub(super) fn new(field: &str, line: Option<usize>, reason: FieldReason) -> Self {
        Self { field: field.to_owned(), line, reason }
    }

    pub(super) fn whole(reason: TextFault) -> Self {
        Self::new(WHOLE_TEXT, None, reason.into())
    }
}

impl fmt::Display for FieldFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.reason)?;
        match self.line {
            Some(line) => write!(f, " (line {line})"),
            None => Ok(()),
        }
    }
}

/// What is wrong with a field.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FieldReason {
    /// The text as a whole cannot be read.
    #[error(transparent)]
    Text(#[from] TextFault),
    /// The line is not a plain `field: value`.
    #[error(transparent)]
    Form(#[from] FormFault),
    /// A required field that the text does not have.
    #[error("is missing")]
    Missing,
    /// The field stands in the text more than once.
    #[error("stands in the text more than once")]
    Duplicate,
    /// The field has no value.
    #[error("has no value")]
    Empty,
    /// No field of this name exists.
    #[error("is not a field of a configuration")]
    Unknown,
    /// The value is not one of those that the field can have.
    #[error("must be {expected}{}", got.as_deref().map(|value| format!(", not {value:?}")).unwrap_or_default())]
    Value {
        /// What the field takes, as a phrase.
        expected: &'static str,
        /// The value, where it can be shown.
        got: Option<String>,
    },
    /// A known value that Vendkey does not serve.
    #[error("{0} is known, but not supported")]
    NotSupported(&'static str),
    /// The name is longer than a name needs to be.
    #[error("has {characters} characters, more than {limit}")]
    NameTooLong {
        /// Its length in characters.
        characters: usize,
        /// The most that is accepted.
        limit: usize,
    },
    /// The name contains the vending key: names are shown and stored.
    #[error("contains the vending key, and names are shown and stored")]
    NameHoldsKey,
    /// The vending key stands among the clear attributes of a sealed upload.
    #[error("must not stand here: consider this vending key known to others")]
    KeyInClear,
    /// The vending key is not written in hex digits.
    #[error("must be hex digits only, without blanks, prefix or separators")]
    KeyNotHex,
    /// A vending key of a length that no algorithm has.
    #[error(
        "has {digits} digits; it must have 16, 32 or 40{}",
        if *digits == 42 { " (the published 42-digit test keys end in two digits that are not part of the key: drop the last two)" } else { "" }
    )]
    KeyLength {
        /// How many hex digits there are.
        digits: usize,
    },
    /// A vending key of a length that this configuration's DKGA does not take.
    #[error("has {digits} digits; decoder key generation algorithm {dkga:02} takes {expected}")]
    KeyLengthForAlgorithm {
        /// How many hex digits there are.
        digits: usize,
        /// The code of the DKGA, 1 to 4.
        dkga: u8,
        /// How many digits it takes.
        expected: usize,
    },
}

/// What is wrong with the text as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TextFault {
    /// More than 64 KiB.
    #[error("the text has {0} bytes, more than 65536")]
    TooLong(usize),
    /// Not UTF-8.
    #[error("the text is not UTF-8")]
    NotUtf8,
    /// UTF-16, by its byte order mark.
    #[error("the text is UTF-16: save it as UTF-8")]
    Utf16,
    /// No line holds a field.
    #[error("the text holds no fields")]
    NoFields,
    /// The YAML parser reads another thing than the lines show. Refused, because the key may not
    /// have been cut out.
    #[error("the text is not a flat list of `field: value` lines")]
    Ambiguous,
}

/// Why a line is not the plain `field: value` that a configuration is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FormFault {
    /// A tab; YAML tools disagree about them.
    #[error("the line holds a tab: use blanks")]
    Tab,
    /// A non-breaking or otherwise special space, as copied from a web page.
    #[error("the line holds a non-breaking space (copied from a web page?): type it anew")]
    SpecialSpace,
    /// A control character or an invisible one.
    #[error("the line holds a control or invisible character, U+{0:04X}")]
    Control(u32),
    /// Indented deeper (or less) than the first field: nesting or a continued value.
    #[error("the line is indented: values stand on the field's line, without nesting")]
    Nested,
    /// A list entry.
    #[error("the line is a list entry")]
    List,
    /// `{` or `[`.
    #[error("braces and brackets are not allowed here")]
    Flow,
    /// `&`.
    #[error("anchors are not allowed")]
    Anchor,
    /// `*`.
    #[error("aliases are not allowed")]
    Alias,
    /// `!`.
    #[error("tags are not allowed")]
    Tag,
    /// `|` or `>`.
    #[error("block texts are not allowed")]
    Block,
    /// `%` at the start of a line.
    #[error("directives are not allowed")]
    Directive,
    /// A second `---`, or anything after `...`.
    #[error("the text holds more than one document")]
    SecondDocument,
    /// A line without `field:`.
    #[error("the line is not of the form `field: value`")]
    NotAPair,
    /// A quotation mark that is not closed on its line.
    #[error("the quotation mark is not closed on its line")]
    OpenQuote,
    /// Something besides a comment after the closing quotation mark.
    #[error("text follows the closing quotation mark")]
    AfterQuote,
    /// A backslash; escapes can hide what is written.
    #[error("escapes with a backslash are not allowed")]
    Escape,
    /// A value that YAML does not take without quotation marks.
    #[error("a value with a colon or a special first character needs quotation marks")]
    NeedsQuotes,
}

/// The value as it may be shown: only short ones, and none that could be a piece of a key.
pub(super) fn quotable_value(value: &str) -> Option<String> {
    let plain = value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    // Six characters are at most a third of a key in any writing.
    (value.len() <= 6 && plain).then(|| value.to_owned())
}

/// An unknown field's name as it may be shown: only what reads like a name and has no long run of
/// hex digits.
pub(super) fn quotable_name(name: &[u8]) -> Option<&str> {
    let longest_hex = name.split(|byte| !byte.is_ascii_hexdigit()).map(<[u8]>::len).max().unwrap_or(0);
    let plain = name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    if (1..=40).contains(&name.len()) && plain && longest_hex < 7 {
        std::str::from_utf8(name).ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_be_a_key_is_not_quoted() {
        for shown in ["01w", "misty2", "Prism", "123456"] {
            assert!(quotable_value(shown).is_some(), "{shown}");
        }
        for hidden in [
            "0123456789ab",
            "0123456",
            "numeric x",
            "ASNFZ4mrze8=",
            "0x01234567",
            "vending_key 12",
            "a\u{a0}b",
            "line\nbreak",
        ] {
            assert!(quotable_value(hidden).is_none(), "{hidden}");
        }
        assert_eq!(quotable_name(b"tarif_index"), Some("tarif_index"));
        for hidden in [&b""[..], b"0123456789abcdef", b"key_0123456789", b"a b", b"\xff", &[b'g'; 41]] {
            assert!(quotable_name(hidden).is_none(), "{hidden:?}");
        }
    }

    #[test]
    fn a_fault_says_where_and_why() {
        let fault = FieldFault::new("vending_key", Some(9), FieldReason::KeyLength { digits: 42 });
        let text = fault.to_string();
        assert!(text.starts_with("vending_key: has 42 digits"), "{text}");
        assert!(text.contains("drop the last two") && text.ends_with("(line 9)"), "{text}");
        let fault = FieldFault::new(
            "tariff_index",
            None,
            FieldReason::Value { expected: "two digits", got: Some("01w".into()) },
        );
        assert_eq!(fault.to_string(), "tariff_index: must be two digits, not \"01w\"");
    }
}
