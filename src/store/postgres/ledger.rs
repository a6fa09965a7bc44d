//! The table of issued tokens: rows in and out by arrays, so that a batch costs the same number of
//! statements whatever its size.

use tokio_postgres::Row;
use uuid::Uuid;

use super::chain::range;
use super::column::{bytes, bytes_or_null, coded, coded_or_null, foreign, get, limit};
use super::connection::{Connection, Sql};
use super::meters::{self, Highest};
use crate::audit::{ChainNumber, Hash, RowKind};
use crate::id::{ClientId, ConfigurationId};
use crate::ledger::{ContentFields, RowContent, RowFields, Sequence, TokenFilter};
use crate::store::StoreError;
use crate::store::engine::{Behind, FoundRow, Kept, NewRow, RowPage};
use crate::sts::attributes::BaseDate;
use crate::sts::meter::MeterPan;
use crate::sts::tid::Tid;

const COLUMNS: &str = "
    t.sequence, c.id, k.key_id, t.request_id, t.request_hash, t.issued_ms, t.kind, f.id,
    t.pan, t.base_date, t.tid, t.rnd, t.class, t.block, g.id, t.roll_over, t.transfer_sgc, t.hash,
    h.number";

const NAMED: &str = "
    JOIN clients c ON c.number = t.client
    JOIN credentials k ON k.number = t.credential
    LEFT JOIN configurations f ON f.number = t.configuration
    LEFT JOIN configurations g ON g.number = t.target
    LEFT JOIN chains h ON h.number = t.sequence >> 44";

/// How many rows a page looks at where no index helps: bounds what a rare filter costs a reader.
const LOOK: i64 = 50_000;

/// Rows are ordered by commits; their times may differ from that order by what a request waits at
/// most.
const DISORDER_MS: i64 = 60_000;

/// The rows of a statement behind `SELECT` and the columns.
fn rows(
    connection: &mut Connection,
    rest: &str,
    params: super::connection::Params<'_>,
) -> Result<Vec<RowFields>, StoreError> {
    let found = connection.query(&format!("SELECT {COLUMNS} FROM issued_tokens t {NAMED} {rest}"), params)?;
    found.iter().map(read).collect()
}

pub(super) fn get_row(
    connection: &mut Connection,
    sequence: Sequence,
) -> Result<Option<RowFields>, StoreError> {
    Ok(rows(connection, "WHERE t.sequence = $1", &[&sequence.value()])?.pop())
}

/// Rows of a chain after a position.
pub(super) fn after(
    connection: &mut Connection,
    chain: ChainNumber,
    position: u64,
    most: usize,
) -> Result<Vec<RowFields>, StoreError> {
    let (from, last) = range(chain, position);
    let rest = "WHERE t.sequence > $1 AND t.sequence <= $2 ORDER BY t.sequence LIMIT $3";
    rows(connection, rest, &[&from, &last, &limit(most)])
}

/// The same, each with its position, readable or not.
pub(super) fn kept(
    connection: &mut Connection,
    chain: ChainNumber,
    position: u64,
    most: usize,
) -> Result<Vec<Kept<RowFields>>, StoreError> {
    let (from, last) = range(chain, position);
    let sql = format!(
        "SELECT {COLUMNS} FROM issued_tokens t {NAMED}
         WHERE t.sequence > $1 AND t.sequence <= $2 ORDER BY t.sequence LIMIT $3"
    );
    let found = connection.query(&sql, &[&from, &last, &limit(most)])?;
    let kept = |row: &Row| {
        let sequence: i64 = get(row, 0, "issued_tokens.sequence")?;
        Ok((Sequence::new(sequence).map_or(0, Sequence::position), read(row)))
    };
    found.iter().map(kept).collect()
}

