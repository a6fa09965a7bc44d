//! Pairs of configurations between which meters may be carried.

use super::{Columns, clients, configurations};
use crate::audit::Actor;
use crate::configuration::{AllowedKeyChange, KeyChangePair, KeyChangePairRefusal, allow, forbid};
use crate::id::{ClientId, ConfigurationId};
use crate::store::engine::{Row, Select, Table, Transaction, View};
use crate::store::reading::Reading;
use crate::store::seals::CheckedRow;
use crate::store::writing::Writing;
use crate::store::{Listing, Page, PageRequest, StoreError};

const TABLE: Table = Table::KeyChangePairs;

pub(in crate::store) fn allow_pair<T: Transaction>(
    writing: &mut Writing<T>,
    pair: KeyChangePair,
    by: ClientId,
    actor: Actor,
    now_ms: i64,
) -> Result<Result<AllowedKeyChange, KeyChangePairRefusal>, StoreError> {
    let source = configurations::load(writing, pair.source)?;
    let target = configurations::load(writing, pair.target)?;
    let state = |row: &Option<CheckedRow>| row.as_deref().map(configurations::state).transpose();
    let change = match allow(pair, state(&source)?, state(&target)?, by, actor.clone(), now_ms) {
        Ok(change) => change,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let lost = || StoreError::Defect { reason: "a key change is allowed by nobody".into() };
    let (source, target) = source.zip(target).ok_or_else(lost)?;
    if let Some(known) = load(writing, source.number, target.number)? {
        writing.append_unchanged(&actor, now_ms)?;
        return read(writing, &known).map(Ok);
    }
    let by = clients::load(writing, by)?.ok_or_else(lost)?;
    let columns: Columns = vec![
        ("source", source.number.into()),
        ("target", target.number.into()),
        ("allowed_by", by.number.into()),
        ("created_ms", change.row.created_ms.into()),
    ];
    writing.insert(TABLE, &columns)?;
    writing.append_act(&change.act)?;
    Ok(Ok(change.row))
}

/// Says whether the pair was allowed before.
pub(in crate::store) fn forbid_pair<T: Transaction>(
    writing: &mut Writing<T>,
    pair: KeyChangePair,
    actor: Actor,
    now_ms: i64,
) -> Result<bool, StoreError> {
    let Some(row) = load_pair(writing, pair)? else { return Ok(false) };
    writing.delete(&row)?;
    writing.append_act(&forbid(pair, actor, now_ms))?;
    Ok(true)
}

pub(in crate::store) fn is_allowed<V: View>(
    reading: &mut Reading<V>,
    pair: KeyChangePair,
) -> Result<bool, StoreError> {
    Ok(load_pair(reading, pair)?.is_some())
}

pub(in crate::store) fn list<V: View>(
    reading: &mut Reading<V>,
    page: PageRequest,
) -> Result<Page<AllowedKeyChange>, StoreError> {
    reading.load_page(Listing::KeyChangePairs, Select::all(TABLE), page, read)
}

fn load_pair<V: View>(
    reading: &mut Reading<V>,
    pair: KeyChangePair,
) -> Result<Option<CheckedRow>, StoreError> {
    let source = configurations::load(reading, pair.source)?;
    let target = configurations::load(reading, pair.target)?;
    let Some((source, target)) = source.zip(target) else { return Ok(None) };
    load(reading, source.number, target.number)
}

/// The pair between the configurations of these numbers.
pub(super) fn load<V: View>(
    reading: &mut Reading<V>,
    source: i64,
    target: i64,
) -> Result<Option<CheckedRow>, StoreError> {
    reading.load_one(Select::all(TABLE).with("source", source).with("target", target))
}

fn read<V: View>(reading: &mut Reading<V>, row: &Row) -> Result<AllowedKeyChange, StoreError> {
    let mut configuration = |column| -> Result<ConfigurationId, StoreError> {
        configurations::id(&*reading.load_reference(row, column, Table::Configurations)?)
    };
    let pair = KeyChangePair { source: configuration("source")?, target: configuration("target")? };
    Ok(AllowedKeyChange {
        pair,
        allowed_by: clients::id(&*reading.load_reference(row, "allowed_by", Table::Clients)?)?,
        created_ms: row.integer("created_ms")?,
    })
}
