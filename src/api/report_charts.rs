//! The charts of a report, for whoever shows it: the console and the command draw the same.

use std::collections::BTreeMap;

use super::v1::{Chart, RefusedCount, VendedSum, VendingReport};
use crate::chart::{Across, Bar, ChartError, Series, bars, columns, lines};

/// Clients and reasons with a bar of their own.
const BARS: usize = 20;
/// Days that get a place each; longer reports are drawn by month.
const DAYS: usize = 92;

/// Draws a report.
///
/// # Errors
/// [`ChartError`].
pub fn charts(report: &VendingReport) -> Result<Vec<Chart>, ChartError> {
    let mut charts = Vec::new();
    let mut draw = |title: String, svg: Result<String, ChartError>| -> Result<(), ChartError> {
        charts.push(Chart { svg: svg?, title });
        Ok(())
    };
    let days: usize = report.days.iter().map(|sum| &sum.key).collect::<std::collections::BTreeSet<_>>().len();
    let across = if days > DAYS { Across::Months } else { Across::Days };
    let by = if across == Across::Days { "day" } else { "month" };
    let kinds: Vec<&VendedSum> = report.kinds.iter().collect();
    if !kinds.is_empty() {
        let title = format!("Tokens by {by}");
        let series: Vec<Series> = kinds
            .iter()
            .take(6)
            .map(|kind| Series {
                name: words(&kind.kind),
                points: placed(report.days.iter().filter(|sum| sum.kind == kind.kind), across, tokens),
            })
            .collect();
        draw(title.clone(), lines(&title, across, "tokens", &series))?;
    }
    // What is counted in different units is never added up.
    for kind in kinds.iter().filter(|kind| !kind.amount.is_empty()) {
        let unit = if kind.unit.is_empty() { "currency" } else { &kind.unit };
        let title = format!("{} by {by}, {unit}", words(&kind.kind));
        let points = placed(report.days.iter().filter(|sum| sum.kind == kind.kind), across, amount);
        draw(title.clone(), columns(&title, across, unit, &points))?;
    }
    if !report.hours.is_empty() {
        let title = "Tokens by hour of the day".to_owned();
        let mut hours: BTreeMap<i64, f64> = BTreeMap::new();
        for sum in &report.hours {
            *hours.entry(sum.key.parse().unwrap_or(0)).or_default() += tokens(sum);
        }
        let points: Vec<(i64, f64)> = hours.into_iter().collect();
        draw(title.clone(), columns(&title, Across::Hours, "tokens", &points))?;
    }
    for (title, sums) in
        [("Tokens by supply group", &report.supply_groups), ("Tokens by client", &report.clients)]
    {
        if !sums.is_empty() {
            draw(title.to_owned(), bars(title, &by_key(sums)))?;
        }
    }
    if !report.refused.is_empty() {
        let title = "Refused calls by reason";
        let bar = |count: &RefusedCount| Bar { name: count.key.clone(), value: approximate(count.calls) };
        draw(title.to_owned(), bars(title, &most(report.refused.iter().map(bar).collect())))?;
    }
    Ok(charts)
}

/// Bars of tokens, whatever their kinds.
fn by_key(sums: &[VendedSum]) -> Vec<Bar> {
    let mut by_key: BTreeMap<&str, (String, f64)> = BTreeMap::new();
    for sum in sums {
        let name = match (sum.display_name.as_str(), sum.key.as_str()) {
            ("", "") => "no key",
            ("", key) => key,
            (name, _) => name,
        };
        by_key.entry(&sum.key).or_insert_with(|| (name.to_owned(), 0.0)).1 += tokens(sum);
    }
    most(by_key.into_values().map(|(name, value)| Bar { name, value }).collect())
}

/// The longest bars, and the rest as one.
fn most(mut bars: Vec<Bar>) -> Vec<Bar> {
    bars.sort_by(|a, b| b.value.total_cmp(&a.value));
    if bars.len() > BARS {
        let rest = bars.split_off(BARS - 1);
        let value = rest.iter().map(|bar| bar.value).sum();
        bars.push(Bar { name: format!("{} others", rest.len()), value });
    }
    bars
}

/// The places of sums of days, added up where several stand at one.
fn placed<'a>(
    sums: impl Iterator<Item = &'a VendedSum>,
    across: Across,
    value: fn(&VendedSum) -> f64,
) -> Vec<(i64, f64)> {
    let mut places: BTreeMap<i64, f64> = BTreeMap::new();
    for sum in sums {
        if let Some(place) = sum.key.parse().ok().and_then(|date| across.place(date)) {
            *places.entry(place).or_default() += value(sum);
        }
    }
    places.into_iter().collect()
}

fn tokens(sum: &VendedSum) -> f64 {
    approximate(sum.tokens)
}

fn amount(sum: &VendedSum) -> f64 {
    sum.amount.parse().unwrap_or(0.0)
}

#[expect(clippy::cast_precision_loss, reason = "charts need no last digit")]
fn approximate(count: u64) -> f64 {
    count as f64
}

/// `electricity_credit` for people.
fn words(kind: &str) -> String {
    let mut words = kind.replace('_', " ");
    if let Some(first) = words.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    words
}
