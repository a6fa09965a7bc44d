//! The chain of records, and the connection that writes it.
//!
//! Whatever is done appends its record in the same transaction. The head is kept in memory between commits and written once for
//! each transaction. It follows the savepoints: what is taken back takes its records along.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::Deref;

use rusqlite::{Connection, OptionalExtension as _, Row};

use super::SqliteSettings;
use super::authority::Authority;
use super::claim::Claim;
use super::column::foreign;
use super::sealed::{Reading, Roll};
use super::usage::Usage;
use crate::audit::{
    Act, ChainId, Entry, Hash, Head, KeyChangeBits, Line, Record, SaltSource, Subject, TokenEntry, TokenKind,
};
use crate::store::{Actor, NewAct, Records, StoreError};
use crate::sts::attributes::BaseDate;
use crate::sts::tid::Tid;

/// The head of the chain and what else every token asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct State {
    head: Head,
    salts: SaltSource,
    at_ms: i64,
    /// Request ids from before are refused unless they are on record.
    pub(super) requests_from_ms: i64,
    /// Under each base date no TID at or below is given.
    floors: [Option<Tid>; BASE_DATES.len()],
    changed: bool,
    /// How many bookings of the transaction there are.
    booked: usize,
}

/// More records than come between two checkpoints.
const FORGOTTEN: u64 = 100_000_000;

const BASE_DATES: [BaseDate; 3] = [BaseDate::Y1993, BaseDate::Y2014, BaseDate::Y2035];

impl State {
    /// The position of the last record.
    pub(super) fn position(&self) -> i64 {
        i64::try_from(self.head.position).unwrap_or(i64::MAX)
    }

    /// The floor of TIDs under a base date.
    pub(super) fn floor(&self, base_date: BaseDate) -> Option<Tid> {
        BASE_DATES.iter().position(|known| *known == base_date).and_then(|index| self.floors[index])
    }
}

/// The connection of the committer, with the head of the chain.
#[derive(Debug)]
pub(super) struct Writing {
    connection: Reading,
    /// None: a database that nobody else can reach.
    claim: Option<Claim>,
    /// None: to be read from the database before its next use.
    state: Cell<Option<State>>,
    authority: Authority,
    usage: Usage,
    roll: Roll,
    merge_from: usize,
}

impl Deref for Writing {
    type Target = Reading;

    fn deref(&self) -> &Reading {
        &self.connection
    }
}

impl Writing {
    pub(super) fn new(connection: Reading, settings: &SqliteSettings) -> Self {
        Self {
            connection,
            claim: None,
            state: Cell::new(None),
            authority: Authority::default(),
            usage: Usage::new(settings.alarm_pace),
            roll: Roll::default(),
            merge_from: settings.merge_from,
        }
    }

    /// Writes only as long as this claim holds.
    #[must_use]
    pub(super) fn under(self, claim: Claim) -> Self {
        Self { claim: Some(claim), ..self }
    }

    /// Refuses once the database is another process's. Asked first in each transaction.
    pub(super) fn check_claim(&self) -> Result<(), StoreError> {
        self.claim.as_ref().map_or(Ok(()), |claim| claim.check(self))
    }

    /// What is remembered of callers and configurations.
    pub(super) fn authority(&self) -> &Authority {
        &self.authority
    }

    /// What clients were given today.
    pub(super) fn usage(&self) -> &Usage {
        &self.usage
    }

    /// How many of the newest rows are enough to be merged.
    pub(super) fn merge_from(&self) -> usize {
        self.merge_from
    }

    /// What is known of the roll of sealed rows.
    pub(super) fn roll(&self) -> &Roll {
        &self.roll
    }

    /// Notes that a row that decides was written or deleted.
    pub(super) fn deciding_rows_changed(&self) {
        self.authority.forget();
        self.roll.note_change();
    }

    /// What to go back to when a savepoint is taken back.
    pub(super) fn mark(&self) -> Option<State> {
        self.state.get().map(|state| State { booked: self.usage.mark(), ..state })
    }

    /// Goes back; to `None` after a transaction whose end is not known.
    pub(super) fn go_back(&self, mark: Option<State>) {
        match mark {
            Some(state) => self.usage.go_back(state.booked),
            None => {
                self.usage.forget();
                self.roll.forget_change();
                self.newest().doubt();
            }
        }
        self.state.set(mark);
        self.authority.forget();
    }

