//! The servers of the database, and how the one that answers is.

use std::sync::{Arc, PoisonError, RwLock};

use super::{Acts, Refusal};
use crate::store::Server;

/// A server, and whether it is the one that is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownServer {
    /// What the database knows of it.
    pub server: Server,
    /// Whether it is this one.
    pub answering: bool,
}

/// Something that keeps the server from issuing tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// A word for metrics.
    pub label: &'static str,
    /// In words, with what to do about it.
    pub reason: String,
}

/// All that keeps the server from issuing tokens, kept true by whoever watches over it. Clones
/// share it.
#[derive(Clone, Debug, Default)]
pub struct Causes(Arc<RwLock<Vec<Cause>>>);

impl Causes {
    /// Says what was found now.
    pub fn set(&self, found: Vec<Cause>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = found;
    }

    /// What was found last.
    pub fn get(&self) -> Vec<Cause> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The server that answers.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// Its name in its settings.
    pub name: String,
    /// What keeps it from issuing.
    pub causes: Causes,
}

/// How the server that answers is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerCondition {
    /// Its name in its settings.
    pub name: String,
    /// All that keeps it from issuing tokens.
    pub causes: Vec<Cause>,
    /// Its clock, in milliseconds since 1970.
    pub now_ms: i64,
    /// How many persons an act that matters takes.
    pub approvals: u32,
}

impl Acts {
    /// How this server is. It needs neither the HSM nor the store to tell.
    pub fn server_condition(&self) -> ServerCondition {
        ServerCondition {
            name: self.identity.name.clone(),
            causes: self.identity.causes.get(),
            now_ms: self.clock.now_ms(),
            approvals: self.four_eyes.needed(),
        }
    }

    /// All servers, in the order of their numbers.
    ///
    /// # Errors
    /// What the store says.
    pub async fn list_servers(&self) -> Result<Vec<KnownServer>, Refusal> {
        let own = self.store.chain_head().await?.chain;
        let servers = self.store.servers().await?;
        let known = |server: Server| KnownServer { answering: server.head.chain == own, server };
        Ok(servers.into_iter().map(known).collect())
    }
}
