//! Acts that wait for more than one person.

use std::collections::BTreeMap;

use super::*;

pub(in crate::store) fn asked(requester: ClientId, act: &[u8]) -> Approval {
    Approval {
        id: ApprovalId::generate(),
        requester,
        credential: CREDENTIAL.into(),
        method: "/vendkey.v1.LedgerService/LowerLastTid".into(),
        act: act.to_vec(),
        summary: "lower something".into(),
        salt: [3; 16],
        content_sha256: [4; 32],
        state: ApprovalState::Pending,
        outcome: String::new(),
        created_ms: NOW_MS,
        expires_ms: NOW_MS + 1_000,
        updated_ms: NOW_MS,
        votes: Vec::new(),
    }
}

pub(in crate::store) fn word(client: ClientId, approves: bool) -> Vote {
    let credential = "another".to_owned();
    Vote { client, credential, approves, content_sha256: [4; 32], at_ms: NOW_MS + 1 }
}

pub(in crate::store) fn step(from: ApprovalState, to: ApprovalState) -> ApprovalStep {
    ApprovalStep { from, to, outcome: "said".into(), actor: Actor::Local, now_ms: NOW_MS + 2 }
}

impl<F: Factory> Scene<F> {
    pub(in crate::store) async fn ask(&self, act: &[u8]) -> Approval {
        match self.store.request_approval(asked(self.client, act)).await.unwrap() {
            ApprovalRequested::New(approval) => approval,
            other => panic!("not new: {other:?}"),
        }
    }

    /// The kinds of the last records of the chain.
    pub(in crate::store) async fn last_kinds(&self, count: usize) -> Vec<String> {
        let lines = self.store.records(Cursor::default(), 10_000, false).await.unwrap().lines;
        let kinds = lines.into_iter().filter_map(|line| match line.record.entry {
            crate::audit::Entry::Act(act) => Some(act.kind),
            crate::audit::Entry::Token(_) => None,
        });
        let kinds: Vec<String> = kinds.collect();
        kinds[kinds.len() - count..].to_vec()
    }
}

pub(in crate::store) async fn the_same_act_waits_once_for_each_client<F: Factory>() {
    let scene = Scene::<F>::new().await;
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

pub(in crate::store) async fn a_limited_number_waits_for_each_client<F: Factory>() {
    let scene = Scene::<F>::new().await;
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

const PENDING: u8 = PENDING_PER_CLIENT as u8;

pub(in crate::store) async fn a_client_has_one_vote_and_may_turn_against_it<F: Factory>() {
    let scene = Scene::<F>::new().await;
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

pub(in crate::store) async fn a_step_is_taken_once_and_is_on_record<F: Factory>() {
    use ApprovalState::{Approved, Done, Failed, Pending};
    let scene = Scene::<F>::new().await;
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

pub(in crate::store) async fn an_act_is_found_by_its_approval<F: Factory>() {
    let scene = Scene::<F>::new().await;
    let [waits, done] = [scene.ask(b"one").await.id, scene.ask(b"two").await.id];
    let disabled = async |actor| {
        let id = scene.configuration;
        scene.store.set_configuration_enabled(id, false, actor, NOW_MS).await.unwrap();
        scene.store.set_configuration_enabled(id, true, Actor::Local, NOW_MS).await.unwrap();
    };
    let asker = scene.client;
    let client = move |approval| Actor::Client { client: asker, credential: CREDENTIAL.into(), approval };
    disabled(client(None)).await;
    // What tells of an approval is not the act.
    let granted = step(ApprovalState::Pending, ApprovalState::Approved);
    scene.store.step_approval(done, granted).await.unwrap();
    assert_eq!(scene.store.act_of_approval(done).await.unwrap(), None);
    disabled(client(Some(done))).await;
    let scene = scene.reopen();
    let act = scene.store.act_of_approval(done).await.unwrap().unwrap();
    assert_eq!((act.kind.as_str(), act.done_with()), ("configuration.disabled", Some(done)));
    assert_eq!(scene.store.act_of_approval(waits).await.unwrap(), None);
    // Nor is one done again that had nothing to change, whatever was changed since.
    let (id, actor) = (scene.configuration, client(Some(waits)));
    scene.store.set_configuration_enabled(id, true, actor, NOW_MS).await.unwrap();
    let act = scene.store.act_of_approval(waits).await.unwrap().unwrap();
    assert_eq!((act.kind.as_str(), act.done_with()), ("act.unchanged", Some(waits)));
    let before = scene.store.chain_head().await.unwrap();
    scene.store.set_configuration_enabled(id, true, client(None), NOW_MS).await.unwrap();
    assert_eq!(scene.store.chain_head().await.unwrap(), before, "what needed nobody leaves no record");
    assert!(!scene.store.restore_accepted_after(0).await.unwrap());
}

pub(in crate::store) async fn time_and_a_restored_database_end_what_waits<F: Factory>() {
    let scene = Scene::<F>::new().await;
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
        lost_from: 40,
        details: BTreeMap::new(),
        now_ms: NOW_MS,
    };
    let before = scene.store.chain_head().await.unwrap().position;
    scene.store.accept_restore(accepted).await.unwrap();
    let after = scene.store.chain_head().await.unwrap().position;
    assert!(scene.store.restore_accepted_after(before).await.unwrap());
    assert!(!scene.store.restore_accepted_after(after).await.unwrap());
    assert_eq!(
        (state(second.id).await, state(granted.id).await),
        (ApprovalState::Expired, ApprovalState::Approved)
    );
    // The gap is told by the first record behind it, whatever else ended with it.
    chain::verified(&scene.store).await;
}

pub(in crate::store) async fn lists_are_of_those_that_wait_or_of_all<F: Factory>() {
    let scene = Scene::<F>::new().await;
    let (first, second) = (scene.ask(b"one").await, scene.ask(b"two").await);
    scene.store.vote(first.id, word(client(&scene.store, "till-2").await, false)).await.unwrap();
    let ids = async |pending| -> Vec<ApprovalId> {
        let page = scene.store.list_approvals(PageRequest::first(), pending).await.unwrap();
        page.items.iter().map(|approval| approval.id).collect()
    };
    assert_eq!(ids(true).await, [second.id]);
    assert_eq!(ids(false).await, [first.id, second.id]);
}

pub(in crate::store) async fn the_record_holds_the_hash_and_not_the_content<F: Factory>() {
    let scene = Scene::<F>::new().await;
    scene.ask(b"a request that names a meter").await;
    let lines = scene.store.records(Cursor::default(), 10_000, false).await.unwrap().lines;
    let text = format!("{lines:?}");
    assert!(text.contains(&hex::encode([4; 32])), "{text}");
    for secret in ["names a meter", "lower something", &hex::encode("names a meter")] {
        assert!(!text.contains(secret), "{secret}");
    }
}
