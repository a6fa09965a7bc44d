//! The table of issued tokens. What is known by meter is in `meters` and `runs`.
//!
//! The rules are in the order of `record`; everything runs inside the committer's transaction, so no other request can
//! come between a look and a write.

use std::time::Instant;

use rusqlite::{Connection, OptionalExtension as _, Row, Statement, ToSql, named_params, params};
use uuid::Uuid;

use super::authority::KnownCaller;
use super::chain::{State, Writing};
use super::column::{coded, coded_or_null, foreign};
use super::failure::{spoiling, spoils_transaction};
use super::meters::{last_tid, pan};
use super::runs::{each_row_of, rows_of_tid};
use super::sealed::Reading;
use super::usage;
use crate::audit::{Hash, KeyChangeBits, TokenEntry, TokenKind};
use crate::store::{
    ClientId, ConfigurationId, ConfigurationState, Content, LedgerError, NewToken, Recorded, Refused,
    RowContent, Sequence, StoreError, TokenFilter, TokenPage, TokenRow, request_made_ms,
};
use crate::sts::attributes::BaseDate;
use crate::sts::meter::MeterPan;
use crate::sts::tid::{Tid, TidWindow};
use crate::sts::token::{ClearBlock, Rnd};

/// What makes a row say which kind of content it has.
const SEQUENCED: i64 = 1;
const FIXED: i64 = 2;
const KEY_CHANGE: i64 = 3;

const SELECT: &str = "
    SELECT t.sequence, c.id, k.key_id, t.request_id, t.request_hash, t.issued_ms, t.kind, f.id,
           t.pan, t.base_date, t.tid, t.rnd, t.class, t.block, g.id, t.roll_over, t.transfer_sgc
    FROM issued_tokens t
    JOIN clients c ON c.number = t.client
    JOIN credentials k ON k.number = t.credential
    LEFT JOIN configurations f ON f.number = t.configuration
    LEFT JOIN configurations g ON g.number = t.target";

/// Records tokens in this order, each as [`record`] does and by its own deadline. What concerns one of them alone does not hold up
/// the others.
pub(super) fn record_all(
    writing: &Writing,
    new: &[NewToken],
) -> Result<Vec<Result<Recorded, LedgerError>>, StoreError> {
    let now = Instant::now();
    let recorded = |new: &NewToken| {
        if new.deadline.is_some_and(|deadline| deadline <= now) {
            return Ok(Err(StoreError::DeadlinePassed.into()));
        }
        match record(writing, new) {
            Ok(found) => Ok(found.map_err(LedgerError::from)),
            Err(error) if spoils_transaction(&error) => Err(error),
            Err(error) => Ok(Err(error.into())),
        }
    };
    new.iter().map(recorded).collect()
}

/// Records a token, finds its first record, or says why not.
///
/// It needs no savepoint, which would cost as much as the row: what is refused comes before the row or with it and leaves nothing, and
/// a failure after the row spoils the transaction.
pub(super) fn record(writing: &Writing, new: &NewToken) -> Result<Result<Recorded, Refused>, StoreError> {
    let Some(caller) = writing.caller(new.client, &new.credential, new.now_ms)? else {
        return Ok(Err(Refused::CredentialNotEnabled));
    };
    // A replay comes before every other rule: a token that was promised is answered again, whatever changed since.
    let refused = |refused| Ok(earlier(writing, &caller, new)?.unwrap_or(Err(refused)));

    writing.know_newest()?;
    let state = writing.state()?;
    let from_ms = new.requests_from_ms.max(state.requests_from_ms);
    if request_made_ms(new.request_id).is_some_and(|made_ms| made_ms < from_ms) {
        return refused(Refused::RequestIdTooOld);
    }
    let charge = match usage::admit(writing, &caller, &new.content, new.now_ms)? {
        Ok(charge) => charge,
        Err(met) => return refused(met.into()),
    };
    let finished = match finish(writing, &state, new.content.clone())? {
        Ok(finished) => finished,
        Err(why) => return refused(why),
    };
    let pan = finished.content.meter().map(|meter| meter.to_string());
    let (sequence, hash) =
        writing.append_token(new.now_ms, pan.as_deref(), &new.request_hash, |subject| {
            entry(new, &finished.content, subject)
        })?;
    // Most requests are new: the index that keeps them apart is asked once, by the row itself.
    let written = insert(writing, &caller, new, &finished, sequence, hash);
    if written != Ok(true) {
        writing.take_back_record(state);
        if written.is_err() {
            // A row of another hand may have the number: it is looked for before the next token.
            writing.newest().doubt();
        }
        written?;
        let lost = || StoreError::Defect { reason: "a request is on record and has no row".into() };
        return earlier(writing, &caller, new)?.ok_or_else(lost);
    }
    writing.add_newest(sequence, &finished.content).map_err(spoiling)?;
    usage::book(writing, &caller, charge, new.now_ms).map_err(spoiling)?;
    let sequence = Sequence::new(sequence)
        .ok_or_else(|| StoreError::Defect { reason: "a ledger row has no positive number".into() })?;
    Ok(Ok(Recorded::New(TokenRow {
        sequence,
        client: new.client,
        credential: new.credential.clone(),
        request_id: new.request_id,
        request_hash: new.request_hash,
        issued_ms: new.now_ms,
        content: finished.content,
    })))
}

