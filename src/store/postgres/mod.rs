//! The engine on a PostgreSQL database, which several servers may share.
//!
//! [`Postgres`] is a connection; `engine` says how it keeps the contract of engines. What is
//! PostgreSQL's own: `address` reads its URL; `connection` makes connections again and gives every
//! statement a deadline; `transaction` begins with the lock that is needed; `server` takes the name
//! of a server for one process; `migrations` bring the schema up.

mod address;
mod bound;
mod chain;
mod column;
mod connection;
mod copy;
mod engine;
mod failure;
mod ledger;
mod locks;
mod meters;
mod migrations;
mod report;
mod rows;
mod server;
#[cfg(test)]
pub(super) mod tests;
mod tls;
mod transaction;
mod usage;

use std::sync::Arc;
use std::thread;
use std::time::Duration;

pub use address::{AddressError, PostgresqlAddress};
pub use bound::{RawRows, Sent};
pub(super) use bound::{raw_rows, sent};

use self::connection::{Connection, Purpose};
use self::server::Claim;
use self::transaction::{ReadOnly, Writer};
use super::database::{Database, Parts, Work};
use super::engine::Engine;
use super::reading::Reading;
use super::seals::Seals;
use super::transactions::{audit, configurations};
use super::{OpenError, Sealer, StoreError};
use crate::audit::ChainNumber;
use crate::clock::SignOfLife;
use crate::configuration::Configuration;

/// How long the database may take for one statement: others wait for what it has locked.
const WITHIN: Duration = Duration::from_secs(15);

/// The same while nobody waits: a copy of the whole counts and walks over all rows.
const WITHIN_OF_COPY: Duration = Duration::from_secs(3_600);

/// How the store works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PostgresSettings {
    /// The database.
    pub(crate) address: PostgresqlAddress,
    /// The name of this server.
    pub(crate) server: String,
    /// How long the database may take for one statement.
    pub(crate) within: Duration,
    /// How many commands may wait for the committer.
    pub(crate) queue: usize,
    /// How many rows share a transaction, more or less: bounds what one waits for.
    pub(crate) batch: usize,
    /// How many threads serve queries.
    pub(crate) readers: usize,
    /// Which multiple of a client's usual tokens of a day raises an alarm.
    pub(crate) alarm_pace: u32,
}

impl PostgresSettings {
    /// The usual settings for a database and the name of a server.
    pub(crate) fn new(address: PostgresqlAddress, server: impl Into<String>) -> Self {
        let server = server.into();
        Self { address, server, within: WITHIN, queue: 4_096, batch: 2_048, readers: 2, alarm_pace: 5 }
    }
}

/// A connection. `W` says what it does: [`Writer`], or [`ReadOnly`].
#[derive(Debug)]
pub(crate) struct Postgres<W> {
    connection: Connection,
    /// The number of this server, and of its chain.
    server: ChainNumber,
    role: W,
    /// Numbers of records that were behind the end of the chain when it was looked for them last:
    /// when the database was opened, and whenever one was in the way.
    foreign: Vec<i64>,
    /// Whether the database has refused a record since, as one of its number was there.
    refused: bool,
    /// Whether a snapshot was begun, and not ended.
    in_snapshot: bool,
}

/// The engine.
#[derive(Debug)]
pub(crate) struct PostgresEngine;

impl Engine for PostgresEngine {
    type View = Postgres<ReadOnly>;
    type Transaction = Postgres<Writer>;
    /// The connection that writes holds the lock.
    type Lock = ();
}

/// The store over it.
pub(crate) type PostgresStore = Database<PostgresEngine>;

impl PostgresStore {
    /// Opens the database and brings its schema up. Blocking.
    ///
    /// # Errors
    /// [`OpenError`]; the name of a server that runs is refused with [`OpenError::NameInUse`].
    pub(crate) fn open(settings: &PostgresSettings, sealer: Arc<dyn Sealer>) -> Result<Self, OpenError> {
        Self::open_with(settings, sealer, false, |_| Ok(())).map(|(store, _)| store)
    }

