//! Which database, and how it is opened.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

use super::postgres::{self, AddressError, PostgresSettings, PostgresStore, PostgresqlAddress};
use super::sqlite::{self, SqliteSettings, SqliteStore};
use super::{Examined, OpenError, Sealer, Store, reseal};
use crate::audit::NewAct;
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

/// The same for a database whose rows that decide bear no seals, or not those of this HSM: seals
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
/// Blocking.
///
/// # Errors
/// What [`open`] would say.
pub fn examine(url: &DatabaseUrl) -> Result<Examined, OpenError> {
    match url {
        DatabaseUrl::Sqlite(path) => sqlite::examine(path),
        DatabaseUrl::Postgresql(address) => {
            postgres::examine(address).map(|()| Examined::Found { sign_of_life: None })
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
        DatabaseUrl::Sqlite(path) => sqlite::copy(path, to),
        DatabaseUrl::Postgresql(_) => Err(OpenError::OwnBackup),
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
    /// [`OpenError::InUse`]; [`OpenError::NameInUse`] while any server has it.
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
