//! Checkpoints: the heads of all chains, signed by the HSM every so often, kept in the database and in a
//! file apart from it.
//!
//! The file is what tells a restored database: see [`lacking`].

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

use super::ending::{Stage, closing};
use crate::{
    acts::Refusals,
    audit::{Actor, Checkpoint, Head, NewAct, SignedCheckpoint},
    custody::checkpoint_file,
    hsm::{AuditKey, HsmError},
    metrics,
    settings::StoreSettings,
    store::{Past, SealReport, Store, StoreError},
    vending::{IssueGuard, Stop, lacking},
};

/// How often it is looked whether a checkpoint is due.
const LOOK: Duration = Duration::from_secs(1);
/// The seals of rows are checked at each tenth look.
const SEALS_EVERY: u32 = 10;

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
    settings: StoreSettings,
    /// The audit key as SubjectPublicKeyInfo.
    key: Vec<u8>,
    number: u64,
    /// The last positions of all chains together at the last checkpoint.
    records: u64,
    made: Instant,
    told: Option<Stop>,
    seals: SealReport,
}

/// What the database and the file beside it say at a start: why the database is not to be believed,
/// if so, and the number of the last checkpoint.
pub(super) async fn examine(
    hsm: &dyn AuditKey,
    store: &dyn Store,
    settings: &StoreSettings,
    past: &Past,
) -> Result<(Option<Stop>, u64), CheckpointFailure> {
    let key = hsm.audit_public_key().await?.spki_der;
    let kept = checkpoint_file::read(&settings.checkpoint_file)?;
    let own = store.chain_head().await?;
    // A server that joins others has no file yet.
    let missing = kept.is_none() && past.checkpoint.is_some() && own.position > 0;
    let (mut stop, mut number) = (None, 0);
    for text in [kept.as_ref(), past.checkpoint.as_ref()].into_iter().flatten() {
        let signed = SignedCheckpoint::parse(text).and_then(|signed| signed.verify(&key).map(|()| signed));
        let checkpoint = match signed {
            Ok(signed) => signed.checkpoint,
            Err(error) => {
                stop = stop.or(Some(Stop::BehindCheckpoint { reason: error.to_string(), position: 0 }));
                continue;
            }
        };
        number = number.max(checkpoint.number);
        let named = checkpoint.head(own.chain).map_or(0, |head| head.position);
        // The server ended before it could make a checkpoint of what was accepted.
        if named > 0 && store.restore_accepted_after(named).await? {
            continue;
        }
        stop = stop.or(lacking(store, &checkpoint).await?);
        // As after a restore from a backup: nobody can tell whether the database has forgotten
        // tokens.
        if missing {
            let reason = "the checkpoint file is missing".to_owned();
            stop = stop.or(Some(Stop::BehindCheckpoint { reason, position: named }));
        }
    }
    Ok((stop, number))
}

impl Checkpoints {
    pub(super) async fn new(
        hsm: Arc<dyn AuditKey>,
        store: Arc<dyn Store>,
        guard: Arc<IssueGuard>,
        settings: StoreSettings,
        number: u64,
    ) -> Result<Self, HsmError> {
        let key = hsm.audit_public_key().await?.spki_der;
        let made = Instant::now();
        Ok(Self {
            hsm,
            store,
            guard,
            settings,
            key,
            number,
            records: 0,
            made,
            told: None,
            seals: SealReport::default(),
        })
    }

    /// Makes checkpoints as they come due, and puts refusals and stops on record, until no call
    /// runs any more; then writes what is left. Never leaves a checkpoint half made, since the next
    /// would then be refused its number.
    pub(super) async fn run(mut self, refusals: Arc<Refusals>, mut stages: watch::Receiver<Stage>) {
        self.watch(&refusals, &mut stages).await;
        if let Err(error) = refusals.write_all().await {
            tracing::error!(%error, "refusals cannot be put on record");
        }
        if let Err(error) = self.make().await {
            tracing::error!(%error, "no last checkpoint can be made");
        }
    }

