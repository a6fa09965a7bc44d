//! The engine in memory, for tests of the layers above: a database that is a few maps, and that a
//! transaction copies. Several servers may have it open; their transactions come one after another.

mod transaction;
mod view;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use uuid::Uuid;

use super::database::{Database, Parts, Work};
use super::engine::{DaySum, Engine, Numbers, Row, Select, Table, Value};
use super::{Job, OpenError, Sealer, Server, StoreError};
use crate::audit::{ActRow, ChainEnd, ChainId, ChainNumber, Hash, Head};
use crate::clock::SignOfLife;
use crate::ledger::{Floors, LAST_POSITION, LastTids, RowFields, Sequence, Sum};
use crate::sts::attributes::BaseDate;
use crate::sts::meter::MeterPan;

/// What the database holds.
#[derive(Clone, Debug, Default)]
struct Tables {
    rows: BTreeMap<(Table, i64), Row>,
    chains: BTreeMap<ChainNumber, ChainEnd>,
    floors: Floors,
    acts: BTreeMap<(ChainNumber, u64), ActRow>,
    tokens: BTreeMap<i64, (Numbers, RowFields)>,
    requests: HashMap<(i64, Uuid), i64>,
    tids: HashMap<(MeterPan, BaseDate), LastTids>,
    sums: BTreeMap<(i64, i64, String), DaySum>,
    vended: BTreeMap<(i64, i64, String), Sum>,
    refused: BTreeMap<(i64, String), u64>,
    failures: BTreeMap<i64, (i64, MeterPan, i64)>,
    checkpoints: BTreeMap<i64, String>,
    servers: BTreeMap<ChainNumber, Server>,
    signs: BTreeMap<ChainNumber, SignOfLife>,
    /// Who has the lease of a job, and until when.
    leases: BTreeMap<Job, (ChainNumber, i64)>,
    /// How often each server has written rows under seal.
    writes: BTreeMap<ChainNumber, i64>,
    /// The highest number that a row or a failure had.
    number: i64,
}

/// What the servers share.
#[derive(Debug, Default)]
struct Shared {
    tables: RwLock<Tables>,
    /// Whether somebody writes.
    writing: Mutex<bool>,
    written: Condvar,
    /// The clock of the database; none: it has none.
    clock_ms: Mutex<Option<i64>>,
}

/// What a database held once.
#[derive(Debug)]
pub(crate) struct Copied(Tables);

/// A database in memory. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory(Arc<Shared>);

/// The engine.
#[derive(Debug)]
pub(crate) struct MemoryEngine;

impl Engine for MemoryEngine {
    type View = Connection;
    type Transaction = Connection;
    type Lock = ();
}

/// The store over it.
pub(crate) type MemoryStore = Database<MemoryEngine>;

/// The server that opens a database of which nothing else is said.
const ALONE: &str = "one";

impl Memory {
    /// Opens a store over the database. The caller opens no second one while it lives.
    pub(crate) fn open(&self, sealer: Arc<dyn Sealer>) -> Result<MemoryStore, OpenError> {
        self.open_as(ALONE, sealer)
    }

    /// The same as the server of this name.
    pub(crate) fn open_as(&self, name: &str, sealer: Arc<dyn Sealer>) -> Result<MemoryStore, OpenError> {
        let server = self.server(name);
        let parts = Parts {
            transaction: self.connection_of(server),
            views: vec![self.connection_of(server)],
            lock: (),
        };
        let work = Work { queue: 4_096, batch: 2_048, alarm_pace: 5, seal_rows: false };
        MemoryStore::start(parts, sealer, work).map(|(store, _)| store)
    }

    /// A connection, for tests of what stands on it.
    pub(super) fn connection(&self) -> Connection {
        self.connection_of(self.server(ALONE))
    }

    /// What the database holds now, for [`Memory::set_back`].
    pub(crate) fn copy(&self) -> Copied {
        Copied(self.tables().clone())
    }

    /// Puts back what the database held, as a failover to a copy that is behind does.
    pub(crate) fn set_back(&self, copy: &Copied) {
        *self.tables_mut() = copy.0.clone();
    }

    /// Takes the last records of a chain out.
    pub(crate) fn truncate(&self, chain: ChainNumber, last: u64) {
        let mut tables = self.tables_mut();
        let hash = tables.hash_at(chain, last).unwrap_or(Hash::START);
        tables.acts.retain(|(of, position), _| *of != chain || *position <= last);
        let behind = Sequence::of(chain, last + 1).value()..=Sequence::of(chain, LAST_POSITION).value();
        tables.tokens.retain(|sequence, _| !behind.contains(sequence));
        if let Some(end) = tables.chains.get_mut(&chain) {
            (end.head.position, end.head.hash) = (last, hash);
        }
    }

    /// Takes all checkpoints out.
    pub(crate) fn forget_checkpoints(&self) {
        self.tables_mut().checkpoints.clear();
    }

    /// Sets the clock of the database.
    pub(crate) fn set_clock(&self, now_ms: Option<i64>) {
        *self.0.clock_ms.lock().unwrap_or_else(PoisonError::into_inner) = now_ms;
    }

