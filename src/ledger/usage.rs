//! What a client was given today, and whether its limits leave room for more.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use super::Content;
use super::sum::{DAY_MS, KEY_CHANGE, Sum, day_of};
use crate::access::limits::{Amount, LimitEnd, LimitMet, Limits};
use crate::access::rights::TokenKind;

/// Days of which the usual pace is the mean.
pub const USUAL_DAYS: i64 = 7;
/// How many of them must have seen tokens.
const USUAL_DAYS_NEEDED: u64 = 3;
/// A pace below this many tokens a day is nobody's alarm.
const PACE_FLOOR: u64 = 100;

/// What one client was given on one day.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Day {
    /// By the name of the kind. One that this version does not know counts among the tokens all the
    /// same.
    kinds: BTreeMap<Cow<'static, str>, (Sum, Changed)>,
    /// Tokens on a usual day, if there were enough days.
    usual: Option<u64>,
}

/// Whether a sum is other than it was loaded.
type Changed = bool;

impl Day {
    /// A day of these sums, each under its kind, for a client who usually has `usual` tokens a day.
    pub fn new(sums: impl IntoIterator<Item = (Cow<'static, str>, Sum)>, usual: Option<u64>) -> Self {
        Self { kinds: sums.into_iter().map(|(kind, sum)| (kind, (sum, false))).collect(), usual }
    }

    /// The sums that have changed.
    pub fn changed(&self) -> impl Iterator<Item = (&Cow<'static, str>, Sum)> {
        self.kinds.iter().filter(|(_, (_, changed))| *changed).map(|(kind, (sum, _))| (kind, *sum))
    }

    fn tokens(&self) -> u64 {
        self.kinds.values().map(|(sum, _)| sum.tokens).sum()
    }

    fn amount(&self, kind: &str) -> Amount {
        self.kinds.get(kind).map(|(sum, _)| sum.amount).unwrap_or_default()
    }

    /// Checks a token against the limits of its client.
    ///
    /// # Errors
    /// The limit that leaves no room.
    pub(super) fn admit(&self, limits: &Limits, charge: Charge, now_ms: i64) -> Result<(), LimitMet> {
        if *limits == Limits::default() {
            return Ok(());
        }
        let at_ms = (day_of(now_ms) + 1).saturating_mul(DAY_MS);
        let wait = Duration::from_millis((at_ms - now_ms).try_into().unwrap_or_default());
        let tomorrow = Some(LimitEnd { at_ms, wait });
        let met = |name: String, most: String, ends| Err(LimitMet { name, most, ends });
        if let Some(limit) = limits.tokens_per_day().filter(|limit| self.tokens() >= *limit) {
            return met("tokens_per_day".to_owned(), limit.to_string(), tomorrow);
        }
        let Some(kind) = charge.kind else { return Ok(()) };
        let of_kind = limits.of(kind);
        if let Some(limit) = of_kind.per_token.filter(|limit| charge.amount > *limit) {
            return met(format!("{kind}.per_token"), limit.to_string(), None);
        }
        let after = self.amount(charge.name()).plus(charge.amount);
        if let Some(limit) = of_kind.per_day.filter(|limit| after > *limit) {
            return met(format!("{kind}.per_day"), limit.to_string(), tomorrow);
        }
        Ok(())
    }

    /// Adds a token, and answers the alarms that it raises. `pace` is the multiple of the usual day
    /// that is one.
    pub(super) fn add(&mut self, limits: &Limits, charge: Charge, pace: u32) -> Vec<Alarm> {
        let name = charge.name();
        let before = (self.tokens(), self.amount(name));
        let (sum, changed) = self.kinds.entry(Cow::Borrowed(name)).or_default();
        sum.tokens += 1;
        sum.amount = sum.amount.plus(charge.amount);
        *changed = true;
        let after = (before.0 + 1, sum.amount);
        alarms(limits, charge.kind, before, after, self.usual, pace)
    }
}

/// Tokens on a usual day: the mean of the days before, by their number of tokens, that saw any.
pub fn usual(days: impl IntoIterator<Item = u64>) -> Option<u64> {
    let (days, tokens) =
        days.into_iter().fold((0, 0_u64), |(days, sum), day| (days + 1, sum.saturating_add(day)));
    (days >= USUAL_DAYS_NEEDED).then(|| tokens / days)
}

/// What a token counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Charge {
    /// None: a key change.
    kind: Option<TokenKind>,
    amount: Amount,
}

impl Charge {
    pub(super) fn of(content: &Content) -> Self {
        let (kind, amount) = match content {
            Content::Sequenced { payload, .. } => {
                (Some(TokenKind::of(payload)), Amount::transferred(payload))
            }
            Content::Fixed { .. } => (Some(TokenKind::MeterTest), None),
            Content::KeyChange { .. } => (None, None),
        };
        Self { kind, amount: amount.unwrap_or_default() }
    }

    /// The name of the kind and the amount.
    pub(super) fn counts(self) -> (&'static str, Amount) {
        (self.name(), self.amount)
    }

    fn name(self) -> &'static str {
        self.kind.map_or(KEY_CHANGE, TokenKind::as_str)
    }
}

/// A share of a limit, or a multiple of the usual pace, that a token has reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// The name of the limit; `pace` for the usual pace.
    pub limit: String,
    /// What is to be said of it.
    pub text: String,
}

