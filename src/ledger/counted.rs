//! What clients were given on one day, counted again from the rows of the ledger.
//!
//! Limits are counted against sums that are kept beside the rows. Whoever lowers a sum in the
//! database lifts a limit, so the sums are compared with the rows, which the chain keeps.

use std::collections::BTreeMap;

use super::sum::{DAY_MS, KEY_CHANGE, Sum, day_of};
use super::{Cursor, RowContent, TokenFilter, TokenRow};
use crate::access::limits::Amount;
use crate::access::rights::TokenKind;
use crate::id::ClientId;
use crate::sts::attributes::EncryptionAlgorithm;
use crate::sts::token::Content;

/// A sum that is kept and not what the rows say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SumMismatch {
    /// Of which client.
    pub client: ClientId,
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
        Sum {
            tokens: self.kept.tokens.max(self.counted.tokens),
            amount: self.kept.amount.max(self.counted.amount),
        }
    }

    /// What is put on record of it.
    pub fn details(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::from([
            ("client", self.client.to_string()),
            ("kind", self.kind.to_owned()),
            ("kept", self.kept.to_string()),
            ("ledger", self.counted.to_string()),
        ])
    }
}

/// What was counted so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CountedDay {
    day: i64,
    after: Cursor,
    sums: BTreeMap<(ClientId, &'static str), Sum>,
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

    /// Where counting goes on.
    pub fn after(&self) -> &Cursor {
        &self.after
    }

    /// Counts rows that follow on those that were counted.
    pub fn add(&mut self, rows: &[TokenRow]) {
        for row in rows {
            self.after.pass(row.sequence);
            let (kind, amount) = match &row.content {
                // Which cipher a block is for matters to key changes alone.
                RowContent::Sequenced { block, .. } => {
                    match Content::parse(block, EncryptionAlgorithm::Ea07) {
                        Ok(Content::Vending { payload, .. }) => {
                            (TokenKind::of(&payload).as_str(), Amount::transferred(&payload))
                        }
                        // Nothing that this version has issued.
                        _ => continue,
                    }
                }
                RowContent::Fixed { .. } => (TokenKind::MeterTest.as_str(), None),
                RowContent::KeyChange { .. } => (KEY_CHANGE, None),
            };
            let sum = self.sums.entry((row.client, kind)).or_default();
            sum.tokens += 1;
            sum.amount = sum.amount.plus(amount.unwrap_or_default());
        }
    }

    /// The sums that are not what was counted. Kinds that this version does not know are passed
    /// over.
    pub fn mismatches(&self, kept: impl IntoIterator<Item = (ClientId, String, Sum)>) -> Vec<SumMismatch> {
        let mut both: BTreeMap<(ClientId, &'static str), (Sum, Sum)> =
            self.sums.iter().map(|(key, counted)| (*key, (Sum::default(), *counted))).collect();
        for (client, kind, sum) in kept {
            let known = match kind.parse::<TokenKind>() {
                Ok(kind) => kind.as_str(),
                Err(_) if kind == KEY_CHANGE => KEY_CHANGE,
                Err(_) => continue,
            };
            both.entry((client, known)).or_default().0 = sum;
        }
        let differ = both.into_iter().filter(|(_, (kept, counted))| kept != counted);
        let mismatch = |((client, kind), (kept, counted))| SumMismatch { client, kind, kept, counted };
        differ.map(mismatch).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_that_are_missing_or_too_many_differ() {
        let client = ClientId::from_bytes([1; 16]);
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
