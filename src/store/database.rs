//! The store over an engine: the contract kept by the committer and the readers, whatever the
//! engine.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use super::committer::Committer;
#[cfg(test)]
use super::committer::Statistics;
use super::contract::{
    ApprovalStore, AuditStore, ClientStore, ConfigurationStore, HealthStore, KeyChangeStore, LedgerStore,
    PublicKeyStore, ServerStore, VerificationStore,
};
use super::engine::{Engine, NewChain, Transaction, View as _};
use super::readers::Readers;
use super::reading::Reading;
use super::seals::Seals;
use super::transactions::{
    approvals, audit, clients, configurations, key_changes, public_keys, queries, tids, usage, verifications,
};
use super::writing::{Lost, Writing};
use super::{
    ClientError, ConfigurationError, Job, KeyChangePairError, LedgerError, LostCommits, LowerError,
    OpenError, Page, PageRequest, Past, Records, SealReport, Sealer, Server, ServerState, StoreError,
};
use crate::access::approval::{Approval, ApprovalRequested, ApprovalStep, NewApproval, Vote, expire};
use crate::access::client::{
    Client, ClientAct, ClientChange, Credential, CredentialChange, CredentialHolder, NewClient, NewCredential,
};
use crate::audit::{Act, Actor, ChainId, Hash, Head, NewAct, SaltSource};
use crate::clock::SignOfLife;
use crate::configuration::{
    AllowedKeyChange, Begun, Configuration, ImportedFields, KeyChangePair, NewConfiguration, NewPublicKey,
    PublicKey, Registered,
};
use crate::crash;
use crate::id::{ApprovalId, ClientId, ConfigurationId, PublicKeyId};
use crate::ledger::{
    AcceptedRestore, Attempt, Attempted, CountedDay, Cursor, NewAttempt, NewToken, Recorded, Seed, Sequence,
    SumMismatch, TokenFilter, TokenPage, TokenRow,
};
use crate::sts::attributes::BaseDate;
use crate::sts::meter::MeterPan;
use crate::sts::tid::Tid;

/// What an engine opens: its connections, and what keeps the database this process's.
#[derive(Debug)]
pub(crate) struct Parts<E: Engine> {
    /// The connection that writes.
    pub(crate) transaction: E::Transaction,
    /// The connections that read.
    pub(crate) views: Vec<E::View>,
    /// What keeps others out.
    pub(crate) lock: E::Lock,
}

/// How the committer and the readers work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    /// How many commands, and how many queries, may wait.
    pub(crate) queue: usize,
    /// Rows for which this is enough share a transaction.
    pub(crate) batch: usize,
    /// Which multiple of a client's usual tokens of a day raises an alarm.
    pub(crate) alarm_pace: u32,
    /// Whether rows that decide are sealed as they are.
    pub(crate) seal_rows: bool,
}

/// The store. Dropping it commits what waits and lets go of the database; that blocks for the time
/// of a commit.
#[derive(Debug)]
pub(crate) struct Database<E: Engine> {
    // In the order in which they must end: the connection that writes is the last to close.
    readers: Readers<E::View>,
    pub(super) committer: Committer<E::Transaction>,
    lost: Lost,
    pub(super) _lock: E::Lock,
}

impl<E: Engine> Database<E> {
    /// Starts the threads of a store, and answers how many rows it has sealed. A new database gets
    /// its chain and its seal index.
    ///
    /// # Errors
    /// [`OpenError::Unsealed`] for rows that decide without a seal index, unless they are to be
    /// sealed.
    pub(crate) fn start(
        parts: Parts<E>,
        sealer: Arc<dyn Sealer>,
        work: Work,
    ) -> Result<(Self, u64), OpenError> {
        // The lock is let go last, also where a start fails.
        let Parts { lock, views, transaction } = parts;
        let seals = Arc::new(Seals::new(sealer));
        let mut writing = Writing::new(Reading::new(transaction, Arc::clone(&seals)), work.alarm_pace);
        let new = new_chain()?;
        // One server after another: two that start on a new database at once make one seal index.
        let sealed = writing.transact(|writing| {
            writing.view.lock_rows()?;
            writing.view.create_chain(&new)?;
            let (index, rows) = writing.has_seal_index_and_rows()?;
            match (index, work.seal_rows) {
                (true, false) => Ok(Some(0)),
                (false, false) if rows => Ok(None),
                _ => seal_rows(writing).map(Some),
            }
        })?;
        let sealed = sealed.ok_or(OpenError::Unsealed)?;
        let readings = views.into_iter().map(|view| Reading::new(view, Arc::clone(&seals))).collect();
        let threads = |error| OpenError::Threads { error };
        let lost = writing.lost.clone();
        let readers = Readers::start(readings, work.queue).map_err(threads)?;
        let committer = Committer::start(writing, work.queue, work.batch).map_err(threads)?;
        Ok((Self { readers, committer, lost, _lock: lock }, sealed))
    }

