//! Several servers on one database: each has its chain, and what they promise they promise
//! together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::usage::{credits, met, tokens, under};
use super::*;
use crate::audit::{ChainNumber, Verification};
use crate::ledger::{Hours, RefusedCalls, hour_of};

/// A second server beside that of a scene.
fn second<F: SeveralServers>(scene: &Scene<F>) -> Database<F::Engine> {
    scene.factory.open_as("two")
}

pub(in crate::store) async fn every_server_has_a_chain_and_keeps_it<F: SeveralServers>() {
    let scene = Scene::<F>::new().await;
    let two = second(&scene);
    let first = scene.store.record_token(scene.credit(1, meter(0), 100)).await.unwrap();
    let other = two.record_token(scene.credit(2, meter(0), 100)).await.unwrap();
    let chains = [&first, &other].map(|recorded| recorded.row().sequence.chain().value());
    assert_eq!(chains, [0, 1]);
    assert_eq!(other.row().sequence.position(), 1, "each counts from 1");
    // Whoever is asked knows the rows of both.
    for store in [&scene.store, &two] {
        for recorded in [&first, &other] {
            let row = recorded.row();
            assert_eq!(store.issued_token(row.sequence).await.unwrap().as_ref(), Some(row));
        }
        let heads: Vec<u64> =
            store.chain_heads().await.unwrap().into_iter().map(|head| head.position).collect();
        assert_eq!(heads, [5, 1]);
    }
    let head = two.chain_head().await.unwrap();
    assert_eq!(scene.store.record_hash(head.chain, 1).await, Ok(Some(head.hash)));
    drop(two);
    let two = second(&scene);
    assert_eq!(two.chain_head().await.unwrap(), head, "a server that starts again goes on with its own");
    let servers = two.servers().await.unwrap();
    assert_eq!(servers.iter().map(|server| server.number.value()).collect::<Vec<_>>(), [0, 1]);
    assert_eq!((servers[1].name.as_str(), servers[1].head), ("two", head));
}

pub(in crate::store) async fn one_request_at_two_servers_gives_one_token<F: SeveralServers>() {
    let scene = Scene::<F>::new().await;
    let two = second(&scene);
    for request in 1..=50 {
        let token = scene.credit(request, meter(0), 100);
        let (one, other) = tokio::join!(scene.store.record_token(token.clone()), two.record_token(token));
        let (one, other) = (one.unwrap(), other.unwrap());
        assert_eq!(one.row(), other.row());
        let new = [&one, &other].into_iter().filter(|recorded| matches!(recorded, Recorded::New(_)));
        assert_eq!(new.count(), 1);
    }
    assert_eq!(rows(&scene.store).await, 50);
}

pub(in crate::store) async fn the_tids_of_a_meter_rise_through_two_servers<F: SeveralServers>() {
    let scene = Scene::<F>::new().await;
    let two = second(&scene);
    for request in 1..=10 {
        let store = if request % 2 == 0 { &scene.store } else { &two };
        let recorded = store.record_token(scene.credit(request, meter(0), 100)).await.unwrap();
        assert_eq!(tid_of(recorded.row()), 99 + u32::from(request));
    }
    let batch = |from: u8| (from..from + 50).map(|request| scene.credit(request, meter(0), 100)).collect();
    let (one, other) = tokio::join!(scene.store.record_tokens(batch(20)), two.record_tokens(batch(100)));
    let tids = |found: Vec<Result<Recorded, LedgerError>>| -> Vec<u32> {
        found.into_iter().map(|found| tid_of(found.unwrap().row())).collect()
    };
    let (one, other) = (tids(one), tids(other));
    assert!(one.is_sorted() && other.is_sorted(), "in the order of each server");
    let all: BTreeSet<u32> = one.into_iter().chain(other).collect();
    assert!(all.into_iter().eq(110..210), "each once, and none left out");
}

pub(in crate::store) async fn a_daily_limit_is_exact_through_two_servers<F: SeveralServers>() {
    let scene = under::<F>(tokens(40, None)).await;
    // Each server has meters of its own, so that they meet at the client alone.
    let of_servers = credits(&scene, 100)
        .into_iter()
        .enumerate()
        .map(|(place, order)| NewToken { content: scene.credit(1, meter(place % 2), 100).content, ..order });
    let (ones, others): (Vec<_>, Vec<_>) =
        of_servers.enumerate().partition(|(place, _)| place.is_multiple_of(2));
    let stores = [Arc::new(second(&scene)), Arc::new(scene.store)];
    let mut running = tokio::task::JoinSet::new();
    for (store, orders) in stores.into_iter().zip([ones, others]) {
        for some in orders.chunks(3) {
            let (store, some) = (Arc::clone(&store), some.iter().map(|(_, order)| order.clone()).collect());
            running.spawn(async move { store.record_tokens(some).await });
        }
    }
    let all: Vec<_> = running.join_all().await.into_iter().flatten().collect();
    let (passed, refused): (Vec<_>, Vec<_>) = all.into_iter().partition(Result::is_ok);
    assert_eq!((passed.len(), refused.len()), (40, 60));
    refused.into_iter().for_each(|refused| drop(met(refused)));
}

