//! Made-up meters: so many that none runs ahead of the clock.

use std::sync::atomic::{AtomicU64, Ordering};

/// Gives meters one after another: 11 digits with their check digit.
pub(super) struct Meters(AtomicU64);

impl Meters {
    /// Starting anywhere, so that runs differ.
    pub(super) fn new() -> Self {
        Self(AtomicU64::new(uuid::Uuid::new_v4().as_u64_pair().1 % 9_000_000_000))
    }

    pub(super) fn next(&self) -> String {
        let number = self.0.fetch_add(1, Ordering::Relaxed) % 10_000_000_000;
        format!("{number:010}{}", check_digit(number))
    }
}

/// Luhn (STS facts §1): from the right every other digit counts twice, beginning with the last.
fn check_digit(mut number: u64) -> u64 {
    let (mut sum, mut twice) = (0, true);
    while number > 0 {
        let digit = number % 10;
        let counted = if twice { digit * 2 } else { digit };
        sum += counted / 10 + counted % 10;
        (number, twice) = (number / 10, !twice);
    }
    (10 - sum % 10) % 10
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sts::meter::Drn;

    #[test]
    fn all_are_meters() {
        let meters = Meters::new();
        for _ in 0..1_000 {
            let meter = meters.next();
            assert!(meter.parse::<Drn>().is_ok(), "{meter}");
        }
    }
}
