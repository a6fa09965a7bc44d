//! The store over an engine: the chain and its checkpoints, and the servers that write it.

use std::time::Duration;

use async_trait::async_trait;

use super::Database;
use crate::audit::{ChainId, Hash, Head, NewAct};
use crate::ledger::{Cursor, RefusedCalls, Walk};
use crate::store::contract::{AuditStore, ServerStore};
use crate::store::engine::{Engine, Transaction, View as _};
use crate::store::reading::Reading;
use crate::store::transactions::{audit, walk};
use crate::store::{Job, LostCommits, Past, Records, SealReport, Server, ServerState, StoreError, WalkPart};

#[async_trait]
impl<E: Engine> AuditStore for Database<E> {
    async fn record_act(&self, act: NewAct) -> Result<(), StoreError> {
        self.note(move |c| c.append_act(&act)).await
    }

    async fn record_refused(&self, act: NewAct, refused: RefusedCalls) -> Result<(), StoreError> {
        self.note(move |c| {
            c.append_act(&act)?;
            c.view.add_refused(&refused)
        })
        .await
    }

    async fn record_act_once(&self, act: NewAct) -> Result<(), StoreError> {
        self.write(move |c| c.append_act_once(&act)).await
    }

    async fn records(&self, after: Cursor, most: usize, openings: bool) -> Result<Records, StoreError> {
        self.read(move |c| audit::records(c, &after, most, openings)).await
    }

    async fn chain_head(&self) -> Result<Head, StoreError> {
        self.read(audit::head).await
    }

    async fn chain_heads(&self) -> Result<Vec<Head>, StoreError> {
        self.read(audit::heads).await
    }

    async fn record_hash(&self, chain: ChainId, position: u64) -> Result<Option<Hash>, StoreError> {
        self.read(move |c| audit::record_hash(c, chain, position)).await
    }

    async fn restore_accepted_after(&self, position: u64) -> Result<bool, StoreError> {
        self.read(move |c| audit::restore_accepted_after(c, position)).await
    }

    async fn restore_accepted_since(&self, heads: Vec<Head>) -> Result<Option<ChainId>, StoreError> {
        self.read(move |c| audit::restore_accepted_since(c, &heads)).await
    }

    fn lost_commits(&self) -> Option<LostCommits> {
        self.lost.found()
    }

    async fn verify_seals(&self) -> Result<SealReport, StoreError> {
        self.read(Reading::verify_seals).await
    }

    async fn keep_checkpoint(&self, number: u64, text: String) -> Result<(), StoreError> {
        self.note(move |c| audit::keep_checkpoint(c, number, &text)).await
    }

    async fn walk_on(
        &self,
        walk: Walk,
        most: usize,
        audit_key: Vec<u8>,
        now_ms: i64,
    ) -> Result<WalkPart, StoreError> {
        self.read(move |c| walk::on(c, walk, most, &audit_key, now_ms)).await
    }

    async fn kept_walk(&self) -> Result<Option<Walk>, StoreError> {
        self.read(walk::kept).await
    }

    async fn keep_walk(&self, walk: Walk, now_ms: i64) -> Result<Walk, StoreError> {
        self.write(move |c| walk::keep(c, walk, now_ms)).await
    }

    async fn past(&self) -> Result<Past, StoreError> {
        self.read(audit::past).await
    }
}

#[async_trait]
impl<E: Engine> ServerStore for Database<E> {
    async fn put_server(&self, state: ServerState) -> Result<(), StoreError> {
        self.note(move |c| c.view.put_server(&state)).await
    }

    async fn servers(&self) -> Result<Vec<Server>, StoreError> {
        self.read(|c| c.view.servers()).await
    }

    async fn take_lease(&self, job: Job, time: Duration) -> Result<bool, StoreError> {
        if !E::Transaction::SEVERAL {
            return Ok(true);
        }
        let for_ms = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        self.note(move |c| c.view.take_lease(job, for_ms)).await
    }

    async fn database_now_ms(&self) -> Result<Option<i64>, StoreError> {
        self.read(|c| c.view.now_ms()).await
    }
}
