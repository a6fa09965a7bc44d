//! The store over an engine: clients, their credentials, and approvals.

use async_trait::async_trait;

use super::Database;
use crate::access::approval::{Approval, ApprovalRequested, ApprovalStep, Vote, expire};
use crate::access::client::{
    Client, ClientAct, ClientChange, Credential, CredentialChange, CredentialHolder, NewClient, NewCredential,
};
use crate::audit::Act;
use crate::id::{ApprovalId, ClientId};
use crate::store::contract::{ApprovalStore, ClientStore};
use crate::store::engine::{Engine, View as _};
use crate::store::transactions::{approvals, clients};
use crate::store::{ClientError, Page, PageRequest, StoreError};

#[async_trait]
impl<E: Engine> ClientStore for Database<E> {
    async fn create_client(&self, new: NewClient) -> Result<Client, ClientError> {
        self.write_or_refuse(move |c| clients::create(c, &new)).await
    }

    async fn change_client(
        &self,
        id: ClientId,
        change: ClientChange,
        act: ClientAct,
    ) -> Result<Client, ClientError> {
        self.write_or_refuse(move |c| clients::change(c, id, &change, &act)).await
    }

    async fn client(&self, id: ClientId) -> Result<Option<Client>, StoreError> {
        self.read(move |c| clients::get(c, id)).await
    }

    async fn list_clients(&self, page: PageRequest) -> Result<Page<Client>, StoreError> {
        self.read(move |c| clients::list(c, page)).await
    }

    async fn create_credential(&self, new: NewCredential) -> Result<Credential, ClientError> {
        self.write_or_refuse(move |c| clients::add_credential(c, &new)).await
    }

    async fn change_credential(
        &self,
        key_id: &str,
        change: CredentialChange,
        act: ClientAct,
    ) -> Result<Credential, ClientError> {
        let key_id = key_id.to_owned();
        self.write_or_refuse(move |c| clients::change_a_credential(c, &key_id, change, &act)).await
    }

    async fn list_credentials(
        &self,
        client: ClientId,
        page: PageRequest,
    ) -> Result<Page<Credential>, StoreError> {
        self.read(move |c| clients::credentials_of(c, client, page)).await
    }

    async fn credential(&self, key_id: &str) -> Result<Option<CredentialHolder>, StoreError> {
        let key_id = key_id.to_owned();
        self.read(move |c| c.snapshot(|c| clients::holder(c, &key_id))).await
    }
}

#[async_trait]
impl<E: Engine> ApprovalStore for Database<E> {
    async fn request_approval(&self, new: Approval) -> Result<ApprovalRequested, StoreError> {
        self.write(move |c| approvals::request(c, &new)).await
    }

    async fn approval(&self, id: ApprovalId) -> Result<Option<Approval>, StoreError> {
        self.read(move |c| c.snapshot(|c| approvals::get(c, id))).await
    }

    async fn list_approvals(&self, page: PageRequest, pending: bool) -> Result<Page<Approval>, StoreError> {
        self.read(move |c| c.snapshot(|c| approvals::list(c, page, pending))).await
    }

    async fn granted_approvals(&self) -> Result<Vec<Approval>, StoreError> {
        self.read(|c| c.snapshot(approvals::granted)).await
    }

    async fn act_of_approval(&self, id: ApprovalId) -> Result<Option<Act>, StoreError> {
        self.read(move |c| c.view.act_of_approval(id)).await
    }

    async fn vote(&self, id: ApprovalId, vote: Vote) -> Result<Option<Approval>, StoreError> {
        self.write(move |c| approvals::vote(c, id, &vote)).await
    }

    async fn step_approval(
        &self,
        id: ApprovalId,
        step: ApprovalStep,
    ) -> Result<Option<Approval>, StoreError> {
        self.write(move |c| approvals::step(c, id, &step)).await
    }

    async fn expire_approvals(&self, now_ms: i64) -> Result<(), StoreError> {
        self.write(move |c| approvals::end_pending(c, |approval| expire(approval, now_ms))).await
    }
}
