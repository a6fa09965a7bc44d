//! `vendkey.v1.ApprovalService`.

use tonic::{Request, Response, Status};

use super::{
    authentication::caller,
    parse::{self, Fields, timestamp},
    services::Services,
    v1::{self, approval::State, approval_service_server::ApprovalService},
};
use crate::{
    access::approval::ApprovalState,
    acts::{ApprovalAnswer, Ballot, Listing, Refusal},
};

#[tonic::async_trait]
impl ApprovalService for Services {
    async fn get_approval(
        &self,
        request: Request<v1::GetApprovalRequest>,
    ) -> Result<Response<v1::Approval>, Status> {
        caller(&request)?;
        let id = parse::name("name", "approvals", &request.get_ref().name)?;
        Ok(Response::new(shown(self.acts.approval(id).await?)))
    }

    async fn list_approvals(
        &self,
        request: Request<v1::ListApprovalsRequest>,
    ) -> Result<Response<v1::ListApprovalsResponse>, Status> {
        caller(&request)?;
        let v1::ListApprovalsRequest { page_size, page_token, ended } = request.into_inner();
        let page = parse::page(Listing::Approvals, page_size, &page_token)?;
        let page = self.acts.list_approvals(page, ended).await?;
        Ok(Response::new(v1::ListApprovalsResponse {
            approvals: page.items.into_iter().map(shown).collect(),
            next_page_token: page.next.map(|token| token.to_string()).unwrap_or_default(),
        }))
    }

    async fn approve(&self, request: Request<v1::ApproveRequest>) -> Result<Response<v1::Approval>, Status> {
        let caller = caller(&request)?;
        let ended = self.acts.vote(&caller, consent(&request.into_inner())?).await?;
        Ok(Response::new(shown(ended)))
    }

    async fn reject(&self, request: Request<v1::RejectRequest>) -> Result<Response<v1::Approval>, Status> {
        let caller = caller(&request)?;
        let approval = parse::name("name", "approvals", &request.get_ref().name)?;
        let ended = self.acts.vote(&caller, Ballot { approval, approves: false, seen: None }).await?;
        Ok(Response::new(shown(ended)))
    }
}

fn consent(wire: &v1::ApproveRequest) -> Result<Ballot, Refusal> {
    let mut fields = Fields::default();
    let approval = fields.name("name", "approvals", &wire.name);
    let seen = match wire.content_sha256.as_str() {
        "" => None,
        text => {
            let mut seen = [0; 32];
            let digits = hex::decode_to_slice(text, &mut seen).map_err(|_| "expected 64 hex digits");
            fields.take("content_sha256", digits.map(|()| seen))
        }
    };
    Ok(Ballot { approval: fields.finish(approval)?, approves: true, seen })
}

fn shown(answer: ApprovalAnswer) -> v1::Approval {
    let ApprovalAnswer { approval, act, requester_name, voter_names, needed, missing } = answer;
    let votes = approval.votes.iter().zip(voter_names).map(|(vote, display_name)| v1::Vote {
        client: format!("clients/{}", vote.client),
        display_name,
        approves: vote.approves,
        time: Some(timestamp(vote.at_ms)),
    });
    v1::Approval {
        votes: votes.collect(),
        name: format!("approvals/{}", approval.id),
        state: state(approval.state).into(),
        summary: approval.summary,
        method: approval.method,
        act: act.unwrap_or_default(),
        content_sha256: hex::encode(approval.content_sha256),
        requester: format!("clients/{}", approval.requester),
        requester_display_name: requester_name,
        needed,
        missing,
        outcome: approval.outcome,
        create_time: Some(timestamp(approval.created_ms)),
        expire_time: Some(timestamp(approval.expires_ms)),
        update_time: Some(timestamp(approval.updated_ms)),
    }
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
