//! Nobody locks everybody out: enough clients must be left who can give every right back.

use std::collections::HashSet;

use super::{Client, ClientAct, ClientRefusal, Credential};
use crate::id::ClientId;

/// All clients and credentials whose rows are genuine. A forged row gives no right back, and must
/// not be in the way of those who act against its forger.
#[derive(Clone, Debug, Default)]
pub struct Everyone {
    /// The clients.
    pub clients: Vec<Client>,
    /// Their credentials.
    pub credentials: Vec<Credential>,
}

impl Everyone {
    /// How many clients can give every right back, with a credential that counts.
    fn keepers(&self, now_ms: i64) -> u32 {
        let able: HashSet<ClientId> = self
            .credentials
            .iter()
            .filter(|credential| credential.counts(now_ms))
            .map(|credential| credential.client)
            .collect();
        let keepers = self
            .clients
            .iter()
            .filter(|client| client.enabled && client.rights.keeps_the_keys() && able.contains(&client.id));
        u32::try_from(keepers.count()).unwrap_or(u32::MAX)
    }

    /// Refuses a change that leaves fewer of them than are needed. One that takes none away is no
    /// fault of its own.
    pub(super) fn refuse_lock_out(&self, after: &Self, act: &ClientAct) -> Result<(), ClientRefusal> {
        let left = after.keepers(act.now_ms);
        let fits = left >= act.keepers || left >= self.keepers(act.now_ms);
        if fits { Ok(()) } else { Err(ClientRefusal::LockOut { left, needed: act.keepers }) }
    }

    /// Everyone, with this client as it will be.
    pub(super) fn with_client(&self, changed: &Client) -> Self {
        let mut after = self.clone();
        for client in after.clients.iter_mut().filter(|client| client.id == changed.id) {
            client.clone_from(changed);
        }
        after
    }

    /// Everyone, with this credential as it will be.
    pub(super) fn with_credential(&self, changed: &Credential) -> Self {
        let mut after = self.clone();
        for credential in after.credentials.iter_mut().filter(|one| one.key_id == changed.key_id) {
            credential.clone_from(changed);
        }
        after
    }
}
