//! A batch of the ledger: all that it needs is loaded at once, each order is decided in turn, and
//! all is written at once.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use super::{clients, configurations, key_changes, links, queries, usage};
use crate::configuration::ConfigurationState;
use crate::id::{ClientId, ConfigurationId};
use crate::ledger::{
    Batch, Content, Day, Decision, Facts, NewToken, Recorded, Refused, RowFields, Sum, TokenRow, USUAL_DAYS,
    day_of, hour_of,
};
use crate::metrics;
use crate::store::authority::{KnownConfiguration, KnownHolder};
use crate::store::engine::{
    Asked, DaySum, FoundRow, HourSum, NO_CONFIGURATION, NewRow, Numbers, Select, Table, Transaction, Value,
};
use crate::store::writing::Writing;
use crate::store::{LedgerError, StoreError};
use crate::sts::attributes::BaseDate;
use crate::sts::meter::MeterPan;
use crate::sts::tid::Tid;

/// What an order comes to.
type Recording = Result<Recorded, LedgerError>;

/// What clients were given, by client and day.
type Days = HashMap<(ClientId, i64), Day>;

/// Records tokens in this order, each by its own deadline.
///
/// What concerns one of them alone is its own failure. An error says that something could not be
/// written: the transaction must be taken back.
pub(in crate::store) fn record<T: Transaction>(
    writing: &mut Writing<T>,
    orders: &[&NewToken],
    now: Instant,
) -> Result<Vec<Recording>, StoreError> {
    writing.chain()?;
    // Which TIDs were given is not known any more; what is on record is answered all the same.
    let lost = writing.lost.found();
    let (loaded, sums) = Loaded::load(writing, orders, now)?;
    let (days, clients) = days(writing, &loaded, sums)?;
    let chain = writing.chain()?;

    let mut batch = Batch::new(chain.end, chain.floors, writing.alarm_pace, days, orders.len());
    let mut numbers = Vec::with_capacity(orders.len());
    let mut decisions = Vec::with_capacity(orders.len());
    for (order, of_order) in orders.iter().zip(&loaded.of_orders) {
        decisions.push(of_order.as_ref().map_err(Clone::clone).and_then(|of_order| {
            if let Some(lost) = lost.filter(|_| of_order.earlier.is_none()) {
                return Err(StoreError::LostCommits { reason: lost.to_string() }.into());
            }
            let decision = of_order.decide(&mut batch, order)?;
            if matches!(decision, Decision::New(_)) {
                numbers.push(of_order.numbers());
            }
            Ok(decision)
        }));
    }

    write(writing, &batch, &numbers, &clients)?;
    for (client, alarm) in batch.alarms() {
        tracing::warn!(%client, limit = alarm.limit, "{}", alarm.text);
        metrics::alarm(if alarm.limit == "pace" { "pace" } else { "limit" }, *client);
    }
    Ok(answers(decisions, batch))
}

/// The number of a client and a day.
type ClientDay = (i64, i64);

/// What was loaded for the orders of a batch.
struct Loaded<'a> {
    of_orders: Vec<Result<OfOrder<'a>, LedgerError>>,
}

/// What was loaded for an order.
struct OfOrder<'a> {
    order: &'a NewToken,
    holder: Arc<KnownHolder>,
    // Rare, and large: most requests are new.
    earlier: Option<Box<Result<TokenRow, StoreError>>>,
    configuration: Option<Result<KnownConfiguration, StoreError>>,
    target: Option<Result<KnownConfiguration, StoreError>>,
    key_change_allowed: Result<bool, StoreError>,
    last_tid: Option<Tid>,
}

