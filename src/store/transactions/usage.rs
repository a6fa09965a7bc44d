//! The sums of a day, compared with the rows of the ledger.

use std::collections::HashMap;

use super::{clients, configurations, queries, report};
use crate::audit::{Actor, NewAct};
use crate::id::{ClientId, ConfigurationId};
use crate::ledger::{CountedDay, Sum, SumMismatch, SumOf};
use crate::metrics;
use crate::store::engine::{DaySum, HourSum, NO_CONFIGURATION, Select, Table, Transaction, Value};
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
    let of_day = writing.view.sums_of_day(counted.day())?;
    let of_hours = writing.view.vended_hours(counted.hours())?;
    let mut after = counted.after().clone();
    loop {
        let page = queries::list(writing, &counted.filter(), &after, PAGE_SIZE_MAX)?;
        counted.add(&page.rows);
        match page.next {
            Some(next) => after = next,
            None => break,
        }
    }
    let clients = client_ids(writing, &of_day)?;
    let of_clients = of_day.into_iter().filter_map(|DaySum { client, kind, sum, .. }| {
        Some((SumOf::Client(clients.get(&client).copied()?), kind.into_owned(), sum))
    });
    let numbers = configuration_numbers(writing)?;
    let ids: HashMap<i64, ConfigurationId> = numbers.iter().map(|(id, number)| (*number, *id)).collect();
    let of_hours = of_hours.into_iter().map(|HourSum { hour, configuration, kind, sum }| {
        (SumOf::Hour(hour, ids.get(&configuration).copied()), kind.into_owned(), sum)
    });
    let mut mismatches = counted.mismatches(of_clients.chain(of_hours));
    // What an older version has vended is added apart, and nobody has lowered it.
    let lacking = report::lacking_until(writing, counted.day())?;
    mismatches.retain(
        |found| !matches!(found.of, SumOf::Hour(hour, _) if lacking.is_some_and(|last| hour <= last)),
    );
    for mismatch in mismatches.iter().filter(|mismatch| mismatch.higher() != mismatch.kept) {
        let kind = mismatch.kind.into();
        match mismatch.of {
            SumOf::Client(client) => {
                let Some(client) = writing.view.rows(&clients::of_id(client))?.pop() else { continue };
                let (client, sum) = (client.number, mismatch.higher());
                let raised = DaySum { client, day: counted.day(), kind, sum };
                writing.view.put_sums(&[raised], &[])?;
            }
            SumOf::Hour(hour, configuration) => {
                let number = configuration.map(|id| numbers.get(&id).copied());
                let Some(configuration) = number.unwrap_or(Some(NO_CONFIGURATION)) else { continue };
                let sum = mismatch.kept.missing_to(mismatch.counted);
                writing.view.put_sums(&[], &[HourSum { hour, configuration, kind, sum }])?;
            }
        }
        let (kind, details) = (mismatch.raised(), mismatch.details());
        writing.append_act(&NewAct { kind, actor: Actor::Local, details, now_ms })?;
    }
    Ok(mismatches)
}

fn client_ids<T: Transaction>(
    writing: &mut Writing<T>,
    sums: &[DaySum],
) -> Result<HashMap<i64, ClientId>, StoreError> {
    let wanted = sums.iter().map(|sum| Value::from(sum.client)).collect();
    let rows = writing.view.rows(&Select::all(Table::Clients).with_any("number", wanted))?;
    rows.iter().map(|row| Ok((row.number, clients::id(row)?))).collect()
}

/// The numbers of configurations. There are few.
fn configuration_numbers<T: Transaction>(
    writing: &mut Writing<T>,
) -> Result<HashMap<ConfigurationId, i64>, StoreError> {
    let rows = writing.view.rows(&Select::all(Table::Configurations))?;
    rows.iter().map(|row| Ok((configurations::id(row)?, row.number))).collect()
}

/// Tells, on record, of a sum that somebody else has lowered since this server has seen it.
pub(super) fn tell_raised<T: Transaction>(
    writing: &mut Writing<T>,
    client: ClientId,
    raised: &DaySum,
    kept: Sum,
    now_ms: i64,
) -> Result<(), StoreError> {
    let (kind, sum) = (&raised.kind, raised.sum);
    tracing::error!(%client, %kind, %kept, was = %sum, "what a client was given today was lowered by somebody else");
    metrics::alarm("usage", client);
    let details = [
        ("client", client.to_string()),
        ("kind", kind.to_string()),
        ("kept", kept.to_string()),
        ("known", sum.to_string()),
    ];
    writing.append_act(&NewAct { kind: "usage.raised", actor: Actor::Local, details: details.into(), now_ms })
}
