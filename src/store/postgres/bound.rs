//! What a measurement stands beside: how many rows of the ledger this database keeps durable in a
//! second with nothing else done, and how many statements it was sent.

use std::pin::pin;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::column::{coded, get};
use super::connection::{Connection, Purpose};
use super::{OpenError, PostgresqlAddress, WITHIN, apart, connect};
use crate::store::StoreError;

/// How rows go in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RawRows {
    /// As arrays, which is how a server writes them.
    Unnest,
    /// By `COPY`, in its binary form.
    Copy,
}

/// Rows of one transaction, as a full batch has.
const BATCH: i64 = 2_048;
/// Meters that rows are of.
const METERS: i64 = 2_000_000;

const INSERT: &str = "
    INSERT INTO bench_rows (sequence, issued_ms, pan, block, client, credential, configuration, tid, base_date,
                            kind, rnd, class, request_id, request_hash, hash)
    SELECT sequence, 0, pan, 1, 1, 1, 1, tid, 2014, 1, 5, 0, request_id, hash, hash
    FROM unnest($1::bigint[], $2::bigint[], $3::int[], $4::uuid[], $5::bytea[])
         AS new (sequence, pan, tid, request_id, hash)";
const COPY: &str = "
    COPY bench_rows (sequence, issued_ms, pan, block, client, credential, configuration, tid, base_date, kind,
                     rnd, class, request_id, request_hash, hash)
    FROM STDIN BINARY";

/// Durable rows in a second over some connections at once, in a table like that of the ledger with
/// its indexes, which is gone afterwards. Blocking.
///
/// # Errors
/// What the database says.
pub(in crate::store) fn raw_rows(
    address: &PostgresqlAddress,
    way: RawRows,
    connections: u32,
    window: Duration,
) -> Result<f64, OpenError> {
    let address = Arc::new(address.clone());
    apart(|| {
        let mut connection = connect(&address, Purpose::Write, WITHIN)?;
        connection.batch(
            "DROP TABLE IF EXISTS bench_rows; CREATE TABLE bench_rows (LIKE issued_tokens INCLUDING ALL)",
        )?;
        let write = |number: u32| {
            let address = &address;
            move || -> Result<u64, OpenError> {
                written(&mut connect(address, Purpose::Write, WITHIN)?, way, number, window)
            }
        };
        let start = Instant::now();
        let rows = thread::scope(|scope| {
            let running: Vec<_> = (0..connections).map(|number| scope.spawn(write(number))).collect();
            let panicked = || StoreError::Defect { reason: "a measurement panicked".into() };
            running.into_iter().map(|one| one.join().map_err(|_| panicked())?).sum::<Result<u64, OpenError>>()
        });
        let rate = rows.map(|rows| rows as f64 / start.elapsed().as_secs_f64());
        connection.batch("DROP TABLE bench_rows")?;
        rate
    })
}

/// Writes batches until the time is over.
fn written(
    connection: &mut Connection,
    way: RawRows,
    number: u32,
    window: Duration,
) -> Result<u64, OpenError> {
    let start = Instant::now();
    // Each connection has numbers and meters of its own.
    let mut sequence = i64::from(number) << 44;
    let mut rows = 0;
    while start.elapsed() < window {
        let batch = Batch::new(&mut sequence, number);
        match way {
            RawRows::Unnest => batch.insert(connection)?,
            RawRows::Copy => batch.copy(connection)?,
        }
        rows += BATCH.cast_unsigned();
    }
    Ok(rows)
}

struct Batch {
    sequences: Vec<i64>,
    pans: Vec<i64>,
    tids: Vec<i32>,
    requests: Vec<Uuid>,
    hashes: Vec<Vec<u8>>,
}

