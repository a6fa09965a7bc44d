//! Doing what enough persons approved: the stored request goes to the very handler that would have taken it from the wire.

use std::sync::Arc;

use prost::Message;
use tonic::{Request, Response, Status};
use tonic_types::StatusExt as _;

use super::{
    Clients, Configurations, Ledger, PublicKeys,
    four_eyes::{Approved, FourEyes, method},
    v1::{
        client_service_server::ClientService as _, configuration_service_server::ConfigurationService as _,
        ledger_service_server::LedgerService as _, public_key_service_server::PublicKeyService as _,
    },
};
use crate::{
    access::{Caller, approval},
    acts::{Reason, Refusal},
    crash,
    store::{Actor, Approval, ApprovalState, ApprovalStep, NewAct, StoreError},
};

/// The services whose acts can wait.
pub struct Acts {
    four_eyes: Arc<FourEyes>,
    configurations: Arc<Configurations>,
    public_keys: Arc<PublicKeys>,
    clients: Arc<Clients>,
    ledger: Arc<Ledger>,
}

impl Acts {
    /// Over the services.
    pub fn new(
        four_eyes: Arc<FourEyes>,
        configurations: Arc<Configurations>,
        public_keys: Arc<PublicKeys>,
        clients: Arc<Clients>,
        ledger: Arc<Ledger>,
    ) -> Self {
        Self { four_eyes, configurations, public_keys, clients, ledger }
    }

    /// The one table of acts that wait. Every one may be done twice: a server that died in the middle does it again.
    async fn call(&self, approval: &Approval, caller: Caller) -> Result<String, Status> {
        let stored = Stored { request: &approval.request, caller };
        match approval.method.as_str() {
            method::REGISTER_PUBLIC_KEY => {
                let key = self.public_keys.register_public_key(stored.request()?).await;
                key.map(|key| key.into_inner().name)
            }
            method::ENABLE_PUBLIC_KEY => {
                nameless(self.public_keys.enable_public_key(stored.request()?).await)
            }
            method::ENABLE_CONFIGURATION => {
                nameless(self.configurations.enable_configuration(stored.request()?).await)
            }
            method::DESTROY_CONFIGURATION => {
                nameless(self.configurations.schedule_destroy_configuration(stored.request()?).await)
            }
            method::ALLOW_KEY_CHANGE => {
                nameless(self.configurations.allow_key_change(stored.request()?).await)
            }
            method::CREATE_CLIENT => {
                let client = self.clients.create_client(stored.request()?).await;
                client.map(|client| client.into_inner().name)
            }
            method::UPDATE_CLIENT => nameless(self.clients.update_client(stored.request()?).await),
            method::ENABLE_CLIENT => nameless(self.clients.enable_client(stored.request()?).await),
            method::CREATE_CREDENTIAL => {
                let made = self.clients.create_credential(stored.request()?).await;
                made.map(|made| made.into_inner().credential.map(|made| made.name).unwrap_or_default())
            }
            method::ENABLE_CREDENTIAL => nameless(self.clients.enable_credential(stored.request()?).await),
            method::SET_CREDENTIAL_EXPIRY => {
                nameless(self.clients.set_credential_expiry(stored.request()?).await)
            }
            method::ACCEPT_RESTORE => nameless(self.ledger.accept_restore(stored.request()?).await),
            method::LOWER_LAST_TID => nameless(self.ledger.lower_last_tid(stored.request()?).await),
            other => {
                tracing::error!(method = other, "an approval is of a call that never waits");
                Err(Refusal::internal().into())
            }
        }
    }

    /// Does an act that was granted and notes what became of it. `None`: somebody else did.
    pub(super) async fn finish(&self, granted: &Approval) -> Result<Option<Approval>, StoreError> {
        let found = self.perform(granted).await;
        crash::point("approval-after-act");
        let (to, outcome) = match found {
            Ok(name) => (ApprovalState::Done, name),
            Err(status) => (ApprovalState::Failed, in_words(&status)),
        };
        tracing::info!(approval = %granted.id, method = granted.method, state = %to, outcome, "an approved act ended");
        let now_ms = self.four_eyes.now_ms();
        let step = ApprovalStep { from: ApprovalState::Approved, to, outcome, actor: Actor::Local, now_ms };
        self.four_eyes.store().step_approval(granted.id, step).await
    }

    async fn perform(&self, granted: &Approval) -> Result<String, Status> {
        if let Err(refused) = approval::intact(granted) {
            self.alarm(granted, &Actor::Local).await;
            return Err(Refusal::from(refused).into());
        }
        let allowed = self.four_eyes.counts(granted.requester, granted).await;
        if !allowed.map_err(Refusal::from)? {
            let text = "the client that asked for it is disabled, or may not do it any more";
            return Err(Refusal::new(Reason::PermissionDenied, text).into());
        }
        let caller = self.four_eyes.requester(granted).await.map_err(Refusal::from)?;
        let caller = caller.ok_or_else(|| {
            Refusal::new(Reason::CredentialRefused, "the client that asked for it is gone or disabled")
        })?;
        crash::point("approval-before-act");
        self.call(granted, caller).await
    }

    /// Says loudly that stored content was changed, on record.
    pub(super) async fn alarm(&self, changed: &Approval, actor: &Actor) {
        tracing::error!(
            alarm = "approval_content_changed",
            approval = %changed.id,
            "the stored content of an approval is not what was asked for: somebody wrote into the database"
        );
        let act = NewAct {
            kind: "rows.forged",
            actor: actor.clone(),
            details: [("rows", format!("approval {}", changed.id))].into(),
            now_ms: self.four_eyes.now_ms(),
        };
        if let Err(error) = self.four_eyes.store().record_act(act).await {
            tracing::error!(%error, "the changed approval cannot be put on record");
        }
    }

    /// Ends what a server left behind that died between the last vote and the end of the act.
    ///
    /// # Errors
    /// What the store says.
    pub async fn resume(&self) -> Result<(), StoreError> {
        for granted in self.four_eyes.store().granted_approvals().await? {
            tracing::warn!(approval = %granted.id, "an approved act may not have ended: it is done again");
            self.finish(&granted).await?;
        }
        Ok(())
    }
}

/// A stored request and in whose name it is done.
struct Stored<'a> {
    request: &'a [u8],
    caller: Caller,
}

impl Stored<'_> {
    /// As it would have come from the wire, but approved.
    fn request<T: Message + Default>(self) -> Result<Request<T>, Status> {
        let message = T::decode(self.request).map_err(|error| {
            tracing::error!(%error, "a stored request is no request");
            Status::from(Refusal::internal())
        })?;
        let mut request = Request::new(message);
        request.extensions_mut().insert(self.caller);
        request.extensions_mut().insert(Approved);
        Ok(request)
    }
}

/// The outcome of an act that makes nothing with a name of its own.
fn nameless<T>(reply: Result<Response<T>, Status>) -> Result<String, Status> {
    reply.map(|_| String::new())
}

/// A refusal as the approval keeps it: reason and message.
fn in_words(status: &Status) -> String {
    let details = status.get_error_details();
    let reason = details.error_info().map(|info| info.reason.as_str()).unwrap_or_default();
    format!("{reason}: {}", status.message())
}
