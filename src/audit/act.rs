//! Acts as whoever does them puts them on record.

use std::collections::BTreeMap;

use super::record::{Act, Hash};
use crate::id::{ApprovalId, ClientId};

/// The name of the detail that names an approval.
const APPROVAL: &str = "approval";
/// How the kinds of those acts begin that tell what became of an approval itself.
const OF_APPROVALS: &str = "approval.";

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
        /// With which approval, where others agreed. It is on record with the act, so that an act
        /// that was approved once is not done twice.
        approval: Option<ApprovalId>,
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
            Actor::Client { client, credential, .. } => (Some(client.to_bytes()), Some(credential.clone())),
        };
        Act { kind: self.kind.to_owned(), actor, credential, details: self.details_text() }
    }

    /// The details as JSON: names in order, every value a text; with the approval of the act, if it
    /// has one, as `approval`.
    pub fn details_text(&self) -> String {
        let mut details: BTreeMap<&str, &str> =
            self.details.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let approval = match &self.actor {
            Actor::Client { approval: Some(approval), .. } => Some(approval.to_string()),
            _ => None,
        };
        details.extend(approval.as_deref().map(|approval| (APPROVAL, approval)));
        // Texts always have a JSON form.
        serde_json::to_string(&details).unwrap_or_default()
    }
}

impl Act {
    /// One of its details.
    pub fn detail(&self, name: &str) -> Option<String> {
        let details: BTreeMap<String, serde_json::Value> = serde_json::from_str(&self.details).ok()?;
        details.get(name)?.as_str().map(str::to_owned)
    }

    /// The approval with which it was done. `None` for an act that took none, and for those that
    /// tell what became of an approval itself.
    pub fn done_with(&self) -> Option<ApprovalId> {
        if self.kind.starts_with(OF_APPROVALS) { None } else { self.detail(APPROVAL)?.parse().ok() }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_act_names_the_approval_with_which_it_was_done() {
        let approval = ApprovalId::generate();
        let act = |kind, approval, details: &[(&'static str, String)]| {
            let actor =
                Actor::Client { client: ClientId::from_bytes([1; 16]), credential: "one".into(), approval };
            NewAct { kind, actor, details: details.iter().cloned().collect(), now_ms: 1 }.entry()
        };
        let done = act("client.enabled", Some(approval), &[("client", "2".into()), ("a", "b".into())]);
        assert_eq!(done.details, format!(r#"{{"a":"b","approval":"{approval}","client":"2"}}"#));
        assert_eq!((done.done_with(), done.detail("client")), (Some(approval), Some("2".to_owned())));
        // Nor what needed nobody, nor what tells of the approval, nor what another hand wrote.
        assert_eq!(act("client.enabled", None, &[("client", "2".into())]).done_with(), None);
        let told = act("approval.done", None, &[(APPROVAL, approval.to_string())]);
        assert_eq!((told.done_with(), told.detail(APPROVAL)), (None, Some(approval.to_string())));
        for details in ["", "{", "[]", r#"{"approval":1}"#, r#"{"approval":"x"}"#] {
            assert_eq!(Act { details: details.into(), ..done.clone() }.done_with(), None, "{details}");
        }
    }
}
