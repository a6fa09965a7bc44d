//! A connection to the database: made when it is needed and again when it was lost, with a deadline
//! for every statement.
//!
//! The client is one of futures. Each connection has a runtime of its own on the thread that uses
//! it, so that a statement is a plain call which ends in time whatever the network does.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, Error, NoTls, Row, Statement};

use super::address::PostgresqlAddress;
use super::failure::{Stage, is_lost, reason, store_error};
use super::tls;
use crate::store::{OpenError, Outcome, StoreError};

/// The oldest version that is served, as the database numbers it.
const OLDEST_VERSION: i32 = 130_000;
/// How long it may take to connect to all hosts of an address, and to prepare the session.
const CONNECT_DEADLINE: Duration = Duration::from_secs(8);
/// For how long a database that could not be reached is not tried again.
const PAUSE: Duration = Duration::from_millis(500);

/// The parameters of a statement.
pub(super) type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// A statement with its parameters, to be sent together with others: the database does one after
/// the other, and the answers are waited for once.
pub(super) struct Sql {
    text: Cow<'static, str>,
    params: Vec<Box<dyn ToSql + Send + Sync>>,
}

impl Sql {
    pub(super) fn new(text: impl Into<Cow<'static, str>>) -> Self {
        Self { text: text.into(), params: Vec::new() }
    }

    /// With one parameter more.
    pub(super) fn with(mut self, param: impl ToSql + Send + Sync + 'static) -> Self {
        self.params.push(Box::new(param));
        self
    }

    fn params(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.params.iter().map(|param| &**param as &(dyn ToSql + Sync)).collect()
    }
}

/// A statement that writes, sent with those behind it.
struct Later {
    sql: Sql,
    /// How many rows it changes, and what it means where these are others.
    changes: Option<(usize, fn() -> StoreError)>,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Write,
    Read,
}

impl Purpose {
    /// What the session is told first.
    fn session(self, within: Duration) -> String {
        let read_only = match self {
            Self::Write => "off",
            Self::Read => "on",
        };
        // Every statement goes by a key. A plan that was made while a table was small must not walk
        // over the whole of it when it has grown.
        format!(
            "SET search_path = vendkey, pg_catalog;
             SET default_transaction_read_only = {read_only};
             SET statement_timeout = {};
             SET idle_in_transaction_session_timeout = 30000;
             SET tcp_keepalives_idle = 10;
             SET tcp_keepalives_interval = 5;
             SET tcp_keepalives_count = 2;
             SET enable_seqscan = off;
             SET enable_hashjoin = off;
             SET enable_mergejoin = off;
             SET jit = off;
             SELECT set_config('synchronous_commit', 'on', false)
             WHERE current_setting('synchronous_commit') <> 'remote_apply'",
            within.as_millis()
        )
    }
}

/// Why there is no connection.
#[derive(Clone, Debug)]
pub(super) enum NotConnected {
    /// It does not answer now.
    Unreachable(String),
    /// It refuses, or what it is would lose tokens: somebody must change something.
    Refused(String),
}

impl NotConnected {
    fn of(error: &Error) -> Self {
        let code = error.code();
        let refused = [
            SqlState::INVALID_PASSWORD,
            SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
            SqlState::UNDEFINED_DATABASE,
            SqlState::INSUFFICIENT_PRIVILEGE,
        ];
        if code.is_some_and(|code| refused.contains(code)) {
            Self::Refused(reason(error))
        } else {
            Self::Unreachable(reason(error))
        }
    }

    /// As a start tells it.
    pub(super) fn at_start(self, address: &PostgresqlAddress) -> OpenError {
        let database = address.to_string();
        match self {
            Self::Unreachable(reason) => OpenError::Unreachable { database, reason },
            Self::Refused(reason) => OpenError::Refused { database, reason },
        }
    }
}

impl From<NotConnected> for StoreError {
    fn from(failure: NotConnected) -> Self {
        let (NotConnected::Unreachable(reason) | NotConnected::Refused(reason)) = failure;
        Self::Unavailable { reason: format!("the database: {reason}"), outcome: Outcome::NotDone }
    }
}

/// A connection, or the means to make it.
pub(crate) struct Connection {
    address: Arc<PostgresqlAddress>,
    purpose: Purpose,
    /// How long the database may take for one statement. A fifth later the connection is given up.
    within: Duration,
    live: Option<Live>,
    /// There until the connection is dropped.
    runtime: Option<Runtime>,
    /// Why it could not be made, and when that was.
    down: Option<(Instant, NotConnected)>,
    /// Whether no other connection takes the place of this one.
    kept: bool,
    /// Whether what was begun must not go on with another connection.
    held: bool,
    /// Whether a statement of a transaction failed, so that it cannot be committed.
    failed: bool,
    /// Whether another server was in the way of a statement of the transaction.
    met: bool,
    /// What is sent with the next statement.
    later: Vec<Later>,
    sent: Arc<Counters>,
}

