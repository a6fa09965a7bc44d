//! The tables of chains, of floors, of acts and of checkpoints.

use tokio_postgres::Row;

use super::column::{bytes, bytes_or_null, coded, foreign, get, limit, number};
use super::connection::{Connection, Sql};
use crate::audit::{Act, ActRow, ChainEnd, ChainId, ChainNumber, Hash, Head, SaltSource};
use crate::id::ApprovalId;
use crate::ledger::{Floors, LAST_POSITION, Sequence};
use crate::store::StoreError;
use crate::store::engine::{Chain, Kept, NewChain};
use crate::sts::attributes::BaseDate;
use crate::sts::tid::Tid;

/// The columns of a chain, and those of the floors, which are of the whole database.
pub(super) const COLUMNS: &str = "c.number, c.id, c.salt_source, c.position, c.hash, c.at_ms";
pub(super) const FLOORS: &str = "
    a.requests_from_ms,
    ARRAY(SELECT base_date FROM tid_floors ORDER BY base_date),
    ARRAY(SELECT tid FROM tid_floors ORDER BY base_date)";
/// How many columns a chain has.
const CHAIN_COLUMNS: usize = 6;

/// Between which numbers the rows of a chain after a position are: above the first, up to the last.
pub(super) fn range(chain: ChainNumber, after: u64) -> (i64, i64) {
    let last = Sequence::of(chain, LAST_POSITION).value();
    let first = last - LAST_POSITION.cast_signed();
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    (first.saturating_add(after).min(last), last)
}

/// A chain, from its columns.
pub(super) fn end(row: &Row, first: usize) -> Result<ChainEnd, StoreError> {
    let chain = coded::<i64, u32>(row, first, "chains.number")?;
    let head = Head {
        chain: ChainId(bytes(row, first + 1, "chains.id")?),
        position: coded::<i64, u64>(row, first + 3, "chains.position")?,
        hash: Hash(bytes(row, first + 4, "chains.hash")?),
    };
    Ok(ChainEnd {
        number: ChainNumber::new(chain).ok_or_else(|| foreign("chains.number"))?,
        head,
        salts: SaltSource(bytes(row, first + 2, "chains.salt_source")?),
        at_ms: get(row, first + 5, "chains.at_ms")?,
    })
}

/// A chain with the floors, from the columns of both.
pub(super) fn with_floors(row: &Row, first: usize) -> Result<Chain, StoreError> {
    let end = end(row, first)?;
    let first = first + CHAIN_COLUMNS;
    let mut floors = Floors::default();
    floors.requests_from_ms = get(row, first, "authority.requests_from_ms")?;
    let base_dates: Vec<i64> = get(row, first + 1, "tid_floors.base_date")?;
    let tids: Vec<i64> = get(row, first + 2, "tid_floors.tid")?;
    for (year, tid) in base_dates.into_iter().zip(tids) {
        let year = u16::try_from(year).ok().and_then(|year| BaseDate::try_from(year).ok());
        let tid = u32::try_from(tid).ok().and_then(|tid| Tid::new(tid).ok());
        floors.raise_tid(
            year.ok_or_else(|| foreign("tid_floors.base_date"))?,
            tid.ok_or_else(|| foreign("tid_floors.tid"))?,
        );
    }
    Ok(Chain { end, floors })
}

/// The chain of a server, beside whoever writes it.
pub(super) fn read(connection: &mut Connection, server: ChainNumber) -> Result<Chain, StoreError> {
    let sql = format!("SELECT {COLUMNS}, {FLOORS} FROM chains c, authority a WHERE c.number = $1");
    let found = connection.query_opt(&sql, &[&i64::from(server.value())])?;
    with_floors(&found.ok_or_else(no_chain)?, 0)
}

/// The failure where this server has no chain.
pub(super) fn no_chain() -> StoreError {
    StoreError::Corrupt { reason: "this server has no chain in the database".into() }
}

/// All chains, in the order of their numbers.
pub(super) fn all(connection: &mut Connection) -> Result<Vec<ChainEnd>, StoreError> {
    let found = connection.query(&format!("SELECT {COLUMNS} FROM chains c ORDER BY c.number"), &[])?;
    found.iter().map(|row| end(row, 0)).collect()
}

/// Makes the chain of a server; where there is one, it stays.
pub(super) fn create(
    connection: &mut Connection,
    server: ChainNumber,
    new: &NewChain,
) -> Result<(), StoreError> {
    connection
        .execute(
            "INSERT INTO chains (number, id, salt_source, position, hash, at_ms)
             VALUES ($1, $2, $3, 0, $4, 0) ON CONFLICT DO NOTHING",
            &[
                &i64::from(server.value()),
                &new.id.0.as_slice(),
                &new.salts.0.as_slice(),
                &Hash::START.0.as_slice(),
            ],
        )
        .map(drop)
}

