//! Acts that wait for more than one person, and the one way in which a last TID falls.

use super::*;
use crate::store::{ApprovalState, SealReport};

fn asked(requester: ClientId, request: &[u8]) -> NewApproval {
    NewApproval {
        id: ApprovalId::generate(),
        requester,
        credential: CREDENTIAL.into(),
        method: "/vendkey.v1.LedgerService/LowerLastTid".into(),
        request: request.to_vec(),
        summary: "lower something".into(),
        salt: [3; 16],
        content_sha256: [4; 32],
        expires_ms: NOW_MS + 1_000,
        now_ms: NOW_MS,
    }
}

fn word(client: ClientId, approves: bool) -> Vote {
    let credential = "another".to_owned();
    Vote { client, credential, approves, content_sha256: [4; 32], at_ms: NOW_MS + 1 }
}

fn step(from: ApprovalState, to: ApprovalState) -> ApprovalStep {
    ApprovalStep { from, to, outcome: "said".into(), actor: Actor::Local, now_ms: NOW_MS + 2 }
}

impl Scene {
    async fn ask(&self, request: &[u8]) -> Approval {
        match self.store.request_approval(asked(self.client, request)).await.unwrap() {
            ApprovalRequested::New(approval) => approval,
            other => panic!("not new: {other:?}"),
        }
    }

    /// The kinds of the last records of the chain.
    async fn last_kinds(&self, count: usize) -> Vec<String> {
        let lines = self.store.records(0, 10_000, false).await.unwrap().lines;
        let kinds = lines.into_iter().filter_map(|line| match line.record.entry {
            crate::audit::Entry::Act(act) => Some(act.kind),
            crate::audit::Entry::Token(_) => None,
        });
        let kinds: Vec<String> = kinds.collect();
        kinds[kinds.len() - count..].to_vec()
    }
}

#[tokio::test]
async fn the_same_act_waits_once_for_each_client() {
    let scene = Scene::new().await;
    let first = scene.ask(b"one").await;
    let again = scene.store.request_approval(asked(scene.client, b"one")).await.unwrap();
    assert_eq!(again, ApprovalRequested::Existing(first.clone()));
    assert_ne!(scene.ask(b"two").await.id, first.id);
    let other = client(&scene.store, "till-2").await;
    let theirs = scene.store.request_approval(asked(other, b"one")).await.unwrap();
    assert!(matches!(theirs, ApprovalRequested::New(_)));
    // What has ended does not stand for a new request.
    scene.store.vote(first.id, word(other, false)).await.unwrap();
    assert_ne!(scene.ask(b"one").await.id, first.id);
    assert_eq!(scene.store.verify_seals().await.unwrap(), SealReport::default());
}

#[tokio::test]
async fn so_many_wait_for_each_client() {
    let scene = Scene::new().await;
    for request in 0..PENDING {
        scene.ask(&[request]).await;
    }
    let more = scene.store.request_approval(asked(scene.client, &[PENDING])).await.unwrap();
    assert_eq!(more, ApprovalRequested::TooMany);
    let again = scene.store.request_approval(asked(scene.client, &[0])).await.unwrap();
    assert!(matches!(again, ApprovalRequested::Existing(_)));
    let other = client(&scene.store, "till-2").await;
    let theirs = scene.store.request_approval(asked(other, &[PENDING])).await.unwrap();
    assert!(matches!(theirs, ApprovalRequested::New(_)));
}

const PENDING: u8 = crate::store::PENDING_PER_CLIENT as u8;

#[tokio::test]
async fn a_client_has_one_vote_and_may_turn_against_it() {
    let scene = Scene::new().await;
    let (asked, voter) = (scene.ask(b"one").await, client(&scene.store, "till-2").await);
    let voted = scene.store.vote(asked.id, word(voter, true)).await.unwrap().unwrap();
    assert_eq!((voted.state, voted.votes.len()), (ApprovalState::Pending, 1));
    assert_eq!(scene.store.vote(asked.id, word(voter, true)).await.unwrap().unwrap(), voted);
    assert_eq!(scene.last_kinds(2).await, ["credential.created", "approval.approved"]);
    let ended = scene.store.vote(asked.id, word(voter, false)).await.unwrap().unwrap();
    assert_eq!((ended.state, ended.votes.len()), (ApprovalState::Rejected, 1));
    assert!(!ended.votes[0].approves);
    assert_eq!(scene.last_kinds(1).await, ["approval.rejected"]);
    let late = client(&scene.store, "till-3").await;
    let after = scene.store.vote(asked.id, word(late, true)).await.unwrap().unwrap();
    assert_eq!(after.votes.len(), 1, "what has ended takes no votes");
    assert_eq!(scene.store.vote(ApprovalId::generate(), word(late, true)).await.unwrap(), None);
    assert_eq!(scene.reopen().store.approval(asked.id).await.unwrap().unwrap(), after);
}

