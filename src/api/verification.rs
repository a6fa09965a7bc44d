//! Looking at a token: requests into orders, findings into answers.

use super::{
    content,
    parse::{Fields, meter_number, timestamp},
    v1::{self, verify_token_response::Result as Wire},
};
use crate::{
    acts::Refusal,
    sts::token::{Content, Display, Payload, Token, key_change::Section},
    vending::{Verdict, Verified, VerifyOrder, section_fields},
};

/// Parses a request. Digits that are no token are no fault of the request.
pub(super) fn parse(request: v1::VerifyTokenRequest) -> Result<VerifyOrder, Refusal> {
    let mut fields = Fields::default();
    let configuration = fields.name("configuration", "configurations", &request.configuration);
    let meter = fields.take("meter", meter_number(&request.meter));
    let order = configuration.zip(meter).map(|(configuration, meter)| VerifyOrder {
        token: Token::typed(&request.token),
        configuration,
        meter,
        examine_foreign: request.examine_foreign,
    });
    fields.finish(order)
}

/// What was found, in words of the API.
pub(super) fn shown(verified: Verified, with_layout: bool) -> v1::VerifyTokenResponse {
    let Verified { verdict, meter, content, class_subclass, crc_holds, remark, layout, row, known } =
        verified;
    let layout = if with_layout { layout } else { Vec::new() };
    let answer = v1::VerifyTokenResponse {
        result: result(verdict).into(),
        meter_pan: meter.to_string(),
        configuration: format!("configurations/{}", known.id),
        kcv: known.kcv.map(hex::encode).unwrap_or_default(),
        token_class: class_subclass.map(|(class, _)| class.into()),
        token_subclass: class_subclass.map(|(_, subclass)| subclass.into()),
        crc_holds,
        explanation: remark.map(|remark| remark.to_string()).unwrap_or_default(),
        bit_layout: layout
            .into_iter()
            .map(|field| v1::BitField { name: field.name.to_owned(), bits: field.bits })
            .collect(),
        issued_token: row.as_ref().map(|row| format!("issuedTokens/{}", row.sequence)).unwrap_or_default(),
        issue_time: row.as_ref().map(|row| timestamp(row.issued_ms)),
        ..v1::VerifyTokenResponse::default()
    };
    match content {
        None if verdict == Verdict::Reserved => {
            v1::VerifyTokenResponse { kind: "reserved".to_owned(), ..answer }
        }
        None => answer,
        Some(Content::Proprietary(own)) => v1::VerifyTokenResponse {
            kind: "manufacturer's own".to_owned(),
            control: Some(own.control()),
            manufacturer_code: Some(own.manufacturer().into()),
            ..answer
        },
        Some(Content::Vending { payload, rnd, tid }) => v1::VerifyTokenResponse {
            tid: Some(content::identifier(tid, known.attributes.base_date)),
            rnd: rnd.map(|rnd| rnd.value().into()),
            ..with_payload(answer, &payload)
        },
        Some(Content::Display(display)) => with_display(answer, display),
        Some(Content::KeyChange(section)) => with_section(answer, &section),
    }
}

fn with_payload(answer: v1::VerifyTokenResponse, payload: &Payload) -> v1::VerifyTokenResponse {
    v1::VerifyTokenResponse {
        kind: content::kind(payload),
        transferred: content::transferred(payload).map(|(amount, unit, _)| v1::Transferred {
            amount,
            unit: unit.to_owned(),
            rounded_up: false,
        }),
        register: match payload {
            Payload::Management(management) => Some(management.register().into()),
            Payload::Credit { .. } | Payload::Currency { .. } => None,
        },
        ..answer
    }
}

fn with_display(answer: v1::VerifyTokenResponse, display: Display) -> v1::VerifyTokenResponse {
    v1::VerifyTokenResponse {
        kind: content::display_kind(&display).to_owned(),
        control: Some(display.control()),
        manufacturer_code: Some(display.manufacturer().into()),
        ..answer
    }
}

fn with_section(answer: v1::VerifyTokenResponse, section: &Section) -> v1::VerifyTokenResponse {
    let fields = section_fields(section).into_iter();
    v1::VerifyTokenResponse {
        kind: "key change".to_owned(),
        key_change: fields.map(|(name, value)| v1::NamedValue { name: name.to_owned(), value }).collect(),
        ..answer
    }
}

fn result(verdict: Verdict) -> Wire {
    match verdict {
        Verdict::Valid => Wire::Valid,
        Verdict::KeyExpired => Wire::KeyExpired,
        Verdict::CreditUnderDefaultKey => Wire::CreditUnderDefaultKey,
        Verdict::NotAToken => Wire::NotAToken,
        Verdict::NotIssuedHere => Wire::NotIssuedHere,
        Verdict::MeterTest => Wire::MeterTest,
        Verdict::CrcMismatch => Wire::CrcMismatch,
        Verdict::UnknownSubclass => Wire::UnknownSubclass,
        Verdict::ValidForeign => Wire::ValidForeign,
        Verdict::Proprietary => Wire::Proprietary,
        Verdict::Reserved => Wire::Reserved,
    }
}
