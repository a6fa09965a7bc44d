//! The store in an embedded SQLite database.
//!
//! A request to write goes: [`SqliteStore`] (the contract) -> `committer` (one thread, group commit) -> the statements
//! of its table (`configurations`, `public_keys`, `clients`, `ledger`). A query goes to the `readers` instead.
//! `migrations` bring the schema up when the database is opened; `lock` keeps a second process out, and `claim` finds one
//! that came in all the same.

mod approvals;
mod authority;
mod chain;
mod checkpoints;
mod claim;
mod clients;
mod column;
mod committer;
mod configurations;
mod connection;
mod destruction;
mod failure;
mod falls;
mod file_system;
mod heartbeat;
mod key_changes;
mod ledger;
mod lock;
mod log;
mod meters;
mod migrations;
mod newest;
mod public_keys;
mod readers;
mod reseal;
mod runs;
mod sealed;
#[cfg(test)]
mod tests;
mod usage;
mod verifications;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use uuid::Uuid;

use self::chain::Writing;
use self::claim::Claim;
use self::committer::{Class, Committer};
use self::lock::DatabaseLock;
use self::log::Log;
use self::newest::Newest;
use self::readers::Readers;
use self::sealed::{Reading, Seals};
use super::{
    AcceptedRestore, Actor, AllowedKeyChange, Approval, ApprovalId, ApprovalRequested, ApprovalStep, Attempt,
    Attempted, Begun, Client, ClientAct, ClientChange, ClientError, ClientId, Configuration,
    ConfigurationError, ConfigurationId, ConfigurationRefusal, Credential, CredentialChange,
    CredentialHolder, ImportedFields, KeyChangePair, KeyChangePairError, LedgerError, LowerRefused, NewAct,
    NewApproval, NewAttempt, NewClient, NewConfiguration, NewCredential, NewPublicKey, NewToken, Page,
    PageRequest, Past, PublicKey, PublicKeyId, Recorded, Records, Registered, SealReport, Sealer, Seed,
    Sequence, Store, StoreError, TokenFilter, TokenPage, TokenRow, Vote,
};
use crate::audit::{Hash, Head, RESTORE_ACCEPTED};
use crate::clock::SignOfLife;
use crate::crash;
use crate::ledger::{CountedDay, SumMismatch};
use crate::sts::attributes::BaseDate;
use crate::sts::meter::MeterPan;
use crate::sts::tid::Tid;

pub use committer::Statistics;
pub use connection::copy;
pub use failure::OpenError;
pub use reseal::{Resealing, all_configurations};

/// How the store works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqliteSettings {
    /// The database file. Its folder must exist; the file, its `-wal` and `-shm` are made there.
    pub path: PathBuf,
    /// How many commands may wait for the committer.
    pub queue: usize,
    /// How many rows share a transaction, more or less: bounds what one waits for.
    pub batch: usize,
    /// How many threads serve queries.
    pub readers: usize,
    /// Which multiple of a client's usual tokens of a day raises an alarm.
    pub alarm_pace: u32,
    /// How many of the newest rows are kept in memory before they are merged into the tables of meters.
    pub merge_from: usize,
}

impl SqliteSettings {
    /// The usual settings for a database at this path.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), queue: 4_096, batch: 2_048, readers: 2, alarm_pace: 5, merge_from: 131_072 }
    }
}

/// The store. Dropping it commits what waits and lets go of the database; that blocks for the time of a commit.
#[derive(Debug)]
pub struct SqliteStore {
    // In the order in which they must end: the last connection to close tidies up the log, and a read-only one cannot.
    readers: Readers,
    committer: Committer,
    _lock: DatabaseLock,
}

impl SqliteStore {
    /// Opens the database, making it if there is none, and brings its schema up. Blocking.
    ///
    /// Exactly one store may have a database open: a second one is refused with [`OpenError::InUse`].
    pub fn open(settings: &SqliteSettings, sealer: Arc<dyn Sealer>) -> Result<Self, OpenError> {
        Self::open_with(settings, sealer, false).map(|(store, _)| store)
    }

    /// The same for a database whose rows that decide bear no seals, or not those of this HSM: seals them as they are, on record, and
    /// answers how many. An administrator must know that they are what they should be.
    pub fn open_and_seal(
        settings: &SqliteSettings,
        sealer: Arc<dyn Sealer>,
    ) -> Result<(Self, u64), OpenError> {
        Self::open_with(settings, sealer, true)
    }

