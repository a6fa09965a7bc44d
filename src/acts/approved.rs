//! Doing what enough persons approved, until it is done or refused for good.
//!
//! An act that meets a passing failure, such as an HSM that does not answer, stays APPROVED and is
//! done again with growing pauses. So is one whose server died between the last vote and the end of
//! the act, unless the chain has it: the record of an act names its approval and is written in one
//! transaction with what it does. So no act is done twice, whatever was changed since.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;

use super::{Act, Acts, Reason, Refusal};
use crate::{
    access::{
        Caller,
        approval::{self, Approval, ApprovalState, ApprovalStep},
        client::CredentialChange,
    },
    audit::{self, Actor, NewAct},
    crash,
    id::ApprovalId,
    metrics,
    store::{Job, Leases, StoreError},
};

/// The pause before an act is done again, which doubles each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// How often it is looked for acts that another server has left.
const LOOK: Duration = Duration::from_secs(30);
/// How long an act may be another server's to do.
const OF_ANOTHER_MS: i64 = 60_000;
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Acts that are approved and not ended: those being done now, and those that failed for now, with
/// why.
#[derive(Default)]
pub(super) struct Deferred {
    running: Mutex<HashSet<ApprovalId>>,
    failures: Mutex<HashMap<ApprovalId, String>>,
    changed: Notify,
}

/// An act that is being done by this task alone. Whatever way that ends, the task that does acts
/// again looks at it.
struct Running<'a> {
    deferred: &'a Deferred,
    id: ApprovalId,
}

impl Deferred {
    /// `None`: it is being done already.
    fn begin(&self, id: ApprovalId) -> Option<Running<'_>> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.insert(id).then_some(Running { deferred: self, id })
    }

    /// Why an act failed for now.
    pub(super) fn reason(&self, id: ApprovalId) -> Option<String> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    fn note(&self, id: ApprovalId, failure: Option<String>) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        match failure {
            Some(failure) => failures.insert(id, failure),
            None => failures.remove(&id),
        };
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.deferred.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
        self.deferred.changed.notify_one();
    }
}

/// The name of what came of an act that is on record, if it has one.
fn made_by(act: &audit::Act) -> String {
    let (collection, id) = match act.kind.as_str() {
        "client.created" => ("clients", "client"),
        "credential.created" => ("credentials", "credential"),
        "public_key.registered" => ("publicKeys", "public_key"),
        _ => return String::new(),
    };
    act.detail(id).map(|id| format!("{collection}/{id}")).unwrap_or_default()
}

