//! Rows under seal: copied as they are, number, version and seal, so that the seals hold.

use std::collections::BTreeMap;

use super::{MigrationError, Progress, Step, Watch};
use crate::store::StoreError;
use crate::store::engine::{Copyable, Row, Select, Table, Value};
use crate::store::writing::Writing;

/// The tables in the order in which rows name those of others, and the index behind them.
fn tables() -> impl DoubleEndedIterator<Item = Table> {
    Table::INDEXED.into_iter().chain([Table::SealIndex])
}

/// Makes the rows of the target those of the source, in one transaction. An earlier run may have
/// copied older ones.
pub(super) fn copy<S: Copyable, T: Copyable>(
    source: &mut Writing<S>,
    target: &mut Writing<T>,
    watch: Watch<'_>,
) -> Result<(), MigrationError> {
    let mut wanted = BTreeMap::new();
    for table in tables() {
        wanted.insert(table, source.view.rows(&Select::all(table)).map_err(MigrationError::source)?);
    }
    let of = wanted.values().map(|rows| rows.len() as u64).sum();
    let copied = target.transact(|target| {
        let mut known: BTreeMap<Table, BTreeMap<i64, Row>> = BTreeMap::new();
        for table in tables() {
            let rows = target.view.rows(&Select::all(table))?;
            known.insert(table, rows.into_iter().map(|row| (row.number, row)).collect());
        }
        for table in tables().rev() {
            let wanted: Vec<i64> = wanted[&table].iter().map(|row| row.number).collect();
            for number in known[&table].keys().filter(|number| wanted.binary_search(number).is_err()) {
                target.view.delete(table, *number)?;
            }
        }
        let mut done = 0;
        for table in tables() {
            for row in &wanted[&table] {
                put(&mut target.view, row, known[&table].get(&row.number))?;
                done += 1;
                if done % 1_000 == 0 {
                    watch(Progress { step: Step::Rows, done, of: Some(of) });
                }
            }
        }
        Ok(())
    });
    copied.map_err(MigrationError::target)?;
    target.view.tidy_up();
    watch(Progress { step: Step::Rows, done: of, of: Some(of) });
    Ok(())
}

/// Writes a row, where it is not there as it should be.
fn put<T: Copyable>(target: &mut T, row: &Row, known: Option<&Row>) -> Result<(), StoreError> {
    let columns = || row.table.columns().iter().copied().zip(row.values.iter().cloned());
    let Some(known) = known else {
        let own = [("number", Value::from(row.number)), ("seal", Value::from(row.seal))];
        let columns: Vec<(&'static str, Value)> = own.into_iter().chain(columns()).collect();
        return target.insert(row.table, &columns).map(drop);
    };
    if known == row {
        return Ok(());
    }
    // Those that differ alone: what must never change may not even be written.
    let mut changed: Vec<(&'static str, Value)> =
        columns().filter(|(column, value)| known.get(column) != value).collect();
    changed.push(("seal", Value::from(row.seal)));
    target.update(row.table, row.number, &changed)
}
