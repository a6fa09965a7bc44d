//! Four eyes: the rules by which an act waits for more than one person.
//!
//! Persons are clients, not credentials. Whoever asks for an act is the first of them. An approval
//! is of one exact content: its hash is taken again from what is stored whenever somebody votes and
//! when the act is done.

mod steps;
mod types;

use std::collections::BTreeSet;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

pub use steps::{Requested, Voted, expire, forget, request, step, vote};
pub use types::{
    Approval, ApprovalRequested, ApprovalState, ApprovalStep, PENDING_PER_CLIENT, UnknownApprovalState, Vote,
};

use crate::id::ClientId;

/// Why a vote, or the act itself, is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApprovalRefused {
    /// What is stored is not what was asked for.
    #[error("the stored act is not the one that was asked for")]
    ContentChanged,
    /// The voter saw another content.
    #[error("this is not the content that you looked at")]
    OtherContent,
    /// It was decided.
    #[error("the approval is {0} already")]
    Ended(ApprovalState),
    /// Its time is over.
    #[error("the time of the approval is over")]
    Expired,
    /// The requester voted for himself.
    #[error("whoever asked for it is counted already: another person must approve it")]
    Own,
}

/// The hash that binds an approval to its content: SHA-256 over `vendkey approval v1`, a zero byte,
/// the salt (16 bytes), the requester (16), then method, summary and act, each with its length in 8
/// bytes, big endian, before it.
pub fn content_sha256(
    salt: &[u8; 16],
    requester: ClientId,
    method: &str,
    summary: &str,
    act: &[u8],
) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"vendkey approval v1\0");
    hash.update(salt);
    hash.update(requester.to_bytes());
    for part in [method.as_bytes(), summary.as_bytes(), act] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// The hash of an approval as it is.
pub fn hash_of(approval: &Approval) -> [u8; 32] {
    let Approval { salt, requester, method, summary, act, .. } = approval;
    content_sha256(salt, *requester, method, summary, act)
}

/// Refuses an approval whose stored content is not what its hash, and every vote for it, names.
///
/// # Errors
/// [`ApprovalRefused::ContentChanged`].
pub fn intact(approval: &Approval) -> Result<(), ApprovalRefused> {
    let found = hash_of(approval);
    let same = |hash: &[u8; 32]| bool::from(hash.ct_eq(&found));
    if same(&approval.content_sha256) && approval.votes.iter().all(|vote| same(&vote.content_sha256)) {
        Ok(())
    } else {
        Err(ApprovalRefused::ContentChanged)
    }
}

/// Whether this client may vote on an approval now, for or against; `seen` is the hash of the
/// content that it looked at, if it says so.
///
/// # Errors
/// [`ApprovalRefused`].
pub fn may_vote(
    approval: &Approval,
    voter: ClientId,
    approves: bool,
    seen: Option<[u8; 32]>,
    now_ms: i64,
) -> Result<(), ApprovalRefused> {
    if approval.state != ApprovalState::Pending {
        return Err(ApprovalRefused::Ended(approval.state));
    }
    intact(approval)?;
    if approval.expires_ms <= now_ms {
        return Err(ApprovalRefused::Expired);
    }
    if seen.is_some_and(|seen| seen != approval.content_sha256) {
        return Err(ApprovalRefused::OtherContent);
    }
    if approves && voter == approval.requester {
        return Err(ApprovalRefused::Own);
    }
    Ok(())
}

/// The persons who are for an act: the requester, and each client that voted for it.
pub fn persons(approval: &Approval) -> BTreeSet<ClientId> {
    let voters = approval.votes.iter().filter(|vote| vote.approves).map(|vote| vote.client);
    voters.chain([approval.requester]).collect()
}

