//! The vending key, which never leaves the locked buffer that the text was decrypted into.
//!
//! Its hex digits are decoded in place and everything else in the buffer is wiped; what the YAML
//! parser gets is a copy made of other fields, with a placeholder where the key stood (`text`). So
//! the key exists once, in memory that the caller chose, until the HSM has it.

use std::fmt;
use std::ops::{DerefMut, Range};

use zeroize::Zeroize;

use super::fault::FieldReason;

/// A vending key of 8, 16 or 20 bytes in the first bytes of a buffer that holds nothing else.
///
/// `B` is locked memory in the server; it wipes itself when dropped, and this type wipes it first.
/// Neither clones nor prints.
pub struct VendingKeyBytes<B: DerefMut<Target = [u8]>> {
    buffer: B,
    length: usize,
}

impl<B: DerefMut<Target = [u8]>> VendingKeyBytes<B> {
    /// The key, most significant byte first: 8 bytes (DES), 16 (K1, K2 of triple DES) or 20 (HMAC).
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[..self.length]
    }

    /// Whether every byte has odd parity, as real DES keys have.
    pub(super) fn has_odd_parity(&self) -> bool {
        self.bytes().iter().fold(true, |odd, byte| odd & (byte.count_ones() % 2 == 1))
    }

    /// Decodes the hex digits at `digits` in place and wipes the rest of `buffer`, also when they
    /// are refused.
    ///
    /// # Errors
    /// Not hex, or of a length that no algorithm takes.
    pub(super) fn cut(mut buffer: B, digits: Range<usize>) -> Result<Self, FieldReason> {
        match decode_in_place(&mut buffer, digits) {
            Ok(length) => Ok(Self { buffer, length }),
            Err(reason) => {
                buffer.zeroize();
                Err(reason)
            }
        }
    }
}

impl<B: DerefMut<Target = [u8]>> Drop for VendingKeyBytes<B> {
    fn drop(&mut self) {
        self.buffer.zeroize();
    }
}

impl<B: DerefMut<Target = [u8]>> fmt::Debug for VendingKeyBytes<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VendingKeyBytes({} bytes)", self.length)
    }
}

/// What is wrong with a value as a vending key, without decoding it: it tells nothing but its
/// number of digits.
pub(super) fn check(value: &[u8]) -> Result<(), FieldReason> {
    if value.is_empty() {
        return Err(FieldReason::Empty);
    }
    if !value.iter().all(u8::is_ascii_hexdigit) {
        return Err(FieldReason::KeyNotHex);
    }
    match value.len() {
        16 | 32 | 40 => Ok(()),
        digits => Err(FieldReason::KeyLength { digits }),
    }
}

fn decode_in_place(buffer: &mut [u8], digits: Range<usize>) -> Result<usize, FieldReason> {
    check(buffer.get(digits.clone()).unwrap_or_default())?;
    let length = digits.len() / 2;
    for index in 0..length {
        // Written at `index`, read from `digits.start + 2 * index` on: never behind.
        let high = nibble(buffer[digits.start + 2 * index]);
        let low = nibble(buffer[digits.start + 2 * index + 1]);
        buffer[index] = high << 4 | low;
    }
    buffer[length..].zeroize();
    Ok(length)
}

/// The value of a hex digit, without a branch or a table that depends on it: `0`..`9` are 0x30..,
/// letters have bit 6.
fn nibble(digit: u8) -> u8 {
    (digit & 0x0f) + 9 * (digit >> 6)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str, digits: Range<usize>) -> Result<VendingKeyBytes<Box<[u8]>>, FieldReason> {
        VendingKeyBytes::cut(text.as_bytes().into(), digits)
    }

    #[test]
    fn the_key_stays_alone_in_its_buffer() {
        let key = cut("name: a\nvending_key: 0123456789abCDEF\nkey_type: 2\n", 21..37).unwrap();
        assert_eq!(key.bytes(), [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef]);
        assert!(key.buffer[8..].iter().all(|byte| *byte == 0));
        assert!(key.has_odd_parity());
        assert_eq!(format!("{key:?}"), "VendingKeyBytes(8 bytes)");
        let at_start = cut("0abc12def34567890000000000000000", 0..32).unwrap();
        assert_eq!(at_start.bytes()[..8], [0x0a, 0xbc, 0x12, 0xde, 0xf3, 0x45, 0x67, 0x89]);
        assert_eq!(at_start.bytes().len(), 16);
        assert!(!at_start.has_odd_parity());
        assert_eq!(cut(&"AB".repeat(20), 0..40).unwrap().bytes(), [0xab; 20]);
    }

    #[test]
    fn other_lengths_and_characters_are_refused() {
        for (value, reason) in [
            ("", FieldReason::Empty),
            ("0x0123456789abcdef", FieldReason::KeyNotHex),
            ("01 23 45 67 89 ab cd ef", FieldReason::KeyNotHex),
            ("0123456789abcdeg", FieldReason::KeyNotHex),
            ("01234567é9abcde", FieldReason::KeyNotHex),
            ("0123456789abcde", FieldReason::KeyLength { digits: 15 }),
            ("0123456789abcdef0", FieldReason::KeyLength { digits: 17 }),
            ("ABABABABABABABAB94949494949494940123456716", FieldReason::KeyLength { digits: 42 }),
        ] {
            assert_eq!(cut(value, 0..value.len()).err(), Some(reason), "{value}");
        }
        assert_eq!(cut("ab", 1..9).err(), Some(FieldReason::Empty));
    }

    #[test]
    fn every_hex_digit() {
        for digit in b"0123456789abcdefABCDEF" {
            let expected = char::from(*digit).to_digit(16).unwrap();
            assert_eq!(u32::from(nibble(*digit)), expected);
        }
    }
}
