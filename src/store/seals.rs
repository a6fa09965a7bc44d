//! Seals of the rows that decide: whoever writes to the database cannot grant themselves anything.
//!
//! A seal is an HMAC by the row-seal key in the HSM over the whole row. Bytes of a seal: `vendkey
//! row seal v1`, a zero byte, the table, and for each column but `seal` in the order of their
//! names: name, a letter for the type, value. Texts and values have their length in 4 bytes (big
//! endian) before them. Columns that are NULL are left out, so that a new column of a later version
//! changes no seal.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use thiserror::Error;

use super::StoreError;
use super::engine::{Row, Table, Value};
use crate::hsm::{Hsm, RowSealKey as _, SealKeyId};

/// Makes the seals of rows: an HMAC by a key that no database holds. Blocks; called on the store's
/// own threads.
pub trait Sealer: fmt::Debug + Send + Sync {
    /// The seal of a message: the same for the same message, and for nobody else to make.
    ///
    /// # Errors
    /// The HSM does not answer.
    fn seal(&self, message: &[u8]) -> Result<[u8; 32], NoSeal>;

    /// Which key makes them.
    fn key_id(&self) -> SealKeyId;
}

/// No seal can be made or checked now.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the HSM does not seal: {0}")]
pub struct NoSeal(pub String);

impl Sealer for Hsm {
    fn seal(&self, message: &[u8]) -> Result<[u8; 32], NoSeal> {
        self.seal_row(message).map_err(|error| NoSeal(error.to_string()))
    }

    fn key_id(&self) -> SealKeyId {
        self.seal_key_id()
    }
}

/// What a look at all rows that decide found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SealReport {
    /// Rows that do not bear their seal, by table and number: they are refused wherever they are
    /// loaded. And rows of the ledger that this program has not written, as far as they were met:
    /// they are left out.
    pub forged: Vec<String>,
    /// Whether rows were taken out, or put back as they once were, by somebody else.
    pub rows_missing: bool,
}

impl SealReport {
    /// Whether all is as the store left it.
    pub fn is_sound(&self) -> bool {
        self.forged.is_empty() && !self.rows_missing
    }
}

/// Makes and checks seals. Rows that were checked once are known by their bytes, so that the HSM is
/// asked only for changed ones.
#[derive(Debug)]
pub(crate) struct Seals {
    sealer: Arc<dyn Sealer>,
    checked: Mutex<HashMap<(Table, i64), [u8; 32]>>,
}

impl Seals {
    pub(crate) fn new(sealer: Arc<dyn Sealer>) -> Self {
        Self { sealer, checked: Mutex::default() }
    }

    /// The seal of a row as it stands.
    pub(crate) fn seal(&self, row: &Row) -> Result<[u8; 32], StoreError> {
        let message = message(row);
        let seal = self.make(&message)?;
        self.note_checked(row, &message, &seal);
        Ok(seal)
    }

    /// Refuses a row that does not bear its seal.
    pub(crate) fn check(&self, row: Row) -> Result<CheckedRow, StoreError> {
        let forged = || StoreError::Forged { row: self.name(&row) };
        let found = row.seal.ok_or_else(forged)?;
        let message = message(&row);
        let known = self.lock().get(&(row.table, row.number)).copied();
        if known != Some(digest(&message, &found)) {
            if !bool::from(self.make(&message)?.ct_eq(&found)) {
                return Err(forged());
            }
            self.note_checked(&row, &message, &found);
        }
        Ok(CheckedRow(row))
    }

    /// Which key makes the seals.
    pub(crate) fn key_id(&self) -> SealKeyId {
        self.sealer.key_id()
    }

    /// The name of a row that does not bear its seal, with the key that is said to have made it,
    /// where that is another one: as in a backup from before the key was rotated.
    fn name(&self, row: &Row) -> String {
        let name = format!("{} {}", row.table.name(), row.number);
        match row.bytes_or_null("seal_key") {
            Ok(Some(key)) if SealKeyId(key) != self.key_id() => {
                format!("{name} (sealed by key {}, not by {})", SealKeyId(key), self.key_id())
            }
            _ => name,
        }
    }

    fn make(&self, message: &[u8]) -> Result<[u8; 32], StoreError> {
        self.sealer.seal(message).map_err(|error| StoreError::NoSeal { reason: error.0 })
    }

