//! The table of allowed key changes.

use std::collections::BTreeMap;

use rusqlite::Row;

use super::chain::Writing;
use super::sealed::{Reading, Table};
use crate::store::{
    Actor, AllowedKeyChange, ClientId, ConfigurationId, ConfigurationState, KeyChangePair,
    KeyChangePairError, Listing, Page, PageRequest, StoreError,
};

const SELECT: &str = "
    SELECT p.number, s.id, t.id, c.id, p.created_ms
    FROM key_change_pairs p
    JOIN configurations s ON s.number = p.source
    JOIN configurations t ON t.number = p.target
    JOIN clients c ON c.number = p.allowed_by";

/// Allows a pair; one that is allowed already stays as it is.
pub(super) fn allow(
    connection: &Writing,
    pair: KeyChangePair,
    by: ClientId,
    actor: &Actor,
    now_ms: i64,
) -> Result<Result<AllowedKeyChange, KeyChangePairError>, StoreError> {
    for id in [pair.source, pair.target] {
        let Some(known) = super::configurations::get(connection, id)? else {
            return Ok(Err(KeyChangePairError::NotFound(id)));
        };
        if matches!(known.state, ConfigurationState::DestroyScheduled | ConfigurationState::Destroyed) {
            return Ok(Err(KeyChangePairError::WrongState(known.state)));
        }
    }
    let allowed = connection
        .prepare_cached(
            "INSERT INTO key_change_pairs (source, target, allowed_by, created_ms)
             SELECT s.number, t.number, c.number, ?4
             FROM configurations s, configurations t, clients c WHERE s.id = ?1 AND t.id = ?2 AND c.id = ?3
             ON CONFLICT (source, target) DO NOTHING",
        )?
        .execute((pair.source.to_bytes(), pair.target.to_bytes(), by.to_bytes(), now_ms))?;
    if allowed > 0 {
        connection.seal(Table::KeyChangePairs, connection.last_insert_rowid())?;
        let details = BTreeMap::from([
            ("allowed_by", by.to_string()),
            ("source", pair.source.to_string()),
            ("target", pair.target.to_string()),
        ]);
        connection.append_act("key_change.allowed", actor, now_ms, &details)?;
    }
    let (_, allowed) = connection
        .prepare_cached(&format!("{SELECT} WHERE s.id = ?1 AND t.id = ?2"))?
        .query_row((pair.source.to_bytes(), pair.target.to_bytes()), read)?;
    Ok(Ok(allowed))
}

/// Says whether the pair was allowed before.
pub(super) fn forbid(
    connection: &Writing,
    pair: KeyChangePair,
    actor: &Actor,
    now_ms: i64,
) -> Result<bool, StoreError> {
    let deleted = connection
        .prepare_cached(
            "DELETE FROM key_change_pairs
             WHERE source = (SELECT number FROM configurations WHERE id = ?1)
               AND target = (SELECT number FROM configurations WHERE id = ?2)",
        )?
        .execute((pair.source.to_bytes(), pair.target.to_bytes()))?;
    if deleted > 0 {
        connection.deciding_rows_changed();
        let details =
            BTreeMap::from([("source", pair.source.to_string()), ("target", pair.target.to_string())]);
        connection.append_act("key_change.forbidden", actor, now_ms, &details)?;
    }
    Ok(deleted > 0)
}

pub(super) fn is_allowed(connection: &Reading, source: i64, target: i64) -> Result<bool, StoreError> {
    let condition = "source = ?1 AND target = ?2";
    Ok(connection.one(Table::KeyChangePairs, condition, (source, target), |_| Ok(()))?.is_some())
}

/// The same by ids.
pub(super) fn is_allowed_pair(connection: &Reading, pair: KeyChangePair) -> Result<bool, StoreError> {
    let condition = "source = (SELECT number FROM configurations WHERE id = ?1)
        AND target = (SELECT number FROM configurations WHERE id = ?2)";
    let ids = (pair.source.to_bytes(), pair.target.to_bytes());
    Ok(connection.one(Table::KeyChangePairs, condition, ids, |_| Ok(()))?.is_some())
}

pub(super) fn list(connection: &Reading, page: PageRequest) -> Result<Page<AllowedKeyChange>, StoreError> {
    let condition = "number > ?1 ORDER BY number LIMIT ?2";
    connection.all(Table::KeyChangePairs, condition, (page.row(), page.size() + 1), |_| Ok(()))?;
    let mut statement =
        connection.prepare_cached(&format!("{SELECT} WHERE p.number > ?1 ORDER BY p.number LIMIT ?2"))?;
    let rows = statement.query_map((page.row(), page.size() + 1), read)?.collect::<Result<_, _>>()?;
    Ok(Page::from_rows(Listing::KeyChangePairs, page, rows))
}

fn read(row: &Row<'_>) -> rusqlite::Result<(i64, AllowedKeyChange)> {
    let allowed = AllowedKeyChange {
        pair: KeyChangePair {
            source: ConfigurationId::from_bytes(row.get(1)?),
            target: ConfigurationId::from_bytes(row.get(2)?),
        },
        allowed_by: ClientId::from_bytes(row.get(3)?),
        created_ms: row.get(4)?,
    };
    Ok((row.get(0)?, allowed))
}
