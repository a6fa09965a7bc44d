//! The 66 bits of a token as 20 decimal digits (STS facts §3.2).

use std::fmt;
use std::str::FromStr;

use zeroize::{Zeroize, ZeroizeOnDrop};

/// Digits of a token.
pub(super) const DIGITS: usize = 20;
/// The lower of the two bits of the block that the class takes over.
const CLASS_BIT: u32 = 27;

/// Why a text is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not 20 decimal digits.
    #[error("a token is 20 decimal digits")]
    Shape,
    /// Above 2^66 - 1.
    #[error("the number is larger than any token, 73786976294838206463 at most")]
    TooLarge,
}

/// A token. [`fmt::Display`] gives its 20 digits, which are worth money; [`fmt::Debug`] does not.
#[derive(Clone, PartialEq, Eq, Hash, Zeroize, ZeroizeOnDrop)]
pub struct Token {
    /// Bits 65 and 64: what the class displaced.
    high: u8,
    /// Bits 63..0: the block, encrypted unless of class 1, with the class in bits 28 and 27.
    low: u64,
}

impl Token {
    /// Puts the class (0..=2) into a block that is encrypted as its class wants.
    pub(super) fn transpose(class: u8, block: u64) -> Self {
        let displaced = block >> CLASS_BIT & 0b11;
        Self { high: displaced as u8, low: block & !(0b11 << CLASS_BIT) | u64::from(class) << CLASS_BIT }
    }

    /// The class, 0..=3. It is never encrypted; 3 is reserved.
    pub fn class(&self) -> u8 {
        (self.low >> CLASS_BIT & 0b11) as u8
    }

    /// The block with its own bits back in their places, still encrypted if of class 0 or 2.
    pub(super) fn block(&self) -> u64 {
        self.low & !(0b11 << CLASS_BIT) | u64::from(self.high) << CLASS_BIT
    }
}

impl FromStr for Token {
    type Err = TokenError;

    /// Exactly 20 digits; what people type is for [`Token::typed`].
    fn from_str(text: &str) -> Result<Self, TokenError> {
        if text.len() != DIGITS || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(TokenError::Shape);
        }
        let number: u128 = text.parse().map_err(|_| TokenError::Shape)?;
        let high = u8::try_from(number >> 64).ok().filter(|high| *high < 4).ok_or(TokenError::TooLarge)?;
        Ok(Self { high, low: number as u64 })
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:020}", u128::from(self.high) << 64 | u128::from(self.low))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token(class {})", self.class())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_are_no_token() {
        for text in [
            "",
            "1234567890123456789",
            "123456789012345678901",
            "1234567890123456789x",
            "+1234567890123456789",
        ] {
            assert_eq!(text.parse::<Token>(), Err(TokenError::Shape), "{text}");
        }
        assert_eq!("73786976294838206464".parse::<Token>(), Err(TokenError::TooLarge));
        assert_eq!("99999999999999999999".parse::<Token>(), Err(TokenError::TooLarge));
        for text in ["73786976294838206463", "00000000000000000000"] {
            assert_eq!(text.parse::<Token>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn debug_shows_no_digits() {
        assert_eq!(format!("{:?}", "56493153725450313471".parse::<Token>().unwrap()), "Token(class 1)");
    }
}