pub(in crate::store) async fn what_one_server_disables_the_other_refuses_at_once<F: SeveralServers>() {
    let scene = Scene::<F>::new().await;
    let two = second(&scene);
    // Remembered from here on.
    two.record_token(scene.credit(1, meter(0), 100)).await.unwrap();
    let id = scene.configuration;
    for enabled in [false, true] {
        scene.store.set_configuration_enabled(id, enabled, Actor::Local, NOW_MS).await.unwrap();
        let found = two.record_token(scene.credit(2, meter(0), 100)).await;
        assert_eq!(found.is_ok(), enabled, "{found:?}");
    }
    let act = ClientAct { actor: Actor::Local, now_ms: NOW_MS, keepers: 0 };
    let change = CredentialChange::Enabled(false);
    scene.store.change_credential(CREDENTIAL, change, act).await.unwrap();
    let refused = two.record_token(scene.credit(3, meter(0), 100)).await;
    assert_eq!(refused, Err(LedgerError::Refused(Refused::CredentialNotEnabled)));
}

/// Tokens of two servers, written until they are told to end.
struct Writers {
    end: Arc<AtomicUsize>,
    running: tokio::task::JoinSet<usize>,
}

impl Writers {
    /// How many batches each writes at most.
    const MOST: usize = 40;

    fn start<F: SeveralServers>(scene: &Scene<F>, stores: [Arc<Database<F::Engine>>; 2]) -> Self {
        let end = Arc::new(AtomicUsize::new(0));
        let mut running = tokio::task::JoinSet::new();
        for (number, store) in (0_u8..).zip(stores) {
            let token = scene.credit(1, meter(0), 100);
            let end = Arc::clone(&end);
            running.spawn(async move {
                for round in 0..Self::MOST {
                    let batch = (0..5_u8).map(|place| {
                        let mut id = [number + 1; 16];
                        (id[0], id[1]) = (u8::try_from(round).unwrap(), place);
                        // Times that are not in the order of the commits.
                        let now_ms = NOW_MS + i64::from(place) * 7 - i64::from(number) * 3;
                        NewToken { request_id: Uuid::from_bytes(id), now_ms, ..token.clone() }
                    });
                    store
                        .record_tokens(batch.collect())
                        .await
                        .into_iter()
                        .for_each(|found| drop(found.unwrap()));
                    if end.load(Ordering::Relaxed) > 0 {
                        return (round + 1) * 5;
                    }
                    tokio::task::yield_now().await;
                }
                Self::MOST * 5
            });
        }
        Self { end, running }
    }

    /// Lets them end, and answers how many they have written.
    async fn ended(self) -> usize {
        self.end.fetch_add(1, Ordering::Relaxed);
        self.running.join_all().await.into_iter().sum()
    }
}

pub(in crate::store) async fn a_listing_misses_and_repeats_nothing_while_two_servers_write<
    F: SeveralServers,
>() {
    let scene = Scene::<F>::new().await;
    let stores = [Arc::new(second(&scene)), Arc::new(scene.factory.open_as("three"))];
    let mut before = BTreeSet::new();
    for request in 100..150 {
        let store = &stores[usize::from(request % 2)];
        let recorded = store.record_token(scene.credit(request, meter(1), 100)).await.unwrap();
        before.insert(recorded.row().sequence);
    }
    let writers = Writers::start(&scene, stores.clone());
    let (mut listed, mut after) = (Vec::new(), Cursor::default());
    let mut pages = 0;
    loop {
        let page = scene.store.list_issued_tokens(TokenFilter::default(), after, 4).await.unwrap();
        listed.extend(page.rows.iter().map(|row| row.sequence));
        // As a caller gives it back.
        match page.next {
            Some(next) => after = next.to_string().parse().unwrap(),
            None => break,
        }
        pages += 1;
        if pages == 10 {
            // Not before: what comes while the listing runs is what is tried.
            writers.end.fetch_add(1, Ordering::Relaxed);
        }
    }
    writers.ended().await;
    let all: BTreeSet<_> = listed.iter().copied().collect();
    assert_eq!(all.len(), listed.len(), "none twice");
    assert!(before.is_subset(&all), "none is missed");
    for chain in [1, 2] {
        let of_chain = listed.iter().filter(|sequence| sequence.chain().value() == chain);
        assert!(of_chain.is_sorted(), "each chain in its order");
    }
}