#[tokio::test]
async fn a_step_is_taken_once_and_is_on_record() {
    use ApprovalState::{Approved, Done, Failed, Pending};
    let scene = Scene::new().await;
    let id = scene.ask(b"one").await.id;
    assert_eq!(scene.store.step_approval(id, step(Approved, Done)).await.unwrap(), None);
    assert_eq!(
        scene.store.step_approval(id, step(Pending, Approved)).await.unwrap().unwrap().state,
        Approved
    );
    assert_eq!(scene.store.step_approval(id, step(Pending, Approved)).await.unwrap(), None);
    assert_eq!(scene.store.granted_approvals().await.unwrap().len(), 1);
    let done = scene.store.step_approval(id, step(Approved, Done)).await.unwrap().unwrap();
    assert_eq!((done.state, done.outcome.as_str()), (Done, "said"));
    assert_eq!(scene.store.step_approval(id, step(Approved, Failed)).await.unwrap(), None);
    assert!(scene.store.granted_approvals().await.unwrap().is_empty());
    let kinds = ["approval.requested", "approval.granted", "approval.done"];
    assert_eq!(scene.last_kinds(3).await, kinds);
    assert_eq!(scene.store.verify_seals().await.unwrap(), SealReport::default());
}

#[tokio::test]
async fn time_and_a_restored_database_end_what_waits() {
    let scene = Scene::new().await;
    let first = scene.ask(b"one").await;
    let granted = scene.ask(b"two").await;
    scene
        .store
        .step_approval(granted.id, step(ApprovalState::Pending, ApprovalState::Approved))
        .await
        .unwrap();
    scene.store.expire_approvals(first.expires_ms - 1).await.unwrap();
    assert_eq!(scene.store.approval(first.id).await.unwrap().unwrap().state, ApprovalState::Pending);
    scene.store.expire_approvals(first.expires_ms).await.unwrap();
    let state = async |id| scene.store.approval(id).await.unwrap().unwrap().state;
    assert_eq!(
        (state(first.id).await, state(granted.id).await),
        (ApprovalState::Expired, ApprovalState::Approved)
    );
    assert_eq!(scene.last_kinds(1).await, ["approval.expired"]);

    let second = scene.ask(b"three").await;
    let accepted = AcceptedRestore {
        actor: Actor::Local,
        floors: vec![],
        requests_from_ms: 0,
        lost_from: 0,
        details: BTreeMap::new(),
        now_ms: NOW_MS,
    };
    scene.store.accept_restore(accepted).await.unwrap();
    assert_eq!(
        (state(second.id).await, state(granted.id).await),
        (ApprovalState::Expired, ApprovalState::Approved)
    );
}

#[tokio::test]
async fn lists_are_of_those_that_wait_or_of_all() {
    let scene = Scene::new().await;
    let (first, second) = (scene.ask(b"one").await, scene.ask(b"two").await);
    scene.store.vote(first.id, word(client(&scene.store, "till-2").await, false)).await.unwrap();
    let ids = async |pending| -> Vec<ApprovalId> {
        let page = scene.store.list_approvals(PageRequest::first(), pending).await.unwrap();
        page.items.iter().map(|approval| approval.id).collect()
    };
    assert_eq!(ids(true).await, [second.id]);
    assert_eq!(ids(false).await, [first.id, second.id]);
}

