//! Where the connection that writes stands: between transactions, in one that was begun for nothing
//! yet, or in one that the database knows.
//!
//! A transaction begins with its first statement, because that says what it locks: those who record
//! tokens share the rows under seal, those who write them have them alone.

use super::chain::{self, COLUMNS, FLOORS};
use super::column::get;
use super::connection::Connection;
use super::locks;
use super::server::Claim;
use super::usage::OfOthers;
use crate::store::StoreError;
use crate::store::engine::Chain;

/// What the connection that writes has beside it.
#[derive(Debug)]
pub(crate) struct Writer {
    claim: Claim,
    stage: Stage,
    /// How many transactions of this connection have written rows under seal.
    own_writes: i64,
    /// What other servers gave on the days that were read.
    others: OfOthers,
    /// Whether another server was in the way of the last transaction, which is tried again.
    met: bool,
}

#[derive(Debug)]
enum Stage {
    Idle,
    /// Begun, and nothing was asked for yet.
    Begun,
    Open(State),
}

/// What is known in a transaction from its beginning.
#[derive(Clone, Debug)]
struct State {
    /// None: this server has no chain yet.
    chain: Option<Chain>,
    /// How many transactions have written rows under seal.
    writes: i64,
    /// Whether others are kept from the rows under seal.
    alone: bool,
    /// Whether it is noted that this one writes such rows, and whether it was at the savepoint.
    noted: bool,
    noted_at_savepoint: bool,
}

/// What a connection does before a statement.
pub(crate) trait Role: Send + 'static {
    /// Begins the transaction that is due.
    fn start(&mut self, connection: &mut Connection) -> Result<(), StoreError>;

    /// Whether the connection is in a transaction that writes.
    fn is_writing(&self) -> bool;

    /// Whether meters are locked before their TIDs are read. A lock of each row costs a quarter of
    /// what the row of a token costs, and few meters are asked for at two servers at once: what is
    /// written tells whether another server was in the way, and then the next try locks.
    fn locks_meters(&self) -> bool;

    /// The chain of the server, where the transaction knows it.
    fn chain(&mut self, connection: &mut Connection) -> Result<Option<Chain>, StoreError>;

    /// Where what other servers gave is noted.
    fn others(&mut self) -> &mut OfOthers;
}

/// What a connection that only reads has in the place of [`Writer`].
#[derive(Debug, Default)]
pub(crate) struct ReadOnly {
    others: OfOthers,
}

impl Role for ReadOnly {
    fn start(&mut self, _: &mut Connection) -> Result<(), StoreError> {
        Ok(())
    }

    fn is_writing(&self) -> bool {
        false
    }

    fn locks_meters(&self) -> bool {
        false
    }

    fn chain(&mut self, _: &mut Connection) -> Result<Option<Chain>, StoreError> {
        Ok(None)
    }

    fn others(&mut self) -> &mut OfOthers {
        // Nothing is written by them.
        self.others.forget();
        &mut self.others
    }
}

impl Role for Writer {
    fn start(&mut self, connection: &mut Connection) -> Result<(), StoreError> {
        match self.stage {
            Stage::Begun => self.open(connection, false),
            Stage::Idle | Stage::Open(_) => Ok(()),
        }
    }

    fn is_writing(&self) -> bool {
        !matches!(self.stage, Stage::Idle)
    }

    fn locks_meters(&self) -> bool {
        self.is_writing() && self.met
    }

    fn chain(&mut self, connection: &mut Connection) -> Result<Option<Chain>, StoreError> {
        if self.is_writing() {
            self.opened(connection)?.chain.ok_or_else(chain::no_chain).map(Some)
        } else {
            Ok(None)
        }
    }

    fn others(&mut self) -> &mut OfOthers {
        &mut self.others
    }
}

impl Writer {
    pub(super) fn new(claim: Claim) -> Self {
        Self { claim, stage: Stage::Idle, own_writes: 0, others: OfOthers::default(), met: false }
    }

    pub(super) fn begin(&mut self) {
        self.stage = Stage::Begun;
    }

    /// Begins the transaction in the database, with a new connection where the last one was lost.
    fn open(&mut self, connection: &mut Connection, alone: bool) -> Result<(), StoreError> {
        loop {
            let new = connection.connect()?;
            if new {
                self.claim.take_again(connection)?;
            }
            connection.hold();
            let state = self.state(connection, alone);
            match state {
                Ok(state) => {
                    self.stage = Stage::Open(state);
                    return Ok(());
                }
                // It was lost while nobody used it, and this is how that is found out.
                Err(StoreError::Unavailable { .. }) if !connection.is_live() && !new => connection.release(),
                Err(error) => return Err(error),
            }
        }
    }

