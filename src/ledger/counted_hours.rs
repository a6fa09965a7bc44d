//! What was vended by the hour before the sums of hours were kept, counted from the rows of the
//! ledger: what a report says of the time before an older server was replaced.

use std::collections::BTreeMap;

use super::counted::kind_and_amount;
use super::report::{HourOfConfiguration, Hours, hour_of};
use super::sum::Sum;
use super::{TokenFilter, TokenRow};
use crate::access::limits::Amount;
use crate::id::ConfigurationId;

/// What was counted so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CountedHours {
    first_kept: i64,
    sums: BTreeMap<(i64, Option<ConfigurationId>, &'static str), Sum>,
}

impl CountedHours {
    /// Up to the first hour of which anything is kept, and that hour too: a part of it may lack.
    pub fn before(first_kept: i64) -> Self {
        Self { first_kept, sums: BTreeMap::new() }
    }

    /// The first hour of which anything was kept.
    pub fn first_kept(&self) -> Hours {
        Hours { first: self.first_kept, last: self.first_kept }
    }

    /// The rows that are to be counted.
    pub fn filter(&self) -> TokenFilter {
        TokenFilter { until_ms: Some(self.first_kept().instants_ms().1), ..TokenFilter::default() }
    }

    /// Counts rows.
    pub fn add(&mut self, rows: &[TokenRow]) {
        for row in rows {
            let Some((kind, amount)) = kind_and_amount(row) else { continue };
            let key = (hour_of(row.issued_ms), row.content.configuration(), kind);
            self.sums.entry(key).or_default().add(Sum { tokens: 1, amount });
        }
    }

    /// What was counted and is not kept. `kept` is what is kept of the first hour.
    pub fn lacking(&self, kept: impl IntoIterator<Item = HourOfConfiguration>) -> Vec<HourOfConfiguration> {
        let mut lacking: BTreeMap<_, Sum> = self
            .sums
            .iter()
            .map(|((hour, of, kind), sum)| ((*hour, *of, (*kind).to_owned()), *sum))
            .collect();
        for HourOfConfiguration { hour, configuration, kind, sum } in kept {
            if let Some(counted) = lacking.get_mut(&(hour, configuration, kind)) {
                counted.tokens = counted.tokens.saturating_sub(sum.tokens);
                let left = counted.amount.least_units().saturating_sub(sum.amount.least_units());
                counted.amount = Amount::from_least_units(left);
            }
        }
        let lacks = lacking.into_iter().filter(|(_, sum)| sum.tokens > 0);
        lacks
            .map(|((hour, configuration, kind), sum)| HourOfConfiguration { hour, configuration, kind, sum })
            .collect()
    }
}
