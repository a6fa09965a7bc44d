//! `vendkey report`.

use std::{io, path::PathBuf};

use clap::Args;
use jiff::civil::Date;

use super::{
    connection::Connection,
    exit::Exit,
    output::{self, Failure},
    stdout, whole_file,
};
use crate::{
    api::{
        charts,
        v1::{GetVendingReportRequest, VendedSum, VendingReport, ledger_service_client::LedgerServiceClient},
    },
    chart::Page,
    table::{self, defused},
};

#[derive(Args)]
#[command(after_help = "Example: vendkey report --month 2026-11 --html november.html

What was vended by day, hour of the day, kind, supply group and client, and what was refused by
reason, from sums that the ledger keeps by the hour. Days are those of UTC unless --utc-offset says
another zone; those of clients are of UTC in any case. Clients are left out for callers whose rights
are about some configurations only.")]
pub(super) struct Arguments {
    /// A whole month, such as 2026-11
    #[arg(long, value_name = "MONTH", value_parser = month, required_unless_present = "from", conflicts_with_all = ["from", "until"])]
    month: Option<(Date, Date)>,
    /// The first day
    #[arg(long, value_name = "DATE", requires = "until")]
    from: Option<Date>,
    /// The last day
    #[arg(long, value_name = "DATE", requires = "from")]
    until: Option<Date>,
    /// Hours of your zone east of UTC, such as 3 or -5
    #[arg(long, value_name = "HOURS", default_value_t = 0, allow_negative_numbers = true)]
    utc_offset: i32,
    /// Write a page with charts, which needs nothing else
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Print the sums as CSV
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    #[command(flatten)]
    connection: Connection,
}

/// First and last day of a month.
fn month(text: &str) -> Result<(Date, Date), String> {
    let first: Date =
        format!("{text}-01").parse().map_err(|_| "expected a year and a month: 2026-11".to_owned())?;
    Ok((first, first.last_of_month()))
}

impl Arguments {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let (first, last) = match (self.month, self.from, self.until) {
            (Some(month), ..) => month,
            (None, Some(from), Some(until)) => (from, until),
            _ => return Err(Failure::usage("give --month, or --from and --until")),
        };
        let after = last.tomorrow().map_err(|error| Failure::usage(format!("--until: {error}")))?;
        let instant = |day: Date| -> Option<prost_types::Timestamp> {
            let midnight = day.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second();
            Some(prost_types::Timestamp { seconds: midnight - i64::from(self.utc_offset) * 3_600, nanos: 0 })
        };
        let request = GetVendingReportRequest {
            start_time: instant(first),
            end_time: instant(after),
            utc_offset_hours: self.utc_offset,
            charts: false,
        };
        let mut client = LedgerServiceClient::new(self.connection.open().await?);
        let reply = client.get_vending_report(request).await;
        let report = reply.map_err(Failure::refused(self.connection.json))?.into_inner();
        if let Some(file) = &self.html {
            let page = page(&report, first, last)
                .map_err(|error| Failure::exit(Exit::Software, error.to_string()))?;
            whole_file::put(file, 0o666, page).map_err(|error| Failure::created("--html", file, &error))?;
            if !self.csv && !self.connection.json {
                return output::print_text(file.display().to_string());
            }
        }
        if self.csv {
            return written(&report, io::stdout().lock()).map_err(Failure::not_shown);
        }
        output::show(self.connection.json, &report, |report| text(report, first, last))?;
        if let Some(since) = late(&report) {
            stdout::note(since);
        }
        Ok(())
    }
}

/// What is said where the sums begin within the span.
fn late(report: &VendingReport) -> Option<String> {
    let (since, start) = (report.kept_since?, report.start_time?);
    (since.seconds > start.seconds).then(|| {
        format!(
            "sums are kept since {}: what was vended before is being counted, and is in `vendkey ledger export`",
            output::time(Some(&since))
        )
    })
}

/// The lists of a report with their names.
fn lists(report: &VendingReport) -> [(&'static str, &'static str, &[VendedSum]); 4] {
    [
        ("By supply group", "supply group", &report.supply_groups),
        ("By client", "client", &report.clients),
        ("By day", "day", &report.days),
        ("By hour of the day", "hour", &report.hours),
    ]
}

