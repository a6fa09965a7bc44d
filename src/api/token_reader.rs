//! `vendkey.v1.TokenService` where administrators call and tills do not: tokens are read and
//! verified, and never issued.

use std::sync::Arc;

use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{
    services::Services,
    v1::{self, token_service_server::TokenService},
};
use crate::acts::{Reason, Refusal};

/// The service, as far as it issues nothing.
pub struct TokenReader(Arc<Services>);

impl TokenReader {
    /// Over the services that do issue.
    pub fn new(services: Arc<Services>) -> Self {
        Self(services)
    }
}

fn elsewhere() -> Status {
    let text = "tokens are issued at the address of tills, not at that of administration";
    Refusal::new(Reason::MethodUnknown, text).into()
}

#[tonic::async_trait]
impl TokenService for TokenReader {
    async fn issue_token(
        &self,
        _: Request<v1::IssueTokenRequest>,
    ) -> Result<Response<v1::IssuedToken>, Status> {
        Err(elsewhere())
    }

    async fn batch_issue_tokens(
        &self,
        _: Request<v1::BatchIssueTokensRequest>,
    ) -> Result<Response<v1::BatchIssueTokensResponse>, Status> {
        Err(elsewhere())
    }

    type StreamTokensStream = ReceiverStream<Result<v1::TokenResult, Status>>;

    async fn stream_tokens(
        &self,
        _: Request<Streaming<v1::IssueTokenRequest>>,
    ) -> Result<Response<Self::StreamTokensStream>, Status> {
        Err(elsewhere())
    }

    async fn issue_key_change(
        &self,
        _: Request<v1::IssueKeyChangeRequest>,
    ) -> Result<Response<v1::KeyChangeSet>, Status> {
        Err(elsewhere())
    }

    async fn get_issued_token(
        &self,
        request: Request<v1::GetIssuedTokenRequest>,
    ) -> Result<Response<v1::IssuedToken>, Status> {
        self.0.get_issued_token(request).await
    }

    async fn list_issued_tokens(
        &self,
        request: Request<v1::ListIssuedTokensRequest>,
    ) -> Result<Response<v1::ListIssuedTokensResponse>, Status> {
        self.0.list_issued_tokens(request).await
    }

    async fn verify_token(
        &self,
        request: Request<v1::VerifyTokenRequest>,
    ) -> Result<Response<v1::VerifyTokenResponse>, Status> {
        self.0.verify_token(request).await
    }
}
