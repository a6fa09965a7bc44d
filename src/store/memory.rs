//! The engine in memory, for tests of the layers above: a database that is a few maps, and that a
//! transaction copies.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use uuid::Uuid;

use super::database::{Database, Parts, Work};
use super::engine::{
    Chain, DaySum, Engine, FoundRow, NewRow, NumberedSeal, Numbers, Row, RowPage, Select, Table, Transaction,
    Value, View,
};
use super::{OpenError, Sealer, StoreError};
use crate::audit::{Act, ActRow, ChainEnd, Hash, TokenKind};
use crate::clock::SignOfLife;
use crate::id::{ApprovalId, ClientId, ConfigurationId};
use crate::ledger::{ContentFields, Floors, LastTids, RowContent, RowFields, Sequence, TokenFilter};
use crate::sts::attributes::BaseDate;
use crate::sts::meter::MeterPan;
use crate::sts::tid::Tid;

/// What the database holds.
#[derive(Clone, Debug, Default)]
struct Tables {
    rows: BTreeMap<(Table, i64), Row>,
    chain: Option<Chain>,
    acts: BTreeMap<u64, ActRow>,
    tokens: BTreeMap<i64, (Numbers, RowFields)>,
    requests: HashMap<(i64, Uuid), i64>,
    tids: HashMap<(MeterPan, BaseDate), LastTids>,
    sums: BTreeMap<(i64, i64, String), DaySum>,
    failures: BTreeMap<i64, (i64, MeterPan, i64)>,
    checkpoints: BTreeMap<i64, String>,
    sign_of_life: Option<SignOfLife>,
    /// The highest number that a row or a failure had.
    number: i64,
}

/// A database in memory. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory(Arc<RwLock<Tables>>);

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

impl Memory {
    /// Opens a store over the database. The caller opens no second one while it lives.
    pub(crate) fn open(&self, sealer: Arc<dyn Sealer>) -> Result<MemoryStore, OpenError> {
        let connection = || Connection { shared: self.clone(), working: None, saved: None };
        let parts = Parts { transaction: connection(), views: vec![connection()], lock: () };
        let work = Work { queue: 4_096, batch: 2_048, alarm_pace: 5, seal_rows: false };
        MemoryStore::start(parts, sealer, work).map(|(store, _)| store)
    }

    /// A connection, for tests of what stands on it.
    pub(super) fn connection(&self) -> Connection {
        Connection { shared: self.clone(), working: None, saved: None }
    }
}

/// A connection: within a transaction it has tables of its own.
#[derive(Debug)]
pub(crate) struct Connection {
    shared: Memory,
    working: Option<Tables>,
    saved: Option<Tables>,
}

fn defect<T>(reason: &str) -> Result<T, StoreError> {
    Err(StoreError::Defect { reason: reason.to_owned() })
}

impl Connection {
    fn read<T>(&self, query: impl FnOnce(&Tables) -> T) -> Result<T, StoreError> {
        Ok(match &self.working {
            Some(tables) => query(tables),
            None => query(&self.shared.0.read().unwrap_or_else(PoisonError::into_inner)),
        })
    }

