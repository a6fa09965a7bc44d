//! The table of issued tokens. What is known by meter is in `meters` and `runs`.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension as _, Row, Statement, ToSql, named_params, params};
use uuid::Uuid;

use super::chain::{limit, number};
use super::column::foreign;
use super::failure::{Stage, store_error};
use super::runs::{each_row_of, rows_of_tid};
use super::{Sqlite, Writer};
use crate::audit::{ChainNumber, Hash, RowKind};
use crate::id::{ClientId, ConfigurationId};
use crate::ledger::{ContentFields, LAST_POSITION, RowFields, Sequence, TokenFilter};
use crate::store::StoreError;
use crate::store::engine::{FoundRow, Kept, NewRow, RowPage};
use crate::sts::attributes::BaseDate;
use crate::sts::meter::MeterPan;
use crate::sts::tid::Tid;

const SELECT: &str = "
    SELECT t.sequence, c.id, k.key_id, t.request_id, t.request_hash, t.issued_ms, t.kind, f.id,
           t.pan, t.base_date, t.tid, t.rnd, t.class, t.block, g.id, t.roll_over, t.transfer_sgc, t.hash
    FROM issued_tokens t
    JOIN clients c ON c.number = t.client
    JOIN credentials k ON k.number = t.credential
    LEFT JOIN configurations f ON f.number = t.configuration
    LEFT JOIN configurations g ON g.number = t.target";

pub(super) fn get(connection: &Connection, sequence: Sequence) -> Result<Option<RowFields>, StoreError> {
    Ok(connection
        .prepare_cached(&format!("{SELECT} WHERE t.sequence = ?1"))?
        .query_row([sequence.value()], read)
        .optional()?)
}

