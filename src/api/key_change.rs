//! Key changes: requests into orders, sets and pairs into answers.

use std::time::Instant;

use super::{
    attributes::attributes,
    parse::{Fields, meter_number, request_id, timestamp},
    v1,
};
use crate::{
    acts::Refusal,
    configuration::{AllowedKeyChange, KeyChangePair},
    metrics,
    sts::token::key_change::SetShape,
    vending::{IssuedKeyChange, KeyChangeOrder},
};

/// The subclasses of the sections, in the order of a set.
const SUBCLASSES: [u32; 4] = [3, 4, 8, 9];

/// Parses a request for a set.
pub(super) fn parse(
    request: v1::IssueKeyChangeRequest,
    deadline: Option<Instant>,
) -> Result<KeyChangeOrder, Refusal> {
    let mut fields = Fields::default();
    let source = fields.name("source", "configurations", &request.source);
    let target = fields.name("target", "configurations", &request.target);
    let meter = fields.take("meter", meter_number(&request.meter));
    let request_id = fields.take("request_id", request_id(&request.request_id));
    let order = match (source, target, meter, request_id) {
        (Some(source), Some(target), Some(meter), Some(request_id)) => {
            if source == target {
                fields.fault("target", "is the source");
            }
            let transfer_sgc = request.transfer_sgc;
            Some(KeyChangeOrder { source, target, meter, request_id, transfer_sgc, deadline })
        }
        _ => None,
    };
    fields.finish(order)
}

/// The answer to a request for a set.
pub(super) fn shown(issued: &IssuedKeyChange) -> v1::KeyChangeSet {
    let IssuedKeyChange { tokens, plan, meter, row, source, target, replay } = issued;
    let tokens = tokens.iter().zip(SUBCLASSES);
    let kcv = |kcv: Option<[u8; 3]>| kcv.map(hex::encode).unwrap_or_default();
    v1::KeyChangeSet {
        name: format!("issuedTokens/{}", row.sequence),
        tokens: tokens
            .map(|(token, token_subclass)| {
                metrics::token(2, token_subclass, *replay);
                v1::KeyChangeToken { token: token.to_string(), token_subclass }
            })
            .collect(),
        source: format!("configurations/{}", source.id),
        target: format!("configurations/{}", target.id),
        source_kcv: kcv(source.kcv),
        target_kcv: kcv(target.kcv),
        meter_pan: meter.to_string(),
        drn: meter.drn().to_string(),
        target_attributes: Some(attributes(&target.attributes)),
        roll_over: plan.roll_over,
        transfers_sgc: plan.shape != SetShape::Pair,
        request_id: row.request_id.to_string(),
        issue_time: Some(timestamp(row.issued_ms)),
        replay: *replay,
    }
}

/// Parses a pair.
pub(super) fn pair(source: &str, target: &str) -> Result<KeyChangePair, Refusal> {
    let mut fields = Fields::default();
    let source = fields.name("source", "configurations", source);
    let target = fields.name("target", "configurations", target);
    if source.is_some() && source == target {
        fields.fault("target", "is the source");
    }
    let pair = source.zip(target).map(|(source, target)| KeyChangePair { source, target });
    fields.finish(pair)
}

/// A pair as the API shows it.
pub(super) fn pair_shown(allowed: &AllowedKeyChange) -> v1::KeyChangePair {
    v1::KeyChangePair {
        source: format!("configurations/{}", allowed.pair.source),
        target: format!("configurations/{}", allowed.pair.target),
        allowed_by: format!("clients/{}", allowed.allowed_by),
        create_time: Some(timestamp(allowed.created_ms)),
    }
}