    fn state(&self, connection: &mut Connection, alone: bool) -> Result<State, StoreError> {
        let lock = if alone {
            "SELECT pg_advisory_xact_lock($1)"
        } else {
            "SELECT pg_advisory_xact_lock_shared($1)"
        };
        let query = format!(
            "SELECT a.writes, s.claim, {COLUMNS}, {FLOORS}
             FROM servers s LEFT JOIN chains c ON c.number = s.number CROSS JOIN authority a
             WHERE s.number = $1 FOR NO KEY UPDATE OF s"
        );
        let server = i64::from(self.claim.server().value());
        let found = connection.begin("BEGIN", (lock, &[&locks::ROWS]), (&query, &[&server]))?;
        let found = found.into_iter().next();
        self.claim.check(found.as_ref(), 1)?;
        let Some(row) = found else { return Err(chain::no_chain()) };
        let has_chain = get::<Option<i64>>(&row, 2, "chains.number")?.is_some();
        Ok(State {
            chain: if has_chain { Some(chain::with_floors(&row, 2)?) } else { None },
            writes: get(&row, 0, "authority.writes")?,
            alone,
            noted: false,
            noted_at_savepoint: false,
        })
    }

    fn opened(&mut self, connection: &mut Connection) -> Result<&mut State, StoreError> {
        self.start(connection)?;
        match &mut self.stage {
            Stage::Open(state) => Ok(state),
            Stage::Idle | Stage::Begun => {
                Err(StoreError::Defect { reason: "there is no transaction".into() })
            }
        }
    }

    /// The chain is another now.
    pub(super) fn set_chain(&mut self, chain: Chain) {
        if let Stage::Open(state) = &mut self.stage {
            state.chain = Some(chain);
        }
    }

    /// Keeps others from the rows under seal.
    pub(super) fn lock_rows(&mut self, connection: &mut Connection) -> Result<(), StoreError> {
        if matches!(self.stage, Stage::Begun) {
            return self.open(connection, true);
        }
        let state = self.opened(connection)?;
        if !state.alone {
            connection.execute("SELECT pg_advisory_xact_lock($1)", &[&locks::ROWS])?;
            self.opened(connection)?.alone = true;
        }
        Ok(())
    }

    /// Notes, for all servers, that rows under seal are written.
    pub(super) fn note_write(&mut self, connection: &mut Connection) -> Result<(), StoreError> {
        self.lock_rows(connection)?;
        if !self.opened(connection)?.noted {
            connection.execute("UPDATE authority SET writes = writes + 1", &[])?;
            self.opened(connection)?.noted = true;
        }
        Ok(())
    }

    /// A number that changes when others have written rows under seal.
    pub(super) fn writes_of_others(&mut self, connection: &mut Connection) -> Result<i64, StoreError> {
        let own = self.own_writes;
        Ok(self.opened(connection)?.writes.saturating_sub(own))
    }

    pub(super) fn savepoint(&mut self, connection: &mut Connection) -> Result<(), StoreError> {
        let state = self.opened(connection)?;
        state.noted_at_savepoint = state.noted;
        connection.batch("SAVEPOINT command")
    }

    pub(super) fn roll_back_to_savepoint(&mut self, connection: &mut Connection) -> Result<(), StoreError> {
        connection.roll_back("ROLLBACK TO SAVEPOINT command")?;
        let state = self.opened(connection)?;
        state.noted = state.noted_at_savepoint;
        Ok(())
    }

    pub(super) fn commit(&mut self, connection: &mut Connection) -> Result<(), StoreError> {
        if let Stage::Open(state) = &self.stage {
            let noted = state.noted;
            connection.commit()?;
            self.own_writes += i64::from(noted);
        }
        self.met = false;
        self.end(connection);
        Ok(())
    }

    pub(super) fn roll_back(&mut self, connection: &mut Connection) {
        self.met |= connection.has_met();
        // Also where it could not be begun as a whole.
        if connection.is_held()
            && connection.is_live()
            && let Err(error) = connection.roll_back("ROLLBACK")
        {
            tracing::error!(%error, "the store cannot roll back");
            connection.give_up();
        }
        self.end(connection);
    }

    fn end(&mut self, connection: &mut Connection) {
        self.stage = Stage::Idle;
        self.others.forget();
        connection.release();
    }
}
