//! `vendkey.v1.TokenFileService`.

use std::collections::BTreeMap;

use jiff::civil;
use tonic::{Request, Response, Status};

use super::{
    services::Services,
    v1::{self, token_file_service_server::TokenFileService},
};
use crate::{
    acts::TokenFiles,
    token_log::{Decimal, Entry, File, Meter, Prices, Summary, Sums},
};

/// Lines that are listed of each file, and meters.
const LISTED: usize = 1_000;

#[tonic::async_trait]
impl TokenFileService for Services {
    async fn read_token_files(
        &self,
        request: Request<v1::ReadTokenFilesRequest>,
    ) -> Result<Response<v1::ReadTokenFilesResponse>, Status> {
        let v1::ReadTokenFilesRequest { files, profile } = request.into_inner();
        let files = files.into_iter().map(|v1::TokenFile { name, content }| (name, content)).collect();
        let TokenFiles { log, summary } = self.acts.read_token_files(files, &profile).await?;
        Ok(Response::new(v1::ReadTokenFilesResponse {
            entries: log.entries.into_iter().map(entry).collect(),
            files: log.files.into_iter().map(file).collect(),
            summary: Some(sums_shown(summary)),
        }))
    }
}

/// No file has as many of anything.
fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn entry(entry: Entry) -> v1::TokenFileEntry {
    let decimal = |value: Option<Decimal>| value.map(|value| value.to_string()).unwrap_or_default();
    v1::TokenFileEntry {
        file: count(entry.file),
        line: entry.line,
        time: entry.time.map(|time| time.to_string()).unwrap_or_default(),
        token: entry.token.to_string(),
        token_class: entry.class().map(u32::from),
        units: decimal(entry.units),
        amount: decimal(entry.amount),
        meter: entry.meter.unwrap_or_default(),
        unit: entry.unit,
        currency: entry.currency,
        marks: entry.marks.iter().map(|mark| mark.name().to_owned()).collect(),
        notes: entry.notes,
    }
}

fn file(file: File) -> v1::TokenFileRead {
    let lines = file.not_understood;
    v1::TokenFileRead {
        name: file.name,
        tokens: count(file.tokens),
        not_understood_count: count(lines.len()),
        not_understood: lines
            .into_iter()
            .take(LISTED)
            .map(|one| v1::LineNotUnderstood { line: one.line, why: one.why })
            .collect(),
        lines_without_values: file.prose,
        decisions: file.decisions,
    }
}

fn sums_shown(summary: Summary) -> v1::TokenFileSummary {
    v1::TokenFileSummary {
        tokens: count(summary.tokens),
        doubles: count(summary.doubles),
        units: summary.units.into_iter().map(sums).collect(),
        amounts: summary.amounts.into_iter().map(sums).collect(),
        prices: summary.prices.into_iter().map(prices).collect(),
        meter_count: count(summary.meters.len()),
        meters: summary.meters.into_iter().take(LISTED).map(meter).collect(),
    }
}

fn sums(sums: Sums) -> v1::TokenFileSums {
    v1::TokenFileSums {
        name: sums.name,
        tokens: count(sums.count),
        total: sums.total.to_string(),
        days: days(&sums.days, Decimal::to_string),
    }
}

fn prices(prices: Prices) -> v1::TokenFilePrices {
    let price =
        |(amount, units): &(Decimal, Decimal)| format!("{:.4}", amount.approximate() / units.approximate());
    v1::TokenFilePrices {
        price: price(&prices.total),
        days: days(&prices.days, price),
        currency: prices.currency,
        unit: prices.unit,
    }
}

fn days<T>(days: &BTreeMap<civil::Date, T>, sum: impl Fn(&T) -> String) -> Vec<v1::TokenFileDay> {
    days.iter().map(|(date, value)| v1::TokenFileDay { date: date.to_string(), sum: sum(value) }).collect()
}

fn meter(meter: Meter) -> v1::TokenFileMeter {
    let date = |date: Option<&civil::Date>| date.map(ToString::to_string).unwrap_or_default();
    v1::TokenFileMeter {
        tokens: count(meter.tokens),
        units: meter.units.to_string(),
        amount: meter.amount.to_string(),
        first_date: date(meter.days.first()),
        last_date: date(meter.days.last()),
        longest_gap_days: meter.gap.and_then(|(_, _, days)| u32::try_from(days).ok()).unwrap_or_default(),
        gap_is_strange: meter.gap_is_strange,
        number: meter.number,
    }
}
