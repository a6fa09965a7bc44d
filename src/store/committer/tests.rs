//! The committer over the engine in memory: what shares a transaction, and what fails alone.

use std::convert::Infallible;

use super::*;
use crate::audit::{Act, ActRow, ChainId, ChainNumber, Hash, SaltSource};
use crate::id::ClientId;
use crate::ledger::{Content, Refused};
use crate::store::SoftwareSealer;
use crate::store::engine::{Engine, NewChain, View as _};
use crate::store::memory::{Memory, MemoryEngine};
use crate::store::reading::Reading;
use crate::store::seals::Seals;
use crate::sts::token::{Display, DisplayForm};

type Connection = <MemoryEngine as Engine>::Transaction;

fn committer(queue: usize, batch: usize) -> Committer<Connection> {
    let seals = Arc::new(Seals::new(Arc::new(SoftwareSealer([1; 32]))));
    let mut writing = Writing::new(Reading::new(Memory::default().connection(), seals), 5);
    let new = NewChain { id: ChainId([1; 16]), salts: SaltSource([2; 32]) };
    writing.transact(|writing| writing.view.create_chain(&new)).unwrap();
    Committer::start(writing, queue, batch).unwrap()
}

fn write(writing: &mut Writing<Connection>, position: u64) -> Result<(), StoreError> {
    let act = Act { kind: "test".into(), actor: None, credential: None, details: "{}".into() };
    writing.view.insert_acts(&[ActRow { position, at_ms: 0, act, hash: Hash::START }])
}

fn insert(position: u64) -> impl FnOnce(&mut Writing<Connection>) -> Answer<(), ()> + Clone + Send {
    move |writing| write(writing, position).map(Ok)
}

fn count(writing: &mut Writing<Connection>) -> Answer<usize, Infallible> {
    Ok(Ok(writing.view.acts(ChainNumber::FIRST, 0, 1_000)?.len()))
}

fn order(request: u8) -> NewToken {
    NewToken {
        client: ClientId::generate(),
        credential: "till-1".into(),
        request_id: uuid::Uuid::from_bytes([request; 16]),
        request_hash: [0; 32],
        now_ms: 0,
        content: Content::Fixed {
            configuration: None,
            meter: None,
            display: Display::all(DisplayForm::TwoDigit),
        },
        requests_from_ms: 0,
        deadline: None,
    }
}

/// Holds the committer inside a transaction until the returned sender is dropped.
fn hold(committer: &Committer<Connection>) -> (Sender<()>, impl Future<Output = Answer<(), ()>> + use<>) {
    let (release, held) = flume::bounded::<()>(0);
    let (inside, entered) = flume::bounded::<()>(1);
    let answer = committer.submit(move |_| {
        let _ = inside.send(());
        let _ = held.recv();
        Ok(Ok(()))
    });
    entered.recv().unwrap();
    (release, answer)
}

#[tokio::test]
async fn what_waits_shares_a_transaction() {
    let committer = committer(64, 64);
    let (release, first) = hold(&committer);
    let waiting: Vec<_> = (1..=20).map(|x| committer.submit(insert(x))).collect();
    drop(release);
    assert_eq!(first.await, Ok(Ok(())));
    for answer in waiting {
        assert_eq!(answer.await, Ok(Ok(())));
    }
    assert_eq!((committer.statistics().transactions(), committer.statistics().commands()), (1, 21));
}

#[tokio::test]
async fn a_transaction_is_no_longer_than_a_batch() {
    let committer = committer(64, 4);
    let (release, first) = hold(&committer);
    let waiting: Vec<_> = (1..=11).map(|x| committer.submit(insert(x))).collect();
    drop(release);
    first.await.unwrap().unwrap();
    for answer in waiting {
        answer.await.unwrap().unwrap();
    }
    assert_eq!(committer.statistics().transactions(), 3);
}

#[tokio::test]
async fn a_refusal_takes_back_only_itself() {
    let committer = committer(64, 64);
    let (release, first) = hold(&committer);
    let before = committer.submit(insert(1));
    let refused = committer.submit(|writing| {
        write(writing, 2)?;
        Ok(Err::<(), _>("no"))
    });
    let failed = committer.submit(|writing| {
        write(writing, 3)?;
        Err::<Result<(), ()>, _>(StoreError::Defect { reason: "played".into() })
    });
    let after = committer.submit(insert(4));
    drop(release);
    first.await.unwrap().unwrap();
    assert_eq!(before.await, Ok(Ok(())));
    assert_eq!(refused.await, Ok(Err("no")));
    assert!(matches!(failed.await, Err(StoreError::Defect { .. })));
    assert_eq!(after.await, Ok(Ok(())));
    assert_eq!(committer.statistics().transactions(), 1);
    assert_eq!(committer.submit(count).await, Ok(Ok(2)));
}

