//! Which clients matter so much that giving them anything takes more than one person, and what an
//! act on a client would do, in words.
//!
//! What takes more than one person is whatever lets anybody do more than before. A new client that
//! may do anything is such an act: otherwise whoever may not raise a till's limit alone would make
//! a till without one. So is a credential of another client that vends or administers: it gives all
//! that its client may do, and administrators do not vend.

use super::orders::{CreateClient, UpdateClient};
use crate::access::{
    KeyId,
    client::{Client, CredentialChange},
    limits::{AmountLimits, Limits},
    rights::{Group, Kinds, Rights, Scope},
};

/// Whether a client decides about keys and clients, or makes tokens.
pub(super) fn matters(rights: &Rights) -> bool {
    rights.is_administrator() || rights.may_do().iter().any(|group| group.is_vending())
}

/// What creating a client does.
pub(super) fn created(order: &CreateClient) -> String {
    let CreateClient { client, display_name, rights, limits } = order;
    let (rights, limits) = (rights_in_words(rights), limits_in_words(limits));
    format!("create client {display_name:?} (clients/{client}): {rights}; limits: {limits}")
}

/// What replacing rights and limits does.
pub(super) fn updated(old: &Client, order: &UpdateClient) -> String {
    let UpdateClient { rights, limits, .. } = order;
    let mut parts = Vec::new();
    if *rights != old.rights {
        parts.push(format!("{}, instead of {}", rights_in_words(rights), rights_in_words(&old.rights)));
    }
    if *limits != old.limits {
        let (new, old) = (limits_in_words(limits), limits_in_words(&old.limits));
        parts.push(format!("limits: {new}, instead of {old}"));
    }
    format!("change {}: {}", in_words(old), parts.join("; "))
}

/// What enabling a client does.
pub(super) fn enabled(client: &Client) -> String {
    format!("enable client {}", in_words(client))
}

/// What one more credential does.
pub(super) fn credited(client: &Client, key_id: &KeyId) -> String {
    format!("give client {} credential {key_id}", in_words(client))
}

/// What bringing a credential back, or letting it live longer, does.
pub(super) fn revived(client: &Client, key_id: &KeyId, change: CredentialChange) -> String {
    let what = match change {
        CredentialChange::Enabled(_) => "enable",
        CredentialChange::Expires(_) => "put off the end of",
    };
    format!("{what} credential {key_id} of client {}", in_words(client))
}

fn in_words(client: &Client) -> String {
    format!("{:?} (clients/{})", client.display_name, client.id)
}

fn rights_in_words(rights: &Rights) -> String {
    let groups = |groups: &std::collections::BTreeSet<Group>| match groups.is_empty() {
        true => "nothing".to_owned(),
        false => listed(groups),
    };
    let mut text = format!("may do {}, may grant {}", groups(rights.may_do()), groups(rights.may_grant()));
    if let Scope::Only { ids, supply_groups } = rights.configurations() {
        if !ids.is_empty() {
            text = format!("{text}, with configurations {}", listed(ids));
        }
        if !supply_groups.is_empty() {
            text = format!("{text}, with supply groups {}", listed(supply_groups));
        }
    }
    match rights.token_kinds() {
        Kinds::All => text,
        Kinds::Only(kinds) => format!("{text}, of tokens {}", listed(kinds)),
    }
}

fn limits_in_words(limits: &Limits) -> String {
    let mut parts = Vec::new();
    for (kind, AmountLimits { per_token, per_day }) in limits.amounts() {
        let each = per_token.map(|amount| format!("{kind} {amount} per token"));
        let daily = per_day.map(|amount| format!("{kind} {amount} per day"));
        parts.extend(each.into_iter().chain(daily));
    }
    parts.extend(limits.tokens_per_day().map(|count| format!("{count} tokens per day")));
    parts.extend(limits.requests_per_second().map(|count| format!("{count} requests per second")));
    parts.extend(limits.uploads_per_minute().map(|count| format!("{count} uploads per minute")));
    parts.extend(limits.alarm_share().map(|share| format!("alarm at {share} percent")));
    if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
}

fn listed<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}
