//! The connection of the committer, with what a transaction knows: the chain, and whether rows
//! under seal have changed.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use super::authority::Authority;
use super::engine::{Chain, Row, Select, Table, Transaction, Value};
use super::given::Given;
use super::reading::Reading;
use super::seals::CheckedRow;
use super::usual::UsualDays;
use super::{LostCommits, StoreError};
use crate::audit::{ActRow, Actor, ChainEnd, Entry, Head, NewAct};
use crate::ledger::{Floors, LAST_POSITION, Sequence};

/// More records than come between two checkpoints.
const FORGOTTEN: u64 = 100_000_000;

/// The connection that writes, and what the committer remembers.
#[derive(Debug)]
pub(crate) struct Writing<T> {
    reading: Reading<T>,
    state: State,
    pub(super) authority: Authority,
    pub(super) usual_days: UsualDays,
    pub(super) seal_index: SealIndex,
    /// The head of the chain as this server has last seen it committed.
    known: Option<Head>,
    /// The head that it has sent to be committed last: where nobody knows the outcome, it may be there.
    sent: Option<Head>,
    /// What clients were given, as this server has seen it last.
    pub(super) given: Given,
    pub(super) lost: Lost,
    /// Which multiple of a client's usual tokens of a day raises an alarm.
    pub(super) alarm_pace: u32,
}

/// What a transaction has come to so far. A savepoint is a copy of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct State {
    /// None: not loaded yet.
    chain: Option<Chain>,
    /// Whether records were appended that the end of the chain on the disk does not know.
    appended: bool,
    /// Whether rows under seal were written or deleted.
    changed_rows: bool,
    /// Whether what the database has lost is accepted.
    accepts_lost: bool,
}

/// What the database has forgotten, known to the committer and to whoever asks. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Lost(Arc<Mutex<Option<LostCommits>>>);

impl Lost {
    /// What it has forgotten, unless that was accepted.
    pub(super) fn found(&self) -> Option<LostCommits> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, lost: Option<LostCommits>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = lost;
    }
}

/// What the committer knows of the seal index.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SealIndex {
    /// Up to which of the writes of others it was checked.
    pub(super) checked: Option<i64>,
    /// Whether it was broken then. A broken one is not written any more: the next change must not
    /// make good what somebody else did.
    pub(super) broken: bool,
}

impl<T> Deref for Writing<T> {
    type Target = Reading<T>;

    fn deref(&self) -> &Reading<T> {
        &self.reading
    }
}

impl<T> DerefMut for Writing<T> {
    fn deref_mut(&mut self) -> &mut Reading<T> {
        &mut self.reading
    }
}

impl<T: Transaction> Writing<T> {
    pub(crate) fn new(reading: Reading<T>, alarm_pace: u32) -> Self {
        Self {
            reading,
            state: State::default(),
            authority: Authority::new(T::BELIEVED),
            usual_days: UsualDays::default(),
            seal_index: SealIndex::default(),
            known: None,
            sent: None,
            given: Given::default(),
            lost: Lost::default(),
            alarm_pace,
        }
    }

    /// Begins a transaction.
    pub(super) fn begin(&mut self) -> Result<(), StoreError> {
        self.state = State::default();
        self.view.begin()
    }

    /// Writes what is written once for each transaction, its last statements.
    pub(super) fn finish(&mut self) -> Result<(), StoreError> {
        self.update_seal_index()?;
        match self.state.chain.filter(|_| self.state.appended) {
            Some(chain) => self.view.put_chain_end(&chain.end),
            None => Ok(()),
        }
    }

    /// Makes it durable.
    pub(super) fn commit(&mut self) -> Result<(), StoreError> {
        if let Some(chain) = self.state.chain {
            self.sent = Some(chain.end.head);
        }
        self.view.commit()?;
        if let Some(chain) = self.state.chain {
            self.known = Some(chain.end.head);
        }
        if self.state.accepts_lost {
            self.lost.note(None);
            self.given.forget();
        }
        Ok(())
    }

    /// Takes the transaction back.
    pub(super) fn roll_back(&mut self) {
        self.state = State::default();
        self.authority.forget();
        self.given.forget();
        self.view.roll_back();
    }

    /// Where the transaction stands.
    pub(super) fn state(&self) -> State {
        self.state
    }

    /// Goes back to where the transaction stood at its savepoint.
    pub(super) fn go_back(&mut self, state: State) {
        self.state = state;
        self.authority.forget();
        self.given.forget();
    }