/// How many persons an act still lacks, where `needed` are needed in all. `counts` says of a person
/// whether it is enabled and may do the act itself.
pub fn missing(approval: &Approval, needed: u32, counts: impl Fn(ClientId) -> bool) -> u32 {
    let counted = persons(approval).into_iter().filter(|person| counts(*person)).count();
    needed.saturating_sub(u32::try_from(counted).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ApprovalId;

    const NOW: i64 = 1_795_298_400_000;

    fn client(number: u8) -> ClientId {
        ClientId::from_bytes([number; 16])
    }

    /// Asked for by client 1.
    fn approval() -> Approval {
        let mut asked = Approval {
            id: ApprovalId::generate(),
            requester: client(1),
            credential: "one".into(),
            method: "/vendkey.v1.ConfigurationService/EnableConfiguration".into(),
            act: vec![1, 2, 3],
            summary: "enable a configuration".into(),
            salt: [5; 16],
            content_sha256: [0; 32],
            state: ApprovalState::Pending,
            outcome: String::new(),
            created_ms: NOW,
            expires_ms: NOW + 1_000,
            updated_ms: NOW,
            votes: Vec::new(),
        };
        asked.content_sha256 = hash_of(&asked);
        asked
    }

    fn voted(voters: &[(u8, bool)]) -> Approval {
        let mut approval = approval();
        approval.votes = voters
            .iter()
            .map(|(voter, approves)| Vote {
                client: client(*voter),
                credential: format!("credential {voter}"),
                approves: *approves,
                content_sha256: approval.content_sha256,
                at_ms: NOW,
            })
            .collect();
        approval
    }

    #[test]
    fn the_requester_is_the_first_person() {
        assert_eq!(missing(&approval(), 1, |_| true), 0);
        assert_eq!(missing(&approval(), 3, |_| true), 2);
        assert_eq!(missing(&voted(&[(2, true)]), 2, |_| true), 0);
        assert_eq!(missing(&voted(&[(2, true), (3, true), (4, true)]), 2, |_| true), 0);
    }

    #[test]
    fn persons_count_once() {
        // The database refuses a second vote of a client; the count does not rest on that.
        let twice = voted(&[(2, true), (2, true), (1, true)]);
        assert_eq!(missing(&twice, 3, |_| true), 1);
    }

    #[test]
    fn votes_against_do_not_count() {
        assert_eq!(missing(&voted(&[(2, false)]), 2, |_| true), 1);
    }

    #[test]
    fn persons_who_may_not_any_more_do_not_count() {
        let voted = voted(&[(2, true), (3, true)]);
        assert_eq!(missing(&voted, 3, |person| person != client(2)), 1);
        assert_eq!(missing(&voted, 3, |person| person != client(1)), 1);
        assert_eq!(missing(&voted, 3, |_| false), 3);
    }

    #[test]
    fn nobody_approves_his_own() {
        let approval = approval();
        assert_eq!(may_vote(&approval, client(1), true, None, NOW), Err(ApprovalRefused::Own));
        assert_eq!(may_vote(&approval, client(1), false, None, NOW), Ok(()), "but may take it back");
        assert_eq!(may_vote(&approval, client(2), true, None, NOW), Ok(()));
    }

    #[test]
    fn time_ends_it() {
        let approval = approval();
        assert_eq!(may_vote(&approval, client(2), true, None, approval.expires_ms - 1), Ok(()));
        let late = may_vote(&approval, client(2), true, None, approval.expires_ms);
        assert_eq!(late, Err(ApprovalRefused::Expired));
    }

    #[test]
    fn what_has_ended_takes_no_votes() {
        for state in ApprovalState::ALL.into_iter().filter(|state| *state != ApprovalState::Pending) {
            let ended = Approval { state, ..approval() };
            for approves in [true, false] {
                let refused = may_vote(&ended, client(2), approves, None, NOW);
                assert_eq!(refused, Err(ApprovalRefused::Ended(state)));
            }
        }
    }

    #[test]
    fn a_voter_may_name_what_he_saw() {
        let approval = approval();
        let seen = Some(approval.content_sha256);
        assert_eq!(may_vote(&approval, client(2), true, seen, NOW), Ok(()));
        let other = may_vote(&approval, client(2), true, Some([0; 32]), NOW);
        assert_eq!(other, Err(ApprovalRefused::OtherContent));
    }

    #[test]
    fn changed_content_is_refused() {
        let changes: [fn(&mut Approval); 7] = [
            |a| a.act.push(0),
            |a| a.method.push('x'),
            |a| a.summary.push('x'),
            |a| a.requester = client(9),
            |a| a.salt[0] ^= 1,
            |a| a.content_sha256[0] ^= 1,
            |a| a.votes[0].content_sha256[0] ^= 1,
        ];
        assert_eq!(intact(&voted(&[(2, true)])), Ok(()));
        for (index, change) in changes.into_iter().enumerate() {
            let mut changed = voted(&[(2, true)]);
            change(&mut changed);
            assert_eq!(intact(&changed), Err(ApprovalRefused::ContentChanged), "change {index}");
            let vote = may_vote(&changed, client(3), true, None, NOW);
            assert_eq!(vote, Err(ApprovalRefused::ContentChanged), "change {index}");
        }
        // A hash that was made to fit does not fit the votes.
        let mut rewritten = voted(&[(2, true)]);
        rewritten.act = vec![9];
        rewritten.content_sha256 = hash_of(&rewritten);
        assert_eq!(intact(&rewritten), Err(ApprovalRefused::ContentChanged));
    }

    #[test]
    fn the_parts_do_not_run_into_each_other() {
        let hash = |method, summary| content_sha256(&[0; 16], client(1), method, summary, b"");
        assert_ne!(hash("ab", "c"), hash("a", "bc"));
    }
}