    /// How busy the committer was since the store was opened.
    #[cfg(test)]
    pub(super) fn statistics(&self) -> &Statistics {
        self.committer.statistics()
    }

    /// A write that nothing but a failure can refuse.
    pub(super) async fn write<A, F>(&self, work: F) -> Result<A, StoreError>
    where
        A: Send + 'static,
        F: FnOnce(&mut Writing<E::Transaction>) -> Result<A, StoreError> + Clone + Send + 'static,
    {
        let answer = self.committer.submit::<A, Infallible, _>(|writing| work(writing).map(Ok)).await?;
        match answer {
            Ok(found) => Ok(found),
            Err(never) => match never {},
        }
    }

    /// A write that the rules may refuse.
    pub(super) async fn write_or_refuse<A, R, X, F>(&self, work: F) -> Result<A, X>
    where
        A: Send + 'static,
        R: Send + 'static,
        X: From<R> + From<StoreError>,
        F: FnOnce(&mut Writing<E::Transaction>) -> Result<Result<A, R>, StoreError> + Clone + Send + 'static,
    {
        Ok(self.committer.submit(work).await??)
    }

    /// A query on what is committed.
    pub(super) async fn read<A, F>(&self, query: F) -> Result<A, StoreError>
    where
        A: Send + 'static,
        F: FnOnce(&mut Reading<E::View>) -> Result<A, StoreError> + Send + 'static,
    {
        self.readers.query(query).await
    }
}

/// The chain of a server that has none.
fn new_chain() -> Result<NewChain, OpenError> {
    let (mut id, mut salts) = ([0; 16], [0; 32]);
    getrandom::fill(&mut id).and_then(|()| getrandom::fill(&mut salts)).map_err(OpenError::Randomness)?;
    Ok(NewChain { id: ChainId(id), salts: SaltSource(salts) })
}

/// Seals the rows that decide as they are, on record unless there are none.
fn seal_rows<T: Transaction>(writing: &mut Writing<T>) -> Result<u64, StoreError> {
    // The time of the last record: nobody needs the clock here.
    let now_ms = writing.view.chain()?.end.at_ms;
    let sealed = writing.seal_all()?;
    if sealed > 0 {
        let details = BTreeMap::from([("rows", sealed.to_string())]);
        writing.append_act(&NewAct { kind: "rows.sealed", actor: Actor::Local, details, now_ms })?;
    }
    Ok(sealed)
}

#[async_trait]
impl<E: Engine> HealthStore for Database<E> {
    async fn probe(&self, sign: SignOfLife) -> Result<(), StoreError> {
        self.write(move |c| {
            // A server to which nobody comes notices too that the database has lost commits.
            c.chain()?;
            c.view.put_sign_of_life(&sign)
        })
        .await
    }
}

#[async_trait]
impl<E: Engine> ConfigurationStore for Database<E> {
    async fn begin_import(&self, new: NewConfiguration) -> Result<Begun, StoreError> {
        let begun = self.write(move |c| configurations::begin_import(c, &new)).await?;
        if matches!(begun, Begun::Started(_)) {
            crash::point("import-after-begin");
        }
        Ok(begun)
    }

    async fn finish_import(
        &self,
        id: ConfigurationId,
        fields: ImportedFields,
        actor: Actor,
        now_ms: i64,
    ) -> Result<Configuration, ConfigurationError> {
        crash::point("import-before-finish");
        self.write_or_refuse(move |c| configurations::finish_import(c, id, &fields, actor, now_ms)).await
    }

    async fn abandon_import(&self, id: ConfigurationId, now_ms: i64) -> Result<bool, StoreError> {
        self.write(move |c| configurations::abandon_import(c, id, now_ms)).await
    }

    async fn configuration(&self, id: ConfigurationId) -> Result<Option<Configuration>, StoreError> {
        self.read(move |c| configurations::get(c, id)).await
    }

    async fn configuration_of_upload(
        &self,
        fingerprint: [u8; 32],
    ) -> Result<Option<Configuration>, StoreError> {
        self.read(move |c| configurations::of_upload(c, fingerprint)).await
    }

    async fn list_configurations(&self, page: PageRequest) -> Result<Page<Configuration>, StoreError> {
        self.read(move |c| configurations::list(c, page)).await
    }

    async fn set_configuration_enabled(
        &self,
        id: ConfigurationId,
        enabled: bool,
        actor: Actor,
        now_ms: i64,
    ) -> Result<Configuration, ConfigurationError> {
        self.write_or_refuse(move |c| {
            configurations::change(c, id, |row| row.set_enabled(enabled, actor, now_ms))
        })
        .await
    }

