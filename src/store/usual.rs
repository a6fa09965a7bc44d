//! The usual days of clients, as the committer remembers them: days that are over do not change.

use std::collections::{BTreeMap, HashMap};

use super::engine::DaySum;
use crate::ledger::usual;

/// Tokens on the usual day of clients, by their numbers, as seen from a day.
#[derive(Debug, Default)]
pub(crate) struct UsualDays(HashMap<(i64, i64), Option<u64>>);

impl UsualDays {
    /// What is known.
    pub(super) fn get(&self, client: i64, day: i64) -> Option<Option<u64>> {
        self.0.get(&(client, day)).copied()
    }

    /// Notes the usual day of a client, by the sums of the days before.
    pub(super) fn note<'a>(
        &mut self,
        client: i64,
        day: i64,
        sums: impl Iterator<Item = &'a DaySum>,
    ) -> Option<u64> {
        let mut tokens: BTreeMap<i64, u64> = BTreeMap::new();
        for sum in sums {
            let of_day = tokens.entry(sum.day).or_default();
            *of_day = of_day.saturating_add(sum.sum.tokens);
        }
        let usual = usual(tokens.into_values());
        // The day before yesterday is over, whatever waited at midnight.
        self.0.retain(|(_, known), _| *known >= day - 1);
        self.0.insert((client, day), usual);
        usual
    }
}