impl Batch {
    fn new(sequence: &mut i64, number: u32) -> Self {
        let mut batch = Self {
            sequences: Vec::new(),
            pans: Vec::new(),
            tids: Vec::new(),
            requests: Vec::new(),
            hashes: Vec::new(),
        };
        for _ in 0..BATCH {
            *sequence += 1;
            let request = Uuid::now_v7();
            let scattered = i64::from_be_bytes(request.into_bytes()[8..].try_into().unwrap_or_default());
            batch.sequences.push(*sequence);
            let meter = (scattered & i64::MAX) % METERS * 64 + i64::from(number % 64);
            batch.pans.push(600_727_000_000_000_000 + meter);
            batch.tids.push(i32::try_from(*sequence & 0xFF_FFFF).unwrap_or_default());
            batch.requests.push(request);
            batch.hashes.push([request.into_bytes(), request.into_bytes()].concat());
        }
        batch
    }

    fn insert(&self, connection: &mut Connection) -> Result<(), StoreError> {
        let Self { sequences, pans, tids, requests, hashes } = self;
        connection.execute(INSERT, &[sequences, pans, tids, requests, hashes]).map(drop)
    }

    fn copy(&self, connection: &mut Connection) -> Result<(), StoreError> {
        const TYPES: [Type; 15] = [
            Type::INT8,
            Type::INT8,
            Type::INT8,
            Type::INT8,
            Type::INT4,
            Type::INT4,
            Type::INT4,
            Type::INT4,
            Type::INT2,
            Type::INT2,
            Type::INT2,
            Type::INT2,
            Type::UUID,
            Type::BYTEA,
            Type::BYTEA,
        ];
        connection.run(async |live| {
            let mut writer = pin!(BinaryCopyInWriter::new(live.client.copy_in(COPY).await?, &TYPES));
            for place in 0..self.sequences.len() {
                let (pan, tid, hash) = (&self.pans[place], &self.tids[place], &self.hashes[place]);
                let row: [&(dyn ToSql + Sync); 15] = [
                    &self.sequences[place],
                    &0_i64,
                    pan,
                    &1_i64,
                    &1_i32,
                    &1_i32,
                    &1_i32,
                    tid,
                    &2014_i16,
                    &1_i16,
                    &5_i16,
                    &0_i16,
                    &self.requests[place],
                    hash,
                    hash,
                ];
                writer.as_mut().write(&row).await?;
            }
            writer.as_mut().finish().await
        })?;
        Ok(())
    }
}

/// What a database was sent since it was last asked to forget it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Statements of the transactions, BEGIN and COMMIT among them.
    pub statements: u64,
    /// Batches of the ledger.
    pub batches: u64,
    /// Their rows.
    pub rows: u64,
    /// Bytes of the write-ahead log.
    pub wal_bytes: u64,
}

/// How many statements the database was sent since the last call. None where it does not count them
/// (the extension `pg_stat_statements`).
///
/// # Errors
/// What the database says.
pub(in crate::store) fn sent(address: &PostgresqlAddress) -> Result<Option<Sent>, OpenError> {
    apart(|| {
        let mut connection = connect(&Arc::new(address.clone()), Purpose::Read, WITHIN)?;
        let there =
            connection.query_opt("SELECT to_regclass('public.pg_stat_statements') IS NOT NULL", &[])?;
        if !there.map_or(Ok(false), |row| get(&row, 0, "pg_stat_statements"))? {
            return Ok(None);
        }
        let found = connection.query_opt(
            "SELECT coalesce(sum(calls), 0)::bigint,
                    coalesce(sum(calls) FILTER (WHERE query ~ 'INSERT INTO issued_tokens'), 0)::bigint,
                    coalesce(sum(rows) FILTER (WHERE query ~ 'INSERT INTO issued_tokens'), 0)::bigint,
                    coalesce(sum(wal_bytes), 0)::bigint
             FROM public.pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid
             WHERE d.datname = current_database()",
            &[],
        )?;
        connection.query("SELECT public.pg_stat_statements_reset()", &[])?;
        let Some(row) = found else { return Ok(None) };
        let count = |column| coded::<i64, u64>(&row, column, "pg_stat_statements");
        Ok(Some(Sent { statements: count(0)?, batches: count(1)?, rows: count(2)?, wal_bytes: count(3)? }))
    })
}
