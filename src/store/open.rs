//! Which database, and how it is opened.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

use super::sqlite::{self, SqliteSettings, SqliteStore};
use super::{OpenError, Sealer, Store, reseal};
use crate::audit::NewAct;
use crate::configuration::Configuration;

/// Which database: its engine, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// `sqlite:PATH`: an embedded SQLite database in this file. Its folder must exist.
    Sqlite(PathBuf),
}

/// A text that names no database.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("not a database that this program knows: `sqlite:PATH` is expected")]
pub struct UnknownDatabase;

impl DatabaseUrl {
    /// The file of an embedded database.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Sqlite(path) => Some(path),
        }
    }
}

impl FromStr for DatabaseUrl {
    type Err = UnknownDatabase;

    fn from_str(text: &str) -> Result<Self, UnknownDatabase> {
        let path = text.strip_prefix("sqlite:").filter(|path| !path.is_empty()).ok_or(UnknownDatabase)?;
        Ok(Self::Sqlite(path.into()))
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
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

    fn sqlite(&self) -> SqliteSettings {
        let DatabaseUrl::Sqlite(path) = &self.url;
        SqliteSettings {
            server: self.server.clone(),
            queue: self.queue,
            alarm_pace: self.alarm_pace,
            ..SqliteSettings::new(path.clone())
        }
    }
}

/// Opens a store, making the database if there is none, and brings its schema up. Blocking.
///
/// # Errors
/// [`OpenError`]; a database that another process has is refused with [`OpenError::InUse`].
pub fn open(settings: &DatabaseSettings, sealer: Arc<dyn Sealer>) -> Result<Arc<dyn Store>, OpenError> {
    Ok(Arc::new(SqliteStore::open(&settings.sqlite(), sealer)?))
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
    let (store, sealed) = SqliteStore::open_and_seal(&settings.sqlite(), sealer)?;
    Ok((Arc::new(store), sealed))
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
    let DatabaseUrl::Sqlite(path) = url;
    sqlite::all_configurations(path, sealer)
}

/// Looks whether a database of ours is there and its folder can be written, changing nothing.
///
/// # Errors
/// What [`open`] would say of the files.
pub fn examine(url: &DatabaseUrl) -> Result<(), OpenError> {
    let DatabaseUrl::Sqlite(path) = url;
    sqlite::examine(path)
}

/// Copies a database as it is at one moment, beside whoever has it open, into a file that must not
/// exist. Blocking.
///
/// # Errors
/// What the system or the engine says; half a copy is left then.
pub fn copy(url: &DatabaseUrl, to: &Path) -> Result<(), OpenError> {
    let DatabaseUrl::Sqlite(path) = url;
    sqlite::copy(path, to)
}

/// A database that nobody else has, for the time of another row-seal key.
#[derive(Debug)]
pub struct Resealing(sqlite::Locked);

impl Resealing {
    /// Takes the database for itself.
    ///
    /// # Errors
    /// [`OpenError::InUse`].
    pub fn begin(settings: &DatabaseSettings) -> Result<Self, OpenError> {
        sqlite::Locked::acquire(settings.sqlite()).map(Self)
    }

    /// Seals every row that decides by the new key, in one transaction together with the act. Does
    /// nothing where all bear seals by the new key already. Blocking.
    ///
    /// # Errors
    /// [`OpenError::Forged`] unless every row bears a seal by the old key: somebody else's rows are
    /// not made good.
    pub fn reseal(self, old: Arc<dyn Sealer>, new: Arc<dyn Sealer>, act: &NewAct) -> Result<(), OpenError> {
        let parts = self.0.open()?;
        reseal::reseal(parts.transaction, old, new, act)
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
        for text in ["", "sqlite:", "vendkey.db", "postgresql://db/vendkey"] {
            assert_eq!(text.parse::<DatabaseUrl>(), Err(UnknownDatabase), "{text}");
        }
    }
}
