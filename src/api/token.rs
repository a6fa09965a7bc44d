//! `vendkey.v1.TokenService`.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use prost_types::Timestamp;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, metadata::MetadataMap};
use uuid::Uuid;

use super::{
    authentication::caller,
    content::{self, Content},
    issued, key_change,
    many::{self, Asking},
    parse::{Fields, timestamp},
    v1::{self, token_service_server::TokenService},
    verification,
};
use crate::{
    acts::{Reason, Refusal},
    metrics,
    store::{RowContent, TokenRow},
    sts::{
        meter::{Drn, MeterError, MeterPan},
        token::{Display, Payload},
    },
    vending::{Asked, IssueOrder, IssuedToken, MeterNumber, Vending},
};

/// The service.
pub struct Tokens {
    vending: Arc<Vending>,
    stream_idle: Duration,
}

impl Tokens {
    /// Over the acts. A stream on which nothing comes for `stream_idle` is ended.
    pub fn new(vending: Arc<Vending>, stream_idle: Duration) -> Self {
        Self { vending, stream_idle }
    }
}

#[tonic::async_trait]
impl TokenService for Tokens {
    async fn issue_key_change(
        &self,
        request: Request<v1::IssueKeyChangeRequest>,
    ) -> Result<Response<v1::KeyChangeSet>, Status> {
        let caller = caller(&request)?;
        let deadline = deadline(request.metadata());
        let order = key_change::parse(request.into_inner(), deadline)?;
        let issued = self.vending.change_key(&caller, order).await.map_err(Refusal::from)?;
        Ok(Response::new(key_change::shown(&issued)))
    }

    async fn verify_token(
        &self,
        request: Request<v1::VerifyTokenRequest>,
    ) -> Result<Response<v1::VerifyTokenResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let with_layout = request.bit_layout;
        let order = verification::parse(request)?;
        let verified = self.vending.verify(&caller, order).await.map_err(Refusal::from)?;
        Ok(Response::new(verification::shown(verified, with_layout)))
    }

    async fn issue_token(
        &self,
        request: Request<v1::IssueTokenRequest>,
    ) -> Result<Response<v1::IssuedToken>, Status> {
        let caller = caller(&request)?;
        let deadline = deadline(request.metadata());
        let request = request.into_inner();
        let finer = has_finer_amount(&request);
        match parse(request, deadline)? {
            Parsed::Sequenced(order) => {
                let asked = order.asked;
                let issued = self.vending.issue(&caller, order).await.map_err(Refusal::from)?;
                Ok(Response::new(sequenced(&issued, asked, finer)?))
            }
            Parsed::Display { request_id, display } => {
                let (row, replay) = self
                    .vending
                    .issue_display(&caller, request_id, display, deadline)
                    .await
                    .map_err(Refusal::from)?;
                Ok(Response::new(displayed(&row, display, replay)))
            }
        }
    }

    async fn batch_issue_tokens(
        &self,
        request: Request<v1::BatchIssueTokensRequest>,
    ) -> Result<Response<v1::BatchIssueTokensResponse>, Status> {
        let asking = Asking::new(caller(&request)?, request.extensions(), "BatchIssueTokens");
        let deadline = deadline(request.metadata());
        let requests = request.into_inner().requests;
        if requests.is_empty() || requests.len() > many::MOST {
            let mut fields = Fields::default();
            fields.fault("requests", format!("1 to {} are expected", many::MOST));
            return Err(fields.refusal().into());
        }
        let results = many::batch(&self.vending, &asking, requests, deadline).await;
        Ok(Response::new(v1::BatchIssueTokensResponse { results }))
    }

    type StreamTokensStream = ReceiverStream<Result<v1::TokenResult, Status>>;

    async fn stream_tokens(
        &self,
        request: Request<Streaming<v1::IssueTokenRequest>>,
    ) -> Result<Response<Self::StreamTokensStream>, Status> {
        let asking = Asking::new(caller(&request)?, request.extensions(), "StreamTokens");
        Ok(Response::new(many::stream(self.vending.clone(), asking, request.into_inner(), self.stream_idle)))
    }

    async fn get_issued_token(
        &self,
        request: Request<v1::GetIssuedTokenRequest>,
    ) -> Result<Response<v1::IssuedToken>, Status> {
        let caller = caller(&request)?;
        Ok(Response::new(issued::get(&self.vending, &caller, request.into_inner()).await?))
    }

    async fn list_issued_tokens(
        &self,
        request: Request<v1::ListIssuedTokensRequest>,
    ) -> Result<Response<v1::ListIssuedTokensResponse>, Status> {
        let caller = caller(&request)?;
        Ok(Response::new(issued::list(&self.vending, &caller, request.into_inner()).await?))
    }
}

