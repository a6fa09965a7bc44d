//! The ciphers of tokens.

use std::fmt;

/// A decoder key, borrowed: whoever derived it owns the bytes and wipes them. Most significant byte first.
#[derive(Clone, Copy)]
pub enum DecoderKey<'a> {
    /// For EA07 and EA09.
    Bits64(&'a [u8; 8]),
    /// For EA11.
    Bits128(&'a [u8; 16]),
}

impl<'a> DecoderKey<'a> {
    /// A key of 8 or 16 bytes; `None` for any other length.
    pub fn from_slice(bytes: &'a [u8]) -> Option<Self> {
        match bytes.len() {
            8 => bytes.try_into().ok().map(Self::Bits64),
            16 => bytes.try_into().ok().map(Self::Bits128),
            _ => None,
        }
    }

    /// The key's bytes, 8 or 16.
    pub fn as_bytes(&self) -> &'a [u8] {
        match self {
            Self::Bits64(bytes) => bytes.as_slice(),
            Self::Bits128(bytes) => bytes.as_slice(),
        }
    }
}

impl fmt::Debug for DecoderKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bits64(_) => "DecoderKey(64 bits)",
            Self::Bits128(_) => "DecoderKey(128 bits)",
        })
    }
}
