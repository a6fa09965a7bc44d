//! The ledger against a model of its rules in a few lines of memory: any sequence of acts gives the
//! same answers.

use std::collections::HashMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::*;
use crate::audit::Verification;

/// A request for a credit.
#[derive(Clone, Copy, Debug)]
struct Ask {
    client: usize,
    request: u8,
    /// Which of two different contents goes under the request's id.
    content: u8,
    meter: usize,
    minute: u32,
    ken: u8,
}

#[derive(Clone, Debug)]
enum Act {
    /// Requests that arrive together, in this order.
    Ask(Vec<Ask>),
    Seed {
        meter: usize,
        minute: u32,
    },
    Enable(bool),
    /// Requests that may share the transaction of something that fails.
    Fail(Vec<Ask>),
    Reopen,
}

fn ask() -> impl Strategy<Value = Ask> {
    // Minutes lie around midnight, where 00:01 is skipped, and around the end of KEN 0 at 65,536.
    let minute = prop_oneof![1_436_u32..1_446, 65_530_u32..65_540];
    (0..2_usize, 0..12_u8, 0..2_u8, 0..3_usize, minute, prop_oneof![4 => Just(255_u8), 1 => Just(0)])
        .prop_map(|(client, request, content, meter, minute, ken)| Ask {
            client,
            request,
            content,
            meter,
            minute,
            ken,
        })
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => vec(ask(), 1..6).prop_map(Act::Ask),
        2 => (0..3_usize, 1_430_u32..1_450).prop_map(|(meter, minute)| Act::Seed { meter, minute }),
        1 => any::<bool>().prop_map(Act::Enable),
        1 => vec(ask(), 1..4).prop_map(Act::Fail),
        1 => Just(Act::Reopen),
    ]
}

/// What a request comes to, without what only the database knows.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Answer {
    New(u32),
    Replay(u32),
    Reused,
    Disabled,
    NoTid,
}

/// The rules, as plainly as they can be said.
#[derive(Default)]
struct Model {
    disabled: bool,
    requests: HashMap<(usize, u8), (u8, u32)>,
    last: HashMap<usize, u32>,
}

impl Model {
    fn ask(&mut self, ask: Ask) -> Answer {
        if let Some((content, tid)) = self.requests.get(&(ask.client, ask.request)) {
            return if *content == ask.content { Answer::Replay(*tid) } else { Answer::Reused };
        }
        if self.disabled {
            return Answer::Disabled;
        }
        let mut tid = self.last.get(&ask.meter).map_or(ask.minute, |last| ask.minute.max(last + 1));
        if tid % 1_440 == 1 {
            tid += 1;
        }
        if tid >> 16 > u32::from(ask.ken) || tid > ask.minute + 1_440 {
            return Answer::NoTid;
        }
        self.last.insert(ask.meter, tid);
        self.requests.insert((ask.client, ask.request), (ask.content, tid));
        Answer::New(tid)
    }

    fn seed(&mut self, meter: usize, minute: u32) -> u32 {
        let last = self.last.entry(meter).or_insert(minute);
        *last = minute.max(*last);
        *last
    }
}

const CREDENTIALS: [&str; 2] = [CREDENTIAL, "till-2"];

fn new_token<F: Factory>(scene: &Scene<F>, clients: [ClientId; 2], ask: Ask) -> NewToken {
    let mut new = scene.credit(ask.request, meter(ask.meter), ask.minute);
    new.client = clients[ask.client];
    new.credential = CREDENTIALS[ask.client].into();
    new.request_hash = [ask.content; 32];
    if let Content::Sequenced { window, .. } = &mut new.content {
        window.ken = KeyExpiry(ask.ken);
    }
    new
}