/// What the request came to before, if it is on record.
fn earlier(
    connection: &Connection,
    caller: &KnownCaller,
    new: &NewToken,
) -> Result<Option<Result<Recorded, Refused>>, StoreError> {
    let row = connection
        .prepare_cached(&format!("{SELECT} WHERE t.client = ?1 AND t.request_id = ?2"))?
        .query_row((caller.client, new.request_id.as_bytes()), read)
        .optional()?;
    Ok(row.map(|row| {
        if row.request_hash != new.request_hash {
            Err(Refused::RequestIdReused { sequence: row.sequence })
        } else if row.issued_ms < new.requests_from_ms {
            Err(Refused::RequestIdTooOld)
        } else {
            Ok(Recorded::Replay(row))
        }
    }))
}

/// The row as its record says it.
fn entry(new: &NewToken, content: &RowContent, subject: [u8; 32]) -> TokenEntry {
    let mut entry = TokenEntry {
        client: new.client.to_bytes(),
        credential: new.credential.clone(),
        request_id: new.request_id.into_bytes(),
        kind: TokenKind::Fixed,
        configuration: content.configuration().map(ConfigurationId::to_bytes),
        base_date: None,
        tid: None,
        rnd: None,
        block: None,
        key_change: None,
        subject,
    };
    match content {
        RowContent::Sequenced { base_date, tid, rnd, block, .. } => {
            entry.kind = TokenKind::Sequenced;
            entry.base_date = Some(base_date.year());
            entry.tid = Some(tid.value());
            entry.rnd = rnd.map(Rnd::value);
            entry.block = Some((block.class(), block.bits()));
        }
        RowContent::Fixed { block, .. } => entry.block = Some((block.class(), block.bits())),
        RowContent::KeyChange { target, roll_over, transfer_sgc, .. } => {
            entry.kind = TokenKind::KeyChange;
            entry.key_change = Some(KeyChangeBits {
                target: target.to_bytes(),
                roll_over: *roll_over,
                transfer_sgc: *transfer_sgc,
            });
        }
    }
    entry
}

pub(super) fn get(connection: &Connection, sequence: Sequence) -> Result<Option<TokenRow>, StoreError> {
    Ok(connection
        .prepare_cached(&format!("{SELECT} WHERE t.sequence = ?1"))?
        .query_row([sequence.value()], read)
        .optional()?)
}

pub(super) fn of_request(
    connection: &Connection,
    client: ClientId,
    request_id: Uuid,
) -> Result<Option<TokenRow>, StoreError> {
    Ok(connection
        .prepare_cached(&format!("{SELECT} WHERE c.id = ?1 AND t.client = c.number AND t.request_id = ?2"))?
        .query_row((client.to_bytes(), request_id.into_bytes()), read)
        .optional()?)
}

pub(super) fn of_tid(
    reading: &Reading,
    meter: MeterPan,
    base_date: BaseDate,
    tid: Tid,
) -> Result<Option<TokenRow>, StoreError> {
    for sequence in rows_of_tid(reading, meter, base_date, tid)? {
        let row = reading
            .prepare_cached(&format!(
                "{SELECT} WHERE t.sequence = ?1 AND t.pan = ?2 AND t.base_date = ?3 AND t.tid = ?4"
            ))?
            .query_row((sequence.value(), pan(meter)?, base_date.year(), tid.value()), read)
            .optional()?;
        if row.is_some() {
            return Ok(row);
        }
    }
    Ok(None)
}

