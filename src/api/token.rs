//! `vendkey.v1.TokenService`.

use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{
    authentication::caller,
    deadline::deadline,
    issue, issued, key_change,
    parse::Fields,
    services::Services,
    stream::{self, result},
    v1::{self, token_service_server::TokenService},
    verification,
};
use crate::acts::{BATCH_MAX, TokenRequest};

#[tonic::async_trait]
impl TokenService for Services {
    async fn issue_key_change(
        &self,
        request: Request<v1::IssueKeyChangeRequest>,
    ) -> Result<Response<v1::KeyChangeSet>, Status> {
        let caller = caller(&request)?;
        let deadline = deadline(request.metadata());
        let order = key_change::parse(request.into_inner(), deadline)?;
        let issued = self.acts.issue_key_change(&caller, order).await?;
        Ok(Response::new(key_change::shown(&issued)))
    }

    async fn verify_token(
        &self,
        request: Request<v1::VerifyTokenRequest>,
    ) -> Result<Response<v1::VerifyTokenResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let with_layout = request.bit_layout;
        let verified = self.acts.verify_token(&caller, verification::parse(request)?).await?;
        Ok(Response::new(verification::shown(verified, with_layout)))
    }

    async fn issue_token(
        &self,
        request: Request<v1::IssueTokenRequest>,
    ) -> Result<Response<v1::IssuedToken>, Status> {
        let caller = caller(&request)?;
        let deadline = deadline(request.metadata());
        let (wanted, order) = issue::parse(request.into_inner(), deadline);
        let issued = self.acts.issue_token(&caller, order?).await?;
        Ok(Response::new(issue::shown(&issued, wanted)?))
    }

    async fn batch_issue_tokens(
        &self,
        request: Request<v1::BatchIssueTokensRequest>,
    ) -> Result<Response<v1::BatchIssueTokensResponse>, Status> {
        let caller = caller(&request)?;
        let deadline = deadline(request.metadata());
        let requests = request.into_inner().requests;
        if requests.is_empty() || requests.len() > BATCH_MAX {
            let mut fields = Fields::default();
            fields.fault("requests", format!("1 to {BATCH_MAX} are expected"));
            return Err(fields.refusal().into());
        }
        let requests: Vec<TokenRequest<_>> =
            requests.into_iter().map(|request| stream::request(request, deadline)).collect();
        let results = self.acts.issue_tokens(caller, requests).await;
        Ok(Response::new(v1::BatchIssueTokensResponse { results: results.into_iter().map(result).collect() }))
    }

    type StreamTokensStream = ReceiverStream<Result<v1::TokenResult, Status>>;

    async fn stream_tokens(
        &self,
        request: Request<Streaming<v1::IssueTokenRequest>>,
    ) -> Result<Response<Self::StreamTokensStream>, Status> {
        let caller = caller(&request)?;
        Ok(Response::new(stream::open(&self.acts, caller, request.into_inner(), self.stream_idle)))
    }

    async fn get_issued_token(
        &self,
        request: Request<v1::GetIssuedTokenRequest>,
    ) -> Result<Response<v1::IssuedToken>, Status> {
        let caller = caller(&request)?;
        let found = self.acts.issued_token(&caller, issued::name(request.into_inner())?).await?;
        Ok(Response::new(issued::shown_whole(&found)?))
    }

    async fn list_issued_tokens(
        &self,
        request: Request<v1::ListIssuedTokensRequest>,
    ) -> Result<Response<v1::ListIssuedTokensResponse>, Status> {
        let caller = caller(&request)?;
        let found = self.acts.list_issued_tokens(&caller, issued::query(request.into_inner())?).await?;
        let tokens = found.entries.iter().map(issued::shown).collect::<Result<_, _>>()?;
        let next_page_token = found.next.as_ref().map(issued::page_token).unwrap_or_default();
        Ok(Response::new(v1::ListIssuedTokensResponse { tokens, next_page_token }))
    }
}
