//! The contract of engines, kept by a connection to PostgreSQL.

use std::time::Duration;

use uuid::Uuid;

use super::connection::Connection;
use super::transaction::{Role, Writer};
use super::{Postgres, chain, ledger, meters, report, rows, server, usage};
use crate::audit::{Act, ActRow, ChainEnd, ChainNumber, Hash};
use crate::clock::SignOfLife;
use crate::id::{ApprovalId, ClientId, ConfigurationId};
use crate::ledger::{Floors, Hours, LastTids, RefusedCalls, RowFields, Sequence, TokenFilter};
use crate::store::engine::{
    Asked, Behind, Chain, DaySum, FoundRow, HourSum, Kept, Known, NewChain, NewRow, NumberedSeal, Row,
    RowPage, Select, Table, Transaction, Value, View,
};
use crate::store::{Job, Server, ServerState, StoreError};
use crate::sts::attributes::BaseDate;
use crate::sts::meter::MeterPan;
use crate::sts::tid::Tid;

impl<W: Role> Postgres<W> {
    /// The connection, in the transaction that is due.
    pub(super) fn ready(&mut self) -> Result<&mut Connection, StoreError> {
        self.role.start(&mut self.connection)?;
        Ok(&mut self.connection)
    }
}

impl Postgres<Writer> {
    /// The connection, in a transaction that is known to write rows under seal.
    fn row_writer(&mut self) -> Result<&mut Connection, StoreError> {
        self.role.note_write(&mut self.connection)?;
        Ok(&mut self.connection)
    }
}

impl<W: Role> View for Postgres<W> {
    fn begin_snapshot(&mut self) -> Result<(), StoreError> {
        // One that a query which panicked has left is ended with it.
        self.end_snapshot();
        if !self.role.is_writing() {
            self.connection.batch("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")?;
            self.connection.hold();
            self.in_snapshot = true;
        }
        Ok(())
    }

    fn end_snapshot(&mut self) {
        if std::mem::take(&mut self.in_snapshot) {
            if self.connection.is_live()
                && let Err(error) = self.connection.batch("ROLLBACK")
            {
                tracing::error!(%error, "a view of the database cannot be ended");
                self.connection.give_up();
            }
            self.connection.release();
        }
    }

    fn rows(&mut self, select: &Select) -> Result<Vec<Row>, StoreError> {
        rows::select(self.ready()?, select)
    }

    fn seals(&mut self, table: Table) -> Result<Vec<NumberedSeal>, StoreError> {
        rows::seals(self.ready()?, table)
    }

    fn chain(&mut self) -> Result<Chain, StoreError> {
        if self.role.is_writing() && std::mem::take(&mut self.refused) {
            let server = self.server;
            self.foreign = super::foreign(self.ready()?, server)?;
        }
        match self.role.chain(&mut self.connection)? {
            Some(chain) => Ok(chain),
            None => chain::read(&mut self.connection, self.server),
        }
    }

    fn chains(&mut self) -> Result<Vec<ChainEnd>, StoreError> {
        chain::all(self.ready()?)
    }

    fn acts(&mut self, chain: ChainNumber, after: u64, most: usize) -> Result<Vec<ActRow>, StoreError> {
        chain::acts(self.ready()?, chain, after, most)
    }

    fn has_act_after(
        &mut self,
        chain: ChainNumber,
        position: u64,
        kinds: &[&str],
    ) -> Result<bool, StoreError> {
        chain::has_act_after(self.ready()?, chain, position, kinds)
    }

    fn has_act(&mut self, kind: &str, details: &str) -> Result<bool, StoreError> {
        chain::has_act(self.ready()?, kind, details)
    }

    fn act_of_approval(&mut self, approval: ApprovalId) -> Result<Option<Act>, StoreError> {
        chain::act_of_approval(self.ready()?, approval)
    }

    fn record_hash(&mut self, chain: ChainNumber, position: u64) -> Result<Option<Hash>, StoreError> {
        chain::hash_at(self.ready()?, chain, position)
    }

