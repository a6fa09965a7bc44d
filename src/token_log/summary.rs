//! Sums of a log: over time, by meter, by unit and currency; and gaps between purchases. Doubles
//! count once.

use std::collections::BTreeMap;

use jiff::civil;

use super::{Decimal, Entry, Log, Mark};

/// Sums over the entries that are no doubles.
#[derive(Debug, Default)]
pub struct Summary {
    /// Entries that count.
    pub tokens: usize,
    /// Doubles, which do not.
    pub doubles: usize,
    /// First and last day.
    pub days: Option<(civil::Date, civil::Date)>,
    /// What was transferred, by unit; the unit of most entries first.
    pub units: Vec<Sums>,
    /// What was paid, by currency; the currency of most entries first.
    pub amounts: Vec<Sums>,
    /// What a unit cost, by currency and unit.
    pub prices: Vec<Prices>,
    /// Each meter, the one with most units first.
    pub meters: Vec<Meter>,
}

/// Sums of one unit or currency.
#[derive(Debug, Default)]
pub struct Sums {
    /// Its name; empty if nothing says it.
    pub name: String,
    /// Entries that have one.
    pub count: usize,
    /// All of them.
    pub total: Decimal,
    /// By day; entries without a time are in no day.
    pub days: BTreeMap<civil::Date, Decimal>,
    /// By meter and day.
    pub meters: BTreeMap<String, BTreeMap<civil::Date, Decimal>>,
}

/// What a unit cost, of entries that say both.
#[derive(Debug, Default)]
pub struct Prices {
    /// Of which currency.
    pub currency: String,
    /// Of which unit.
    pub unit: String,
    /// Amounts and units of all.
    pub total: (Decimal, Decimal),
    /// The same by day.
    pub days: BTreeMap<civil::Date, (Decimal, Decimal)>,
}

/// One meter.
#[derive(Debug, Default)]
pub struct Meter {
    /// Its number; empty for entries without one.
    pub number: String,
    /// How many tokens.
    pub tokens: usize,
    /// What was transferred, of the unit that most entries have.
    pub units: Decimal,
    /// What was paid, of the currency that most entries have.
    pub amount: Decimal,
    /// Days with a token, in order.
    pub days: Vec<civil::Date>,
    /// The longest time between two days with tokens: between which, and how many days.
    pub gap: Option<(civil::Date, civil::Date, i64)>,
    /// Whether that gap is strange for this meter: a week at least, and three times what is usual.
    pub gap_is_strange: bool,
}

impl Summary {
    /// The sums of a log.
    pub fn of(log: &Log) -> Self {
        let is_double =
            |entry: &&Entry| entry.marks.contains(&Mark::Double) || entry.marks.contains(&Mark::OtherMeter);
        let counted: Vec<&Entry> = log.entries.iter().filter(|entry| !is_double(entry)).collect();
        let mut summary =
            Self { tokens: counted.len(), doubles: log.entries.len() - counted.len(), ..Self::default() };
        let days = || counted.iter().filter_map(|entry| day(entry));
        summary.days = days().min().zip(days().max());
        let (mut units, mut amounts) = (BTreeMap::new(), BTreeMap::new());
        let mut prices: BTreeMap<(String, String), Prices> = BTreeMap::new();
        for entry in &counted {
            add(&mut units, &entry.unit, entry.units, entry);
            add(&mut amounts, &entry.currency, entry.amount, entry);
            if let (Some(units), Some(amount)) =
                (entry.units.filter(|units| units.is_positive()), entry.amount)
            {
                let price = prices.entry((entry.currency.clone(), entry.unit.clone())).or_insert_with(|| {
                    Prices { currency: entry.currency.clone(), unit: entry.unit.clone(), ..Prices::default() }
                });
                let plus = |sum: (Decimal, Decimal)| (sum.0.plus(amount), sum.1.plus(units));
                price.total = plus(price.total);
                if let Some(day) = day(entry) {
                    let sum = price.days.entry(day).or_default();
                    *sum = plus(*sum);
                }
            }
        }
        let by_count = |sums: BTreeMap<String, Sums>| {
            let mut sums: Vec<Sums> = sums.into_values().collect();
            sums.sort_by_key(|sums| std::cmp::Reverse(sums.count));
            sums
        };
        (summary.units, summary.amounts) = (by_count(units), by_count(amounts));
        summary.prices = prices.into_values().collect();
        summary.prices.sort_by_key(|price| std::cmp::Reverse(price.days.len()));
        let first = |sums: &[Sums]| sums.first().map(|sums| sums.name.clone()).unwrap_or_default();
        summary.meters = meters(&counted, &first(&summary.units), &first(&summary.amounts));
        summary
    }
}

fn day(entry: &Entry) -> Option<civil::Date> {
    entry.time.map(|time| time.local.date())
}

fn add(all: &mut BTreeMap<String, Sums>, name: &str, value: Option<Decimal>, entry: &Entry) {
    let Some(value) = value else { return };
    let sums =
        all.entry(name.to_owned()).or_insert_with(|| Sums { name: name.to_owned(), ..Sums::default() });
    sums.count += 1;
    sums.total = sums.total.plus(value);
    if let Some(day) = day(entry) {
        let plus = |sum: &mut Decimal| *sum = sum.plus(value);
        plus(sums.days.entry(day).or_default());
        let meter = entry.meter.clone().unwrap_or_default();
        plus(sums.meters.entry(meter).or_default().entry(day).or_default());
    }
}

fn meters(entries: &[&Entry], unit: &str, currency: &str) -> Vec<Meter> {
    let mut meters: BTreeMap<String, Meter> = BTreeMap::new();
    for entry in entries {
        let number = entry.meter.clone().unwrap_or_default();
        let meter = meters.entry(number.clone()).or_insert_with(|| Meter { number, ..Meter::default() });
        meter.tokens += 1;
        meter.units = meter.units.plus(entry.units.filter(|_| entry.unit == unit).unwrap_or_default());
        meter.amount =
            meter.amount.plus(entry.amount.filter(|_| entry.currency == currency).unwrap_or_default());
        meter.days.extend(day(entry));
    }
    let mut meters: Vec<Meter> = meters.into_values().collect();
    for meter in &mut meters {
        meter.days.sort_unstable();
        meter.days.dedup();
        let mut gaps: Vec<(i64, civil::Date, civil::Date)> = meter
            .days
            .windows(2)
            .filter_map(|days| match days {
                [from, to] => Some((i64::from(from.until(*to).ok()?.get_days()), *from, *to)),
                _ => None,
            })
            .collect();
        gaps.sort_unstable();
        let usual = gaps.get(gaps.len() / 2).map(|(days, ..)| *days);
        if let (Some((days, from, to)), Some(usual)) = (gaps.last().copied(), usual) {
            meter.gap = Some((from, to, days));
            meter.gap_is_strange = gaps.len() > 1 && days >= 7 && days > 3 * usual;
        }
    }
    meters.sort_by_key(|meter| std::cmp::Reverse((meter.units, meter.tokens)));
    meters
}