pub(super) fn put_end(connection: &mut Connection, end: &ChainEnd) -> Result<(), StoreError> {
    let sql = Sql::new("UPDATE chains SET position = $1, hash = $2, at_ms = $3 WHERE number = $4")
        .with(number(end.head.position)?)
        .with(end.head.hash.0.to_vec())
        .with(end.at_ms)
        .with(i64::from(end.number.value()));
    connection.execute_later(sql, Some((1, no_chain)));
    Ok(())
}

pub(super) fn put_floors(connection: &mut Connection, floors: &Floors) -> Result<(), StoreError> {
    let base_dates: Vec<i64> = floors.tids().map(|(base_date, _)| base_date.year().into()).collect();
    let tids: Vec<i64> = floors.tids().map(|(_, tid)| tid.value().into()).collect();
    connection.execute(
        "INSERT INTO tid_floors (base_date, tid) SELECT * FROM unnest($1::bigint[], $2::bigint[])
         ON CONFLICT (base_date) DO UPDATE SET tid = greatest(tid_floors.tid, excluded.tid)",
        &[&base_dates, &tids],
    )?;
    connection
        .execute(
            "UPDATE authority SET requests_from_ms = greatest(requests_from_ms, $1)",
            &[&floors.requests_from_ms],
        )
        .map(drop)
}

pub(super) fn insert_acts(
    connection: &mut Connection,
    server: ChainNumber,
    acts: &[ActRow],
) -> Result<(), StoreError> {
    let positions = acts.iter().map(|row| number(row.position)).collect::<Result<Vec<i64>, _>>()?;
    let times: Vec<i64> = acts.iter().map(|row| row.at_ms).collect();
    let kinds: Vec<&str> = acts.iter().map(|row| row.act.kind.as_str()).collect();
    let actors: Vec<Option<&[u8]>> =
        acts.iter().map(|row| row.act.actor.as_ref().map(|id| id.as_slice())).collect();
    let credentials: Vec<Option<&str>> = acts.iter().map(|row| row.act.credential.as_deref()).collect();
    let details: Vec<&str> = acts.iter().map(|row| row.act.details.as_str()).collect();
    let hashes: Vec<&[u8]> = acts.iter().map(|row| row.hash.0.as_slice()).collect();
    connection
        .execute(
            "INSERT INTO acts (chain, position, at_ms, kind, actor, credential, details, hash)
             SELECT $1, * FROM unnest($2::bigint[], $3::bigint[], $4::text[], $5::bytea[], $6::text[],
                                      $7::text[], $8::bytea[])",
            &[
                &i64::from(server.value()),
                &positions,
                &times,
                &kinds,
                &actors,
                &credentials,
                &details,
                &hashes,
            ],
        )
        .map(drop)
}

const ACTS: &str = "SELECT position, at_ms, kind, actor, credential, details, hash FROM acts
         WHERE chain = $1 AND position > $2 ORDER BY position LIMIT $3";

/// Acts of a chain after a position, in its order, each with its position, readable or not.
pub(super) fn kept_acts(
    connection: &mut Connection,
    chain: ChainNumber,
    after: u64,
    most: usize,
) -> Result<Vec<Kept<ActRow>>, StoreError> {
    let found = connection.query(ACTS, &[&i64::from(chain.value()), &number(after)?, &limit(most)])?;
    found.iter().map(|row| Ok((coded::<i64, u64>(row, 0, "acts.position")?, act_row(row)))).collect()
}

/// Acts of a chain after a position, in its order.
pub(super) fn acts(
    connection: &mut Connection,
    chain: ChainNumber,
    after: u64,
    most: usize,
) -> Result<Vec<ActRow>, StoreError> {
    let found = connection.query(ACTS, &[&i64::from(chain.value()), &number(after)?, &limit(most)])?;
    found.iter().map(act_row).collect()
}

fn act_row(row: &Row) -> Result<ActRow, StoreError> {
    Ok(ActRow {
        position: coded::<i64, u64>(row, 0, "acts.position")?,
        at_ms: get(row, 1, "acts.at_ms")?,
        act: act(row, 2)?,
        hash: Hash(bytes(row, 6, "acts.hash")?),
    })
}

/// An act, readable or not, with its place among those that are asked for.
type PlacedAct = (usize, Result<ActRow, StoreError>);

/// Acts by their chains and positions, readable or not, each with its place among those that are
/// asked for.
pub(super) fn acts_at(
    connection: &mut Connection,
    chains: &[i64],
    positions: &[i64],
) -> Result<Vec<PlacedAct>, StoreError> {
    let found = connection.query(
        "SELECT a.position, a.at_ms, a.kind, a.actor, a.credential, a.details, a.hash, w.place
         FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY AS w (chain, position, place)
         JOIN acts a ON a.chain = w.chain AND a.position = w.position",
        &[&chains, &positions],
    )?;
    let place = |row: &Row| coded::<i64, usize>(row, 7, "a place").map(|place| place.saturating_sub(1));
    found.iter().map(|row| Ok((place(row)?, act_row(row)))).collect()
}