    async fn watch(&mut self, refusals: &Refusals, stages: &mut watch::Receiver<Stage>) {
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
            if count.is_multiple_of(SEALS_EVERY) {
                self.look_at_seals().await;
            }
            self.tell_stop().await;
            self.look_at_clock().await;
            if let Err(error) = refusals.write_due().await {
                tracing::error!(%error, "refusals cannot be put on record");
            }
            match self.make_if_due().await {
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

    /// Looks whether all rows that decide bear their seals and are all there; what is not so is
    /// told once and put on record.
    pub(super) async fn look_at_seals(&mut self) {
        let report = match self.store.verify_seals().await {
            Ok(report) => report,
            Err(error) => return tracing::warn!(%error, "the seals of rows cannot be checked"),
        };
        self.guard.rows_changed(report.rows_missing);
        if report == self.seals {
            return;
        }
        if !report.forged.is_empty() || report.rows_missing {
            let rows = report.forged.join(", ");
            metrics::alarm("rows_forged", "");
            tracing::error!(
                rows,
                taken_out_or_put_back = report.rows_missing,
                "rows that decide were changed by somebody else"
            );
            let act = NewAct {
                kind: "rows.forged",
                actor: Actor::Local,
                details: BTreeMap::from([
                    ("rows", rows),
                    ("taken_out_or_put_back", report.rows_missing.to_string()),
                ]),
                now_ms: self.guard.now_ms(),
            };
            if let Err(error) = self.store.record_act(act).await {
                return tracing::error!(%error, "forged rows cannot be put on record");
            }
        }
        self.seals = report;
    }

    /// Looks whether a clock that was in doubt is proved right, and believes it once that is on
    /// record.
    pub(super) async fn look_at_clock(&mut self) {
        let Some((doubt, proof)) = self.guard.proved() else { return };
        let act = NewAct {
            kind: "clock.believed",
            actor: Actor::Local,
            details: BTreeMap::from([("doubt", doubt.to_string()), ("proof", proof.to_string())]),
            now_ms: self.guard.now_ms(),
        };
        match self.store.record_act(act).await {
            Ok(()) => {
                tracing::warn!(%doubt, %proof, "the clock is believed again");
                self.guard.believe_proved();
            }
            Err(error) => tracing::error!(%error, "that the clock is right cannot be put on record"),
        }
    }

    /// Puts on record that issuing stopped, when it did.
    async fn tell_stop(&mut self) {
        let stop = self.guard.pass().err();
        if stop == self.told {
            return;
        }
        if let Some(stop) = &stop {
            tracing::error!(%stop, "nothing is issued");
            metrics::alarm("issuing_stopped", "");
            let act = NewAct {
                kind: "issuing.stopped",
                actor: Actor::Local,
                details: BTreeMap::from([("reason", stop.to_string())]),
                now_ms: self.guard.now_ms(),
            };
            if let Err(error) = self.store.record_act(act).await {
                tracing::error!(%error, "the stop cannot be put on record");
                return;
            }
            // So that a server that is killed now does not forget the doubt.
            if stop.is_of_the_clock()
                && let Err(error) = self.store.probe(self.guard.sign_of_life()).await
            {
                tracing::error!(%error, "the doubt cannot be kept for the next start");
            }
        } else {
            tracing::info!("issuing goes on");
        }
        self.told = stop;
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
        if self.guard.database_stop().is_some() {
            return Ok(());
        }
        let heads = self.store.chain_heads().await?;
        let records = records(&heads);
        let checkpoint = Checkpoint::new(self.number + 1, self.guard.now_ms(), heads);
        let signature = self.hsm.sign_checkpoint(checkpoint.text(&self.key).as_bytes()).await?;
        let text = checkpoint.signed(&self.key, signature).to_text();
        // The file first: that it is missing beside a database with checkpoints then always means
        // something.
        checkpoint_file::write(&self.settings.checkpoint_file, &text)?;
        self.number += 1;
        self.store.keep_checkpoint(self.number, text).await?;
        (self.records, self.made) = (records, Instant::now());
        Ok(())
    }
}

/// The last positions of all chains together.
fn records(heads: &[Head]) -> u64 {
    heads.iter().fold(0, |all, head| all.saturating_add(head.position))
}
