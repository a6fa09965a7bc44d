//! The store in an embedded SQLite database.
//!
//! A request to write goes: [`SqliteStore`] (the contract) -> `committer` (one thread, group commit) -> the statements
//! of its table (`configurations`, `public_keys`, `clients`, `ledger`). A query goes to the `readers` instead.
//! `migrations` bring the schema up when the database is opened; `lock` keeps a second process out.

mod clients;
mod column;
mod committer;
mod configurations;
mod connection;
mod failure;
mod key_changes;
mod ledger;
mod lock;
mod migrations;
mod public_keys;
mod readers;
#[cfg(test)]
mod tests;
mod verifications;

use std::convert::Infallible;
use std::path::PathBuf;

use async_trait::async_trait;
use rusqlite::Connection;
use uuid::Uuid;

use self::committer::{Class, Committer};
use self::lock::ProcessLock;
use self::readers::Readers;
use super::{
    AllowedKeyChange, Attempt, Attempted, Begun, Client, ClientId, Configuration, ConfigurationError,
    ConfigurationId, ConfigurationRefusal, Credential, CredentialHolder, ImportedFields, KeyChangePair,
    KeyChangePairError, LedgerError, NewAttempt, NewClient, NewConfiguration, NewCredential, NewPublicKey,
    NewToken, Page, PageRequest, PublicKey, PublicKeyId, Recorded, Registered, Sequence, Store, StoreError,
    TokenRow,
};
use crate::crash;
use crate::sts::attributes::BaseDate;
use crate::sts::meter::MeterPan;
use crate::sts::tid::Tid;

pub use committer::Statistics;
pub use failure::OpenError;

/// How the store works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqliteSettings {
    /// The database file. Its folder must exist; the file, its `-wal`, `-shm` and `.lock` are made there.
    pub path: PathBuf,
    /// How many commands may wait for the committer.
    pub queue: usize,
    /// How many commands share a transaction at most: bounds what one waits for.
    pub batch: usize,
    /// How many threads serve queries.
    pub readers: usize,
}

impl SqliteSettings {
    /// The usual settings for a database at this path.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), queue: 4_096, batch: 512, readers: 2 }
    }
}

/// The store. Dropping it commits what waits and lets go of the database; that blocks for the time of a commit.
#[derive(Debug)]
pub struct SqliteStore {
    // In the order in which they must end: the last connection to close tidies up the log, and a read-only one cannot.
    readers: Readers,
    committer: Committer,
    _lock: ProcessLock,
}

impl SqliteStore {
    /// Opens the database, making it if there is none, and brings its schema up. Blocking.
    ///
    /// Exactly one store may have a database open: a second one is refused with [`OpenError::InUse`].
    pub fn open(settings: &SqliteSettings) -> Result<Self, OpenError> {
        let path = &settings.path;
        let lock = ProcessLock::acquire(path)?;
        connection::create(path)?;
        let mut writer = connection::open_writer(path)?;
        migrations::migrate(&mut writer)?;

        let thread = |error| OpenError::Io { path: path.clone(), error };
        let readers = (0..settings.readers.max(1)).map(|_| connection::open_reader(path));
        let readers = Readers::start(readers.collect::<Result<_, _>>()?, settings.queue).map_err(thread)?;
        let committer = Committer::start(writer, settings.queue, settings.batch).map_err(thread)?;
        Ok(Self { readers, committer, _lock: lock })
    }

    /// How busy the committer was since the store was opened.
    pub fn statistics(&self) -> &Statistics {
        self.committer.statistics()
    }

    /// A write that nothing but a failure can refuse.
    async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
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
        F: FnOnce(&Connection) -> Result<Result<Configuration, ConfigurationRefusal>, StoreError>
            + Send
            + 'static,
    {
        Ok(self.committer.submit(Class::Other, None, work).await??)
    }

    async fn read<T, F>(&self, query: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        self.readers.query(query).await
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn probe(&self, now_ms: i64) -> Result<(), StoreError> {
        self.write(move |c| {
            c.prepare_cached(
                "INSERT INTO heartbeat (one, at_ms) VALUES (1, ?1) ON CONFLICT DO UPDATE SET at_ms = excluded.at_ms",
            )?
            .execute([now_ms])?;
            Ok(())
        })
        .await
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
        now_ms: i64,
    ) -> Result<Configuration, ConfigurationError> {
        crash::point("import-before-finish");
        self.write_configuration(move |c| configurations::finish_import(c, id, &fields, now_ms)).await
    }

    async fn abandon_import(&self, id: ConfigurationId) -> Result<bool, StoreError> {
        self.write(move |c| configurations::abandon_import(c, id)).await
    }

    async fn configuration(&self, id: ConfigurationId) -> Result<Option<Configuration>, StoreError> {
        self.read(move |c| configurations::get(c, id)).await
    }

    async fn list_configurations(&self, page: PageRequest) -> Result<Page<Configuration>, StoreError> {
        self.read(move |c| configurations::list(c, page)).await
    }

    async fn set_configuration_enabled(
        &self,
        id: ConfigurationId,
        enabled: bool,
        now_ms: i64,
    ) -> Result<Configuration, ConfigurationError> {
        self.write_configuration(move |c| configurations::set_enabled(c, id, enabled, now_ms)).await
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
        now_ms: i64,
    ) -> Result<Option<PublicKey>, StoreError> {
        self.write(move |c| public_keys::set_enabled(c, id, enabled, now_ms)).await
    }

    async fn create_client(&self, new: NewClient) -> Result<Client, StoreError> {
        self.write(move |c| clients::create(c, &new)).await
    }

    async fn client(&self, id: ClientId) -> Result<Option<Client>, StoreError> {
        self.read(move |c| clients::get(c, id)).await
    }

    async fn list_clients(&self, page: PageRequest) -> Result<Page<Client>, StoreError> {
        self.read(move |c| clients::list(c, page)).await
    }

    async fn create_credential(&self, new: NewCredential) -> Result<Option<Credential>, StoreError> {
        self.write(move |c| clients::create_credential(c, &new)).await
    }

    async fn credential(&self, key_id: &str) -> Result<Option<CredentialHolder>, StoreError> {
        let key_id = key_id.to_owned();
        self.read(move |c| clients::holder(c, &key_id)).await
    }

    async fn record_token(&self, new: NewToken) -> Result<Recorded, LedgerError> {
        let deadline = new.deadline;
        Ok(self.committer.submit(Class::Ledger, deadline, move |c| ledger::record(c, new)).await??)
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
        now_ms: i64,
    ) -> Result<AllowedKeyChange, KeyChangePairError> {
        self.write(move |c| key_changes::allow(c, pair, by, now_ms)).await?
    }

    async fn forbid_key_change(&self, pair: KeyChangePair) -> Result<bool, StoreError> {
        self.write(move |c| key_changes::forbid(c, pair)).await
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
        self.read(move |c| ledger::last_tid(c, meter, base_date)).await
    }

    async fn seed_last_tid(&self, meter: MeterPan, base_date: BaseDate, tid: Tid) -> Result<Tid, StoreError> {
        self.write(move |c| ledger::seed_last_tid(c, meter, base_date, tid)).await
    }
}