/// Whether an act of a chain after a position has a kind that begins with one of these texts.
pub(super) fn has_act_after(
    connection: &mut Connection,
    chain: ChainNumber,
    after: u64,
    kinds: &[&str],
) -> Result<bool, StoreError> {
    let found = connection.query_opt(
        "SELECT 1 FROM acts WHERE chain = $1 AND position > $2
         AND EXISTS (SELECT 1 FROM unnest($3::text[]) k WHERE starts_with(kind, k)) LIMIT 1",
        &[&i64::from(chain.value()), &number(after)?, &kinds],
    )?;
    Ok(found.is_some())
}

pub(super) fn has_act(connection: &mut Connection, kind: &str, details: &str) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM acts WHERE kind = $1 AND details = $2 LIMIT 1";
    Ok(connection.query_opt(sql, &[&kind, &details])?.is_some())
}

/// The act that was done with an approval, if it is on record.
pub(super) fn act_of_approval(
    connection: &mut Connection,
    approval: ApprovalId,
) -> Result<Option<Act>, StoreError> {
    // A few rows: those that tell of the approval itself name it too.
    let found = connection.query(
        "SELECT kind, actor, credential, details FROM acts WHERE approval = $1 ORDER BY at_ms, chain, position",
        &[&approval.to_string()],
    )?;
    for row in &found {
        let act = act(row, 0)?;
        if act.done_with() == Some(approval) {
            return Ok(Some(act));
        }
    }
    Ok(None)
}

fn act(row: &Row, first: usize) -> Result<Act, StoreError> {
    Ok(Act {
        kind: get(row, first, "acts.kind")?,
        actor: bytes_or_null(row, first + 1, "acts.actor")?,
        credential: get(row, first + 2, "acts.credential")?,
        details: get(row, first + 3, "acts.details")?,
    })
}

/// The hash of the record at a position of a chain, if it is there.
pub(super) fn hash_at(
    connection: &mut Connection,
    chain: ChainNumber,
    position: u64,
) -> Result<Option<Hash>, StoreError> {
    let found = connection.query_opt(
        "SELECT hash FROM issued_tokens WHERE sequence = $1
         UNION ALL SELECT hash FROM acts WHERE chain = $2 AND position = $3",
        &[&range(chain, position).0, &i64::from(chain.value()), &number(position)?],
    )?;
    found.map(|row| Ok(Hash(bytes(&row, 0, "the hash of a record")?))).transpose()
}

/// The numbers of records of a chain behind a position, of tokens and of acts.
pub(super) fn behind(
    connection: &mut Connection,
    chain: ChainNumber,
    position: u64,
) -> Result<Vec<i64>, StoreError> {
    let (from, last) = range(chain, position);
    let found = connection.query(
        "SELECT sequence FROM issued_tokens WHERE sequence > $1 AND sequence <= $2
         UNION ALL SELECT (chain << 44) + position FROM acts WHERE chain = $3 AND position > $4 ORDER BY 1",
        &[&from, &last, &i64::from(chain.value()), &number(position)?],
    )?;
    found.iter().map(|row| get(row, 0, "the number of a record")).collect()
}

/// Keeps a checkpoint, and forgets those up to a number.
pub(super) fn insert_checkpoint(
    connection: &mut Connection,
    number: i64,
    text: &str,
    forget_until: i64,
) -> Result<(), StoreError> {
    connection.execute("INSERT INTO checkpoints (number, text) VALUES ($1, $2)", &[&number, &text])?;
    connection.execute("DELETE FROM checkpoints WHERE number <= $1", &[&forget_until]).map(drop)
}

pub(super) fn last_checkpoint(connection: &mut Connection) -> Result<Option<String>, StoreError> {
    let found = connection.query_opt("SELECT text FROM checkpoints ORDER BY number DESC LIMIT 1", &[])?;
    found.map(|row| get(&row, 0, "checkpoints.text")).transpose()
}

/// Checkpoints after a number.
pub(super) fn checkpoints(
    connection: &mut Connection,
    after: i64,
    most: usize,
) -> Result<Vec<(i64, String)>, StoreError> {
    let sql = "SELECT number, text FROM checkpoints WHERE number > $1 ORDER BY number LIMIT $2";
    let found = connection.query(sql, &[&after, &limit(most)])?;
    found
        .iter()
        .map(|row| Ok((get(row, 0, "checkpoints.number")?, get(row, 1, "checkpoints.text")?)))
        .collect()
}
