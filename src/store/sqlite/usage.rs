//! What clients were given today, and whether their limits leave room for more.
//!
//! Counted in the transaction that records the token: exactly as much passes as a limit says, whatever comes at once, and a restart
//! forgets nothing. The day's sums are kept in memory and written once for each transaction; a savepoint that is taken back takes its
//! bookings along.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::authority::KnownCaller;
use super::chain::Writing;
use super::column::parsed;
use super::failure::spoiling;
use super::ledger;
use crate::ledger::{CountedDay, KEY_CHANGE, Sum, SumMismatch};
use crate::store::{
    Actor, Amount, ClientId, Content, LimitEnd, LimitMet, Limits, PAGE_SIZE_MAX, StoreError, TokenKind,
};

const DAY_MS: i64 = 86_400_000;

/// Days of which the usual pace is the mean, and how many of them must have seen tokens.
const USUAL_DAYS: i64 = 7;
const USUAL_DAYS_NEEDED: i64 = 3;
/// A pace below this many tokens a day is nobody's alarm.
const PACE_FLOOR: u64 = 100;

/// What one client was given on one day.
#[derive(Debug, Default)]
struct Today {
    kinds: BTreeMap<&'static str, Sum>,
    /// Tokens on a usual day, if there were enough days.
    usual: Option<u64>,
}

impl Today {
    fn tokens(&self) -> u64 {
        self.kinds.values().map(|sum| sum.tokens).sum()
    }

    fn amount(&self, kind: &'static str) -> Amount {
        self.kinds.get(kind).map(|sum| sum.amount).unwrap_or_default()
    }
}

/// One token's share, checked and not yet booked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Charge {
    client: i64,
    day: i64,
    kind: &'static str,
    amount: Amount,
}

/// The sums in memory and what is booked since they were last written.
#[derive(Debug, Default)]
pub(super) struct Usage {
    days: RefCell<HashMap<(i64, i64), Today>>,
    booked: RefCell<Vec<Charge>>,
    /// Which multiple of the usual tokens of a day raises an alarm.
    alarm_pace: u32,
}

impl Usage {
    pub(super) fn new(alarm_pace: u32) -> Self {
        Self { alarm_pace, ..Self::default() }
    }

    /// How many bookings wait to be written.
    pub(super) fn mark(&self) -> usize {
        self.booked.borrow().len()
    }

    /// Takes back all bookings after a mark.
    pub(super) fn go_back(&self, mark: usize) {
        let mut booked = self.booked.borrow_mut();
        let mut days = self.days.borrow_mut();
        while booked.len() > mark {
            let Some(charge) = booked.pop() else { break };
            if let Some(sum) =
                days.get_mut(&(charge.client, charge.day)).and_then(|today| today.kinds.get_mut(charge.kind))
            {
                sum.tokens = sum.tokens.saturating_sub(1);
                sum.amount = sum.amount.minus(charge.amount);
            }
        }
    }

    /// Forgets everything: only the database knows what became of the transaction.
    pub(super) fn forget(&self) {
        self.booked.borrow_mut().clear();
        self.days.borrow_mut().clear();
    }
}

/// Checks a token against the limits of its client. Writes nothing.
pub(super) fn admit(
    writing: &Writing,
    caller: &KnownCaller,
    content: &Content,
    now_ms: i64,
) -> Result<Result<Charge, LimitMet>, StoreError> {
    let (kind, amount) = match content {
        Content::Sequenced { payload, .. } => (Some(TokenKind::of(payload)), Amount::transferred(payload)),
        Content::Fixed { .. } => (Some(TokenKind::MeterTest), None),
        Content::KeyChange { .. } => (None, None),
    };
    let day = now_ms.div_euclid(DAY_MS);
    let charge = Charge {
        client: caller.client,
        day,
        kind: kind.map_or(KEY_CHANGE, TokenKind::as_str),
        amount: amount.unwrap_or_default(),
    };
    let limits = caller.limits();
    if *limits == Limits::default() {
        return Ok(Ok(charge));
    }
    load(writing, &charge)?;
    let days = writing.usage().days.borrow();
    let Some(today) = days.get(&(charge.client, day)) else { return Ok(Ok(charge)) };
    let at_ms = (day + 1).saturating_mul(DAY_MS);
    let wait = Duration::from_millis((at_ms - now_ms).try_into().unwrap_or_default());
    let met = |name: String, most: String, ends| Ok(Err(LimitMet { name, most, ends }));
    let tomorrow = Some(LimitEnd { at_ms, wait });
    if let Some(limit) = limits.tokens_per_day().filter(|limit| today.tokens() >= *limit) {
        return met("tokens_per_day".to_owned(), limit.to_string(), tomorrow);
    }
    if let Some(kind) = kind {
        let of_kind = limits.of(kind);
        if let Some(limit) = of_kind.per_token.filter(|limit| charge.amount > *limit) {
            return met(format!("{kind}.per_token"), limit.to_string(), None);
        }
        let after = today.amount(charge.kind).plus(charge.amount);
        if let Some(limit) = of_kind.per_day.filter(|limit| after > *limit) {
            return met(format!("{kind}.per_day"), limit.to_string(), tomorrow);
        }
    }
    Ok(Ok(charge))
}

