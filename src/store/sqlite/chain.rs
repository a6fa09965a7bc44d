//! The table of one row that holds the end of the chain, those of floors, of acts and of
//! checkpoints.

use rusqlite::{Connection, OptionalExtension as _, Row};

use super::column::foreign;
use super::failure::{Stage, store_error};
use crate::audit::{Act, ActRow, ChainEnd, ChainId, ChainNumber, Hash, Head, SaltSource};
use crate::id::ApprovalId;
use crate::ledger::Floors;
use crate::store::StoreError;
use crate::store::engine::{Chain, Kept, NewChain};
use crate::sts::attributes::BaseDate;
use crate::sts::tid::Tid;

/// Makes the chain of a new database.
pub(super) fn create(connection: &Connection, new: &NewChain) -> Result<(), StoreError> {
    connection.execute(
        "INSERT INTO chain (one, id, salt_source, position, hash, at_ms, requests_from_ms)
         VALUES (1, ?1, ?2, 0, ?3, 0, 0) ON CONFLICT DO NOTHING",
        (new.id.0, new.salts.0, Hash::START.0),
    )?;
    Ok(())
}

pub(super) fn read(connection: &Connection) -> Result<Chain, StoreError> {
    let (end, requests_from_ms) = connection
        .prepare_cached("SELECT id, salt_source, position, hash, at_ms, requests_from_ms FROM chain")?
        .query_row([], |row| {
            let head = Head {
                chain: ChainId(row.get(0)?),
                position: position(row, 2, "chain.position")?,
                hash: Hash(row.get(3)?),
            };
            let salts = SaltSource(row.get(1)?);
            Ok((ChainEnd { number: ChainNumber::FIRST, head, salts, at_ms: row.get(4)? }, row.get(5)?))
        })?;
    let mut floors = Floors::default();
    floors.requests_from_ms = requests_from_ms;
    let mut statement = connection.prepare_cached("SELECT base_date, tid FROM tid_floors")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let base_date =
            BaseDate::try_from(row.get::<_, u16>(0)?).map_err(|_| foreign("tid_floors.base_date"))?;
        floors.raise_tid(base_date, Tid::new(row.get(1)?).map_err(|_| foreign("tid_floors.tid"))?);
    }
    Ok(Chain { end, floors })
}

/// Whether there is a chain yet.
pub(super) fn exists(connection: &Connection) -> Result<bool, StoreError> {
    Ok(connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM chain)")?.query_row([], |row| row.get(0))?)
}

/// The position of the last record, as the database keeps it; 0 where there is no chain yet.
pub(super) fn last_position(connection: &Connection) -> Result<i64, StoreError> {
    let position = connection.prepare_cached("SELECT position FROM chain")?.query_row([], |row| row.get(0));
    Ok(position.optional()?.unwrap_or_default())
}

pub(super) fn put_end(connection: &Connection, end: &ChainEnd) -> Result<(), StoreError> {
    connection.prepare_cached("UPDATE chain SET position = ?1, hash = ?2, at_ms = ?3")?.execute((
        number(end.head.position)?,
        end.head.hash.0,
        end.at_ms,
    ))?;
    Ok(())
}

pub(super) fn put_floors(connection: &Connection, floors: &Floors) -> Result<(), StoreError> {
    for (base_date, tid) in floors.tids() {
        connection
            .prepare_cached(
                "INSERT INTO tid_floors (base_date, tid) VALUES (?1, ?2)
                 ON CONFLICT DO UPDATE SET tid = excluded.tid",
            )?
            .execute((base_date.year(), tid.value()))?;
    }
    connection
        .prepare_cached("UPDATE chain SET requests_from_ms = ?1")?
        .execute([floors.requests_from_ms])?;
    Ok(())
}

pub(super) fn insert_acts(connection: &Connection, acts: &[ActRow]) -> Result<(), StoreError> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO acts (position, at_ms, kind, actor, credential, details, hash)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    for ActRow { position, at_ms, act, hash } in acts {
        let Act { kind, actor, credential, details } = act;
        insert.execute((number(*position)?, at_ms, kind, actor, credential, details, hash.0))?;
    }
    Ok(())
}

const ACTS: &str = "SELECT position, at_ms, kind, actor, credential, details, hash FROM acts
         WHERE position > ?1 ORDER BY position LIMIT ?2";

pub(super) fn acts(connection: &Connection, after: u64, most: usize) -> Result<Vec<ActRow>, StoreError> {
    let mut statement = connection.prepare_cached(ACTS)?;
    let acts = statement.query_map((number(after)?, limit(most)), act)?.collect::<Result<_, _>>()?;
    Ok(acts)
}

