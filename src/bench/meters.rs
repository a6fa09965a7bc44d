//! Made-up meters: as many as a large utility has, so that none runs far ahead of the clock.
//!
//! They come scattered, as customers do: meters in the order of their numbers would write to the
//! same pages of an index again and again, and flatter the ledger.

use std::sync::atomic::{AtomicU64, Ordering};

/// Gives meters one after another: 11 digits with their check digit.
pub(super) struct Meters {
    next: AtomicU64,
}

const POPULATION: u64 = 2_000_000;

impl Meters {
    /// Starting anywhere, so that runs differ.
    pub(super) fn new() -> Self {
        Self { next: AtomicU64::new(uuid::Uuid::new_v4().as_u64_pair().1) }
    }

    pub(super) fn next(&self) -> String {
        let number = scatter(self.next.fetch_add(1, Ordering::Relaxed)) % POPULATION;
        format!("{number:010}{}", check_digit(number))
    }
}

/// Neighbours far apart: the last step of splitmix64.
fn scatter(number: u64) -> u64 {
    let number = (number ^ number >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ number >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ number >> 31
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