    async fn schedule_destruction(
        &self,
        id: ConfigurationId,
        destroy_ms: i64,
        actor: Actor,
        now_ms: i64,
    ) -> Result<Configuration, ConfigurationError> {
        self.write_or_refuse(move |c| {
            configurations::change(c, id, |row| row.schedule_destruction(destroy_ms, actor, now_ms))
        })
        .await
    }

    async fn restore_configuration(
        &self,
        id: ConfigurationId,
        actor: Actor,
        now_ms: i64,
    ) -> Result<Configuration, ConfigurationError> {
        self.write_or_refuse(move |c| configurations::change(c, id, |row| row.restore(actor, now_ms))).await
    }

    async fn due_destructions(&self, now_ms: i64) -> Result<Vec<ConfigurationId>, StoreError> {
        self.read(move |c| configurations::due(c, now_ms)).await
    }

    async fn begin_destruction(
        &self,
        id: ConfigurationId,
        now_ms: i64,
    ) -> Result<Configuration, ConfigurationError> {
        self.write_or_refuse(move |c| configurations::change(c, id, |row| row.begin_destruction(now_ms)))
            .await
    }

    async fn finish_destruction(
        &self,
        id: ConfigurationId,
        now_ms: i64,
    ) -> Result<Configuration, ConfigurationError> {
        self.write_or_refuse(move |c| configurations::change(c, id, |row| row.finish_destruction(now_ms)))
            .await
    }
}

#[async_trait]
impl<E: Engine> PublicKeyStore for Database<E> {
    async fn register_public_key(&self, new: NewPublicKey) -> Result<Registered, StoreError> {
        self.write(move |c| public_keys::register_key(c, &new)).await
    }

    async fn public_key(&self, id: PublicKeyId) -> Result<Option<PublicKey>, StoreError> {
        self.read(move |c| public_keys::get(c, id)).await
    }

    async fn list_public_keys(&self, page: PageRequest) -> Result<Page<PublicKey>, StoreError> {
        self.read(move |c| public_keys::list(c, page)).await
    }

    async fn enabled_public_keys(&self, owner: ClientId) -> Result<Vec<PublicKey>, StoreError> {
        self.read(move |c| public_keys::enabled_of(c, owner)).await
    }

    async fn set_public_key_enabled(
        &self,
        id: PublicKeyId,
        enabled: bool,
        actor: Actor,
        now_ms: i64,
    ) -> Result<Option<PublicKey>, StoreError> {
        self.write(move |c| public_keys::set_enabled(c, id, enabled, actor, now_ms)).await
    }
}

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
impl<E: Engine> KeyChangeStore for Database<E> {
    async fn allow_key_change(
        &self,
        pair: KeyChangePair,
        by: ClientId,
        actor: Actor,
        now_ms: i64,
    ) -> Result<AllowedKeyChange, KeyChangePairError> {
        self.write_or_refuse(move |c| key_changes::allow_pair(c, pair, by, actor, now_ms)).await
    }

    async fn key_change_allowed(&self, pair: KeyChangePair) -> Result<bool, StoreError> {
        self.read(move |c| key_changes::is_allowed(c, pair)).await
    }

    async fn forbid_key_change(
        &self,
        pair: KeyChangePair,
        actor: Actor,
        now_ms: i64,
    ) -> Result<bool, StoreError> {
        self.write(move |c| key_changes::forbid_pair(c, pair, actor, now_ms)).await
    }

    async fn list_key_changes(&self, page: PageRequest) -> Result<Page<AllowedKeyChange>, StoreError> {
        self.read(move |c| key_changes::list(c, page)).await
    }
}

#[async_trait]
impl<E: Engine> LedgerStore for Database<E> {
    async fn record_token(&self, new: NewToken) -> Result<Recorded, LedgerError> {
        let lost = || Err(StoreError::Defect { reason: "an order has no answer".into() }.into());
        self.committer.record(vec![new]).await.pop().unwrap_or_else(lost)
    }

    async fn record_tokens(&self, new: Vec<NewToken>) -> Vec<Result<Recorded, LedgerError>> {
        self.committer.record(new).await
    }

    async fn issued_token(&self, sequence: Sequence) -> Result<Option<TokenRow>, StoreError> {
        self.read(move |c| queries::token(c, sequence)).await
    }

    async fn issued_token_of_request(
        &self,
        client: ClientId,
        request_id: Uuid,
    ) -> Result<Option<TokenRow>, StoreError> {
        self.read(move |c| queries::of_request(c, client, request_id)).await
    }

    async fn issued_token_of_tid(
        &self,
        meter: MeterPan,
        base_date: BaseDate,
        tid: Tid,
    ) -> Result<Option<TokenRow>, StoreError> {
        self.read(move |c| queries::of_tid(c, meter, base_date, tid)).await
    }

