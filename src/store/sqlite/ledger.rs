//! The tables of the ledger: issued tokens, and the last TID of every meter.
//!
//! The rules are in the order of `record`; everything runs inside the committer's transaction, so no other request can
//! come between a look and a write.

use rusqlite::{Connection, OptionalExtension as _, Row, named_params};
use uuid::Uuid;

use super::column::{coded, coded_or_null, foreign};
use crate::store::{
    ClientId, ConfigurationId, ConfigurationState, Content, NewToken, Recorded, Refused, RowContent,
    Sequence, StoreError, TokenRow,
};
use crate::sts::attributes::BaseDate;
use crate::sts::meter::MeterPan;
use crate::sts::tid::Tid;
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

/// Records a token, finds its first record, or says why not.
pub(super) fn record(
    connection: &Connection,
    new: NewToken,
) -> Result<Result<Recorded, Refused>, StoreError> {
    let Some(caller) = caller(connection, &new)? else { return Ok(Err(Refused::CredentialNotEnabled)) };

    // A replay comes before every other rule: a token that was promised is answered again, whatever changed since.
    if let Some(row) = of_request_number(connection, caller.client, new.request_id)? {
        return Ok(if row.request_hash == new.request_hash {
            Ok(Recorded::Replay(row))
        } else {
            Err(Refused::RequestIdReused { sequence: row.sequence })
        });
    }

    let finished = match finish(connection, new.content)? {
        Ok(finished) => finished,
        Err(refused) => return Ok(Err(refused)),
    };
    let sequence = insert(connection, &caller, &new.request_id, &new.request_hash, new.now_ms, &finished)?;
    Ok(Ok(Recorded::New(TokenRow {
        sequence,
        client: new.client,
        credential: new.credential,
        request_id: new.request_id,
        request_hash: new.request_hash,
        issued_ms: new.now_ms,
        content: finished.content,
    })))
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
    connection: &Connection,
    meter: MeterPan,
    base_date: BaseDate,
    tid: Tid,
) -> Result<Option<TokenRow>, StoreError> {
    Ok(connection
        .prepare_cached(&format!("{SELECT} WHERE t.pan = ?1 AND t.base_date = ?2 AND t.tid = ?3"))?
        .query_row((pan(meter)?, base_date.year(), tid.value()), read)
        .optional()?)
}

pub(super) fn key_changes(
    connection: &Connection,
    meter: MeterPan,
    configuration: ConfigurationId,
) -> Result<Vec<TokenRow>, StoreError> {
    let mut statement = connection.prepare_cached(&format!(
        "{SELECT} WHERE t.pan = ?1 AND t.kind = {KEY_CHANGE} AND f.id = ?2 ORDER BY t.sequence DESC LIMIT 8"
    ))?;
    let rows =
        statement.query_map((pan(meter)?, configuration.to_bytes()), read)?.collect::<Result<_, _>>()?;
    Ok(rows)
}

pub(super) fn last_tid(
    connection: &Connection,
    meter: MeterPan,
    base_date: BaseDate,
) -> Result<Option<Tid>, StoreError> {
    Ok(connection
        .prepare_cached("SELECT last_tid FROM meters WHERE pan = ?1 AND base_date = ?2")?
        .query_row((pan(meter)?, base_date.year()), |row| read_tid(row, 0, "meters.last_tid"))
        .optional()?)
}

/// Raises the last TID of a meter, never lowers it, and answers what holds.
pub(super) fn seed_last_tid(
    connection: &Connection,
    meter: MeterPan,
    base_date: BaseDate,
    tid: Tid,
) -> Result<Tid, StoreError> {
    raise_last_tid(connection, meter, base_date, tid)?;
    last_tid(connection, meter, base_date)?
        .ok_or_else(|| StoreError::Defect { reason: "a meter just written is gone".into() })
}

fn raise_last_tid(
    connection: &Connection,
    meter: MeterPan,
    base_date: BaseDate,
    tid: Tid,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO meters (pan, base_date, last_tid) VALUES (?1, ?2, ?3)
             ON CONFLICT (pan, base_date) DO UPDATE SET last_tid = excluded.last_tid
             WHERE excluded.last_tid > last_tid",
        )?
        .execute((pan(meter)?, base_date.year(), tid.value()))?;
    Ok(())
}

/// Who asks, by the numbers that the ledger keeps.
struct Caller {
    client: i64,
    credential: i64,
}

