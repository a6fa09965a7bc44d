//! Writing.

use std::time::Duration;

use super::{Connection, Tables, defect};
use crate::audit::{ActRow, ChainEnd, Hash, Head};
use crate::clock::SignOfLife;
use crate::id::ClientId;
use crate::ledger::{ContentFields, Floors, LastTids, RefusedCalls, RowContent, RowFields};
use crate::store::engine::{DaySum, HourSum, NewChain, NewRow, Row, Table, Transaction, Value};
use crate::store::{Job, ServerState, StoreError};
use crate::sts::attributes::BaseDate;
use crate::sts::meter::MeterPan;
use crate::sts::tid::Tid;

impl Transaction for Connection {
    // Long, so that what others write is told by its count alone.
    const BELIEVED: Duration = Duration::from_secs(60);

    const SEVERAL: bool = true;

    fn begin(&mut self) -> Result<(), StoreError> {
        self.end();
        self.shared.begin_writing();
        self.working = Some(self.shared.tables().clone());
        Ok(())
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        if let Some(tables) = self.working.clone() {
            *self.shared.tables_mut() = tables;
        }
        self.end();
        Ok(())
    }

    fn roll_back(&mut self) {
        self.end();
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

    fn lock_rows(&mut self) -> Result<(), StoreError> {
        // Transactions come one after another.
        Ok(())
    }

    fn writes_of_others(&mut self) -> Result<i64, StoreError> {
        let of_others = |tables: &Tables| {
            tables.writes.iter().filter(|(by, _)| **by != self.server).map(|(_, n)| n).sum()
        };
        self.read(of_others)
    }

    fn insert(&mut self, table: Table, columns: &[(&'static str, Value)]) -> Result<i64, StoreError> {
        let tables = self.write_row()?;
        let number =
            if matches!(table, Table::SealIndex | Table::LedgerWalk) { 1 } else { tables.next_number() };
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
        let row = self.write_row()?.rows.get_mut(&(table, number));
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
        let row = self.write_row()?.rows.get_mut(&(table, number));
        let Some(row) = row else { return defect("there is no such row") };
        row.seal = Some(seal);
        Ok(())
    }

    fn delete(&mut self, table: Table, number: i64) -> Result<(), StoreError> {
        self.write_row()?.rows.remove(&(table, number));
        Ok(())
    }

    fn create_chain(&mut self, new: &NewChain) -> Result<(), StoreError> {
        let number = self.server;
        let head = Head { chain: new.id, position: 0, hash: Hash::START };
        let end = ChainEnd { number, head, salts: new.salts, at_ms: 0 };
        self.write()?.chains.entry(number).or_insert(end);
        Ok(())
    }

    fn put_chain_end(&mut self, end: &ChainEnd) -> Result<(), StoreError> {
        let server = self.server;
        self.write()?.chains.insert(server, *end);
        Ok(())
    }

    fn put_floors(&mut self, floors: &Floors) -> Result<(), StoreError> {
        self.write()?.floors = *floors;
        Ok(())
    }

    fn insert_acts(&mut self, acts: &[ActRow]) -> Result<(), StoreError> {
        let server = self.server;
        self.write()?.acts.extend(acts.iter().map(|act| ((server, act.position), act.clone())));
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

    fn put_sums(&mut self, sums: &[DaySum], vended: &[HourSum]) -> Result<(), StoreError> {
        let tables = self.write()?;
        for sum in sums {
            tables.sums.insert((sum.client, sum.day, sum.kind.to_string()), sum.clone());
        }
        for HourSum { hour, configuration, kind, sum } in vended {
            tables.vended.entry((*hour, *configuration, kind.to_string())).or_default().add(*sum);
        }
        Ok(())
    }

    fn add_refused(&mut self, refused: &RefusedCalls) -> Result<(), StoreError> {
        let tables = self.write()?;
        *tables.refused.entry((refused.hour, refused.reason.clone())).or_default() += refused.calls;
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
        let (server, now_ms) = (self.server, self.shared.now_ms());
        let tables = self.write()?;
        tables.signs.insert(server, *sign);
        if let Some(known) = tables.servers.get_mut(&server) {
            known.last_life_ms = now_ms.or(Some(sign.moment.wall_ms));
        }
        Ok(())
    }

    fn put_server(&mut self, state: &ServerState) -> Result<(), StoreError> {
        let server = self.server;
        if let Some(known) = self.write()?.servers.get_mut(&server) {
            known.state = Some(state.clone());
        }
        Ok(())
    }

    fn take_lease(&mut self, job: Job, for_ms: i64) -> Result<bool, StoreError> {
        let (server, now_ms) = (self.server, self.shared.now_ms().unwrap_or_default());
        let tables = self.write()?;
        let free =
            tables.leases.get(&job).is_none_or(|(holder, until)| *holder == server || *until <= now_ms);
        if free {
            tables.leases.insert(job, (server, now_ms.saturating_add(for_ms)));
        }
        Ok(free)
    }

    fn insert_checkpoint(&mut self, number: i64, text: &str, forget_until: i64) -> Result<(), StoreError> {
        let tables = self.write()?;
        tables.checkpoints.insert(number, text.to_owned());
        tables.checkpoints.retain(|number, _| *number > forget_until);
        Ok(())
    }
}