#[tokio::test]
async fn the_record_holds_the_hash_and_not_the_content() {
    let scene = Scene::new().await;
    scene.ask(b"a request that names a meter").await;
    let lines = scene.store.records(0, 10_000, false).await.unwrap().lines;
    let text = format!("{lines:?}");
    assert!(text.contains(&hex::encode([4; 32])), "{text}");
    for secret in ["names a meter", "lower something", &hex::encode("names a meter")] {
        assert!(!text.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn no_hand_changes_content_or_revives_what_has_ended() {
    let scene = Scene::new().await;
    let id = scene.ask(b"one").await.id;
    scene.store.vote(id, word(client(&scene.store, "till-2").await, false)).await.unwrap();
    for sql in [
        "UPDATE approvals SET request = x'00'",
        "UPDATE approvals SET summary = 'harmless'",
        "UPDATE approvals SET requester = 2",
        "UPDATE approvals SET state = 'PENDING'",
    ] {
        let changed = scene.store.write(move |c| Ok(c.view.execute(sql, ())?)).await;
        assert!(matches!(changed, Err(StoreError::Defect { .. })), "{sql}: {changed:?}");
    }
}

#[tokio::test]
async fn a_last_tid_falls_to_the_last_token_and_no_further() {
    let scene = Scene::new().await;
    let seed = |minute| Seed { meter: meter(0), base_date: BaseDate::Y2014, tid: tid(minute) };
    let lower = async |minute| scene.store.lower_last_tid(seed(minute), Actor::Local, NOW_MS).await;
    assert_eq!(lower(7).await, Err(LowerRefused::MeterNotFound.into()));
    let Recorded::New(row) = scene.store.record_token(scene.credit(1, meter(0), 5_000)).await.unwrap() else {
        panic!("not new")
    };
    scene.store.seed_last_tids(vec![seed(9_000)], Actor::Local, NOW_MS).await.unwrap();
    assert_eq!(lower(9_001).await, Err(LowerRefused::NotLower { last: tid(9_000) }.into()));
    assert_eq!(lower(tid_of(&row) - 1).await, Err(LowerRefused::Issued { issued: tid(tid_of(&row)) }.into()));
    assert_eq!(lower(6_000).await, Ok(tid(9_000)));
    assert_eq!(lower(6_000).await, Ok(tid(6_000)), "what is so stays so");
    assert_eq!(lower(5_000).await, Ok(tid(6_000)));
    assert_eq!(scene.last_kinds(2).await, ["meter.lowered", "meter.lowered"]);
    // Other meters and base dates have sequences of their own.
    let other = Seed { base_date: BaseDate::Y1993, ..seed(4) };
    assert_eq!(
        scene.store.lower_last_tid(other, Actor::Local, NOW_MS).await,
        Err(LowerRefused::MeterNotFound.into())
    );
    let Recorded::New(next) = scene.store.record_token(scene.credit(2, meter(0), 5_000)).await.unwrap()
    else {
        panic!("not new")
    };
    assert_eq!(tid_of(&next), 5_001, "no TID is given twice");
    // What the ledger has forgotten was given all the same.
    scene.store.write(|c| Ok(c.view.execute("DELETE FROM issued_tokens", [])?)).await.unwrap();
    scene.store.seed_last_tids(vec![seed(9_000)], Actor::Local, NOW_MS).await.unwrap();
    assert_eq!(lower(5_000).await, Err(LowerRefused::Issued { issued: tid(5_001) }.into()));
    assert_eq!(lower(5_001).await, Ok(tid(9_000)));
}

#[tokio::test]
async fn the_database_itself_refuses_a_fall_that_was_not_decided() {
    let scene = Scene::new().await;
    let Recorded::New(row) = scene.store.record_token(scene.credit(1, meter(0), 5_000)).await.unwrap() else {
        panic!("not new")
    };
    let seed = Seed { meter: meter(0), base_date: BaseDate::Y2014, tid: tid(9_000) };
    scene.store.seed_last_tids(vec![seed], Actor::Local, NOW_MS).await.unwrap();
    scene.store.lower_last_tid(Seed { tid: tid(6_000), ..seed }, Actor::Local, NOW_MS).await.unwrap();
    scene.store.seed_last_tids(vec![seed], Actor::Local, NOW_MS).await.unwrap();
    let below = tid_of(&row) - 1;
    let open = format!(
        "INSERT INTO meter_falls (pan, base_date, from_tid, to_tid, at_ms, open)
         SELECT pan, base_date, last_tid, {below}, 0, 1 FROM meters; UPDATE meters SET last_tid = {below}"
    );
    for sql in ["UPDATE meters SET last_tid = 6000".to_owned(), open] {
        let fell = scene.store.write(move |c| Ok(c.view.execute_batch(&sql)?)).await;
        assert!(matches!(fell, Err(StoreError::Defect { .. })), "{fell:?}");
        let last = scene.store.last_tid(meter(0), BaseDate::Y2014).await.unwrap();
        assert_eq!(last, Some(tid(9_000)));
    }
}