/// Served by the small index of key changes, and never by a walk over the ledger.
pub(super) fn newest_key_changes() -> String {
    format!(
        "{SELECT} WHERE t.pan = ?1 AND t.kind = {KEY_CHANGE} AND f.id = ?2 ORDER BY t.sequence DESC LIMIT 8"
    )
}

pub(super) fn key_changes(
    connection: &Connection,
    meter: MeterPan,
    configuration: ConfigurationId,
) -> Result<Vec<TokenRow>, StoreError> {
    let mut statement = connection.prepare_cached(&newest_key_changes())?;
    let rows =
        statement.query_map((pan(meter)?, configuration.to_bytes()), read)?.collect::<Result<_, _>>()?;
    Ok(rows)
}

/// Rows that fit a filter, after a row, in the order of the ledger.
pub(super) fn list(
    reading: &Reading,
    filter: &TokenFilter,
    after: Option<Sequence>,
    size: u32,
) -> Result<TokenPage, StoreError> {
    let mut from = after.map_or(0, Sequence::value);
    if let Some(from_ms) = filter.from_ms {
        from = from.max(before_time(reading, from_ms)?);
    }
    match filter.meter {
        Some(meter) => list_of_meter(reading, filter, meter, from, size),
        None => list_of_all(reading, filter, from, size),
    }
}

fn list_of_meter(
    reading: &Reading,
    filter: &TokenFilter,
    meter: MeterPan,
    from: i64,
    size: u32,
) -> Result<TokenPage, StoreError> {
    let pan = pan(meter)?;
    let mut page = TokenPage { rows: Vec::new(), next: None };
    let mut statement = reading
        .prepare_cached(&format!("{SELECT} WHERE t.sequence = :from AND t.pan = :pan AND {CONDITIONS}"))?;
    each_row_of(reading, meter, from, |sequence| {
        // Full, and one more to come: only then there is a next page.
        if page.rows.len() >= size as usize {
            page.next = page.rows.last().map(|row: &TokenRow| row.sequence);
            return Ok(false);
        }
        let found = with_conditions(&mut statement, filter, &[(":pan", &pan), (":from", &sequence.value())])?;
        page.rows.extend(found.rows);
        Ok(true)
    })?;
    Ok(page)
}

fn list_of_all(
    reading: &Reading,
    filter: &TokenFilter,
    from: i64,
    size: u32,
) -> Result<TokenPage, StoreError> {
    let mut statement = reading.prepare_cached(&format!(
        "{SELECT} WHERE t.sequence > :from AND t.sequence <= :from + {LOOK}
         AND {CONDITIONS} ORDER BY t.sequence LIMIT :size"
    ))?;
    let Found { rows, last: last_found, count } =
        with_conditions(&mut statement, filter, &[(":from", &from), (":size", &size)])?;
    let last: i64 = reading
        .prepare_cached("SELECT coalesce(max(sequence), 0) FROM issued_tokens")?
        .query_row([], |row| row.get(0))?;
    let seen = match last_found {
        Some(sequence) if count >= size as usize => sequence,
        _ => from.saturating_add(LOOK),
    };
    // Behind the end of the time that was asked for nothing more can come.
    let past = match filter.until_ms {
        Some(until_ms) => seen > before_time(reading, until_ms.saturating_add(2 * DISORDER_MS))?,
        None => false,
    };
    let next = if seen >= last || past { None } else { Sequence::new(seen) };
    Ok(TokenPage { rows, next })
}

