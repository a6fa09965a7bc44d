//! Reports: which is asked for, and how one is shown.

use super::{
    parse::{Fields, milliseconds, timestamp},
    report_charts::charts,
    v1,
};
use crate::{
    access::rights::TokenKind,
    acts::{Reason, Refusal, ReportAnswer, ReportQuery},
    ledger::{Hours, OfClient, Sum, Sums, date_of},
    sts::token::Service,
};

/// Hours of a day.
const OFFSETS: std::ops::RangeInclusive<i32> = -12..=14;

/// Which report a request asks for.
pub(super) fn query(request: &v1::GetVendingReportRequest) -> Result<ReportQuery, Refusal> {
    let mut fields = Fields::default();
    let start = fields.take("start_time", request.start_time.ok_or("is missing"));
    let end = fields.take("end_time", request.end_time.ok_or("is missing"));
    let hours = match (start, end) {
        (Some(start), Some(end)) => {
            fields.take("end_time", Hours::touched(milliseconds(start), milliseconds(end)))
        }
        _ => None,
    };
    let offset = Some(request.utc_offset_hours).filter(|offset| OFFSETS.contains(offset));
    let offset = fields.take("utc_offset_hours", offset.ok_or("is -12 to 14"));
    let query = hours.zip(offset).map(|(hours, offset)| ReportQuery { hours, offset: i64::from(offset) });
    fields.finish(query)
}

/// A report as the API shows it.
pub(super) fn shown(answer: ReportAnswer, with_charts: bool) -> Result<v1::VendingReport, Refusal> {
    let ReportAnswer { query: ReportQuery { hours, offset }, report, clients, kept_since } = answer;
    let (start_ms, end_ms) = hours.instants_ms();
    let date = |day: &i64| date_of(*day).map(|date| date.to_string()).unwrap_or_default();
    let counts = |key: String, calls: u64| v1::RefusedCount { key, calls };
    let mut shown = v1::VendingReport {
        start_time: Some(timestamp(start_ms)),
        end_time: Some(timestamp(end_ms)),
        utc_offset_hours: i32::try_from(offset).unwrap_or_default(),
        kept_since: kept_since.map(|hour| timestamp(Hours { first: hour, last: hour }.instants_ms().0)),
        kinds: report.kinds.iter().map(|(kind, sum)| vended(String::new(), kind, *sum)).collect(),
        days: by_key(&report.days, date),
        hours: by_key(&report.hours, |hour| format!("{hour:02}")),
        supply_groups: by_key(&report.supply_groups, String::clone),
        clients: clients.into_iter().map(of_client).collect(),
        refused: report.refused.into_iter().map(|(reason, calls)| counts(reason, calls)).collect(),
        refused_days: report.refused_days.iter().map(|(day, calls)| counts(date(day), *calls)).collect(),
        charts: Vec::new(),
    };
    if with_charts {
        shown.charts = charts(&shown).map_err(|error| Refusal::new(Reason::Internal, error.to_string()))?;
    }
    Ok(shown)
}

fn by_key<K>(sums: &Sums<K>, key: impl Fn(&K) -> String) -> Vec<v1::VendedSum> {
    sums.iter().map(|((of, kind), sum)| vended(key(of), kind, *sum)).collect()
}

fn of_client(of: OfClient) -> v1::VendedSum {
    let OfClient { client, display_name, kind, sum } = of;
    v1::VendedSum { display_name, ..vended(format!("clients/{client}"), &kind, sum) }
}

fn vended(key: String, kind: &str, sum: Sum) -> v1::VendedSum {
    let transfers = kind.parse::<TokenKind>().is_ok_and(TokenKind::is_credit);
    v1::VendedSum {
        key,
        display_name: String::new(),
        kind: kind.to_owned(),
        tokens: sum.tokens,
        amount: if transfers { sum.amount.to_string() } else { String::new() },
        unit: unit(kind).to_owned(),
    }
}

/// The unit of a kind; currency has none of its own.
fn unit(kind: &str) -> &'static str {
    match kind.parse::<TokenKind>() {
        Ok(TokenKind::ElectricityCredit) => Service::Electricity.unit(),
        Ok(TokenKind::WaterCredit) => Service::Water.unit(),
        Ok(TokenKind::GasCredit) => Service::Gas.unit(),
        Ok(TokenKind::TimeCredit) => Service::Time.unit(),
        _ => "",
    }
}