impl<'a> Loaded<'a> {
    fn load<T: Transaction>(
        writing: &mut Writing<T>,
        orders: &[&'a NewToken],
        now: Instant,
    ) -> Result<(Self, Vec<DaySum>), StoreError> {
        let writes = writing.view.writes_of_others()?;
        writing.authority.refresh(now, writes);
        let in_time = |order: &&&NewToken| order.deadline.is_none_or(|deadline| deadline > now);
        let failed_holders = load_holders(writing, orders.iter().filter(in_time).copied())?;
        let failed_configurations = load_configurations(writing, orders.iter().filter(in_time).copied())?;

        let holders = &writing.authority.holders;
        let known = &writing.authority.configurations;
        let configuration = |id: Option<ConfigurationId>| -> Option<Result<KnownConfiguration, StoreError>> {
            let id = id?;
            match known.get(&id) {
                Some(found) => found.map(Ok),
                None => failed_configurations.get(&id).cloned().map(Err),
            }
        };
        let of_order = |order: &&'a NewToken| {
            if !in_time(&order) {
                return Err(StoreError::DeadlinePassed.into());
            }
            let holder = match holders.get(&order.credential) {
                Some(found) => found.clone(),
                None => match failed_holders.get(&order.credential) {
                    Some(error) => return Err(error.clone().into()),
                    None => None,
                },
            };
            let (source, target) = named(&order.content);
            Ok(OfOrder {
                order,
                holder: holder
                    .filter(|known| known.holder.counts(order.client, order.now_ms))
                    .ok_or(Refused::CredentialNotEnabled)?,
                earlier: None,
                configuration: configuration(source),
                target: configuration(target),
                key_change_allowed: Ok(false),
                last_tid: None,
            })
        };
        let mut loaded = Self { of_orders: orders.iter().map(of_order).collect() };
        loaded.load_pairs(writing)?;
        // Sums are kept from other servers until the end. Who is first with a meter or a request is
        // found when the rows are written: whoever comes second decides once more.
        let known = writing.view.known(&loaded.asked())?;
        let with_tids =
            loaded.of_orders.iter_mut().flatten().filter(|of_order| of_order.sequence().is_some());
        for (of_order, known) in with_tids.zip(known.tids) {
            of_order.last_tid = known.last;
        }
        loaded.put_earlier(writing, known.rows)?;
        Ok((loaded, known.sums))
    }

    /// What has to be known of the orders.
    fn asked(&self) -> Asked {
        let of_orders = || self.of_orders.iter().flatten();
        let limited = |of_order: &&OfOrder<'a>| of_order.holder.holder.client.limits.are_counted();
        let mut limited: Vec<i64> =
            of_orders().filter(limited).map(|of_order| of_order.holder.client).collect();
        limited.sort_unstable();
        limited.dedup();
        let days = self.client_days();
        let days = days.chunk_by(|a, b| a.0 == b.0).filter_map(|of_day| {
            let (day, ..) = of_day.first()?;
            Some((*day, of_day.iter().map(|(_, client, _)| *client).collect()))
        });
        Asked {
            limited,
            days: days.collect(),
            meters: of_orders().filter_map(OfOrder::sequence).collect(),
            requests: of_orders()
                .map(|of_order| (of_order.holder.client, of_order.order.request_id))
                .collect(),
        }
    }

    /// The days of the orders, and their clients by number and name.
    fn client_days(&self) -> Vec<(i64, i64, ClientId)> {
        let mut days: Vec<(i64, i64, ClientId)> = Vec::new();
        for of_order in self.of_orders.iter().flatten() {
            let one = (day_of(of_order.order.now_ms), of_order.holder.client, of_order.order.client);
            // Most are of the same client and day as the one before.
            if days.last() != Some(&one) {
                days.push(one);
            }
        }
        days.sort_unstable();
        days.dedup();
        days
    }

    /// Puts rows that are there to the orders whose requests have made them.
    fn put_earlier<T: Transaction>(
        &mut self,
        writing: &mut Writing<T>,
        found: Vec<FoundRow>,
    ) -> Result<(), StoreError> {
        if found.is_empty() {
            return Ok(());
        }
        // A token is made from them again.
        let rows: Vec<RowFields> = found.iter().filter_map(|(_, row)| row.as_ref().ok()).cloned().collect();
        let own = writing.chain()?.end;
        let mut ends = writing.view.chains()?;
        ends.iter_mut().filter(|end| end.number == own.number).for_each(|end| *end = own);
        let mut links = links::check(&mut writing.view, &rows, &ends)?.into_iter();
        let mut of_orders: Vec<&mut OfOrder<'a>> = self.of_orders.iter_mut().flatten().collect();
        for (place, row) in found {
            let linked = row.and_then(|row| {
                let link = links.next().unwrap_or_else(|| Err(links::unlinked(row.sequence)));
                let row = queries::row(row)?;
                link.map(|()| row)
            });
            if let Some(of_order) = of_orders.get_mut(place) {
                of_order.earlier = Some(Box::new(linked));
            }
        }
        Ok(())
    }

