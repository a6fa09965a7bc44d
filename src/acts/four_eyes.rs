//! Which acts wait for more than one person, and who counts as a person for them.

use std::{collections::HashSet, sync::Arc};

use super::{Act, Acts, Reason, Refusal};
use crate::{
    access::{
        Caller,
        approval::{self, Approval, ApprovalRequested, ApprovalState, PENDING_PER_CLIENT},
        need,
    },
    clock::Clock,
    id::{ApprovalId, ClientId},
    settings::AccessSettings,
    store::{Store, StoreError},
};

/// The most bytes of an act that waits: far more than any of ours has.
const MOST_BYTES: usize = 64 * 1024;

/// Stores what waits, and counts who is for it.
pub(super) struct FourEyes {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    settings: AccessSettings,
}

impl Acts {
    /// Lets an act pass that needs no second person; stores it otherwise, and refuses it with
    /// APPROVAL_PENDING.
    ///
    /// `summary` says for people what exactly will happen, and is asked for only where acts wait;
    /// `None`: nothing will, since it is so already. Whatever is wrong with the order must be said
    /// by it: an act that cannot succeed must bother nobody.
    pub(super) async fn agreed(
        &self,
        caller: &Caller,
        summary: impl Future<Output = Result<Option<String>, Refusal>>,
        act: impl FnOnce() -> Act,
    ) -> Result<(), Refusal> {
        if self.four_eyes.needed() <= 1 {
            return Ok(());
        }
        match summary.await? {
            None => Ok(()),
            Some(summary) => Err(self.four_eyes.ask(caller, &act(), summary).await?),
        }
    }
}

impl FourEyes {
    /// By these settings.
    pub(super) fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, settings: AccessSettings) -> Self {
        Self { store, clock, settings }
    }

    /// How many persons an act takes, the requester included.
    pub(super) fn needed(&self) -> u32 {
        self.settings.approvals
    }

    /// Stores the act and answers the refusal that says so.
    async fn ask(&self, caller: &Caller, act: &Act, summary: String) -> Result<Refusal, Refusal> {
        let stored = act.to_stored().map_err(|error| {
            tracing::error!(%error, "an act cannot be stored");
            Refusal::internal()
        })?;
        if stored.len() > MOST_BYTES {
            return Err(Refusal::field(
                "request",
                format!("at most {MOST_BYTES} bytes can wait for approval"),
            ));
        }
        let mut salt = [0; 16];
        getrandom::fill(&mut salt).map_err(|error| {
            tracing::error!(%error, "no randomness");
            Refusal::internal()
        })?;
        self.expire().await?;
        let now_ms = self.clock.now_ms();
        let expiry_ms = i64::try_from(self.settings.approval_expiry.as_millis()).unwrap_or(i64::MAX);
        let mut new = Approval {
            id: ApprovalId::generate(),
            requester: caller.client,
            credential: caller.key_id.to_string(),
            method: act.method().to_owned(),
            act: stored,
            summary,
            salt,
            content_sha256: [0; 32],
            state: ApprovalState::Pending,
            outcome: String::new(),
            created_ms: now_ms,
            expires_ms: now_ms.saturating_add(expiry_ms),
            updated_ms: now_ms,
            votes: Vec::new(),
        };
        new.content_sha256 = approval::hash_of(&new);
        let waiting = match self.store.request_approval(new).await? {
            ApprovalRequested::New(waiting) => {
                tracing::info!(approval = %waiting.id, requester = %waiting.requester, method = waiting.method, "an act waits for approval");
                waiting
            }
            ApprovalRequested::Existing(waiting) => waiting,
            ApprovalRequested::TooMany => {
                let text = format!("{PENDING_PER_CLIENT} acts of this client wait for approval already");
                return Err(Refusal::new(Reason::ApprovalsLimited, text));
            }
        };
        let missing = self.missing(&waiting).await?;
        let persons = if missing == 1 { "person" } else { "persons" };
        let message = format!("{missing} more {persons} must approve: {}", waiting.summary);
        Ok(Refusal::new(Reason::ApprovalPending, message)
            .metadata("approval", format!("approvals/{}", waiting.id))
            .metadata("missing", missing.to_string()))
    }

    /// How many persons an act still lacks, as things are now.
    pub(super) async fn missing(&self, waiting: &Approval) -> Result<u32, StoreError> {
        let mut counted = HashSet::new();
        for person in approval::persons(waiting) {
            if self.counts(person, waiting).await? {
                counted.insert(person);
            }
        }
        Ok(approval::missing(waiting, self.needed(), |person| counted.contains(&person)))
    }

    /// Whether a person counts now: the client is enabled, may make this call itself, and its
    /// rights are about all that the requester's are about, whatever part of that the act is about.
    pub(super) async fn counts(&self, person: ClientId, waiting: &Approval) -> Result<bool, StoreError> {
        let Some(client) = self.store.client(person).await? else { return Ok(false) };
        let admits = need(&waiting.method).is_some_and(|need| need.admits(&client.rights));
        if !client.enabled || !admits || person == waiting.requester {
            return Ok(client.enabled && admits);
        }
        let requester = self.store.client(waiting.requester).await?;
        Ok(requester.is_some_and(|requester| !requester.rights.widens(&client.rights)))
    }

    /// Who asked, as the caller of the act that was approved. `None`: disabled since.
    pub(super) async fn requester(&self, granted: &Approval) -> Result<Option<Caller>, StoreError> {
        let holder = self.store.credential(&granted.credential).await?;
        let holder = holder.filter(|holder| holder.client.enabled && holder.client.id == granted.requester);
        Ok(holder.and_then(|holder| {
            let key_id = holder.credential.key_id.parse().ok()?;
            Some(Caller { approval: Some(granted.id), ..Caller::new(&holder.client, key_id) })
        }))
    }

    /// Ends what waits past its time.
    pub(super) async fn expire(&self) -> Result<(), StoreError> {
        self.store.expire_approvals(self.clock.now_ms()).await
    }
}
