//! Which database, and how it is opened.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use thiserror::Error;

use super::database::Parts;
use super::engine::Copyable;
use super::migration::{self, Migrated, MigrationError, Verified, Watch};
use super::postgres::{
    self, AddressError, PostgresSettings, PostgresStore, PostgresqlAddress, RawRows, Sent,
};
use super::reading::Reading;
use super::seals::Seals;
use super::sqlite::{self, SqliteSettings, SqliteStore};
use super::writing::Writing;
use super::{Examined, OpenError, Sealer, Store, StoreError, reseal};
use crate::audit::{NewAct, SignedCheckpoint};
use crate::configuration::Configuration;

/// Which database: its engine, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// `sqlite:PATH`: an embedded SQLite database in this file. Its folder must exist.
    Sqlite(PathBuf),
    /// `postgresql://USER@HOST:PORT/DATABASE`: a PostgreSQL database.
    Postgresql(Box<PostgresqlAddress>),
}

/// A text that names no database. It does not hold the text, in which there may be a password.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UnknownDatabase {
    /// No engine has such URLs.
    #[error(
        "names no database that this program knows: `sqlite:PATH` or `postgresql://USER@HOST/DATABASE` is expected"
    )]
    Engine,
    /// It is no address of a PostgreSQL database.
    #[error(transparent)]
    Postgresql(#[from] AddressError),
}

impl DatabaseUrl {
    /// The file of an embedded database.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Sqlite(path) => Some(path),
            Self::Postgresql(_) => None,
        }
    }
}

impl FromStr for DatabaseUrl {
    type Err = UnknownDatabase;

    fn from_str(text: &str) -> Result<Self, UnknownDatabase> {
        if text.starts_with("postgresql://") || text.starts_with("postgres://") {
            return Ok(Self::Postgresql(Box::new(text.parse()?)));
        }
        let path = text.strip_prefix("sqlite:").filter(|path| !path.is_empty());
        path.map(|path| Self::Sqlite(path.into())).ok_or(UnknownDatabase::Engine)
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgresql(address) => address.fmt(f),
        }
    }
}

/// How a store works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseSettings {
    /// Which database.
    pub url: DatabaseUrl,
    /// The name of the server that opens it.
    pub server: String,
    /// How many commands may wait for the committer.
    pub queue: usize,
    /// Which multiple of a client's usual tokens of a day raises an alarm.
    pub alarm_pace: u32,
}

impl DatabaseSettings {
    /// The usual settings of a server for a database.
    pub fn new(url: DatabaseUrl, server: impl Into<String>) -> Self {
        Self { url, server: server.into(), queue: 4_096, alarm_pace: 5 }
    }

    fn sqlite(&self, path: &Path) -> SqliteSettings {
        SqliteSettings {
            server: self.server.clone(),
            queue: self.queue,
            alarm_pace: self.alarm_pace,
            ..SqliteSettings::new(path)
        }
    }

    fn postgres(&self, address: &PostgresqlAddress) -> PostgresSettings {
        let usual = PostgresSettings::new(address.clone(), self.server.clone());
        PostgresSettings { queue: self.queue, alarm_pace: self.alarm_pace, ..usual }
    }
}

/// Opens a store, making the database if there is none, and brings its schema up. Blocking.
///
/// # Errors
/// [`OpenError`]; a database that another process has is refused with [`OpenError::InUse`].
pub fn open(settings: &DatabaseSettings, sealer: Arc<dyn Sealer>) -> Result<Arc<dyn Store>, OpenError> {
    Ok(match &settings.url {
        DatabaseUrl::Sqlite(path) => Arc::new(SqliteStore::open(&settings.sqlite(path), sealer)?),
        DatabaseUrl::Postgresql(address) => {
            Arc::new(PostgresStore::open(&settings.postgres(address), sealer)?)
        }
    })
}

/// The same for a command beside which no server may run.
///
/// # Errors
/// As for [`open`], while any server has the database.
pub fn open_alone(settings: &DatabaseSettings, sealer: Arc<dyn Sealer>) -> Result<Arc<dyn Store>, OpenError> {
    match &settings.url {
        DatabaseUrl::Sqlite(_) => open(settings, sealer),
        DatabaseUrl::Postgresql(address) => {
            Ok(Arc::new(PostgresStore::open_alone(&settings.postgres(address), sealer)?))
        }
    }
}

