//! Acts as whoever does them puts them on record.

use std::collections::BTreeMap;

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