/// The hashes of records, of tokens and of acts.
pub(super) fn hashes(
    connection: &mut Connection,
    records: &[Sequence],
) -> Result<Vec<Option<Hash>>, StoreError> {
    let (numbers, chains, positions) = named(records);
    let found = connection.query(
        "SELECT w.place, t.hash FROM unnest($1::bigint[]) WITH ORDINALITY AS w (number, place)
         JOIN issued_tokens t ON t.sequence = w.number
         UNION ALL
         SELECT w.place, a.hash FROM unnest($2::bigint[], $3::bigint[]) WITH ORDINALITY AS w (chain, position, place)
         JOIN acts a ON a.chain = w.chain AND a.position = w.position",
        &[&numbers, &chains, &positions],
    )?;
    let mut hashes = vec![None; records.len()];
    for row in &found {
        if let Some(hash) = hashes.get_mut(place(row, 0)?) {
            *hash = Some(Hash(bytes(row, 1, "the hash of a record")?));
        }
    }
    Ok(hashes)
}

/// The records behind others, as far as they have the next number.
pub(super) fn next(
    connection: &mut Connection,
    records: &[Sequence],
) -> Result<Vec<Option<Behind>>, StoreError> {
    let next: Vec<Sequence> = records
        .iter()
        .map(|record| Sequence::of(record.chain(), record.position().saturating_add(1)))
        .collect();
    let (numbers, chains, positions) = named(&next);
    let sql = format!(
        "SELECT {COLUMNS}, w.place FROM unnest($1::bigint[]) WITH ORDINALITY AS w (number, place)
         JOIN issued_tokens t ON t.sequence = w.number {NAMED}"
    );
    let mut found: Vec<Option<Behind>> = (0..records.len()).map(|_| None).collect();
    for row in &connection.query(&sql, &[&numbers])? {
        if let Some(behind) = found.get_mut(place(row, 19)?) {
            *behind = Some(read(row).map_or(Behind::Unreadable, |row| Behind::Token(Box::new(row))));
        }
    }
    for (place, act) in super::chain::acts_at(connection, &chains, &positions)? {
        if let Some(behind) = found.get_mut(place) {
            *behind = Some(act.map_or(Behind::Unreadable, |act| Behind::Act(Box::new(act))));
        }
    }
    Ok(found)
}

/// Records by the numbers that they would have as rows, by chains and by positions.
fn named(records: &[Sequence]) -> (Vec<i64>, Vec<i64>, Vec<i64>) {
    let position = |record: &Sequence| record.position().cast_signed();
    (
        records.iter().map(|record| record.value()).collect(),
        records.iter().map(|record| i64::from(record.chain().value())).collect(),
        records.iter().map(position).collect(),
    )
}

fn place(row: &Row, index: usize) -> Result<usize, StoreError> {
    coded::<i64, usize>(row, index, "a place").map(|place| place.saturating_sub(1))
}

/// The rows that requests have made, for [`found`].
pub(super) fn of_requests(requests: &[(i64, Uuid)]) -> Sql {
    let (clients, ids): (Vec<i64>, Vec<Uuid>) = requests.iter().copied().unzip();
    let sql = format!(
        "SELECT {COLUMNS}, wanted.place
         FROM unnest($1::bigint[], $2::uuid[]) WITH ORDINALITY AS wanted (client, request_id, place)
         JOIN issued_tokens t ON t.client = wanted.client::int AND t.request_id = wanted.request_id {NAMED}"
    );
    Sql::new(sql).with(clients).with(ids)
}

/// Rows, each with the place of its request.
pub(super) fn found(found: &[Row]) -> Result<Vec<FoundRow>, StoreError> {
    found.iter().map(|row| Ok((place(row, 19)?, read(row)))).collect()
}

pub(super) fn of_tid(
    connection: &mut Connection,
    meter: MeterPan,
    base_date: BaseDate,
    tid: Tid,
) -> Result<Option<RowFields>, StoreError> {
    let rest = "WHERE t.pan = $1 AND t.base_date = $2::bigint AND t.tid = $3::bigint";
    let (year, tid) = (i64::from(base_date.year()), i64::from(tid.value()));
    Ok(rows(connection, rest, &[&meter.number(), &year, &tid])?.pop())
}

