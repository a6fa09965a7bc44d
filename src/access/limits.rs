//! How much a client may issue and ask for. What is absent is not limited.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::rights::TokenKind;
use crate::sts::amount::{
    AmountError, CURRENCY_PLACES, Rounding, UNIT_PLACES, format_decimal, parse_decimal,
};
use crate::sts::token::Payload;

/// Credit of any kind, not negative, exact: counted in 10^-5 of kWh, kl, m3, minutes or the base
/// currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Amount(u128);

/// Least units of an [`Amount`] in a tenth.
const IN_A_TENTH: u128 = 10_u128.pow(CURRENCY_PLACES - UNIT_PLACES);

impl Amount {
    /// An amount in units of 10^-5.
    pub fn from_least_units(units: u128) -> Self {
        Self(units)
    }

    /// In 10^-5.
    pub fn least_units(self) -> u128 {
        self.0
    }

    /// What a token transfers, after the roundings of its coding. A negative currency credit counts
    /// as nothing: taking away makes no room for more. `None`: a token that transfers no credit.
    pub fn transferred(payload: &Payload) -> Option<Self> {
        match payload {
            Payload::Credit { amount, .. } => Some(Self(u128::from(amount.units()) * IN_A_TENTH)),
            Payload::Currency { amount, .. } => Some(Self(u128::try_from(amount.units()).unwrap_or(0))),
            Payload::Management(_) => None,
        }
    }

    /// The rest, nothing at least.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format_decimal(i128::try_from(self.0).unwrap_or(i128::MAX), CURRENCY_PLACES))
    }
}

impl FromStr for Amount {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        let units = parse_decimal(text, CURRENCY_PLACES, Rounding::Refuse)?;
        u128::try_from(units).map(Self).map_err(|_| AmountError::Negative)
    }
}

impl From<Amount> for String {
    fn from(amount: Amount) -> Self {
        amount.to_string()
    }
}

impl TryFrom<String> for Amount {
    type Error = AmountError;

    fn try_from(text: String) -> Result<Self, AmountError> {
        text.parse()
    }
}

/// Limits on the credit of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AmountLimits {
    /// The most that one token transfers.
    pub per_token: Option<Amount>,
    /// The most that all tokens of a day transfer.
    pub per_day: Option<Amount>,
}

/// The limit that stands against a token.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the limit {name} of this client is {most}{}", .ends.map(|_| " and is used up for today").unwrap_or_default())]
pub struct LimitMet {
    /// Its name, such as `electricity_credit.per_day` or `tokens_per_day`.
    pub name: String,
    /// How much it allows.
    pub most: String,
    /// When it allows more again; `None`: never for this token.
    pub ends: Option<LimitEnd>,
}

/// When a limit that was met allows more again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitEnd {
    /// The moment.
    pub at_ms: i64,
    /// From now.
    pub wait: Duration,
}

/// Limits that nobody may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum LimitsError {
    /// Only credit has an amount.
    #[error("a token of kind {0} transfers no credit")]
    NoCredit(TokenKind),
    /// A share past the whole.
    #[error("a share is 1 to 100 percent")]
    Share,
    /// Nothing could ever be asked.
    #[error("a rate is 1 or more: to stop a client, disable it")]
    Rate,
}

/// The limits of a client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Fields", into = "Fields")]
pub struct Limits(Fields);

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    amounts: BTreeMap<TokenKind, AmountLimits>,
    tokens_per_day: Option<u64>,
    requests_per_second: Option<u32>,
    uploads_per_minute: Option<u32>,
    alarm_share: Option<u8>,
}

impl TryFrom<Fields> for Limits {
    type Error = LimitsError;

    fn try_from(mut fields: Fields) -> Result<Self, LimitsError> {
        if let Some(kind) = fields.amounts.keys().find(|kind| !kind.is_credit()) {
            return Err(LimitsError::NoCredit(*kind));
        }
        if fields.alarm_share.is_some_and(|share| !(1..=100).contains(&share)) {
            return Err(LimitsError::Share);
        }
        if [fields.requests_per_second, fields.uploads_per_minute].contains(&Some(0)) {
            return Err(LimitsError::Rate);
        }
        // One way to say that a kind is not limited.
        fields.amounts.retain(|_, amounts| *amounts != AmountLimits::default());
        Ok(Self(fields))
    }
}

impl From<Limits> for Fields {
    fn from(limits: Limits) -> Self {
        limits.0
    }
}

impl Limits {
    /// Limits that somebody may have.
    ///
    /// # Errors
    /// [`LimitsError`].
    pub fn new(
        amounts: BTreeMap<TokenKind, AmountLimits>,
        tokens_per_day: Option<u64>,
        requests_per_second: Option<u32>,
        uploads_per_minute: Option<u32>,
        alarm_share: Option<u8>,
    ) -> Result<Self, LimitsError> {
        Fields { amounts, tokens_per_day, requests_per_second, uploads_per_minute, alarm_share }.try_into()
    }