/// Books a token that was recorded, and raises the alarms that it sets off.
pub(super) fn book(
    writing: &Writing,
    caller: &KnownCaller,
    charge: Charge,
    now_ms: i64,
) -> Result<(), StoreError> {
    load(writing, &charge)?;
    let alarms = {
        let mut days = writing.usage().days.borrow_mut();
        let today = days.entry((charge.client, charge.day)).or_default();
        let before = (today.tokens(), today.amount(charge.kind));
        let sum = today.kinds.entry(charge.kind).or_default();
        sum.tokens += 1;
        sum.amount = sum.amount.plus(charge.amount);
        let after = (before.0 + 1, sum.amount);
        alarms(caller.limits(), charge.kind, before, after, today.usual, writing.usage().alarm_pace)
    };
    writing.usage().booked.borrow_mut().push(charge);
    let client = &caller.holder.client;
    for (limit, text) in alarms {
        tracing::warn!(client = %client.id, limit, "{text}");
        crate::metrics::alarm(if limit == "pace" { "pace" } else { "limit" }, client.id);
        let details = BTreeMap::from([("client", client.id.to_string()), ("limit", limit), ("text", text)]);
        writing.append_act("limit.alarm", &Actor::Local, now_ms, &details)?;
    }
    Ok(())
}

/// What a token set off: each alarm once a day, by the token that passes the mark.
fn alarms(
    limits: &Limits,
    kind: &'static str,
    (tokens, amount): (u64, Amount),
    (tokens_after, amount_after): (u64, Amount),
    usual: Option<u64>,
    pace: u32,
) -> Vec<(String, String)> {
    let mut alarms = Vec::new();
    if let Some(share) = limits.alarm_share() {
        let passes = |before: u128, after: u128, limit: u128| {
            let mark = limit.saturating_mul(share.into()).div_ceil(100).max(1);
            before < mark && after >= mark
        };
        if let Some(limit) = limits.tokens_per_day()
            && passes(tokens.into(), tokens_after.into(), limit.into())
        {
            alarms.push((
                "tokens_per_day".to_owned(),
                format!("{tokens_after} of {limit} tokens a day are used: {share} % or more"),
            ));
        }
        let per_day = kind.parse().ok().and_then(|kind| limits.of(kind).per_day);
        if let Some(limit) = per_day
            && passes(amount.least_units(), amount_after.least_units(), limit.least_units())
        {
            alarms.push((
                format!("{kind}.per_day"),
                format!("{amount_after} of {limit} a day are used: {share} % or more"),
            ));
        }
    }
    if let Some(usual) = usual {
        let mark = usual.saturating_mul(pace.into()).max(PACE_FLOOR);
        if tokens < mark && tokens_after >= mark {
            alarms.push((
                "pace".to_owned(),
                format!("{tokens_after} tokens today, {pace} times the usual {usual} a day or more"),
            ));
        }
    }
    alarms
}

/// Reads the sums of a client's day, once.
fn load(writing: &Writing, charge: &Charge) -> Result<(), StoreError> {
    let usage = writing.usage();
    if usage.days.borrow().contains_key(&(charge.client, charge.day)) {
        return Ok(());
    }
    let mut today = Today::default();
    let mut statement = writing
        .prepare_cached("SELECT kind, tokens, least_units FROM usage WHERE client = ?1 AND day = ?2")?;
    let mut rows = statement.query((charge.client, charge.day))?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        // A kind that this version does not know counts among the tokens all the same.
        let kind = name.parse().map_or(KEY_CHANGE, TokenKind::as_str);
        let amount = Amount::from_least_units(parsed(row, 2, "usage.least_units")?);
        let sum = today.kinds.entry(kind).or_default();
        sum.tokens += super::column::coded::<u64, u64>(row, 1, "usage.tokens")?;
        sum.amount = sum.amount.plus(amount);
    }
    let (tokens, days): (i64, i64) = writing
        .prepare_cached(
            "SELECT coalesce(sum(tokens), 0), count(DISTINCT day) FROM usage
             WHERE client = ?1 AND day >= ?2 AND day < ?3",
        )?
        .query_row((charge.client, charge.day - USUAL_DAYS, charge.day), |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    if days >= USUAL_DAYS_NEEDED {
        today.usual = u64::try_from(tokens / days).ok();
    }
    let mut known = usage.days.borrow_mut();
    // The day before yesterday is over, whatever waited at midnight.
    known.retain(|(_, day), _| *day >= charge.day - 1);
    known.insert((charge.client, charge.day), today);
    Ok(())
}

