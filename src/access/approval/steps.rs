//! What becomes of an approval: decided over what was loaded, on record with the hash of the
//! content and never the content.

use std::collections::BTreeMap;

use super::{Approval, ApprovalState, ApprovalStep, PENDING_PER_CLIENT, Vote};
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
pub fn request(new: &Approval, pending: &[Approval]) -> Requested {
    let same = |waiting: &&Approval| waiting.method == new.method && waiting.act == new.act;
    if let Some(same) = pending.iter().find(same) {
        return Requested::Existing(same.clone());
    }
    if pending.len() >= PENDING_PER_CLIENT as usize {
        return Requested::TooMany;
    }
    let actor = Actor::Client { client: new.requester, credential: new.credential.clone(), approval: None };
    let act = told(new, new.state.record(), actor, new.created_ms);
    Requested::New(Change { row: new.clone(), act })
}

/// Notes a vote; one against ends the approval, also of a client that was for it. `None`: nothing
/// changes.
pub fn vote(approval: &Approval, vote: &Vote) -> Option<Voted> {
    let earlier = approval.votes.iter().position(|earlier| earlier.client == vote.client);
    let before = earlier.and_then(|index| approval.votes.get(index));
    let stays = before.is_some_and(|before| vote.approves || !before.approves);
    if approval.state != ApprovalState::Pending || stays {
        return None;
    }
    // What was in front of the voter the first time stays on record.
    let content_sha256 = before.map_or(vote.content_sha256, |before| before.content_sha256);
    let vote = Vote { content_sha256, ..vote.clone() };
    let mut row = approval.clone();
    match earlier.and_then(|index| row.votes.get_mut(index)) {
        Some(before) => *before = vote.clone(),
        None => row.votes.push(vote.clone()),
    }
    let actor = Actor::Client { client: vote.client, credential: vote.credential.clone(), approval: None };
    let change = if vote.approves {
        let act = told(&row, "approval.approved", actor, vote.at_ms);
        Change { row, act }
    } else {
        put(row, ApprovalState::Rejected, "", actor, vote.at_ms)
    };
    Some(Voted { vote, change })
}

/// Brings an approval from one state to another. `None`: it is in another state, so somebody else
/// was first.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{ApprovalId, ClientId};

    const NOW: i64 = 1_795_298_400_000;

    fn client(number: u8) -> ClientId {
        ClientId::from_bytes([number; 16])
    }

    fn new(act: &[u8]) -> Approval {
        Approval {
            id: ApprovalId::generate(),
            requester: client(1),
            credential: "one".into(),
            method: "a method".into(),
            act: act.to_vec(),
            summary: "names a meter".into(),
            salt: [3; 16],
            content_sha256: [4; 32],
            state: ApprovalState::Pending,
            outcome: String::new(),
            created_ms: NOW,
            expires_ms: NOW + 1_000,
            updated_ms: NOW,
            votes: Vec::new(),
        }
    }

    fn waiting(act: &[u8]) -> Approval {
        match request(&new(act), &[]) {
            Requested::New(change) => change.row,
            other => panic!("{other:?}"),
        }
    }

    fn word(voter: u8, approves: bool) -> Vote {
        let credential = format!("credential {voter}");
        Vote { client: client(voter), credential, approves, content_sha256: [4; 32], at_ms: NOW + 1 }
    }

    #[test]
    fn the_same_act_waits_once_and_a_limited_number_for_each_client() {
        let first = waiting(b"one");
        assert_eq!(request(&new(b"one"), std::slice::from_ref(&first)), Requested::Existing(first.clone()));
        assert!(matches!(request(&new(b"two"), &[first]), Requested::New(_)));
        let full: Vec<Approval> = (0..PENDING_PER_CLIENT).map(|n| waiting(&n.to_be_bytes())).collect();
        assert_eq!(request(&new(b"one"), &full), Requested::TooMany);
        assert_eq!(request(&new(&[0; 4]), &full), Requested::Existing(full[0].clone()));
        assert!(matches!(request(&new(b"one"), &full[1..]), Requested::New(_)));
    }

    #[test]
    fn a_client_has_one_vote_and_may_turn_against_it() {
        let asked = waiting(b"one");
        let voted = vote(&asked, &word(2, true)).unwrap();
        let Change { row, act } = voted.change;
        assert_eq!((row.state, row.votes.len(), act.kind), (ApprovalState::Pending, 1, "approval.approved"));
        assert_eq!(vote(&row, &word(2, true)), None, "it stays");
        // What was looked at the first time stays on record.
        let against = Vote { content_sha256: [9; 32], ..word(2, false) };
        let voted = vote(&row, &against).unwrap();
        assert_eq!((voted.vote.approves, voted.vote.content_sha256), (false, [4; 32]));
        let Change { row, act } = voted.change;
        assert_eq!(
            (row.state, row.votes, act.kind),
            (ApprovalState::Rejected, vec![voted.vote], "approval.rejected")
        );
        let ended = Approval { state: ApprovalState::Rejected, ..asked };
        assert_eq!(vote(&ended, &word(3, true)), None, "what has ended takes no votes");
    }

    #[test]
    fn a_step_is_taken_from_where_it_must_stand_alone() {
        use ApprovalState::{Approved, Done, Pending};
        let asked = waiting(b"one");
        let step = |from, to| ApprovalStep {
            from,
            to,
            outcome: "said".into(),
            actor: Actor::Local,
            now_ms: NOW + 2,
        };
        assert_eq!(super::step(&asked, &step(Approved, Done)), None);
        let granted = super::step(&asked, &step(Pending, Approved)).unwrap();
        assert_eq!((granted.row.state, granted.act.kind), (Approved, "approval.granted"));
        assert_eq!(granted.row.updated_ms, NOW + 2);
        assert_eq!(super::step(&granted.row, &step(Pending, Approved)), None);
        assert_eq!(super::step(&granted.row, &step(Approved, Done)).unwrap().row.outcome, "said");
    }

    #[test]
    fn time_and_a_restored_database_end_what_waits_and_nothing_else() {
        let asked = waiting(b"one");
        assert_eq!(expire(&asked, asked.expires_ms - 1), None);
        let ended = expire(&asked, asked.expires_ms).unwrap();
        assert_eq!((ended.row.state, ended.act.kind), (ApprovalState::Expired, "approval.expired"));
        assert_eq!(forget(&asked, NOW).unwrap().row.outcome, "the database was restored");
        let granted = Approval { state: ApprovalState::Approved, ..asked };
        assert_eq!((expire(&granted, i64::MAX), forget(&granted, NOW)), (None, None));
    }

    #[test]
    fn the_record_holds_the_hash_and_not_the_content() {
        let Requested::New(change) = request(&new(b"names a meter"), &[]) else { panic!("not new") };
        let text = change.act.details_text();
        assert!(text.contains(&hex::encode([4; 32])), "{text}");
        for content in ["names a meter", &hex::encode("names a meter")] {
            assert!(!text.contains(content), "{text}");
        }
    }
}