/// The same, each with its position, readable or not.
pub(super) fn kept_acts(
    connection: &Connection,
    after: u64,
    most: usize,
) -> Result<Vec<Kept<ActRow>>, StoreError> {
    let mut statement = connection.prepare_cached(ACTS)?;
    let kept = |row: &Row<'_>| {
        let place = position(row, 0, "acts.position")?;
        Ok((place, act(row).map_err(|error| store_error(&error, Stage::Before))))
    };
    let acts = statement.query_map((number(after)?, limit(most)), kept)?.collect::<Result<_, _>>()?;
    Ok(acts)
}

fn act(row: &Row<'_>) -> rusqlite::Result<ActRow> {
    let act = Act { kind: row.get(2)?, actor: row.get(3)?, credential: row.get(4)?, details: row.get(5)? };
    let position = position(row, 0, "acts.position")?;
    Ok(ActRow { position, at_ms: row.get(1)?, act, hash: Hash(row.get(6)?) })
}

/// Whether an act after a position has a kind that begins with one of these texts.
pub(super) fn has_act_after(connection: &Connection, after: u64, kinds: &[&str]) -> Result<bool, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT kind FROM acts WHERE position > ?1 ORDER BY position")?;
    let mut rows = statement.query([number(after)?])?;
    while let Some(row) = rows.next()? {
        let kind: String = row.get(0)?;
        if kinds.iter().any(|begin| kind.starts_with(begin)) {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(super) fn has_act(connection: &Connection, kind: &str, details: &str) -> Result<bool, StoreError> {
    Ok(connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM acts WHERE kind = ?1 AND details = ?2)")?
        .query_row((kind, details), |row| row.get(0))?)
}

/// The act that was done with an approval, if it is on record.
pub(super) fn act_of_approval(
    connection: &Connection,
    approval: ApprovalId,
) -> Result<Option<Act>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT kind, actor, credential, details FROM acts WHERE approval = ?1 ORDER BY position",
    )?;
    let mut rows = statement.query([approval.to_string()])?;
    // A few rows: those that tell of the approval itself name it too.
    while let Some(row) = rows.next()? {
        let act =
            Act { kind: row.get(0)?, actor: row.get(1)?, credential: row.get(2)?, details: row.get(3)? };
        if act.done_with() == Some(approval) {
            return Ok(Some(act));
        }
    }
    Ok(None)
}

/// The hash of the record at a position, if it is there.
pub(super) fn hash_at(connection: &Connection, position: u64) -> Result<Option<Hash>, StoreError> {
    Ok(connection
        .prepare_cached(
            "SELECT hash FROM issued_tokens WHERE sequence = ?1
             UNION ALL SELECT hash FROM acts WHERE position = ?1",
        )?
        .query_row([number(position)?], |row| row.get(0).map(Hash))
        .optional()?)
}

/// Keeps a checkpoint, and forgets those up to a number.
pub(super) fn insert_checkpoint(
    connection: &Connection,
    number: i64,
    text: &str,
    forget_until: i64,
) -> Result<(), StoreError> {
    connection
        .prepare_cached("INSERT INTO checkpoints (number, text) VALUES (?1, ?2)")?
        .execute((number, text))?;
    connection.prepare_cached("DELETE FROM checkpoints WHERE number <= ?1")?.execute([forget_until])?;
    Ok(())
}

pub(super) fn last_checkpoint(connection: &Connection) -> Result<Option<String>, StoreError> {
    Ok(connection
        .prepare_cached("SELECT text FROM checkpoints ORDER BY number DESC LIMIT 1")?
        .query_row([], |row| row.get(0))
        .optional()?)
}

/// Checkpoints after a number.
pub(super) fn checkpoints(
    connection: &Connection,
    after: i64,
    most: usize,
) -> Result<Vec<(i64, String)>, StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT number, text FROM checkpoints WHERE number > ?1 ORDER BY number LIMIT ?2")?;
    let found = statement.query_map((after, limit(most)), |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(found.collect::<Result<_, _>>()?)
}

fn position(row: &Row<'_>, index: usize, what: &'static str) -> rusqlite::Result<u64> {
    row.get::<_, i64>(index)?.try_into().map_err(|_| foreign(what))
}

/// A position as the database keeps it.
pub(super) fn number(position: u64) -> Result<i64, StoreError> {
    position.try_into().map_err(|_| StoreError::Defect { reason: "the chain is too long".into() })
}

/// A limit as the database takes it.
pub(super) fn limit(most: usize) -> i64 {
    i64::try_from(most).unwrap_or(i64::MAX)
}
