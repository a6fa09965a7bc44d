//! The engine on an embedded SQLite database.
//!
//! [`Sqlite`] is a connection; `engine` says how it keeps the contract of engines. What is SQLite's
//! own: rows of meters are kept in memory (`unmerged`) and merged into the tables of `meters` and
//! `runs`; `log` copies the write-ahead log; `migrations` bring the schema up when the database is
//! opened; `lock` keeps a second process out, and `claim` finds one that came in all the same.

mod chain;
mod claim;
mod column;
mod connection;
mod copy;
mod engine;
mod examine;
mod failure;
mod file;
mod file_system;
mod heartbeat;
mod ledger;
mod lock;
mod log;
mod meters;
mod migrations;
mod report;
mod rows;
mod runs;
mod server;
#[cfg(test)]
pub(super) mod tests;
mod unmerged;
mod usage;

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::Connection;

use self::claim::Claim;
use self::ledger::HighestRequests;
use self::lock::{DatabaseFile, DatabaseLock};
use self::log::Log;
use self::unmerged::UnmergedRows;
use super::database::{Database, Parts, Work};
use super::engine::Engine;
use super::reading::Reading;
use super::seals::Seals;
use super::transactions::configurations;
use super::{OpenError, Sealer};
use crate::configuration::Configuration;

pub(super) use connection::copy as copy_file;
pub(super) use examine::examine;

/// How the store works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SqliteSettings {
    /// The database file. Its folder must exist; the file, its `-wal` and `-shm` are made there.
    pub(crate) path: PathBuf,
    /// The name of the server that opens it.
    pub(crate) server: String,
    /// How many commands may wait for the committer.
    pub(crate) queue: usize,
    /// How many rows share a transaction, more or less: bounds what one waits for.
    pub(crate) batch: usize,
    /// How many threads serve queries.
    pub(crate) readers: usize,
    /// Which multiple of a client's usual tokens of a day raises an alarm.
    pub(crate) alarm_pace: u32,
    /// How many rows are kept in memory before they are merged into the tables of meters.
    pub(crate) merge_from: usize,
}

impl SqliteSettings {
    /// The usual settings for a database at this path.
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            server: "server".to_owned(),
            queue: 4_096,
            batch: 2_048,
            readers: 2,
            alarm_pace: 5,
            merge_from: 131_072,
        }
    }
}

/// A connection. `W` is what it writes with: [`Writer`], or nothing.
#[derive(Debug)]
pub(crate) struct Sqlite<W> {
    // It ends before the connection: the last one to close tidies up the log.
    writer: W,
    connection: Connection,
    unmerged: Arc<UnmergedRows>,
    /// Whether a snapshot was begun, and not ended.
    in_snapshot: bool,
    /// None: nothing is remembered of requests.
    highest_requests: Option<HighestRequests>,
}

/// What a connection that only reads has in the place of [`Writer`].
#[derive(Debug)]
pub(crate) struct ReadOnly;

/// What the connection that writes has beside it.
#[derive(Debug)]
pub(crate) struct Writer {
    log: Option<Log>,
    /// None: a database that nobody else can reach.
    claim: Option<Claim>,
    /// How many of the unmerged rows are enough to be merged.
    merge_from: usize,
    /// How many rows of the ledger the transaction has written, and how many it had at its
    /// savepoint.
    tokens_written: usize,
    tokens_at_savepoint: usize,
}

impl<W> Deref for Sqlite<W> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl<W> Sqlite<W> {
    /// The unmerged rows of the ledger by meter.
    fn unmerged(&self) -> &UnmergedRows {
        &self.unmerged
    }
}

impl Sqlite<ReadOnly> {
    fn reader(path: &Path, unmerged: Arc<UnmergedRows>) -> Result<Self, OpenError> {
        let connection = connection::open_reader(path)?;
        Ok(Self { writer: ReadOnly, connection, unmerged, in_snapshot: false, highest_requests: None })
    }
}

/// The engine.
#[derive(Debug)]
pub(crate) struct SqliteEngine;

impl Engine for SqliteEngine {
    type View = Sqlite<ReadOnly>;
    type Transaction = Sqlite<Writer>;
    type Lock = DatabaseLock;
}

/// The store over it.
pub(crate) type SqliteStore = Database<SqliteEngine>;

