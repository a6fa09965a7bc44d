//! Approvals: what waits, and the votes on it.

use std::sync::Arc;

use super::{Act, Acts, Reason, Refusal};
use crate::{
    access::{
        Caller,
        approval::{self, Approval, ApprovalRefused, ApprovalState, ApprovalStep, Vote},
    },
    audit::Actor,
    id::{ApprovalId, ClientId},
    store::{Page, PageRequest},
};

/// One person's word on an act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ballot {
    /// On which.
    pub approval: ApprovalId,
    /// For it, or against it.
    pub approves: bool,
    /// The hash of what the voter looked at; if given, nothing else is approved.
    pub seen: Option<[u8; 32]>,
}

/// An approval with what is to be known beside its row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalAnswer {
    /// The row.
    pub approval: Approval,
    /// The act, JSON; `None` for what this version cannot read.
    pub act: Option<String>,
    /// The name of who asked.
    pub requester_name: String,
    /// The names of who voted, in the order of the votes.
    pub voter_names: Vec<String>,
    /// How many persons it takes, by the settings as they are now.
    pub needed: u32,
    /// How many of them are missing.
    pub missing: u32,
}

impl Acts {
    /// One approval.
    ///
    /// # Errors
    /// APPROVAL_NOT_FOUND; what the store says.
    pub async fn approval(&self, id: ApprovalId) -> Result<ApprovalAnswer, Refusal> {
        let found = self.find_approval(id).await?;
        self.answered(found).await
    }

    /// Approvals in the order in which they were asked for; those that ended too, if `ended`.
    ///
    /// # Errors
    /// What the store says.
    pub async fn list_approvals(
        &self,
        page: PageRequest,
        ended: bool,
    ) -> Result<Page<ApprovalAnswer>, Refusal> {
        self.four_eyes.expire().await?;
        let Page { items, next } = self.store.list_approvals(page, !ended).await?;
        let mut answers = Vec::with_capacity(items.len());
        for approval in items {
            answers.push(self.answered(approval).await?);
        }
        Ok(Page { items: answers, next })
    }

    /// Takes a vote, and does the act if it was the last one missing.
    ///
    /// # Errors
    /// APPROVAL_NOT_FOUND, APPROVAL_OWN, APPROVAL_ENDED, APPROVAL_CONTENT_CHANGED;
    /// PERMISSION_DENIED for whoever may not make the call; what the store says.
    pub async fn vote(self: &Arc<Self>, caller: &Caller, ballot: Ballot) -> Result<ApprovalAnswer, Refusal> {
        let ended = self.voted(caller, ballot).await?;
        self.answered(ended).await
    }

    async fn voted(self: &Arc<Self>, caller: &Caller, ballot: Ballot) -> Result<Approval, Refusal> {
        let found = self.find_approval(ballot.approval).await?;
        if !self.four_eyes.counts(caller.client, &found).await? {
            let text = "who may not do it may not decide about it";
            return Err(Refusal::new(Reason::PermissionDenied, text));
        }
        let before = found.votes.iter().any(|v| v.client == caller.client && v.approves == ballot.approves);
        if before && found.state != ApprovalState::Pending {
            // Whoever lost the answer gets it now.
            return Ok(found);
        }
        let now_ms = self.clock.now_ms();
        let allowed = approval::may_vote(&found, caller.client, ballot.approves, ballot.seen, now_ms);
        if let Err(refused) = allowed {
            let changed = refused == ApprovalRefused::ContentChanged;
            let refusal = Refusal::from(refused);
            if changed {
                self.alarm(&found, &caller.actor()).await;
                self.fail_pending(&found, caller, &refusal).await?;
            }
            return Err(refusal);
        }
        if let Err(unreadable) = Act::from_stored(&found.act)
            && ballot.approves
        {
            // No vote makes it doable: it ends, and whoever asked is told to ask again.
            let refusal = Refusal::from(unreadable);
            self.fail_pending(&found, caller, &refusal).await?;
            return Err(refusal);
        }
        let vote = Vote {
            client: caller.client,
            credential: caller.key_id.to_string(),
            approves: ballot.approves,
            content_sha256: found.content_sha256,
            at_ms: now_ms,
        };
        let voted = self.store.vote(found.id, vote).await?.ok_or_else(|| not_found(found.id))?;
        tracing::info!(approval = %voted.id, client = %caller.client, approves = ballot.approves, "a vote");
        if voted.state != ApprovalState::Pending || self.four_eyes.missing(&voted).await? > 0 {
            return Ok(voted);
        }
        // In a task of its own: a voter who hangs up must not leave a half-done act behind.
        let (acts, actor) = (self.clone(), caller.actor());
        let ended = tokio::spawn(async move { acts.grant(voted.id, actor).await });
        let stopping = |_| Refusal::new(Reason::StoreUnavailable, "the server is stopping");
        match ended.await.map_err(stopping)?? {
            Some(ended) => Ok(ended),
            // Another voter came at the same moment.
            None => self.find_approval(found.id).await,
        }
    }

    /// Notes that enough persons agreed, and does the act. `None`: somebody else did.
    async fn grant(&self, id: ApprovalId, actor: Actor) -> Result<Option<Approval>, Refusal> {
        let granted = ApprovalStep {
            from: ApprovalState::Pending,
            to: ApprovalState::Approved,
            outcome: String::new(),
            actor,
            now_ms: self.clock.now_ms(),
        };
        match self.store.step_approval(id, granted).await? {
            Some(granted) => Ok(self.finish(&granted).await?),
            None => Ok(None),
        }
    }

    /// Ends what waits and can never be done.
    async fn fail_pending(&self, found: &Approval, caller: &Caller, why: &Refusal) -> Result<(), Refusal> {
        let step = ApprovalStep {
            from: found.state,
            to: ApprovalState::Failed,
            outcome: why.in_words(),
            actor: caller.actor(),
            now_ms: self.clock.now_ms(),
        };
        self.store.step_approval(found.id, step).await?;
        Ok(())
    }

    async fn find_approval(&self, id: ApprovalId) -> Result<Approval, Refusal> {
        self.four_eyes.expire().await?;
        self.store.approval(id).await?.ok_or_else(|| not_found(id))
    }

    async fn answered(&self, mut approval: Approval) -> Result<ApprovalAnswer, Refusal> {
        let missing = match approval.state {
            ApprovalState::Pending => self.four_eyes.missing(&approval).await?,
            _ => 0,
        };
        if approval.state == ApprovalState::Approved {
            approval.outcome = self.deferred.reason(approval.id).unwrap_or_default();
        }
        let mut voter_names = Vec::with_capacity(approval.votes.len());
        for vote in &approval.votes {
            voter_names.push(self.client_name(vote.client).await?);
        }
        let act = Act::from_stored(&approval.act).ok();
        Ok(ApprovalAnswer {
            act: act.map(|_| String::from_utf8_lossy(&approval.act).into_owned()),
            requester_name: self.client_name(approval.requester).await?,
            voter_names,
            needed: self.four_eyes.needed(),
            missing,
            approval,
        })
    }

    async fn client_name(&self, client: ClientId) -> Result<String, Refusal> {
        let client = self.store.client(client).await?;
        Ok(client.map(|client| client.display_name).unwrap_or_default())
    }
}

fn not_found(id: ApprovalId) -> Refusal {
    Refusal::new(Reason::ApprovalNotFound, format!("there is no approval {id}"))
}