    fn load_pairs<T: Transaction>(&mut self, writing: &mut Writing<T>) -> Result<(), StoreError> {
        let mut pairs: HashMap<(i64, i64), Result<bool, StoreError>> = HashMap::new();
        for of_order in self.of_orders.iter_mut().flatten() {
            let (Some(Ok((source, _))), Some(Ok((target, _)))) = (&of_order.configuration, &of_order.target)
            else {
                continue;
            };
            let pair = (*source, *target);
            let allowed = match pairs.get(&pair) {
                Some(known) => known.clone(),
                None => match key_changes::load(writing, pair.0, pair.1) {
                    Ok(found) => Ok(found.is_some()),
                    Err(error) if error.spoils_transaction() => return Err(error),
                    Err(error) => Err(error),
                },
            };
            pairs.insert(pair, allowed.clone());
            of_order.key_change_allowed = allowed;
        }
        Ok(())
    }
}

impl OfOrder<'_> {
    /// The sequence of TIDs from which it takes one.
    fn sequence(&self) -> Option<(MeterPan, BaseDate)> {
        match &self.order.content {
            Content::Sequenced { meter, base_date, .. } => Some((*meter, *base_date)),
            Content::Fixed { .. } | Content::KeyChange { .. } => None,
        }
    }

    fn decide(&self, batch: &mut Batch, order: &NewToken) -> Result<Decision, LedgerError> {
        let earlier = match self.earlier.as_deref() {
            Some(Ok(row)) => Some(row),
            Some(Err(error)) => return Err(error.clone().into()),
            None => None,
        };
        let mut facts = Facts {
            holder: Some(&self.holder.holder),
            earlier,
            configuration: None,
            target: None,
            key_change_allowed: false,
            last_tid: self.last_tid,
        };
        // A replay needs no more.
        if earlier.is_none() {
            facts.configuration = state(&self.configuration)?;
            facts.target = state(&self.target)?;
            facts.key_change_allowed = self.key_change_allowed.clone()?;
        }
        Ok(batch.decide(order, facts)?)
    }

    fn numbers(&self) -> Numbers {
        let number = |known: &Option<Result<KnownConfiguration, StoreError>>| match known {
            Some(Ok((number, _))) => Some(*number),
            Some(Err(_)) | None => None,
        };
        Numbers {
            client: self.holder.client,
            credential: self.holder.credential,
            configuration: number(&self.configuration),
            target: number(&self.target),
        }
    }
}

fn state(
    known: &Option<Result<KnownConfiguration, StoreError>>,
) -> Result<Option<ConfigurationState>, StoreError> {
    match known {
        None => Ok(None),
        Some(Ok((_, state))) => Ok(Some(*state)),
        Some(Err(error)) => Err(error.clone()),
    }
}

/// The configurations that a content names: the one whose key is used, and the target of a key
/// change.
fn named(content: &Content) -> (Option<ConfigurationId>, Option<ConfigurationId>) {
    match content {
        Content::Sequenced { configuration, .. } => (Some(*configuration), None),
        Content::Fixed { configuration, .. } => (*configuration, None),
        Content::KeyChange { configuration, target, .. } => (Some(*configuration), Some(*target)),
    }
}