    fn open_with(
        settings: &SqliteSettings,
        sealer: Arc<dyn Sealer>,
        seal_rows: bool,
    ) -> Result<(Self, u64), OpenError> {
        let path = &settings.path;
        let seals = Arc::new(Seals::new(sealer));
        connection::create(path)?;
        let lock = DatabaseLock::acquire(path)?;
        let mut writer = connection::open_writer(path)?;
        migrations::migrate(&mut writer)?;
        let claim = Claim::take(&writer, lock.identity())?;
        let (mut id, mut salt_source) = ([0; 16], [0; 32]);
        getrandom::fill(&mut id)
            .and_then(|()| getrandom::fill(&mut salt_source))
            .map_err(OpenError::Randomness)?;
        chain::create(&writer, id, salt_source)?;
        let (roll, rows) = sealed::roll_and_rows(&writer)?;
        let newest = Arc::<Newest>::default();
        let reading = |connection| Reading::new(connection, Arc::clone(&seals), Arc::clone(&newest));
        let writer = Writing::new(reading(writer), settings).under(claim);
        writer.know_newest()?;
        let mut sealed = 0;
        if seal_rows || !roll {
            if rows && !seal_rows {
                return Err(OpenError::Unsealed);
            }
            sealed = chain::seal_rows(&writer)?;
        }

        let thread = |error| OpenError::Io { path: path.clone(), error };
        let readers = (0..settings.readers.max(1)).map(|_| Ok(reading(connection::open_reader(path)?)));
        let readers =
            Readers::start(readers.collect::<Result<_, OpenError>>()?, settings.queue).map_err(thread)?;
        let log = Log::start(connection::open_copier(path)?).map_err(thread)?;
        let committer =
            Committer::start(writer, Some(log), settings.queue, settings.batch).map_err(thread)?;
        Ok((Self { readers, committer, _lock: lock }, sealed))
    }

    /// Puts an act on record unless one of its kind with the same details is there.
    ///
    /// # Errors
    /// What the store says.
    pub async fn record_once(&self, act: NewAct) -> Result<(), StoreError> {
        self.write(move |c| chain::append_once(c, &act)).await
    }

    /// How busy the committer was since the store was opened.
    pub fn statistics(&self) -> &Statistics {
        self.committer.statistics()
    }

