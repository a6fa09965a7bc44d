//! `vendkey.v1.ApprovalService`.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::{
    approved::Acts,
    authentication::caller,
    four_eyes::FourEyes,
    parse::{Fields, timestamp},
    v1::{self, approval::State, approval_service_server::ApprovalService},
};
use crate::{
    access::{
        Caller,
        approval::{self, ApprovalRefused},
    },
    acts::{Reason, Refusal},
    store::{Approval, ApprovalId, ApprovalState, ApprovalStep, ClientId, Listing, PageRequest, Vote},
};

/// The service.
pub struct Approvals {
    four_eyes: Arc<FourEyes>,
    acts: Arc<Acts>,
}

/// A vote that was parsed.
struct Word {
    id: ApprovalId,
    approves: bool,
    /// The hash of what the voter looked at.
    seen: Option<[u8; 32]>,
}

impl Approvals {
    /// Over the gate and what it guards.
    pub fn new(four_eyes: Arc<FourEyes>, acts: Arc<Acts>) -> Self {
        Self { four_eyes, acts }
    }

    async fn find(&self, id: ApprovalId) -> Result<Approval, Refusal> {
        self.four_eyes.expire().await?;
        self.four_eyes.store().approval(id).await?.ok_or_else(|| not_found(id))
    }

    /// Takes a vote, and does the act if it was the last one missing.
    async fn vote(&self, caller: &Caller, word: Word) -> Result<Approval, Refusal> {
        let found = self.find(word.id).await?;
        if !self.four_eyes.counts(caller.client, &found).await? {
            return Err(Refusal::new(Reason::PermissionDenied, "who may not do it may not decide about it"));
        }
        let before = found.votes.iter().any(|v| v.client == caller.client && v.approves == word.approves);
        if before && found.state != ApprovalState::Pending {
            // Whoever lost the answer gets it now.
            return Ok(found);
        }
        let now_ms = self.four_eyes.now_ms();
        let allowed = approval::may_vote(&found, caller.client, word.approves, word.seen, now_ms);
        if let Err(refused) = allowed {
            if refused == ApprovalRefused::ContentChanged {
                self.stop(&found, caller).await?;
            }
            return Err(refused.into());
        }
        let vote = Vote {
            client: caller.client,
            credential: caller.key_id.to_string(),
            approves: word.approves,
            content_sha256: found.content_sha256,
            at_ms: now_ms,
        };
        let voted = self.four_eyes.store().vote(word.id, vote).await?.ok_or_else(|| not_found(word.id))?;
        tracing::info!(approval = %voted.id, client = %caller.client, approves = word.approves, "a vote");
        if voted.state != ApprovalState::Pending || self.four_eyes.missing(&voted).await? > 0 {
            return Ok(voted);
        }
        let granted = ApprovalStep {
            from: ApprovalState::Pending,
            to: ApprovalState::Approved,
            outcome: String::new(),
            actor: caller.actor(),
            now_ms,
        };
        // In a task of its own: a voter who hangs up must not leave a half-done act behind.
        let (four_eyes, acts) = (self.four_eyes.clone(), self.acts.clone());
        let ended = tokio::spawn(async move {
            match four_eyes.store().step_approval(voted.id, granted).await? {
                Some(granted) => acts.finish(&granted).await,
                None => Ok(None),
            }
        });
        let stopping = |_| Refusal::new(Reason::StoreUnavailable, "the server is stopping");
        match ended.await.map_err(stopping)?? {
            Some(ended) => Ok(ended),
            // Another voter came at the same moment.
            None => self.find(word.id).await,
        }
    }

    /// Ends an approval whose stored content was changed.
    async fn stop(&self, changed: &Approval, caller: &Caller) -> Result<(), Refusal> {
        self.acts.alarm(changed, &caller.actor()).await;
        let step = ApprovalStep {
            from: changed.state,
            to: ApprovalState::Failed,
            outcome: format!(
                "{}: {}",
                Reason::ApprovalContentChanged.text(),
                ApprovalRefused::ContentChanged
            ),
            actor: caller.actor(),
            now_ms: self.four_eyes.now_ms(),
        };
        self.four_eyes.store().step_approval(changed.id, step).await?;
        Ok(())
    }

    async fn display_name(&self, client: ClientId) -> Result<String, Refusal> {
        let client = self.four_eyes.store().client(client).await?;
        Ok(client.map(|client| client.display_name).unwrap_or_default())
    }

