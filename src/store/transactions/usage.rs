//! The sums of a day, compared with the rows of the ledger.

use std::collections::HashMap;

use super::{clients, queries};
use crate::audit::{Actor, NewAct};
use crate::id::ClientId;
use crate::ledger::{CountedDay, SumMismatch};
use crate::store::engine::{DaySum, Select, Table, Transaction, Value};
use crate::store::writing::Writing;
use crate::store::{PAGE_SIZE_MAX, StoreError};

/// Compares the sums of a day with the rows that were counted and those that came since, and raises
/// those that are too low, on record.
pub(in crate::store) fn correct<T: Transaction>(
    writing: &mut Writing<T>,
    mut counted: CountedDay,
    now_ms: i64,
) -> Result<Vec<SumMismatch>, StoreError> {
    // Before the rows: from here on no server records one.
    let kept = writing.view.sums_of_day(counted.day())?;
    let mut after = counted.after().clone();
    loop {
        let page = queries::list(writing, &counted.filter(), &after, PAGE_SIZE_MAX)?;
        counted.add(&page.rows);
        match page.next {
            Some(next) => after = next,
            None => break,
        }
    }
    let wanted = kept.iter().map(|sum| Value::from(sum.client)).collect();
    let rows = writing.view.rows(&Select::all(Table::Clients).with_any("number", wanted))?;
    let ids: HashMap<i64, ClientId> =
        rows.iter().map(|row| Ok((row.number, clients::id(row)?))).collect::<Result<_, StoreError>>()?;
    let kept = kept.into_iter().filter_map(|DaySum { client, kind, sum, .. }| {
        Some((ids.get(&client).copied()?, kind.into_owned(), sum))
    });
    let mismatches = counted.mismatches(kept);
    for mismatch in mismatches.iter().filter(|mismatch| mismatch.higher() != mismatch.kept) {
        let Some(client) = writing.view.rows(&clients::of_id(mismatch.client))?.pop() else { continue };
        let raised = DaySum {
            client: client.number,
            day: counted.day(),
            kind: mismatch.kind.into(),
            sum: mismatch.higher(),
        };
        writing.view.put_sums(&[raised], &[])?;
        let details = mismatch.details();
        writing.append_act(&NewAct { kind: "usage.raised", actor: Actor::Local, details, now_ms })?;
    }
    Ok(mismatches)
}