fn answer(result: Result<Recorded, LedgerError>) -> Answer {
    match result {
        Ok(Recorded::New(row)) => Answer::New(tid_of(&row)),
        Ok(Recorded::Replay(row)) => Answer::Replay(tid_of(&row)),
        Err(LedgerError::Refused(Refused::RequestIdReused { .. })) => Answer::Reused,
        Err(LedgerError::Refused(Refused::ConfigurationNotEnabled { .. })) => Answer::Disabled,
        Err(LedgerError::Refused(Refused::Tid(_))) => Answer::NoTid,
        Err(error) => {
            assert_eq!(error.outcome(), Outcome::NotDone);
            panic!("{error}")
        }
    }
}

/// All are queued before the committer is awaited, so that they may share a transaction.
fn submit<F: Factory>(
    scene: &Scene<F>,
    clients: [ClientId; 2],
    asks: &[Ask],
) -> Vec<impl Future<Output = Vec<Result<Recorded, LedgerError>>> + use<F>> {
    let submit = |ask: &Ask| scene.store.committer.record(vec![new_token(scene, clients, *ask)]);
    asks.iter().map(submit).collect()
}

async fn play<F: Factory>(acts: Vec<Act>) {
    let mut scene = Scene::<F>::new().await;
    let clients = [scene.client, client(&scene.store, CREDENTIALS[1]).await];
    let mut model = Model::default();
    for act in acts {
        match act {
            Act::Ask(asks) => {
                let waiting = submit(&scene, clients, &asks);
                for (ask, waiting) in asks.into_iter().zip(waiting) {
                    let found = waiting.await.remove(0);
                    assert_eq!(answer(found), model.ask(ask), "{ask:?}");
                }
            }
            Act::Fail(asks) => {
                let waiting = submit(&scene, clients, &asks);
                let failure = StoreError::Full { outcome: Outcome::NotDone };
                let said = failure.clone();
                let failing = scene.store.write::<(), _>(move |_| Err(said)).await;
                assert_eq!(failing, Err(failure.clone()));
                for (ask, waiting) in asks.into_iter().zip(waiting) {
                    match waiting.await.remove(0) {
                        Err(LedgerError::Store(error)) => assert_eq!(error, failure),
                        // It came before the failure, or it was taken back.
                        found => assert_eq!(answer(found), model.ask(ask), "{ask:?}"),
                    }
                }
            }
            Act::Seed { meter: index, minute } => {
                let seed = Seed { meter: meter(index), base_date: BaseDate::Y2014, tid: tid(minute) };
                scene.store.seed_last_tids(vec![seed], Actor::Local, NOW_MS).await.unwrap();
                let found = scene.store.last_tid(meter(index), BaseDate::Y2014).await.unwrap();
                assert_eq!(found.map(Tid::value), Some(model.seed(index, minute)));
            }
            Act::Enable(enabled) => {
                scene
                    .store
                    .set_configuration_enabled(scene.configuration, enabled, Actor::Local, NOW_MS)
                    .await
                    .unwrap();
                model.disabled = !enabled;
            }
            Act::Reopen => scene = scene.reopen(),
        }
    }
    for index in 0..3 {
        let last = scene.store.last_tid(meter(index), BaseDate::Y2014).await.unwrap();
        assert_eq!(last.map(Tid::value), model.last.get(&index).copied());
    }
    assert_eq!(rows(&scene.store).await, model.requests.len());
    let mut verification = Verification::new(None);
    let records = scene.store.records(Cursor::default(), 10_000, true).await.unwrap();
    records.lines.iter().for_each(|line| verification.feed(line));
    assert!(verification.finish().is_sound());
    assert_eq!(
        records.lines.last().map(|line| line.hash),
        scene.store.chain_head().await.ok().map(|head| head.hash)
    );
}

pub(in crate::store) fn any_acts_give_what_the_rules_say<F: Factory>() {
    let mut runner = TestRunner::new(ProptestConfig { cases: 32, ..ProptestConfig::default() });
    let tried = runner.run(&vec(act(), 1..24), |acts| {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(play::<F>(acts));
        Ok(())
    });
    tried.unwrap_or_else(|failure| panic!("{failure}"));
}