/// The caller, unless the credential is another client's or was disabled since the call was authenticated.
fn caller(connection: &Connection, new: &NewToken) -> Result<Option<Caller>, StoreError> {
    Ok(connection
        .prepare_cached(
            "SELECT c.number, k.number FROM credentials k JOIN clients c ON c.number = k.client
             WHERE k.key_id = ?1 AND c.id = ?2 AND k.enabled = 1 AND c.enabled = 1",
        )?
        .query_row((&new.credential, new.client.to_bytes()), |row| {
            Ok(Caller { client: row.get(0)?, credential: row.get(1)? })
        })
        .optional()?)
}

fn of_request_number(
    connection: &Connection,
    client: i64,
    request_id: Uuid,
) -> Result<Option<TokenRow>, StoreError> {
    // Most requests are new: the look that finds nothing touches the index only.
    let sequence: Option<i64> = connection
        .prepare_cached("SELECT sequence FROM issued_tokens WHERE client = ?1 AND request_id = ?2")?
        .query_row((client, request_id.into_bytes()), |row| row.get(0))
        .optional()?;
    match sequence.and_then(Sequence::new) {
        Some(sequence) => get(connection, sequence),
        None => Ok(None),
    }
}

/// Content that is ready to be written, with the numbers of its configurations.
struct Finished {
    content: RowContent,
    configuration: Option<i64>,
    target: Option<i64>,
}

/// Checks the configurations and picks the TID: what the store adds to the caller's content.
fn finish(connection: &Connection, content: Content) -> Result<Result<Finished, Refused>, StoreError> {
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
            let tid = match window.next(last_tid(connection, meter, base_date)?) {
                Ok(tid) => tid,
                Err(refusal) => return Ok(Err(refusal.into())),
            };
            raise_last_tid(connection, meter, base_date, tid)?;
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

/// The number of a configuration that may issue now.
fn enabled_configuration(
    connection: &Connection,
    id: ConfigurationId,
) -> Result<Result<i64, Refused>, StoreError> {
    let found: Option<(i64, ConfigurationState)> = connection
        .prepare_cached("SELECT number, state FROM configurations WHERE id = ?1")?
        .query_row([id.to_bytes()], |row| {
            Ok((row.get(0)?, super::column::parsed(row, 1, "configurations.state")?))
        })
        .optional()?;
    Ok(match found {
        None => Err(Refused::ConfigurationNotFound { id }),
        Some((number, ConfigurationState::Enabled)) => Ok(number),
        Some((_, state)) => Err(Refused::ConfigurationNotEnabled { id, state }),
    })
}

fn insert(
    connection: &Connection,
    caller: &Caller,
    request_id: &Uuid,
    request_hash: &[u8; 32],
    now_ms: i64,
    finished: &Finished,
) -> Result<Sequence, StoreError> {
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
    connection
        .prepare_cached(
            "INSERT INTO issued_tokens (
                 client, credential, request_id, request_hash, configuration, issued_ms, kind,
                 pan, base_date, tid, rnd, class, block, target, roll_over, transfer_sgc)
             VALUES (
                 :client, :credential, :request_id, :request_hash, :configuration, :issued_ms, :kind,
                 :pan, :base_date, :tid, :rnd, :class, :block, :target, :roll_over, :transfer_sgc)",
        )?
        .execute(named_params! {
            ":client": caller.client,
            ":credential": caller.credential,
            ":request_id": request_id.as_bytes(),
            ":request_hash": request_hash,
            ":configuration": finished.configuration,
            ":issued_ms": now_ms,
            ":kind": kind,
            ":pan": meter,
            ":base_date": base_date,
            ":tid": tid,
            ":rnd": rnd.map(Rnd::value),
            ":class": block.map(|block| block.class()),
            ":block": block.map(|block| block.bits().cast_signed()),
            ":target": finished.target,
            ":roll_over": roll_over,
            ":transfer_sgc": transfer_sgc,
        })?;
    Sequence::new(connection.last_insert_rowid())
        .ok_or_else(|| StoreError::Defect { reason: "a ledger row has no positive number".into() })
}

/// The 18 digits as a number: a fourth of the room, and ordered alike.
pub(super) fn pan(meter: MeterPan) -> Result<i64, StoreError> {
    meter.as_str().parse().map_err(|_| StoreError::Defect { reason: "a meter number is no number".into() })
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