pub(in crate::store) async fn an_export_misses_and_repeats_nothing_while_two_servers_write<
    F: SeveralServers,
>() {
    let scene = Scene::<F>::new().await;
    let stores = [Arc::new(second(&scene)), Arc::new(scene.factory.open_as("three"))];
    let writers = Writers::start(&scene, stores.clone());
    let mut verification = Verification::new(None);
    let (mut after, mut count, mut pages) = (Cursor::default(), 0, 0);
    let mut writers = Some(writers);
    let mut written = 0;
    loop {
        let page = scene.store.records(after, 4, true).await.unwrap();
        page.lines.iter().for_each(|line| verification.feed(line));
        count += page.lines.len();
        after = page.next;
        pages += 1;
        if pages >= 10
            && let Some(writers) = writers.take()
        {
            written = writers.ended().await;
        } else if writers.is_none() && !page.more {
            break;
        }
    }
    let outcome = verification.finish();
    assert!(outcome.is_sound(), "{:?}", outcome.faults);
    assert_eq!(count, 4 + written);
    let heads = scene.store.chain_heads().await.unwrap();
    let heads: BTreeMap<_, _> = heads.into_iter().map(|head| (head.chain, head.position)).collect();
    assert_eq!(outcome.chains, heads);
}

pub(in crate::store) async fn seals_hold_while_two_servers_change_rows<F: SeveralServers>() {
    let scene = Scene::<F>::new().await;
    let two = second(&scene);
    for round in 0..10 {
        let (name_one, name_two) = (format!("one-{round}"), format!("two-{round}"));
        tokio::join!(client(&scene.store, &name_one), client(&two, &name_two));
        if round % 3 == 0 {
            two.record_token(scene.credit(round, meter(0), 100)).await.unwrap();
        }
        for store in [&scene.store, &two] {
            assert_eq!(store.verify_seals().await.unwrap(), SealReport::default(), "after round {round}");
        }
    }
    // An act that decides, without the index: as if rows were put back as they were before it.
    let act =
        NewAct { kind: "client.disabled", actor: Actor::Local, details: BTreeMap::new(), now_ms: NOW_MS };
    two.record_act(act).await.unwrap();
    for store in [&scene.store, &two] {
        assert!(store.verify_seals().await.unwrap().rows_missing, "whichever server did it last");
    }
}

pub(in crate::store) async fn an_accepted_restore_raises_the_floors_of_all<F: SeveralServers>() {
    let scene = Scene::<F>::new().await;
    let two = second(&scene);
    let accepted = AcceptedRestore {
        actor: Actor::Local,
        floors: vec![(BaseDate::Y2014, tid(5_000))],
        requests_from_ms: NOW_MS,
        lost_from: 40,
        details: BTreeMap::new(),
        now_ms: NOW_MS,
    };
    two.accept_restore(accepted).await.unwrap();
    for (store, request) in [(&scene.store, 1), (&two, 2)] {
        let recorded = store.record_token(scene.credit(request, meter(0), 100)).await.unwrap();
        assert_eq!(tid_of(recorded.row()), 5_000 + u32::from(request));
        let far = recorded.row().sequence.position() > 100_000_000;
        assert_eq!(
            far,
            recorded.row().sequence.chain() != ChainNumber::FIRST,
            "it was the chain of the second"
        );
    }
}

pub(in crate::store) async fn what_two_servers_vend_and_refuse_is_one_sum<F: SeveralServers>() {
    let scene = Scene::<F>::new().await;
    let two = second(&scene);
    for request in 1..=6 {
        let store = if request % 3 == 0 { &scene.store } else { &two };
        store.record_token(scene.credit(request, meter(0), 100)).await.unwrap();
        let act =
            NewAct { kind: "call.refused", actor: Actor::Local, details: BTreeMap::new(), now_ms: NOW_MS };
        let refused = RefusedCalls { hour: hour_of(NOW_MS), reason: "A".to_owned(), calls: 2 };
        store.record_refused(act, refused).await.unwrap();
    }
    let hour = hour_of(NOW_MS);
    for store in [&scene.store, &two] {
        let vended = store.vended(Hours { first: hour, last: hour }).await.unwrap();
        let sums: Vec<u64> = vended.hours.iter().map(|hour| hour.sum.tokens).collect();
        let clients: Vec<u64> = vended.clients.iter().map(|of| of.sum.tokens).collect();
        let refused: Vec<u64> = vended.refused.iter().map(|refused| refused.calls).collect();
        assert_eq!((sums, clients, refused), (vec![6], vec![6], vec![12]));
    }
}
