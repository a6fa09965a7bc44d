//! Tokens that were issued before: which are asked for, and how they are shown.

use super::{
    content,
    parse::{Fields, milliseconds, page_size, request_id, timestamp},
    v1::{self, get_issued_token_request::By},
};
use crate::{
    acts::{IssuedEntry, Reason, Refusal, TokenName, TokenQuery},
    ledger::{Cursor, RowContent, Sequence, TokenFilter, TokenRow},
    sts::{
        attributes::EncryptionAlgorithm,
        token::{Content, LayoutField, Payload},
    },
};

/// Which token a request asks for.
pub(super) fn name(request: v1::GetIssuedTokenRequest) -> Result<TokenName, Refusal> {
    let mut fields = Fields::default();
    let name = match request.by {
        None => {
            fields.fault("by", "is missing: give name or request_id");
            None
        }
        Some(By::Name(name)) => sequence(&mut fields, "name", &name).map(TokenName::Sequence),
        Some(By::RequestId(text)) => fields.take("request_id", request_id(&text)).map(TokenName::Request),
    };
    fields.finish(name)
}

/// Which tokens a request asks for.
pub(super) fn query(request: v1::ListIssuedTokensRequest) -> Result<TokenQuery, Refusal> {
    let mut fields = Fields::default();
    let size = page_size(&mut fields, request.page_size);
    let after = match given(&request.page_token) {
        None => Some(Cursor::default()),
        Some(token) => {
            let cursor = token.strip_prefix("issuedTokens/").unwrap_or_default().parse::<Cursor>();
            fields.take("page_token", cursor.map_err(|_| "this is no page token of this list"))
        }
    };
    let mut filter = TokenFilter {
        meter: given(&request.meter_pan).and_then(|pan| fields.take("meter_pan", pan.parse())),
        configuration: given(&request.configuration)
            .and_then(|name| fields.name("configuration", "configurations", name)),
        client: given(&request.client).and_then(|name| fields.name("client", "clients", name)),
        class: None,
        from_ms: request.start_time.map(milliseconds),
        until_ms: request.end_time.map(milliseconds),
    };
    match (request.token_class, request.token_subclass) {
        (None, None) => {}
        (None, Some(_)) => fields.fault("token_subclass", "needs token_class beside it"),
        (Some(class), subclass) => {
            let class = u8::try_from(class).ok().filter(|class| *class <= 2);
            let subclass = subclass.map(|subclass| u8::try_from(subclass).unwrap_or(u8::MAX));
            match class {
                Some(class) => filter.class = Some((class, subclass)),
                None => fields.fault("token_class", "is 0, 1 or 2"),
            }
        }
    }
    let page = size.zip(after);
    fields.finish(page.map(|(size, after)| TokenQuery { filter, after, size, digits: request.digits }))
}

/// The page token of what follows.
pub(super) fn page_token(next: &Cursor) -> String {
    format!("issuedTokens/{next}")
}

fn given(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// The number in `issuedTokens/{number}`.
fn sequence(fields: &mut Fields, field: &str, name: &str) -> Option<Sequence> {
    let number = name.strip_prefix("issuedTokens/").filter(|number| !number.starts_with(['0', '+']));
    let sequence = number.and_then(|number| number.parse().ok()).and_then(Sequence::new);
    if sequence.is_none() {
        fields.fault(field, "expected issuedTokens/ and a number");
    }
    sequence
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

/// An entry of the ledger as the API shows it.
pub(super) fn shown(entry: &IssuedEntry) -> Result<v1::IssuedToken, Refusal> {
    let IssuedEntry { row, known, token } = entry;
    let known = known.as_ref();
    let mut shown = v1::IssuedToken {
        token: token.as_ref().map(ToString::to_string).unwrap_or_default(),
        configuration: row
            .content
            .configuration()
            .map(|id| format!("configurations/{id}"))
            .unwrap_or_default(),
        kcv: known.and_then(|known| known.kcv).map(hex::encode).unwrap_or_default(),
        meter_pan: row.content.meter().map(|meter| meter.to_string()).unwrap_or_default(),
        drn: row.content.meter().map(|meter| meter.drn().to_string()).unwrap_or_default(),
        ..from_row(row)
    };
    let fault = || Refusal::new(Reason::Internal, "a row of the ledger cannot be read");
    match &row.content {
        RowContent::Sequenced { base_date, tid, block, .. } => {
            let ea = known.map(|known| known.attributes.ea).ok_or_else(fault)?;
            let Ok(Content::Vending { payload, .. }) = Content::parse(block, ea) else { return Err(fault()) };
            (shown.token_class, shown.token_subclass) = (block.class().into(), block.subclass().into());
            shown.kind = content::kind(&payload);
            shown.tid = Some(v1::TokenIdentifier {
                value: tid.value(),
                time: Some(timestamp(tid.unix_seconds(*base_date).saturating_mul(1000))),
            });
            shown.transferred = content::transferred(&payload).map(|(amount, unit, _)| v1::Transferred {
                amount,
                unit: unit.to_owned(),
                // Only the answer to the request knows what was asked for.
                rounded_up: false,
            });
            if let Payload::Management(management) = payload {
                shown.register = Some(management.register().into());
            }
        }
        RowContent::Fixed { block, .. } => {
            (shown.token_class, shown.token_subclass) = (1, block.subclass().into());
            shown.kind = "meter test".to_owned();
        }
        RowContent::KeyChange { .. } => {
            shown.token_class = 2;
            shown.kind = "key change".to_owned();
        }
    }
    Ok(shown)
}

/// The same with the bits of its block by name. A key change has none: its block is kept nowhere.
pub(super) fn shown_whole(entry: &IssuedEntry) -> Result<v1::IssuedToken, Refusal> {
    let bit_layout = match &entry.row.content {
        RowContent::Sequenced { block, .. } | RowContent::Fixed { block, .. } => {
            // Without a key there is no cipher, and the block is laid out alike under all.
            let ea = entry.known.as_ref().map_or(EncryptionAlgorithm::Ea07, |known| known.attributes.ea);
            let field = |field: LayoutField| v1::BitField { name: field.name.to_owned(), bits: field.bits };
            block.layout(ea).into_iter().map(field).collect()
        }
        RowContent::KeyChange { .. } => Vec::new(),
    };
    Ok(v1::IssuedToken { bit_layout, ..shown(entry)? })
}
