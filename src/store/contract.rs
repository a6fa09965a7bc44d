//! The contract: what a caller may ask of a store, and what an answer means.
//!
//! Every method may fail with [`StoreError::Busy`] at once when too much waits already: nothing was
//! done then.

use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use super::{
    ClientError, ConfigurationError, Job, KeyChangePairError, LedgerError, LostCommits, LowerError, Page,
    PageRequest, Past, Records, SealReport, Server, ServerState, StoreError,
};
use crate::access::approval::{Approval, ApprovalRequested, ApprovalStep, NewApproval, Vote};
use crate::access::client::{
    Client, ClientAct, ClientChange, Credential, CredentialChange, CredentialHolder, NewClient, NewCredential,
};
use crate::audit::{Act, Actor, ChainId, Hash, Head, NewAct};
use crate::clock::SignOfLife;
use crate::configuration::{
    AllowedKeyChange, Begun, Configuration, ImportedFields, KeyChangePair, NewConfiguration, NewPublicKey,
    PublicKey, Registered,
};
use crate::id::{ApprovalId, ClientId, ConfigurationId, PublicKeyId};
use crate::ledger::{
    AcceptedRestore, Attempt, Attempted, CountedDay, Cursor, NewAttempt, NewToken, Recorded, Seed, Sequence,
    SumMismatch, TokenFilter, TokenPage, TokenRow,
};
use crate::sts::attributes::BaseDate;
use crate::sts::meter::MeterPan;
use crate::sts::tid::Tid;

/// Everything that Vendkey remembers.
pub trait Store:
    HealthStore
    + ConfigurationStore
    + PublicKeyStore
    + ClientStore
    + KeyChangeStore
    + LedgerStore
    + VerificationStore
    + AuditStore
    + ApprovalStore
    + ServerStore
{
}

impl<S> Store for S where
    S: HealthStore
        + ConfigurationStore
        + PublicKeyStore
        + ClientStore
        + KeyChangeStore
        + LedgerStore
        + VerificationStore
        + AuditStore
        + ApprovalStore
        + ServerStore
{
}

/// Whether the store writes.
#[async_trait]
pub trait HealthStore: Send + Sync {
    /// Writes a sign of life durably: the next start measures the clock by it, and health learns
    /// what a token would meet (a full disk, a lost volume).
    ///
    /// # Errors
    /// [`StoreError`].
    async fn probe(&self, sign: SignOfLife) -> Result<(), StoreError>;
}

/// Configurations: from their upload to the end of their keys.
///
/// Each change is on record. Asking for what is so already changes nothing and succeeds.
#[async_trait]
pub trait ConfigurationStore: Send + Sync {
    /// Notes an upload before its key enters the HSM.
    ///
    /// Uploads with equal fingerprints are the same configuration: see [`Begun`]. The caller must
    /// not run two imports of one fingerprint at a time.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn begin_import(&self, new: NewConfiguration) -> Result<Begun, StoreError>;

    /// Completes an import: what the HSM answered, and the state in which the configuration begins
    /// its life.
    ///
    /// Refused unless it is IMPORTING, and refused to enable what is not servable.
    ///
    /// # Errors
    /// [`ConfigurationError`].
    async fn finish_import(
        &self,
        id: ConfigurationId,
        fields: ImportedFields,
        actor: Actor,
        now_ms: i64,
    ) -> Result<Configuration, ConfigurationError>;

    /// Forgets an import that the HSM refused. Only an IMPORTING row is deleted; says whether there
    /// was one.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn abandon_import(&self, id: ConfigurationId, now_ms: i64) -> Result<bool, StoreError>;

    /// One configuration, in whatever state.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn configuration(&self, id: ConfigurationId) -> Result<Option<Configuration>, StoreError>;

    /// The configuration that an upload of this fingerprint made, in whatever state.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn configuration_of_upload(
        &self,
        fingerprint: [u8; 32],
    ) -> Result<Option<Configuration>, StoreError>;

    /// Configurations in the order of their uploads.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn list_configurations(&self, page: PageRequest) -> Result<Page<Configuration>, StoreError>;

    /// Enables or disables a configuration; asking for what already is changes nothing and
    /// succeeds.
    ///
    /// # Errors
    /// [`ConfigurationError`].
    async fn set_configuration_enabled(
        &self,
        id: ConfigurationId,
        enabled: bool,
        actor: Actor,
        now_ms: i64,
    ) -> Result<Configuration, ConfigurationError>;

    /// Schedules the destruction of a disabled configuration; one that is scheduled already keeps
    /// its time.
    ///
    /// # Errors
    /// [`ConfigurationError`].
    async fn schedule_destruction(
        &self,
        id: ConfigurationId,
        destroy_ms: i64,
        actor: Actor,
        now_ms: i64,
    ) -> Result<Configuration, ConfigurationError>;

    /// Takes a scheduled destruction back: the configuration is disabled then. One that is not
    /// scheduled stays as it is. Refused once destruction has begun.
    ///
    /// # Errors
    /// [`ConfigurationError`].
    async fn restore_configuration(
        &self,
        id: ConfigurationId,
        actor: Actor,
        now_ms: i64,
    ) -> Result<Configuration, ConfigurationError>;

    /// The configurations whose keys are to be destroyed now, and those whose destruction was begun
    /// and did not end.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn due_destructions(&self, now_ms: i64) -> Result<Vec<ConfigurationId>, StoreError>;

    /// Says that keys are about to be destroyed: from here on there is no way back. Refused before
    /// its time.
    ///
    /// # Errors
    /// [`ConfigurationError`].
    async fn begin_destruction(
        &self,
        id: ConfigurationId,
        now_ms: i64,
    ) -> Result<Configuration, ConfigurationError>;

    /// Says that the keys were seen to be gone. Refused unless destruction was begun.
    ///
    /// # Errors
    /// [`ConfigurationError`].
    async fn finish_destruction(
        &self,
        id: ConfigurationId,
        now_ms: i64,
    ) -> Result<Configuration, ConfigurationError>;
}