/// What was sent to the database.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Statements.
    pub(super) statements: AtomicU64,
    /// How often answers were waited for.
    pub(super) waits: AtomicU64,
}

pub(super) struct Live {
    pub(super) client: Client,
    task: JoinHandle<()>,
    prepared: HashMap<String, Statement>,
}

impl Drop for Live {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Connection {
    /// A connection that is not made yet.
    ///
    /// # Errors
    /// [`OpenError::Threads`].
    pub(super) fn new(
        address: &Arc<PostgresqlAddress>,
        purpose: Purpose,
        within: Duration,
    ) -> Result<Self, OpenError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Ok(Self {
            address: Arc::clone(address),
            purpose,
            within,
            live: None,
            runtime: Some(runtime.map_err(|error| OpenError::Threads { error })?),
            down: None,
            kept: false,
            held: false,
            failed: false,
            met: false,
            later: Vec::new(),
            sent: Arc::default(),
        })
    }

    /// What was sent so far, and goes on being counted.
    #[cfg(test)]
    pub(super) fn sent(&self) -> Arc<Counters> {
        Arc::clone(&self.sent)
    }

    /// Whether it is made, as far as is known.
    pub(super) fn is_live(&self) -> bool {
        self.live.as_ref().is_some_and(|live| !live.client.is_closed())
    }

    /// Makes the connection if there is none. Answers whether it is a new one.
    ///
    /// # Errors
    /// [`NotConnected`], at once where it failed a moment ago.
    pub(super) fn connect(&mut self) -> Result<bool, NotConnected> {
        if self.is_live() {
            return Ok(false);
        }
        self.live = None;
        if self.kept {
            let reason = "the connection was lost, and with it the lock that kept all servers out";
            return Err(NotConnected::Unreachable(reason.to_owned()));
        }
        if let Some((since, failure)) = &self.down
            && since.elapsed() < PAUSE
        {
            return Err(failure.clone());
        }
        let made =
            in_time(&self.runtime, CONNECT_DEADLINE, connected(&self.address, self.purpose, self.within));
        let late = || Err(NotConnected::Unreachable("it does not answer in time".to_owned()));
        let made = made.unwrap_or_else(late);
        match made {
            Ok(live) => {
                self.live = Some(live);
                self.down = None;
                Ok(true)
            }
            Err(failure) => {
                self.down = Some((Instant::now(), failure.clone()));
                Err(failure)
            }
        }
    }

    /// From here on no other connection takes the place of this one.
    pub(super) fn keep(&mut self) {
        self.kept = true;
    }

    /// From here on nothing goes on with another connection, until [`Connection::release`].
    pub(super) fn hold(&mut self) {
        (self.held, self.failed, self.met) = (true, false, false);
    }

    /// What was begun has ended.
    pub(super) fn release(&mut self) {
        (self.held, self.failed, self.met) = (false, false, false);
        self.later.clear();
    }

    /// Whether another server was in the way of what was begun.
    pub(super) fn has_met(&self) -> bool {
        self.met
    }

    /// Whether something was begun that has not ended.
    pub(super) fn is_held(&self) -> bool {
        self.held
    }

    /// Takes back what a statement takes back, also what failed and what was not sent yet.
    pub(super) fn roll_back(&mut self, sql: &str) -> Result<(), StoreError> {
        self.later.clear();
        self.batch(sql)?;
        self.failed = false;
        Ok(())
    }

    /// Gives the connection up.
    pub(super) fn give_up(&mut self) {
        self.live = None;
    }

    /// Rows of a statement.
    pub(super) fn query(&mut self, sql: &str, params: Params<'_>) -> Result<Vec<Row>, StoreError> {
        self.run(async |live| {
            let statement = live.prepare(sql).await?;
            live.client.query(&statement, params).await
        })
    }

    /// The one row of a statement, or none.
    pub(super) fn query_opt(&mut self, sql: &str, params: Params<'_>) -> Result<Option<Row>, StoreError> {
        Ok(self.query(sql, params)?.into_iter().next())
    }

    /// How many rows a statement has changed.
    pub(super) fn execute(&mut self, sql: &str, params: Params<'_>) -> Result<u64, StoreError> {
        self.run(async |live| {
            let statement = live.prepare(sql).await?;
            live.client.execute(&statement, params).await
        })
    }

    /// Statements without parameters.
    pub(super) fn batch(&mut self, sql: &str) -> Result<(), StoreError> {
        self.run(async |live| live.client.batch_execute(sql).await)
    }