pub(super) fn key_changes(
    connection: &mut Connection,
    meter: MeterPan,
    configuration: ConfigurationId,
    most: usize,
) -> Result<Vec<RowFields>, StoreError> {
    let kind = RowKind::KeyChange as i64;
    let rest = format!(
        "WHERE t.pan = $1 AND t.kind = {kind} AND f.id = $2 ORDER BY t.issued_ms DESC, t.sequence DESC LIMIT $3"
    );
    rows(connection, &rest, &[&meter.number(), &configuration.to_bytes().as_slice(), &limit(most)])
}

/// Rows of a chain that fit a filter, after a position.
pub(super) fn list(
    connection: &mut Connection,
    chain: ChainNumber,
    filter: &TokenFilter,
    after: u64,
    size: u32,
) -> Result<RowPage, StoreError> {
    let (mut from, end) = range(chain, after);
    if let Some(from_ms) = filter.from_ms {
        from = from.max(before_time(connection, chain, from_ms)?);
    }
    let pan = filter.meter.map(|meter| meter.number());
    // The rows of a meter are few, and found by it; otherwise the next ones of the chain are looked
    // at.
    let (source, order) = match pan {
        Some(_) => ("issued_tokens", "t.sequence + 0"),
        None => (
            "(SELECT * FROM issued_tokens WHERE sequence > $1 AND sequence <= $2 ORDER BY sequence LIMIT $11)",
            "t.sequence",
        ),
    };
    let sql = format!(
        "SELECT {COLUMNS} FROM {source} t {NAMED}
         WHERE t.sequence > $1 AND t.sequence <= $2
         AND ($3::bigint IS NULL OR t.pan = $3)
         AND ($4::bytea IS NULL OR c.id = $4)
         AND ($5::bytea IS NULL OR f.id = $5)
         AND ($6::bigint IS NULL OR t.class = $6)
         AND ($7::bigint IS NULL OR (t.block >> 60 & 15) = $7)
         AND ($8::bigint IS NULL OR t.issued_ms >= $8)
         AND ($9::bigint IS NULL OR t.issued_ms < $9)
         AND ($11::bigint > 0)
         ORDER BY {order} LIMIT $10"
    );
    let sql =
        if pan.is_some() { sql.replace("($3::bigint IS NULL OR t.pan = $3)", "t.pan = $3") } else { sql };
    let client = filter.client.map(ClientId::to_bytes);
    let configuration = filter.configuration.map(ConfigurationId::to_bytes);
    let (class, subclass) = filter.class.unzip();
    let found = connection.query(
        &sql,
        &[
            &from,
            &end,
            &pan,
            &client.as_ref().map(|id| id.as_slice()),
            &configuration.as_ref().map(|id| id.as_slice()),
            &class.map(i64::from),
            &subclass.flatten().map(i64::from),
            &filter.from_ms,
            &filter.until_ms,
            // One more tells whether there is a next page.
            &i64::from(size).saturating_add(1),
            &LOOK,
        ],
    )?;
    let mut page = RowPage::default();
    let mut last = None;
    for row in found.iter().take(size as usize) {
        let sequence: i64 = get(row, 0, "issued_tokens.sequence")?;
        last = Some(sequence);
        match read(row) {
            Ok(row) => page.rows.push(row),
            Err(error) => tracing::error!(sequence, %error, "a row of the ledger is none of ours: left out"),
        }
    }
    let seen = match (found.len() > size as usize, pan) {
        (true, _) => last,
        (false, Some(_)) => None,
        (false, None) => looked_up_to(connection, from, end)?,
    };
    // Behind the end of the time that was asked for nothing more can come.
    if let (Some(seen), Some(until_ms)) = (seen, filter.until_ms)
        && seen > before_time(connection, chain, until_ms.saturating_add(2 * DISORDER_MS))?
    {
        return Ok(page);
    }
    page.next = seen.and_then(Sequence::new).map(Sequence::position);
    Ok(page)
}

