//! The last TID of every meter, for ever. Rows are written in the order of meters before the rows of
//! the ledger, and locked in it where that is needed, so that servers which meet at several meters do
//! not wait for each other in a circle.

use std::collections::{BTreeMap, HashMap};

use tokio_postgres::Row;

use super::column::{foreign, get, limit};
use super::connection::{Connection, Sql};
use crate::id::ClientId;
use crate::ledger::LastTids;
use crate::store::StoreError;
use crate::store::engine::MeterTids;
use crate::sts::attributes::BaseDate;
use crate::sts::meter::MeterPan;
use crate::sts::tid::Tid;

/// A sequence of TIDs, as the database names it: meter and year.
type Key = (i64, i16);

fn key(meter: MeterPan, base_date: BaseDate) -> Key {
    // Years have four digits.
    (meter.number(), i16::try_from(base_date.year()).unwrap_or(i16::MAX))
}

/// A TID as the database keeps it: 24 bits.
fn value(tid: Tid) -> i32 {
    tid.value().cast_signed()
}

/// What is known of the TIDs of meters, for [`tids`]; locked on demand.
pub(super) fn of_meters(meters: &[(MeterPan, BaseDate)], lock: bool) -> Sql {
    let mut keys: Vec<Key> = meters.iter().map(|(meter, base_date)| key(*meter, *base_date)).collect();
    keys.sort_unstable();
    keys.dedup();
    let (pans, years): (Vec<i64>, Vec<i16>) = keys.into_iter().unzip();
    let lock = if lock { "FOR UPDATE OF m" } else { "" };
    let sql = format!(
        "SELECT m.pan, m.base_date, m.last_tid, m.given_tid
         FROM unnest($1::bigint[], $2::smallint[]) AS wanted (pan, base_date)
         JOIN meters m ON m.pan = wanted.pan AND m.base_date = wanted.base_date
         ORDER BY m.pan, m.base_date {lock}"
    );
    Sql::new(sql).with(pans).with(years)
}

/// The TIDs of meters, in the order in which they were asked for.
pub(super) fn tids(meters: &[(MeterPan, BaseDate)], found: &[Row]) -> Result<Vec<LastTids>, StoreError> {
    let mut known = HashMap::with_capacity(found.len());
    for row in found {
        let key: Key = (get(row, 0, "meters.pan")?, get(row, 1, "meters.base_date")?);
        known.insert(key, LastTids { last: tid(row, 2)?, issued: tid(row, 3)? });
    }
    let of = |(meter, base_date): &(MeterPan, BaseDate)| known.get(&key(*meter, *base_date)).copied();
    Ok(meters.iter().map(|meter| of(meter).unwrap_or_default()).collect())
}

/// What is known of all meters, in their order, after one of them.
pub(super) fn after(
    connection: &mut Connection,
    after: Option<(MeterPan, BaseDate)>,
    most: usize,
) -> Result<Vec<MeterTids>, StoreError> {
    let (pan, year) = after.map_or((-1, 0), |(meter, base_date)| key(meter, base_date));
    let found = connection.query(
        "SELECT pan, base_date, last_tid, given_tid FROM meters WHERE (pan, base_date) > ($1, $2)
         ORDER BY pan, base_date LIMIT $3",
        &[&pan, &year, &limit(most)],
    )?;
    let read = |row: &Row| {
        let meter = MeterPan::from_number(get(row, 0, "meters.pan")?).map_err(|_| foreign("meters.pan"))?;
        let year = u16::try_from(get::<i16>(row, 1, "meters.base_date")?).ok();
        let base_date = year.and_then(|year| BaseDate::try_from(year).ok());
        Ok(MeterTids {
            meter,
            base_date: base_date.ok_or_else(|| foreign("meters.base_date"))?,
            tids: LastTids { last: tid(row, 2)?, issued: tid(row, 3)? },
        })
    };
    found.iter().map(read).collect()
}

/// Writes what is known of meters; what is there and higher stays.
pub(super) fn copy(connection: &mut Connection, meters: &[MeterTids]) -> Result<(), StoreError> {
    let keys = meters.iter().map(|known| key(known.meter, known.base_date));
    let (pans, years): (Vec<i64>, Vec<i16>) = keys.unzip();
    let last: Vec<Option<i32>> = meters.iter().map(|known| known.tids.last.map(value)).collect();
    let given: Vec<Option<i32>> = meters.iter().map(|known| known.tids.issued.map(value)).collect();
    connection
        .execute(
            "INSERT INTO meters (pan, base_date, last_tid, given_tid)
             SELECT pan, base_date, greatest(last, given), given
             FROM unnest($1::bigint[], $2::smallint[], $3::int[], $4::int[]) AS new (pan, base_date, last, given)
             ORDER BY pan, base_date
             ON CONFLICT (pan, base_date) DO UPDATE
             SET last_tid = greatest(meters.last_tid, excluded.last_tid),
                 given_tid = greatest(meters.given_tid, excluded.given_tid)",
            &[&pans, &years, &last, &given],
        )
        .map(drop)
}

