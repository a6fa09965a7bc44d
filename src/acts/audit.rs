//! The chains of records, for auditors.

use super::{Acts, Reason, Refusal};
use crate::{
    audit::{ChainNumber, Head},
    envelope::PublicKey,
    ledger::Cursor,
    store::Records,
};

/// The last checkpoint, and the key that signed it.
#[derive(Debug)]
pub struct LastCheckpoint {
    /// As it was signed; empty before the first.
    pub text: String,
    /// The audit key.
    pub audit_key: PublicKey,
    /// Its fingerprint.
    pub fingerprint: String,
}

/// Where a page of records begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventsAfter {
    /// Behind this position of the only chain: of callers that know of one.
    Position(u64),
    /// Before the last so many of every chain.
    Last(u32),
    /// Where the page before ended.
    Cursor(Cursor),
}

impl Acts {
    /// At most `size` records of all chains, with or without the meters in them.
    ///
    /// # Errors
    /// A position where there are several chains; what the store says.
    pub async fn list_events(&self, after: EventsAfter, size: u32, meters: bool) -> Result<Records, Refusal> {
        let cursor = match after {
            EventsAfter::Cursor(cursor) => cursor,
            EventsAfter::Last(count) => {
                let servers = self.store.servers().await?;
                let start = |head: &Head| head.position.saturating_sub(count.into());
                servers.iter().map(|server| (server.number, start(&server.head))).collect()
            }
            EventsAfter::Position(0) => Cursor::default(),
            EventsAfter::Position(position) => {
                if self.store.chain_heads().await?.len() > 1 {
                    let text = "several servers have written, each its own chain: give page_token instead";
                    return Err(Refusal::field("after_position", text));
                }
                [(ChainNumber::FIRST, position)].into_iter().collect()
            }
        };
        Ok(self.store.records(cursor, size as usize, meters).await?)
    }

    /// The last checkpoint.
    ///
    /// # Errors
    /// What the HSM and the store say.
    pub async fn checkpoint(&self) -> Result<LastCheckpoint, Refusal> {
        let past = self.store.past().await?;
        let key = self.vending.hsm().audit_public_key().await?;
        let audit_key = PublicKey::parse(&key.spki_der)
            .map_err(|_| Refusal::new(Reason::Internal, "the audit key is no RSA public key"))?;
        Ok(LastCheckpoint {
            text: past.checkpoint.unwrap_or_default(),
            audit_key,
            fingerprint: key.fingerprint,
        })
    }
}
