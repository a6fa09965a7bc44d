//! What was vended in a span of time, from sums that are kept by the hour: however many tokens there
//! were, a report reads a few thousand rows.

use std::collections::BTreeMap;

use super::sum::{DAY_MS, Sum};
use crate::id::{ClientId, ConfigurationId};

/// An hour, in milliseconds.
const HOUR_MS: i64 = 3_600_000;
/// Hours of a day.
const DAY: i64 = 24;

/// The hour of an instant: counted from 1970, in UTC.
pub fn hour_of(now_ms: i64) -> i64 {
    now_ms.div_euclid(HOUR_MS)
}

/// A span of whole hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hours {
    /// The first one.
    pub first: i64,
    /// The last one.
    pub last: i64,
}

/// Why there is no report of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpanError {
    /// It ends before it begins.
    #[error("the end is not after the start")]
    Empty,
    /// It is longer than a report may be.
    #[error("a report is about {} days at most", Hours::MOST / DAY)]
    TooLong,
}

impl Hours {
    /// The most hours of a report: a leap year and the days around it in any zone.
    pub const MOST: i64 = 368 * DAY;

    /// All that are kept.
    pub const ALL: Self = Self { first: i64::MIN, last: i64::MAX };

    /// The hours that a span from one instant to another touches.
    ///
    /// # Errors
    /// [`SpanError`].
    pub fn touched(from_ms: i64, until_ms: i64) -> Result<Self, SpanError> {
        if until_ms <= from_ms {
            return Err(SpanError::Empty);
        }
        let hours = Self { first: hour_of(from_ms), last: hour_of(until_ms - 1) };
        if hours.last - hours.first >= Self::MOST { Err(SpanError::TooLong) } else { Ok(hours) }
    }

    /// Its first and its last instant, the last one excluded.
    pub fn instants_ms(self) -> (i64, i64) {
        (self.first.saturating_mul(HOUR_MS), self.last.saturating_add(1).saturating_mul(HOUR_MS))
    }

    /// The days (UTC) that it touches.
    pub fn days(self) -> (i64, i64) {
        (self.first.div_euclid(DAY), self.last.div_euclid(DAY))
    }
}

/// Tokens of one kind under one configuration in one hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HourOfConfiguration {
    /// The hour.
    pub hour: i64,
    /// The configuration; none of a token of class 1 that names none.
    pub configuration: Option<ConfigurationId>,
    /// The name of the kind.
    pub kind: String,
    /// The sums.
    pub sum: Sum,
}

/// Tokens of one kind of one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfClient {
    /// The client.
    pub client: ClientId,
    /// Its name for people; empty if its row cannot be believed.
    pub display_name: String,
    /// The name of the kind.
    pub kind: String,
    /// The sums.
    pub sum: Sum,
}

/// Refused calls of one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedCalls {
    /// The hour in which they were put on record.
    pub hour: i64,
    /// The reason.
    pub reason: String,
    /// How many.
    pub calls: u64,
}

/// What is kept of a span.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vended {
    /// By hour, configuration and kind.
    pub hours: Vec<HourOfConfiguration>,
    /// By client and kind, over the days (UTC) that the span touches.
    pub clients: Vec<OfClient>,
    /// By hour and reason.
    pub refused: Vec<RefusedCalls>,
    /// The first hour of which sums are kept, if tokens were recorded before.
    pub kept_since: Option<i64>,
}

/// Sums by a key and the kind of token.
pub type Sums<K> = BTreeMap<(K, String), Sum>;

/// The sums of a report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VendingReport {
    /// By day, counted from 1970 in the zone of the report.
    pub days: Sums<i64>,
    /// By the hour of the day, 0 to 23, in that zone.
    pub hours: Sums<i64>,
    /// By supply group code; empty of tokens that no key encrypts.
    pub supply_groups: Sums<String>,
    /// By kind alone.
    pub kinds: BTreeMap<String, Sum>,
    /// Refused calls by reason.
    pub refused: BTreeMap<String, u64>,
    /// Refused calls by day.
    pub refused_days: BTreeMap<i64, u64>,
}

impl VendingReport {
    /// Adds up what is kept. `offset` are the hours of the zone east of UTC; `supply_group` says
    /// whose a configuration is, and none of what must not be seen.
    pub fn of(
        vended: &Vended,
        offset: i64,
        supply_group: impl Fn(Option<ConfigurationId>) -> Option<String>,
    ) -> Self {
        let mut report = Self::default();
        for HourOfConfiguration { hour, configuration, kind, sum } in &vended.hours {
            let Some(group) = supply_group(*configuration) else { continue };
            let local = hour + offset;
            report.days.entry((local.div_euclid(DAY), kind.clone())).or_default().add(*sum);
            report.hours.entry((local.rem_euclid(DAY), kind.clone())).or_default().add(*sum);
            report.supply_groups.entry((group, kind.clone())).or_default().add(*sum);
            report.kinds.entry(kind.clone()).or_default().add(*sum);
        }
        for RefusedCalls { hour, reason, calls } in &vended.refused {
            let of_reason = report.refused.entry(reason.clone()).or_default();
            *of_reason = of_reason.saturating_add(*calls);
            let of_day = report.refused_days.entry((hour + offset).div_euclid(DAY)).or_default();
            *of_day = of_day.saturating_add(*calls);
        }
        report
    }
}

