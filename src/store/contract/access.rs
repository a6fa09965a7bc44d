//! The contract: clients, their credentials, and approvals.

use async_trait::async_trait;

use crate::access::approval::{Approval, ApprovalRequested, ApprovalStep, Vote};
use crate::access::client::{
    Client, ClientAct, ClientChange, Credential, CredentialChange, CredentialHolder, NewClient, NewCredential,
};
use crate::audit::Act;
use crate::id::{ApprovalId, ClientId};
use crate::store::{ClientError, Page, PageRequest, StoreError};

/// Clients and their credentials.
#[async_trait]
pub trait ClientStore: Send + Sync {
    /// Creates a client. The very same one again is found; another one under its id is refused.
    ///
    /// # Errors
    /// [`ClientError`].
    async fn create_client(&self, new: NewClient) -> Result<Client, ClientError>;

    /// Changes a client, unless too few would be left who can give every right back.
    ///
    /// # Errors
    /// [`ClientError`].
    async fn change_client(
        &self,
        id: ClientId,
        change: ClientChange,
        act: ClientAct,
    ) -> Result<Client, ClientError>;

    /// One client.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn client(&self, id: ClientId) -> Result<Option<Client>, StoreError>;

    /// Clients in the order of their creation.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn list_clients(&self, page: PageRequest) -> Result<Page<Client>, StoreError>;

    /// Gives a client one more credential. The very same one again is found; another one under its
    /// key id is refused.
    ///
    /// # Errors
    /// [`ClientError`].
    async fn create_credential(&self, new: NewCredential) -> Result<Credential, ClientError>;

    /// Changes a credential, unless too few would be left who can give every right back.
    ///
    /// # Errors
    /// [`ClientError`].
    async fn change_credential(
        &self,
        key_id: &str,
        change: CredentialChange,
        act: ClientAct,
    ) -> Result<Credential, ClientError>;

    /// The credentials of a client in the order of their creation.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn list_credentials(
        &self,
        client: ClientId,
        page: PageRequest,
    ) -> Result<Page<Credential>, StoreError>;

    /// The credential of this key id with its client, enabled or not: whoever asks decides.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn credential(&self, key_id: &str) -> Result<Option<CredentialHolder>, StoreError>;
}

/// Acts that wait for more than one person. Who may vote, and how many persons it takes, is not
/// decided here.
#[async_trait]
pub trait ApprovalStore: Send + Sync {
    /// Lets an act wait for more persons, on record. The same act of the same client, waiting
    /// already, is found instead.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn request_approval(&self, new: Approval) -> Result<ApprovalRequested, StoreError>;

    /// One approval, in whatever state.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn approval(&self, id: ApprovalId) -> Result<Option<Approval>, StoreError>;

    /// Approvals in the order in which they were asked for; of those alone that wait, if that is asked for.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn list_approvals(&self, page: PageRequest, pending: bool) -> Result<Page<Approval>, StoreError>;

    /// The approvals whose act was granted, and did not end as far as is known.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn granted_approvals(&self) -> Result<Vec<Approval>, StoreError>;

    /// The act that was done with this approval, if it is on record: it is written in the
    /// transaction of the act, so whoever finds it must not do the act again.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn act_of_approval(&self, id: ApprovalId) -> Result<Option<Act>, StoreError>;

    /// Notes a vote on a pending approval, on record; one against it ends it, also of a client that
    /// was for it. Answers the approval as it is then, whatever its state. `None`: there is none of
    /// this id.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn vote(&self, id: ApprovalId, vote: Vote) -> Result<Option<Approval>, StoreError>;

    /// Brings an approval from one state to another, on record. `None`: it does not stand there, so
    /// somebody else was first.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn step_approval(&self, id: ApprovalId, step: ApprovalStep)
    -> Result<Option<Approval>, StoreError>;

    /// Ends the pending approvals whose time is over, on record.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn expire_approvals(&self, now_ms: i64) -> Result<(), StoreError>;
}
