//! The store over an engine: the ledger of tokens, and looks into tokens.

use std::collections::BTreeMap;

use async_trait::async_trait;
use uuid::Uuid;

use super::Database;
use crate::audit::Actor;
use crate::id::{ClientId, ConfigurationId};
use crate::ledger::{
    AcceptedRestore, Attempt, Attempted, CountedDay, CountedHours, Cursor, Damage, Hours, NewAttempt,
    NewToken, Recorded, Seed, Sequence, SumMismatch, TokenFilter, TokenPage, TokenRow, Vended,
};
use crate::store::contract::{LedgerStore, VerificationStore};
use crate::store::engine::{Engine, Transaction as _};
use crate::store::transactions::{links, queries, report, tids, usage, verifications, walk};
use crate::store::{LedgerError, LowerError, StoreError};
use crate::sts::attributes::BaseDate;
use crate::sts::meter::MeterPan;
use crate::sts::tid::Tid;

#[async_trait]
impl<E: Engine> LedgerStore for Database<E> {
    async fn record_token(&self, new: NewToken) -> Result<Recorded, LedgerError> {
        let lost = || Err(StoreError::Defect { reason: "an order has no answer".into() }.into());
        self.committer.record(vec![new]).await.pop().unwrap_or_else(lost)
    }

    async fn record_tokens(&self, new: Vec<NewToken>) -> Vec<Result<Recorded, LedgerError>> {
        self.committer.record(new).await
    }

    async fn issued_token(&self, sequence: Sequence) -> Result<Option<TokenRow>, StoreError> {
        self.read(move |c| queries::token(c, sequence)).await
    }

    async fn issued_token_of_request(
        &self,
        client: ClientId,
        request_id: Uuid,
    ) -> Result<Option<TokenRow>, StoreError> {
        self.read(move |c| queries::of_request(c, client, request_id)).await
    }

    async fn issued_token_of_tid(
        &self,
        meter: MeterPan,
        base_date: BaseDate,
        tid: Tid,
    ) -> Result<Option<TokenRow>, StoreError> {
        self.read(move |c| queries::of_tid(c, meter, base_date, tid)).await
    }

    async fn issued_key_changes(
        &self,
        meter: MeterPan,
        configuration: ConfigurationId,
    ) -> Result<Vec<TokenRow>, StoreError> {
        self.read(move |c| queries::key_changes(c, meter, configuration)).await
    }

    async fn check_links(&self, rows: Vec<TokenRow>) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        self.read(move |c| links::check_again(c, &rows)).await
    }

    async fn list_issued_tokens(
        &self,
        filter: TokenFilter,
        after: Cursor,
        size: u32,
    ) -> Result<TokenPage, StoreError> {
        self.read(move |c| queries::list(c, &filter, &after, size)).await
    }

    async fn correct_usage(&self, counted: CountedDay, now_ms: i64) -> Result<Vec<SumMismatch>, StoreError> {
        self.write(move |c| usage::correct(c, counted, now_ms)).await
    }

    async fn vended(&self, hours: Hours) -> Result<Vended, StoreError> {
        self.read(move |c| report::vended(c, hours)).await
    }

    async fn fill_hours(&self, counted: CountedHours, now_ms: i64) -> Result<usize, StoreError> {
        self.write(move |c| report::fill(c, &counted, now_ms)).await
    }

    async fn last_tid(&self, meter: MeterPan, base_date: BaseDate) -> Result<Option<Tid>, StoreError> {
        self.read(move |c| tids::last_tid(c, meter, base_date)).await
    }

    async fn seed_last_tids(&self, seeds: Vec<Seed>, actor: Actor, now_ms: i64) -> Result<u64, StoreError> {
        self.write(move |c| tids::seed(c, &seeds, actor, now_ms)).await
    }

    async fn may_lower_last_tid(&self, to: Seed) -> Result<Tid, LowerError> {
        Ok(self.read(move |c| tids::may_lower(c, to)).await??)
    }

    async fn lower_last_tid(&self, to: Seed, actor: Actor, now_ms: i64) -> Result<Tid, LowerError> {
        self.write_or_refuse(move |c| tids::lower(c, to, actor, now_ms)).await
    }

    async fn accept_restore(&self, accepted: AcceptedRestore) -> Result<(), StoreError> {
        self.write(move |c| tids::accept_restore(c, accepted)).await
    }

    async fn accept_damage(
        &self,
        accepted: AcceptedRestore,
        seen: Vec<Damage>,
    ) -> Result<Vec<Damage>, StoreError> {
        self.write(move |c| walk::accept(c, accepted, &seen)).await
    }

    async fn follow_restore(
        &self,
        lost_from: u64,
        details: BTreeMap<&'static str, String>,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        self.write(move |c| tids::follow_restore(c, lost_from, details, now_ms)).await
    }
}

#[async_trait]
impl<E: Engine> VerificationStore for Database<E> {
    async fn attempt_verification(&self, new: NewAttempt) -> Result<Attempted, StoreError> {
        self.write(move |c| verifications::attempt(c, &new)).await
    }

    async fn verification_succeeded(&self, attempt: Attempt) -> Result<(), StoreError> {
        self.note(move |c| c.view.delete_failure(attempt.0)).await
    }
}