    fn write(&mut self) -> Result<&mut Tables, StoreError> {
        self.working.as_mut().map_or_else(|| defect("there is no transaction"), Ok)
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

    fn rows_of_ledger(&self) -> impl DoubleEndedIterator<Item = &RowFields> {
        self.tokens.values().map(|(_, row)| row)
    }
}

fn fits(filter: &TokenFilter, row: &RowFields) -> bool {
    let content = &row.content;
    let subclass = content.block.map(|block| (block >> 60) as u8);
    filter.meter.is_none_or(|meter| content.pan == Some(meter.number()))
        && filter.configuration.is_none_or(|id| content.configuration == Some(id))
        && filter.client.is_none_or(|client| row.client == client)
        && filter.class.is_none_or(|(class, wanted)| {
            content.class == Some(class) && (wanted.is_none() || subclass == wanted)
        })
        && filter.from_ms.is_none_or(|from_ms| row.issued_ms >= from_ms)
        && filter.until_ms.is_none_or(|until_ms| row.issued_ms < until_ms)
}

impl View for Connection {
    fn begin_snapshot(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn end_snapshot(&mut self) {}

    fn rows(&mut self, select: &Select) -> Result<Vec<Row>, StoreError> {
        self.read(|tables| tables.select(select))
    }

    fn seals(&mut self, table: Table) -> Result<Vec<NumberedSeal>, StoreError> {
        let rows = self.read(|tables| tables.select(&Select::all(table)))?;
        Ok(rows.into_iter().map(|row| (row.number, row.seal)).collect())
    }

    fn chain(&mut self) -> Result<Chain, StoreError> {
        self.read(|tables| tables.chain)?.map_or_else(|| defect("there is no chain"), Ok)
    }

    fn acts(&mut self, after: u64, most: usize) -> Result<Vec<ActRow>, StoreError> {
        self.read(|tables| tables.acts.range(after + 1..).take(most).map(|(_, act)| act.clone()).collect())
    }

    fn has_act_after(&mut self, position: u64, kinds: &[&str]) -> Result<bool, StoreError> {
        let decides = |row: &ActRow| kinds.iter().any(|begin| row.act.kind.starts_with(begin));
        self.read(|tables| tables.acts.range(position + 1..).any(|(_, row)| decides(row)))
    }

    fn has_act(&mut self, kind: &str, details: &str) -> Result<bool, StoreError> {
        let same = |row: &ActRow| row.act.kind == kind && row.act.details == details;
        self.read(|tables| tables.acts.values().any(same))
    }

    fn act_of_approval(&mut self, approval: ApprovalId) -> Result<Option<Act>, StoreError> {
        self.read(|tables| {
            let mut acts = tables.acts.values().map(|row| &row.act);
            acts.find(|act| act.done_with() == Some(approval)).cloned()
        })
    }

    fn record_hash(&mut self, position: u64) -> Result<Option<Hash>, StoreError> {
        self.read(|tables| {
            let token = i64::try_from(position).ok().and_then(|sequence| tables.tokens.get(&sequence));
            token.map(|(_, row)| row.hash).or_else(|| tables.acts.get(&position).map(|act| act.hash))
        })
    }

    fn tokens_after(&mut self, position: u64, most: usize) -> Result<Vec<RowFields>, StoreError> {
        self.read(|tables| {
            let later = |row: &&RowFields| u64::try_from(row.sequence).is_ok_and(|at| at > position);
            tables.rows_of_ledger().filter(later).take(most).cloned().collect()
        })
    }

    fn token(&mut self, sequence: Sequence) -> Result<Option<RowFields>, StoreError> {
        self.read(|tables| tables.tokens.get(&sequence.value()).map(|(_, row)| row.clone()))
    }

    fn tokens_of_requests(&mut self, requests: &[(i64, Uuid)]) -> Result<Vec<FoundRow>, StoreError> {
        self.read(|tables| {
            let found = |(place, request): (usize, &(i64, Uuid))| {
                let (_, row) = tables.tokens.get(tables.requests.get(request)?)?;
                Some((place, Ok(row.clone())))
            };
            requests.iter().enumerate().filter_map(found).collect()
        })
    }

    fn token_of_tid(
        &mut self,
        meter: MeterPan,
        base_date: BaseDate,
        tid: Tid,
    ) -> Result<Option<RowFields>, StoreError> {
        let wanted = (Some(meter.number()), Some(base_date.year()), Some(tid.value()));
        self.read(|tables| {
            let same = |row: &&RowFields| (row.content.pan, row.content.base_date, row.content.tid) == wanted;
            tables.rows_of_ledger().find(same).cloned()
        })
    }

    fn key_changes(
        &mut self,
        meter: MeterPan,
        configuration: ConfigurationId,
        most: usize,
    ) -> Result<Vec<RowFields>, StoreError> {
        let wanted = (TokenKind::KeyChange, Some(meter.number()), Some(configuration));
        self.read(|tables| {
            let same =
                |row: &&RowFields| (row.content.kind, row.content.pan, row.content.configuration) == wanted;
            tables.rows_of_ledger().rev().filter(same).take(most).cloned().collect()
        })
    }

    fn list_tokens(
        &mut self,
        filter: &TokenFilter,
        after: Option<Sequence>,
        size: u32,
    ) -> Result<RowPage, StoreError> {
        let after = after.map_or(0, Sequence::value);
        self.read(|tables| {
            let wanted = |row: &&RowFields| row.sequence > after && fits(filter, row);
            let mut rows: Vec<RowFields> =
                tables.rows_of_ledger().filter(wanted).take(size as usize + 1).cloned().collect();
            let more = rows.len() > size as usize;
            rows.truncate(size as usize);
            let next = rows.last().filter(|_| more).and_then(|row| Sequence::new(row.sequence));
            RowPage { rows, next }
        })
    }

    fn last_tids(&mut self, meters: &[(MeterPan, BaseDate)]) -> Result<Vec<LastTids>, StoreError> {
        self.read(|tables| {
            meters.iter().map(|meter| tables.tids.get(meter).copied().unwrap_or_default()).collect()
        })
    }

    fn sums(&mut self, clients: &[i64], first: i64, last: i64) -> Result<Vec<DaySum>, StoreError> {
        let wanted = |sum: &&DaySum| clients.contains(&sum.client) && (first..=last).contains(&sum.day);
        self.read(|tables| tables.sums.values().filter(wanted).cloned().collect())
    }

    fn failures_at_meter(
        &mut self,
        meter: MeterPan,
        after_ms: i64,
        most: u32,
    ) -> Result<Vec<i64>, StoreError> {
        self.read(|tables| tables.failures(after_ms, most, |_, at| at == meter))
    }

    fn failures_of_client(&mut self, client: i64, after_ms: i64, most: u32) -> Result<Vec<i64>, StoreError> {
        self.read(|tables| tables.failures(after_ms, most, |of, _| of == client))
    }

    fn sums_of_day(&mut self, day: i64) -> Result<Vec<DaySum>, StoreError> {
        self.read(|tables| tables.sums.values().filter(|sum| sum.day == day).cloned().collect())
    }

    fn foreign_tokens(&mut self) -> Vec<i64> {
        Vec::new()
    }

    fn sign_of_life(&mut self) -> Result<Option<SignOfLife>, StoreError> {
        self.read(|tables| tables.sign_of_life)
    }

    fn last_checkpoint(&mut self) -> Result<Option<String>, StoreError> {
        self.read(|tables| tables.checkpoints.values().next_back().cloned())
    }
}

impl Transaction for Connection {
    const BELIEVED: Duration = Duration::ZERO;