/// What a statement finds.
struct Found {
    rows: Vec<TokenRow>,
    /// The last row, and how many there are: also of those that another hand wrote, which are left out.
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

/// Rows are ordered by commits; their times may differ from that order by what a request waits at most.
const DISORDER_MS: i64 = 60_000;

const CONDITIONS: &str = "
    (:client IS NULL OR c.id = :client)
    AND (:configuration IS NULL OR f.id = :configuration)
    AND (:class IS NULL OR t.class = :class)
    AND (:subclass IS NULL OR (t.block >> 60 & 15) = :subclass)
    AND (:from_ms IS NULL OR t.issued_ms >= :from_ms)
    AND (:until_ms IS NULL OR t.issued_ms < :until_ms)";

/// A row before all rows of this time or later, found by halving: the order of rows is nearly that of times.
fn before_time(connection: &Connection, time_ms: i64) -> Result<i64, StoreError> {
    let time_ms = time_ms.saturating_sub(DISORDER_MS);
    let mut statement = connection.prepare_cached(
        "SELECT sequence, issued_ms FROM issued_tokens WHERE sequence >= ?1 ORDER BY sequence LIMIT 1",
    )?;
    let (mut low, mut high): (i64, i64) = (
        0,
        connection
            .prepare_cached("SELECT coalesce(max(sequence), 0) FROM issued_tokens")?
            .query_row([], |row| row.get(0))?,
    );
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

/// Content that is ready to be written, with the numbers of its configurations.
struct Finished {
    content: RowContent,
    configuration: Option<i64>,
    target: Option<i64>,
}

/// Checks the configurations and picks the TID: what the store adds to the caller's content.
fn finish(
    connection: &Writing,
    state: &State,
    content: Content,
) -> Result<Result<Finished, Refused>, StoreError> {
    let (asked, target) = match &content {
        Content::Sequenced { configuration, .. } => (Some(*configuration), None),
        Content::Fixed { configuration, .. } => (*configuration, None),
        Content::KeyChange { configuration, target, .. } => (Some(*configuration), Some(*target)),
    };
    let mut numbers = [None, None];
    for (number, id) in numbers.iter_mut().zip([asked, target]) {
        if let Some(id) = id {
            match enabled_configuration(connection, id)? {
                Ok(found) => *number = Some(found),
                Err(refused) => return Ok(Err(refused)),
            }
        }
    }
    if let (Content::KeyChange { configuration, target, .. }, [Some(from), Some(to)]) = (&content, numbers)
        && !super::key_changes::is_allowed(connection, from, to)?
    {
        return Ok(Err(Refused::KeyChangeNotAllowed { source_id: *configuration, target: *target }));
    }
    let content = match content {
        Content::Sequenced { configuration, meter, base_date, window, payload, rnd } => {
            let floor = state.floor(base_date);
            let tid = match above(window, floor).next(last_tid(connection, meter, base_date)?.max(floor)) {
                Ok(tid) => tid,
                Err(refusal) => return Ok(Err(refusal.into())),
            };
            let block = payload.block(rnd, tid);
            let rnd = payload.carries_rnd().then_some(rnd);
            RowContent::Sequenced { configuration, meter, base_date, tid, rnd, block }
        }
        Content::Fixed { configuration, meter, display } => {
            RowContent::Fixed { configuration, meter, block: display.block() }
        }
        Content::KeyChange { configuration, meter, target, roll_over, transfer_sgc } => {
            RowContent::KeyChange { configuration, meter, target, roll_over, transfer_sgc }
        }
    };
    let [configuration, target] = numbers;
    Ok(Ok(Finished { content, configuration, target }))
}

/// The window above a floor. Its horizon counts from the floor, where that lies ahead of the clock.
fn above(window: TidWindow, floor: Option<Tid>) -> TidWindow {
    let Some(floor) = floor.filter(|floor| *floor > window.earliest) else { return window };
    let ahead = window.horizon.value().saturating_sub(window.earliest.value());
    let horizon = Tid::new(floor.value().saturating_add(ahead)).unwrap_or(window.horizon);
    TidWindow { horizon: horizon.max(window.horizon), ..window }
}

/// The number of a configuration that may issue now.
fn enabled_configuration(writing: &Writing, id: ConfigurationId) -> Result<Result<i64, Refused>, StoreError> {
    Ok(match writing.configuration_state(id)? {
        None => Err(Refused::ConfigurationNotFound { id }),
        Some((number, ConfigurationState::Enabled)) => Ok(number),
        Some((_, state)) => Err(Refused::ConfigurationNotEnabled { id, state }),
    })
}

/// Writes the row, unless the request has one.
fn insert(
    connection: &Connection,
    caller: &KnownCaller,
    new: &NewToken,
    finished: &Finished,
    sequence: i64,
    hash: Hash,
) -> Result<bool, StoreError> {
    let meter = finished.content.meter().map(pan).transpose()?;
    let (kind, base_date, tid, rnd, block, roll_over, transfer_sgc) = match &finished.content {
        RowContent::Sequenced { base_date, tid, rnd, block, .. } => {
            (SEQUENCED, Some(base_date.year()), Some(tid.value()), *rnd, Some(block), None, None)
        }
        RowContent::Fixed { block, .. } => (FIXED, None, None, None, Some(block), None, None),
        RowContent::KeyChange { roll_over, transfer_sgc, .. } => {
            (KEY_CHANGE, None, None, None, None, Some(*roll_over), Some(*transfer_sgc))
        }
    };
    // By place and not by name: looking names up would cost as much as the row.
    let rows = connection
        .prepare_cached(
            "INSERT INTO issued_tokens (
                 sequence, client, credential, request_id, request_hash, configuration, issued_ms, kind,
                 pan, base_date, tid, rnd, class, block, target, roll_over, transfer_sgc, hash)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)
             ON CONFLICT (client, request_id) DO NOTHING",
        )?
        .execute(params![
            sequence,
            caller.client,
            caller.credential,
            new.request_id.as_bytes(),
            new.request_hash,
            finished.configuration,
            new.now_ms,
            kind,
            meter,
            base_date,
            tid,
            rnd.map(Rnd::value),
            block.map(|block| block.class()),
            block.map(|block| block.bits().cast_signed()),
            finished.target,
            roll_over,
            transfer_sgc,
            hash.0,
        ])?;
    Ok(rows > 0)
}

