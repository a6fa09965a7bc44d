//! The contract of engines, kept by a connection to SQLite. Bulk is a loop over a prepared
//! statement.

use std::time::Duration;

use uuid::Uuid;

use super::failure::{Stage, store_error};
use super::{Sqlite, Writer, chain, heartbeat, ledger, report, rows, server, usage};
use crate::audit::{Act, ActRow, ChainEnd, ChainNumber, Hash};
use crate::clock::SignOfLife;
use crate::id::{ApprovalId, ClientId, ConfigurationId};
use crate::ledger::{Floors, Hours, LastTids, RefusedCalls, RowFields, Sequence, TokenFilter};
use crate::store::engine::{
    Chain, DaySum, FoundRow, HourSum, Kept, NewChain, NewRow, NumberedSeal, Row, RowPage, Select, Table,
    Transaction, Value, View,
};
use crate::store::{Job, Server, ServerState, StoreError};
use crate::sts::attributes::BaseDate;
use crate::sts::meter::MeterPan;
use crate::sts::tid::Tid;

impl<W> Sqlite<W> {
    fn statement(&self, sql: &str, stage: Stage) -> Result<(), StoreError> {
        self.prepare_cached(sql)
            .and_then(|mut statement| statement.execute([]))
            .map(|_| ())
            .map_err(|error| store_error(&error, stage))
    }
}

impl Sqlite<Writer> {
    /// Forgets what may have been taken back: the database must be asked.
    fn forget(&mut self) {
        self.unmerged().doubt();
        if let Some(highest) = &mut self.highest_requests {
            highest.forget();
        }
    }
}