/// Compares the sums of a day with the rows of the ledger, and raises those that are too low, on record.
pub(super) fn correct(
    writing: &Writing,
    counted: CountedDay,
    now_ms: i64,
) -> Result<Vec<SumMismatch>, StoreError> {
    // The sums of this transaction are written early: from here on a failure must take back the whole of it.
    writing.write_usage()?;
    correct_written(writing, counted, now_ms).map_err(spoiling)
}

fn correct_written(
    writing: &Writing,
    mut counted: CountedDay,
    now_ms: i64,
) -> Result<Vec<SumMismatch>, StoreError> {
    let mut after = counted.after();
    loop {
        let page = ledger::list(writing, &counted.filter(), after, PAGE_SIZE_MAX)?;
        counted.add(&page.rows);
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    let mut statement = writing.prepare_cached(
        "SELECT c.id, u.kind, u.tokens, u.least_units FROM usage u JOIN clients c ON c.number = u.client
         WHERE u.day = ?1",
    )?;
    let kept = statement.query_map([counted.day()], |row| {
        let sum = Sum {
            tokens: super::column::coded::<u64, u64>(row, 2, "usage.tokens")?,
            amount: Amount::from_least_units(parsed(row, 3, "usage.least_units")?),
        };
        Ok((ClientId::from_bytes(row.get(0)?), row.get(1)?, sum))
    })?;
    let mismatches = counted.mismatches(kept.collect::<Result<Vec<_>, _>>()?);
    for mismatch in mismatches.iter().filter(|mismatch| mismatch.higher() != mismatch.kept) {
        let Sum { tokens, amount } = mismatch.higher();
        writing
            .prepare_cached(
                "INSERT INTO usage (client, day, kind, tokens, least_units)
                 SELECT number, ?2, ?3, ?4, ?5 FROM clients WHERE id = ?1
                 ON CONFLICT DO UPDATE SET tokens = excluded.tokens, least_units = excluded.least_units",
            )?
            .execute((
                mismatch.client.to_bytes(),
                counted.day(),
                mismatch.kind,
                i64::try_from(tokens).unwrap_or(i64::MAX),
                amount.least_units().to_string(),
            ))?;
        writing.append_act("usage.raised", &Actor::Local, now_ms, &mismatch.details())?;
        // What is in memory may be what was wrong.
        writing.usage().forget();
    }
    Ok(mismatches)
}

impl Writing {
    /// Writes the sums that changed. Among the last statements of a transaction.
    pub(super) fn write_usage(&self) -> Result<(), StoreError> {
        let booked = std::mem::take(&mut *self.usage().booked.borrow_mut());
        if booked.is_empty() {
            return Ok(());
        }
        let mut sums: BTreeMap<(i64, i64, &'static str), Sum> = BTreeMap::new();
        for charge in booked {
            let sum = sums.entry((charge.client, charge.day, charge.kind)).or_default();
            sum.tokens += 1;
            sum.amount = sum.amount.plus(charge.amount);
        }
        for ((client, day, kind), sum) in sums {
            let before: Option<u128> = {
                let mut statement = self.prepare_cached(
                    "SELECT least_units FROM usage WHERE client = ?1 AND day = ?2 AND kind = ?3",
                )?;
                let mut rows = statement.query((client, day, kind))?;
                rows.next()?.map(|row| parsed(row, 0, "usage.least_units")).transpose()?
            };
            let amount = Amount::from_least_units(before.unwrap_or_default()).plus(sum.amount);
            self.prepare_cached(
                "INSERT INTO usage (client, day, kind, tokens, least_units) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT DO UPDATE SET tokens = tokens + excluded.tokens, least_units = excluded.least_units",
            )?
            .execute((
                client,
                day,
                kind,
                i64::try_from(sum.tokens).unwrap_or(i64::MAX),
                amount.least_units().to_string(),
            ))?;
        }
        Ok(())
    }
}
