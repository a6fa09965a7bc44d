//! The base64 text of one blob, as any of the usual tools writes it.
//!
//! `base64` breaks lines at 76 columns, `openssl base64` at 64, `base64 -w0` and libraries not at all; Windows adds CR;
//! libraries may use the URL-safe alphabet and drop the padding. All of these are accepted (upload formats §3).

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use thiserror::Error;

/// The longest text that is looked at, in bytes. A configuration has at most 64 KiB, in base64 about 90 KiB.
const MAX_TEXT: usize = 256 * 1024;

/// Padding is optional; bits left over in the last character must be zero, as every encoder writes them.
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
    /// A character outside both alphabets; the line counts from 1.
    #[error("line {line} holds a character that is not base64")]
    BadCharacter {
        /// The line, counted from 1.
        line: usize,
    },
    /// Only base64 characters, but of an impossible number, or with padding in the middle: the text is cut short or joined of two.
    #[error("the base64 text is cut short, or two texts are joined")]
    Incomplete,
}

/// Decodes the base64 `text` of a blob. Blanks and line breaks may be anywhere.
pub(super) fn decode(text: &[u8]) -> Result<Vec<u8>, Base64Fault> {
    if text.len() > MAX_TEXT {
        return Err(Base64Fault::TooLong(text.len()));
    }
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let mut line = 1;
    let mut symbols = Vec::with_capacity(text.len());
    for &byte in text {
        match byte {
            b'\n' => line += 1,
            b' ' | b'\t' | b'\r' => {}
            b'-' => symbols.push(b'+'),
            b'_' => symbols.push(b'/'),
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' | b'=' => symbols.push(byte),
            _ => return Err(Base64Fault::BadCharacter { line }),
        }
    }
    if symbols.is_empty() {
        return Err(Base64Fault::Empty);
    }
    ANY_PADDING.decode(&symbols).map_err(|_| Base64Fault::Incomplete)
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
            (b"QUJD\nQ*JD", Base64Fault::BadCharacter { line: 2 }),
            (b"QUJD\xff", Base64Fault::BadCharacter { line: 1 }),
            (b"QUJD\0", Base64Fault::BadCharacter { line: 1 }),
            (b"QUJDR", Base64Fault::Incomplete),
            (b"QQ==QQ==", Base64Fault::Incomplete),
            (b"QR==", Base64Fault::Incomplete),
            (b"====", Base64Fault::Incomplete),
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
