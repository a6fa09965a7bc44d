//! What an engine must do: keep rows and give them back. It decides nothing.
//!
//! A [`View`] reads, a [`Transaction`] reads and writes. Rows that decide are named columns under a
//! seal ([`Row`]), whatever they mean; the ledger goes in and out in bulk, so that a batch costs an
//! engine that is a network away a handful of statements. What follows from the rows is decided in
//! `ledger`, `access` and `configuration`; `transactions` loads, asks them and writes.
//!
//! Failures are [`StoreError`]s: a value that no Vendkey writes is `Corrupt`, a statement that
//! cannot be right is a `Defect`. Only a failing [`Transaction::commit`] may leave the outcome
//! unknown.

mod copy;
mod row;

use std::borrow::Cow;

use uuid::Uuid;

pub(crate) use copy::{Copyable, FailedLook, Mark, MeterTids};
pub(crate) use row::{Row, Select, Table, Value};

use super::{Job, Server, ServerState, StoreError};
use crate::audit::{Act, ActRow, ChainEnd, ChainId, ChainNumber, Hash, SaltSource};
use crate::clock::SignOfLife;
use crate::id::{ApprovalId, ClientId, ConfigurationId};
use crate::ledger::{Floors, Hours, Issued, LastTids, RefusedCalls, RowFields, Sequence, Sum, TokenFilter};
use crate::sts::attributes::BaseDate;
use crate::sts::meter::MeterPan;
use crate::sts::tid::Tid;

/// The chain of a server, and the floors of the database.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chain {
    /// Its end.
    pub(crate) end: ChainEnd,
    /// Below what nothing is answered or given, by any server.
    pub(crate) floors: Floors,
}

/// What a chain begins with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewChain {
    /// Its name.
    pub(crate) id: ChainId,
    /// Where the salts of its commitments come from.
    pub(crate) salts: SaltSource,
}

/// What a client was given of one kind on one day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DaySum {
    /// The number of the client's row.
    pub(crate) client: i64,
    /// The day, counted from 1970 in UTC.
    pub(crate) day: i64,
    /// The name of the kind.
    pub(crate) kind: Cow<'static, str>,
    /// The sums.
    pub(crate) sum: Sum,
}

/// Stands for the number of a configuration where there is none.
pub(crate) const NO_CONFIGURATION: i64 = 0;

/// What was vended of one kind under one configuration in one hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HourSum {
    /// The hour, counted from 1970 in UTC.
    pub(crate) hour: i64,
    /// The number of the configuration's row, or [`NO_CONFIGURATION`].
    pub(crate) configuration: i64,
    /// The name of the kind.
    pub(crate) kind: Cow<'static, str>,
    /// The sums.
    pub(crate) sum: Sum,
}

/// A row of the ledger to be written, with the numbers of the rows that it names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewRow<'a> {
    /// The row.
    pub(crate) issued: &'a Issued,
    /// Those rows.
    pub(crate) numbers: Numbers,
}

/// The numbers of the rows that a row of the ledger names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Numbers {
    /// Of its client.
    pub(crate) client: i64,
    /// Of its credential.
    pub(crate) credential: i64,
    /// Of its configuration, where it has one.
    pub(crate) configuration: Option<i64>,
    /// Of the target of a key change.
    pub(crate) target: Option<i64>,
}

/// What the ledger asks for before it decides on orders; clients by their numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    /// Clients whose sums are counted against limits.
    pub(crate) limited: Vec<i64>,
    /// Days, and the clients of which the sums of that day are wanted.
    pub(crate) days: Vec<(i64, Vec<i64>)>,
    /// Meters whose last TIDs are wanted.
    pub(crate) meters: Vec<(MeterPan, BaseDate)>,
    /// Requests whose rows are wanted, by client.
    pub(crate) requests: Vec<(i64, Uuid)>,
}

/// What is known of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// The sums of those days.
    pub(crate) sums: Vec<DaySum>,
    /// What is known of the TIDs of the meters, in their order.
    pub(crate) tids: Vec<LastTids>,
    /// As [`View::tokens_of_requests`] answers.
    pub(crate) rows: Vec<FoundRow>,
}