    async fn issued_key_changes(
        &self,
        meter: MeterPan,
        configuration: ConfigurationId,
    ) -> Result<Vec<TokenRow>, StoreError> {
        self.read(move |c| queries::key_changes(c, meter, configuration)).await
    }

    async fn list_issued_tokens(
        &self,
        filter: TokenFilter,
        after: Cursor,
        size: u32,
    ) -> Result<TokenPage, StoreError> {
        self.read(move |c| queries::list(c, &filter, &after, size)).await
    }

    async fn correct_usage(&self, counted: CountedDay, now_ms: i64) -> Result<Vec<SumMismatch>, StoreError> {
        self.write(move |c| usage::correct(c, counted, now_ms)).await
    }

    async fn last_tid(&self, meter: MeterPan, base_date: BaseDate) -> Result<Option<Tid>, StoreError> {
        self.read(move |c| tids::last_tid(c, meter, base_date)).await
    }

    async fn seed_last_tids(&self, seeds: Vec<Seed>, actor: Actor, now_ms: i64) -> Result<u64, StoreError> {
        self.write(move |c| tids::seed(c, &seeds, actor, now_ms)).await
    }

    async fn may_lower_last_tid(&self, to: Seed) -> Result<Tid, LowerError> {
        Ok(self.read(move |c| tids::may_lower(c, to)).await??)
    }

    async fn lower_last_tid(&self, to: Seed, actor: Actor, now_ms: i64) -> Result<Tid, LowerError> {
        self.write_or_refuse(move |c| tids::lower(c, to, actor, now_ms)).await
    }

    async fn accept_restore(&self, accepted: AcceptedRestore) -> Result<(), StoreError> {
        self.write(move |c| tids::accept_restore(c, accepted)).await
    }
}

#[async_trait]
impl<E: Engine> VerificationStore for Database<E> {
    async fn attempt_verification(&self, new: NewAttempt) -> Result<Attempted, StoreError> {
        self.write(move |c| verifications::attempt(c, &new)).await
    }

    async fn verification_succeeded(&self, attempt: Attempt) -> Result<(), StoreError> {
        self.write(move |c| c.view.delete_failure(attempt.0)).await
    }
}

#[async_trait]
impl<E: Engine> AuditStore for Database<E> {
    async fn record_act(&self, act: NewAct) -> Result<(), StoreError> {
        self.write(move |c| c.append_act(&act)).await
    }

    async fn record_act_once(&self, act: NewAct) -> Result<(), StoreError> {
        self.write(move |c| c.append_act_once(&act)).await
    }

    async fn records(&self, after: Cursor, most: usize, openings: bool) -> Result<Records, StoreError> {
        self.read(move |c| audit::records(c, &after, most, openings)).await
    }

    async fn chain_head(&self) -> Result<Head, StoreError> {
        self.read(audit::head).await
    }

    async fn chain_heads(&self) -> Result<Vec<Head>, StoreError> {
        self.read(audit::heads).await
    }

    async fn record_hash(&self, chain: ChainId, position: u64) -> Result<Option<Hash>, StoreError> {
        self.read(move |c| audit::record_hash(c, chain, position)).await
    }

    async fn restore_accepted_after(&self, position: u64) -> Result<bool, StoreError> {
        self.read(move |c| audit::restore_accepted_after(c, position)).await
    }

    fn lost_commits(&self) -> Option<LostCommits> {
        self.lost.found()
    }

    async fn verify_seals(&self) -> Result<SealReport, StoreError> {
        self.read(Reading::verify_seals).await
    }

    async fn keep_checkpoint(&self, number: u64, text: String) -> Result<(), StoreError> {
        self.write(move |c| audit::keep_checkpoint(c, number, &text)).await
    }

    async fn past(&self) -> Result<Past, StoreError> {
        self.read(audit::past).await
    }
}

#[async_trait]
impl<E: Engine> ApprovalStore for Database<E> {
    async fn request_approval(&self, new: NewApproval) -> Result<ApprovalRequested, StoreError> {
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

#[async_trait]
impl<E: Engine> ServerStore for Database<E> {
    async fn put_server(&self, state: ServerState) -> Result<(), StoreError> {
        self.write(move |c| c.view.put_server(&state)).await
    }

    async fn servers(&self) -> Result<Vec<Server>, StoreError> {
        self.read(|c| c.view.servers()).await
    }

    async fn take_lease(&self, job: Job, time: Duration) -> Result<bool, StoreError> {
        if !E::Transaction::SEVERAL {
            return Ok(true);
        }
        let for_ms = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        self.write(move |c| c.view.take_lease(job, for_ms)).await
    }

    async fn database_now_ms(&self) -> Result<Option<i64>, StoreError> {
        self.read(|c| c.view.now_ms()).await
    }
}