/// The same as [`open`] for a database whose rows that decide bear no seals, or not those of this HSM: seals
/// them as they are, on record, and answers how many. An administrator must know that they are what
/// they should be.
///
/// # Errors
/// As for [`open`].
pub fn open_and_seal(
    settings: &DatabaseSettings,
    sealer: Arc<dyn Sealer>,
) -> Result<(Arc<dyn Store>, u64), OpenError> {
    Ok(match &settings.url {
        DatabaseUrl::Sqlite(path) => {
            let (store, sealed) = SqliteStore::open_and_seal(&settings.sqlite(path), sealer)?;
            (Arc::new(store), sealed)
        }
        DatabaseUrl::Postgresql(address) => {
            let (store, sealed) = PostgresStore::open_and_seal(&settings.postgres(address), sealer)?;
            (Arc::new(store), sealed)
        }
    })
}

/// All configurations of a database, beside the server that may have it open. Reads alone.
/// Blocking.
///
/// # Errors
/// [`OpenError`]; a row that does not bear its seal.
pub fn all_configurations(
    url: &DatabaseUrl,
    sealer: Arc<dyn Sealer>,
) -> Result<Vec<Configuration>, OpenError> {
    match url {
        DatabaseUrl::Sqlite(path) => sqlite::all_configurations(path, sealer),
        DatabaseUrl::Postgresql(address) => postgres::all_configurations(address, sealer),
    }
}

/// Looks whether a database of ours is there, can be written and is nobody's, changing nothing.
/// Answers the last sign of life of the server of this name. Blocking.
///
/// # Errors
/// What [`open`] would say.
pub fn examine(url: &DatabaseUrl, server: &str) -> Result<Examined, OpenError> {
    match url {
        DatabaseUrl::Sqlite(path) => sqlite::examine(path),
        DatabaseUrl::Postgresql(address) => {
            let sign_of_life = postgres::examine(address, server)?;
            Ok(Examined::Found { sign_of_life, has_checkpoint: false })
        }
    }
}

/// Copies a database as it is at one moment, beside whoever has it open, into an empty file, which
/// is nobody else's to read. Blocking.
///
/// # Errors
/// What the system or the engine says; half a copy is left then. [`OpenError::OwnBackup`] for one
/// that is copied by its own means.
pub fn copy(url: &DatabaseUrl, to: &Path) -> Result<(), OpenError> {
    match url {
        DatabaseUrl::Sqlite(path) => sqlite::copy_file(path, to),
        DatabaseUrl::Postgresql(_) => Err(OpenError::OwnBackup),
    }
}

/// Durable rows of a ledger in a second by a PostgreSQL database with nothing else done, over some
/// connections: what a measurement stands beside. Blocking.
///
/// # Errors
/// What the database says.
pub fn raw_rows(
    address: &PostgresqlAddress,
    way: RawRows,
    connections: u32,
    window: Duration,
) -> Result<f64, OpenError> {
    postgres::raw_rows(address, way, connections, window)
}

/// How many statements a PostgreSQL database was sent since the last call; none where it does not
/// count them. Blocking.
///
/// # Errors
/// What the database says.
pub fn statements_sent(address: &PostgresqlAddress) -> Result<Option<Sent>, OpenError> {
    postgres::sent(address)
}

/// Copies a database as a whole into another one, which is empty or was left by the same command
/// before its end, and hands the ledger over: from here on servers run on that one alone. Both are
/// taken for the time of it. `kept` are the checkpoints that are known outside the source. `server`
/// is the name that the first server gets where there is one alone; none: the one it has. `verified`
/// is called when all was read again, before the ledger is handed over. Blocking.
///
/// # Errors
/// [`MigrationError`]. The same again goes on.
pub fn migrate(
    from: &DatabaseUrl,
    to: &DatabaseUrl,
    server: Option<&str>,
    kept: Vec<SignedCheckpoint>,
    sealer: Arc<dyn Sealer>,
    watch: Watch<'_>,
    verified: Verified<'_>,
) -> Result<Migrated, MigrationError> {
    let request = migration::Request::new(from.to_string(), to.to_string(), server.map(str::to_owned), kept);
    migrate_by(from, to, &request, sealer, watch, verified)
}

