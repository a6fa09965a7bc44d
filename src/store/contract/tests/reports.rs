//! What reports are made of: sums by the hour, written with the tokens.

use std::collections::BTreeMap;
use std::time::Instant;

use super::usage::{credits, tokens as tokens_a_day, under};
use super::*;
use crate::access::limits::Amount;
use crate::ledger::{
    CountedDay, CountedHours, Hours, RefusedCalls, Sum, SumMismatch, SumOf, Vended, day_of, hour_of,
};
use crate::store::engine::{DaySum, HourSum, Select, Table, Transaction as _, View as _};
use crate::store::transactions::tokens::record;

const HOUR_MS: i64 = 3_600_000;
/// 2.5 kWh in 10^-5.
const CREDIT: u128 = 250_000;

/// The day around the time of these tests, and the hour before and after.
fn span() -> Hours {
    Hours { first: hour_of(NOW_MS) - 24, last: hour_of(NOW_MS) + 48 }
}

/// Tokens and least units by hour, configuration and kind.
fn by_hour(vended: &Vended) -> BTreeMap<(i64, Option<ConfigurationId>, String), (u64, u128)> {
    let of = |hour: &crate::ledger::HourOfConfiguration| {
        let key = (hour.hour - hour_of(NOW_MS), hour.configuration, hour.kind.clone());
        (key, (hour.sum.tokens, hour.sum.amount.least_units()))
    };
    vended.hours.iter().map(of).collect()
}

pub(in crate::store) async fn sums_by_the_hour_are_what_was_recorded<F: Factory>() {
    let scene = Scene::<F>::new().await;
    let all = credits(&scene, 6);
    assert_eq!(scene.store.vended(span()).await.unwrap(), Vended::default());
    scene.store.record_tokens(all[..3].to_vec()).await.into_iter().for_each(|new| drop(new.unwrap()));
    scene.store.record_token(all[3].clone()).await.unwrap();
    // The same request again is no second token.
    scene.store.record_token(all[0].clone()).await.unwrap();
    let later = NewToken { now_ms: NOW_MS + HOUR_MS, ..all[4].clone() };
    scene.store.record_token(later).await.unwrap();
    let without_key = NewToken {
        content: Content::Fixed { configuration: None, meter: None, display: display() },
        ..all[5].clone()
    };
    scene.store.record_token(without_key).await.unwrap();
    let scene = scene.reopen();
    let vended = scene.store.vended(span()).await.unwrap();
    let electricity = || "electricity_credit".to_owned();
    let expected = BTreeMap::from([
        ((0, Some(scene.configuration), electricity()), (4, 4 * CREDIT)),
        ((1, Some(scene.configuration), electricity()), (1, CREDIT)),
        ((0, None, "meter_test".to_owned()), (1, 0)),
    ]);
    assert_eq!(by_hour(&vended), expected);
    assert_eq!(vended.kept_since, None, "nothing was recorded before");
    // As a version left it that kept the sums of clients alone.
    let before = DaySum {
        client: 1,
        day: day_of(NOW_MS) - 1,
        kind: "electricity_credit".into(),
        sum: Sum { tokens: 1, amount: Amount::default() },
    };
    let client = scene.store.read(|reading| Ok(reading.view.rows(&Select::all(Table::Clients))?.pop()));
    let before = DaySum { client: client.await.unwrap().unwrap().number, ..before };
    scene.store.write(move |writing| writing.view.put_sums(&[before], &[])).await.unwrap();
    let since = scene.store.vended(Hours { first: hour_of(NOW_MS), ..span() }).await.unwrap().kept_since;
    assert_eq!(since, Some(hour_of(NOW_MS)));
    let clients: Vec<_> = vended
        .clients
        .iter()
        .map(|of| (of.client, of.kind.as_str(), of.sum.tokens, of.sum.amount.least_units()))
        .collect();
    assert_eq!(
        clients,
        [(scene.client, "electricity_credit", 5, 5 * CREDIT), (scene.client, "meter_test", 1, 0)]
    );
    assert!(vended.clients.iter().all(|of| !of.display_name.is_empty()));
    let outside = Hours { first: span().last + 1, last: span().last + 2 };
    assert!(scene.store.vended(outside).await.unwrap().hours.is_empty());
}

pub(in crate::store) async fn what_is_refused_or_taken_back_is_in_no_sum<F: Factory>() {
    let scene = under::<F>(tokens_a_day(1, None)).await;
    let all = credits(&scene, 3);
    let taken_back = all[0].clone();
    let failed: Result<(), StoreError> = scene
        .store
        .write(move |writing| {
            assert!(record(writing, &[&taken_back], Instant::now())?[0].is_ok());
            Err(StoreError::Defect { reason: "a test".into() })
        })
        .await;
    assert!(failed.is_err());
    assert!(scene.store.vended(span()).await.unwrap().hours.is_empty());
    scene.store.record_token(all[1].clone()).await.unwrap();
    assert!(scene.store.record_token(all[2].clone()).await.is_err(), "the limit of the day");
    let vended = scene.store.vended(span()).await.unwrap();
    assert_eq!(by_hour(&vended).values().copied().collect::<Vec<_>>(), [(1, CREDIT)]);
}

