//! Acts as whoever does them puts them on record.

use std::collections::BTreeMap;

use super::record::{Act, Hash};
use crate::id::ClientId;

/// Whose act it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// The server itself, or a command on its machine.
    Local,
    /// A client.
    Client {
        /// Which.
        client: ClientId,
        /// With which of its credentials (the key id).
        credential: String,
    },
}

/// An act that writes nothing but its record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAct {
    /// Which act, such as `call.refused`.
    pub kind: &'static str,
    /// Whose.
    pub actor: Actor,
    /// What is to be known of it; never a secret, never a meter's number.
    pub details: BTreeMap<&'static str, String>,
    /// When.
    pub now_ms: i64,
}

impl NewAct {
    /// The act as its record holds it.
    pub fn entry(&self) -> Act {
        let (actor, credential) = match &self.actor {
            Actor::Local => (None, None),
            Actor::Client { client, credential } => (Some(client.to_bytes()), Some(credential.clone())),
        };
        Act { kind: self.kind.to_owned(), actor, credential, details: self.details_text() }
    }

    /// The details as JSON: names in order, every value a text.
    pub fn details_text(&self) -> String {
        // Texts always have a JSON form.
        serde_json::to_string(&self.details).unwrap_or_default()
    }
}

/// What a decision comes to: a row as it is to be from now on, and the act that tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change<T> {
    /// The row.
    pub row: T,
    /// What goes on record with it.
    pub act: NewAct,
}

/// An act as it is kept, with its place in the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActRow {
    /// The position of its record.
    pub position: u64,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
    /// The act.
    pub act: Act,
    /// The hash of its record.
    pub hash: Hash,
}
