//! The contract: the ledger of tokens, and looks into tokens.

use std::collections::BTreeMap;

use async_trait::async_trait;
use uuid::Uuid;

use crate::audit::Actor;
use crate::id::{ClientId, ConfigurationId};
use crate::ledger::{
    AcceptedRestore, Attempt, Attempted, CountedDay, CountedHours, Cursor, Damage, Hours, NewAttempt,
    NewToken, Recorded, Seed, Sequence, SumMismatch, TokenFilter, TokenPage, TokenRow, Vended,
};
use crate::store::{LedgerError, LowerError, StoreError};
use crate::sts::attributes::BaseDate;
use crate::sts::meter::MeterPan;
use crate::sts::tid::Tid;

/// The ledger of issued tokens, and the last TIDs of meters.
#[async_trait]
pub trait LedgerStore: Send + Sync {
    /// Records a token before it exists, or finds the record of its first request. The same as
    /// [`LedgerStore::record_tokens`] with one.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn record_token(&self, new: NewToken) -> Result<Recorded, LedgerError>;

    /// Records tokens before they exist, or finds the records of their first requests: in this
    /// order, with one commit for all. The answers are in the same order; what concerns one token
    /// alone is told of it alone.
    ///
    /// The order of the rules, for each token: its deadline has not passed; its credential is one
    /// of its client, and both count now; (client, request id) as replay or reuse; the age of the
    /// request id; the limits of the client; the state of the configurations and whether the key
    /// change between them is allowed; the next TID of the meter. A refusal leaves no trace in the
    /// ledger.
    ///
    /// Numbers of the rows of a server grow in the order of commits. The TIDs of a meter under a
    /// base date rise in that order, whichever servers give them.
    async fn record_tokens(&self, new: Vec<NewToken>) -> Vec<Result<Recorded, LedgerError>>;

    /// The ledger row of this number.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn issued_token(&self, sequence: Sequence) -> Result<Option<TokenRow>, StoreError>;

    /// The ledger row that a client's request made.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn issued_token_of_request(
        &self,
        client: ClientId,
        request_id: Uuid,
    ) -> Result<Option<TokenRow>, StoreError>;

    /// The ledger row of a meter's TID: there is at most one.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn issued_token_of_tid(
        &self,
        meter: MeterPan,
        base_date: BaseDate,
        tid: Tid,
    ) -> Result<Option<TokenRow>, StoreError>;

    /// The newest key-change sets of a meter out of this configuration, at most eight.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn issued_key_changes(
        &self,
        meter: MeterPan,
        configuration: ConfigurationId,
    ) -> Result<Vec<TokenRow>, StoreError>;

    /// Checks rows from which tokens are to be made against their links of the chain, each for itself:
    /// those that a list gave. Single rows are checked as they are read.
    ///
    /// # Errors
    /// [`StoreError`]; of a row [`StoreError::Unlinked`].
    async fn check_links(&self, rows: Vec<TokenRow>) -> Result<Vec<Result<(), StoreError>>, StoreError>;

    /// Rows of the ledger that fit a filter, from where a cursor stands.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn list_issued_tokens(
        &self,
        filter: TokenFilter,
        after: Cursor,
        size: u32,
    ) -> Result<TokenPage, StoreError>;

    /// Compares the sums of a day, against which limits are counted, with what its rows say: those
    /// that were counted, and those that came since. A sum that is too low is raised, on record.
    /// Answers every sum that was not what the rows say.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn correct_usage(&self, counted: CountedDay, now_ms: i64) -> Result<Vec<SumMismatch>, StoreError>;

    /// What was vended and refused in a span, from the sums that are kept.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn vended(&self, hours: Hours) -> Result<Vended, StoreError>;

    /// Adds what was vended before sums by the hour were kept, and answers how many sums were added.
    /// None where another server has added them.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn fill_hours(&self, counted: CountedHours, now_ms: i64) -> Result<usize, StoreError>;

    /// The last TID of a meter under a base date, issued here or seeded.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn last_tid(&self, meter: MeterPan, base_date: BaseDate) -> Result<Option<Tid>, StoreError>;

    /// Raises the last TIDs of meters to at least these, on record, and answers how many rose. None
    /// is lowered.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn seed_last_tids(&self, seeds: Vec<Seed>, actor: Actor, now_ms: i64) -> Result<u64, StoreError>;

    /// What [`LedgerStore::lower_last_tid`] would answer now; nothing is changed.
    ///
    /// # Errors
    /// [`LowerError`].
    async fn may_lower_last_tid(&self, to: Seed) -> Result<Tid, LowerError>;

    /// Lowers the last TID of a meter, on record, and answers what it was: never below a TID that a
    /// row of the ledger has, so that no TID is given twice. What is so already stays so.
    ///
    /// # Errors
    /// [`LowerError`].
    async fn lower_last_tid(&self, to: Seed, actor: Actor, now_ms: i64) -> Result<Tid, LowerError>;

    /// Takes a database that lost commits as it is, on record: raises the floors of TIDs and of
    /// request ids.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn accept_restore(&self, accepted: AcceptedRestore) -> Result<(), StoreError>;

    /// Takes a ledger that does not hold as it is, on record: raises the floors of TIDs and of request
    /// ids, and accepts what the walk found, as far as it was seen. Answers what else it found.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn accept_damage(
        &self,
        accepted: AcceptedRestore,
        seen: Vec<Damage>,
    ) -> Result<Vec<Damage>, StoreError>;

    /// Goes on with a database that another server has accepted, on record: what was raised there
    /// holds here too. `lost_from` is the position up to which records of this server's chain may
    /// have been lost.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn follow_restore(
        &self,
        lost_from: u64,
        details: BTreeMap<&'static str, String>,
        now_ms: i64,
    ) -> Result<(), StoreError>;
}

/// How often foreign tokens were looked into.
#[async_trait]
pub trait VerificationStore: Send + Sync {
    /// Counts a look into a foreign token as failed, durably and before it happens, within the
    /// limits.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn attempt_verification(&self, new: NewAttempt) -> Result<Attempted, StoreError>;

    /// Takes back the count of a look that succeeded.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn verification_succeeded(&self, attempt: Attempt) -> Result<(), StoreError>;
}
