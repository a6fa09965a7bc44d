//! Requests for a token into orders, tokens into answers.

use std::time::Instant;

use prost_types::Timestamp;

use super::{
    content::{self, Requested},
    issued::from_row,
    parse::{Fields, meter_number, request_id},
    v1,
};
use crate::{
    acts::{MeterTestOrder, Reason, Refusal, TokenAnswer, TokenOrder},
    ledger::{RowContent, TokenRow},
    metrics,
    sts::token::{Display, Payload},
    vending::{Asked, IssueOrder, IssuedToken},
};

/// What an answer needs of its request beside the token.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    /// What was asked for before the standard's coding rounded it; nothing of a token of class 1.
    asked: Option<Asked>,
    /// Whether a part of the least unit was asked for.
    finer: bool,
}

/// Parses a request.
pub(super) fn parse(
    request: v1::IssueTokenRequest,
    deadline: Option<Instant>,
) -> (Wanted, Result<TokenOrder, Refusal>) {
    let finer = has_finer_amount(&request);
    let order = order(request, deadline);
    let asked = match &order {
        Ok(TokenOrder::Encrypted(order)) => Some(order.asked),
        Ok(TokenOrder::MeterTest(_)) | Err(_) => None,
    };
    (Wanted { asked, finer }, order)
}

/// A token as the API shows it.
pub(super) fn shown(answer: &TokenAnswer, wanted: Wanted) -> Result<v1::IssuedToken, Refusal> {
    match answer {
        TokenAnswer::Encrypted(issued) => encrypted(issued, wanted),
        TokenAnswer::MeterTest { row, display, replay } => Ok(meter_test(row, *display, *replay)),
    }
}

fn order(request: v1::IssueTokenRequest, deadline: Option<Instant>) -> Result<TokenOrder, Refusal> {
    let mut fields = Fields::default();
    let request_id = fields.take("request_id", request_id(&request.request_id));
    let token_time = request.token_time.and_then(|time| fields.take("token_time", seconds(time)));
    let content = content::parse(&mut fields, request.content);
    if let Some(Requested::Display(display)) = content {
        // Class 1 is for every meter: what names one would be forgotten silently.
        if !request.meter.is_empty() || !request.configuration.is_empty() || token_time.is_some() {
            fields.fault(
                "meter_test",
                "takes no meter, no configuration and no token_time: it fits every meter",
            );
        }
        let request_id = fields.finish(request_id)?;
        return Ok(TokenOrder::MeterTest(MeterTestOrder { request_id, display, deadline }));
    }
    let configuration = fields.name("configuration", "configurations", &request.configuration);
    let meter = fields.take("meter", meter_number(&request.meter));
    let parsed = match (configuration, meter, request_id, content) {
        (Some(configuration), Some(meter), Some(request_id), Some(Requested::Sequenced(asked))) => {
            Some(IssueOrder { configuration, meter, request_id, token_time, asked, deadline })
        }
        _ => None,
    };
    fields.finish(parsed).map(TokenOrder::Encrypted)
}

/// Unix seconds; a token counts minutes.
fn seconds(time: Timestamp) -> Result<i64, &'static str> {
    if (0..1_000_000_000).contains(&time.nanos) {
        Ok(time.seconds)
    } else {
        Err("nanos are 0 to 999,999,999")
    }
}

/// Whether the request asks for a part of the least unit, which was rounded before the standard's
/// coding saw it.
fn has_finer_amount(request: &v1::IssueTokenRequest) -> bool {
    use v1::issue_token_request::Content as Wire;
    let (text, places) = match &request.content {
        Some(
            Wire::ElectricityCredit(credit)
            | Wire::WaterCredit(credit)
            | Wire::GasCredit(credit)
            | Wire::TimeCredit(credit),
        ) => match &credit.amount {
            Some(v1::unit_credit::Amount::Decimal(text)) => (text, crate::sts::amount::UNIT_PLACES),
            _ => return false,
        },
        Some(
            Wire::ElectricityCurrencyCredit(credit)
            | Wire::WaterCurrencyCredit(credit)
            | Wire::GasCurrencyCredit(credit)
            | Wire::TimeCurrencyCredit(credit),
        ) => match &credit.amount {
            Some(v1::currency_credit::Amount::Decimal(text)) => (text, crate::sts::amount::CURRENCY_PLACES),
            _ => return false,
        },
        _ => return false,
    };
    let fraction = text.split_once('.').map_or("", |(_, fraction)| fraction);
    fraction.bytes().skip(places as usize).any(|digit| digit != b'0')
}

fn encrypted(issued: &IssuedToken, Wanted { asked, finer }: Wanted) -> Result<v1::IssuedToken, Refusal> {
    let IssuedToken { token, row, known, replay } = issued;
    let RowContent::Sequenced { meter, base_date, tid, .. } = &row.content else {
        return Err(Refusal::new(Reason::Internal, "the ledger's row is of another kind"));
    };
    let asked =
        asked.ok_or_else(|| Refusal::new(Reason::Internal, "a token of another kind was asked for"))?;
    // The request's hash was the row's, so what was asked for is what the row says.
    let payload = asked.payload;
    let transferred = content::transferred(&payload).map(|(amount, unit, units)| v1::Transferred {
        amount,
        unit: unit.to_owned(),
        rounded_up: finer || units != asked.exact,
    });
    let (class, subclass) = payload.class_subclass();
    metrics::token(class.into(), subclass.into(), *replay);
    Ok(v1::IssuedToken {
        token: token.to_string(),
        token_class: class.into(),
        token_subclass: subclass.into(),
        kind: content::kind(&payload),
        configuration: format!("configurations/{}", known.id),
        kcv: known.kcv.map(hex::encode).unwrap_or_default(),
        meter_pan: meter.to_string(),
        drn: meter.drn().to_string(),
        tid: Some(content::identifier(*tid, *base_date)),
        transferred,
        register: match payload {
            Payload::Management(management) => Some(management.register().into()),
            Payload::Credit { .. } | Payload::Currency { .. } => None,
        },
        replay: *replay,
        ..from_row(row)
    })
}

fn meter_test(row: &TokenRow, display: Display, replay: bool) -> v1::IssuedToken {
    metrics::token(1, display.block().subclass().into(), replay);
    v1::IssuedToken {
        token: display.token().to_string(),
        token_class: 1,
        token_subclass: display.block().subclass().into(),
        kind: content::display_kind(&display).to_owned(),
        control: Some(display.control()),
        manufacturer_code: Some(display.manufacturer().into()),
        replay,
        ..from_row(row)
    }
}