    fn connection_of(&self, server: ChainNumber) -> Connection {
        Connection { shared: self.clone(), server, working: None, saved: None }
    }

    /// The number of a server, which is made known if it is not.
    fn server(&self, name: &str) -> ChainNumber {
        let mut tables = self.tables_mut();
        if let Some(known) = tables.servers.values().find(|server| server.name == name) {
            return known.number;
        }
        let number = u32::try_from(tables.servers.len()).ok().and_then(ChainNumber::new);
        let number = number.unwrap_or(ChainNumber::LAST);
        let head = Head { chain: ChainId([0; 16]), position: 0, hash: Hash::START };
        let server = Server { number, name: name.to_owned(), state: None, last_life_ms: None, head };
        tables.servers.insert(number, server);
        number
    }

    fn tables(&self) -> RwLockReadGuard<'_, Tables> {
        self.0.tables.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn tables_mut(&self) -> RwLockWriteGuard<'_, Tables> {
        self.0.tables.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> Option<i64> {
        *self.0.clock_ms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nobody writes.
    fn begin_writing(&self) {
        let idle = self.0.written.wait_while(self.writing(), |writing| *writing);
        *idle.unwrap_or_else(PoisonError::into_inner) = true;
    }

    fn end_writing(&self) {
        *self.writing() = false;
        self.0.written.notify_one();
    }

    fn writing(&self) -> MutexGuard<'_, bool> {
        self.0.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection of a server: within a transaction it has tables of its own.
#[derive(Debug)]
pub(crate) struct Connection {
    shared: Memory,
    server: ChainNumber,
    working: Option<Tables>,
    saved: Option<Tables>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.end();
    }
}

fn defect<T>(reason: &str) -> Result<T, StoreError> {
    Err(StoreError::Defect { reason: reason.to_owned() })
}

impl Connection {
    fn read<T>(&self, query: impl FnOnce(&Tables) -> T) -> Result<T, StoreError> {
        Ok(match &self.working {
            Some(tables) => query(tables),
            None => query(&self.shared.tables()),
        })
    }

    fn write(&mut self) -> Result<&mut Tables, StoreError> {
        self.working.as_mut().map_or_else(|| defect("there is no transaction"), Ok)
    }

    /// The same for a row under seal.
    fn write_row(&mut self) -> Result<&mut Tables, StoreError> {
        let server = self.server;
        let tables = self.write()?;
        *tables.writes.entry(server).or_default() += 1;
        Ok(tables)
    }

    /// Ends the transaction, if there is one, and answers what it has come to.
    fn end(&mut self) -> Option<Tables> {
        self.saved = None;
        let tables = self.working.take()?;
        self.shared.end_writing();
        Some(tables)
    }
}

impl Tables {
    fn next_number(&mut self) -> i64 {
        self.number += 1;
        self.number
    }

    fn select(&self, select: &Select) -> Vec<Row> {
        let holds = |row: &Row, column: &'static str, value: &Value| match column {
            "number" => *value == Value::Integer(row.number),
            column => row.get(column) == value,
        };
        let wanted = |row: &&Row| {
            row.number > select.after
                && select.equal.iter().all(|(column, value)| holds(row, column, value))
                && select
                    .any
                    .as_ref()
                    .is_none_or(|(column, values)| values.iter().any(|value| holds(row, column, value)))
        };
        let rows = self.rows.range((select.table, i64::MIN)..=(select.table, i64::MAX)).map(|(_, row)| row);
        rows.filter(wanted).take(select.most.map_or(usize::MAX, |most| most as usize)).cloned().collect()
    }

    fn failures(&self, after_ms: i64, most: u32, of: impl Fn(i64, MeterPan) -> bool) -> Vec<i64> {
        let mut times: Vec<i64> = self
            .failures
            .values()
            .filter(|(client, meter, at_ms)| *at_ms > after_ms && of(*client, *meter))
            .map(|(_, _, at_ms)| *at_ms)
            .collect();
        times.sort_unstable_by(|a, b| b.cmp(a));
        times.truncate(most as usize);
        times
    }

    fn acts_after(&self, chain: ChainNumber, position: u64) -> impl Iterator<Item = &ActRow> {
        let behind = (chain, position.saturating_add(1))..=(chain, u64::MAX);
        self.acts.range(behind).map(|(_, act)| act)
    }

    /// Rows of a chain.
    fn tokens_after(&self, chain: ChainNumber, position: u64) -> impl Iterator<Item = &RowFields> {
        let (first, last) = (Sequence::of(chain, 1).value(), Sequence::of(chain, LAST_POSITION).value());
        let behind = first.saturating_add(i64::try_from(position).unwrap_or(i64::MAX));
        let rows = self.tokens.range(behind.min(last)..=last).map(|(_, (_, row))| row);
        rows.take(if behind > last { 0 } else { usize::MAX })
    }

    fn hash_at(&self, chain: ChainNumber, position: u64) -> Option<Hash> {
        let token = self.tokens.get(&Sequence::of(chain, position).value());
        token.map(|(_, row)| row.hash).or_else(|| self.acts.get(&(chain, position)).map(|act| act.hash))
    }