/// Rows after a position of the chain.
pub(super) fn after(
    connection: &Connection,
    position: u64,
    most: usize,
) -> Result<Vec<RowFields>, StoreError> {
    let mut statement = connection.prepare_cached(&format!(
        "{SELECT} WHERE t.sequence > ?1 AND t.sequence <= {LAST_POSITION} ORDER BY t.sequence LIMIT ?2"
    ))?;
    let rows = statement.query_map((number(position)?, limit(most)), read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The same, each with its position, readable or not.
pub(super) fn kept(
    connection: &Connection,
    position: u64,
    most: usize,
) -> Result<Vec<Kept<RowFields>>, StoreError> {
    let mut statement = connection.prepare_cached(&format!(
        "{SELECT} WHERE t.sequence > ?1 AND t.sequence <= {LAST_POSITION} ORDER BY t.sequence LIMIT ?2"
    ))?;
    let kept = |row: &Row<'_>| {
        let place = row.get::<_, i64>(0)?.cast_unsigned();
        Ok((place, read(row).map_err(|error| store_error(&error, Stage::Before))))
    };
    let rows = statement.query_map((number(position)?, limit(most)), kept)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The highest request id of each client, as far as it is known. Request ids that are made one
/// after another are so found to be new without asking for each.
#[derive(Debug, Default)]
pub(super) struct HighestRequests(HashMap<i64, Option<Uuid>>);

impl HighestRequests {
    /// A transaction was taken back.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }

    fn raise(&mut self, client: i64, request_id: Uuid) {
        if let Some(highest) = self.0.get_mut(&client) {
            *highest = (*highest).max(Some(request_id));
        }
    }

    fn is_above(
        &mut self,
        connection: &Connection,
        client: i64,
        request_id: Uuid,
    ) -> Result<bool, StoreError> {
        if let Some(highest) = self.0.get(&client) {
            return Ok(Some(request_id) > *highest);
        }
        let highest: Option<[u8; 16]> = connection
            .prepare_cached("SELECT max(request_id) FROM issued_tokens WHERE client = ?1")?
            .query_row([client], |row| row.get(0))?;
        let highest = highest.map(Uuid::from_bytes);
        self.0.insert(client, highest);
        Ok(Some(request_id) > highest)
    }
}

impl<W> Sqlite<W> {
    /// The rows that requests have made.
    pub(super) fn of_requests(&mut self, requests: &[(i64, Uuid)]) -> Result<Vec<FoundRow>, StoreError> {
        let mut find = self
            .connection
            .prepare_cached("SELECT sequence FROM issued_tokens WHERE client = ?1 AND request_id = ?2")?;
        let mut found = Vec::new();
        for (place, (client, request_id)) in requests.iter().enumerate() {
            if let Some(highest) = &mut self.highest_requests
                && highest.is_above(&self.connection, *client, *request_id)?
            {
                continue;
            }
            let sequence: Option<i64> =
                find.query_row((client, request_id.as_bytes()), |row| row.get(0)).optional()?;
            let Some(sequence) = sequence else { continue };
            let row = self
                .connection
                .prepare_cached(&format!("{SELECT} WHERE t.sequence = ?1"))?
                .query_row([sequence], read);
            let row = row.map_err(|error| store_error(&error, Stage::Before));
            match row {
                Err(error) if error.spoils_transaction() => return Err(error),
                row => found.push((place, row)),
            }
        }
        Ok(found)
    }
}

pub(super) fn of_tid<W>(
    reading: &Sqlite<W>,
    meter: MeterPan,
    base_date: BaseDate,
    tid: Tid,
) -> Result<Option<RowFields>, StoreError> {
    for sequence in rows_of_tid(reading, meter, base_date, tid)? {
        let row = reading
            .prepare_cached(&format!(
                "{SELECT} WHERE t.sequence = ?1 AND t.pan = ?2 AND t.base_date = ?3 AND t.tid = ?4"
            ))?
            .query_row((sequence.value(), meter.number(), base_date.year(), tid.value()), read)
            .optional()?;
        if row.is_some() {
            return Ok(row);
        }
    }
    Ok(None)
}

/// Served by the small index of key changes, and never by a walk over the ledger.
pub(super) fn newest_key_changes() -> String {
    let kind = RowKind::KeyChange as i64;
    format!("{SELECT} WHERE t.pan = ?1 AND t.kind = {kind} AND f.id = ?2 ORDER BY t.sequence DESC LIMIT ?3")
}

pub(super) fn key_changes(
    connection: &Connection,
    meter: MeterPan,
    configuration: ConfigurationId,
    most: usize,
) -> Result<Vec<RowFields>, StoreError> {
    let mut statement = connection.prepare_cached(&newest_key_changes())?;
    let rows = statement.query_map((meter.number(), configuration.to_bytes(), limit(most)), read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The number of the last row; 0 where there is none.
fn last_of(connection: &Connection) -> Result<i64, StoreError> {
    Ok(connection
        .prepare_cached("SELECT coalesce(max(sequence), 0) FROM issued_tokens WHERE sequence <= ?1")?
        .query_row([number(LAST_POSITION)?], |row| row.get(0))?)
}

/// Rows that fit a filter, after a position, in the order of the ledger.
pub(super) fn list<W>(
    reading: &Sqlite<W>,
    filter: &TokenFilter,
    after: u64,
    size: u32,
) -> Result<RowPage, StoreError> {
    let mut from = number(after)?;
    if let Some(from_ms) = filter.from_ms {
        from = from.max(before_time(reading, from_ms)?);
    }
    match filter.meter {
        Some(meter) => list_of_meter(reading, filter, meter, from, size),
        None => list_of_all(reading, filter, from, size),
    }
}

fn list_of_meter<W>(
    reading: &Sqlite<W>,
    filter: &TokenFilter,
    meter: MeterPan,
    from: i64,
    size: u32,
) -> Result<RowPage, StoreError> {
    let pan = meter.number();
    let mut page = RowPage { rows: Vec::new(), next: None };
    let mut statement = reading
        .prepare_cached(&format!("{SELECT} WHERE t.sequence = :from AND t.pan = :pan AND {CONDITIONS}"))?;
    each_row_of(reading, meter, from, |sequence| {
        // Full, and one more to come: only then there is a next page.
        if page.rows.len() >= size as usize {
            page.next = page.rows.last().and_then(|row: &RowFields| u64::try_from(row.sequence).ok());
            return Ok(false);
        }
        let found = with_conditions(&mut statement, filter, &[(":pan", &pan), (":from", &sequence.value())])?;
        page.rows.extend(found.rows);
        Ok(true)
    })?;
    Ok(page)
}

fn list_of_all<W>(
    reading: &Sqlite<W>,
    filter: &TokenFilter,
    from: i64,
    size: u32,
) -> Result<RowPage, StoreError> {
    let mut statement = reading.prepare_cached(&format!(
        "{SELECT} WHERE t.sequence > :from AND t.sequence <= :from + {LOOK}
         AND {CONDITIONS} ORDER BY t.sequence LIMIT :size"
    ))?;
    let Found { rows, last: last_found, count } =
        with_conditions(&mut statement, filter, &[(":from", &from), (":size", &size)])?;
    let last = last_of(reading)?;
    let seen = match last_found {
        Some(sequence) if count >= size as usize => sequence,
        _ => from.saturating_add(LOOK),
    };
    // Behind the end of the time that was asked for nothing more can come.
    let past = match filter.until_ms {
        Some(until_ms) => seen > before_time(reading, until_ms.saturating_add(2 * DISORDER_MS))?,
        None => false,
    };
    let next = if seen >= last || past { None } else { u64::try_from(seen).ok() };
    Ok(RowPage { rows, next })
}

/// What a statement finds.
struct Found {
    rows: Vec<RowFields>,
    /// The last row, and how many there are: also of those that cannot be read, which are left out.
    last: Option<i64>,
    count: usize,
}

/// The rows of a statement whose conditions are those of a filter.
fn with_conditions(
    statement: &mut Statement<'_>,
    filter: &TokenFilter,
    others: &[(&str, &dyn ToSql)],
) -> Result<Found, StoreError> {
    let (class, subclass) = filter.class.unzip();
    let mut params: Vec<(&str, &dyn ToSql)> = others.to_vec();
    let client = filter.client.map(ClientId::to_bytes);
    let configuration = filter.configuration.map(ConfigurationId::to_bytes);
    let subclass = subclass.flatten();
    params.extend_from_slice(named_params! {
        ":client": client,
        ":configuration": configuration,
        ":class": class,
        ":subclass": subclass,
        ":from_ms": filter.from_ms,
        ":until_ms": filter.until_ms,
    });
    let mut all = statement.query(params.as_slice())?;
    let mut found = Found { rows: Vec::new(), last: None, count: 0 };
    while let Some(row) = all.next()? {
        let sequence = row.get(0)?;
        found.last = Some(sequence);
        found.count += 1;
        match read(row) {
            Ok(row) => found.rows.push(row),
            Err(error) => tracing::error!(sequence, %error, "a row of the ledger is none of ours: left out"),
        }
    }
    Ok(found)
}

/// How many rows a page looks at where no index helps: bounds what a rare filter costs a reader.
const LOOK: i64 = 50_000;

/// Rows are ordered by commits; their times may differ from that order by what a request waits at
/// most.
const DISORDER_MS: i64 = 60_000;

const CONDITIONS: &str = "
    (:client IS NULL OR c.id = :client)
    AND (:configuration IS NULL OR f.id = :configuration)
    AND (:class IS NULL OR t.class = :class)
    AND (:subclass IS NULL OR (t.block >> 60 & 15) = :subclass)
    AND (:from_ms IS NULL OR t.issued_ms >= :from_ms)
    AND (:until_ms IS NULL OR t.issued_ms < :until_ms)";

/// A row before all rows of this time or later, found by halving: the order of rows is nearly that
/// of times.
fn before_time(connection: &Connection, time_ms: i64) -> Result<i64, StoreError> {
    let time_ms = time_ms.saturating_sub(DISORDER_MS);
    let mut statement = connection.prepare_cached(
        "SELECT sequence, issued_ms FROM issued_tokens WHERE sequence >= ?1 ORDER BY sequence LIMIT 1",
    )?;
    let (mut low, mut high) = (0, last_of(connection)?);
    // All rows up to `low` are earlier; the first row behind `high` is not.
    while low < high {
        let middle = low + (high - low) / 2;
        let found: Option<(i64, i64)> =
            statement.query_row([middle + 1], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        match found {
            Some((sequence, at_ms)) if at_ms < time_ms => low = sequence.min(high),
            _ => high = middle,
        }
    }
    Ok(low)
}

impl Sqlite<Writer> {
    /// Writes rows in their order.
    pub(super) fn insert_rows(
        &mut self,
        rows: &mut dyn Iterator<Item = NewRow<'_>>,
    ) -> Result<(), StoreError> {
        // By place and not by name: looking names up would cost as much as the row.
        let mut insert = self.connection.prepare_cached(
            "INSERT INTO issued_tokens (
                 sequence, client, credential, request_id, request_hash, configuration, issued_ms, kind,
                 pan, base_date, tid, rnd, class, block, target, roll_over, transfer_sgc, hash)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)",
        )?;
        for NewRow { issued, numbers } in rows {
            let row = &issued.row;
            let content = ContentFields::from(&row.content);
            insert.execute(params![
                row.sequence.value(),
                numbers.client,
                numbers.credential,
                row.request_id.as_bytes(),
                row.request_hash,
                numbers.configuration,
                row.issued_ms,
                content.kind as i64,
                content.pan,
                content.base_date,
                content.tid,
                content.rnd,
                content.class,
                content.block.map(u64::cast_signed),
                numbers.target,
                content.roll_over,
                content.transfer_sgc,
                issued.hash.0,
            ])?;
            self.add_unmerged(issued)?;
            if let Some(highest) = &mut self.highest_requests {
                highest.raise(numbers.client, row.request_id);
            }
            self.writer.tokens_written += 1;
        }
        Ok(())
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<RowFields> {
    let configuration = |column| -> rusqlite::Result<_> {
        Ok(row.get::<_, Option<[u8; 16]>>(column)?.map(ConfigurationId::from_bytes))
    };
    let sequence = row.get(0)?;
    if Sequence::new(sequence).is_none_or(|sequence| sequence.chain() != ChainNumber::FIRST) {
        return Err(foreign("issued_tokens.sequence"));
    }
    Ok(RowFields {
        sequence,
        client: ClientId::from_bytes(row.get(1)?),
        credential: row.get(2)?,
        request_id: Uuid::from_bytes(row.get(3)?),
        request_hash: row.get(4)?,
        issued_ms: row.get(5)?,
        content: ContentFields {
            kind: RowKind::try_from(row.get::<_, i64>(6)?).map_err(|_| foreign("issued_tokens.kind"))?,
            configuration: configuration(7)?,
            pan: row.get(8)?,
            base_date: row.get(9)?,
            tid: row.get(10)?,
            rnd: row.get(11)?,
            class: row.get(12)?,
            block: row.get::<_, Option<i64>>(13)?.map(i64::cast_unsigned),
            target: configuration(14)?,
            roll_over: row.get(15)?,
            transfer_sgc: row.get(16)?,
        },
        hash: Hash(row.get(17)?),
    })
}
