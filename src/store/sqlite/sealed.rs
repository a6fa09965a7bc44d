//! Rows that decide, under seals: whoever writes to the database cannot grant himself anything.
//!
//! A seal is an HMAC by the row-seal key in the HSM over the whole row. One more row, the roll, is sealed over all other seals and
//! the chain's position: it tells a row that was taken out, or put back as it had been, while nobody looked.
//!
//! Bytes of a seal: `vendkey row seal v1`, a zero byte, the table, and for each column but `seal` in the order of their names:
//! name, a letter for the type, value. Texts and values have their length in 4 bytes (big endian) before them. Columns that are
//! NULL are left out, so that a new column of a later version changes no seal.

use std::cell::Cell;
use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension as _, Params, Row};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::chain::Writing;
use super::newest::Newest;
use crate::store::{SealReport, Sealer, StoreError};

/// The tables under seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Table {
    Clients,
    Credentials,
    PublicKeys,
    Configurations,
    KeyChangePairs,
    Approvals,
    ApprovalVotes,
    /// The one row over all others.
    Roll,
}

impl Table {
    /// Those on the roll, in its order.
    const ON_ROLL: [Self; 7] = [
        Self::Clients,
        Self::Credentials,
        Self::PublicKeys,
        Self::Configurations,
        Self::KeyChangePairs,
        Self::Approvals,
        Self::ApprovalVotes,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Clients => "clients",
            Self::Credentials => "credentials",
            Self::PublicKeys => "public_keys",
            Self::Configurations => "configurations",
            Self::KeyChangePairs => "key_change_pairs",
            Self::Approvals => "approvals",
            Self::ApprovalVotes => "approval_votes",
            Self::Roll => "roll",
        }
    }
}

/// The acts that come with a change of a sealed row: none may be later than the roll.
const DECIDING: &str = "kind LIKE 'client.%' OR kind LIKE 'credential.%' OR kind LIKE 'public_key.%'
    OR kind LIKE 'configuration.%' OR kind LIKE 'key_change.%' OR kind LIKE 'approval.%'";

/// Makes and checks seals. Rows that were checked once are known by their bytes, so that the HSM is asked only for changed ones.
#[derive(Debug)]
pub(super) struct Seals {
    sealer: Arc<dyn Sealer>,
    checked: Mutex<HashMap<(Table, i64), [u8; 32]>>,
}

impl Seals {
    pub(super) fn new(sealer: Arc<dyn Sealer>) -> Self {
        Self { sealer, checked: Mutex::default() }
    }

    fn seal(&self, message: &[u8]) -> Result<[u8; 32], StoreError> {
        self.sealer.seal(message).map_err(|error| StoreError::NoSeal { reason: error.0 })
    }

    /// Refuses a row (of `SELECT *`) that does not bear its seal.
    fn check(&self, table: Table, row: &Row<'_>) -> Result<(), StoreError> {
        let number: i64 = row.get("number")?;
        let forged = || StoreError::Forged { row: format!("{} {number}", table.name()) };
        let found: [u8; 32] = row.get::<_, Option<[u8; 32]>>("seal")?.ok_or_else(forged)?;
        let message = message(table, row)?;
        let mut hash = Sha256::new();
        hash.update(&message);
        hash.update(found);
        let digest: [u8; 32] = hash.finalize().into();
        let checked = || self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        if checked().get(&(table, number)) == Some(&digest) {
            return Ok(());
        }
        if !bool::from(self.seal(&message)?.ct_eq(&found)) {
            return Err(forged());
        }
        checked().insert((table, number), digest);
        Ok(())
    }
}

