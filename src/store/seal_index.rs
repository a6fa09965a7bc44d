//! The seal index: one row under seal over all other seals and the positions of all chains. It tells
//! a row that was taken out, or put back as it had been, while nobody looked.

use sha2::{Digest as _, Sha256};

use super::engine::{Select, Table, Transaction, Value, View};
use super::reading::Reading;
use super::writing::{SealIndex, Writing};
use super::{SealReport, StoreError};
use crate::audit::ChainNumber;
use crate::ledger::Cursor;

/// The acts that come with a change of a row under seal: none may be later than the seal index.
const DECIDING_ACTS: [&str; 6] =
    ["client.", "credential.", "public_key.", "configuration.", "key_change.", "approval."];

impl<V: View> Reading<V> {
    /// Checks every row under seal, and that none was taken out or put back.
    pub(crate) fn verify_seals(&mut self) -> Result<SealReport, StoreError> {
        self.snapshot(|reading| {
            let mut report = SealReport::default();
            for table in Table::INDEXED {
                for row in reading.view.rows(&Select::all(table))? {
                    match reading.seals.check(row) {
                        Ok(_) => {}
                        Err(StoreError::Forged { row }) => report.forged.push(row),
                        Err(error) => return Err(error),
                    }
                }
            }
            let foreign = reading.view.foreign_tokens().into_iter().map(|row| format!("issued_tokens {row}"));
            report.forged.extend(foreign);
            report.rows_missing = !reading.seal_index_holds()?;
            Ok(report)
        })
    }

    fn seal_index_holds(&mut self) -> Result<bool, StoreError> {
        let index = match self.load_one(Select::all(Table::SealIndex).with("number", 1_i64)) {
            Ok(Some(index)) => index,
            Ok(None) | Err(StoreError::Forged { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        let Ok(first) = u64::try_from(index.integer("position")?) else { return Ok(false) };
        let mut positions = match index.get("other_positions") {
            Value::Null => Cursor::default(),
            _ => index.parsed("other_positions")?,
        };
        positions.advance(ChainNumber::FIRST, first);
        for end in self.view.chains()? {
            let chain = end.number;
            if self.view.has_act_after(chain, positions.position(chain), &DECIDING_ACTS)? {
                return Ok(false);
            }
        }
        Ok(index.bytes("digest")? == self.digest_of_seals()?)
    }

    fn digest_of_seals(&mut self) -> Result<[u8; 32], StoreError> {
        let mut hash = Sha256::new();
        hash.update(b"vendkey roll v1\0");
        for table in Table::INDEXED {
            hash.update(table.name());
            hash.update([0]);
            for (number, seal) in self.view.seals(table)? {
                hash.update(number.to_be_bytes());
                hash.update(seal.unwrap_or_default());
            }
            hash.update(u64::MAX.to_be_bytes());
        }
        Ok(hash.finalize().into())
    }
}

impl<T: Transaction> Writing<T> {
    /// Checks the seal index before rows under seal are changed, if somebody else has written since
    /// the last time.
    pub(super) fn check_seal_index(&mut self) {
        if self.changed_rows() {
            return;
        }
        let Ok(writes) = self.view.writes_of_others() else { return };
        if self.seal_index.checked == Some(writes) {
            return;
        }
        match self.seal_index_holds() {
            Ok(holds) => self.seal_index = SealIndex { checked: Some(writes), broken: !holds },
            // Changing such a row takes a seal too, so nothing is changed until the HSM answers.
            Err(error) => tracing::warn!(%error, "the seal index cannot be checked"),
        }
    }

    /// Writes the seal index of the rows as they are, if they changed.
    pub(super) fn update_seal_index(&mut self) -> Result<(), StoreError> {
        if self.changed_rows() && !self.seal_index.broken { self.write_seal_index() } else { Ok(()) }
    }

    fn write_seal_index(&mut self) -> Result<(), StoreError> {
        // Nobody else writes acts that decide until the end of the transaction.
        let ends = self.view.chains()?;
        let mut positions: Cursor = ends.iter().map(|end| (end.number, end.head.position)).collect();
        let own = self.chain()?.end;
        positions.advance(own.number, own.head.position);
        let first = position_value(positions.position(ChainNumber::FIRST))?;
        let others = Some(positions.without_first()).filter(|others| !others.is_start());
        let columns = [
            ("digest", Value::from(self.digest_of_seals()?)),
            ("position", first),
            ("other_positions", Value::from(others.map(|others| others.to_string()))),
        ];
        let index = Select::all(Table::SealIndex).with("number", 1_i64);
        match self.view.rows(&index)?.into_iter().next() {
            Some(row) => self.put_row(&row, &columns),
            None => self.insert(Table::SealIndex, &columns).map(drop),
        }
    }

    /// Seals every row as it is and begins the seal index, where there is none: for new databases,
    /// and for those of versions without seals on an administrator's word. Answers how many rows
    /// had no seal or another.
    pub(crate) fn seal_all(&mut self) -> Result<u64, StoreError> {
        let mut sealed = 0;
        for table in Table::INDEXED {
            for row in self.view.rows(&Select::all(table))? {
                match self.seals.check(row.clone()) {
                    Ok(_) => {}
                    Err(StoreError::Forged { .. }) => {
                        self.put_row(&row, &[])?;
                        sealed += 1;
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        self.write_seal_index()?;
        Ok(sealed)
    }
}

fn position_value(position: u64) -> Result<Value, StoreError> {
    let position = i64::try_from(position);
    position.map(Value::from).map_err(|_| StoreError::Defect { reason: "the chain is too long".into() })
}
