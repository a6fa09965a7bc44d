//! `vendkey tokens report`.

use std::path::PathBuf;

use clap::Args;
use jiff::civil;

use super::read::{self, Files};
use crate::{
    chart::{self, Across, Bar, ChartError, Page, Series},
    cli::{
        exit::Exit,
        output::{Failure, print_text},
        stdout, whole_file,
    },
    token_log::{Decimal, Entry, Log, Mark, Meter, Summary},
};

/// Meters with a line or a bar of their own.
const LINES: usize = 6;
const BARS: usize = 25;
/// Rows of a table; files of millions would make a page that no browser opens.
const ROWS: usize = 1_000;
/// Days that get a column each; longer logs are shown by month.
const DAYS: i32 = 92;

#[derive(Args)]
#[command(after_help = "Example: vendkey tokens report tokens.csv --html tokens.html

Reads the same files as `vendkey tokens clean`, and its output too. The page needs nothing else: no
scripts, nothing from elsewhere. It shows units and amounts over time, the price of a unit, the
meters, gaps and doubles; of tokens it shows the last four digits alone.")]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    files: Files,
    /// Where the page goes
    #[arg(long, value_name = "FILE")]
    html: PathBuf,
}

impl Arguments {
    pub(in crate::cli) fn run(self) -> Result<(), Failure> {
        let log = self.files.read()?;
        let summary = Summary::of(&log);
        let page = page(&log, &summary).map_err(|error| Failure::exit(Exit::Software, error.to_string()))?;
        whole_file::put(&self.html, 0o666, page)
            .map_err(|error| Failure::created("--html", &self.html, &error))?;
        read::tell(&log);
        stdout::note(read::summary(&log));
        print_text(self.html.display().to_string())?;
        read::ended(&log)
    }
}

fn page(log: &Log, summary: &Summary) -> Result<String, ChartError> {
    let names: Vec<&str> = log.files.iter().map(|file| file.name.as_str()).collect();
    let made = format!("Made by vendkey {} of {}", env!("CARGO_PKG_VERSION"), names.join(", "));
    let mut page = Page::new("Tokens", &made);
    page.table(["what", "#value"], overview(log, summary));
    charts(&mut page, summary)?;
    meters(&mut page, summary);
    strange(&mut page, log);
    not_understood(&mut page, log);
    Ok(page.finish())
}

fn overview(log: &Log, summary: &Summary) -> Vec<[String; 2]> {
    let row = |what: &str, value: String| [what.to_owned(), value];
    let mut rows = vec![
        row("tokens", summary.tokens.to_string()),
        row("doubles, left out of all sums", summary.doubles.to_string()),
        row("meters", summary.meters.iter().filter(|meter| !meter.number.is_empty()).count().to_string()),
    ];
    if let Some((first, last)) = summary.days {
        rows.push(row("from, to", format!("{first} to {last}")));
    }
    let named = |name: &str, or: &str| if name.is_empty() { or.to_owned() } else { name.to_owned() };
    for sums in &summary.units {
        rows.push(row(
            &format!("transferred, {}", named(&sums.name, "unit not told")),
            sums.total.to_string(),
        ));
    }
    for sums in &summary.amounts {
        rows.push(row(&format!("paid, {}", named(&sums.name, "currency not told")), sums.total.to_string()));
    }
    for prices in &summary.prices {
        let what =
            format!("price of a unit, {} per {}", named(&prices.currency, "?"), named(&prices.unit, "unit"));
        rows.push(row(&what, ratio(prices.total)));
    }
    let without_time = log.entries.iter().filter(|entry| entry.time.is_none()).count();
    if without_time > 0 {
        rows.push(row("tokens without a time, in no chart over time", without_time.to_string()));
    }
    for (mark, count) in read::marks(log) {
        rows.push(row(&format!("marked {mark}"), count.to_string()));
    }
    rows
}

