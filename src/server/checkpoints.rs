//! Checkpoints: the heads of all chains, signed by the HSM every so often, kept in the database and
//! in a file apart from it.
//!
//! One server makes them for all ([`Job::Checkpoints`]). Every server keeps the last one in a file
//! of its own and in its memory, and compares the database with it: that tells a database that has
//! forgotten records, of whichever chain, see [`lacking`]. So does what a server saw of all chains a
//! second before.
//!
//! A restore is accepted at one server; the others follow as soon as they see that on record.

use std::{
    collections::BTreeMap,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use super::{
    ending::{Stage, closing},
    trust::Trust,
};
use crate::{
    acts::Refusals,
    audit::{Actor, Checkpoint, CheckpointError, Head, NewAct, SignedCheckpoint},
    custody::checkpoint_file,
    hsm::{AuditKey, HsmError},
    metrics,
    settings::StoreSettings,
    store::{Job, Leases, Past, Store, StoreError},
    vending::{IssueGuard, Stop, lacking},
};

/// How often it is looked whether a checkpoint is due.
const LOOK: Duration = Duration::from_secs(1);
/// Once in how many looks it is looked at what costs more: the seals of rows, and the database against
/// the last checkpoint.
const SELDOM: u32 = 10;

/// Why there is no checkpoint.
#[derive(Debug, thiserror::Error)]
pub(super) enum CheckpointFailure {
    /// The HSM does not sign.
    #[error(transparent)]
    Hsm(#[from] HsmError),
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file cannot be read or written.
    #[error("the checkpoint file: {0}")]
    File(#[from] io::Error),
}

/// Makes the checkpoints of one server.
pub(super) struct Checkpoints {
    hsm: Arc<dyn AuditKey>,
    store: Arc<dyn Store>,
    guard: Arc<IssueGuard>,
    leases: Arc<Leases>,
    settings: StoreSettings,
    /// The audit key as SubjectPublicKeyInfo.
    key: Vec<u8>,
    /// The number of the last checkpoint.
    number: u64,
    /// What the database is compared with: the last checkpoint that it fitted.
    last: Option<Checkpoint>,
    /// The heads of all chains at the last look, which nobody has signed.
    seen: Option<Checkpoint>,
    /// Whether the database was in doubt at the last look.
    doubted: bool,
    /// The number of the last checkpoint that the database is known to have.
    in_database: u64,
    /// The last positions of all chains together at the last checkpoint.
    records: u64,
    made: Instant,
}

/// What the database and the file beside it say at a start.
#[derive(Debug, Default)]
pub(super) struct Examined {
    /// Why the database is not to be believed, if so.
    pub(super) stop: Option<Stop>,
    /// The number of the last checkpoint.
    number: u64,
    /// The last checkpoint that the database fits.
    last: Option<Checkpoint>,
    /// Whether there is no file, and the text of the database's last checkpoint, with which it may begin.
    without_file: Option<Option<String>>,
}

/// Looks at both.
pub(super) async fn examine(
    hsm: &dyn AuditKey,
    store: &dyn Store,
    settings: &StoreSettings,
    past: &Past,
) -> Result<Examined, CheckpointFailure> {
    let key = hsm.audit_public_key().await?.spki_der;
    let kept = checkpoint_file::read(&settings.checkpoint_file)?;
    let own = store.chain_head().await?;
    // A server that has not run yet has no file.
    let missing = kept.is_none() && past.checkpoint.is_some() && past.has_run;
    let without_file = kept.is_none().then(|| past.checkpoint.clone());
    let mut examined = Examined { without_file, ..Examined::default() };
    for text in [kept.as_ref(), past.checkpoint.as_ref()].into_iter().flatten() {
        let checkpoint = match verified(text, &key) {
            Ok(checkpoint) => checkpoint,
            Err(error) => {
                examined.doubt(Some(doubt(store, error.to_string(), 0).await?));
                continue;
            }
        };
        examined.number = examined.number.max(checkpoint.number);
        let named = checkpoint.head(own.chain).map_or(0, |head| head.position);
        // The server ended before it could make a checkpoint of what was accepted.
        if named > 0 && store.restore_accepted_after(named).await? {
            continue;
        }
        examined.doubt(lacking(store, &checkpoint).await?);
        // As after a restore from a backup: nobody can tell whether the database has forgotten
        // tokens.
        if missing {
            let reason = "the checkpoint file is missing".to_owned();
            examined.doubt(Some(doubt(store, reason, named).await?));
        }
        if examined.last.as_ref().is_none_or(|last| last.number < checkpoint.number) {
            examined.last = Some(checkpoint);
        }
    }
    Ok(examined)
}

/// A doubt of which nobody knows since when: only what is put on record from now on is later.
async fn doubt(store: &dyn Store, reason: String, position: u64) -> Result<Stop, StoreError> {
    Ok(Stop::BehindCheckpoint { reason, position, since: store.chain_heads().await? })
}

impl Examined {
    fn doubt(&mut self, stop: Option<Stop>) {
        self.stop = self.stop.take().or(stop);
    }
}

/// A checkpoint that the audit key has signed.
fn verified(text: &str, key: &[u8]) -> Result<Checkpoint, CheckpointError> {
    let signed = SignedCheckpoint::parse(text)?;
    signed.verify(key)?;
    Ok(signed.checkpoint)
}

impl Checkpoints {
    pub(super) async fn new(
        hsm: Arc<dyn AuditKey>,
        store: Arc<dyn Store>,
        guard: Arc<IssueGuard>,
        leases: Arc<Leases>,
        settings: StoreSettings,
        examined: Examined,
    ) -> Result<Self, HsmError> {
        let key = hsm.audit_public_key().await?.spki_der;
        let Examined { stop, number, last, without_file } = examined;
        let (doubted, made) = (stop.is_some(), Instant::now());
        let (seen, records) = (None, 0);
        // The file is written first: a server that was killed then has not come to the database.
        let in_database = number.saturating_sub(1);
        let new = Self {
            hsm,
            store,
            guard,
            leases,
            settings,
            key,
            number,
            last,
            seen,
            doubted,
            in_database,
            records,
            made,
        };
        if let Some(begin_with) = without_file.filter(|_| !doubted)
            && let Err(error) = new.begin_file(begin_with).await
        {
            tracing::error!(%error, "no checkpoint can be made");
        }
        Ok(new)
    }

    /// Writes the file before the server has done anything: that it is missing later then always
    /// means something, also where the server was killed before it could make a checkpoint or learn
    /// another's. It begins with the database's last one, or with one that has the number 0 and is
    /// in no database.
    async fn begin_file(&self, last: Option<String>) -> Result<(), CheckpointFailure> {
        let text = match last {
            Some(text) => text,
            None => {
                let first = Checkpoint::new(0, self.guard.now_ms(), self.store.chain_heads().await?);
                let signature = self.hsm.sign_checkpoint(first.text(&self.key).as_bytes()).await?;
                first.signed(&self.key, signature).to_text()
            }
        };
        Ok(checkpoint_file::write(&self.settings.checkpoint_file, &text)?)
    }

    /// Makes checkpoints as they come due, and looks at what issuing rests on and puts refusals on
    /// record, until no call runs any more; then writes what is left. Never leaves a checkpoint half
    /// made, since the next would then be refused its number.
    pub(super) async fn run(
        mut self,
        mut trust: Trust,
        refusals: Arc<Refusals>,
        mut stages: watch::Receiver<Stage>,
    ) {
        self.watch(&mut trust, &refusals, &mut stages).await;
        if let Err(error) = refusals.write_all().await {
            tracing::error!(%error, "refusals cannot be put on record");
        }
        if let Err(error) = self.make().await {
            tracing::error!(%error, "no last checkpoint can be made");
        }
    }

    async fn watch(&mut self, trust: &mut Trust, refusals: &Refusals, stages: &mut watch::Receiver<Stage>) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failing = false;
        let mut count: u32 = 0;
        loop {
            tokio::select! {
                _ = looks.tick() => {}
                () = closing(stages) => return,
            }
            count = count.wrapping_add(1);
            let seldom = count.is_multiple_of(SELDOM);
            if seldom {
                trust.look_at_seals().await;
            }
            trust.look_at_database().await;
            trust.tell_stop().await;
            trust.look_at_clock().await;
            if let Err(error) = refusals.write_due().await {
                tracing::error!(%error, "refusals cannot be put on record");
            }
            match self.look(seldom).await {
                Ok(()) => failing = false,
                // Said once; the next look tries again.
                Err(error) if !failing => {
                    failing = true;
                    tracing::error!(%error, "no checkpoint can be made");
                }
                Err(_) => {}
            }
        }
    }

    async fn look(&mut self, seldom: bool) -> Result<(), CheckpointFailure> {
        let doubted = self.guard.database_stop().is_some();
        let accepted = std::mem::replace(&mut self.doubted, doubted) && !doubted;
        if doubted {
            self.seen = None;
            self.follow().await
        } else if accepted {
            // What is lacking is not to be looked for any more.
            (self.last, self.in_database) = (None, 0);
            self.make().await
        } else {
            self.compare_with_seen().await?;
            if seldom {
                self.learn().await?;
            }
            if self.leases.holds(Job::Checkpoints).await { self.make_if_due().await } else { Ok(()) }
        }
    }

    /// Compares the database with what it had at the last look: a server on whose chain nothing is
    /// lacking learns so that others lack records, before it gives their identifiers again.
    async fn compare_with_seen(&mut self) -> Result<(), StoreError> {
        if let Some(seen) = &self.seen
            && let Some(stop) = lacking(self.store.as_ref(), seen).await?
        {
            self.guard.doubt_database(stop);
        } else {
            self.seen = Some(Checkpoint::new(0, 0, self.store.chain_heads().await?));
        }
        Ok(())
    }

    /// Goes on with a restored database that was accepted at another server since it was found to be
    /// one: the floors that were raised there hold here too, and the numbers of this server's
    /// records go on behind those that were lost.
    async fn follow(&mut self) -> Result<(), CheckpointFailure> {
        let Some(Stop::BehindCheckpoint { reason, position, since }) = self.guard.database_stop() else {
            return Ok(());
        };
        let Some(chain) = self.store.restore_accepted_since(since).await? else { return Ok(()) };
        let details = BTreeMap::from([
            ("doubt", reason),
            ("checkpoint", position.to_string()),
            ("accepted_in_chain", chain.to_string()),
        ]);
        self.store.follow_restore(position, details, self.guard.now_ms()).await?;
        tracing::warn!(%chain, "the restored database was accepted at another server");
        self.guard.accept_database();
        Ok(())
    }

    async fn make_if_due(&mut self) -> Result<(), CheckpointFailure> {
        let records = records(&self.store.chain_heads().await?).saturating_sub(self.records);
        let due = self.made.elapsed() >= Duration::from_secs(self.settings.checkpoint_seconds.into())
            || records >= self.settings.checkpoint_records.into();
        if records > 0 && due { self.make().await } else { Ok(()) }
    }

    /// Makes a checkpoint now. Not while the database is in doubt: it would overwrite what the
    /// doubt rests on.
    pub(super) async fn make(&mut self) -> Result<(), CheckpointFailure> {
        self.learn().await?;
        if self.guard.database_stop().is_some() {
            return Ok(());
        }
        let heads = self.store.chain_heads().await?;
        let records = records(&heads);
        let checkpoint = Checkpoint::new(self.number + 1, self.guard.now_ms(), heads);
        let signature = self.hsm.sign_checkpoint(checkpoint.text(&self.key).as_bytes()).await?;
        let text = checkpoint.clone().signed(&self.key, signature).to_text();
        // The file first: that it is missing beside a database with checkpoints then always means
        // something.
        checkpoint_file::write(&self.settings.checkpoint_file, &text)?;
        self.number += 1;
        self.store.keep_checkpoint(self.number, text).await?;
        self.in_database = self.number;
        (self.last, self.records, self.made) = (Some(checkpoint), records, Instant::now());
        Ok(())
    }

    /// Looks for a checkpoint that another server has made since, keeps it, and compares the
    /// database with the last one.
    async fn learn(&mut self) -> Result<(), CheckpointFailure> {
        if self.guard.database_stop().is_some() {
            return Ok(());
        }
        let mut newer = None;
        let found = self.store.past().await?.checkpoint;
        if found.is_none() {
            self.look_for_missing(0).await?;
        }
        if let Some(text) = found {
            match verified(&text, &self.key) {
                Ok(checkpoint) if checkpoint.number > self.number => newer = Some((checkpoint, text)),
                Ok(checkpoint) => self.look_for_missing(checkpoint.number).await?,
                Err(error) => tracing::error!(%error, "the database's last checkpoint is not believed"),
            }
        }
        for checkpoint in self.last.iter().chain(newer.as_ref().map(|(checkpoint, _)| checkpoint)) {
            if let Some(stop) = lacking(self.store.as_ref(), checkpoint).await? {
                self.guard.doubt_database(stop);
                return Ok(());
            }
        }
        if let Some((checkpoint, text)) = newer {
            checkpoint_file::write(&self.settings.checkpoint_file, &text)?;
            (self.number, self.in_database) = (checkpoint.number, checkpoint.number);
            (self.records, self.made) = (records(&checkpoint.heads), Instant::now());
            self.last = Some(checkpoint);
        }
        Ok(())
    }
}

impl Checkpoints {
    /// Tells that the database's last checkpoints were taken out. Nothing is lost by that: the last
    /// one is in the file too.
    async fn look_for_missing(&mut self, found: u64) -> Result<(), StoreError> {
        let had = std::mem::replace(&mut self.in_database, found);
        if found >= had {
            return Ok(());
        }
        tracing::error!(had, found, "the database's last checkpoints were taken out by somebody else");
        metrics::alarm("checkpoints_missing", "");
        let details = BTreeMap::from([("had", had.to_string()), ("found", found.to_string())]);
        let now_ms = self.guard.now_ms();
        self.store
            .record_act(NewAct { kind: "checkpoints.missing", actor: Actor::Local, details, now_ms })
            .await
    }
}

/// The last positions of all chains together.
fn records(heads: &[Head]) -> u64 {
    heads.iter().fold(0, |all, head| all.saturating_add(head.position))
}

#[cfg(test)]
mod tests;