    /// Takes back the record that was appended last, whose row was not written.
    pub(super) fn take_back_record(&self, before: State) {
        self.state.set(Some(before));
    }

    /// The state, read if need be.
    pub(super) fn state(&self) -> Result<State, StoreError> {
        if let Some(state) = self.state.get() {
            return Ok(state);
        }
        let state = read_state(&self.connection)?;
        self.state.set(Some(state));
        Ok(state)
    }

    /// Writes the head if records were appended, and the roll if rows that decide changed. The last statements of a transaction.
    pub(super) fn write_head(&self) -> Result<(), StoreError> {
        self.write_usage()?;
        if self.roll.must_be_written() {
            self.write_roll(number(self.state()?.head.position)?)?;
        }
        let Some(mut state) = self.state.get().filter(|state| state.changed) else { return Ok(()) };
        self.prepare_cached("UPDATE chain SET position = ?1, hash = ?2, at_ms = ?3")?.execute((
            number(state.head.position)?,
            state.head.hash.0,
            state.at_ms,
        ))?;
        state.changed = false;
        self.state.set(Some(state));
        Ok(())
    }

    /// Appends a record of a token. The row is the caller's to write, with the position and hash that this answers.
    pub(super) fn append_token(
        &self,
        at_ms: i64,
        pan: Option<&str>,
        request_hash: &[u8; 32],
        entry: impl FnOnce([u8; 32]) -> TokenEntry,
    ) -> Result<(i64, Hash), StoreError> {
        let state = self.state()?;
        let salt = state.salts.salt(state.head.position + 1);
        let subject = crate::audit::commitment(pan, request_hash, salt);
        self.append(state, at_ms, Entry::Token(entry(subject)))
    }