#[tokio::test]
async fn a_failure_of_the_database_takes_back_all_and_heals() {
    let committer = committer(64, 64);
    let (release, first) = hold(&committer);
    let before = committer.submit(insert(1));
    let full = committer.submit(|_| Err::<Result<(), ()>, _>(StoreError::Full { outcome: Outcome::NotDone }));
    drop(release);
    let failure = StoreError::Full { outcome: Outcome::NotDone };
    assert_eq!(first.await, Err(failure.clone()));
    assert_eq!(before.await, Err(failure.clone()));
    assert_eq!(full.await, Err(failure));
    assert_eq!(committer.submit(count).await, Ok(Ok(0)));
    assert_eq!(committer.submit(insert(1)).await, Ok(Ok(())));
}

#[tokio::test]
async fn a_panic_takes_back_its_transaction_and_the_thread_goes_on() {
    let committer = committer(64, 64);
    let (release, first) = hold(&committer);
    let before = committer.submit(insert(1));
    let panicking = committer.submit(|writing| {
        write(writing, 2)?;
        panic!("played");
        #[expect(unreachable_code, reason = "it says the types")]
        Ok(Ok::<(), ()>(()))
    });
    drop(release);
    for answer in [first.await, panicking.await, before.await] {
        assert!(matches!(answer, Err(StoreError::Defect { .. })), "{answer:?}");
    }
    assert_eq!(committer.submit(count).await, Ok(Ok(0)));
    assert_eq!(committer.submit(insert(1)).await, Ok(Ok(())));
}

#[tokio::test]
async fn orders_are_decided_between_the_commands_around_them() {
    let committer = committer(64, 64);
    let (release, first) = hold(&committer);
    let orders = [committer.record(vec![order(1), order(2)]), committer.record(vec![order(3)])];
    let after = committer.submit(insert(1));
    drop(release);
    first.await.unwrap().unwrap();
    for (orders, count) in orders.into_iter().zip([2, 1]) {
        let answers = orders.await;
        assert_eq!(answers, vec![Err(LedgerError::Refused(Refused::CredentialNotEnabled)); count]);
    }
    after.await.unwrap().unwrap();
    assert_eq!((committer.statistics().transactions(), committer.statistics().commands()), (1, 4));
}

#[tokio::test]
async fn an_order_whose_time_has_passed_is_not_decided() {
    let committer = committer(64, 64);
    let late = NewToken { deadline: Some(Instant::now()), ..order(1) };
    let answers = committer.record(vec![late, order(2)]).await;
    assert_eq!(answers[0], Err(StoreError::DeadlinePassed.into()));
    assert_eq!(answers[1], Err(LedgerError::Refused(Refused::CredentialNotEnabled)));
}

#[tokio::test]
async fn a_full_queue_is_said_at_once() {
    let committer = committer(2, 64);
    let (release, first) = hold(&committer);
    let waiting: Vec<_> = (1..=2).map(|x| committer.submit(insert(x))).collect();
    assert_eq!(committer.submit(insert(9)).await, Err(StoreError::Busy));
    drop(release);
    first.await.unwrap().unwrap();
    for answer in waiting {
        answer.await.unwrap().unwrap();
    }
    assert_eq!(committer.submit(count).await, Ok(Ok(2)));
}

#[tokio::test]
async fn nobody_waits_so_nothing_is_written() {
    let committer = committer(64, 64);
    let (release, first) = hold(&committer);
    drop(committer.submit(insert(2)));
    drop(release);
    first.await.unwrap().unwrap();
    assert_eq!(committer.submit(count).await, Ok(Ok(0)));
}

#[tokio::test]
async fn what_waits_is_committed_before_the_end() {
    let committer = committer(64, 2);
    let (release, first) = hold(&committer);
    let waiting: Vec<_> = (1..=9).map(|x| committer.submit(insert(x))).collect();
    drop(release);
    drop(committer);
    first.await.unwrap().unwrap();
    for answer in waiting {
        assert_eq!(answer.await, Ok(Ok(())));
    }
}
