//! Tokens that were issued before: one, or a list.

use std::sync::Arc;

use super::{
    content,
    parse::{Fields, timestamp},
    token,
    v1::{self, get_issued_token_request::By},
};
use crate::{
    access::Caller,
    acts::{Reason, Refusal},
    store::{Group, PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX, RowContent, Scope, Sequence, TokenFilter, TokenRow},
    sts::token::{Content, Payload, Token},
    vending::{IssueError, IssuedToken, Known, Vending},
};

/// One token by its name or its request.
pub(super) async fn get(
    vending: &Vending,
    caller: &Caller,
    request: v1::GetIssuedTokenRequest,
) -> Result<v1::IssuedToken, Refusal> {
    let mut fields = Fields::default();
    let row = match request.by {
        None => {
            fields.fault("by", "is missing: give name or request_id");
            return Err(fields.refusal());
        }
        Some(By::Name(name)) => {
            let sequence = sequence(&mut fields, "name", &name);
            vending.store().issued_token(fields.finish(sequence)?).await?
        }
        Some(By::RequestId(text)) => {
            let id = fields.take("request_id", token::request_id(&text));
            vending.store().issued_token_of_request(caller.client, fields.finish(id)?).await?
        }
    };
    // Another client's token is not there: its number alone must tell nothing.
    let not_found = || Refusal::new(Reason::TokenNotFound, "the ledger has no such token of this client");
    let row = row.ok_or_else(not_found)?;
    if !is_visible(vending, caller, &row).await? {
        return Err(not_found());
    }
    let digits = row.client == caller.client;
    let digits = if digits { Digits::Needed } else { Digits::None };
    let mut shown = show(vending, vec![row], digits).await?;
    shown.pop().ok_or_else(|| Refusal::new(Reason::Internal, "a row vanished"))
}

/// Whether a caller may see a row: his own always; those of others if he may read the ledger, and his rights are about their
/// configuration.
async fn is_visible(vending: &Vending, caller: &Caller, row: &TokenRow) -> Result<bool, Refusal> {
    if row.client == caller.client {
        return Ok(true);
    }
    if !caller.rights.may(Group::ReadLedger) {
        return Ok(false);
    }
    let configurations = caller.rights.configurations();
    Ok(match (configurations, row.content.configuration()) {
        (Scope::All, _) | (Scope::Only { .. }, None) => true,
        (Scope::Only { .. }, Some(id)) => configurations.admits(id, vending.known(id).await?.attributes.sgc),
    })
}

/// A page of the ledger.
pub(super) async fn list(
    vending: &Vending,
    caller: &Caller,
    request: v1::ListIssuedTokensRequest,
) -> Result<v1::ListIssuedTokensResponse, Refusal> {
    let mut fields = Fields::default();
    let size = match u32::try_from(request.page_size) {
        Ok(0) => PAGE_SIZE_DEFAULT,
        Ok(size) => size.min(PAGE_SIZE_MAX),
        Err(_) => {
            fields.fault("page_size", "must not be negative");
            PAGE_SIZE_DEFAULT
        }
    };
    let after = given(&request.page_token).and_then(|token| sequence(&mut fields, "page_token", token));
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
    fields.finish(Some(()))?;
    if !caller.rights.may(Group::ReadLedger) || request.digits {
        if filter.client.is_some_and(|client| client != caller.client) {
            let text = if request.digits {
                "digits are given of own tokens only"
            } else {
                "a client sees its own tokens"
            };
            return Err(Refusal::new(Reason::PermissionDenied, text));
        }
        filter.client = Some(caller.client);
    }
    let page = vending.store().list_issued_tokens(filter, after, size).await?;
    let mut rows = Vec::with_capacity(page.rows.len());
    for row in page.rows {
        if is_visible(vending, caller, &row).await? {
            rows.push(row);
        }
    }
    Ok(v1::ListIssuedTokensResponse {
        tokens: show(vending, rows, if request.digits { Digits::Possible } else { Digits::None }).await?,
        next_page_token: page.next.map(name).unwrap_or_default(),
    })
}

fn name(sequence: Sequence) -> String {
    format!("issuedTokens/{sequence}")
}

fn given(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

fn milliseconds(time: prost_types::Timestamp) -> i64 {
    time.seconds.saturating_mul(1000).saturating_add(i64::from(time.nanos) / 1_000_000)
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

/// Whether digits are shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Digits {
    None,
    /// But for those whose key is destroyed: the ledger of a destroyed key can still be listed.
    Possible,
    Needed,
}

/// Rows as they are shown, with digits where they are asked for and a key makes them.
async fn show(
    vending: &Vending,
    rows: Vec<TokenRow>,
    digits: Digits,
) -> Result<Vec<v1::IssuedToken>, Refusal> {
    let mut shown = Vec::with_capacity(rows.len());
    let mut encrypted = if digits != Digits::None {
        let under_key = |row: &&TokenRow| matches!(row.content, RowContent::Sequenced { .. });
        vending.reproduce(rows.iter().filter(under_key).cloned().collect()).await.into_iter()
    } else {
        Vec::new().into_iter()
    };
    for row in rows {
        let known = match row.content.configuration() {
            Some(id) => Some(vending.known(id).await?),
            None => None,
        };
        let token = match &row.content {
            RowContent::Sequenced { .. } if digits != Digits::None => {
                let lost = Err(IssueError::Fault("a row was not encrypted"));
                match encrypted.next().unwrap_or(lost) {
                    Ok(IssuedToken { token, .. }) => Some(token),
                    Err(error) if digits == Digits::Possible && error.is_destroyed() => None,
                    Err(error) => return Err(error.into()),
                }
            }
            RowContent::Fixed { block, .. } => block.unencrypted(),
            RowContent::Sequenced { .. } | RowContent::KeyChange { .. } => None,
        };
        shown.push(describe(&row, known.as_ref(), token)?);
    }
    Ok(shown)
}

fn describe(
    row: &TokenRow,
    known: Option<&Arc<Known>>,
    token: Option<Token>,
) -> Result<v1::IssuedToken, Refusal> {
    let mut shown = v1::IssuedToken {
        token: token.map(|token| token.to_string()).unwrap_or_default(),
        configuration: row
            .content
            .configuration()
            .map(|id| format!("configurations/{id}"))
            .unwrap_or_default(),
        kcv: known.and_then(|known| known.kcv).map(hex::encode).unwrap_or_default(),
        meter_pan: row.content.meter().map(|meter| meter.to_string()).unwrap_or_default(),
        drn: row.content.meter().map(|meter| meter.drn().to_string()).unwrap_or_default(),
        ..token::from_row(row)
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