/// A request whose every field is well.
pub(super) enum Parsed {
    Sequenced(IssueOrder),
    Display { request_id: Uuid, display: Display },
}

pub(super) fn parse(request: v1::IssueTokenRequest, deadline: Option<Instant>) -> Result<Parsed, Refusal> {
    let mut fields = Fields::default();
    let request_id = fields.take("request_id", request_id(&request.request_id));
    let token_time = request.token_time.and_then(|time| fields.take("token_time", seconds(time)));
    let content = content::parse(&mut fields, request.content);
    if let Some(Content::Display(display)) = content {
        // Class 1 is for every meter: what names one would be forgotten silently.
        if !request.meter.is_empty() || !request.configuration.is_empty() || token_time.is_some() {
            fields.fault(
                "meter_test",
                "takes no meter, no configuration and no token_time: it fits every meter",
            );
        }
        let request_id = fields.finish(request_id)?;
        return Ok(Parsed::Display { request_id, display });
    }
    let configuration = fields.name("configuration", "configurations", &request.configuration);
    let meter = fields.take("meter", meter_number(&request.meter));
    let parsed = match (configuration, meter, request_id, content) {
        (Some(configuration), Some(meter), Some(request_id), Some(Content::Sequenced(asked))) => {
            Some(IssueOrder { configuration, meter, request_id, token_time, asked, deadline })
        }
        _ => None,
    };
    fields.finish(parsed).map(Parsed::Sequenced)
}

/// Unix seconds; a token counts minutes.
fn seconds(time: Timestamp) -> Result<i64, &'static str> {
    if (0..1_000_000_000).contains(&time.nanos) {
        Ok(time.seconds)
    } else {
        Err("nanos are 0 to 999,999,999")
    }
}

pub(super) fn request_id(text: &str) -> Result<Uuid, &'static str> {
    match Uuid::try_parse(text) {
        Ok(id) if !id.is_nil() && !id.is_max() => Ok(id),
        _ => Err("expected a UUID that you choose, such as 018f2b3c-7d4e-7a10-9c55-3b1f0e2d4c6a"),
    }
}

pub(super) fn meter_number(text: &str) -> Result<MeterNumber, MeterError> {
    match text.len() {
        18 => text.parse::<MeterPan>().map(MeterNumber::Pan),
        _ => text.parse::<Drn>().map(MeterNumber::Drn),
    }
}

/// When the caller stops waiting, by its `grpc-timeout`: up to 8 digits and a unit.
fn deadline(metadata: &MetadataMap) -> Option<Instant> {
    Instant::now().checked_add(timeout(metadata.get("grpc-timeout")?.to_str().ok()?)?)
}

/// What a `grpc-timeout` header says.
pub(crate) fn timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count.checked_mul(3600)?),
        "M" => Duration::from_secs(count.checked_mul(60)?),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

/// Whether the request asks for a part of the least unit, which was rounded before the standard's coding saw it.
pub(super) fn has_finer_amount(request: &v1::IssueTokenRequest) -> bool {
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

pub(super) fn sequenced(issued: &IssuedToken, asked: Asked, finer: bool) -> Result<v1::IssuedToken, Refusal> {
    let IssuedToken { token, row, known, replay } = issued;
    let RowContent::Sequenced { meter, base_date, tid, .. } = &row.content else {
        return Err(Refusal::new(Reason::Internal, "the ledger's row is of another kind"));
    };
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

pub(super) fn displayed(row: &TokenRow, display: Display, replay: bool) -> v1::IssuedToken {
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

/// What every row says.
pub(super) fn from_row(row: &TokenRow) -> v1::IssuedToken {
    v1::IssuedToken {
        name: format!("issuedTokens/{}", row.sequence),
        request_id: row.request_id.to_string(),
        issue_time: Some(timestamp(row.issued_ms)),
        ..v1::IssuedToken::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_of_all_units() {
        let after = |text: &str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-timeout", text.parse().unwrap());
            deadline(&metadata)
        };
        for (text, seconds) in [("1H", 3600), ("2M", 120), ("3S", 3), ("4000m", 4)] {
            let left = after(text).unwrap().duration_since(Instant::now());
            assert!(
                left <= Duration::from_secs(seconds) && left > Duration::from_secs(seconds - 1),
                "{text}"
            );
        }
        for text in ["", "1", "S", "1x", "99999999999999999999S"] {
            assert!(after(text).is_none(), "{text}");
        }
    }

    #[test]
    fn nil_is_no_request_id() {
        assert!(request_id(&Uuid::nil().to_string()).is_err());
        assert!(request_id(&Uuid::now_v7().to_string()).is_ok());
    }
}