    /// The rows of a statement that has its parameters.
    pub(super) fn query_sql(&mut self, sql: Sql) -> Result<Vec<Row>, StoreError> {
        self.query(&sql.text, &sql.params())
    }

    /// The rows of several statements, in their order, sent at once.
    pub(super) fn query_all(&mut self, sql: &[Sql]) -> Result<Vec<Vec<Row>>, StoreError> {
        self.sent.statements.fetch_add((sql.len() as u64).saturating_sub(1), Ordering::Relaxed);
        self.run(async |live| {
            let prepared = live.prepare_all(sql.iter()).await?;
            let client = &live.client;
            let sent = prepared
                .iter()
                .zip(sql)
                .map(async |(statement, sql)| client.query(statement, &sql.params()).await);
            join_all(sent).await.into_iter().collect()
        })
    }

    /// Sends a statement that writes together with those behind it. What it comes to is known by
    /// the next one that is waited for, at the latest by [`Connection::flush`]. `changes` says how
    /// many rows it changes, and what it means where these are others.
    pub(super) fn execute_later(&mut self, sql: Sql, changes: Option<(usize, fn() -> StoreError)>) {
        self.later.push(Later { sql, changes });
    }

    /// Sends what was to be sent later, and waits for it.
    pub(super) fn flush(&mut self) -> Result<(), StoreError> {
        if self.later.is_empty() {
            return Ok(());
        }
        let later = std::mem::take(&mut self.later);
        self.sent.statements.fetch_add((later.len() as u64).saturating_sub(1), Ordering::Relaxed);
        let changed = self.run_at(Stage::Before, async |live| {
            let prepared = live.prepare_all(later.iter().map(|later| &later.sql)).await?;
            let client = &live.client;
            let sent = prepared
                .iter()
                .zip(&later)
                .map(async |(statement, later)| client.execute(statement, &later.sql.params()).await);
            // The first failure is the cause of those behind it.
            join_all(sent).await.into_iter().collect::<Result<Vec<u64>, Error>>()
        })?;
        for (later, changed) in later.iter().zip(changed) {
            if let Some((rows, other)) = later.changes
                && changed != rows as u64
            {
                return Err(self.fail(other()));
            }
        }
        Ok(())
    }

    /// Notes that a statement of a transaction failed.
    fn fail(&mut self, error: StoreError) -> StoreError {
        self.failed = true;
        self.met |= matches!(error, StoreError::Conflict { .. });
        error
    }