fn tid(row: &Row, column: usize) -> Result<Option<Tid>, StoreError> {
    let found: Option<i32> = get(row, column, "a TID in meters")?;
    let tid = found.map(|number| u32::try_from(number).ok().and_then(|number| Tid::new(number).ok()));
    tid.map(|tid| tid.ok_or_else(|| foreign("a TID in meters"))).transpose()
}

/// The highest TID of each of some meters.
#[derive(Debug, Default)]
pub(super) struct Highest(BTreeMap<Key, i32>);

impl Highest {
    pub(super) fn note(&mut self, meter: MeterPan, base_date: BaseDate, tid: Tid) {
        let highest = self.0.entry(key(meter, base_date)).or_default();
        *highest = value(tid).max(*highest);
    }

    fn columns(&self) -> (Vec<i64>, Vec<i16>, Vec<i32>) {
        let (keys, tids): (Vec<Key>, Vec<i32>) = self.0.iter().map(|(key, tid)| (*key, *tid)).unzip();
        let (pans, years) = keys.into_iter().unzip();
        (pans, years, tids)
    }
}

/// Writes the TIDs that tokens were given.
pub(super) fn give(connection: &mut Connection, given: &Highest) {
    put(
        connection,
        given,
        "INSERT INTO meters (pan, base_date, last_tid, given_tid)
         SELECT pan, base_date, tid, tid
         FROM unnest($1::bigint[], $2::smallint[], $3::int[]) AS new (pan, base_date, tid)
         ORDER BY pan, base_date
         ON CONFLICT (pan, base_date) DO UPDATE
         SET last_tid = excluded.last_tid, given_tid = excluded.given_tid
         WHERE meters.last_tid < excluded.last_tid",
    );
}

/// Writes last TIDs that another system gave.
pub(super) fn raise(connection: &mut Connection, tids: &[(MeterPan, BaseDate, Tid)]) {
    let mut highest = Highest::default();
    tids.iter().for_each(|(meter, base_date, tid)| highest.note(*meter, *base_date, *tid));
    put(
        connection,
        &highest,
        "INSERT INTO meters (pan, base_date, last_tid)
         SELECT pan, base_date, tid
         FROM unnest($1::bigint[], $2::smallint[], $3::int[]) AS new (pan, base_date, tid)
         ORDER BY pan, base_date
         ON CONFLICT (pan, base_date) DO UPDATE SET last_tid = excluded.last_tid
         WHERE meters.last_tid < excluded.last_tid",
    );
}

/// Writes TIDs by a statement that leaves out those which are not above the last one. There are such
/// only where another server gave the meter a TID since the last one was read.
fn put(connection: &mut Connection, tids: &Highest, sql: &'static str) {
    let (pans, years, numbers) = tids.columns();
    if pans.is_empty() {
        return;
    }
    let met =
        || StoreError::Conflict { reason: "another server gave a meter a token identifier meanwhile".into() };
    let changes = pans.len();
    connection.execute_later(Sql::new(sql).with(pans).with(years).with(numbers), Some((changes, met)));
}

/// Lowers a last TID, never below one that a token had, and notes it.
pub(super) fn lower(
    connection: &mut Connection,
    (meter, base_date): (MeterPan, BaseDate),
    from: Tid,
    to: Tid,
    by: Option<ClientId>,
    at_ms: i64,
) -> Result<(), StoreError> {
    let (pan, year) = key(meter, base_date);
    let lowered = connection.execute(
        "UPDATE meters SET last_tid = $1
         WHERE pan = $2 AND base_date = $3 AND last_tid = $4 AND coalesce(given_tid, 0) <= $1",
        &[&value(to), &pan, &year, &value(from)],
    )?;
    if lowered != 1 {
        return Err(StoreError::Defect {
            reason: "the last TID of a meter would fall below one that was given".into(),
        });
    }
    let actor = by.map(ClientId::to_bytes);
    connection
        .execute(
            "INSERT INTO meter_falls (pan, base_date, from_tid, to_tid, actor, at_ms)
             VALUES ($1, $2, $3, $4, $5, $6)",
            &[&pan, &year, &value(from), &value(to), &actor.as_ref().map(|id| id.as_slice()), &at_ms],
        )
        .map(drop)
}