impl Acts {
    /// Does what is approved and did not end, again and again until nothing is left, and waits for
    /// more. One server does it for all; the others leave to it what failed with them for now. Never
    /// returns.
    pub async fn finish_approved(&self, leases: &Leases) {
        let mut pause = FIRST_PAUSE;
        loop {
            let left = if leases.holds(Job::ApprovedActs).await {
                self.resume().await.unwrap_or_else(|error| {
                    tracing::error!(%error, "approved acts that did not end cannot be done again");
                    1
                })
            } else {
                0
            };
            if left == 0 {
                pause = FIRST_PAUSE;
                // What another server has left comes without a word.
                let _ = tokio::time::timeout(LOOK, self.deferred.changed.notified()).await;
            } else {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }

    /// Does once what is approved and did not end: what failed for now, and what a server left
    /// behind that died between the last vote and the end of the act. Answers how many did not end
    /// this time either.
    ///
    /// # Errors
    /// What the store says.
    pub async fn resume(&self) -> Result<usize, StoreError> {
        let mut left = 0;
        let several = self.store.chain_heads().await?.len() > 1;
        for granted in self.store.granted_approvals().await? {
            // The server at which the last vote was cast does the act, unless it vanishes.
            if several && self.clock.now_ms().saturating_sub(granted.updated_ms) < OF_ANOTHER_MS {
                left += 1;
                continue;
            }
            let ended = self.finish(&granted).await.unwrap_or_else(|error| {
                tracing::error!(approval = %granted.id, %error, "an approved act cannot be ended");
                Some(granted)
            });
            left += usize::from(ended.is_some_and(|ended| ended.state == ApprovalState::Approved));
        }
        Ok(left)
    }

    /// Does an act that was granted and notes what became of it; one that failed for now stays as
    /// it is. `None`: somebody else does it, or did.
    pub(super) async fn finish(&self, granted: &Approval) -> Result<Option<Approval>, StoreError> {
        let Some(_running) = self.deferred.begin(granted.id) else { return Ok(None) };
        // It may have ended since it was looked up.
        let found = self.store.approval(granted.id).await?;
        let Some(granted) = found.filter(|found| found.state == ApprovalState::Approved) else {
            return Ok(None);
        };
        let performed = match self.store.act_of_approval(granted.id).await? {
            Some(act) => Ok(made_by(&act)),
            None => self.perform(&granted).await,
        };
        crash::point("approval-after-act");
        if performed.is_ok() && crash::fails("approval-note") {
            return Err(StoreError::Busy);
        }
        let (to, outcome) = match performed {
            Ok(name) => (ApprovalState::Done, name),
            Err(refusal) if refusal.reason.is_passing() => {
                tracing::warn!(approval = %granted.id, failure = refusal.in_words(), "an approved act is done again later");
                self.deferred.note(granted.id, Some(refusal.in_words()));
                return Ok(Some(granted));
            }
            Err(refusal) => (ApprovalState::Failed, refusal.in_words()),
        };
        tracing::info!(approval = %granted.id, method = granted.method, state = %to, outcome, "an approved act ended");
        let now_ms = self.clock.now_ms();
        let step = ApprovalStep { from: ApprovalState::Approved, to, outcome, actor: Actor::Local, now_ms };
        let ended = self.store.step_approval(granted.id, step).await?;
        self.deferred.note(granted.id, None);
        Ok(ended)
    }

    async fn perform(&self, granted: &Approval) -> Result<String, Refusal> {
        if let Err(refused) = approval::intact(granted) {
            self.alarm(granted, &Actor::Local).await;
            return Err(refused.into());
        }
        let act = Act::from_stored(&granted.act)?;
        if act.method() != granted.method {
            tracing::error!(approval = %granted.id, "an approval is of another call than its act");
            return Err(Refusal::internal());
        }
        if !self.four_eyes.counts(granted.requester, granted).await? {
            let text = "the client that asked for it is disabled, or may not do it any more";
            return Err(Refusal::new(Reason::PermissionDenied, text));
        }
        let caller = self.four_eyes.requester(granted).await?.ok_or_else(|| {
            Refusal::new(Reason::CredentialRefused, "the client that asked for it is gone or disabled")
        })?;
        crash::point("approval-before-act");
        self.done(&caller, act).await
    }

    /// Does an act on which enough persons agreed; answers the name of what came of it, if it has
    /// one.
    async fn done(&self, caller: &Caller, act: Act) -> Result<String, Refusal> {
        let nameless = String::new();
        match act {
            Act::RegisterPublicKey(order) => {
                let key = self.public_key_registered(caller, order).await?;
                return Ok(format!("publicKeys/{}", key.id));
            }
            Act::EnablePublicKey(order) => {
                self.public_key_enabled(caller, order.public_key, true).await?;
            }
            Act::EnableConfiguration(order) => {
                self.vending.set_enabled(caller, order.configuration, true).await?;
            }
            Act::ScheduleDestruction(order) => {
                self.vending.schedule_destruction(caller, order.configuration).await?;
            }
            Act::AllowKeyChange(order) => {
                self.key_change_allowed(caller, order).await?;
            }
            Act::CreateClient(order) => {
                let client = self.client_created(caller, order).await?;
                return Ok(format!("clients/{}", client.id));
            }
            Act::UpdateClient(order) => {
                self.client_updated(caller, order).await?;
            }
            Act::EnableClient(order) => {
                self.client_enabled(caller, order.client, true).await?;
            }
            Act::CreateCredential(order) => {
                let (credential, _) = self.credential_created(caller, order).await?;
                return Ok(format!("credentials/{}", credential.key_id));
            }
            Act::EnableCredential(order) => {
                let change = CredentialChange::Enabled(true);
                self.credential_changed(caller, &order.credential, change).await?;
            }
            Act::SetCredentialExpiry(order) => {
                let change = CredentialChange::Expires(order.expires_ms);
                self.credential_changed(caller, &order.credential, change).await?;
            }
            Act::AcceptRestore(order) => self.restore_accepted(caller, &order).await?,
            Act::LowerLastTid(order) => {
                self.last_tid_lowered(caller, order).await?;
            }
        }
        Ok(nameless)
    }

    /// Says loudly that stored content was changed, on record.
    pub(super) async fn alarm(&self, changed: &Approval, actor: &Actor) {
        metrics::alarm("approval_content_changed", "");
        tracing::error!(
            alarm = "approval_content_changed",
            approval = %changed.id,
            "the stored content of an approval is not what was asked for: somebody wrote into the database"
        );
        let act = NewAct {
            kind: "rows.forged",
            actor: actor.clone(),
            details: [("rows", format!("approval {}", changed.id))].into(),
            now_ms: self.clock.now_ms(),
        };
        if let Err(error) = self.store.record_act(act).await {
            tracing::error!(%error, "the changed approval cannot be put on record");
        }
    }
}
