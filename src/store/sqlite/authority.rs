//! Who may issue under what, as the committer remembers it for a moment.
//!
//! Every token asks whether its credential, its client and its configuration are enabled. Their rows are read and their seals checked once
//! a second, and again after any change that this process makes: what another server changes is heeded within that second.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::chain::Writing;
use super::sealed::Table;
use super::{clients, configurations};
use crate::store::{ClientId, ConfigurationId, ConfigurationState, CredentialHolder, Limits, StoreError};

/// For how long rows are believed without reading them again.
const BELIEVED: Duration = Duration::from_secs(1);

/// A caller by the numbers that the ledger keeps.
#[derive(Debug)]
pub(super) struct KnownCaller {
    pub(super) client: i64,
    pub(super) credential: i64,
    pub(super) holder: CredentialHolder,
}

impl KnownCaller {
    /// How much the client may issue.
    pub(super) fn limits(&self) -> &Limits {
        &self.holder.client.limits
    }
}

/// What was read in this second.
#[derive(Debug, Default)]
pub(super) struct Authority {
    since: Cell<Option<Instant>>,
    callers: RefCell<HashMap<String, Option<Arc<KnownCaller>>>>,
    configurations: RefCell<HashMap<ConfigurationId, Option<(i64, ConfigurationState)>>>,
}

impl Authority {
    /// Forgets everything: a row that decides was changed, or a change was taken back.
    pub(super) fn forget(&self) {
        self.since.set(None);
        self.callers.borrow_mut().clear();
        self.configurations.borrow_mut().clear();
    }

    fn refresh(&self) {
        if self.since.get().is_none_or(|since| since.elapsed() >= BELIEVED) {
            self.forget();
            self.since.set(Some(Instant::now()));
        }
    }
}

impl Writing {
    /// The caller, unless the credential is another client's or has ended, or one of both is disabled.
    pub(super) fn caller(
        &self,
        client: ClientId,
        credential: &str,
        now_ms: i64,
    ) -> Result<Option<Arc<KnownCaller>>, StoreError> {
        let authority = self.authority();
        authority.refresh();
        let known = authority.callers.borrow().get(credential).cloned();
        let known = match known {
            Some(known) => known,
            None => {
                let read = clients::caller(self, credential)?.map(Arc::new);
                authority.callers.borrow_mut().insert(credential.to_owned(), read.clone());
                read
            }
        };
        Ok(known.filter(|known| {
            let CredentialHolder { credential, client: holder } = &known.holder;
            let in_time = credential.expires_ms.is_none_or(|end| end > now_ms);
            holder.id == client && holder.enabled && credential.enabled && in_time
        }))
    }

    /// The number and state of a configuration.
    pub(super) fn configuration_state(
        &self,
        id: ConfigurationId,
    ) -> Result<Option<(i64, ConfigurationState)>, StoreError> {
        let authority = self.authority();
        authority.refresh();
        let known = authority.configurations.borrow().get(&id).copied();
        if let Some(known) = known {
            return Ok(known);
        }
        let found = self.one(Table::Configurations, "id = ?1", [id.to_bytes()], configurations::read)?;
        let state = found.map(|(number, row)| (number, row.state));
        authority.configurations.borrow_mut().insert(id, state);
        Ok(state)
    }
}