/// Loads the credentials of orders, with their clients, that are not remembered; answers those that
/// cannot be believed.
fn load_holders<'a, T: Transaction>(
    writing: &mut Writing<T>,
    orders: impl Iterator<Item = &'a NewToken>,
) -> Result<HashMap<String, StoreError>, StoreError> {
    let mut failed = HashMap::new();
    let mut missing: Vec<&str> = orders
        .map(|order| order.credential.as_str())
        .filter(|key_id| !writing.authority.holders.contains_key(*key_id))
        .collect();
    if missing.is_empty() {
        return Ok(failed);
    }
    missing.sort_unstable();
    missing.dedup();
    let mut holders = clients::holders(writing, &missing)?;
    for key_id in missing {
        match holders.remove(key_id) {
            Some(Ok(holder)) => {
                writing.authority.holders.insert(key_id.to_owned(), Some(Arc::new(holder))).map(drop)
            }
            None => writing.authority.holders.insert(key_id.to_owned(), None).map(drop),
            Some(Err(error)) if error.spoils_transaction() => return Err(error),
            Some(Err(error)) => failed.insert(key_id.to_owned(), error).map(drop),
        };
    }
    Ok(failed)
}

/// Loads the configurations that orders name and that are not remembered; answers those that cannot
/// be believed.
fn load_configurations<'a, T: Transaction>(
    writing: &mut Writing<T>,
    orders: impl Iterator<Item = &'a NewToken>,
) -> Result<HashMap<ConfigurationId, StoreError>, StoreError> {
    let mut failed = HashMap::new();
    let ids = orders.flat_map(|order| {
        let (source, target) = named(&order.content);
        [source, target].into_iter().flatten()
    });
    let mut missing: Vec<ConfigurationId> =
        ids.filter(|id| !writing.authority.configurations.contains_key(id)).collect();
    if missing.is_empty() {
        return Ok(failed);
    }
    missing.sort_unstable();
    missing.dedup();
    let wanted = missing.iter().map(|id| Value::from(id.to_bytes())).collect();
    let rows = writing.view.rows(&Select::all(Table::Configurations).with_any("id", wanted))?;
    let mut found = HashMap::with_capacity(rows.len());
    for row in rows {
        let id = configurations::id(&row)?;
        let known = writing.seals.check(row).and_then(|row| Ok((row.number, configurations::state(&row)?)));
        found.insert(id, known);
    }
    for id in missing {
        match found.remove(&id) {
            Some(Ok(known)) => writing.authority.configurations.insert(id, Some(known)).map(drop),
            None => writing.authority.configurations.insert(id, None).map(drop),
            Some(Err(error)) => failed.insert(id, error).map(drop),
        };
    }
    Ok(failed)
}

/// What the clients of orders were given on the days of the orders, of sums that were loaded, and
/// the numbers of these clients.
fn days<T: Transaction>(
    writing: &mut Writing<T>,
    loaded: &Loaded<'_>,
    sums: Vec<DaySum>,
) -> Result<(Days, HashMap<ClientId, i64>), StoreError> {
    let now_ms =
        loaded.of_orders.iter().flatten().map(|of_order| of_order.order.now_ms).max().unwrap_or_default();
    let wanted = loaded.client_days();
    let numbers = wanted.iter().map(|(_, number, client)| (*client, *number)).collect();
    let mut known: HashMap<ClientDay, Vec<DaySum>> = HashMap::with_capacity(wanted.len());
    for sum in sums {
        known.entry((sum.client, sum.day)).or_default().push(sum);
    }
    let mut days = HashMap::with_capacity(wanted.len());
    for of_day in wanted.chunk_by(|a, b| a.0 == b.0) {
        let Some(&(day, ..)) = of_day.first() else { continue };
        for (_, number, client) in of_day {
            let found = known.entry((*number, day)).or_default();
            let lowered = writing.given.lowered(*number, day, found);
            raise(writing, *client, lowered, found, now_ms)?;
            writing.given.note(found.iter());
        }
        let unknown: Vec<i64> = of_day
            .iter()
            .map(|(_, number, _)| *number)
            .filter(|client| writing.usual_days.get(*client, day).is_none())
            .collect();
        if !unknown.is_empty() {
            let before = writing.view.sums(&unknown, day - USUAL_DAYS, day - 1)?;
            for client in unknown {
                writing.usual_days.note(client, day, before.iter().filter(|sum| sum.client == client));
            }
        }
        for (_, number, client) in of_day {
            let sums = known.remove(&(*number, day)).unwrap_or_default();
            let usual = writing.usual_days.get(*number, day).flatten();
            days.insert((*client, day), Day::new(sums.into_iter().map(|sum| (sum.kind, sum.sum)), usual));
        }
    }
    Ok((days, numbers))
}

