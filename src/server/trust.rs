//! Looks at what issuing rests on: the clock, the database, the rows that decide. What is in doubt
//! stops issuing, on record, by [`IssueGuard`].

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    audit::{Actor, NewAct},
    metrics,
    store::{Job, Leases, SealReport, Store},
    vending::{IssueGuard, Stop},
};

/// What was seen last.
pub(super) struct Trust {
    store: Arc<dyn Store>,
    guard: Arc<IssueGuard>,
    leases: Arc<Leases>,
    told: Option<Stop>,
    seals: SealReport,
}

impl Trust {
    pub(super) fn new(store: Arc<dyn Store>, guard: Arc<IssueGuard>, leases: Arc<Leases>) -> Self {
        Self { store, guard, leases, told: None, seals: SealReport::default() }
    }

    /// Looks whether all rows that decide bear their seals and are all there; what is not so is
    /// told once and put on record. Every server looks, and one of them records.
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
            let details =
                BTreeMap::from([("rows", rows), ("taken_out_or_put_back", report.rows_missing.to_string())]);
            if self.leases.holds(Job::Seals).await && !self.record("rows.forged", details).await {
                return;
            }
        }
        self.seals = report;
    }

    /// Looks whether a clock that was in doubt is proved right, and believes it once that is on
    /// record.
    pub(super) async fn look_at_clock(&self) {
        let Some((doubt, proof)) = self.guard.proved() else { return };
        let details = BTreeMap::from([("doubt", doubt.to_string()), ("proof", proof.to_string())]);
        if self.record("clock.believed", details).await {
            tracing::warn!(%doubt, %proof, "the clock is believed again");
            self.guard.believe_proved();
        }
    }

    /// Looks at the clock of the database, where it has one, and at what the database has
    /// forgotten.
    pub(super) async fn look_at_database(&self) {
        let before = self.guard.now_ms();
        match self.store.database_now_ms().await {
            Ok(Some(theirs)) => {
                let after = self.guard.now_ms();
                // Its clock was read between the two: what the way takes is no difference.
                self.guard.database_clock((before - theirs).max(0) + (after - theirs).min(0));
            }
            Ok(None) => {}
            Err(error) => tracing::debug!(%error, "the clock of the database cannot be read"),
        }
        if let Some(lost) = self.store.lost_commits()
            && self.guard.database_stop().is_none()
        {
            let (reason, position) = (lost.to_string(), lost.written);
            let since = self.store.chain_heads().await.unwrap_or_default();
            self.guard.doubt_database(Stop::BehindCheckpoint { reason, position, since });
        }
    }

    /// Puts on record that issuing stopped, when it did.
    pub(super) async fn tell_stop(&mut self) {
        let stop = self.guard.pass().err();
        if stop == self.told {
            return;
        }
        if let Some(stop) = &stop {
            tracing::error!(%stop, "nothing is issued");
            metrics::alarm("issuing_stopped", "");
            if !self.record("issuing.stopped", BTreeMap::from([("reason", stop.to_string())])).await {
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

    /// Whether an act is on record.
    async fn record(&self, kind: &'static str, details: BTreeMap<&'static str, String>) -> bool {
        let act = NewAct { kind, actor: Actor::Local, details, now_ms: self.guard.now_ms() };
        let recorded = self.store.record_act(act).await;
        recorded.inspect_err(|error| tracing::error!(%error, kind, "an act cannot be put on record")).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::{Clock as _, SystemClock},
        store::{SoftwareSealer, memory::Memory},
    };

    #[tokio::test]
    async fn a_clock_far_from_the_databases_stops_issuing_until_both_agree() {
        let memory = Memory::default();
        let store = Arc::new(memory.open(Arc::new(SoftwareSealer([1; 32]))).unwrap());
        let clock = Arc::new(SystemClock);
        let guard = Arc::new(IssueGuard::new(clock.clone(), None, None));
        let leases = Arc::new(Leases::new(store.clone(), clock.clone()));
        let trust = Trust::new(store, guard.clone(), leases);
        for (theirs_ms, passes) in [(0, true), (45_000, false), (5_000, true), (-45_000, false), (0, true)] {
            memory.set_clock(Some(clock.now_ms() + theirs_ms));
            trust.look_at_database().await;
            assert_eq!(guard.pass().is_ok(), passes, "{theirs_ms} ms");
        }
    }
}