impl<W: Send + 'static> View for Sqlite<W> {
    fn begin_snapshot(&mut self) -> Result<(), StoreError> {
        // One that a query which panicked has left is ended with it.
        self.end_snapshot();
        if self.is_autocommit() {
            self.statement("BEGIN", Stage::Before)?;
            self.in_snapshot = true;
        }
        Ok(())
    }

    fn end_snapshot(&mut self) {
        if std::mem::take(&mut self.in_snapshot)
            && let Err(error) = self.statement("ROLLBACK", Stage::Before)
        {
            tracing::error!(%error, "a view of the database cannot be ended");
        }
    }

    fn rows(&mut self, select: &Select) -> Result<Vec<Row>, StoreError> {
        rows::select(self, select)
    }

    fn seals(&mut self, table: Table) -> Result<Vec<NumberedSeal>, StoreError> {
        rows::seals(self, table)
    }

    fn chain(&mut self) -> Result<Chain, StoreError> {
        chain::read(self)
    }

    fn chains(&mut self) -> Result<Vec<ChainEnd>, StoreError> {
        Ok(if chain::exists(self)? { vec![chain::read(self)?.end] } else { Vec::new() })
    }

    fn acts(&mut self, chain: ChainNumber, after: u64, most: usize) -> Result<Vec<ActRow>, StoreError> {
        if chain == ChainNumber::FIRST { chain::acts(self, after, most) } else { Ok(Vec::new()) }
    }

    fn has_act_after(
        &mut self,
        chain: ChainNumber,
        position: u64,
        kinds: &[&str],
    ) -> Result<bool, StoreError> {
        Ok(chain == ChainNumber::FIRST && chain::has_act_after(self, position, kinds)?)
    }

    fn has_act(&mut self, kind: &str, details: &str) -> Result<bool, StoreError> {
        chain::has_act(self, kind, details)
    }

    fn act_of_approval(&mut self, approval: ApprovalId) -> Result<Option<Act>, StoreError> {
        chain::act_of_approval(self, approval)
    }

    fn record_hash(&mut self, chain: ChainNumber, position: u64) -> Result<Option<Hash>, StoreError> {
        if chain == ChainNumber::FIRST { chain::hash_at(self, position) } else { Ok(None) }
    }

    fn tokens_after(
        &mut self,
        chain: ChainNumber,
        position: u64,
        most: usize,
    ) -> Result<Vec<RowFields>, StoreError> {
        if chain == ChainNumber::FIRST { ledger::after(self, position, most) } else { Ok(Vec::new()) }
    }

    fn kept_tokens(
        &mut self,
        chain: ChainNumber,
        position: u64,
        most: usize,
    ) -> Result<Vec<Kept<RowFields>>, StoreError> {
        if chain == ChainNumber::FIRST { ledger::kept(self, position, most) } else { Ok(Vec::new()) }
    }

    fn kept_acts(
        &mut self,
        chain: ChainNumber,
        position: u64,
        most: usize,
    ) -> Result<Vec<Kept<ActRow>>, StoreError> {
        if chain == ChainNumber::FIRST { chain::kept_acts(self, position, most) } else { Ok(Vec::new()) }
    }

    fn token(&mut self, sequence: Sequence) -> Result<Option<RowFields>, StoreError> {
        ledger::get(self, sequence)
    }

    fn tokens_of_requests(&mut self, requests: &[(i64, Uuid)]) -> Result<Vec<FoundRow>, StoreError> {
        self.of_requests(requests)
    }

    fn token_of_tid(
        &mut self,
        meter: MeterPan,
        base_date: BaseDate,
        tid: Tid,
    ) -> Result<Option<RowFields>, StoreError> {
        ledger::of_tid(self, meter, base_date, tid)
    }

    fn key_changes(
        &mut self,
        meter: MeterPan,
        configuration: ConfigurationId,
        most: usize,
    ) -> Result<Vec<RowFields>, StoreError> {
        ledger::key_changes(self, meter, configuration, most)
    }

    fn list_tokens(
        &mut self,
        chain: ChainNumber,
        filter: &TokenFilter,
        after: u64,
        size: u32,
    ) -> Result<RowPage, StoreError> {
        if chain == ChainNumber::FIRST {
            ledger::list(self, filter, after, size)
        } else {
            Ok(RowPage::default())
        }
    }

    fn last_tids(&mut self, meters: &[(MeterPan, BaseDate)]) -> Result<Vec<LastTids>, StoreError> {
        self.tids(meters)
    }

    fn sums(&mut self, clients: &[i64], first: i64, last: i64) -> Result<Vec<DaySum>, StoreError> {
        usage::sums(self, clients, first, last)
    }

    fn failures_at_meter(
        &mut self,
        meter: MeterPan,
        after_ms: i64,
        most: u32,
    ) -> Result<Vec<i64>, StoreError> {
        usage::failures_at_meter(self, meter, after_ms, most)
    }

    fn failures_of_client(&mut self, client: i64, after_ms: i64, most: u32) -> Result<Vec<i64>, StoreError> {
        usage::failures_of_client(self, client, after_ms, most)
    }

    fn sums_of_day(&mut self, day: i64) -> Result<Vec<DaySum>, StoreError> {
        usage::sums_of_day(self, day)
    }

    fn sums_of_days(&mut self, first: i64, last: i64) -> Result<Vec<DaySum>, StoreError> {
        usage::sums_of_days(self, first, last)
    }

    fn vended_hours(&mut self, hours: Hours) -> Result<Vec<HourSum>, StoreError> {
        report::vended(self, hours)
    }

    fn first_sums(&mut self) -> Result<(Option<i64>, Option<i64>), StoreError> {
        report::first_sums(self)
    }

    fn refused_hours(&mut self, hours: Hours) -> Result<Vec<RefusedCalls>, StoreError> {
        report::refused(self, hours)
    }

    fn foreign_tokens(&mut self) -> Vec<i64> {
        self.unmerged().foreign()
    }

    fn sign_of_life(&mut self) -> Result<Option<SignOfLife>, StoreError> {
        heartbeat::last(self)
    }

    fn servers(&mut self) -> Result<Vec<Server>, StoreError> {
        Ok(vec![server::read(self)?])
    }

    fn now_ms(&mut self) -> Result<Option<i64>, StoreError> {
        Ok(None)
    }

    fn last_checkpoint(&mut self) -> Result<Option<String>, StoreError> {
        chain::last_checkpoint(self)
    }

    fn checkpoints(&mut self, after: i64, most: usize) -> Result<Vec<(i64, String)>, StoreError> {
        chain::checkpoints(self, after, most)
    }
}

impl Transaction for Sqlite<Writer> {
    // The lock keeps other servers out: this is for what a person changes by hand.
    const BELIEVED: Duration = Duration::from_secs(1);

    const SEVERAL: bool = false;

    fn begin(&mut self) -> Result<(), StoreError> {
        (self.writer.tokens_written, self.writer.tokens_at_savepoint) = (0, 0);
        self.statement("BEGIN IMMEDIATE", Stage::Before)?;
        self.writer.claim.as_ref().map_or(Ok(()), |claim| claim.check(self))?;
        self.know_unmerged()
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        if self.writer.tokens_written > 0 {
            self.merge_unmerged()?;
        }
        self.statement("COMMIT", Stage::Commit)?;
        self.unmerged().committed();
        Ok(())
    }

    fn roll_back(&mut self) {
        self.forget();
        // SQLite may have rolled back by itself already, which is no error.
        if !self.is_autocommit()
            && let Err(error) = self.statement("ROLLBACK", Stage::Before)
        {
            tracing::error!(%error, "the store cannot roll back");
        }
        // Before anybody hears of the failure and looks. If it fails, the next transaction will do
        // it.
        if let Err(error) = self.know_unmerged() {
            tracing::debug!(%error, "the unmerged rows could not be read");
        }
    }