    fn record_hashes(&mut self, records: &[Sequence]) -> Result<Vec<Option<Hash>>, StoreError> {
        if records.is_empty() { Ok(Vec::new()) } else { ledger::hashes(self.ready()?, records) }
    }

    fn records_behind(&mut self, records: &[Sequence]) -> Result<Vec<Option<Behind>>, StoreError> {
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let mut behind = ledger::next(self.ready()?, records)?;
        for (record, behind) in records.iter().zip(&mut behind) {
            // Behind a gap, or none: rare.
            if behind.is_none() {
                *behind = Behind::read(self, *record)?;
            }
        }
        Ok(behind)
    }

    fn tokens_after(
        &mut self,
        chain: ChainNumber,
        position: u64,
        most: usize,
    ) -> Result<Vec<RowFields>, StoreError> {
        ledger::after(self.ready()?, chain, position, most)
    }

    fn kept_tokens(
        &mut self,
        chain: ChainNumber,
        position: u64,
        most: usize,
    ) -> Result<Vec<Kept<RowFields>>, StoreError> {
        ledger::kept(self.ready()?, chain, position, most)
    }

    fn kept_acts(
        &mut self,
        chain: ChainNumber,
        position: u64,
        most: usize,
    ) -> Result<Vec<Kept<ActRow>>, StoreError> {
        chain::kept_acts(self.ready()?, chain, position, most)
    }

    fn token(&mut self, sequence: Sequence) -> Result<Option<RowFields>, StoreError> {
        ledger::get_row(self.ready()?, sequence)
    }

    fn tokens_of_requests(&mut self, requests: &[(i64, Uuid)]) -> Result<Vec<FoundRow>, StoreError> {
        if requests.is_empty() {
            return Ok(Vec::new());
        }
        ledger::found(&self.ready()?.query_sql(ledger::of_requests(requests))?)
    }

    fn token_of_tid(
        &mut self,
        meter: MeterPan,
        base_date: BaseDate,
        tid: Tid,
    ) -> Result<Option<RowFields>, StoreError> {
        ledger::of_tid(self.ready()?, meter, base_date, tid)
    }

    fn key_changes(
        &mut self,
        meter: MeterPan,
        configuration: ConfigurationId,
        most: usize,
    ) -> Result<Vec<RowFields>, StoreError> {
        ledger::key_changes(self.ready()?, meter, configuration, most)
    }

    fn list_tokens(
        &mut self,
        chain: ChainNumber,
        filter: &TokenFilter,
        after: u64,
        size: u32,
    ) -> Result<RowPage, StoreError> {
        ledger::list(self.ready()?, chain, filter, after, size)
    }

    fn last_tids(&mut self, meters: &[(MeterPan, BaseDate)]) -> Result<Vec<LastTids>, StoreError> {
        let lock = self.role.locks_meters();
        meters::tids(meters, &self.ready()?.query_sql(meters::of_meters(meters, lock))?)
    }

    fn sums(&mut self, clients: &[i64], first: i64, last: i64) -> Result<Vec<DaySum>, StoreError> {
        let server = self.server;
        self.role.start(&mut self.connection)?;
        let found = self.connection.query_sql(usage::of_days(clients, first, last))?;
        usage::summed(server, self.role.others(), &found)
    }

    fn failures_at_meter(
        &mut self,
        meter: MeterPan,
        after_ms: i64,
        most: u32,
    ) -> Result<Vec<i64>, StoreError> {
        usage::failures_at_meter(self.ready()?, meter, after_ms, most)
    }

    fn failures_of_client(&mut self, client: i64, after_ms: i64, most: u32) -> Result<Vec<i64>, StoreError> {
        usage::failures_of_client(self.ready()?, client, after_ms, most)
    }

    fn sums_of_day(&mut self, day: i64) -> Result<Vec<DaySum>, StoreError> {
        let server = self.server;
        self.role.start(&mut self.connection)?;
        usage::sums_of_day(&mut self.connection, server, self.role.others(), day)
    }

