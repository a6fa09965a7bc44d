//! What was vended and refused in a span, with the names of what the sums are about.

use std::collections::HashMap;

use super::{clients, configurations};
use crate::id::{ClientId, ConfigurationId};
use crate::ledger::{CountedHours, HourOfConfiguration, Hours, OfClient, Sum, Vended, day_of};
use crate::store::StoreError;
use crate::store::engine::{HourSum, NO_CONFIGURATION, Select, Table, Transaction, Value, View};
use crate::store::reading::Reading;
use crate::store::writing::Writing;

/// Reads the sums of a span.
pub(in crate::store) fn vended<V: View>(
    reading: &mut Reading<V>,
    hours: Hours,
) -> Result<Vended, StoreError> {
    Ok(Vended {
        hours: hours_of_configurations(reading, hours)?,
        clients: of_clients(reading, hours)?,
        refused: reading.view.refused_hours(hours)?,
        kept_since: kept_since(reading)?,
    })
}

fn hours_of_configurations<V: View>(
    reading: &mut Reading<V>,
    hours: Hours,
) -> Result<Vec<HourOfConfiguration>, StoreError> {
    let kept = reading.view.vended_hours(hours)?;
    let ids = configuration_ids(reading, &kept)?;
    let of_configuration = |HourSum { hour, configuration, kind, sum }: HourSum| HourOfConfiguration {
        hour,
        configuration: ids.get(&configuration).copied(),
        kind: kind.into_owned(),
        sum,
    };
    Ok(kept.into_iter().map(of_configuration).collect())
}

/// Adds what was vended before sums by the hour were kept, and answers how many sums were added.
/// None where these are not the hours that lack any more: another server has added them.
pub(in crate::store) fn fill<T: Transaction>(
    writing: &mut Writing<T>,
    counted: &CountedHours,
    now_ms: i64,
) -> Result<usize, StoreError> {
    // From here on no server writes sums.
    writing.view.sums_of_day(day_of(now_ms))?;
    let first = counted.first_kept();
    if kept_since(writing)? != Some(first.first) {
        return Ok(0);
    }
    let kept = hours_of_configurations(writing, first)?;
    let rows = writing.view.rows(&Select::all(Table::Configurations))?;
    let numbers: HashMap<ConfigurationId, i64> = rows
        .iter()
        .map(|row| Ok((configurations::id(row)?, row.number)))
        .collect::<Result<_, StoreError>>()?;
    let of_hour = |HourOfConfiguration { hour, configuration, kind, sum }: HourOfConfiguration| {
        let number = configuration.map_or(Some(NO_CONFIGURATION), |id| numbers.get(&id).copied())?;
        Some(HourSum { hour, configuration: number, kind: kind.into(), sum })
    };
    let lacking: Vec<HourSum> = counted.lacking(kept).into_iter().filter_map(of_hour).collect();
    writing.view.put_sums(&[], &lacking)?;
    Ok(lacking.len())
}

/// Up to which hour sums may lack that no version has written yet, looked at on a day.
pub(super) fn lacking_until<V: View>(reading: &mut Reading<V>, day: i64) -> Result<Option<i64>, StoreError> {
    match reading.view.first_sums()? {
        // This version has vended nothing, and another one did.
        (None, Some(first)) if first < day => Ok(Some(i64::MAX)),
        _ => kept_since(reading),
    }
}

/// Since when sums by the hour are kept, if tokens were recorded on a day before: by a version that
/// did not keep them.
fn kept_since<V: View>(reading: &mut Reading<V>) -> Result<Option<i64>, StoreError> {
    let (hour, day) = reading.view.first_sums()?;
    let Some((hour, day)) = hour.zip(day) else { return Ok(None) };
    Ok((Hours { first: hour, last: hour }.days().0 > day).then_some(hour))
}

fn configuration_ids<V: View>(
    reading: &mut Reading<V>,
    kept: &[HourSum],
) -> Result<HashMap<i64, ConfigurationId>, StoreError> {
    let mut numbers: Vec<i64> = kept.iter().map(|sum| sum.configuration).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let wanted = numbers.into_iter().map(Value::from).collect();
    let rows = reading.view.rows(&Select::all(Table::Configurations).with_any("number", wanted))?;
    rows.iter().map(|row| Ok((row.number, configurations::id(row)?))).collect()
}

/// The sums of the days, by client and kind.
fn of_clients<V: View>(reading: &mut Reading<V>, hours: Hours) -> Result<Vec<OfClient>, StoreError> {
    let (first, last) = hours.days();
    let mut sums: HashMap<(i64, String), Sum> = HashMap::new();
    for day in reading.view.sums_of_days(first, last)? {
        sums.entry((day.client, day.kind.into_owned())).or_default().add(day.sum);
    }
    let mut numbers: Vec<i64> = sums.keys().map(|(client, _)| *client).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let wanted = numbers.into_iter().map(Value::from).collect();
    let rows = reading.view.rows(&Select::all(Table::Clients).with_any("number", wanted))?;
    let names: HashMap<i64, (ClientId, String)> = rows
        .iter()
        .map(|row| Ok((row.number, (clients::id(row)?, clients::display_name(row)?))))
        .collect::<Result<_, StoreError>>()?;
    let mut clients: Vec<OfClient> = sums
        .into_iter()
        .filter_map(|((client, kind), sum)| {
            let (client, display_name) = names.get(&client)?.clone();
            Some(OfClient { client, display_name, kind, sum })
        })
        .collect();
    clients.sort_by(|a, b| {
        (&a.kind, b.sum.amount, b.sum.tokens, a.client).cmp(&(&b.kind, a.sum.amount, a.sum.tokens, b.client))
    });
    Ok(clients)
}