/// The last row that a page has looked at, where there may be more behind it.
fn looked_up_to(connection: &mut Connection, from: i64, end: i64) -> Result<Option<i64>, StoreError> {
    let sql = "SELECT sequence FROM issued_tokens WHERE sequence > $1 AND sequence <= $2
               ORDER BY sequence OFFSET $3 LIMIT 1";
    let last = connection.query_opt(sql, &[&from, &end, &(LOOK - 1)])?;
    last.map(|row| get(&row, 0, "issued_tokens.sequence")).transpose()
}

/// A row of a chain before all of its rows of this time or later, found by halving: the order of
/// rows is nearly that of times.
fn before_time(connection: &mut Connection, chain: ChainNumber, time_ms: i64) -> Result<i64, StoreError> {
    let time_ms = time_ms.saturating_sub(DISORDER_MS);
    let (first, end) = range(chain, 0);
    let last = connection.query_opt(
        "SELECT sequence FROM issued_tokens WHERE sequence > $1 AND sequence <= $2
         ORDER BY sequence DESC LIMIT 1",
        &[&first, &end],
    )?;
    let last = last.map(|row| get(&row, 0, "issued_tokens.sequence")).transpose()?;
    let (mut low, mut high): (i64, i64) = (first, last.unwrap_or(first));
    // All rows up to `low` are earlier; the first row behind `high` is not.
    while low < high {
        let middle = low + (high - low) / 2;
        let found = connection.query_opt(
            "SELECT sequence, issued_ms FROM issued_tokens WHERE sequence > $1 ORDER BY sequence LIMIT 1",
            &[&middle],
        )?;
        let found: Option<(i64, i64)> = match found {
            Some(row) => {
                Some((get(&row, 0, "issued_tokens.sequence")?, get(&row, 1, "issued_tokens.issued_ms")?))
            }
            None => None,
        };
        match found {
            Some((sequence, at_ms)) if at_ms < time_ms => low = sequence.min(high),
            _ => high = middle,
        }
    }
    Ok(low)
}

/// The columns of new rows.
#[derive(Default)]
struct Columns {
    sequence: Vec<i64>,
    issued_ms: Vec<i64>,
    pan: Vec<Option<i64>>,
    block: Vec<Option<i64>>,
    client: Vec<i64>,
    credential: Vec<i64>,
    configuration: Vec<Option<i64>>,
    target: Vec<Option<i64>>,
    tid: Vec<Option<i64>>,
    base_date: Vec<Option<i64>>,
    kind: Vec<i64>,
    rnd: Vec<Option<i64>>,
    class: Vec<Option<i64>>,
    roll_over: Vec<Option<bool>>,
    transfer_sgc: Vec<Option<bool>>,
    request_id: Vec<Uuid>,
    request_hash: Vec<Vec<u8>>,
    hash: Vec<Vec<u8>>,
}

impl Columns {
    fn push(&mut self, new: &NewRow<'_>) {
        let NewRow { issued, numbers } = new;
        let row = &issued.row;
        let content = ContentFields::from(&row.content);
        self.sequence.push(row.sequence.value());
        self.issued_ms.push(row.issued_ms);
        self.pan.push(content.pan);
        self.block.push(content.block.map(u64::cast_signed));
        self.client.push(numbers.client);
        self.credential.push(numbers.credential);
        self.configuration.push(numbers.configuration);
        self.target.push(numbers.target);
        self.tid.push(content.tid.map(i64::from));
        self.base_date.push(content.base_date.map(i64::from));
        self.kind.push(content.kind as i64);
        self.rnd.push(content.rnd.map(i64::from));
        self.class.push(content.class.map(i64::from));
        self.roll_over.push(content.roll_over);
        self.transfer_sgc.push(content.transfer_sgc);
        self.request_id.push(row.request_id);
        self.request_hash.push(row.request_hash.to_vec());
        self.hash.push(issued.hash.0.to_vec());
    }
}