    fn tidy_up(&mut self) {
        if let Some(log) = &self.writer.log {
            log.tend(self);
        }
    }

    fn savepoint(&mut self) -> Result<(), StoreError> {
        self.writer.tokens_at_savepoint = self.writer.tokens_written;
        self.statement("SAVEPOINT command", Stage::Before)
    }

    fn roll_back_to_savepoint(&mut self) -> Result<(), StoreError> {
        self.statement("ROLLBACK TO command", Stage::Before)?;
        if self.writer.tokens_written == self.writer.tokens_at_savepoint {
            return Ok(());
        }
        self.writer.tokens_written = self.writer.tokens_at_savepoint;
        self.forget();
        self.know_unmerged()
    }

    fn release_savepoint(&mut self) -> Result<(), StoreError> {
        self.statement("RELEASE command", Stage::Before)
    }

    fn lock_rows(&mut self) -> Result<(), StoreError> {
        // Whoever began a transaction that writes keeps all others out.
        Ok(())
    }

    fn writes_of_others(&mut self) -> Result<i64, StoreError> {
        Ok(self.prepare_cached("PRAGMA data_version")?.query_row((), |row| row.get(0))?)
    }

    fn insert(&mut self, table: Table, columns: &[(&'static str, Value)]) -> Result<i64, StoreError> {
        rows::insert(self, table, columns)
    }

    fn update(
        &mut self,
        table: Table,
        number: i64,
        columns: &[(&'static str, Value)],
    ) -> Result<(), StoreError> {
        rows::update(self, table, number, columns)
    }

    fn put_seal(&mut self, table: Table, number: i64, seal: [u8; 32]) -> Result<(), StoreError> {
        rows::put_seal(self, table, number, seal)
    }

    fn delete(&mut self, table: Table, number: i64) -> Result<(), StoreError> {
        rows::delete(self, table, number)
    }

    fn create_chain(&mut self, new: &NewChain) -> Result<(), StoreError> {
        chain::create(self, new)
    }

    fn put_chain_end(&mut self, end: &ChainEnd) -> Result<(), StoreError> {
        chain::put_end(self, end)
    }

    fn put_floors(&mut self, floors: &Floors) -> Result<(), StoreError> {
        chain::put_floors(self, floors)
    }

    fn insert_acts(&mut self, acts: &[ActRow]) -> Result<(), StoreError> {
        chain::insert_acts(self, acts)
    }

    fn insert_tokens(&mut self, rows: &mut dyn Iterator<Item = NewRow<'_>>) -> Result<(), StoreError> {
        self.insert_rows(rows)
    }

    fn put_sums(&mut self, sums: &[DaySum], vended: &[HourSum]) -> Result<(), StoreError> {
        usage::put_sums(self, sums)?;
        report::add_vended(self, vended)
    }

    fn add_refused(&mut self, refused: &RefusedCalls) -> Result<(), StoreError> {
        report::add_refused(self, refused)
    }

    fn raise_last_tids(&mut self, tids: &[(MeterPan, BaseDate, Tid)]) -> Result<(), StoreError> {
        self.raise(tids)
    }

    fn lower_last_tid(
        &mut self,
        meter: (MeterPan, BaseDate),
        from: Tid,
        to: Tid,
        by: Option<ClientId>,
        at_ms: i64,
    ) -> Result<(), StoreError> {
        self.lower(meter, from, to, by, at_ms)
    }

    fn insert_failure(
        &mut self,
        client: i64,
        meter: MeterPan,
        at_ms: i64,
        forget_until_ms: i64,
    ) -> Result<i64, StoreError> {
        usage::insert_failure(self, client, meter, at_ms, forget_until_ms)
    }

    fn delete_failure(&mut self, number: i64) -> Result<(), StoreError> {
        usage::delete_failure(self, number)
    }

    fn put_sign_of_life(&mut self, sign: &SignOfLife) -> Result<(), StoreError> {
        heartbeat::write(self, sign)
    }

    fn put_server(&mut self, state: &ServerState) -> Result<(), StoreError> {
        server::write(self, state)
    }

    fn take_lease(&mut self, _job: Job, _for_ms: i64) -> Result<bool, StoreError> {
        Ok(true)
    }

    fn insert_checkpoint(&mut self, number: i64, text: &str, forget_until: i64) -> Result<(), StoreError> {
        chain::insert_checkpoint(self, number, text, forget_until)
    }
}