/// A page of the rows of a chain.
#[derive(Clone, Debug, Default)]
pub(crate) struct RowPage {
    /// In the order of the chain.
    pub(crate) rows: Vec<RowFields>,
    /// Where the next page starts: after this position.
    pub(crate) next: Option<u64>,
}

/// Reads what is committed; within a transaction, what that has written too.
///
/// A connection belongs to a server, whose number the engine knows since it was opened. Each server
/// has a chain of its own, of the same number, and writes no other.
pub(crate) trait View: Send + 'static {
    /// Makes what follows see one state of the rows under seal and of the chain, until
    /// [`View::end_snapshot`]. Within a transaction, which sees one state anyway, both do nothing.
    fn begin_snapshot(&mut self) -> Result<(), StoreError>;

    /// Ends it.
    fn end_snapshot(&mut self);

    /// Rows under seal, in the order of their numbers. Their seals are not checked.
    fn rows(&mut self, select: &Select) -> Result<Vec<Row>, StoreError>;

    /// The number and the seal of every row of a table, in the order of the numbers.
    fn seals(&mut self, table: Table) -> Result<Vec<NumberedSeal>, StoreError>;

    /// The end of this server's chain, and the floors. Within a transaction nobody else changes
    /// them until its end.
    fn chain(&mut self) -> Result<Chain, StoreError>;

    /// The ends of all chains, in the order of their numbers.
    fn chains(&mut self) -> Result<Vec<ChainEnd>, StoreError>;

    /// Acts of a chain after a position, in its order, at most `most`.
    fn acts(&mut self, chain: ChainNumber, after: u64, most: usize) -> Result<Vec<ActRow>, StoreError>;

    /// Whether an act of a chain after a position has a kind that begins with one of these texts.
    fn has_act_after(
        &mut self,
        chain: ChainNumber,
        position: u64,
        kinds: &[&str],
    ) -> Result<bool, StoreError>;

    /// Whether an act of this kind with these details is on record, in any chain.
    fn has_act(&mut self, kind: &str, details: &str) -> Result<bool, StoreError>;

    /// The act that was done with this approval ([`Act::done_with`]), if it is on record.
    fn act_of_approval(&mut self, approval: ApprovalId) -> Result<Option<Act>, StoreError>;

    /// The hash of the record at a position of a chain, of an act or of a token.
    fn record_hash(&mut self, chain: ChainNumber, position: u64) -> Result<Option<Hash>, StoreError>;

    /// The hashes of several records, in the order in which they are asked for; none where there is no
    /// such record.
    fn record_hashes(&mut self, records: &[Sequence]) -> Result<Vec<Option<Hash>>, StoreError> {
        records.iter().map(|record| self.record_hash(record.chain(), record.position())).collect()
    }

    /// The record behind each of several, in its chain; none where it is the last one.
    fn records_behind(&mut self, records: &[Sequence]) -> Result<Vec<Option<Behind>>, StoreError> {
        records.iter().map(|record| Behind::read(self, *record)).collect()
    }

    /// Rows of the ledger in a chain after a position, in its order, at most `most`.
    fn tokens_after(
        &mut self,
        chain: ChainNumber,
        position: u64,
        most: usize,
    ) -> Result<Vec<RowFields>, StoreError>;

    /// The same, each with its position, and as it is kept: one that this program has not written is
    /// a failure of its own.
    fn kept_tokens(
        &mut self,
        chain: ChainNumber,
        position: u64,
        most: usize,
    ) -> Result<Vec<Kept<RowFields>>, StoreError>;

    /// The same of acts.
    fn kept_acts(
        &mut self,
        chain: ChainNumber,
        position: u64,
        most: usize,
    ) -> Result<Vec<Kept<ActRow>>, StoreError>;

    /// The row of this number.
    fn token(&mut self, sequence: Sequence) -> Result<Option<RowFields>, StoreError>;

    /// Those rows that these requests, by the number of the client, have made: each with the place
    /// of its request. A row that cannot be read is the failure of its own request.
    fn tokens_of_requests(&mut self, requests: &[(i64, Uuid)]) -> Result<Vec<FoundRow>, StoreError>;

    /// The row of a meter's TID: there is at most one.
    fn token_of_tid(
        &mut self,
        meter: MeterPan,
        base_date: BaseDate,
        tid: Tid,
    ) -> Result<Option<RowFields>, StoreError>;

    /// The newest key changes of a meter out of a configuration, the newest first by their times, at
    /// most `most`.
    fn key_changes(
        &mut self,
        meter: MeterPan,
        configuration: ConfigurationId,
        most: usize,
    ) -> Result<Vec<RowFields>, StoreError>;

    /// A page of the rows of a chain that fit a filter, after a position. It may hold fewer rows
    /// than `size`, and none, and still have a next one: rows that cannot be read are left out.
    fn list_tokens(
        &mut self,
        chain: ChainNumber,
        filter: &TokenFilter,
        after: u64,
        size: u32,
    ) -> Result<RowPage, StoreError>;

    /// What is known of the TIDs of meters, in the order in which they are asked for. Where somebody
    /// else gives one of these meters a TID before the transaction does, the transaction meets
    /// [`StoreError::Conflict`] when it writes its own.
    fn last_tids(&mut self, meters: &[(MeterPan, BaseDate)]) -> Result<Vec<LastTids>, StoreError>;

    /// The sums of clients, by their numbers, on the days from the first to the last. Within a
    /// transaction nobody else changes those of clients that are locked, until its end.
    fn sums(&mut self, clients: &[i64], first: i64, last: i64) -> Result<Vec<DaySum>, StoreError>;

    /// The times of failed looks into foreign tokens at a meter after an instant, the newest first,
    /// at most `most`.
    fn failures_at_meter(
        &mut self,
        meter: MeterPan,
        after_ms: i64,
        most: u32,
    ) -> Result<Vec<i64>, StoreError>;

    /// The same of a client, by its number.
    fn failures_of_client(&mut self, client: i64, after_ms: i64, most: u32) -> Result<Vec<i64>, StoreError>;

    /// The sums of all clients on a day. Within a transaction nobody else records a token until its
    /// end.
    fn sums_of_day(&mut self, day: i64) -> Result<Vec<DaySum>, StoreError>;

    /// The sums of all clients on the days from the first to the last.
    fn sums_of_days(&mut self, first: i64, last: i64) -> Result<Vec<DaySum>, StoreError>;

    /// What was vended in the hours from the first to the last.
    fn vended_hours(&mut self, hours: Hours) -> Result<Vec<HourSum>, StoreError>;

    /// The first hour of which anything is kept of what was vended, and the first day of which there
    /// are sums of clients.
    fn first_sums(&mut self) -> Result<(Option<i64>, Option<i64>), StoreError>;

    /// The calls that were refused in the hours from the first to the last.
    fn refused_hours(&mut self, hours: Hours) -> Result<Vec<RefusedCalls>, StoreError>;

    /// The numbers of rows of the ledger that this program has not written, as far as the engine
    /// has met them. They are left out of all that is known of meters.
    fn foreign_tokens(&mut self) -> Vec<i64>;

    /// The last sign of life of this server.
    fn sign_of_life(&mut self) -> Result<Option<SignOfLife>, StoreError>;

    /// All servers, in the order of their numbers.
    fn servers(&mut self) -> Result<Vec<Server>, StoreError>;

    /// The clock of the database, in milliseconds since 1970; none of an engine inside this process,
    /// which would be the server's own.
    fn now_ms(&mut self) -> Result<Option<i64>, StoreError>;

    /// The text of the last checkpoint.
    fn last_checkpoint(&mut self) -> Result<Option<String>, StoreError>;

    /// The checkpoints after a number, in their order, at most `most`: numbers and texts.
    fn checkpoints(&mut self, after: i64, most: usize) -> Result<Vec<(i64, String)>, StoreError>;
}