    /// Begins a transaction by what is sent at once: BEGIN, a statement that locks, and a query of
    /// what is known then.
    pub(super) fn begin(
        &mut self,
        begin: &str,
        lock: (&str, Params<'_>),
        query: (&str, Params<'_>),
    ) -> Result<Vec<Row>, StoreError> {
        self.sent.statements.fetch_add(2, Ordering::Relaxed);
        self.run(async |live| {
            let (locking, querying) = (live.prepare(lock.0).await?, live.prepare(query.0).await?);
            let (begun, locked, found) = tokio::join!(
                biased;
                live.client.batch_execute(begin),
                live.client.execute(&locking, lock.1),
                live.client.query(&querying, query.1),
            );
            begun?;
            locked?;
            found
        })
    }

    /// Ends a transaction.
    pub(super) fn commit(&mut self) -> Result<(), StoreError> {
        self.flush()?;
        if self.failed {
            let reason = "a statement of the transaction failed".into();
            return Err(StoreError::Unavailable { reason, outcome: Outcome::NotDone });
        }
        self.run_at(Stage::Commit, async |live| live.client.batch_execute("COMMIT").await)
    }

    /// Does what a statement does, and again with a new connection where nothing was begun.
    pub(super) fn run<T>(
        &mut self,
        work: impl AsyncFn(&mut Live) -> Result<T, Error>,
    ) -> Result<T, StoreError> {
        self.flush()?;
        let again = !self.held;
        let done = self.run_at(Stage::Before, &work);
        // A connection that was lost while nobody used it is found out by its next use.
        if again
            && matches!(done, Err(StoreError::Unavailable { .. }))
            && !self.is_live()
            && self.down.is_none()
        {
            return self.run_at(Stage::Before, &work);
        }
        done
    }

    fn run_at<T>(
        &mut self,
        stage: Stage,
        work: impl AsyncFn(&mut Live) -> Result<T, Error>,
    ) -> Result<T, StoreError> {
        if !self.held {
            self.connect()?;
        }
        self.sent.statements.fetch_add(1, Ordering::Relaxed);
        self.sent.waits.fetch_add(1, Ordering::Relaxed);
        let Some(live) = self.live.as_mut() else {
            let reason = "the connection to the database was lost".into();
            return Err(self.fail(StoreError::Unavailable { reason, outcome: Outcome::NotDone }));
        };
        let deadline = self.within + self.within / 5;
        let done = in_time(&self.runtime, deadline, work(live));
        match done {
            Some(Ok(found)) => Ok(found),
            Some(Err(error)) => {
                if is_lost(&error) {
                    self.live = None;
                }
                Err(self.fail(store_error(&error, stage)))
            }
            None => {
                self.live = None;
                let outcome = if stage == Stage::Commit { Outcome::Unknown } else { Outcome::NotDone };
                let reason = format!("the database has not answered in {} seconds", deadline.as_secs());
                Err(self.fail(StoreError::Unavailable { reason, outcome }))
            }
        }
    }
}

/// Drives work to its end, or gives it up in time.
fn in_time<T>(runtime: &Option<Runtime>, deadline: Duration, work: impl Future<Output = T>) -> Option<T> {
    runtime.as_ref()?.block_on(async { timeout(deadline, work).await.ok() })
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.live = None;
        // Without waiting: whoever drops it may be driven by another runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Live {
    async fn prepare(&mut self, sql: &str) -> Result<Statement, Error> {
        if let Some(known) = self.prepared.get(sql) {
            return Ok(known.clone());
        }
        let statement = self.client.prepare(sql).await?;
        self.prepared.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    async fn prepare_all(&mut self, all: impl Iterator<Item = &Sql>) -> Result<Vec<Statement>, Error> {
        let mut prepared = Vec::new();
        for sql in all {
            prepared.push(self.prepare(&sql.text).await?);
        }
        Ok(prepared)
    }
}

async fn connected(
    address: &PostgresqlAddress,
    purpose: Purpose,
    within: Duration,
) -> Result<Live, NotConnected> {
    let mut config: Config = address.config();
    if let Some(file) = &address.password_file {
        let password = std::fs::read_to_string(file).map_err(|error| {
            NotConnected::Refused(format!("store.password_file {}: {error}", file.display()))
        })?;
        let password = zeroize::Zeroizing::new(password);
        config.password(password.trim_end_matches(['\n', '\r']));
    }
    let (client, task) = if address.uses_tls() {
        let tls = tls::connector(address).map_err(NotConnected::Refused)?;
        let (client, connection) = config.connect(tls).await.map_err(|error| NotConnected::of(&error))?;
        (client, tokio::spawn(async move { drop(connection.await) }))
    } else {
        let (client, connection) = config.connect(NoTls).await.map_err(|error| NotConnected::of(&error))?;
        (client, tokio::spawn(async move { drop(connection.await) }))
    };
    let live = Live { client, task, prepared: HashMap::new() };
    live.client.batch_execute(&purpose.session(within)).await.map_err(|error| NotConnected::of(&error))?;
    fit(&live.client).await?;
    Ok(live)
}

/// Refuses a database that would lose what it has said to be durable, and one that is not for this.
async fn fit(client: &Client) -> Result<(), NotConnected> {
    let look = "SELECT current_setting('server_version_num')::int, current_setting('fsync'),
                       current_setting('full_page_writes'), current_setting('synchronous_commit'),
                       current_setting('server_encoding'), pg_is_in_recovery()";
    let found = client.query_one(look, &[]).await.map_err(|error| NotConnected::of(&error))?;
    let read = |error: Error| NotConnected::Refused(error.to_string());
    let version: i32 = found.try_get(0).map_err(read)?;
    let refused = |text: String| Err(NotConnected::Refused(text));
    if version < OLDEST_VERSION {
        return refused(format!("PostgreSQL {} is too old: 13 or later is needed", version / 10_000));
    }
    for (place, setting) in [(1, "fsync"), (2, "full_page_writes")] {
        let value: &str = found.try_get(place).map_err(read)?;
        if value != "on" {
            return refused(format!(
                "its setting {setting} is {value}, so that a power cut would lose tokens that were given: set it to \
                 on in postgresql.conf"
            ));
        }
    }
    let commits: &str = found.try_get(3).map_err(read)?;
    if !["on", "remote_apply"].contains(&commits) {
        return refused(format!(
            "its setting synchronous_commit is {commits} and cannot be set to on for this session, so that a crash \
             would lose tokens that were given"
        ));
    }
    let encoding: &str = found.try_get(4).map_err(read)?;
    if encoding != "UTF8" {
        return refused(format!("its encoding is {encoding}: make the database with ENCODING 'UTF8'"));
    }
    if found.try_get(5).map_err(read)? {
        return Err(NotConnected::Unreachable("it is a standby, which writes nothing".to_owned()));
    }
    Ok(())
}