    /// A write that nothing but a failure can refuse.
    async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Writing) -> Result<T, StoreError> + Send + 'static,
    {
        let answer =
            self.committer.submit::<T, Infallible, _>(Class::Other, None, |c| work(c).map(Ok)).await?;
        match answer {
            Ok(found) => Ok(found),
            Err(never) => match never {},
        }
    }

    /// A write to a configuration, which may be refused.
    async fn write_configuration<F>(&self, work: F) -> Result<Configuration, ConfigurationError>
    where
        F: FnOnce(&Writing) -> Result<Result<Configuration, ConfigurationRefusal>, StoreError>
            + Send
            + 'static,
    {
        Ok(self.committer.submit(Class::Other, None, work).await??)
    }

    /// A write to a client or its credentials, which may be refused.
    async fn write_client<T, F>(&self, work: F) -> Result<T, ClientError>
    where
        T: Send + 'static,
        F: FnOnce(&Writing) -> Result<Result<T, ClientError>, StoreError> + Send + 'static,
    {
        self.committer.submit(Class::Other, None, work).await?
    }

    async fn read<T, F>(&self, query: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Reading) -> Result<T, StoreError> + Send + 'static,
    {
        self.readers.query(query).await
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn probe(&self, sign: SignOfLife) -> Result<(), StoreError> {
        self.write(move |c| heartbeat::write(c, &sign)).await
    }

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
        self.write_configuration(move |c| configurations::finish_import(c, id, &fields, &actor, now_ms)).await
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
        self.write_configuration(move |c| configurations::set_enabled(c, id, enabled, &actor, now_ms)).await
    }

    async fn schedule_destruction(
        &self,
        id: ConfigurationId,
        destroy_ms: i64,
        actor: Actor,
        now_ms: i64,
    ) -> Result<Configuration, ConfigurationError> {
        self.write_configuration(move |c| destruction::schedule(c, id, destroy_ms, &actor, now_ms)).await
    }

    async fn restore_configuration(
        &self,
        id: ConfigurationId,
        actor: Actor,
        now_ms: i64,
    ) -> Result<Configuration, ConfigurationError> {
        self.write_configuration(move |c| destruction::restore(c, id, &actor, now_ms)).await
    }

    async fn due_destructions(&self, now_ms: i64) -> Result<Vec<ConfigurationId>, StoreError> {
        self.read(move |c| destruction::due(c, now_ms)).await
    }

    async fn begin_destruction(
        &self,
        id: ConfigurationId,
        now_ms: i64,
    ) -> Result<Configuration, ConfigurationError> {
        self.write_configuration(move |c| destruction::begin(c, id, now_ms)).await
    }

    async fn finish_destruction(
        &self,
        id: ConfigurationId,
        now_ms: i64,
    ) -> Result<Configuration, ConfigurationError> {
        self.write_configuration(move |c| destruction::finish(c, id, now_ms)).await
    }

    async fn register_public_key(&self, new: NewPublicKey) -> Result<Registered, StoreError> {
        self.write(move |c| public_keys::register(c, &new)).await
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
        self.write(move |c| public_keys::set_enabled(c, id, enabled, &actor, now_ms)).await
    }

    async fn create_client(&self, new: NewClient) -> Result<Client, ClientError> {
        self.write_client(move |c| clients::create(c, &new)).await
    }

    async fn change_client(
        &self,
        id: ClientId,
        change: ClientChange,
        act: ClientAct,
    ) -> Result<Client, ClientError> {
        self.write_client(move |c| clients::change(c, id, &change, &act)).await
    }

    async fn client(&self, id: ClientId) -> Result<Option<Client>, StoreError> {
        self.read(move |c| clients::get(c, id)).await
    }

    async fn list_clients(&self, page: PageRequest) -> Result<Page<Client>, StoreError> {
        self.read(move |c| clients::list(c, page)).await
    }

    async fn create_credential(&self, new: NewCredential) -> Result<Credential, ClientError> {
        self.write_client(move |c| clients::create_credential(c, &new)).await
    }

    async fn change_credential(
        &self,
        key_id: &str,
        change: CredentialChange,
        act: ClientAct,
    ) -> Result<Credential, ClientError> {
        let key_id = key_id.to_owned();
        self.write_client(move |c| clients::change_credential(c, &key_id, change, &act)).await
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
        self.read(move |c| clients::holder(c, &key_id)).await
    }

    async fn record_token(&self, new: NewToken) -> Result<Recorded, LedgerError> {
        let deadline = new.deadline;
        Ok(self.committer.submit(Class::Ledger, deadline, move |c| ledger::record(c, &new)).await??)
    }

    async fn issued_token(&self, sequence: Sequence) -> Result<Option<TokenRow>, StoreError> {
        self.read(move |c| ledger::get(c, sequence)).await
    }

    async fn issued_token_of_request(
        &self,
        client: ClientId,
        request_id: Uuid,
    ) -> Result<Option<TokenRow>, StoreError> {
        self.read(move |c| ledger::of_request(c, client, request_id)).await
    }

    async fn issued_token_of_tid(
        &self,
        meter: MeterPan,
        base_date: BaseDate,
        tid: Tid,
    ) -> Result<Option<TokenRow>, StoreError> {
        self.read(move |c| ledger::of_tid(c, meter, base_date, tid)).await
    }

    async fn issued_key_changes(
        &self,
        meter: MeterPan,
        configuration: ConfigurationId,
    ) -> Result<Vec<TokenRow>, StoreError> {
        self.read(move |c| ledger::key_changes(c, meter, configuration)).await
    }

    async fn allow_key_change(
        &self,
        pair: KeyChangePair,
        by: ClientId,
        actor: Actor,
        now_ms: i64,
    ) -> Result<AllowedKeyChange, KeyChangePairError> {
        self.write(move |c| key_changes::allow(c, pair, by, &actor, now_ms)).await?
    }

    async fn key_change_allowed(&self, pair: KeyChangePair) -> Result<bool, StoreError> {
        self.read(move |c| key_changes::is_allowed_pair(c, pair)).await
    }

    async fn forbid_key_change(
        &self,
        pair: KeyChangePair,
        actor: Actor,
        now_ms: i64,
    ) -> Result<bool, StoreError> {
        self.write(move |c| key_changes::forbid(c, pair, &actor, now_ms)).await
    }

    async fn list_key_changes(&self, page: PageRequest) -> Result<Page<AllowedKeyChange>, StoreError> {
        self.read(move |c| key_changes::list(c, page)).await
    }

    async fn attempt_verification(&self, new: NewAttempt) -> Result<Attempted, StoreError> {
        self.write(move |c| verifications::attempt(c, &new)).await
    }

    async fn verification_succeeded(&self, attempt: Attempt) -> Result<(), StoreError> {
        self.write(move |c| verifications::succeeded(c, attempt)).await
    }

    async fn last_tid(&self, meter: MeterPan, base_date: BaseDate) -> Result<Option<Tid>, StoreError> {
        self.read(move |c| meters::last_tid(c, meter, base_date)).await
    }

    async fn seed_last_tids(&self, seeds: Vec<Seed>, actor: Actor, now_ms: i64) -> Result<u64, StoreError> {
        self.write(move |c| {
            let raised = meters::seed_last_tids(c, &seeds)?;
            let details =
                BTreeMap::from([("meters", seeds.len().to_string()), ("raised", raised.to_string())]);
            c.append_act("meters.seeded", &actor, now_ms, &details)?;
            Ok(raised)
        })
        .await
    }

    async fn record_tokens(&self, mut new: Vec<NewToken>) -> Vec<Result<Recorded, LedgerError>> {
        let count = new.len();
        // One alone needs no savepoint beside that of its command.
        if count == 1
            && let Some(one) = new.pop()
        {
            return vec![self.record_token(one).await];
        }
        let recorded = self
            .committer
            .submit_many::<_, Infallible, _>(Class::Ledger, count, None, move |c| {
                ledger::record_all(c, &new).map(Ok)
            })
            .await;
        match recorded {
            Ok(Ok(recorded)) => recorded,
            Ok(Err(never)) => match never {},
            Err(error) => vec![Err(error.into()); count],
        }
    }

    async fn list_issued_tokens(
        &self,
        filter: TokenFilter,
        after: Option<Sequence>,
        size: u32,
    ) -> Result<TokenPage, StoreError> {
        self.read(move |c| ledger::list(c, &filter, after, size)).await
    }

    async fn correct_usage(&self, counted: CountedDay, now_ms: i64) -> Result<Vec<SumMismatch>, StoreError> {
        self.write(move |c| usage::correct(c, counted, now_ms)).await
    }

    async fn record_act(&self, act: NewAct) -> Result<(), StoreError> {
        self.write(move |c| c.append_act(act.kind, &act.actor, act.now_ms, &act.details)).await
    }

    async fn records(&self, after: u64, most: usize, openings: bool) -> Result<Records, StoreError> {
        self.read(move |c| chain::records(c, after, most, openings)).await
    }

    async fn chain_head(&self) -> Result<Head, StoreError> {
        self.read(|c| chain::head(c)).await
    }

    async fn record_hash(&self, position: u64) -> Result<Option<Hash>, StoreError> {
        self.read(move |c| chain::hash_at(c, position)).await
    }

    async fn verify_seals(&self) -> Result<SealReport, StoreError> {
        self.read(Reading::verify).await
    }

    async fn keep_checkpoint(&self, number: u64, text: String) -> Result<(), StoreError> {
        self.write(move |c| checkpoints::keep(c, number, &text)).await
    }

    async fn past(&self) -> Result<Past, StoreError> {
        self.read(|c| checkpoints::past(c)).await
    }

    async fn accept_restore(&self, accepted: AcceptedRestore) -> Result<(), StoreError> {
        self.write(move |c| {
            c.raise_floors(&accepted.floors, accepted.requests_from_ms)?;
            c.skip_past(accepted.lost_from)?;
            approvals::forget_pending(c, accepted.now_ms)?;
            c.append_act(RESTORE_ACCEPTED, &accepted.actor, accepted.now_ms, &accepted.details)
        })
        .await
    }

    async fn may_lower_last_tid(&self, to: Seed) -> Result<Tid, LowerRefused> {
        self.read(move |c| falls::lowerable(c, to)).await?
    }

    async fn lower_last_tid(&self, to: Seed, actor: Actor, now_ms: i64) -> Result<Tid, LowerRefused> {
        self.write(move |c| falls::lower(c, to, &actor, now_ms)).await?
    }

    async fn request_approval(&self, new: NewApproval) -> Result<ApprovalRequested, StoreError> {
        self.write(move |c| approvals::request(c, &new)).await
    }

    async fn approval(&self, id: ApprovalId) -> Result<Option<Approval>, StoreError> {
        self.read(move |c| approvals::get(c, id)).await
    }

    async fn list_approvals(&self, page: PageRequest, pending: bool) -> Result<Page<Approval>, StoreError> {
        self.read(move |c| approvals::list(c, page, pending)).await
    }

    async fn granted_approvals(&self) -> Result<Vec<Approval>, StoreError> {
        self.read(approvals::granted).await
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
        self.write(move |c| approvals::expire(c, now_ms)).await
    }
}