    fn sums_of_days(&mut self, first: i64, last: i64) -> Result<Vec<DaySum>, StoreError> {
        let server = self.server;
        usage::sums_of_days(self.ready()?, server, first, last)
    }

    fn vended_hours(&mut self, hours: Hours) -> Result<Vec<HourSum>, StoreError> {
        report::vended(self.ready()?, hours)
    }

    fn first_sums(&mut self) -> Result<(Option<i64>, Option<i64>), StoreError> {
        report::first_sums(self.ready()?)
    }

    fn refused_hours(&mut self, hours: Hours) -> Result<Vec<RefusedCalls>, StoreError> {
        report::refused(self.ready()?, hours)
    }

    fn foreign_tokens(&mut self) -> Vec<i64> {
        self.foreign.clone()
    }

    fn sign_of_life(&mut self) -> Result<Option<SignOfLife>, StoreError> {
        let server = self.server;
        server::sign(self.ready()?, server)
    }

    fn servers(&mut self) -> Result<Vec<Server>, StoreError> {
        server::all(self.ready()?)
    }

    fn now_ms(&mut self) -> Result<Option<i64>, StoreError> {
        server::now_ms(self.ready()?)
    }

    fn last_checkpoint(&mut self) -> Result<Option<String>, StoreError> {
        chain::last_checkpoint(self.ready()?)
    }

    fn checkpoints(&mut self, after: i64, most: usize) -> Result<Vec<(i64, String)>, StoreError> {
        chain::checkpoints(self.ready()?, after, most)
    }
}

impl Transaction for Postgres<Writer> {
    // Others are told by the number of writes: this is for what a person changes by hand.
    const BELIEVED: Duration = Duration::from_secs(1);

    const SEVERAL: bool = true;

    fn begin(&mut self) -> Result<(), StoreError> {
        self.role.begin();
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        self.connection.flush()
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        self.role.commit(&mut self.connection)
    }

    fn roll_back(&mut self) {
        // Perhaps the number of a record is taken: the next transaction goes on behind whoever has it.
        self.refused |= self.connection.has_met();
        self.role.roll_back(&mut self.connection);
    }

    fn savepoint(&mut self) -> Result<(), StoreError> {
        self.role.savepoint(&mut self.connection)
    }

    fn roll_back_to_savepoint(&mut self) -> Result<(), StoreError> {
        self.role.roll_back_to_savepoint(&mut self.connection)
    }

    fn release_savepoint(&mut self) -> Result<(), StoreError> {
        self.connection.batch("RELEASE SAVEPOINT command")
    }

    fn lock_rows(&mut self) -> Result<(), StoreError> {
        self.role.lock_rows(&mut self.connection)
    }

    fn known(&mut self, asked: &Asked) -> Result<Known, StoreError> {
        let (server, lock) = (self.server, self.role.locks_meters());
        self.role.start(&mut self.connection)?;
        let mut sql = Vec::new();
        if !asked.limited.is_empty() {
            sql.push(usage::lock(&asked.limited));
        }
        let locks = sql.len();
        sql.extend(asked.days.iter().map(|(day, clients)| usage::of_days(clients, *day, *day)));
        if !asked.meters.is_empty() {
            sql.push(meters::of_meters(&asked.meters, lock));
        }
        if !asked.requests.is_empty() {
            sql.push(ledger::of_requests(&asked.requests));
        }
        let mut found = self.connection.query_all(&sql)?.into_iter().skip(locks);
        let mut next = |asked: bool| if asked { found.next() } else { None }.unwrap_or_default();
        let mut known = Known::default();
        for _ in &asked.days {
            known.sums.extend(usage::summed(server, self.role.others(), &next(true))?);
        }
        known.tids = meters::tids(&asked.meters, &next(!asked.meters.is_empty()))?;
        known.rows = ledger::found(&next(!asked.requests.is_empty()))?;
        Ok(known)
    }

    fn writes_of_others(&mut self) -> Result<i64, StoreError> {
        self.role.writes_of_others(&mut self.connection)
    }