/// What a seal is made over.
fn message(table: Table, row: &Row<'_>) -> rusqlite::Result<Vec<u8>> {
    let statement: &rusqlite::Statement<'_> = row.as_ref();
    let mut columns: Vec<(&str, ValueRef<'_>)> = Vec::with_capacity(statement.column_count());
    for (index, name) in statement.column_names().enumerate() {
        if name != "seal" {
            columns.push((name, row.get_ref(index)?));
        }
    }
    columns.sort_by_key(|(name, _)| *name);
    let mut bytes = b"vendkey row seal v1\0".to_vec();
    part(&mut bytes, table.name().as_bytes());
    for (name, value) in columns {
        let (letter, value) = match value {
            ValueRef::Null => continue,
            ValueRef::Integer(number) => (b'i', number.to_be_bytes().to_vec()),
            ValueRef::Real(number) => (b'r', number.to_be_bytes().to_vec()),
            ValueRef::Text(text) => (b't', text.to_vec()),
            ValueRef::Blob(blob) => (b'b', blob.to_vec()),
        };
        part(&mut bytes, name.as_bytes());
        bytes.push(letter);
        part(&mut bytes, &value);
    }
    Ok(bytes)
}

fn part(bytes: &mut Vec<u8>, value: &[u8]) {
    // No value of a row comes near 4 GiB.
    bytes.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend_from_slice(value);
}

/// What the committer knows of the roll.
#[derive(Debug, Default)]
pub(super) struct Roll {
    /// Whether the transaction has changed rows that are on it.
    changed: Cell<bool>,
    /// Up to which state of the database other hands were looked for.
    seen: Cell<Option<i64>>,
    /// Whether it did not hold then.
    broken: Cell<bool>,
}

impl Roll {
    /// Notes that a row on it was written or deleted.
    pub(super) fn note_change(&self) {
        self.changed.set(true);
    }

    /// Whether it is to be written: rows on it changed, and it held before.
    pub(super) fn must_be_written(&self) -> bool {
        self.changed.replace(false) && !self.broken.get()
    }

    /// The transaction was taken back.
    pub(super) fn forget_change(&self) {
        self.changed.set(false);
    }
}

/// A connection through which rows that decide are read: none that does not bear its seal.
#[derive(Debug)]
pub(super) struct Reading {
    connection: Connection,
    seals: Arc<Seals>,
    newest: Arc<Newest>,
}

impl Deref for Reading {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl Reading {
    pub(super) fn new(connection: Connection, seals: Arc<Seals>, newest: Arc<Newest>) -> Self {
        Self { connection, seals, newest }
    }

    /// The newest rows of the ledger by meter.
    pub(super) fn newest(&self) -> &Newest {
        &self.newest
    }

    /// The sealed row that a condition finds, if there is one.
    pub(super) fn one<T>(
        &self,
        table: Table,
        condition: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StoreError> {
        let sql = format!("SELECT * FROM {} WHERE {condition}", table.name());
        let mut statement = self.prepare_cached(&sql)?;
        let mut rows = statement.query(params)?;
        let Some(row) = rows.next()? else { return Ok(None) };
        self.seals.check(table, row)?;
        Ok(Some(read(row)?))
    }

    /// The sealed rows that a condition finds; it may end with an order and a limit.
    pub(super) fn all<T>(
        &self,
        table: Table,
        condition: &str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        self.rows(table, condition, params, read, Err)
    }

    /// The same without the rows that are forged: for counting what is sound.
    pub(super) fn sound<T>(
        &self,
        table: Table,
        condition: &str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let leave_out = |error| if matches!(error, StoreError::Forged { .. }) { Ok(()) } else { Err(error) };
        self.rows(table, condition, params, read, leave_out)
    }

    fn rows<T>(
        &self,
        table: Table,
        condition: &str,
        params: impl Params,
        mut read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
        unsound: impl Fn(StoreError) -> Result<(), StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let sql = format!("SELECT * FROM {} WHERE {condition}", table.name());
        let mut statement = self.prepare_cached(&sql)?;
        let mut rows = statement.query(params)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            match self.seals.check(table, row) {
                Ok(()) => found.push(read(row)?),
                Err(error) => unsound(error)?,
            }
        }
        Ok(found)
    }

    /// Checks every sealed row, and that none was taken out or put back.
    pub(super) fn verify(&self) -> Result<SealReport, StoreError> {
        // One view of the database for all queries; dropped, it ends.
        let _view = self.unchecked_transaction()?;
        let mut report = SealReport::default();
        for table in Table::ON_ROLL {
            let mut statement = self.prepare_cached(&format!("SELECT * FROM {}", table.name()))?;
            let mut rows = statement.query(())?;
            while let Some(row) = rows.next()? {
                match self.seals.check(table, row) {
                    Ok(()) => {}
                    Err(StoreError::Forged { row }) => report.forged.push(row),
                    Err(error) => return Err(error),
                }
            }
        }
        let foreign = self.newest.foreign().into_iter().map(|row| format!("issued_tokens {row}"));
        report.forged.extend(foreign);
        report.roll_broken = !self.roll_holds()?;
        Ok(report)
    }

    fn roll_holds(&self) -> Result<bool, StoreError> {
        let roll = self.one(Table::Roll, "number = 1", (), |row| {
            Ok((row.get::<_, [u8; 32]>("digest")?, row.get("position")?))
        });
        let (digest, position): (_, i64) = match roll {
            Ok(Some(roll)) => roll,
            Ok(None) | Err(StoreError::Forged { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        let later: bool = self
            .prepare_cached(&format!(
                "SELECT EXISTS (SELECT 1 FROM acts WHERE position > ?1 AND ({DECIDING}))"
            ))?
            .query_row([position], |row| row.get(0))?;
        Ok(!later && digest == roll_digest(self)?)
    }
}

impl Writing {
    /// Seals a row as it stands now. To be called after each change of a row that decides, in the same transaction, and only where
    /// the row was loaded (and so checked) before the change: sealing a forged row would make it good.
    pub(super) fn seal(&self, table: Table, number: i64) -> Result<(), StoreError> {
        let name = table.name();
        self.prepare_cached(&format!("UPDATE {name} SET version = version + 1 WHERE number = ?1"))?
            .execute([number])?;
        let message = self
            .prepare_cached(&format!("SELECT * FROM {name} WHERE number = ?1"))?
            .query_row([number], |row| message(table, row))?;
        let seal = self.seals.seal(&message)?;
        self.prepare_cached(&format!("UPDATE {name} SET seal = ?1 WHERE number = ?2"))?
            .execute((seal, number))?;
        if table != Table::Roll {
            self.deciding_rows_changed();
        }
        Ok(())
    }

    /// Looks at the roll before rows that decide are changed, if another connection has written since the last look. A roll that does
    /// not hold is not written any more: the next change must not make good what another hand did.
    pub(super) fn heed_other_hands(&self) {
        if self.roll().changed.get() {
            return;
        }
        let version = self
            .prepare_cached("PRAGMA data_version")
            .and_then(|mut statement| statement.query_row((), |row| row.get::<_, i64>(0)));
        let Ok(version) = version else { return };
        if self.roll().seen.get() == Some(version) {
            return;
        }
        match self.roll_holds() {
            Ok(holds) => {
                self.roll().seen.set(Some(version));
                self.roll().broken.set(!holds);
            }
            // Changing such a row takes a seal too, so nothing is changed until the HSM answers.
            Err(error) => tracing::warn!(%error, "the roll of sealed rows cannot be checked"),
        }
    }

    /// Makes the roll of the rows as they are.
    pub(super) fn write_roll(&self, position: i64) -> Result<(), StoreError> {
        let digest = roll_digest(self)?;
        self.prepare_cached(
            "INSERT INTO roll (number, digest, position) VALUES (1, ?1, ?2)
             ON CONFLICT DO UPDATE SET digest = excluded.digest, position = excluded.position",
        )?
        .execute((digest, position))?;
        self.seal(Table::Roll, 1)
    }

    /// Seals every row as it is and begins the roll, where there is none: for new databases, and for those of versions without seals
    /// on an administrator's word. Answers how many rows had no seal or another.
    pub(super) fn seal_all(&self, position: i64) -> Result<u64, StoreError> {
        let mut sealed = 0;
        for table in Table::ON_ROLL {
            let numbers: Vec<i64> = self
                .prepare(&format!("SELECT number FROM {} ORDER BY number", table.name()))?
                .query_map((), |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            for number in numbers {
                match self.one(table, "number = ?1", [number], |_| Ok(())) {
                    Ok(_) => {}
                    Err(StoreError::Forged { .. }) => {
                        self.seal(table, number)?;
                        sealed += 1;
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        self.write_roll(position)?;
        Ok(sealed)
    }
}

/// Whether there is a roll, and whether there are rows that should be on it.
pub(super) fn roll_and_rows(connection: &Connection) -> Result<(bool, bool), StoreError> {
    let exists = |table: Table| -> Result<bool, StoreError> {
        Ok(connection
            .query_row(&format!("SELECT 1 FROM {} LIMIT 1", table.name()), (), |_| Ok(()))
            .optional()?
            .is_some())
    };
    let mut rows = false;
    for table in Table::ON_ROLL {
        rows |= exists(table)?;
    }
    Ok((exists(Table::Roll)?, rows))
}

fn roll_digest(connection: &Connection) -> Result<[u8; 32], StoreError> {
    let mut hash = Sha256::new();
    hash.update(b"vendkey roll v1\0");
    for table in Table::ON_ROLL {
        hash.update(table.name());
        hash.update([0]);
        let mut statement = connection
            .prepare_cached(&format!("SELECT number, seal FROM {} ORDER BY number", table.name()))?;
        let mut rows = statement.query(())?;
        while let Some(row) = rows.next()? {
            hash.update(row.get::<_, i64>(0)?.to_be_bytes());
            hash.update(row.get::<_, Option<[u8; 32]>>(1)?.unwrap_or_default());
        }
        hash.update(u64::MAX.to_be_bytes());
    }
    Ok(hash.finalize().into())
}