    /// Appends an act with its row.
    pub(super) fn append_act(
        &self,
        kind: &str,
        actor: &Actor,
        at_ms: i64,
        details: &BTreeMap<&'static str, String>,
    ) -> Result<(), StoreError> {
        let details = json(details)?;
        let (actor, credential) = match actor {
            Actor::Local => (None, None),
            Actor::Client { client, credential } => (Some(client.to_bytes()), Some(credential.clone())),
        };
        let act = Act { kind: kind.to_owned(), actor, credential, details };
        let (position, hash) = self.append(self.state()?, at_ms, Entry::Act(act.clone()))?;
        self.prepare_cached(
            "INSERT INTO acts (position, at_ms, kind, actor, credential, details, hash)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute((position, at_ms, act.kind, act.actor, act.credential, act.details, hash.0))?;
        Ok(())
    }

    fn append(&self, mut state: State, at_ms: i64, entry: Entry) -> Result<(i64, Hash), StoreError> {
        let record = Record { position: state.head.position + 1, at_ms, entry };
        let hash = record.hash(state.head.chain, state.head.hash);
        state.head = Head { position: record.position, hash, ..state.head };
        state.at_ms = at_ms;
        state.changed = true;
        self.state.set(Some(state));
        Ok((number(record.position)?, hash))
    }

    /// Goes on with numbers behind that of a row of another hand, which would be in the way.
    pub(super) fn go_on_behind(&self, sequence: i64) -> Result<(), StoreError> {
        let mut state = self.state()?;
        let taken = u64::try_from(sequence).unwrap_or_default();
        state.head.position = state.head.position.max(taken);
        state.changed = true;
        self.state.set(Some(state));
        Ok(())
    }

    /// Goes on with numbers behind any that a restored database may have forgotten, so that none is given twice.
    pub(super) fn skip_past(&self, position: u64) -> Result<(), StoreError> {
        let mut state = self.state()?;
        state.head.position = state.head.position.max(position).saturating_add(FORGOTTEN);
        state.changed = true;
        self.state.set(Some(state));
        Ok(())
    }

    /// Raises the floors and the earliest request: for a restored database.
    pub(super) fn raise_floors(
        &self,
        floors: &[(BaseDate, Tid)],
        requests_from_ms: i64,
    ) -> Result<(), StoreError> {
        for (base_date, tid) in floors {
            self.prepare_cached(
                "INSERT INTO tid_floors (base_date, tid) VALUES (?1, ?2)
                 ON CONFLICT DO UPDATE SET tid = excluded.tid WHERE excluded.tid > tid",
            )?
            .execute((base_date.year(), tid.value()))?;
        }
        self.prepare_cached("UPDATE chain SET requests_from_ms = max(requests_from_ms, ?1)")?
            .execute([requests_from_ms])?;
        let fresh = read_state(&self.connection)?;
        if let Some(state) = self.state.get() {
            let State { requests_from_ms, floors, .. } = fresh;
            self.state.set(Some(State { requests_from_ms, floors, ..state }));
        }
        Ok(())
    }
}

/// Makes the chain of a new database.
pub(super) fn create(connection: &Connection, id: [u8; 16], salt_source: [u8; 32]) -> Result<(), StoreError> {
    connection.execute(
        "INSERT INTO chain (one, id, salt_source, position, hash, at_ms, requests_from_ms)
         VALUES (1, ?1, ?2, 0, ?3, 0, 0) ON CONFLICT DO NOTHING",
        (id, salt_source, Hash::START.0),
    )?;
    Ok(())
}

/// Seals the rows that decide as they are, in a transaction of its own, on record unless there are none.
pub(super) fn seal_rows(writing: &Writing) -> Result<u64, StoreError> {
    let transaction = writing.unchecked_transaction()?;
    let state = writing.state()?;
    let sealed = writing.seal_all(number(state.head.position)?)?;
    if sealed > 0 {
        // The time of the last record: nobody needs the clock here.
        let details = BTreeMap::from([("rows", sealed.to_string())]);
        writing.append_act("rows.sealed", &Actor::Local, state.at_ms, &details)?;
    }
    writing.write_head()?;
    transaction.commit()?;
    Ok(sealed)
}

/// Seals the rows that decide by another key, on record, in a transaction of its own.
pub(super) fn reseal_rows(writing: &Writing, act: &NewAct) -> Result<(), StoreError> {
    let transaction = writing.unchecked_transaction()?;
    let state = writing.state()?;
    writing.seal_all(number(state.head.position)?)?;
    append_once(writing, act)?;
    writing.write_head()?;
    Ok(transaction.commit()?)
}

/// Appends an act unless one of its kind with the same details is on record.
pub(super) fn append_once(writing: &Writing, act: &NewAct) -> Result<(), StoreError> {
    let there: bool = writing
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM acts WHERE kind = ?1 AND details = ?2)")?
        .query_row((act.kind, json(&act.details)?), |row| row.get(0))?;
    if there { Ok(()) } else { writing.append_act(act.kind, &act.actor, act.now_ms, &act.details) }
}

fn json(details: &BTreeMap<&'static str, String>) -> Result<String, StoreError> {
    serde_json::to_string(details).map_err(|error| StoreError::Defect { reason: error.to_string() })
}

/// The head of the chain as it is committed.
pub(super) fn head(connection: &Connection) -> Result<Head, StoreError> {
    Ok(read_state(connection)?.head)
}

fn read_state(connection: &Connection) -> Result<State, StoreError> {
    let mut state = connection
        .prepare_cached("SELECT id, salt_source, position, hash, at_ms, requests_from_ms FROM chain")?
        .query_row([], |row| {
            Ok(State {
                head: Head {
                    chain: ChainId(row.get(0)?),
                    position: position(row, 2, "chain.position")?,
                    hash: Hash(row.get(3)?),
                },
                salts: SaltSource(row.get(1)?),
                at_ms: row.get(4)?,
                requests_from_ms: row.get(5)?,
                floors: [None; BASE_DATES.len()],
                changed: false,
                booked: 0,
            })
        })?;
    for (base_date, floor) in BASE_DATES.iter().zip(&mut state.floors) {
        *floor = connection
            .prepare_cached("SELECT tid FROM tid_floors WHERE base_date = ?1")?
            .query_row([base_date.year()], |row| Tid::new(row.get(0)?).map_err(|_| foreign("tid_floors.tid")))
            .optional()?;
    }
    Ok(state)
}

/// The hash of the record at a position, if it is there.
pub(super) fn hash_at(connection: &Connection, position: u64) -> Result<Option<Hash>, StoreError> {
    Ok(connection
        .prepare_cached(
            "SELECT hash FROM issued_tokens WHERE sequence = ?1
             UNION ALL SELECT hash FROM acts WHERE position = ?1",
        )?
        .query_row([number(position)?], |row| row.get(0).map(Hash))
        .optional()?)
}