/// The date of a day counted from 1970.
pub fn date_of(day: i64) -> Option<jiff::civil::Date> {
    let at = jiff::Timestamp::from_millisecond(day.checked_mul(DAY_MS)?).ok()?;
    Some(at.to_zoned(jiff::tz::TimeZone::UTC).date())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::limits::Amount;

    const FIRST: i64 = 490_000;

    fn sum(tokens: u64, least_units: u128) -> Sum {
        Sum { tokens, amount: Amount::from_least_units(least_units) }
    }

    #[test]
    fn a_span_touches_whole_hours() {
        assert_eq!(Hours::touched(0, 1), Ok(Hours { first: 0, last: 0 }));
        assert_eq!(Hours::touched(HOUR_MS - 1, HOUR_MS + 1), Ok(Hours { first: 0, last: 1 }));
        assert_eq!(Hours::touched(0, HOUR_MS), Ok(Hours { first: 0, last: 0 }));
        assert_eq!(Hours::touched(5, 5), Err(SpanError::Empty));
        let year = Hours::touched(0, Hours::MOST * HOUR_MS).unwrap();
        assert_eq!((year.instants_ms(), year.days()), ((0, Hours::MOST * HOUR_MS), (0, 367)));
        assert_eq!(Hours::touched(0, Hours::MOST * HOUR_MS + 1), Err(SpanError::TooLong));
        assert_eq!(Hours { first: -1, last: 0 }.days(), (-1, 0));
    }

    #[test]
    fn sums_stand_on_the_days_of_the_zone_and_hidden_ones_nowhere() {
        let (seen, hidden) = (ConfigurationId::generate(), ConfigurationId::generate());
        let of = |hour, configuration, kind: &str, sum| HourOfConfiguration {
            hour,
            configuration,
            kind: kind.to_owned(),
            sum,
        };
        // The last hour of a day in UTC.
        let hour = FIRST / 24 * 24 + 23;
        let vended = Vended {
            hours: vec![
                of(hour, Some(seen), "electricity_credit", sum(2, 50)),
                of(hour + 1, Some(seen), "electricity_credit", sum(3, 25)),
                of(hour, None, "meter_test", sum(1, 0)),
                of(hour, Some(hidden), "electricity_credit", sum(100, 1_000)),
            ],
            refused: vec![
                RefusedCalls { hour, reason: "A".to_owned(), calls: 5 },
                RefusedCalls { hour: hour + 1, reason: "A".to_owned(), calls: 6 },
            ],
            ..Vended::default()
        };
        let group = |id: Option<ConfigurationId>| match id {
            None => Some(String::new()),
            Some(id) => (id == seen).then(|| "123456".to_owned()),
        };
        let day = hour / 24;
        let electricity = || "electricity_credit".to_owned();
        let utc = VendingReport::of(&vended, 0, group);
        assert_eq!(utc.days.get(&(day, electricity())), Some(&sum(2, 50)));
        assert_eq!(utc.days.get(&(day + 1, electricity())), Some(&sum(3, 25)));
        assert_eq!(utc.hours.get(&(23, electricity())), Some(&sum(2, 50)));
        assert_eq!(utc.kinds.get("electricity_credit"), Some(&sum(5, 75)));
        assert_eq!(utc.supply_groups.get(&("123456".to_owned(), electricity())), Some(&sum(5, 75)));
        assert_eq!(utc.supply_groups.get(&(String::new(), "meter_test".to_owned())), Some(&sum(1, 0)));
        assert_eq!((utc.refused.get("A"), utc.refused_days.len()), (Some(&11), 2));
        let east = VendingReport::of(&vended, 3, group);
        assert_eq!(east.days.get(&(day + 1, electricity())), Some(&sum(5, 75)));
        assert_eq!(east.hours.get(&(2, electricity())), Some(&sum(2, 50)));
    }

    #[test]
    fn days_have_dates() {
        assert_eq!(date_of(0).unwrap().to_string(), "1970-01-01");
        assert_eq!(date_of(20_760).unwrap().to_string(), "2026-11-03");
        assert_eq!(date_of(i64::MAX), None);
    }
}