    async fn shown(&self, approval: &Approval) -> Result<v1::Approval, Refusal> {
        let missing = match approval.state {
            ApprovalState::Pending => self.four_eyes.missing(approval).await?,
            _ => 0,
        };
        let mut votes = Vec::with_capacity(approval.votes.len());
        for vote in &approval.votes {
            votes.push(v1::Vote {
                client: format!("clients/{}", vote.client),
                display_name: self.display_name(vote.client).await?,
                approves: vote.approves,
                time: Some(timestamp(vote.at_ms)),
            });
        }
        Ok(v1::Approval {
            name: format!("approvals/{}", approval.id),
            state: state(approval.state).into(),
            summary: approval.summary.clone(),
            method: approval.method.clone(),
            request: approval.request.clone(),
            content_sha256: hex::encode(approval.content_sha256),
            requester: format!("clients/{}", approval.requester),
            requester_display_name: self.display_name(approval.requester).await?,
            votes,
            needed: self.four_eyes.needed(),
            missing,
            outcome: approval.outcome.clone(),
            create_time: Some(timestamp(approval.created_ms)),
            expire_time: Some(timestamp(approval.expires_ms)),
            update_time: Some(timestamp(approval.updated_ms)),
        })
    }
}

#[tonic::async_trait]
impl ApprovalService for Approvals {
    async fn get_approval(
        &self,
        request: Request<v1::GetApprovalRequest>,
    ) -> Result<Response<v1::Approval>, Status> {
        caller(&request)?;
        let mut fields = Fields::default();
        let id = fields.name("name", "approvals", &request.get_ref().name);
        let found = self.find(fields.finish(id)?).await?;
        Ok(Response::new(self.shown(&found).await?))
    }

    async fn list_approvals(
        &self,
        request: Request<v1::ListApprovalsRequest>,
    ) -> Result<Response<v1::ListApprovalsResponse>, Status> {
        caller(&request)?;
        let v1::ListApprovalsRequest { page_size, page_token, ended } = request.into_inner();
        let page = PageRequest::new(Listing::Approvals, page_size, &page_token).map_err(Refusal::from)?;
        self.four_eyes.expire().await.map_err(Refusal::from)?;
        let page = self.four_eyes.store().list_approvals(page, !ended).await.map_err(Refusal::from)?;
        let mut approvals = Vec::with_capacity(page.items.len());
        for approval in &page.items {
            approvals.push(self.shown(approval).await?);
        }
        let next_page_token = page.next.map(|token| token.to_string()).unwrap_or_default();
        Ok(Response::new(v1::ListApprovalsResponse { approvals, next_page_token }))
    }

    async fn approve(&self, request: Request<v1::ApproveRequest>) -> Result<Response<v1::Approval>, Status> {
        let caller = caller(&request)?;
        let v1::ApproveRequest { name, content_sha256 } = request.into_inner();
        let mut fields = Fields::default();
        let id = fields.name("name", "approvals", &name);
        let seen = match content_sha256.as_str() {
            "" => None,
            text => {
                let mut seen = [0; 32];
                let digits = hex::decode_to_slice(text, &mut seen).map_err(|_| "expected 64 hex digits");
                fields.take("content_sha256", digits.map(|()| seen))
            }
        };
        let id = fields.finish(id)?;
        let ended = self.vote(&caller, Word { id, approves: true, seen }).await?;
        Ok(Response::new(self.shown(&ended).await?))
    }

    async fn reject(&self, request: Request<v1::RejectRequest>) -> Result<Response<v1::Approval>, Status> {
        let caller = caller(&request)?;
        let mut fields = Fields::default();
        let id = fields.name("name", "approvals", &request.get_ref().name);
        let id = fields.finish(id)?;
        let ended = self.vote(&caller, Word { id, approves: false, seen: None }).await?;
        Ok(Response::new(self.shown(&ended).await?))
    }
}

fn not_found(id: ApprovalId) -> Refusal {
    Refusal::new(Reason::ApprovalNotFound, format!("there is no approval {id}"))
}

fn state(state: ApprovalState) -> State {
    match state {
        ApprovalState::Pending => State::Pending,
        ApprovalState::Approved => State::Approved,
        ApprovalState::Done => State::Done,
        ApprovalState::Failed => State::Failed,
        ApprovalState::Rejected => State::Rejected,
        ApprovalState::Expired => State::Expired,
    }
}