/// Records after a position, in the order of the chain.
pub(super) fn records(
    connection: &Connection,
    after: u64,
    most: usize,
    openings: bool,
) -> Result<Records, StoreError> {
    let state = read_state(connection)?;
    let wanted = (number(after)?, i64::try_from(most).unwrap_or(i64::MAX).saturating_add(1));
    let mut statement = connection.prepare_cached(TOKENS)?;
    let tokens = statement.query_map(wanted, |row| token_line(row, &state, openings))?;
    let mut lines = tokens.collect::<Result<Vec<_>, _>>()?;
    let mut statement = connection.prepare_cached(
        "SELECT position, at_ms, kind, actor, credential, details, hash FROM acts
         WHERE position > ?1 ORDER BY position LIMIT ?2",
    )?;
    for line in statement.query_map(wanted, |row| act_line(row, &state))? {
        lines.push(line?);
    }
    // Both halves are in order and start at the same place: the first of both together are the first of the chain.
    lines.sort_by_key(|line| line.record.position);
    let more = lines.len() > most;
    lines.truncate(most);
    Ok(Records { lines, more })
}

const TOKENS: &str = "
    SELECT t.sequence, t.issued_ms, c.id, k.key_id, t.request_id, t.request_hash, t.kind, f.id,
           t.pan, t.base_date, t.tid, t.rnd, t.class, t.block, g.id, t.roll_over, t.transfer_sgc, t.hash
    FROM issued_tokens t
    JOIN clients c ON c.number = t.client
    JOIN credentials k ON k.number = t.credential
    LEFT JOIN configurations f ON f.number = t.configuration
    LEFT JOIN configurations g ON g.number = t.target
    WHERE t.sequence > ?1 ORDER BY t.sequence LIMIT ?2";

fn token_line(row: &Row<'_>, state: &State, openings: bool) -> rusqlite::Result<Line> {
    let position = position(row, 0, "issued_tokens.sequence")?;
    let pan: Option<i64> = row.get(8)?;
    let subject = Subject { pan: pan.map(|pan| format!("{pan:018}")), request_hash: row.get(5)? };
    let salt = state.salts.salt(position);
    let class: Option<u8> = row.get(12)?;
    let block: Option<i64> = row.get(13)?;
    let target: Option<[u8; 16]> = row.get(14)?;
    let entry = TokenEntry {
        client: row.get(2)?,
        credential: row.get(3)?,
        request_id: row.get(4)?,
        kind: match row.get(6)? {
            1 => TokenKind::Sequenced,
            2 => TokenKind::Fixed,
            3 => TokenKind::KeyChange,
            _ => return Err(foreign("issued_tokens.kind")),
        },
        configuration: row.get(7)?,
        base_date: row.get(9)?,
        tid: row.get(10)?,
        rnd: row.get(11)?,
        block: class.zip(block.map(i64::cast_unsigned)),
        key_change: match target {
            None => None,
            Some(target) => {
                Some(KeyChangeBits { target, roll_over: row.get(15)?, transfer_sgc: row.get(16)? })
            }
        },
        subject: subject.commitment(salt),
    };
    Ok(Line {
        chain: state.head.chain,
        record: Record { position, at_ms: row.get(1)?, entry: Entry::Token(entry) },
        hash: Hash(row.get(17)?),
        opening: openings.then_some((subject, salt)),
    })
}

fn act_line(row: &Row<'_>, state: &State) -> rusqlite::Result<Line> {
    let act = Act { kind: row.get(2)?, actor: row.get(3)?, credential: row.get(4)?, details: row.get(5)? };
    Ok(Line {
        chain: state.head.chain,
        record: Record {
            position: position(row, 0, "acts.position")?,
            at_ms: row.get(1)?,
            entry: Entry::Act(act),
        },
        hash: Hash(row.get(6)?),
        opening: None,
    })
}

fn position(row: &Row<'_>, index: usize, what: &'static str) -> rusqlite::Result<u64> {
    row.get::<_, i64>(index)?.try_into().map_err(|_| foreign(what))
}

fn number(position: u64) -> Result<i64, StoreError> {
    position.try_into().map_err(|_| StoreError::Defect { reason: "the chain is too long".into() })
}
