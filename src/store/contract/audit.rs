//! The contract: the chain and its checkpoints, and the servers that write it.

use std::time::Duration;

use async_trait::async_trait;

use crate::audit::{ChainId, Hash, Head, NewAct};
use crate::ledger::{Cursor, RefusedCalls, Walk};
use crate::store::{Job, LostCommits, Past, Records, SealReport, Server, ServerState, StoreError, WalkPart};

/// The chains of records, the seals of rows that decide, and the checkpoints.
#[async_trait]
pub trait AuditStore: Send + Sync {
    /// Writes an act that is nothing but its record.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn record_act(&self, act: NewAct) -> Result<(), StoreError>;

    /// Writes an act that says of calls that they were refused, and counts these.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn record_refused(&self, act: NewAct, refused: RefusedCalls) -> Result<(), StoreError>;

    /// Writes an act that is nothing but its record, unless one of its kind with the same details
    /// is there.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn record_act_once(&self, act: NewAct) -> Result<(), StoreError>;

    /// Records of all chains from where a cursor stands, at most `most`; with the openings of
    /// their commitments if asked for.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn records(&self, after: Cursor, most: usize, openings: bool) -> Result<Records, StoreError>;

    /// How far the chain of this server has come.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn chain_head(&self) -> Result<Head, StoreError>;

    /// How far all chains have come, in the order of their numbers.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn chain_heads(&self) -> Result<Vec<Head>, StoreError>;

    /// The hash of the record at a position of a chain; none where there is no such record, or no
    /// such chain.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn record_hash(&self, chain: ChainId, position: u64) -> Result<Option<Hash>, StoreError>;

    /// Whether this server accepted a restored database after this position of its chain.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn restore_accepted_after(&self, position: u64) -> Result<bool, StoreError>;

    /// The chain of a server that accepted a restored database behind one of these heads, if one
    /// did.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn restore_accepted_since(&self, heads: Vec<Head>) -> Result<Option<ChainId>, StoreError>;

    /// What the database has forgotten of this server's chain since this server runs, unless that was
    /// accepted. Until then no new token is recorded.
    fn lost_commits(&self) -> Option<LostCommits>;

    /// Checks the seal of every row that decides, and that none was taken out or put back.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn verify_seals(&self) -> Result<SealReport, StoreError>;

    /// Keeps a signed checkpoint.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn keep_checkpoint(&self, number: u64, text: String) -> Result<(), StoreError>;

    /// Walks on over the ledger: reads at most so many records, of one state of the database. The
    /// audit key is given as SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn walk_on(
        &self,
        walk: Walk,
        most: usize,
        audit_key: Vec<u8>,
        now_ms: i64,
    ) -> Result<WalkPart, StoreError>;

    /// How far the ledger was walked, as it was kept last. None where nobody kept it, or somebody else
    /// has written it, and nothing was found ever; [`Walk::unknown`] where something was.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn kept_walk(&self) -> Result<Option<Walk>, StoreError>;

    /// Keeps it, with what was accepted since it was kept last, and answers it. What was found since is
    /// put on record.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn keep_walk(&self, walk: Walk, now_ms: i64) -> Result<Walk, StoreError>;

    /// What a start must know of the past.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn past(&self) -> Result<Past, StoreError>;
}

/// The servers of a database, what they share out, and the clock that they share.
#[async_trait]
pub trait ServerStore: Send + Sync {
    /// Notes what this server says of itself.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn put_server(&self, state: ServerState) -> Result<(), StoreError>;

    /// All servers, in the order of their numbers.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn servers(&self) -> Result<Vec<Server>, StoreError>;

    /// Takes the lease of a job for this server, for so long by the clock of the database, or
    /// prolongs it; for no time, it ends at once. False while another server has it. Always true
    /// where only one server can be.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn take_lease(&self, job: Job, time: Duration) -> Result<bool, StoreError>;

    /// The clock of the database, in milliseconds since 1970; none where it is the server's own.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn database_now_ms(&self) -> Result<Option<i64>, StoreError>;
}