impl SqliteStore {
    /// Opens the database, making it if there is none, and brings its schema up. Blocking.
    ///
    /// # Errors
    /// [`OpenError`]; a database that another store has is refused with [`OpenError::InUse`].
    pub(crate) fn open(settings: &SqliteSettings, sealer: Arc<dyn Sealer>) -> Result<Self, OpenError> {
        Self::open_with(settings, sealer, false).map(|(store, _)| store)
    }

    /// The same, and seals rows that decide as they are.
    ///
    /// # Errors
    /// As for [`SqliteStore::open`].
    pub(crate) fn open_and_seal(
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
        let SqliteSettings { queue, batch, alarm_pace, .. } = *settings;
        let parts = Locked::acquire(settings.clone())?.open()?;
        Self::start(parts, sealer, Work { queue, batch, alarm_pace, seal_rows })
    }
}

/// A database that is this process's, and not open yet.
#[derive(Debug)]
pub(crate) struct Locked {
    settings: SqliteSettings,
    lock: DatabaseLock,
}

impl Locked {
    /// Takes the database, making it if there is none.
    ///
    /// # Errors
    /// [`OpenError::InUse`].
    pub(crate) fn acquire(settings: SqliteSettings) -> Result<Self, OpenError> {
        connection::create(&settings.path)?;
        Self::acquire_existing(settings)
    }

    /// The same for one that must be there.
    ///
    /// # Errors
    /// [`OpenError::InUse`].
    pub(crate) fn acquire_existing(settings: SqliteSettings) -> Result<Self, OpenError> {
        let lock = DatabaseLock::acquire(&settings.path)?;
        lock.check_content()?;
        file::check_folder(&settings.path)?;
        Ok(Self { settings, lock })
    }

    /// Opens it and brings its schema up.
    ///
    /// # Errors
    /// [`OpenError`]; what is not to be served is refused.
    pub(crate) fn open(self) -> Result<Parts<SqliteEngine>, OpenError> {
        self.open_by(|connection, name| {
            copy::check_mark(connection)?;
            Ok(server::name(connection, name)?)
        })
    }

    /// Opens it to be copied or filled, whether it is to be served or not.
    ///
    /// # Errors
    /// [`OpenError`].
    pub(crate) fn open_to_copy(self) -> Result<Parts<SqliteEngine>, OpenError> {
        self.open_by(|connection, name| Ok(server::name_new(connection, name)?))
    }

    fn open_by(
        self,
        begin: impl FnOnce(&Connection, &str) -> Result<(), OpenError>,
    ) -> Result<Parts<SqliteEngine>, OpenError> {
        let Self { settings: SqliteSettings { path, server, readers, merge_from, .. }, lock } = self;
        let mut connection = connection::open_writer(&path)?;
        migrations::migrate(&mut connection)?;
        begin(&connection, &server)?;
        let claim = Claim::take(&connection, lock.identity())?;
        let log = Log::start(connection::open_copier(&path)?);
        let log = log.map_err(|error| OpenError::Threads { error })?;
        let writer = Writer {
            log: Some(log),
            claim: Some(claim),
            merge_from,
            tokens_written: 0,
            tokens_at_savepoint: 0,
        };
        let unmerged = Arc::<UnmergedRows>::default();
        let highest_requests = Some(HighestRequests::default());
        let transaction = Sqlite {
            writer,
            connection,
            unmerged: Arc::clone(&unmerged),
            in_snapshot: false,
            highest_requests,
        };
        transaction.know_unmerged()?;
        let views = (0..readers.max(1)).map(|_| Sqlite::reader(&path, Arc::clone(&unmerged)));
        let views = views.collect::<Result<_, OpenError>>()?;
        Ok(Parts { transaction, views, lock })
    }
}

/// All configurations of a database, beside the server that may have it open. Reads alone.
/// Blocking.
///
/// # Errors
/// [`OpenError`]; a row that does not bear its seal.
pub(super) fn all_configurations(
    path: &Path,
    sealer: Arc<dyn Sealer>,
) -> Result<Vec<Configuration>, OpenError> {
    // Dropped behind the connection, as it must be.
    let file = DatabaseFile::look(path)?;
    file.check_content()?;
    let view = Sqlite::reader(path, Arc::default())?;
    Ok(configurations::all(&mut Reading::new(view, Arc::new(Seals::new(sealer))))?)
}
