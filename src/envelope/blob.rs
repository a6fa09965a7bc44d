//! The base64 text of one blob, as any of the usual tools writes it.
//!
//! `base64` breaks lines at 76 columns, `openssl base64` at 64, `base64 -w0` and libraries not at
//! all; Windows adds CR; libraries may use the URL-safe alphabet and drop the padding. All of these
//! are accepted (upload formats §3).

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use thiserror::Error;

/// The longest text that is looked at, in bytes. A configuration has at most 64 KiB, in base64
/// about 90 KiB.
pub(super) const MAX_TEXT: usize = 256 * 1024;

/// Padding is optional; bits left over in the last character must be zero, as every encoder writes
/// them.
const ANY_PADDING: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why a text is not base64. The blobs are ciphertext and public, so that the place may be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Base64Fault {
    /// No character besides blanks and line breaks.
    #[error("the file is empty")]
    Empty,
    /// Longer than any upload can be.
    #[error("the text has {0} bytes, more than any upload needs")]
    TooLong(usize),
    /// A character outside both alphabets.
    #[error("line {line} holds {} at column {column}, which is not base64", shown(*.character))]
    BadCharacter {
        /// The line, counted from 1.
        line: usize,
        /// The character of the line, counted from 1.
        column: usize,
        /// The character; U+FFFD for a byte that is no UTF-8.
        character: char,
    },
    /// Padding with something behind it.
    #[error("line {line} goes on behind the padding (=): two texts are joined")]
    Joined {
        /// The line, counted from 1.
        line: usize,
    },
    /// Only base64 characters, but blanks among them, and of an impossible number.
    #[error(
        "the base64 text has blanks inside its lines and is too short: perhaps a form has made blanks of its +"
    )]
    Blanks,
    /// Only base64 characters, but of an impossible number, or with bits left over: the text is cut
    /// short.
    #[error("the base64 text is cut short: it has {symbols} characters")]
    Incomplete {
        /// How many characters it has, without blanks and padding.
        symbols: usize,
    },
}

/// A character for a person to look for.
fn shown(character: char) -> String {
    match character {
        char::REPLACEMENT_CHARACTER => "a byte that is no UTF-8".to_owned(),
        _ if character.is_control() || !character.is_ascii() && !character.is_alphanumeric() => {
            format!("the character U+{:04X}", u32::from(character))
        }
        _ => format!("`{character}`"),
    }
}

/// Decodes the base64 `text` of a blob. Blanks and line breaks may be anywhere.
pub(super) fn decode(text: &[u8]) -> Result<Vec<u8>, Base64Fault> {
    if text.len() > MAX_TEXT {
        return Err(Base64Fault::TooLong(text.len()));
    }
    let text = String::from_utf8_lossy(text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text));
    let mut symbols = Vec::with_capacity(text.len());
    let mut padded = false;
    for (number, line) in text.split('\n').enumerate() {
        for (place, character) in line.chars().enumerate() {
            match character {
                ' ' | '\t' | '\r' => {}
                '=' => padded = true,
                'A'..='Z' | 'a'..='z' | '0'..='9' | '+' | '/' | '-' | '_' if padded => {
                    return Err(Base64Fault::Joined { line: number + 1 });
                }
                '-' => symbols.push(b'+'),
                '_' => symbols.push(b'/'),
                'A'..='Z' | 'a'..='z' | '0'..='9' | '+' | '/' => symbols.push(character as u8),
                _ => {
                    let (line, column) = (number + 1, place + 1);
                    return Err(Base64Fault::BadCharacter { line, column, character });
                }
            }
        }
    }
    if symbols.is_empty() {
        return Err(if padded { Base64Fault::Incomplete { symbols: 0 } } else { Base64Fault::Empty });
    }
    let has_blanks = text.lines().any(|line| line.trim().contains(' '));
    let cut =
        if has_blanks { Base64Fault::Blanks } else { Base64Fault::Incomplete { symbols: symbols.len() } };
    ANY_PADDING.decode(&symbols).map_err(|_| cut)
}

/// Encodes like the command line tools: lines of `columns` characters, each ended by a line feed.
pub(super) fn encode(bytes: &[u8], columns: usize) -> String {
    let flat = ANY_PADDING.encode(bytes);
    let mut text = String::with_capacity(flat.len() + flat.len() / columns.max(1) + 1);
    for (place, symbol) in flat.chars().enumerate() {
        if place > 0 && place % columns.max(1) == 0 {
            text.push('\n');
        }
        text.push(symbol);
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_usual_way_of_writing_is_read() {
        // fb ff bf: the characters 62 and 63 of both alphabets; one byte more: padding.
        let bytes = [0xfb, 0xff, 0xbf, 0x41];
        for text in [
            "+/+/QQ==",
            "-_-_QQ==",
            "+/+/QQ",
            "-_-_QQ",
            "+/+/QQ==\n",
            "+/\n+/\nQQ\n==\n",
            "+/+/\r\nQQ==\r\n",
            "  +/+/ QQ ==  \n\n",
            "\u{feff}+/+/QQ==",
            "+/+/\tQQ==",
        ] {
            assert_eq!(decode(text.as_bytes()).unwrap(), bytes, "{text:?}");
        }
    }

    #[test]
    fn what_is_not_base64_is_refused_with_its_reason() {
        let cases: &[(&[u8], Base64Fault)] = &[
            (b"", Base64Fault::Empty),
            (b" \r\n\n", Base64Fault::Empty),
            (b"QUJD\nQ*JD", Base64Fault::BadCharacter { line: 2, column: 2, character: '*' }),
            (b"QUJD\xff", Base64Fault::BadCharacter { line: 1, column: 5, character: '\u{fffd}' }),
            (b"QUJD\0", Base64Fault::BadCharacter { line: 1, column: 5, character: '\0' }),
            (b"QUJDR", Base64Fault::Incomplete { symbols: 5 }),
            (b"QU JDR", Base64Fault::Blanks),
            (b"QQ==\nQQ==", Base64Fault::Joined { line: 2 }),
            (b"QR==", Base64Fault::Incomplete { symbols: 2 }),
            (b"====", Base64Fault::Incomplete { symbols: 0 }),
        ];
        for (text, fault) in cases {
            assert_eq!(decode(text), Err(*fault), "{text:?}");
        }
        assert_eq!(decode(&vec![b'A'; MAX_TEXT + 1]), Err(Base64Fault::TooLong(MAX_TEXT + 1)));
    }

    #[test]
    fn line_widths_are_those_of_the_command_line_tools() {
        // The lengths that upload formats §1 gives for 320 and 512 bytes.
        assert_eq!(encode(&[0; 320], 76).len(), 434);
        assert_eq!(encode(&[0; 512], 64).len(), 695);
        assert_eq!(encode(&[0; 512], 76).len(), 693);
        assert_eq!(encode(&[0; 57], 76).lines().count(), 1);
    }

    proptest! {
        #[test]
        fn round_trip(bytes in proptest::collection::vec(any::<u8>(), 1..300), columns in 1usize..100) {
            prop_assert_eq!(decode(encode(&bytes, columns).as_bytes()), Ok(bytes));
        }

        #[test]
        fn any_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(&bytes);
        }
    }
}
