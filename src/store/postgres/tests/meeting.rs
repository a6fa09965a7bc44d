//! Where two servers meet at what is not there yet, which nobody can lock: one is run again.

use super::*;
use crate::ledger::Content;

/// What two servers make of the orders of each round, sent to both at once.
async fn meet(
    scene: &Scene<Own>,
    rounds: u128,
    orders: impl Fn(u128) -> [Vec<NewToken>; 2],
) -> Vec<Recorded> {
    let two = scene.factory.open_as("two");
    let mut all = Vec::new();
    for round in 0..rounds {
        let [one, other] = orders(round);
        let (one, other) = tokio::join!(scene.store.record_tokens(one), two.record_tokens(other));
        all.extend(one.into_iter().chain(other).map(Result::unwrap));
    }
    all
}

#[tokio::test]
async fn the_same_tokens_without_a_meter_are_recorded_once_in_whatever_order_they_come() {
    let scene = Scene::<Own>::new().await;
    let order = |number: u128| NewToken {
        request_id: Uuid::from_u128(number),
        content: Content::Fixed { configuration: None, meter: None, display: display() },
        ..scene.credit(1, meter(0), 100)
    };
    let orders = |round: u128| {
        let one: Vec<NewToken> = (0..20).map(|place| order(1 + round * 20 + place)).collect();
        [one.clone(), one.into_iter().rev().collect()]
    };
    let all = meet(&scene, 20, orders).await;
    let new = all.iter().filter(|recorded| matches!(recorded, Recorded::New(_))).count();
    assert_eq!((all.len(), new, rows(&scene.store).await), (800, 400, 400));
}

#[tokio::test]
async fn new_meters_get_their_first_identifiers_from_two_servers_at_once() {
    let scene = Scene::<Own>::new().await;
    let iin = "600727".parse().unwrap();
    let of_meter = |number: u128| {
        let drn = (0..10).find_map(|digit| MeterPan::parse(&format!("{number:010}{digit}"), iin).ok());
        drn.unwrap()
    };
    let orders = |round: u128| {
        [0, 1].map(|server| {
            let order = |place: u128| NewToken {
                request_id: Uuid::from_u128(1 + (round * 20 + place) * 2 + server),
                ..scene.credit(1, of_meter(round * 20 + place), 100)
            };
            // Each in another order.
            if server == 0 { (0..20).map(order).collect() } else { (0..20).rev().map(order).collect() }
        })
    };
    let all = meet(&scene, 20, orders).await;
    let mut tids: Vec<u32> = all.iter().map(|recorded| tid_of(recorded.row())).collect();
    tids.sort_unstable();
    assert_eq!(tids, [[100; 400], [101; 400]].concat(), "each meter has both, and nothing twice");
}