/// The keys that sign uploads.
#[async_trait]
pub trait PublicKeyStore: Send + Sync {
    /// Registers a key that signs uploads. The same key (by fingerprint) again answers the row that
    /// is there.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn register_public_key(&self, new: NewPublicKey) -> Result<Registered, StoreError>;

    /// One public key.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn public_key(&self, id: PublicKeyId) -> Result<Option<PublicKey>, StoreError>;

    /// Public keys in the order of their registration.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn list_public_keys(&self, page: PageRequest) -> Result<Page<PublicKey>, StoreError>;

    /// All keys whose signature opens an upload of this client now.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn enabled_public_keys(&self, owner: ClientId) -> Result<Vec<PublicKey>, StoreError>;

    /// Enables or disables a public key. `None`: there is none of this id.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn set_public_key_enabled(
        &self,
        id: PublicKeyId,
        enabled: bool,
        actor: Actor,
        now_ms: i64,
    ) -> Result<Option<PublicKey>, StoreError>;
}

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

/// The pairs of configurations between which meters may be carried.
#[async_trait]
pub trait KeyChangeStore: Send + Sync {
    /// Allows a key change; one that is allowed already stays as it is.
    ///
    /// # Errors
    /// [`KeyChangePairError`].
    async fn allow_key_change(
        &self,
        pair: KeyChangePair,
        by: ClientId,
        actor: Actor,
        now_ms: i64,
    ) -> Result<AllowedKeyChange, KeyChangePairError>;

    /// Whether a key change is allowed.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn key_change_allowed(&self, pair: KeyChangePair) -> Result<bool, StoreError>;

    /// Forbids a key change; says whether it was allowed.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn forbid_key_change(
        &self,
        pair: KeyChangePair,
        actor: Actor,
        now_ms: i64,
    ) -> Result<bool, StoreError>;

    /// The allowed key changes in the order in which they were allowed.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn list_key_changes(&self, page: PageRequest) -> Result<Page<AllowedKeyChange>, StoreError>;
}

/// The ledger of issued tokens, and the last TIDs of meters.
#[async_trait]
pub trait LedgerStore: Send + Sync {
    /// Records a token before it exists, or finds the record of its first request. The same as
    /// [`LedgerStore::record_tokens`] with one.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn record_token(&self, new: NewToken) -> Result<Recorded, LedgerError>;

    /// Records tokens before they exist, or finds the records of their first requests: in this
    /// order, with one commit for all. The answers are in the same order; what concerns one token
    /// alone is told of it alone.
    ///
    /// The order of the rules, for each token: its deadline has not passed; its credential is one
    /// of its client, and both count now; (client, request id) as replay or reuse; the age of the
    /// request id; the limits of the client; the state of the configurations and whether the key
    /// change between them is allowed; the next TID of the meter. A refusal leaves no trace in the
    /// ledger.
    ///
    /// Numbers of the rows of a server grow in the order of commits. The TIDs of a meter under a
    /// base date rise in that order, whichever servers give them.
    async fn record_tokens(&self, new: Vec<NewToken>) -> Vec<Result<Recorded, LedgerError>>;

    /// The ledger row of this number.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn issued_token(&self, sequence: Sequence) -> Result<Option<TokenRow>, StoreError>;