fn charts(page: &mut Page, summary: &Summary) -> Result<(), ChartError> {
    let span =
        summary.days.and_then(|(first, last)| first.until(last).ok()).map_or(0, |span| span.get_days());
    let across = if span <= DAYS { Across::Days } else { Across::Months };
    let by = if across == Across::Days { "day" } else { "month" };
    page.heading("Over time");
    for sums in summary.units.iter().take(2).filter(|sums| !sums.days.is_empty()) {
        let unit = if sums.name.is_empty() { "units" } else { &sums.name };
        let points = placed(sums.days.iter().map(|(day, sum)| (*day, sum.approximate())), across);
        page.chart(&chart::columns(&format!("Transferred by {by}, {unit}"), across, unit, &points)?);
        if sums.meters.len() > 1 {
            let mut meters: Vec<_> = sums.meters.iter().collect();
            let total = |days: &std::collections::BTreeMap<civil::Date, Decimal>| {
                days.values().fold(Decimal::default(), |sum, value| sum.plus(*value))
            };
            meters.sort_by_key(|(_, days)| std::cmp::Reverse(total(days)));
            let series: Vec<Series> = meters
                .into_iter()
                .take(LINES)
                .map(|(number, days)| Series {
                    name: meter_name(number),
                    points: placed(days.iter().map(|(day, sum)| (*day, sum.approximate())), across),
                })
                .collect();
            let title = if sums.meters.len() > LINES {
                format!("The {LINES} meters with most, by {by}, {unit}")
            } else {
                format!("Each meter by {by}, {unit}")
            };
            page.chart(&chart::lines(&title, across, unit, &series)?);
        }
    }
    for sums in summary.amounts.iter().take(2).filter(|sums| !sums.days.is_empty()) {
        let currency = if sums.name.is_empty() { "amount" } else { &sums.name };
        let points = placed(sums.days.iter().map(|(day, sum)| (*day, sum.approximate())), across);
        page.chart(&chart::columns(&format!("Paid by {by}, {currency}"), across, currency, &points)?);
    }
    let prices: Vec<Series> = summary
        .prices
        .iter()
        .filter(|prices| !prices.days.is_empty())
        .take(LINES)
        .map(|prices| Series {
            name: format!(
                "{} per {}",
                prices.currency,
                if prices.unit.is_empty() { "unit" } else { &prices.unit }
            ),
            points: prices
                .days
                .iter()
                .map(|(day, (amount, units))| {
                    (Across::Days.place(*day).unwrap_or_default(), amount.approximate() / units.approximate())
                })
                .collect(),
        })
        .collect();
    if let [first, ..] = prices.as_slice() {
        let title = if prices.len() == 1 {
            format!("Price of a unit, {}", first.name)
        } else {
            "Price of a unit".to_owned()
        };
        page.chart(&chart::lines(&title, Across::Days, "price", &prices)?);
    }
    let bars: Vec<Bar> = summary
        .meters
        .iter()
        .filter(|meter| meter.units.is_positive())
        .take(BARS)
        .map(|meter| Bar { name: meter_name(&meter.number), value: meter.units.approximate() })
        .collect();
    if !bars.is_empty() {
        page.heading("By meter");
        page.chart(&chart::bars("Transferred by meter", &bars)?);
    }
    Ok(())
}

fn meters(page: &mut Page, summary: &Summary) {
    page.heading("Meters");
    let gap = |meter: &Meter| match meter.gap {
        Some((from, to, days)) => format!("{days} days, {from} to {to}"),
        None => String::new(),
    };
    page.table(
        ["meter", "#tokens", "#transferred", "#paid", "#price of a unit", "first", "last", "longest gap", ""],
        summary.meters.iter().take(ROWS).map(|meter| {
            [
                meter_name(&meter.number),
                meter.tokens.to_string(),
                meter.units.to_string(),
                meter.amount.to_string(),
                if meter.units.is_positive() { ratio((meter.amount, meter.units)) } else { String::new() },
                meter.days.first().map(ToString::to_string).unwrap_or_default(),
                meter.days.last().map(ToString::to_string).unwrap_or_default(),
                gap(meter),
                if meter.gap_is_strange { "long for this meter".to_owned() } else { String::new() },
            ]
        }),
    );
    more(page, summary.meters.len(), "meters");
}

/// Lines with marks.
fn strange(page: &mut Page, log: &Log) {
    let is_strange =
        |entry: &&Entry| entry.marks.iter().any(|mark| *mark != Mark::InLedger) || !entry.notes.is_empty();
    let entries: Vec<&Entry> = log.entries.iter().filter(is_strange).collect();
    if entries.is_empty() {
        return;
    }
    page.heading("What is strange");
    page.table(
        ["file", "#line", "meter", "token", "marks", "why"],
        entries.iter().take(ROWS).map(|entry| {
            let marks: Vec<&str> = entry.marks.iter().map(|mark| mark.name()).collect();
            let mut why: Vec<&str> = entry.marks.iter().map(|mark| mark.words()).collect();
            why.extend(entry.notes.iter().map(String::as_str));
            [
                log.files.get(entry.file).map(|file| file.name.clone()).unwrap_or_default(),
                entry.line.to_string(),
                entry.meter.clone().unwrap_or_default(),
                format!("…{}", entry.token.last()),
                marks.join(", "),
                why.join("; "),
            ]
        }),
    );
    more(page, entries.len(), "lines");
}

fn not_understood(page: &mut Page, log: &Log) {
    let all: Vec<_> = log
        .files
        .iter()
        .flat_map(|file| file.not_understood.iter().map(move |one| (&file.name, one)))
        .collect();
    if all.is_empty() {
        return;
    }
    page.heading("What was not understood");
    page.table(
        ["file", "#line", "why"],
        all.iter().take(ROWS).map(|(file, one)| [(*file).clone(), one.line.to_string(), one.why.clone()]),
    );
    more(page, all.len(), "lines");
}

fn more(page: &mut Page, count: usize, what: &str) {
    if count > ROWS {
        page.paragraph(&format!("{} more {what} are in the clean table.", count - ROWS));
    }
}

fn meter_name(number: &str) -> String {
    if number.is_empty() { "no meter".to_owned() } else { number.to_owned() }
}

/// A price with as many places as say something.
fn ratio((amount, units): (Decimal, Decimal)) -> String {
    if units.is_positive() {
        format!("{:.4}", amount.approximate() / units.approximate())
    } else {
        String::new()
    }
}

/// Sums of days at their places.
fn placed(days: impl Iterator<Item = (civil::Date, f64)>, across: Across) -> Vec<(i64, f64)> {
    let mut places: std::collections::BTreeMap<i64, f64> = std::collections::BTreeMap::new();
    for (day, value) in days {
        *places.entry(across.place(day).unwrap_or_default()).or_default() += value;
    }
    places.into_iter().collect()
}
