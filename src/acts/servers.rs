//! The servers of the database.

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

impl Acts {
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
