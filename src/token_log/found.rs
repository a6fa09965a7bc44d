//! What a line says, before the whole file has told how its dates and numbers are to be read.

use std::fmt;

use super::{moment::Moment, number::Number};

/// The digits of a token. [`fmt::Display`] gives them, [`fmt::Debug`] does not: they are worth
/// money until a meter has taken them.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TokenDigits(String);

impl TokenDigits {
    pub(super) fn new(digits: String) -> Self {
        Self(digits)
    }

    /// The last four, which name it without giving it away.
    pub fn last(&self) -> &str {
        &self.0[self.0.len().saturating_sub(4)..]
    }

    /// All 20.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TokenDigits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TokenDigits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenDigits(…{})", self.last())
    }
}

/// A token with what stands beside it.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    pub(super) line: u64,
    pub(super) token: Option<TokenDigits>,
    pub(super) meter: Option<String>,
    pub(super) units: Option<Number>,
    pub(super) unit: String,
    pub(super) amount: Option<Number>,
    pub(super) currency: String,
    pub(super) time: Option<Moment>,
    pub(super) notes: Vec<String>,
}

/// A line of a file that is not in the clean table, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotUnderstood {
    /// From 1, as editors count.
    pub line: u64,
    /// Why. It quotes no digits of tokens.
    pub why: String,
}