fn named(sum: &VendedSum) -> String {
    if sum.display_name.is_empty() { sum.key.clone() } else { format!("{} ({})", sum.display_name, sum.key) }
}

fn row(sum: &VendedSum) -> [String; 5] {
    [named(sum), sum.kind.replace('_', " "), sum.tokens.to_string(), sum.amount.clone(), sum.unit.clone()]
}

fn text(report: &VendingReport, first: Date, last: Date) -> String {
    if report.kinds.is_empty() && report.refused.is_empty() {
        return format!("nothing was vended or refused from {first} to {last}");
    }
    let kinds = report.kinds.iter().map(|sum| {
        let [_, kind, tokens, amount, unit] = row(sum);
        [kind, tokens, amount, unit]
    });
    let mut parts = vec![output::table(["kind", "tokens", "amount", "unit"], kinds)];
    for (title, key, sums) in lists(report).into_iter().filter(|(_, _, sums)| !sums.is_empty()) {
        let table = output::table([key, "kind", "tokens", "amount", "unit"], sums.iter().map(row));
        parts.push(format!("{title}\n{table}"));
    }
    if !report.refused.is_empty() {
        let rows = report.refused.iter().map(|count| [count.key.clone(), count.calls.to_string()]);
        parts.push(format!("Refused\n{}", output::table(["reason", "calls"], rows)));
    }
    parts.join("\n\n")
}

/// One table of all sums, for spreadsheets and scripts.
fn written(report: &VendingReport, out: impl io::Write) -> io::Result<()> {
    let mut out = table::writer(out, b',');
    out.write_record(["by", "key", "display_name", "kind", "tokens", "amount", "unit"])?;
    let kinds = ("By kind", "kind", report.kinds.as_slice());
    for (_, by, sums) in std::iter::once(kinds).chain(lists(report)) {
        for sum in sums {
            let (tokens, name) = (sum.tokens.to_string(), defused(&sum.display_name));
            out.write_record([by, &sum.key, &name, &sum.kind, &tokens, &sum.amount, &sum.unit])?;
        }
    }
    for (by, counts) in [("refused", &report.refused), ("refused by day", &report.refused_days)] {
        for count in counts {
            out.write_record([by, &count.key, "", "", &count.calls.to_string(), "", ""])?;
        }
    }
    out.flush()
}

fn page(report: &VendingReport, first: Date, last: Date) -> Result<String, crate::chart::ChartError> {
    let zone = match report.utc_offset_hours {
        0 => "UTC".to_owned(),
        hours => format!("UTC{hours:+}"),
    };
    let made = format!("{first} to {last}, {zone}. Made by vendkey {}", env!("CARGO_PKG_VERSION"));
    let mut page = Page::new("Vending", &made);
    if let Some(since) = late(report) {
        page.paragraph(&since);
    }
    page.table(
        ["kind", "#tokens", "#amount", "unit"],
        report.kinds.iter().map(|sum| {
            let [_, kind, tokens, amount, unit] = row(sum);
            [kind, tokens, amount, unit]
        }),
    );
    for chart in charts(report)? {
        page.chart(&chart.svg);
    }
    for (title, key, sums) in lists(report).into_iter().filter(|(_, _, sums)| !sums.is_empty()) {
        page.heading(title);
        page.table([key, "kind", "#tokens", "#amount", "unit"], sums.iter().map(row));
    }
    if !report.refused.is_empty() {
        page.heading("Refused calls");
        let rows = report.refused.iter().map(|count| [count.key.clone(), count.calls.to_string()]);
        page.table(["reason", "#calls"], rows);
    }
    Ok(page.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_have_their_days() {
        for (text, first, last) in
            [("2026-11", "2026-11-01", "2026-11-30"), ("2028-02", "2028-02-01", "2028-02-29")]
        {
            let (from, until) = month(text).unwrap();
            assert_eq!((from.to_string(), until.to_string()), (first.to_owned(), last.to_owned()));
        }
        for text in ["2026", "2026-13", "november"] {
            assert!(month(text).is_err(), "{text}");
        }
    }
}