/// Writes rows, and the TIDs that they give to meters before them.
pub(super) fn insert(connection: &mut Connection, new: &mut dyn Iterator<Item = NewRow<'_>>) {
    let rows: Vec<NewRow<'_>> = new.collect();
    let mut given = Highest::default();
    for row in &rows {
        if let RowContent::Sequenced { meter, base_date, tid, .. } = &row.issued.row.content {
            given.note(*meter, *base_date, *tid);
        }
    }
    meters::give(connection, &given);
    insert_rows(connection, rows);
}

/// Writes rows alone.
pub(super) fn insert_rows(connection: &mut Connection, mut rows: Vec<NewRow<'_>>) {
    // In the order of requests: two servers that write the same ones wait for each other at the
    // first, and not in a circle.
    rows.sort_unstable_by_key(|row| (row.numbers.client, row.issued.row.request_id));
    let mut columns = Columns::default();
    rows.iter().for_each(|row| columns.push(row));
    let sql = "INSERT INTO issued_tokens (
                   sequence, issued_ms, pan, block, client, credential, configuration, target, tid, base_date,
                   kind, rnd, class, roll_over, transfer_sgc, request_id, request_hash, hash)
               SELECT * FROM unnest(
                   $1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],
                   $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[],
                   $13::bigint[], $14::bool[], $15::bool[], $16::uuid[], $17::bytea[], $18::bytea[])";
    let sql = Sql::new(sql)
        .with(columns.sequence)
        .with(columns.issued_ms)
        .with(columns.pan)
        .with(columns.block)
        .with(columns.client)
        .with(columns.credential)
        .with(columns.configuration)
        .with(columns.target)
        .with(columns.tid)
        .with(columns.base_date)
        .with(columns.kind)
        .with(columns.rnd)
        .with(columns.class)
        .with(columns.roll_over)
        .with(columns.transfer_sgc)
        .with(columns.request_id)
        .with(columns.request_hash)
        .with(columns.hash);
    connection.execute_later(sql, None);
}

fn read(row: &Row) -> Result<RowFields, StoreError> {
    let configuration = |place: usize| -> Result<_, StoreError> {
        Ok(bytes_or_null::<16>(row, place, "configurations.id")?.map(ConfigurationId::from_bytes))
    };
    // A row of a chain that no server has written is somebody else's.
    if get::<Option<i64>>(row, 18, "chains.number")?.is_none() {
        return Err(foreign("issued_tokens.sequence"));
    }
    let kind = i64::from(get::<i16>(row, 6, "issued_tokens.kind")?);
    Ok(RowFields {
        sequence: get(row, 0, "issued_tokens.sequence")?,
        client: ClientId::from_bytes(bytes(row, 1, "clients.id")?),
        credential: get(row, 2, "credentials.key_id")?,
        request_id: get(row, 3, "issued_tokens.request_id")?,
        request_hash: bytes(row, 4, "issued_tokens.request_hash")?,
        issued_ms: get(row, 5, "issued_tokens.issued_ms")?,
        content: ContentFields {
            kind: RowKind::try_from(kind).map_err(|_| foreign("issued_tokens.kind"))?,
            configuration: configuration(7)?,
            pan: get(row, 8, "issued_tokens.pan")?,
            base_date: coded_or_null::<i16, u16>(row, 9, "issued_tokens.base_date")?,
            tid: coded_or_null::<i32, u32>(row, 10, "issued_tokens.tid")?,
            rnd: coded_or_null::<i16, u8>(row, 11, "issued_tokens.rnd")?,
            class: coded_or_null::<i16, u8>(row, 12, "issued_tokens.class")?,
            block: get::<Option<i64>>(row, 13, "issued_tokens.block")?.map(i64::cast_unsigned),
            target: configuration(14)?,
            roll_over: get(row, 15, "issued_tokens.roll_over")?,
            transfer_sgc: get(row, 16, "issued_tokens.transfer_sgc")?,
        },
        hash: Hash(bytes(row, 17, "issued_tokens.hash")?),
    })
}
