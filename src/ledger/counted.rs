//! What was given on one day, counted again from the rows of the ledger.
//!
//! Limits are counted against sums that are kept beside the rows, and reports are made of others.
//! Whoever lowers a sum in the database lifts a limit or bends a report, so the sums are compared
//! with the rows, which the chain keeps.

use std::collections::BTreeMap;

use super::report::{Hours, hour_of};
use super::sum::{DAY_MS, KEY_CHANGE, Sum, day_of};
use super::{Cursor, RowContent, TokenFilter, TokenRow};
use crate::access::limits::Amount;
use crate::access::rights::TokenKind;
use crate::id::{ClientId, ConfigurationId};
use crate::sts::attributes::EncryptionAlgorithm;
use crate::sts::token::Content;

/// What a sum is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SumOf {
    /// A client's day, against which limits are counted.
    Client(ClientId),
    /// An hour of a configuration, or of tokens of class 1 that name none, for reports.
    Hour(i64, Option<ConfigurationId>),
}

/// A sum that is kept and not what the rows say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SumMismatch {
    /// What it is of.
    pub of: SumOf,
    /// Of which kind of tokens.
    pub kind: &'static str,
    /// What is kept.
    pub kept: Sum,
    /// What the rows say.
    pub counted: Sum,
}

impl SumMismatch {
    /// The higher of both, which counts against limits.
    pub fn higher(&self) -> Sum {
        self.kept.higher(self.counted)
    }

    /// The act that tells that it was raised.
    pub fn raised(&self) -> &'static str {
        match self.of {
            SumOf::Client(_) => "usage.raised",
            SumOf::Hour(..) => "report.raised",
        }
    }

    /// The act that tells that it is above what the rows say.
    pub fn above(&self) -> &'static str {
        match self.of {
            SumOf::Client(_) => "usage.above_ledger",
            SumOf::Hour(..) => "report.above_ledger",
        }
    }

    /// What is put on record of it.
    pub fn details(&self) -> BTreeMap<&'static str, String> {
        let mut details = BTreeMap::from([
            ("kind", self.kind.to_owned()),
            ("kept", self.kept.to_string()),
            ("ledger", self.counted.to_string()),
        ]);
        match self.of {
            SumOf::Client(client) => drop(details.insert("client", client.to_string())),
            SumOf::Hour(hour, configuration) => {
                details.insert("hour", hour.to_string());
                details.extend(configuration.map(|id| ("configuration", id.to_string())));
            }
        }
        details
    }
}

/// What was counted so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CountedDay {
    day: i64,
    after: Cursor,
    sums: BTreeMap<(SumOf, &'static str), Sum>,
}

impl CountedDay {
    /// The day (UTC) of an instant, of which nothing is counted yet.
    pub fn of(now_ms: i64) -> Self {
        Self { day: day_of(now_ms), after: Cursor::default(), sums: BTreeMap::new() }
    }

    /// The day, counted from 1970.
    pub fn day(&self) -> i64 {
        self.day
    }

    /// The rows that are to be counted.
    pub fn filter(&self) -> TokenFilter {
        let from_ms = self.day.saturating_mul(DAY_MS);
        TokenFilter {
            from_ms: Some(from_ms),
            until_ms: Some(from_ms.saturating_add(DAY_MS)),
            ..TokenFilter::default()
        }
    }

    /// Its hours.
    pub fn hours(&self) -> Hours {
        let (from_ms, until_ms) =
            (self.day.saturating_mul(DAY_MS), self.day.saturating_add(1).saturating_mul(DAY_MS));
        Hours { first: hour_of(from_ms), last: hour_of(until_ms.saturating_sub(1)) }
    }

    /// Where counting goes on.
    pub fn after(&self) -> &Cursor {
        &self.after
    }

    /// Counts rows that follow on those that were counted.
    pub fn add(&mut self, rows: &[TokenRow]) {
        for row in rows {
            self.after.pass(row.sequence);
            let Some((kind, amount)) = kind_and_amount(row) else { continue };
            let one = Sum { tokens: 1, amount };
            let hour = SumOf::Hour(hour_of(row.issued_ms), row.content.configuration());
            for of in [SumOf::Client(row.client), hour] {
                self.sums.entry((of, kind)).or_default().add(one);
            }
        }
    }

    /// The sums that are not what was counted. Kinds that this version does not know are passed
    /// over.
    pub fn mismatches(&self, kept: impl IntoIterator<Item = (SumOf, String, Sum)>) -> Vec<SumMismatch> {
        let mut both: BTreeMap<(SumOf, &'static str), (Sum, Sum)> =
            self.sums.iter().map(|(key, counted)| (*key, (Sum::default(), *counted))).collect();
        for (of, kind, sum) in kept {
            let known = match kind.parse::<TokenKind>() {
                Ok(kind) => kind.as_str(),
                Err(_) if kind == KEY_CHANGE => KEY_CHANGE,
                Err(_) => continue,
            };
            both.entry((of, known)).or_default().0 = sum;
        }
        let differ = both.into_iter().filter(|(_, (kept, counted))| kept != counted);
        let mismatch = |((of, kind), (kept, counted))| SumMismatch { of, kind, kept, counted };
        differ.map(mismatch).collect()
    }
}

/// The kind of a row's token, and what it transfers; `None`: nothing that this version has issued.
pub(super) fn kind_and_amount(row: &TokenRow) -> Option<(&'static str, Amount)> {
    let (kind, amount) = match &row.content {
        // Which cipher a block is for matters to key changes alone.
        RowContent::Sequenced { block, .. } => match Content::parse(block, EncryptionAlgorithm::Ea07) {
            Ok(Content::Vending { payload, .. }) => {
                (TokenKind::of(&payload).as_str(), Amount::transferred(&payload))
            }
            _ => return None,
        },
        RowContent::Fixed { .. } => (TokenKind::MeterTest.as_str(), None),
        RowContent::KeyChange { .. } => (KEY_CHANGE, None),
    };
    Some((kind, amount.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_that_are_missing_or_too_many_differ() {
        let client = SumOf::Client(ClientId::from_bytes([1; 16]));
        let sum = |tokens| Sum { tokens, amount: Amount::from_least_units(u128::from(tokens)) };
        let mut counted = CountedDay::of(-1);
        assert_eq!((counted.day(), counted.filter().until_ms), (-1, Some(0)));
        counted.sums.insert((client, "meter_test"), sum(2));
        let kept = |kind: &str, tokens| (client, kind.to_owned(), sum(tokens));
        assert_eq!(counted.mismatches([kept("meter_test", 2), kept("heat_credit", 9)]), []);
        let missing = counted.mismatches([]);
        assert_eq!((missing[0].kept, missing[0].higher()), (Sum::default(), sum(2)));
        let more = counted.mismatches([kept("meter_test", 3), kept(KEY_CHANGE, 1)]);
        assert_eq!(more.iter().map(SumMismatch::higher).collect::<Vec<_>>(), [sum(1), sum(3)]);
    }
}
