//! What becomes of an approval: decided over what was loaded, on record with the hash of the content and never the content.

use std::collections::BTreeMap;

use super::{Approval, ApprovalState, ApprovalStep, NewApproval, PENDING_PER_CLIENT, Vote};
use crate::audit::{Actor, Change, NewAct};

/// What becomes of a request for an approval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requested {
    /// It waits from now on.
    New(Change<Approval>),
    /// The same client asked for the same already, and it waits still.
    Existing(Approval),
    /// [`PENDING_PER_CLIENT`] of this client wait already.
    TooMany,
}

/// What becomes of a vote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voted {
    /// The vote as it is to be kept, in the place of an earlier one of this client.
    pub vote: Vote,
    /// The approval as it is then, its votes included, and the act.
    pub change: Change<Approval>,
}

/// Lets an act wait, beside those of the same client that wait already.
pub fn request(new: &NewApproval, pending: &[Approval]) -> Requested {
    let same = |waiting: &&Approval| waiting.method == new.method && waiting.request == new.request;
    if let Some(same) = pending.iter().find(same) {
        return Requested::Existing(same.clone());
    }
    if pending.len() >= PENDING_PER_CLIENT as usize {
        return Requested::TooMany;
    }
    let row = Approval {
        id: new.id,
        requester: new.requester,
        credential: new.credential.clone(),
        method: new.method.clone(),
        request: new.request.clone(),
        summary: new.summary.clone(),
        salt: new.salt,
        content_sha256: new.content_sha256,
        state: ApprovalState::Pending,
        outcome: String::new(),
        created_ms: new.now_ms,
        expires_ms: new.expires_ms,
        updated_ms: new.now_ms,
        votes: Vec::new(),
    };
    let actor = Actor::Client { client: new.requester, credential: new.credential.clone() };
    let act = told(&row, ApprovalState::Pending.record(), actor, new.now_ms);
    Requested::New(Change { row, act })
}

/// Notes a vote; one against ends the approval, also of a client that was for it. `None`: nothing changes.
pub fn vote(approval: &Approval, vote: &Vote) -> Option<Voted> {
    let earlier = approval.votes.iter().position(|earlier| earlier.client == vote.client);
    let before = earlier.and_then(|place| approval.votes.get(place));
    let stays = before.is_some_and(|before| vote.approves || !before.approves);
    if approval.state != ApprovalState::Pending || stays {
        return None;
    }
    // What was in front of the voter the first time stays on record.
    let content_sha256 = before.map_or(vote.content_sha256, |before| before.content_sha256);
    let vote = Vote { content_sha256, ..vote.clone() };
    let mut row = approval.clone();
    match earlier.and_then(|place| row.votes.get_mut(place)) {
        Some(before) => *before = vote.clone(),
        None => row.votes.push(vote.clone()),
    }
    let actor = Actor::Client { client: vote.client, credential: vote.credential.clone() };
    let change = if vote.approves {
        let act = told(&row, "approval.approved", actor, vote.at_ms);
        Change { row, act }
    } else {
        put(row, ApprovalState::Rejected, "", actor, vote.at_ms)
    };
    Some(Voted { vote, change })
}

/// Brings an approval from one state to another. `None`: it is in another state, so somebody else was first.
pub fn step(approval: &Approval, step: &ApprovalStep) -> Option<Change<Approval>> {
    let ApprovalStep { from, to, outcome, actor, now_ms } = step;
    (approval.state == *from).then(|| put(approval.clone(), *to, outcome, actor.clone(), *now_ms))
}

/// Ends an approval that waits past its time. `None`: it does not.
pub fn expire(approval: &Approval, now_ms: i64) -> Option<Change<Approval>> {
    let over = approval.state == ApprovalState::Pending && approval.expires_ms <= now_ms;
    over.then(|| put(approval.clone(), ApprovalState::Expired, "", Actor::Local, now_ms))
}

/// Ends an approval that waits: a restored database may have forgotten that it was decided.
pub fn forget(approval: &Approval, now_ms: i64) -> Option<Change<Approval>> {
    let outcome = "the database was restored";
    (approval.state == ApprovalState::Pending)
        .then(|| put(approval.clone(), ApprovalState::Expired, outcome, Actor::Local, now_ms))
}

fn put(
    mut row: Approval,
    state: ApprovalState,
    outcome: &str,
    actor: Actor,
    now_ms: i64,
) -> Change<Approval> {
    row.state = state;
    outcome.clone_into(&mut row.outcome);
    row.updated_ms = now_ms;
    let act = told(&row, state.record(), actor, now_ms);
    Change { row, act }
}

/// What happened to an approval: neither its request nor its summary, which may name a meter.
fn told(approval: &Approval, kind: &'static str, actor: Actor, now_ms: i64) -> NewAct {
    let details = BTreeMap::from([
        ("approval", approval.id.to_string()),
        ("content_sha256", hex::encode(approval.content_sha256)),
        ("method", approval.method.clone()),
        ("requester", approval.requester.to_string()),
    ]);
    NewAct { kind, actor, details, now_ms }
}