    fn begin(&mut self) -> Result<(), StoreError> {
        self.working = Some(self.read(Tables::clone)?);
        Ok(())
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        if let Some(tables) = self.working.take() {
            *self.shared.0.write().unwrap_or_else(PoisonError::into_inner) = tables;
        }
        Ok(())
    }

    fn roll_back(&mut self) {
        (self.working, self.saved) = (None, None);
    }

    fn savepoint(&mut self) -> Result<(), StoreError> {
        self.saved = self.working.clone();
        Ok(())
    }

    fn roll_back_to_savepoint(&mut self) -> Result<(), StoreError> {
        self.working = self.saved.clone();
        Ok(())
    }

    fn release_savepoint(&mut self) -> Result<(), StoreError> {
        self.saved = None;
        Ok(())
    }

    fn writes_of_others(&mut self) -> Result<i64, StoreError> {
        Ok(0)
    }

    fn insert(&mut self, table: Table, columns: &[(&'static str, Value)]) -> Result<i64, StoreError> {
        let tables = self.write()?;
        let number = if table == Table::SealIndex { 1 } else { tables.next_number() };
        let value = |name: &&'static str| {
            columns.iter().find(|(column, _)| column == name).map_or(Value::Null, |(_, value)| value.clone())
        };
        let values = table.columns().iter().map(value).collect();
        tables.rows.insert((table, number), Row { table, number, seal: None, values });
        Ok(number)
    }

    fn update(
        &mut self,
        table: Table,
        number: i64,
        columns: &[(&'static str, Value)],
    ) -> Result<(), StoreError> {
        let row = self.write()?.rows.get_mut(&(table, number));
        let Some(row) = row else { return defect("there is no such row") };
        for (column, value) in columns {
            let place = table.columns().iter().position(|known| known == column);
            match place.and_then(|place| row.values.get_mut(place)) {
                Some(kept) => kept.clone_from(value),
                None => return defect("there is no such column"),
            }
        }
        Ok(())
    }

    fn put_seal(&mut self, table: Table, number: i64, seal: [u8; 32]) -> Result<(), StoreError> {
        let row = self.write()?.rows.get_mut(&(table, number));
        let Some(row) = row else { return defect("there is no such row") };
        row.seal = Some(seal);
        Ok(())
    }

    fn delete(&mut self, table: Table, number: i64) -> Result<(), StoreError> {
        self.write()?.rows.remove(&(table, number));
        Ok(())
    }

    fn create_chain(&mut self, end: &ChainEnd) -> Result<(), StoreError> {
        self.write()?.chain.get_or_insert(Chain { end: *end, floors: Floors::default() });
        Ok(())
    }

    fn put_chain_end(&mut self, end: &ChainEnd) -> Result<(), StoreError> {
        self.write()?.chain.iter_mut().for_each(|chain| chain.end = *end);
        Ok(())
    }

    fn put_floors(&mut self, floors: &Floors) -> Result<(), StoreError> {
        self.write()?.chain.iter_mut().for_each(|chain| chain.floors = *floors);
        Ok(())
    }

    fn insert_acts(&mut self, acts: &[ActRow]) -> Result<(), StoreError> {
        self.write()?.acts.extend(acts.iter().map(|act| (act.position, act.clone())));
        Ok(())
    }

    fn insert_tokens(&mut self, rows: &mut dyn Iterator<Item = NewRow<'_>>) -> Result<(), StoreError> {
        let tables = self.write()?;
        for NewRow { issued, numbers } in rows {
            let row = &issued.row;
            let sequence = row.sequence.value();
            if tables.requests.insert((numbers.client, row.request_id), sequence).is_some() {
                return defect("a request has a row");
            }
            if let RowContent::Sequenced { meter, base_date, tid, .. } = &row.content {
                let known = tables.tids.entry((*meter, *base_date)).or_default();
                if known.last >= Some(*tid) {
                    return defect("a token identifier would be given twice");
                }
                *known = LastTids { last: Some(*tid), issued: Some(*tid) };
            }
            let fields = RowFields {
                sequence,
                client: row.client,
                credential: row.credential.clone(),
                request_id: row.request_id,
                request_hash: row.request_hash,
                issued_ms: row.issued_ms,
                content: ContentFields::from(&row.content),
                hash: issued.hash,
            };
            tables.tokens.insert(sequence, (numbers, fields));
        }
        Ok(())
    }

    fn put_sums(&mut self, sums: &[DaySum]) -> Result<(), StoreError> {
        let tables = self.write()?;
        for sum in sums {
            tables.sums.insert((sum.client, sum.day, sum.kind.to_string()), sum.clone());
        }
        Ok(())
    }

    fn raise_last_tids(&mut self, tids: &[(MeterPan, BaseDate, Tid)]) -> Result<(), StoreError> {
        let tables = self.write()?;
        for (meter, base_date, tid) in tids {
            tables.tids.entry((*meter, *base_date)).or_default().last = Some(*tid);
        }
        Ok(())
    }

    fn lower_last_tid(
        &mut self,
        meter: (MeterPan, BaseDate),
        from: Tid,
        to: Tid,
        _by: Option<ClientId>,
        _at_ms: i64,
    ) -> Result<(), StoreError> {
        let known = self.write()?.tids.entry(meter).or_default();
        if known.last != Some(from) {
            return defect("the last TID is another");
        }
        known.last = Some(to);
        Ok(())
    }

    fn insert_failure(
        &mut self,
        client: i64,
        meter: MeterPan,
        at_ms: i64,
        forget_until_ms: i64,
    ) -> Result<i64, StoreError> {
        let tables = self.write()?;
        tables.failures.retain(|_, (_, _, at_ms)| *at_ms > forget_until_ms);
        let number = tables.next_number();
        tables.failures.insert(number, (client, meter, at_ms));
        Ok(number)
    }

    fn delete_failure(&mut self, number: i64) -> Result<(), StoreError> {
        self.write()?.failures.remove(&number);
        Ok(())
    }

    fn put_sign_of_life(&mut self, sign: &SignOfLife) -> Result<(), StoreError> {
        self.write()?.sign_of_life = Some(*sign);
        Ok(())
    }

    fn insert_checkpoint(&mut self, number: i64, text: &str, forget_until: i64) -> Result<(), StoreError> {
        let tables = self.write()?;
        tables.checkpoints.insert(number, text.to_owned());
        tables.checkpoints.retain(|number, _| *number > forget_until);
        Ok(())
    }
}

mod tests {
    use super::*;
    use crate::store::contract::tests::{Factory, contract_suite, sealer};

    impl Factory for Memory {
        type Engine = MemoryEngine;

        fn open(&self) -> MemoryStore {
            self.open(sealer()).unwrap()
        }
    }

    contract_suite!(Memory);
}