    /// What is limited of each kind of credit.
    pub fn amounts(&self) -> &BTreeMap<TokenKind, AmountLimits> {
        &self.0.amounts
    }

    /// Whether what was given before is counted against them.
    pub fn are_counted(&self) -> bool {
        !self.0.amounts.is_empty() || self.0.tokens_per_day.is_some()
    }

    /// The limits on credit of this kind.
    pub fn of(&self, kind: TokenKind) -> AmountLimits {
        self.0.amounts.get(&kind).copied().unwrap_or_default()
    }

    /// Tokens of all kinds in a day; a key-change set counts as one.
    pub fn tokens_per_day(&self) -> Option<u64> {
        self.0.tokens_per_day
    }

    /// Calls in a second, and requests in batches and streams.
    pub fn requests_per_second(&self) -> Option<u32> {
        self.0.requests_per_second
    }

    /// Attempts to upload in a minute.
    pub fn uploads_per_minute(&self) -> Option<u32> {
        self.0.uploads_per_minute
    }

    /// Which percentage of a day's limit raises an alarm.
    pub fn alarm_share(&self) -> Option<u8> {
        self.0.alarm_share
    }

    /// Whether any limit is higher than in `old`, or gone. A later alarm is a higher limit.
    pub fn raises(&self, old: &Self) -> bool {
        let kinds = TokenKind::ALL.iter().map(|kind| (self.of(*kind), old.of(*kind)));
        higher(self.0.tokens_per_day, old.0.tokens_per_day)
            || higher(self.0.requests_per_second, old.0.requests_per_second)
            || higher(self.0.uploads_per_minute, old.0.uploads_per_minute)
            || higher(self.0.alarm_share, old.0.alarm_share)
            || kinds
                .into_iter()
                .any(|(new, old)| higher(new.per_token, old.per_token) || higher(new.per_day, old.per_day))
    }
}

fn higher<T: PartialOrd>(new: Option<T>, old: Option<T>) -> bool {
    match (new, old) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(new), Some(old)) => new > old,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sts::amount::{CurrencyAmount, UnitAmount};
    use crate::sts::token::Service;

    fn of_electricity(per_token: &str, per_day: Option<&str>) -> Limits {
        let amounts = AmountLimits {
            per_token: Some(per_token.parse().unwrap()),
            per_day: per_day.map(|text| text.parse().unwrap()),
        };
        let amounts = BTreeMap::from([(TokenKind::ElectricityCredit, amounts)]);
        Limits::new(amounts, Some(100), None, None, Some(80)).unwrap()
    }

    #[test]
    fn the_text_round_trips_and_is_strict() {
        let limits = of_electricity("500.5", None);
        let text = serde_json::to_string(&limits).unwrap();
        assert!(text.contains(r#""electricity_credit":{"per_token":"500.5","per_day":null}"#), "{text}");
        assert_eq!(serde_json::from_str::<Limits>(&text).unwrap(), limits);
        for (from, to) in [
            ("500.5", "-1"),
            ("500.5", "0.000001"),
            ("electricity_credit", "clear_credit"),
            ("80", "101"),
            ("\"tokens_per_day\"", "\"tokens\":1,\"tokens_per_day\""),
        ] {
            let bad = text.replacen(from, to, 1);
            assert!(serde_json::from_str::<Limits>(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_transferred_is_counted() {
        let credit = |tenths| Payload::Credit {
            service: Service::Electricity,
            amount: UnitAmount::from_units(tenths).unwrap(),
        };
        let money = |units| Payload::Currency {
            service: Service::Gas,
            amount: CurrencyAmount::from_units(units).unwrap(),
        };
        assert_eq!(Amount::transferred(&credit(255)).unwrap().to_string(), "25.5");
        assert_eq!(
            Amount::transferred(&money(100_000)).unwrap().to_string(),
            "1.00004",
            "the coding rounds up"
        );
        assert_eq!(Amount::transferred(&money(-100_000)), Some(Amount::default()));
        let largest = CurrencyAmount::LARGEST.cast_signed();
        assert_eq!(Amount::transferred(&money(largest)).unwrap().least_units(), CurrencyAmount::LARGEST);
    }

    #[test]
    fn higher_or_gone_is_a_raise() {
        let old = of_electricity("500", Some("10000"));
        assert!(!old.raises(&old) && !old.raises(&Limits::default()));
        assert!(Limits::default().raises(&old));
        assert!(of_electricity("500.1", Some("10000")).raises(&old));
        assert!(of_electricity("500", None).raises(&old));
        assert!(!of_electricity("400", Some("9999.99999")).raises(&old));
    }
}