/// Raises sums that somebody else has lowered since this server has seen them, on record.
fn raise<T: Transaction>(
    writing: &mut Writing<T>,
    client: ClientId,
    lowered: Vec<DaySum>,
    found: &mut Vec<DaySum>,
    now_ms: i64,
) -> Result<(), StoreError> {
    for raised in lowered {
        let place = found.iter().position(|sum| sum.kind == raised.kind);
        let kept = place.and_then(|place| found.get(place)).map(|sum| sum.sum).unwrap_or_default();
        usage::tell_raised(writing, client, &raised, kept, now_ms)?;
        writing.view.put_sums(std::slice::from_ref(&raised), &[])?;
        match place.and_then(|place| found.get_mut(place)) {
            Some(sum) => *sum = raised,
            None => found.push(raised),
        }
    }
    Ok(())
}

/// Writes what a batch has come to.
fn write<T: Transaction>(
    writing: &mut Writing<T>,
    batch: &Batch,
    numbers: &[Numbers],
    clients: &HashMap<ClientId, i64>,
) -> Result<(), StoreError> {
    if batch.rows().is_empty() {
        return Ok(());
    }
    writing.appended(batch.end())?;
    let mut rows =
        batch.rows().iter().zip(numbers).map(|(issued, numbers)| NewRow { issued, numbers: *numbers });
    writing.view.insert_tokens(&mut rows)?;
    if !batch.acts().is_empty() {
        writing.view.insert_acts(batch.acts())?;
    }
    let mut vended: BTreeMap<(i64, i64, &'static str), Sum> = BTreeMap::new();
    for ((issued, (kind, amount)), numbers) in batch.rows().iter().zip(batch.counts()).zip(numbers) {
        let hour = (hour_of(issued.row.issued_ms), numbers.configuration.unwrap_or(NO_CONFIGURATION), *kind);
        vended.entry(hour).or_default().add(Sum { tokens: 1, amount: *amount });
    }
    let of_hour = |((hour, configuration, kind), sum): ((i64, i64, &'static str), Sum)| HourSum {
        hour,
        configuration,
        kind: kind.into(),
        sum,
    };
    let vended: Vec<HourSum> = vended.into_iter().map(of_hour).collect();
    let mut sums = Vec::new();
    for (client, day, given) in batch.days() {
        let Some(client) = clients.get(&client).copied() else { continue };
        sums.extend(given.changed().map(|(kind, sum)| DaySum { client, day, kind: kind.clone(), sum }));
    }
    writing.given.note(&sums);
    writing.view.put_sums(&sums, &vended)
}

/// The answers to the orders, when all is written.
fn answers(decisions: Vec<Result<Decision, LedgerError>>, batch: Batch) -> Vec<Recording> {
    let repeated: HashMap<usize, TokenRow> = decisions
        .iter()
        .filter_map(|decision| match decision {
            Ok(Decision::ReplayInBatch(index)) => Some((*index, batch.rows().get(*index)?.row.clone())),
            _ => None,
        })
        .collect();
    // New rows are in the order of their orders.
    let mut rows = batch.into_rows().into_iter();
    let lost = || StoreError::Defect { reason: "a row of a batch is lost".into() };
    let answer = |decision| {
        let row = match decision? {
            Decision::New(_) => return Ok(Recorded::New(rows.next().ok_or_else(lost)?.row)),
            Decision::Replay(row) => Some(*row),
            Decision::ReplayInBatch(index) => repeated.get(&index).cloned(),
        };
        Ok(Recorded::Replay(row.ok_or_else(lost)?))
    };
    decisions.into_iter().map(answer).collect()
}
