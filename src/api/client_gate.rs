//! Which acts on clients take more than one person, and what they would do, in words.
//!
//! Whatever lets anybody do more than before. A new client that may do anything is such an act: otherwise whoever may not raise a till's
//! limit alone would make a till without one. So is a credential of another client that vends or administers: it gives all that
//! its client may do, and administrators do not vend.

use super::client::Clients;
use crate::{
    access::{Caller, CredentialOrder, KeyId, NewProof},
    acts::{Reason, Refusal},
    store::{
        AmountLimits, Client, ClientChange, ClientId, CredentialChange, Group, Kinds, Limits, Rights, Scope,
    },
};

impl Clients {
    /// What creating a client would do.
    pub(super) async fn creating(
        &self,
        caller: &Caller,
        id: ClientId,
        (display_name, rights, limits): (&str, &Rights, &Limits),
    ) -> Result<Option<String>, Refusal> {
        if rights.may_do().is_empty() && rights.may_grant().is_empty() {
            return Ok(None);
        }
        caller.may_grant(None, rights)?;
        // Made already: the answer is the client, or that the name is taken.
        if self.acts().store().client(id).await?.is_some() {
            return Ok(None);
        }
        let (rights, limits) = (rights_in_words(rights), limits_in_words(limits));
        Ok(Some(format!("create client {display_name:?} (clients/{id}): {rights}; limits: {limits}")))
    }

    /// What replacing rights and limits would do.
    pub(super) async fn updating(
        &self,
        caller: &Caller,
        id: ClientId,
        change: &ClientChange,
    ) -> Result<Option<String>, Refusal> {
        let old = self.acts().may_update(caller, id, change).await?;
        let ClientChange::Replace { rights, limits, .. } = change else { return Ok(None) };
        if !rights.raises(&old.rights) && !limits.raises(&old.limits) {
            return Ok(None);
        }
        let mut parts = Vec::new();
        if *rights != old.rights {
            parts.push(format!("{}, instead of {}", rights_in_words(rights), rights_in_words(&old.rights)));
        }
        if *limits != old.limits {
            let (new, old) = (limits_in_words(limits), limits_in_words(&old.limits));
            parts.push(format!("limits: {new}, instead of {old}"));
        }
        Ok(Some(format!("change {}: {}", in_words(&old), parts.join("; "))))
    }

    /// What enabling a client would do.
    pub(super) async fn enabling(&self, caller: &Caller, id: ClientId) -> Result<Option<String>, Refusal> {
        let client = self.acts().may_revive(caller, id).await?;
        let waits = !client.enabled && matters(&client.rights);
        Ok(waits.then(|| format!("enable client {}", in_words(&client))))
    }

    /// What one more credential would do.
    pub(super) async fn crediting(
        &self,
        caller: &Caller,
        order: &CredentialOrder,
    ) -> Result<Option<String>, Refusal> {
        let client = self.acts().may_revive(caller, order.client).await?;
        if client.id == caller.client || !matters(&client.rights) {
            return Ok(None);
        }
        let key_id = match &order.proof {
            NewProof::Held { key_id, .. } | NewProof::Certificate(key_id) => key_id,
            // When it is made nobody is there to whom it could be shown.
            NewProof::Made => {
                let fault = "an act that waits can show no secret: let its holder make it (vendkey credential generate)";
                let fault = ("held_secret".to_owned(), fault.to_owned());
                return Err(Refusal::fields(Reason::InvalidFields, vec![fault]));
            }
        };
        let known = self.acts().store().credential(key_id.as_str()).await?;
        Ok(known.is_none().then(|| format!("give client {} credential {key_id}", in_words(&client))))
    }

    /// What bringing a credential back, or letting it live longer, would do.
    pub(super) async fn reviving(
        &self,
        caller: &Caller,
        key_id: &KeyId,
        change: CredentialChange,
    ) -> Result<Option<String>, Refusal> {
        let Some(holder) = self.acts().revived(caller, key_id, change).await? else { return Ok(None) };
        let waits = holder.id != caller.client && matters(&holder.rights);
        Ok(waits.then(|| {
            let what = match change {
                CredentialChange::Enabled(_) => "enable",
                CredentialChange::Expires(_) => "put off the end of",
            };
            format!("{what} credential {key_id} of client {}", in_words(&holder))
        }))
    }
}

/// Whether a client decides about keys and clients, or makes tokens.
fn matters(rights: &Rights) -> bool {
    rights.is_administrator() || rights.may_do().iter().any(|group| group.is_vending())
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
