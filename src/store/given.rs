//! What clients were given today, as this server has seen it last: whoever lowers a sum in the database
//! lifts no limit.

use std::borrow::Cow;
use std::collections::HashMap;

use super::engine::DaySum;
use crate::ledger::Sum;

/// Sums by client, day and kind. They only grow, whichever server gives, so a lower one is somebody
/// else's.
#[derive(Debug, Default)]
pub(super) struct Given {
    sums: HashMap<(i64, Cow<'static, str>), Sum>,
    day: i64,
}

impl Given {
    /// A transaction was taken back, or a database accepted that has forgotten tokens: what is there
    /// now counts.
    pub(super) fn forget(&mut self) {
        self.sums.clear();
    }

    /// Notes sums as they are in the database. Of earlier days than the last nothing is remembered.
    pub(super) fn note<'a>(&mut self, sums: impl IntoIterator<Item = &'a DaySum>) {
        for sum in sums {
            if sum.day > self.day {
                self.sums.clear();
                self.day = sum.day;
            }
            if sum.day == self.day {
                self.sums.insert((sum.client, sum.kind.clone()), sum.sum);
            }
        }
    }

    /// What of the sums of a client on a day was lowered: the sums as they must be.
    pub(super) fn lowered(&self, client: i64, day: i64, found: &[DaySum]) -> Vec<DaySum> {
        if day != self.day {
            return Vec::new();
        }
        let known = self.sums.iter().filter(|((of, _), _)| *of == client);
        let lowered = |((_, kind), known): (&(i64, Cow<'static, str>), &Sum)| {
            let found = found.iter().find(|sum| sum.kind == *kind).map(|sum| sum.sum).unwrap_or_default();
            let higher = found.higher(*known);
            (higher != found).then(|| DaySum { client, day, kind: kind.clone(), sum: higher })
        };
        known.filter_map(lowered).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::limits::Amount;

    fn sum(day: i64, kind: &'static str, tokens: u64) -> DaySum {
        let sum = Sum { tokens, amount: Amount::from_least_units(tokens.into()) };
        DaySum { client: 1, day, kind: kind.into(), sum }
    }

    #[test]
    fn what_was_lowered_or_taken_out_is_known_until_the_day_is_over() {
        let mut given = Given::default();
        given.note(&[sum(5, "meter_test", 3), sum(5, "water_credit", 2)]);
        let found = [sum(5, "meter_test", 4), sum(5, "water_credit", 2)];
        assert_eq!(given.lowered(1, 5, &found), []);
        assert_eq!(given.lowered(1, 5, &found[..1]), [sum(5, "water_credit", 2)]);
        assert_eq!(
            given.lowered(1, 5, &[sum(5, "meter_test", 2), found[1].clone()]),
            [sum(5, "meter_test", 3)]
        );
        assert_eq!(given.lowered(2, 5, &[]), [], "another client");
        given.note(&[sum(6, "meter_test", 1)]);
        assert_eq!(given.lowered(1, 5, &[]), []);
        assert_eq!(given.lowered(1, 6, &[]), [sum(6, "meter_test", 1)]);
        given.forget();
        assert_eq!(given.lowered(1, 6, &[]), []);
    }
}