/// The record behind another one in its chain, as it is kept.
#[derive(Clone, Debug)]
pub(crate) enum Behind {
    /// A row of the ledger.
    Token(Box<RowFields>),
    /// An act.
    Act(Box<ActRow>),
    /// A row that this program has not written.
    Unreadable,
}

impl Behind {
    /// Reads the record behind another one.
    pub(crate) fn read<V: View + ?Sized>(view: &mut V, record: Sequence) -> Result<Option<Self>, StoreError> {
        let (chain, position) = (record.chain(), record.position());
        let token = match view.tokens_after(chain, position, 1) {
            Ok(mut found) => found.pop(),
            Err(StoreError::Corrupt { .. }) => return Ok(Some(Self::Unreadable)),
            Err(error) => return Err(error),
        };
        let act = match view.acts(chain, position, 1) {
            Ok(mut found) => found.pop(),
            Err(StoreError::Corrupt { .. }) => return Ok(Some(Self::Unreadable)),
            Err(error) => return Err(error),
        };
        let of_token = token.as_ref().and_then(|row| Sequence::new(row.sequence)).map(Sequence::position);
        Ok(match (token, act) {
            (Some(_), Some(act)) if of_token.is_none_or(|place| act.position < place) => {
                Some(Self::Act(Box::new(act)))
            }
            (Some(token), _) => Some(Self::Token(Box::new(token))),
            (None, act) => act.map(|act| Self::Act(Box::new(act))),
        })
    }
}