    fn insert(&mut self, table: Table, columns: &[(&'static str, Value)]) -> Result<i64, StoreError> {
        rows::insert(self.row_writer()?, table, columns)
    }

    fn update(
        &mut self,
        table: Table,
        number: i64,
        columns: &[(&'static str, Value)],
    ) -> Result<(), StoreError> {
        rows::update(self.row_writer()?, table, number, columns)
    }

    fn put_seal(&mut self, table: Table, number: i64, seal: [u8; 32]) -> Result<(), StoreError> {
        rows::put_seal(self.row_writer()?, table, number, seal)
    }

    fn delete(&mut self, table: Table, number: i64) -> Result<(), StoreError> {
        rows::delete(self.row_writer()?, table, number)
    }

    fn create_chain(&mut self, new: &NewChain) -> Result<(), StoreError> {
        let server = self.server;
        chain::create(self.ready()?, server, new)?;
        let chain = chain::read(&mut self.connection, server)?;
        self.role.set_chain(chain);
        Ok(())
    }

    fn put_chain_end(&mut self, end: &ChainEnd) -> Result<(), StoreError> {
        chain::put_end(self.ready()?, end)
    }

    fn put_floors(&mut self, floors: &Floors) -> Result<(), StoreError> {
        // They hold for every server at once.
        self.role.lock_rows(&mut self.connection)?;
        chain::put_floors(&mut self.connection, floors)
    }

    fn insert_acts(&mut self, acts: &[ActRow]) -> Result<(), StoreError> {
        let server = self.server;
        chain::insert_acts(self.ready()?, server, acts)
    }

    fn insert_tokens(&mut self, rows: &mut dyn Iterator<Item = NewRow<'_>>) -> Result<(), StoreError> {
        ledger::insert(self.ready()?, rows);
        Ok(())
    }

    fn put_sums(&mut self, sums: &[DaySum], vended: &[HourSum]) -> Result<(), StoreError> {
        let server = self.server;
        self.role.start(&mut self.connection)?;
        usage::put_sums(&mut self.connection, server, self.role.others(), sums, vended);
        Ok(())
    }

    fn add_refused(&mut self, refused: &RefusedCalls) -> Result<(), StoreError> {
        let server = self.server;
        report::add_refused(self.ready()?, server, refused)
    }

    fn raise_last_tids(&mut self, tids: &[(MeterPan, BaseDate, Tid)]) -> Result<(), StoreError> {
        meters::raise(self.ready()?, tids);
        Ok(())
    }

    fn lower_last_tid(
        &mut self,
        meter: (MeterPan, BaseDate),
        from: Tid,
        to: Tid,
        by: Option<ClientId>,
        at_ms: i64,
    ) -> Result<(), StoreError> {
        meters::lower(self.ready()?, meter, from, to, by, at_ms)
    }

    fn insert_failure(
        &mut self,
        client: i64,
        meter: MeterPan,
        at_ms: i64,
        forget_until_ms: i64,
    ) -> Result<i64, StoreError> {
        usage::insert_failure(self.ready()?, client, meter, at_ms, forget_until_ms)
    }

    fn delete_failure(&mut self, number: i64) -> Result<(), StoreError> {
        usage::delete_failure(self.ready()?, number)
    }

    fn put_sign_of_life(&mut self, sign: &SignOfLife) -> Result<(), StoreError> {
        let server = self.server;
        server::put_sign(self.ready()?, server, sign)
    }

    fn put_server(&mut self, state: &ServerState) -> Result<(), StoreError> {
        let server = self.server;
        server::put_state(self.ready()?, server, state)
    }

    fn take_lease(&mut self, job: Job, for_ms: i64) -> Result<bool, StoreError> {
        let server = self.server;
        server::take_lease(self.ready()?, server, job, for_ms)
    }

    fn insert_checkpoint(&mut self, number: i64, text: &str, forget_until: i64) -> Result<(), StoreError> {
        chain::insert_checkpoint(self.ready()?, number, text, forget_until)
    }
}