fn read(row: &Row<'_>) -> rusqlite::Result<TokenRow> {
    let kind = row.get(6)?;
    let configuration = row.get::<_, Option<[u8; 16]>>(7)?.map(ConfigurationId::from_bytes);
    let content = match (kind, configuration, read_pan(row)?) {
        (SEQUENCED, Some(configuration), Some(meter)) => {
            let (tid, block) = (read_tid(row, 10, "issued_tokens.tid")?, read_block(row)?);
            // The columns repeat the block's TID (bits 55..32, STS facts §3.3). A block of key bits is never stored.
            let in_block = block.bits() >> 32 & 0xFF_FFFF;
            if block.class() == 1 || block.is_key_change() || in_block != u64::from(tid.value()) {
                return Err(foreign("issued_tokens.block"));
            }
            let base_date = coded::<u16, _>(row, 9, "issued_tokens.base_date")?;
            let rnd = coded_or_null::<u8, _>(row, 11, "issued_tokens.rnd")?;
            RowContent::Sequenced { configuration, meter, base_date, tid, rnd, block }
        }
        (FIXED, configuration, meter) => {
            let block = read_block(row)?;
            if block.class() != 1 {
                return Err(foreign("issued_tokens.block"));
            }
            RowContent::Fixed { configuration, meter, block }
        }
        (KEY_CHANGE, Some(configuration), Some(meter)) => RowContent::KeyChange {
            configuration,
            meter,
            target: ConfigurationId::from_bytes(row.get(14)?),
            roll_over: row.get(15)?,
            transfer_sgc: row.get(16)?,
        },
        _ => return Err(foreign("issued_tokens.kind")),
    };
    Ok(TokenRow {
        sequence: Sequence::new(row.get(0)?).ok_or_else(|| foreign("issued_tokens.sequence"))?,
        client: ClientId::from_bytes(row.get(1)?),
        credential: row.get(2)?,
        request_id: Uuid::from_bytes(row.get(3)?),
        request_hash: row.get(4)?,
        issued_ms: row.get(5)?,
        content,
    })
}

fn read_pan(row: &Row<'_>) -> rusqlite::Result<Option<MeterPan>> {
    let number: Option<i64> = row.get(8)?;
    number.map(|number| format!("{number:018}").parse().map_err(|_| foreign("issued_tokens.pan"))).transpose()
}

fn read_tid(row: &Row<'_>, index: usize, what: &'static str) -> rusqlite::Result<Tid> {
    Tid::new(row.get(index)?).map_err(|_| foreign(what))
}

/// The clear block; a block whose CRC does not hold is none of ours.
fn read_block(row: &Row<'_>) -> rusqlite::Result<ClearBlock> {
    let bits: i64 = row.get(13)?;
    ClearBlock::from_parts(row.get(12)?, bits.cast_unsigned()).map_err(|_| foreign("issued_tokens.block"))
}