/// The number of a row under seal, and its seal.
pub(crate) type NumberedSeal = (i64, Option<[u8; 32]>);

/// A record with its position.
pub(crate) type Kept<T> = (u64, Result<T, StoreError>);

/// A row that a request has made, by the place of the request.
pub(crate) type FoundRow = (usize, Result<RowFields, StoreError>);

/// Writes, one transaction after another. Between [`Transaction::begin`] and its end nobody else
/// writes what it has loaded.
pub(crate) trait Transaction: View {
    /// For how long rows that decide may be remembered without loading them again, as long as
    /// [`Transaction::writes_of_others`] does not change.
    const BELIEVED: std::time::Duration;

    /// Whether several servers write to one database.
    const SEVERAL: bool;

    /// Begins a transaction.
    fn begin(&mut self) -> Result<(), StoreError>;

    /// Answers for what was written so far. An engine that writes at once has nothing to do; one that
    /// sends several statements together may know only now that one of them cannot be done.
    fn flush(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Makes it durable. A failure leaves its outcome unknown.
    fn commit(&mut self) -> Result<(), StoreError>;

    /// Takes it back, also where it has ended by itself or could not be committed.
    fn roll_back(&mut self);

    /// Is called after a commit, when everybody has their answer: for what the engine has to tidy
    /// up.
    fn tidy_up(&mut self) {}

    /// Notes a state of the transaction to which [`Transaction::roll_back_to_savepoint`] goes back.
    fn savepoint(&mut self) -> Result<(), StoreError>;

    /// Takes back what was written since the savepoint.
    fn roll_back_to_savepoint(&mut self) -> Result<(), StoreError>;

    /// Forgets the savepoint.
    fn release_savepoint(&mut self) -> Result<(), StoreError>;

    /// Keeps all others from writing rows under seal, and from recording tokens by them, until the
    /// end of the transaction: what is loaded from here on stays so. Asked for before anything is
    /// loaded, and again at any time.
    fn lock_rows(&mut self) -> Result<(), StoreError>;

    /// What the ledger has to know before it decides on orders. Nobody else gives to those clients
    /// that are limited from then on until the end of the transaction: where transactions come one
    /// after another, that is so anyway.
    fn known(&mut self, asked: &Asked) -> Result<Known, StoreError> {
        let mut known = Known {
            sums: Vec::new(),
            tids: self.last_tids(&asked.meters)?,
            rows: self.tokens_of_requests(&asked.requests)?,
        };
        for (day, clients) in &asked.days {
            known.sums.extend(self.sums(clients, *day, *day)?);
        }
        Ok(known)
    }

    /// A number that is another one when somebody other than this connection has written rows under
    /// seal. It stays so until the end of the transaction.
    fn writes_of_others(&mut self) -> Result<i64, StoreError>;

    /// Writes a row under seal, without its seal, and answers its number.
    fn insert(&mut self, table: Table, columns: &[(&'static str, Value)]) -> Result<i64, StoreError>;

    /// Changes columns of a row under seal.
    fn update(
        &mut self,
        table: Table,
        number: i64,
        columns: &[(&'static str, Value)],
    ) -> Result<(), StoreError>;

    /// Puts a seal on a row.
    fn put_seal(&mut self, table: Table, number: i64, seal: [u8; 32]) -> Result<(), StoreError>;

    /// Deletes a row under seal.
    fn delete(&mut self, table: Table, number: i64) -> Result<(), StoreError>;

    /// Makes the chain of this server; where there is one, it stays.
    fn create_chain(&mut self, new: &NewChain) -> Result<(), StoreError>;

    /// Writes the end of this server's chain.
    fn put_chain_end(&mut self, end: &ChainEnd) -> Result<(), StoreError>;

    /// Writes the floors.
    fn put_floors(&mut self, floors: &Floors) -> Result<(), StoreError>;

    /// Writes acts of this server's chain.
    fn insert_acts(&mut self, acts: &[ActRow]) -> Result<(), StoreError>;

    /// Writes rows of the ledger of this server's chain, in their order. Each TID of a meter is above its last one.
    fn insert_tokens(&mut self, rows: &mut dyn Iterator<Item = NewRow<'_>>) -> Result<(), StoreError>;

    /// Writes sums of days in the place of those that are there, and adds to what was vended in hours.
    fn put_sums(&mut self, sums: &[DaySum], vended: &[HourSum]) -> Result<(), StoreError>;

    /// Adds to the calls that were refused.
    fn add_refused(&mut self, refused: &RefusedCalls) -> Result<(), StoreError>;

    /// Writes last TIDs of meters that another system gave: each is above what is there.
    fn raise_last_tids(&mut self, tids: &[(MeterPan, BaseDate, Tid)]) -> Result<(), StoreError>;

    /// Lowers the last TID of a meter from one to another, and notes who did it and when.
    fn lower_last_tid(
        &mut self,
        meter: (MeterPan, BaseDate),
        from: Tid,
        to: Tid,
        by: Option<ClientId>,
        at_ms: i64,
    ) -> Result<(), StoreError>;

    /// Writes a failed look into a foreign token, by the number of the client, and answers its
    /// number. Failures up to an instant are forgotten.
    fn insert_failure(
        &mut self,
        client: i64,
        meter: MeterPan,
        at_ms: i64,
        forget_until_ms: i64,
    ) -> Result<i64, StoreError>;

    /// Takes a failed look back.
    fn delete_failure(&mut self, number: i64) -> Result<(), StoreError>;

    /// Writes a sign of life of this server.
    fn put_sign_of_life(&mut self, sign: &SignOfLife) -> Result<(), StoreError>;

    /// Writes what this server says of itself.
    fn put_server(&mut self, state: &ServerState) -> Result<(), StoreError>;

    /// Takes the lease of a job for this server, for so long by the clock of the database, or
    /// prolongs it. False while another server has it. A lease for no time ends at once.
    fn take_lease(&mut self, job: Job, for_ms: i64) -> Result<bool, StoreError>;

    /// Writes a checkpoint, and forgets those up to a number.
    fn insert_checkpoint(&mut self, number: i64, text: &str, forget_until: i64) -> Result<(), StoreError>;
}

/// An engine: the types of its connections.
pub(crate) trait Engine: 'static {
    /// A connection that reads.
    type View: View;
    /// The connection that writes.
    type Transaction: Transaction;
    /// What keeps the database this process's for as long as it lives.
    type Lock: std::fmt::Debug + Send + Sync;
}