    /// The same as the only server.
    ///
    /// # Errors
    /// As for [`PostgresStore::open`]; [`OpenError::ServerRuns`].
    pub(crate) fn open_alone(
        settings: &PostgresSettings,
        sealer: Arc<dyn Sealer>,
    ) -> Result<Self, OpenError> {
        let opened = Self::open_with(settings, sealer, false, server::lock_all);
        opened.map(|(store, _)| store).map_err(runs)
    }

    /// The same, and seals rows that decide as they are.
    ///
    /// # Errors
    /// As for [`PostgresStore::open`].
    pub(crate) fn open_and_seal(
        settings: &PostgresSettings,
        sealer: Arc<dyn Sealer>,
    ) -> Result<(Self, u64), OpenError> {
        Self::open_with(settings, sealer, true, |_| Ok(()))
    }

    fn open_with(
        settings: &PostgresSettings,
        sealer: Arc<dyn Sealer>,
        seal_rows: bool,
        lock: impl FnOnce(&mut Connection) -> Result<(), OpenError> + Send,
    ) -> Result<(Self, u64), OpenError> {
        let PostgresSettings { queue, batch, alarm_pace, .. } = *settings;
        apart(|| {
            let mut parts = open(settings)?;
            lock(&mut parts.transaction.connection)?;
            Self::start(parts, sealer, Work { queue, batch, alarm_pace, seal_rows })
        })
    }
}

/// Runs it on a thread of its own: a connection waits by a runtime of its own, which cannot be
/// started on a thread that drives another.
pub(super) fn apart<T: Send>(work: impl FnOnce() -> Result<T, OpenError> + Send) -> Result<T, OpenError> {
    let panicked = || StoreError::Defect { reason: "opening the database panicked".into() };
    thread::scope(|scope| scope.spawn(work).join()).unwrap_or_else(|_| Err(panicked().into()))
}

/// Opens the database as a server, bringing its schema up.
pub(super) fn open(settings: &PostgresSettings) -> Result<Parts<PostgresEngine>, OpenError> {
    let address = Arc::new(settings.address.clone());
    let mut connection = connect(&address, Purpose::Write, settings.within)?;
    migrations::migrate(&mut connection)?;
    copy::check_mark(&mut connection)?;
    let transaction = writer(connection, &settings.server)?;
    let views = (0..settings.readers.max(1)).map(|_| {
        let connection = connect(&address, Purpose::Read, settings.within)?;
        Ok(reading(connection, transaction.server))
    });
    let views = views.collect::<Result<_, OpenError>>()?;
    Ok(Parts { transaction, views, lock: () })
}

/// The connection that writes, as the server of this name.
fn writer(mut connection: Connection, name: &str) -> Result<Postgres<Writer>, OpenError> {
    let claim = Claim::take(&mut connection, name)?;
    let server = claim.server();
    let foreign = foreign(&mut connection, server)?;
    let role = Writer::new(claim);
    Ok(Postgres { connection, server, role, foreign, refused: false, in_snapshot: false })
}

fn connect(
    address: &Arc<PostgresqlAddress>,
    purpose: Purpose,
    within: Duration,
) -> Result<Connection, OpenError> {
    let mut connection = Connection::new(address, purpose, within)?;
    connection.connect().map_err(|failure| failure.at_start(address))?;
    Ok(connection)
}

/// The numbers of records of a server's chain that are behind its end, which somebody else has
/// written.
fn foreign(connection: &mut Connection, server: ChainNumber) -> Result<Vec<i64>, StoreError> {
    let chains = chain::all(connection)?;
    let end = chains.into_iter().find(|end| end.number == server);
    let position = end.map_or(0, |end| end.head.position);
    let found = chain::behind(connection, server, position)?;
    if !found.is_empty() {
        crate::metrics::alarm("rows_forged", "");
        tracing::error!(
            records = ?found,
            "somebody else has written records behind the end of this server's chain, which goes on behind them"
        );
    }
    Ok(found)
}

