//! Short strings of decimal digits, held inline.

/// Up to `N` (at most 255) ASCII digits. Ordered by length, then as text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Digits<const N: usize> {
    len: u8,
    ascii: [u8; N],
}

impl<const N: usize> Digits<N> {
    /// `text` if it is nothing but 1 to `N` ASCII digits.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let len = u8::try_from(text.len()).ok()?;
        if text.is_empty() || text.len() > N || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let mut ascii = [b'0'; N];
        ascii[..text.len()].copy_from_slice(text.as_bytes());
        Some(Self { len, ascii })
    }

    /// `len` zeros, `N` at most.
    pub(super) fn zeros(len: usize) -> Self {
        Self { len: len.min(N).min(255) as u8, ascii: [b'0'; N] }
    }

    /// The digits one after another.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.ascii[..usize::from(self.len)]
    }

    /// The digits as text.
    pub(super) fn as_str(&self) -> &str {
        // Only `parse` fills the array, and it takes ASCII digits alone: the default is never used.
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

/// The Luhn check digit (0..=9) that belongs behind `digits` (ASCII), doubling from the rightmost;
/// other bytes count as what they are modulo ten, so parse first.
pub(super) fn luhn(digits: &[u8]) -> u8 {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(index, digit)| {
            let value = u32::from(digit.wrapping_sub(b'0') % 10);
            let weighted = if index % 2 == 0 { value * 2 } else { value };
            weighted / 10 + weighted % 10
        })
        .sum();
    // 0..=9, so the narrowing loses nothing.
    ((10 - sum % 10) % 10) as u8
}

/// Implements what every type made of one [`Digits`] has in common: text in, text out, no surprise
/// in `Debug`.
macro_rules! digit_text {
    ($type:ty) => {
        impl $type {
            /// The digits as text.
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!(stringify!($type), "({})"), self.as_str())
            }
        }
    };
}
pub(super) use digit_text;
