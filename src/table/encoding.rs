//! Character encodings by their names.

use std::{fmt, str::FromStr};

/// A character encoding that a table may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoding(pub(super) &'static encoding_rs::Encoding);

impl fmt::Display for Encoding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.name().to_ascii_lowercase())
    }
}

impl FromStr for Encoding {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = encoding_rs::Encoding::for_label_no_replacement(text.as_bytes());
        known.map(Self).ok_or_else(|| {
            "expected utf-8, windows-1252, utf-16le, utf-16be or another name of the web's".to_owned()
        })
    }
}