/// A database that no server has.
#[derive(Debug)]
pub(crate) struct Held {
    /// Writes to it.
    pub(crate) transaction: Postgres<Writer>,
}

impl Held {
    /// Takes the names of all servers of the database.
    ///
    /// # Errors
    /// [`OpenError::ServerRuns`].
    pub(crate) fn acquire(settings: &PostgresSettings) -> Result<Self, OpenError> {
        apart(|| {
            let mut transaction = open(settings).map_err(runs)?.transaction;
            server::lock_all(&mut transaction.connection)?;
            Ok(Self { transaction })
        })
    }

    /// Takes a database to copy it, as its first server. It is not brought up.
    ///
    /// # Errors
    /// As for [`Held::acquire`]; [`OpenError::NoSchema`].
    pub(super) fn acquire_to_copy(address: &PostgresqlAddress) -> Result<Self, OpenError> {
        let mut connection = connect(&Arc::new(address.clone()), Purpose::Write, WITHIN_OF_COPY)?;
        if !migrations::examine(&mut connection)? {
            return Err(OpenError::NoSchema);
        }
        let name = server::first_name(&mut connection)?.ok_or(OpenError::NoSchema)?;
        Self::of(connection, &name)
    }

    /// Takes a database to fill it, as its first server, which gets this name where there is none.
    ///
    /// # Errors
    /// As for [`Held::acquire`].
    pub(super) fn acquire_to_fill(address: &PostgresqlAddress, name: &str) -> Result<Self, OpenError> {
        let mut connection = connect(&Arc::new(address.clone()), Purpose::Write, WITHIN_OF_COPY)?;
        migrations::migrate(&mut connection)?;
        let first = server::first_name(&mut connection)?;
        Self::of(connection, first.as_deref().unwrap_or(name))
    }

    fn of(connection: Connection, name: &str) -> Result<Self, OpenError> {
        let mut transaction = writer(connection, name).map_err(runs)?;
        server::lock_all(&mut transaction.connection)?;
        Ok(Self { transaction })
    }
}

/// Of a command that needs the database for itself: that a name is in use says that a server runs.
fn runs(error: OpenError) -> OpenError {
    match error {
        OpenError::NameInUse { name } => OpenError::ServerRuns { name },
        error => error,
    }
}

/// All configurations of a database, beside the servers that have it open. Reads alone. Blocking.
///
/// # Errors
/// [`OpenError`]; a row that does not bear its seal.
pub(super) fn all_configurations(
    address: &PostgresqlAddress,
    sealer: Arc<dyn Sealer>,
) -> Result<Vec<Configuration>, OpenError> {
    apart(|| {
        let connection = connect(&Arc::new(address.clone()), Purpose::Read, WITHIN)?;
        let view = reading(connection, ChainNumber::FIRST);
        Ok(configurations::all(&mut Reading::new(view, Arc::new(Seals::new(sealer))))?)
    })
}

/// Looks whether the database can be used and has our schema, changing nothing. Answers the last
/// sign of life of the server of this name.
///
/// # Errors
/// What opening it would say; [`OpenError::NoSchema`] where a set-up has to come first.
pub(super) fn examine(address: &PostgresqlAddress, name: &str) -> Result<Option<SignOfLife>, OpenError> {
    apart(|| {
        let mut connection = connect(&Arc::new(address.clone()), Purpose::Read, WITHIN)?;
        if !migrations::examine(&mut connection)? {
            return Err(OpenError::NoSchema);
        }
        copy::check_mark(&mut connection)?;
        let known = server::all(&mut connection)?.into_iter().find(|server| server.name == name);
        known.map_or(Ok(None), |known| Ok(audit::last_sign_of_life(&mut reading(connection, known.number))?))
    })
}

/// A connection that reads, beside the server of this number.
fn reading(connection: Connection, server: ChainNumber) -> Postgres<ReadOnly> {
    let role = ReadOnly::default();
    Postgres { connection, server, role, foreign: Vec::new(), refused: false, in_snapshot: false }
}