    /// Runs work in a transaction of its own.
    pub(crate) fn transact<R>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<R, StoreError>,
    ) -> Result<R, StoreError> {
        let done = self.begin().and_then(|()| {
            let found = work(self)?;
            self.finish()?;
            self.commit()?;
            Ok(found)
        });
        if done.is_err() {
            self.roll_back();
        }
        done
    }

    /// The chain as it is now.
    pub(super) fn chain(&mut self) -> Result<Chain, StoreError> {
        if let Some(chain) = self.state.chain {
            return Ok(chain);
        }
        let mut chain = self.view.chain()?;
        self.compare(chain.end.head);
        // Numbers go on behind that of a row that somebody else wrote, which would be in the way.
        let foreign = self.view.foreign_tokens().into_iter().filter_map(Sequence::new);
        let ours = foreign.filter(|sequence| sequence.chain() == chain.end.number);
        let taken = ours.map(Sequence::position).max().unwrap_or_default();
        if taken > chain.end.head.position {
            chain.end.head.position = taken;
            self.state.appended = true;
        }
        self.state.chain = Some(chain);
        Ok(chain)
    }

    /// Notes what the database has forgotten since this server has last seen it, and what somebody else
    /// has put there. Nobody else writes this chain.
    fn compare(&mut self, found: Head) {
        let Some(known) = self.known else { return };
        if found == known {
            return;
        }
        if Some(found) == self.sent {
            // A commit whose outcome nobody told was done.
            self.known = Some(found);
            return;
        }
        let before = self.lost.found().map_or(0, |lost| lost.written);
        let lost = LostCommits { written: known.position.max(before), found: found.position };
        tracing::error!(%lost, "the chain of this server is not as it has left it");
        self.lost.note(Some(lost));
        self.known = None;
    }

    /// Accepts what the database has forgotten, once the transaction is committed. Answers the
    /// position up to which that may be.
    pub(super) fn accept_lost(&mut self) -> u64 {
        self.state.accepts_lost = true;
        self.lost.found().map_or(0, |lost| lost.written)
    }

    /// Notes that records were appended up to this end; their rows are written by the caller.
    pub(super) fn appended(&mut self, end: ChainEnd) -> Result<(), StoreError> {
        if end.head.position > LAST_POSITION {
            return Err(StoreError::Defect { reason: "the chain is too long".into() });
        }
        let chain = self.chain()?;
        self.state.chain = Some(Chain { end, ..chain });
        self.state.appended = true;
        Ok(())
    }

    /// Appends an act with its row.
    pub(crate) fn append_act(&mut self, new: &NewAct) -> Result<(), StoreError> {
        let mut end = self.chain()?.end;
        let act = new.entry();
        let (position, hash) = end.append(new.now_ms, Entry::Act(act.clone()));
        self.appended(end)?;
        self.view.insert_acts(&[ActRow { position, at_ms: new.now_ms, act, hash }])
    }

    /// Puts on record that an act on which others agreed found everything as it was to be: so it is
    /// done, and is not done again after somebody has changed that. Other acts that change nothing
    /// leave no record.
    pub(super) fn append_unchanged(&mut self, actor: &Actor, now_ms: i64) -> Result<(), StoreError> {
        let Actor::Client { approval: Some(_), .. } = actor else { return Ok(()) };
        let details = BTreeMap::new();
        self.append_act(&NewAct { kind: "act.unchanged", actor: actor.clone(), details, now_ms })
    }

    /// Appends an act unless one of its kind with the same details is on record.
    pub(crate) fn append_act_once(&mut self, new: &NewAct) -> Result<(), StoreError> {
        if self.view.has_act(new.kind, &new.details_text())? { Ok(()) } else { self.append_act(new) }
    }

    /// Goes on with numbers behind any that a restored database may have forgotten, so that none is
    /// given twice.
    pub(super) fn skip_positions(&mut self, up_to: u64) -> Result<(), StoreError> {
        let mut end = self.chain()?.end;
        end.head.position = end.head.position.max(up_to).saturating_add(FORGOTTEN);
        self.appended(end)
    }

    /// Raises floors.
    pub(super) fn raise_floors(&mut self, raise: impl FnOnce(&mut Floors)) -> Result<(), StoreError> {
        let mut chain = self.chain()?;
        raise(&mut chain.floors);
        self.state.chain = Some(chain);
        self.view.put_floors(&chain.floors)
    }

    /// Whether the transaction has written or deleted rows under seal.
    pub(super) fn changed_rows(&self) -> bool {
        self.state.changed_rows
    }

    fn note_change(&mut self, table: Table) {
        if Table::INDEXED.contains(&table) {
            self.state.changed_rows = true;
            self.authority.forget();
        }
    }

    /// Writes a row under seal and answers its number.
    pub(super) fn insert(
        &mut self,
        table: Table,
        columns: &[(&'static str, Value)],
    ) -> Result<i64, StoreError> {
        let mut columns = columns.to_vec();
        columns.push(("version", Value::from(1_i64)));
        columns.push(self.seal_key());
        let number = self.view.insert(table, &columns)?;
        self.seal(table, number)?;
        Ok(number)
    }

    /// Changes a row under seal, where its columns are other than these.
    pub(super) fn change(
        &mut self,
        row: &CheckedRow,
        columns: &[(&'static str, Value)],
    ) -> Result<(), StoreError> {
        self.put_row(row, columns)
    }

    /// The same for a row whose seal was not checked: for what is to be sealed as it is.
    pub(super) fn put_row(&mut self, row: &Row, columns: &[(&'static str, Value)]) -> Result<(), StoreError> {
        let mut changed: Vec<(&'static str, Value)> =
            columns.iter().filter(|(column, value)| row.get(column) != value).cloned().collect();
        changed.push(("version", Value::from(row.integer("version")?.saturating_add(1))));
        changed.push(self.seal_key());
        self.view.update(row.table, row.number, &changed)?;
        self.seal(row.table, row.number)
    }

    /// Deletes a row under seal.
    pub(super) fn delete(&mut self, row: &CheckedRow) -> Result<(), StoreError> {
        self.note_change(row.table);
        self.view.delete(row.table, row.number)
    }

    fn seal_key(&self) -> (&'static str, Value) {
        ("seal_key", self.seals.key_id().0.into())
    }

    /// Seals a row as it stands in the database.
    pub(super) fn seal(&mut self, table: Table, number: i64) -> Result<(), StoreError> {
        self.note_change(table);
        let written = Select::all(table).with("number", number);
        let row = self.view.rows(&written)?.into_iter().next();
        let lost =
            || StoreError::Defect { reason: format!("a row of {} is gone as it is written", table.name()) };
        let seal = self.seals.seal(&row.ok_or_else(lost)?)?;
        self.view.put_seal(table, number, seal)
    }
}