/// What a token set off: each alarm once a day, by the token that reaches it.
fn alarms(
    limits: &Limits,
    kind: Option<TokenKind>,
    (tokens, amount): (u64, Amount),
    (tokens_after, amount_after): (u64, Amount),
    usual: Option<u64>,
    pace: u32,
) -> Vec<Alarm> {
    let mut alarms = Vec::new();
    if let Some(share) = limits.alarm_share() {
        let passes = |before: u128, after: u128, limit: u128| {
            let alarm_at = limit.saturating_mul(share.into()).div_ceil(100).max(1);
            before < alarm_at && after >= alarm_at
        };
        if let Some(limit) = limits.tokens_per_day()
            && passes(tokens.into(), tokens_after.into(), limit.into())
        {
            alarms.push(Alarm {
                limit: "tokens_per_day".to_owned(),
                text: format!("{tokens_after} of {limit} tokens a day are used: {share} % or more"),
            });
        }
        if let Some(kind) = kind
            && let Some(limit) = limits.of(kind).per_day
            && passes(amount.least_units(), amount_after.least_units(), limit.least_units())
        {
            alarms.push(Alarm {
                limit: format!("{kind}.per_day"),
                text: format!("{amount_after} of {limit} a day are used: {share} % or more"),
            });
        }
    }
    if let Some(usual) = usual {
        let alarm_at = usual.saturating_mul(pace.into()).max(PACE_FLOOR);
        if tokens < alarm_at && tokens_after >= alarm_at {
            alarms.push(Alarm {
                limit: "pace".to_owned(),
                text: format!("{tokens_after} tokens today, {pace} times the usual {usual} a day or more"),
            });
        }
    }
    alarms
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::limits::AmountLimits;

    const NOW_MS: i64 = 1_767_225_600_000;

    fn electricity(tenths: u128) -> Charge {
        Charge { kind: Some(TokenKind::ElectricityCredit), amount: Amount::from_least_units(tenths * 10_000) }
    }

    fn limits(
        per_token: Option<&str>,
        per_day: Option<&str>,
        tokens: Option<u64>,
        share: Option<u8>,
    ) -> Limits {
        let amount = |text: Option<&str>| text.map(|text| text.parse().unwrap());
        let amounts = AmountLimits { per_token: amount(per_token), per_day: amount(per_day) };
        let amounts = BTreeMap::from([(TokenKind::ElectricityCredit, amounts)]);
        Limits::new(amounts, tokens, None, None, share).unwrap()
    }

    fn names(alarms: Vec<Alarm>) -> Vec<String> {
        alarms.into_iter().map(|alarm| alarm.limit).collect()
    }

    #[test]
    fn exactly_as_much_passes_as_a_limit_says() {
        let limits = limits(Some("2.5"), Some("10"), Some(5), None);
        let mut day = Day::default();
        let above = day.admit(&limits, electricity(26), NOW_MS).unwrap_err();
        assert_eq!((above.name.as_str(), above.ends), ("electricity_credit.per_token", None));
        for _ in 0..4 {
            assert_eq!(day.admit(&limits, electricity(25), NOW_MS), Ok(()));
            day.add(&limits, electricity(25), 5);
        }
        let full = day.admit(&limits, electricity(1), NOW_MS + 1).unwrap_err();
        assert_eq!((full.name.as_str(), full.most.as_str()), ("electricity_credit.per_day", "10"));
        assert_eq!(full.ends.unwrap().wait, Duration::from_millis(86_399_999));
        let key_change = Charge { kind: None, amount: Amount::default() };
        assert_eq!(day.admit(&limits, key_change, NOW_MS), Ok(()));
        day.add(&limits, key_change, 5);
        assert_eq!(day.admit(&limits, key_change, NOW_MS).unwrap_err().name, "tokens_per_day");
    }

    #[test]
    fn a_kind_of_a_later_version_counts_and_stays_as_it_is() {
        let later = Sum { tokens: 3, amount: Amount::from_least_units(7) };
        let mut day = Day::new([(Cow::Borrowed("heat_credit"), later)], None);
        let limits = limits(None, None, Some(4), None);
        assert_eq!(day.admit(&limits, electricity(1), NOW_MS), Ok(()));
        day.add(&limits, electricity(1), 5);
        assert!(day.admit(&limits, electricity(1), NOW_MS).is_err());
        let changed: Vec<_> = day.changed().map(|(kind, sum)| (kind.as_ref(), sum.tokens)).collect();
        assert_eq!(changed, [("electricity_credit", 1)]);
    }

    #[test]
    fn an_alarm_comes_once_when_its_share_is_reached() {
        let limits = limits(None, Some("10"), Some(10), Some(80));
        let mut day = Day::default();
        let raised: Vec<Vec<String>> = (0..10).map(|_| names(day.add(&limits, electricity(20), 5))).collect();
        assert_eq!(raised[3], ["electricity_credit.per_day"], "8 of 10 kWh");
        assert_eq!(raised[7], ["tokens_per_day"], "8 of 10 tokens");
        assert_eq!(raised.iter().flatten().count(), 2);
    }

    #[test]
    fn a_multiple_of_the_usual_pace_is_an_alarm() {
        assert_eq!(usual([30, 30]), None, "two days are not enough");
        let mut day = Day::new([], usual([30, 20, 40]));
        let raised: Vec<usize> = (0..200)
            .filter(|_| !day.add(&Limits::default(), electricity(1), 5).is_empty())
            .map(|index: usize| index + 1)
            .collect();
        assert_eq!(raised, [150], "five times 30");
        let mut rare = Day::new([], usual([1, 1, 1]));
        let first = (1..200).find(|_| !rare.add(&Limits::default(), electricity(1), 5).is_empty());
        assert_eq!(first, Some(100), "fewer are nobody's alarm");
    }

    #[test]
    fn days_begin_at_midnight_in_utc() {
        assert_eq!((day_of(-1), day_of(0), day_of(DAY_MS - 1), day_of(DAY_MS)), (-1, 0, 0, 1));
    }
}