/// The same in batches of another size.
pub(super) fn migrate_by(
    from: &DatabaseUrl,
    to: &DatabaseUrl,
    request: &migration::Request,
    sealer: Arc<dyn Sealer>,
    watch: Watch<'_>,
    verified: Verified<'_>,
) -> Result<Migrated, MigrationError> {
    if from == to {
        return Err(MigrationError::Same);
    }
    let seals = Arc::new(Seals::new(sealer));
    let panicked = || StoreError::Defect { reason: "the migration panicked".into() };
    // A connection to PostgreSQL has a runtime of its own, which must not meet another.
    let work = || match from {
        DatabaseUrl::Sqlite(path) => {
            let held = sqlite::Locked::acquire_existing(SqliteSettings::new(path));
            let parts = held.and_then(sqlite::Locked::open_to_copy).map_err(MigrationError::Source)?;
            // The lock is let go last.
            let Parts { transaction, views, lock: _lock } = parts;
            drop(views);
            migrate_into(transaction, to, request, &seals, watch, verified)
        }
        DatabaseUrl::Postgresql(address) => {
            let held = postgres::Held::acquire_to_copy(address).map_err(MigrationError::Source)?;
            migrate_into(held.transaction, to, request, &seals, watch, verified)
        }
    };
    thread::scope(|scope| scope.spawn(work).join())
        .unwrap_or_else(|_| Err(MigrationError::Target(panicked().into())))
}

fn migrate_into<S: Copyable>(
    source: S,
    to: &DatabaseUrl,
    request: &migration::Request,
    seals: &Arc<Seals>,
    watch: Watch<'_>,
    verified: Verified<'_>,
) -> Result<Migrated, MigrationError> {
    let mut source = Writing::new(Reading::new(source, Arc::clone(seals)), 0);
    // Before a target is made.
    let checked = migration::check(&mut source, to.path().is_none(), request)?;
    let name = checked.first_name(request);
    match to {
        DatabaseUrl::Sqlite(path) => {
            let settings = SqliteSettings { server: name, ..SqliteSettings::new(path) };
            let parts = sqlite::Locked::acquire(settings).and_then(sqlite::Locked::open_to_copy);
            let Parts { transaction, views, lock: _lock } = parts.map_err(MigrationError::Target)?;
            drop(views);
            let mut target = Writing::new(Reading::new(transaction, Arc::clone(seals)), 0);
            migration::run(&mut source, &checked, &mut target, request, watch, verified)
        }
        DatabaseUrl::Postgresql(address) => {
            let held = postgres::Held::acquire_to_fill(address, &name).map_err(MigrationError::Target)?;
            let mut target = Writing::new(Reading::new(held.transaction, Arc::clone(seals)), 0);
            migration::run(&mut source, &checked, &mut target, request, watch, verified)
        }
    }
}

/// A database that nobody else has, for the time of another row-seal key.
#[derive(Debug)]
pub struct Resealing(Held);

/// A database that is this process's, and not in use yet.
#[derive(Debug)]
enum Held {
    Sqlite(sqlite::Locked),
    Postgresql(Box<postgres::Held>),
}

impl Resealing {
    /// Takes the database for itself.
    ///
    /// # Errors
    /// [`OpenError::InUse`]; [`OpenError::ServerRuns`].
    pub fn begin(settings: &DatabaseSettings) -> Result<Self, OpenError> {
        Ok(Self(match &settings.url {
            DatabaseUrl::Sqlite(path) => Held::Sqlite(sqlite::Locked::acquire(settings.sqlite(path))?),
            DatabaseUrl::Postgresql(address) => {
                Held::Postgresql(Box::new(postgres::Held::acquire(&settings.postgres(address))?))
            }
        }))
    }

    /// Seals every row that decides by the new key, in one transaction together with the act. Does
    /// nothing where all bear seals by the new key already. Blocking.
    ///
    /// # Errors
    /// [`OpenError::Forged`] unless every row bears a seal by the old key: somebody else's rows are
    /// not made good.
    pub fn reseal(self, old: Arc<dyn Sealer>, new: Arc<dyn Sealer>, act: &NewAct) -> Result<(), OpenError> {
        match self.0 {
            Held::Sqlite(locked) => reseal::reseal(locked.open()?.transaction, old, new, act),
            Held::Postgresql(held) => postgres::apart(|| reseal::reseal(held.transaction, old, new, act)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_the_engine() {
        let url: DatabaseUrl = "sqlite:/var/lib/vendkey/vendkey.db".parse().unwrap();
        assert_eq!(url.path(), Some(Path::new("/var/lib/vendkey/vendkey.db")));
        assert_eq!(url.to_string(), "sqlite:/var/lib/vendkey/vendkey.db");
        let url: DatabaseUrl = "postgresql://vendkey@127.0.0.1/vendkey".parse().unwrap();
        assert_eq!(url.path(), None);
        assert_eq!(url.to_string(), "postgresql://vendkey@127.0.0.1:5432/vendkey");
        for text in ["", "sqlite:", "vendkey.db", "mysql://db/vendkey"] {
            assert_eq!(text.parse::<DatabaseUrl>(), Err(UnknownDatabase::Engine), "{text}");
        }
    }
}
