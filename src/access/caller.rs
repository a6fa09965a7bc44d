//! Who calls.

use std::sync::Arc;

use super::KeyId;
use super::client::Client;
use super::limits::Limits;
use super::rights::Rights;
use crate::audit::Actor;
use crate::id::{ApprovalId, ClientId};

/// Who calls, proven by a credential.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The client.
    pub client: ClientId,
    /// The credential that it used.
    pub key_id: KeyId,
    /// What it may do.
    pub rights: Arc<Rights>,
    /// How much.
    pub limits: Arc<Limits>,
    /// The approval with which an act of this client is done now.
    pub approval: Option<ApprovalId>,
}

impl Caller {
    /// A client as the caller behind one of its credentials.
    pub fn new(client: &Client, key_id: KeyId) -> Self {
        Self {
            client: client.id,
            key_id,
            rights: Arc::new(client.rights.clone()),
            limits: Arc::new(client.limits.clone()),
            approval: None,
        }
    }

    /// Who is to be named on record for what this caller does.
    pub fn actor(&self) -> Actor {
        Actor::Client { client: self.client, credential: self.key_id.to_string(), approval: self.approval }
    }
}
