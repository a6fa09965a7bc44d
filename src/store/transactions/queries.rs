//! Queries of the ledger: rows as they are kept become rows that cannot be wrong.

use uuid::Uuid;

use super::merge::{OfChain, merge};
use super::{clients, links};
use crate::id::{ClientId, ConfigurationId};
use crate::ledger::{Cursor, RowFields, Sequence, TokenFilter, TokenPage, TokenRow};
use crate::store::StoreError;
use crate::store::engine::View;
use crate::store::reading::Reading;
use crate::sts::attributes::BaseDate;
use crate::sts::meter::MeterPan;
use crate::sts::tid::Tid;

/// How many key changes of a meter are looked at.
const KEY_CHANGES: usize = 8;

pub(in crate::store) fn token<V: View>(
    reading: &mut Reading<V>,
    sequence: Sequence,
) -> Result<Option<TokenRow>, StoreError> {
    let found = reading.view.token(sequence)?;
    found.map(|found| linked(reading, found)).transpose()
}

pub(in crate::store) fn of_request<V: View>(
    reading: &mut Reading<V>,
    client: ClientId,
    request_id: Uuid,
) -> Result<Option<TokenRow>, StoreError> {
    // Whatever became of the client's row: the ledger's is what is asked for.
    let clients = reading.view.rows(&clients::of_id(client))?;
    let Some(client) = clients.first() else { return Ok(None) };
    let found = reading.view.tokens_of_requests(&[(client.number, request_id)])?.pop();
    found.map(|(_, found)| linked(reading, found?)).transpose()
}

pub(in crate::store) fn of_tid<V: View>(
    reading: &mut Reading<V>,
    meter: MeterPan,
    base_date: BaseDate,
    tid: Tid,
) -> Result<Option<TokenRow>, StoreError> {
    let found = reading.view.token_of_tid(meter, base_date, tid)?;
    found.map(|found| linked(reading, found)).transpose()
}

pub(in crate::store) fn key_changes<V: View>(
    reading: &mut Reading<V>,
    meter: MeterPan,
    configuration: ConfigurationId,
) -> Result<Vec<TokenRow>, StoreError> {
    let found = reading.view.key_changes(meter, configuration, KEY_CHANGES)?;
    found.into_iter().map(|found| linked(reading, found)).collect()
}

pub(in crate::store) fn list<V: View>(
    reading: &mut Reading<V>,
    filter: &TokenFilter,
    after: &Cursor,
    size: u32,
) -> Result<TokenPage, StoreError> {
    let mut of_chains = Vec::new();
    for end in reading.view.chains()? {
        let chain = end.number;
        let page = reading.view.list_tokens(chain, filter, after.position(chain), size)?;
        of_chains.push(OfChain { chain, items: page.rows, next: page.next });
    }
    let page = merge(after, of_chains, size as usize);
    let read = |fields: RowFields| {
        let sequence = fields.sequence;
        // A row that somebody else wrote must not hide the others.
        row(fields)
            .inspect_err(
                |error| tracing::error!(sequence, %error, "a row of the ledger is none of ours: left out"),
            )
            .ok()
    };
    let next = page.more.then_some(page.next);
    Ok(TokenPage { rows: page.items.into_iter().filter_map(read).collect(), next })
}

/// A row from which a token may be made.
fn linked<V: View>(reading: &mut Reading<V>, fields: RowFields) -> Result<TokenRow, StoreError> {
    let link = fields.clone();
    let row = row(fields)?;
    links::check_one(reading, &link)?;
    Ok(row)
}

pub(super) fn row(fields: RowFields) -> Result<TokenRow, StoreError> {
    fields
        .try_into()
        .map_err(|foreign: crate::ledger::Foreign| StoreError::Corrupt { reason: foreign.to_string() })
}
