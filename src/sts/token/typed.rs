//! Tokens as people type and paste them.

use thiserror::Error;

use super::digits::{DIGITS, Token, TokenError};
use crate::sts::typed::{self, TypedError};

/// The least significant digits of a long number are zeros when a spreadsheet has stored it, which
/// keeps 15.
const LOST: &str = "00000";

/// Why what was typed is no token. Never quotes a digit.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TypedTokenError {
    /// Not digits alone.
    #[error(transparent)]
    Digits(#[from] TypedError),
    /// Fewer or more than 20 digits.
    #[error("it has {}, and a token has 20: {}", counted(*.0), difference(*.0))]
    Count(usize),
    /// A number that no token is.
    #[error(transparent)]
    Number(#[from] TokenError),
}

fn counted(digits: usize) -> String {
    if digits == 1 { "1 digit".to_owned() } else { format!("{digits} digits") }
}

fn difference(digits: usize) -> String {
    let are = |count: usize| if count == 1 { "is" } else { "are" };
    match digits.checked_sub(DIGITS) {
        Some(more) => format!("{more} {} too many", are(more)),
        None if digits + 1 == DIGITS => "1 is missing (a spreadsheet drops a zero in front)".to_owned(),
        None => format!("{} {} missing", DIGITS - digits, are(DIGITS - digits)),
    }
}

impl Token {
    /// Reads a token as people type it, see [`typed::digits`].
    ///
    /// ```
    /// use vendkey::sts::token::{Token, TypedTokenError};
    ///
    /// let token = Token::typed("Token: 7063-0503-4700-2872-6114")?;
    /// assert_eq!(token.to_string(), "70630503470028726114");
    /// // Letters are never guessed at, and the error says which and where.
    /// let refused = Token::typed("7O63 0503 4700 2872 6114").unwrap_err();
    /// assert!(refused.to_string().contains("the letter O"));
    /// assert_eq!(Token::typed("7063 0503 4700"), Err(TypedTokenError::Count(12)));
    /// # Ok::<(), TypedTokenError>(())
    /// ```
    ///
    /// # Errors
    /// [`TypedTokenError`].
    pub fn typed(text: &str) -> Result<Self, TypedTokenError> {
        let digits = typed::digits(text)?;
        if digits.len() != DIGITS {
            return Err(TypedTokenError::Count(digits.len()));
        }
        Ok(digits.parse()?)
    }

    /// Whether its last digits look as if a spreadsheet had lost them. One sound token in a hundred
    /// thousand does.
    pub fn looks_rounded(&self) -> bool {
        self.to_string().ends_with(LOST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What people pasted (tests/cases/token-spellings): all but the last two are the same token.
    #[test]
    fn the_spellings_of_people() {
        let lines: Vec<&str> =
            include_str!("../../../tests/cases/token-spellings/tokens.txt").lines().collect();
        let (no_tokens, tokens) = lines.split_last_chunk::<2>().map(|(tokens, last)| (last, tokens)).unwrap();
        assert_eq!(tokens.len(), 10);
        for line in tokens {
            assert_eq!(Token::typed(line).unwrap().to_string(), "56493153725450313471", "{line}");
        }
        let why = no_tokens.map(|line| Token::typed(line).unwrap_err().to_string());
        assert_eq!(why[0], "character 24, where digit 20 should be, is the letter I (the digit 1?)");
        assert_eq!(why[1], "it has 18 digits, and a token has 20: 2 are missing");
    }

    #[test]
    fn counts_and_numbers() {
        let why = |text: &str| Token::typed(text).unwrap_err().to_string();
        assert!(
            why("1234567890123456789").contains("19 digits") && why("1234567890123456789").contains("zero")
        );
        assert_eq!(why("5649 3153 7254 5031 34715"), "it has 21 digits, and a token has 20: 1 is too many");
        assert_eq!(why("1"), "it has 1 digit, and a token has 20: 19 are missing");
        assert!(why("73786976294838206464").contains("larger than any token"));
        assert!(why("5.64931537254503E+19").contains("spreadsheet"));
        assert!(Token::typed("56493153725450300000").unwrap().looks_rounded());
        assert!(!Token::typed("56493153725450313471").unwrap().looks_rounded());
    }
}