    fn rows_of_ledger(&self) -> impl DoubleEndedIterator<Item = &RowFields> {
        self.tokens.values().map(|(_, row)| row)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::audit::{Actor, Verification};
    use crate::ledger::{AcceptedRestore, Cursor, Recorded};
    use crate::store::contract::tests::{
        Factory, NOW_MS, Scene, SeveralServers, contract_suite, meter, sealer, several_servers_suite,
    };
    use crate::store::{
        AuditStore as _, HealthStore as _, LedgerError, LedgerStore as _, LostCommits, ServerStore as _,
    };

    impl Factory for Memory {
        type Engine = MemoryEngine;

        fn open(&self) -> MemoryStore {
            self.open(sealer()).unwrap()
        }
    }

    impl SeveralServers for Memory {
        fn open_as(&self, name: &str) -> MemoryStore {
            self.open_as(name, sealer()).unwrap()
        }
    }

    contract_suite!(Memory);

    mod several {
        use super::*;

        several_servers_suite!(Memory);

        #[tokio::test]
        async fn what_the_database_forgets_while_servers_run_stops_those_whose_records_it_was() {
            let scene = Scene::<Memory>::new().await;
            let two = SeveralServers::open_as(&scene.factory, "two");
            let credit = |request| scene.credit(request, meter(0), 100);
            let first = scene.store.record_token(credit(1)).await.unwrap();
            let other = two.record_token(credit(2)).await.unwrap();
            let copy = scene.factory.copy();
            scene
                .store
                .record_tokens(vec![credit(3), credit(4)])
                .await
                .into_iter()
                .for_each(|new| drop(new.unwrap()));
            assert_eq!(scene.store.lost_commits(), None);
            scene.factory.set_back(&copy);
            // Whoever comes first notices: the sign of life of a server to which nobody comes.
            let moment = crate::clock::Moment { wall_ms: NOW_MS, uptime: None };
            scene.store.probe(SignOfLife { moment, in_doubt: false }).await.unwrap();
            let lost = LostCommits { written: 7, found: 5 };
            assert_eq!(scene.store.lost_commits(), Some(lost));
            for request in [3, 9] {
                let refused = scene.store.record_token(credit(request)).await;
                assert!(
                    matches!(refused, Err(LedgerError::Store(StoreError::LostCommits { .. }))),
                    "{refused:?}"
                );
            }
            let again = scene.store.record_token(credit(1)).await;
            assert_eq!(again, Ok(Recorded::Replay(first.row().clone())), "what is there is answered");
            // The other one has lost nothing.
            assert_eq!(two.record_token(credit(2)).await, Ok(Recorded::Replay(other.row().clone())));
            assert_eq!(two.lost_commits(), None);
            let accepted = AcceptedRestore {
                actor: Actor::Local,
                floors: Vec::new(),
                requests_from_ms: NOW_MS,
                lost_from: 0,
                details: BTreeMap::new(),
                now_ms: NOW_MS,
            };
            scene.store.accept_restore(accepted).await.unwrap();
            assert_eq!(scene.store.lost_commits(), None);
            let next = scene.store.record_token(credit(9)).await.unwrap();
            assert!(next.row().sequence.position() > 100_000_007, "{next:?}");
            let mut verification = Verification::new(None);
            let records = scene.store.records(Cursor::default(), 1_000, true).await.unwrap();
            records.lines.iter().for_each(|line| verification.feed(line));
            let outcome = verification.finish();
            assert!(outcome.is_sound(), "{:?}", outcome.faults);
            assert_eq!(outcome.lost.len(), 1, "the gap is told");
        }

        #[tokio::test]
        async fn a_lease_is_one_servers_until_it_ends_by_the_databases_clock() {
            let memory = Memory::default();
            memory.set_clock(Some(1_000));
            let (one, two) = (memory.open(sealer()).unwrap(), SeveralServers::open_as(&memory, "two"));
            let minute = Duration::from_secs(60);
            assert_eq!(one.take_lease(Job::Checkpoints, minute).await, Ok(true));
            assert_eq!(two.take_lease(Job::Checkpoints, minute).await, Ok(false));
            assert_eq!(two.take_lease(Job::Seals, minute).await, Ok(true), "each job has its own");
            memory.set_clock(Some(31_000));
            assert_eq!(one.take_lease(Job::Checkpoints, minute).await, Ok(true), "it is prolonged");
            memory.set_clock(Some(90_999));
            assert_eq!(two.take_lease(Job::Checkpoints, minute).await, Ok(false));
            memory.set_clock(Some(91_000));
            assert_eq!(two.take_lease(Job::Checkpoints, minute).await, Ok(true));
            assert_eq!(one.take_lease(Job::Checkpoints, minute).await, Ok(false));
            assert_eq!(two.take_lease(Job::Checkpoints, Duration::ZERO).await, Ok(true), "it is given back");
            assert_eq!(one.take_lease(Job::Checkpoints, minute).await, Ok(true));
        }
    }
}