pub(in crate::store) async fn sums_are_exact_beyond_64_bits<F: Factory>() {
    let scene = Scene::<F>::new().await;
    let number = scene.store.read(|reading| {
        let rows = reading.view.rows(&Select::all(Table::Configurations))?;
        Ok(rows.first().map_or(0, |row| row.number))
    });
    let configuration = number.await.unwrap();
    let huge = Amount::from_least_units(u128::from(u64::MAX) * 1_000 + 7);
    for _ in 0..2 {
        let sum = HourSum {
            hour: hour_of(NOW_MS),
            configuration,
            kind: "electricity_currency_credit".into(),
            sum: Sum { tokens: 3, amount: huge },
        };
        scene.store.write(move |writing| writing.view.put_sums(&[], &[sum])).await.unwrap();
    }
    let vended = scene.store.vended(span()).await.unwrap();
    assert_eq!(vended.hours[0].sum.tokens, 6);
    assert_eq!(vended.hours[0].sum.amount.least_units(), 2 * huge.least_units());
}

pub(in crate::store) async fn refused_calls_are_counted_with_their_record<F: Factory>() {
    let scene = Scene::<F>::new().await;
    let act =
        || NewAct { kind: "call.refused", actor: Actor::Local, details: BTreeMap::new(), now_ms: NOW_MS };
    let refused = |hours: i64, reason: &str, calls| RefusedCalls {
        hour: hour_of(NOW_MS) + hours,
        reason: reason.to_owned(),
        calls,
    };
    let before = scene.store.chain_head().await.unwrap().position;
    for (hours, reason, calls) in [(0, "A", 5), (0, "B", 1), (0, "A", 2), (1, "A", 1), (100, "A", 9)] {
        scene.store.record_refused(act(), refused(hours, reason, calls)).await.unwrap();
    }
    assert_eq!(scene.store.chain_head().await.unwrap().position, before + 5);
    let scene = scene.reopen();
    let mut found = scene.store.vended(span()).await.unwrap().refused;
    found.sort_by(|a, b| (a.hour, &a.reason).cmp(&(b.hour, &b.reason)));
    assert_eq!(found, [refused(0, "A", 7), refused(0, "B", 1), refused(1, "A", 1)]);
}

/// As a version left it that kept no sums by the hour: some rows of the first hour are in none.
pub(in crate::store) async fn what_was_vended_before_sums_were_kept_is_added_once<F: Factory>() {
    let scene = Scene::<F>::new().await;
    let all = credits(&scene, 3);
    let mut rows = Vec::new();
    for new in &all {
        rows.push(scene.store.record_token(new.clone()).await.unwrap().row().clone());
    }
    let first = hour_of(NOW_MS);
    let mut earlier = rows.clone();
    for row in &mut earlier {
        row.issued_ms -= 50 * HOUR_MS;
    }
    let mut counted = CountedHours::before(first);
    counted.add(&earlier);
    counted.add(&rows);
    counted.add(&earlier[..1]);
    counted.add(&rows[..1]);
    // Nothing is known to lack.
    assert_eq!(scene.store.fill_hours(counted.clone(), NOW_MS).await.unwrap(), 0);
    let client = scene.store.read(|reading| Ok(reading.view.rows(&Select::all(Table::Clients))?.pop()));
    let before = DaySum {
        client: client.await.unwrap().unwrap().number,
        day: day_of(NOW_MS) - 2,
        kind: "electricity_credit".into(),
        sum: Sum { tokens: 4, amount: Amount::default() },
    };
    scene.store.write(move |writing| writing.view.put_sums(&[before], &[])).await.unwrap();
    assert_eq!(scene.store.vended(span()).await.unwrap().kept_since, Some(first));
    // One more of that hour, by the other version: its sum was lowered by nobody.
    let mut of_day = CountedDay::of(NOW_MS);
    of_day.add(&[rows[0].clone(), rows[0].clone()]);
    let found = scene.store.correct_usage(of_day, NOW_MS).await.unwrap();
    assert!(matches!(found[..], [SumMismatch { of: SumOf::Client(_), .. }]), "{found:?}");
    assert_eq!(scene.store.fill_hours(counted.clone(), NOW_MS).await.unwrap(), 2);
    let scene = scene.reopen();
    let vended = scene.store.vended(Hours { first: first - 50, ..span() }).await.unwrap();
    let of = |hour, tokens: u64| {
        (
            (hour, Some(scene.configuration), "electricity_credit".to_owned()),
            (tokens, u128::from(tokens) * CREDIT),
        )
    };
    assert_eq!(by_hour(&vended), BTreeMap::from([of(-50, 4), of(0, 4)]));
    assert_eq!(vended.kept_since, None);
    assert_eq!(scene.store.fill_hours(counted, NOW_MS).await.unwrap(), 0, "once");
}
