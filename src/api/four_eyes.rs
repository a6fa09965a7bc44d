//! The gate in front of the acts that matter: with one person it is open, with more an act waits here.

use std::{collections::HashSet, sync::Arc};

use prost::Message;
use tonic::{Request, Status};

use super::authentication::caller;
use crate::{
    access::{Caller, approval, need},
    acts::{Reason, Refusal},
    clock::Clock,
    settings::AccessSettings,
    store::{Approval, ApprovalId, ApprovalRequested, ClientId, NewApproval, Store, StoreError},
};

/// The acts that wait, by the call that does them. Nothing else is ever done from what is stored: [`Acts`](super::Acts) does these.
pub(super) mod method {
    /// Lets a key sign uploads.
    pub(crate) const REGISTER_PUBLIC_KEY: &str = "/vendkey.v1.PublicKeyService/RegisterPublicKey";
    /// Lets a disabled key sign uploads again.
    pub(crate) const ENABLE_PUBLIC_KEY: &str = "/vendkey.v1.PublicKeyService/EnablePublicKey";
    /// Lets a configuration issue.
    pub(crate) const ENABLE_CONFIGURATION: &str = "/vendkey.v1.ConfigurationService/EnableConfiguration";
    /// Destroys a key after a delay.
    pub(crate) const DESTROY_CONFIGURATION: &str =
        "/vendkey.v1.ConfigurationService/ScheduleDestroyConfiguration";
    /// Lets meters be carried from one key to another.
    pub(crate) const ALLOW_KEY_CHANGE: &str = "/vendkey.v1.ConfigurationService/AllowKeyChange";
    /// Makes a client that may do something.
    pub(crate) const CREATE_CLIENT: &str = "/vendkey.v1.ClientService/CreateClient";
    /// Raises a permission or a limit.
    pub(crate) const UPDATE_CLIENT: &str = "/vendkey.v1.ClientService/UpdateClient";
    /// Brings a client back that vends or administers.
    pub(crate) const ENABLE_CLIENT: &str = "/vendkey.v1.ClientService/EnableClient";
    /// Gives such a client one more credential.
    pub(crate) const CREATE_CREDENTIAL: &str = "/vendkey.v1.ClientService/CreateCredential";
    /// Brings a credential of such a client back.
    pub(crate) const ENABLE_CREDENTIAL: &str = "/vendkey.v1.ClientService/EnableCredential";
    /// Lets a credential of such a client live longer.
    pub(crate) const SET_CREDENTIAL_EXPIRY: &str = "/vendkey.v1.ClientService/SetCredentialExpiry";
    /// Goes on with a restored database.
    pub(crate) const ACCEPT_RESTORE: &str = "/vendkey.v1.LedgerService/AcceptRestore";
    /// Lowers the last TID of a meter.
    pub(crate) const LOWER_LAST_TID: &str = "/vendkey.v1.LedgerService/LowerLastTid";
}

/// The most bytes of a request that waits: far more than any of ours has.
const MOST_BYTES: usize = 64 * 1024;

/// Marks a request that enough persons have approved. It is put on by the server alone: nothing on the wire becomes one.
#[derive(Clone, Copy)]
pub(super) struct Approved;

/// The gate.
pub struct FourEyes {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    settings: AccessSettings,
}

impl FourEyes {
    /// A gate by these settings.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, settings: AccessSettings) -> Self {
        Self { store, clock, settings }
    }

    /// How many persons an act takes, the requester included.
    pub fn needed(&self) -> u32 {
        self.settings.approvals
    }

    /// Lets a call pass that needs no second person, or has them; stores it otherwise and refuses it with APPROVAL_PENDING.
    ///
    /// `summary` says for people what exactly will happen, and is asked for only when the act waits; `None`: nothing will, since it is so
    /// already. Whatever is wrong with the request must be said before: an act that cannot succeed must bother nobody.
    pub(super) async fn pass<T: Message>(
        &self,
        request: &Request<T>,
        method: &'static str,
        summary: impl Future<Output = Result<Option<String>, Refusal>>,
    ) -> Result<(), Status> {
        if self.needed() <= 1 || request.extensions().get::<Approved>().is_some() {
            return Ok(());
        }
        let Some(summary) = summary.await? else { return Ok(()) };
        let caller = caller(request)?;
        Err(self.ask(&caller, method, request.get_ref().encode_to_vec(), summary).await?.into())
    }

    /// Stores the act and answers the refusal that says so.
    async fn ask(
        &self,
        caller: &Caller,
        method: &str,
        request: Vec<u8>,
        summary: String,
    ) -> Result<Refusal, Refusal> {
        if request.len() > MOST_BYTES {
            let fault = ("request".to_owned(), format!("at most {MOST_BYTES} bytes can wait for approval"));
            return Err(Refusal::fields(Reason::InvalidFields, vec![fault]));
        }
        let mut salt = [0; 16];
        getrandom::fill(&mut salt).map_err(|error| {
            tracing::error!(%error, "no randomness");
            Refusal::internal()
        })?;
        self.expire().await?;
        let now_ms = self.clock.now_ms();
        let expiry_ms = i64::try_from(self.settings.approval_expiry.as_millis()).unwrap_or(i64::MAX);
        let mut new = NewApproval {
            id: ApprovalId::generate(),
            requester: caller.client,
            credential: caller.key_id.to_string(),
            method: method.to_owned(),
            request,
            summary,
            salt,
            content_sha256: [0; 32],
            expires_ms: now_ms.saturating_add(expiry_ms),
            now_ms,
        };
        new.content_sha256 = approval::hash_of_new(&new);
        let waiting = match self.store.request_approval(new).await? {
            ApprovalRequested::New(waiting) => {
                tracing::info!(approval = %waiting.id, requester = %waiting.requester, method, "an act waits for approval");
                waiting
            }
            ApprovalRequested::Existing(waiting) => waiting,
            ApprovalRequested::TooMany => {
                return Err(Refusal::new(
                    Reason::ApprovalsLimited,
                    format!(
                        "{} acts of this client wait for approval already",
                        crate::store::PENDING_PER_CLIENT
                    ),
                ));
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

    /// Whether a person counts now: the client is enabled, may make this call itself, and its rights are about all that the requester's
    /// are about, whatever part of that the act is about.
    pub(super) async fn counts(&self, person: ClientId, waiting: &Approval) -> Result<bool, StoreError> {
        let Some(client) = self.store.client(person).await? else { return Ok(false) };
        let admits = need(&waiting.method).is_some_and(|need| need.admits(&client.rights));
        if !client.enabled || !admits || person == waiting.requester {
            return Ok(client.enabled && admits);
        }
        let requester = self.store.client(waiting.requester).await?;
        Ok(requester.is_some_and(|requester| !requester.rights.widens(&client.rights)))
    }

    /// Who asked, as the handler of the call is to see him. `None`: disabled since.
    pub(super) async fn requester(&self, granted: &Approval) -> Result<Option<Caller>, StoreError> {
        let holder = self.store.credential(&granted.credential).await?;
        let holder = holder.filter(|holder| holder.client.enabled && holder.client.id == granted.requester);
        Ok(holder.and_then(|holder| {
            let key_id = holder.credential.key_id.parse().ok()?;
            Some(Caller::new(&holder.client, key_id))
        }))
    }

    /// Ends what waits past its time.
    pub(super) async fn expire(&self) -> Result<(), StoreError> {
        self.store.expire_approvals(self.clock.now_ms()).await
    }

    /// The time.
    pub(super) fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    /// The store.
    pub(super) fn store(&self) -> &dyn Store {
        self.store.as_ref()
    }
}