    /// The ledger row that a client's request made.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn issued_token_of_request(
        &self,
        client: ClientId,
        request_id: Uuid,
    ) -> Result<Option<TokenRow>, StoreError>;

    /// The ledger row of a meter's TID: there is at most one.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn issued_token_of_tid(
        &self,
        meter: MeterPan,
        base_date: BaseDate,
        tid: Tid,
    ) -> Result<Option<TokenRow>, StoreError>;

    /// The newest key-change sets of a meter out of this configuration, at most eight.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn issued_key_changes(
        &self,
        meter: MeterPan,
        configuration: ConfigurationId,
    ) -> Result<Vec<TokenRow>, StoreError>;

    /// Rows of the ledger that fit a filter, from where a cursor stands.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn list_issued_tokens(
        &self,
        filter: TokenFilter,
        after: Cursor,
        size: u32,
    ) -> Result<TokenPage, StoreError>;

    /// Compares the sums of a day, against which limits are counted, with what its rows say: those
    /// that were counted, and those that came since. A sum that is too low is raised, on record.
    /// Answers every sum that was not what the rows say.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn correct_usage(&self, counted: CountedDay, now_ms: i64) -> Result<Vec<SumMismatch>, StoreError>;

    /// The last TID of a meter under a base date, issued here or seeded.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn last_tid(&self, meter: MeterPan, base_date: BaseDate) -> Result<Option<Tid>, StoreError>;

    /// Raises the last TIDs of meters to at least these, on record, and answers how many rose. None
    /// is lowered.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn seed_last_tids(&self, seeds: Vec<Seed>, actor: Actor, now_ms: i64) -> Result<u64, StoreError>;

    /// What [`LedgerStore::lower_last_tid`] would answer now; nothing is changed.
    ///
    /// # Errors
    /// [`LowerError`].
    async fn may_lower_last_tid(&self, to: Seed) -> Result<Tid, LowerError>;

    /// Lowers the last TID of a meter, on record, and answers what it was: never below a TID that a
    /// row of the ledger has, so that no TID is given twice. What is so already stays so.
    ///
    /// # Errors
    /// [`LowerError`].
    async fn lower_last_tid(&self, to: Seed, actor: Actor, now_ms: i64) -> Result<Tid, LowerError>;

    /// Takes a database that lost commits as it is, on record: raises the floors of TIDs and of
    /// request ids.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn accept_restore(&self, accepted: AcceptedRestore) -> Result<(), StoreError>;
}

/// How often foreign tokens were looked into.
#[async_trait]
pub trait VerificationStore: Send + Sync {
    /// Counts a look into a foreign token as failed, durably and before it happens, within the
    /// limits.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn attempt_verification(&self, new: NewAttempt) -> Result<Attempted, StoreError>;

    /// Takes back the count of a look that succeeded.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn verification_succeeded(&self, attempt: Attempt) -> Result<(), StoreError>;
}

/// The chains of records, the seals of rows that decide, and the checkpoints.
#[async_trait]
pub trait AuditStore: Send + Sync {
    /// Writes an act that is nothing but its record.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn record_act(&self, act: NewAct) -> Result<(), StoreError>;

    /// Writes an act that is nothing but its record, unless one of its kind with the same details
    /// is there.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn record_act_once(&self, act: NewAct) -> Result<(), StoreError>;

    /// Records of all chains from where a cursor stands, at most `most`; with the openings of
    /// their commitments if asked for.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn records(&self, after: Cursor, most: usize, openings: bool) -> Result<Records, StoreError>;

    /// How far the chain of this server has come.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn chain_head(&self) -> Result<Head, StoreError>;

    /// How far all chains have come, in the order of their numbers.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn chain_heads(&self) -> Result<Vec<Head>, StoreError>;

    /// The hash of the record at a position of a chain; none where there is no such record, or no
    /// such chain.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn record_hash(&self, chain: ChainId, position: u64) -> Result<Option<Hash>, StoreError>;

    /// Whether this server accepted a restored database after this position of its chain.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn restore_accepted_after(&self, position: u64) -> Result<bool, StoreError>;

    /// What the database has forgotten of this server's chain since this server runs, unless that was
    /// accepted. Until then no new token is recorded.
    fn lost_commits(&self) -> Option<LostCommits>;

    /// Checks the seal of every row that decides, and that none was taken out or put back.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn verify_seals(&self) -> Result<SealReport, StoreError>;

    /// Keeps a signed checkpoint.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn keep_checkpoint(&self, number: u64, text: String) -> Result<(), StoreError>;

    /// What a start must know of the past.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn past(&self) -> Result<Past, StoreError>;
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
    async fn request_approval(&self, new: NewApproval) -> Result<ApprovalRequested, StoreError>;

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

/// The servers of a database, what they share out, and the clock that they share.
#[async_trait]
pub trait ServerStore: Send + Sync {
    /// Notes what this server says of itself.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn put_server(&self, state: ServerState) -> Result<(), StoreError>;

    /// All servers, in the order of their numbers.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn servers(&self) -> Result<Vec<Server>, StoreError>;

    /// Takes the lease of a job for this server, for so long by the clock of the database, or
    /// prolongs it. False while another server has it. Always true where only one server can be.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn take_lease(&self, job: Job, time: Duration) -> Result<bool, StoreError>;

    /// The clock of the database, in milliseconds since 1970; none where it is the server's own.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn database_now_ms(&self) -> Result<Option<i64>, StoreError>;
}

#[cfg(test)]
pub(super) mod tests;