    fn note_checked(&self, row: &Row, message: &[u8], seal: &[u8; 32]) {
        self.lock().insert((row.table, row.number), digest(message, seal));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(Table, i64), [u8; 32]>> {
        self.checked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A row that bears its seal. Only such a row can be changed: sealing a forged one would make it
/// good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CheckedRow(Row);

impl std::ops::Deref for CheckedRow {
    type Target = Row;

    fn deref(&self) -> &Row {
        &self.0
    }
}

fn digest(message: &[u8], seal: &[u8; 32]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(message);
    hash.update(seal);
    hash.finalize().into()
}

/// What a seal is made over.
fn message(row: &Row) -> Vec<u8> {
    let number = Value::Integer(row.number);
    let columns = row.table.columns().iter().copied().zip(&row.values);
    let mut columns: Vec<(&str, &Value)> = columns.chain([("number", &number)]).collect();
    columns.sort_by_key(|(name, _)| *name);
    let mut bytes = b"vendkey row seal v1\0".to_vec();
    part(&mut bytes, row.table.name().as_bytes());
    for (name, value) in columns {
        let (letter, value) = match value {
            Value::Null => continue,
            Value::Integer(number) => (b'i', &number.to_be_bytes()[..]),
            Value::Text(text) => (b't', text.as_bytes()),
            Value::Blob(blob) => (b'b', blob.as_slice()),
        };
        part(&mut bytes, name.as_bytes());
        bytes.push(letter);
        part(&mut bytes, value);
    }
    bytes
}

fn part(bytes: &mut Vec<u8>, value: &[u8]) {
    // No value of a row comes near 4 GiB.
    bytes.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend_from_slice(value);
}

/// A key in memory, for benchmarks and tests of the store alone.
pub struct SoftwareSealer(pub [u8; 32]);

impl fmt::Debug for SoftwareSealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SoftwareSealer(..)")
    }
}

impl Sealer for SoftwareSealer {
    fn seal(&self, message: &[u8]) -> Result<[u8; 32], NoSeal> {
        let mut hmac = Hmac::<Sha256>::new_from_slice(&self.0).map_err(|error| NoSeal(error.to_string()))?;
        hmac.update(message);
        Ok(hmac.finalize().into_bytes().into())
    }

    fn key_id(&self) -> SealKeyId {
        SealKeyId([self.0[0]; 8])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        let values = vec![
            Value::Integer(1),
            Value::Integer(2),
            Value::Integer(3),
            Value::Null,
            1_i64.into(),
            Value::Null,
        ];
        Row { table: Table::KeyChangePairs, number: 7, seal: None, values }
    }

    /// The bytes stay what they are: rows of released servers must verify for ever.
    #[test]
    fn the_bytes_of_version_1() {
        let mut expected = b"vendkey row seal v1\0\0\0\0\x10key_change_pairs".to_vec();
        for (name, number) in
            [("allowed_by", 3_i64), ("number", 7), ("source", 1), ("target", 2), ("version", 1)]
        {
            expected.extend(u32::try_from(name.len()).unwrap().to_be_bytes());
            expected.extend(name.as_bytes());
            expected.push(b'i');
            expected.extend([0, 0, 0, 8]);
            expected.extend(number.to_be_bytes());
        }
        assert_eq!(message(&row()), expected);
    }

    #[test]
    fn a_row_is_checked_by_its_seal() {
        let seals = Seals::new(Arc::new(SoftwareSealer([1; 32])));
        let sealed = Row { seal: Some(seals.seal(&row()).unwrap()), ..row() };
        for seals in [&seals, &Seals::new(Arc::new(SoftwareSealer([1; 32])))] {
            assert!(seals.check(sealed.clone()).is_ok());
            let forged = |row| matches!(seals.check(row), Err(StoreError::Forged { row }) if row == "key_change_pairs 7");
            assert!(forged(row()));
            let mut changed = sealed.clone();
            changed.values[1] = Value::Integer(9);
            assert!(forged(changed));
        }
        let other = Seals::new(Arc::new(SoftwareSealer([2; 32])));
        assert!(other.check(sealed).is_err(), "another HSM's");
    }

    #[test]
    fn a_seal_by_another_key_is_told() {
        let [old, new] = [1, 2].map(|key| Seals::new(Arc::new(SoftwareSealer([key; 32]))));
        let mut row = row();
        row.values[5] = old.key_id().0.into();
        let sealed = Row { seal: Some(old.seal(&row).unwrap()), ..row };
        assert!(old.check(sealed.clone()).is_ok());
        let StoreError::Forged { row } = new.check(sealed).unwrap_err() else { panic!("another error") };
        assert_eq!(row, "key_change_pairs 7 (sealed by key 0101010101010101, not by 0202020202020202)");
    }
}
