//! What limits are counted in: a day, and the sums of it.

use std::fmt;

use crate::access::limits::Amount;

/// A day, in milliseconds.
pub(super) const DAY_MS: i64 = 86_400_000;

/// The day of an instant: counted from 1970, in UTC.
pub fn day_of(now_ms: i64) -> i64 {
    now_ms.div_euclid(DAY_MS)
}

/// The kind of what transfers no credit and is no management token.
pub const KEY_CHANGE: &str = "key_change";

/// The sums of one kind of tokens of one client on one day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// How many tokens.
    pub tokens: u64,
    /// What they transferred together.
    pub amount: Amount,
}

impl Sum {
    /// The higher of both, in tokens and in amount.
    #[must_use]
    pub fn higher(self, other: Self) -> Self {
        Self { tokens: self.tokens.max(other.tokens), amount: self.amount.max(other.amount) }
    }

    /// How much is missing to another one; none where nothing is.
    #[must_use]
    pub fn missing_to(self, other: Self) -> Self {
        let least_units = other.amount.least_units().saturating_sub(self.amount.least_units());
        Self {
            tokens: other.tokens.saturating_sub(self.tokens),
            amount: Amount::from_least_units(least_units),
        }
    }

    /// Adds another one.
    pub fn add(&mut self, other: Self) {
        self.tokens = self.tokens.saturating_add(other.tokens);
        self.amount = self.amount.plus(other.amount);
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tokens, {}", self.tokens, self.amount)
    }
}
