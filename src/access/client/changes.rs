//! What becomes of clients and credentials: decided over rows that were loaded.
//!
//! A decision is the row as it will be and the act that tells of it; none where all is so already.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    Client, ClientAct, ClientChange, ClientRefusal, Credential, CredentialChange, Everyone, NewClient,
    NewCredential, Proof,
};
use crate::audit::{Change, NewAct};

/// Creates a client; the very same one again stays as it is.
///
/// # Errors
/// [`ClientRefusal::Exists`] for another one under its id.
pub fn create_client(
    known: Option<&Client>,
    new: &NewClient,
) -> Result<Option<Change<Client>>, ClientRefusal> {
    let NewClient { id, display_name, rights, limits, actor, now_ms } = new;
    if let Some(known) = known {
        let same = (&known.display_name, &known.rights, &known.limits) == (display_name, rights, limits);
        return if same { Ok(None) } else { Err(ClientRefusal::Exists(id.to_string())) };
    }
    let row = Client {
        id: *id,
        display_name: display_name.clone(),
        rights: rights.clone(),
        limits: limits.clone(),
        enabled: true,
        version: 1,
        created_ms: *now_ms,
        updated_ms: *now_ms,
    };
    let details = content(&row);
    Ok(Some(Change {
        row,
        act: NewAct { kind: "client.created", actor: actor.clone(), details, now_ms: *now_ms },
    }))
}

/// Changes a client, unless nobody could undo it.
///
/// # Errors
/// [`ClientRefusal::Changed`], [`ClientRefusal::LockOut`].
pub fn change_client(
    known: &Client,
    everyone: &Everyone,
    change: &ClientChange,
    act: &ClientAct,
) -> Result<Option<Change<Client>>, ClientRefusal> {
    let mut row = known.clone();
    row.version += 1;
    row.updated_ms = act.now_ms;
    let (kind, details) = match change {
        ClientChange::Enabled(enabled) if *enabled == known.enabled => return Ok(None),
        ClientChange::Enabled(enabled) => {
            row.enabled = *enabled;
            let kind = if *enabled { "client.enabled" } else { "client.disabled" };
            (kind, BTreeMap::from([("client", row.id.to_string())]))
        }
        // Done already, as by a call that is repeated.
        ClientChange::Replace { version: _, display_name, rights, limits }
            if (display_name, rights, limits) == (&known.display_name, &known.rights, &known.limits) =>
        {
            return Ok(None);
        }
        ClientChange::Replace { version, .. } if *version != known.version => {
            return Err(ClientRefusal::Changed { found: known.version });
        }
        ClientChange::Replace { version: _, display_name, rights, limits } => {
            row.display_name.clone_from(display_name);
            row.rights.clone_from(rights);
            row.limits.clone_from(limits);
            ("client.updated", content(&row))
        }
    };
    everyone.refuse_lock_out(&everyone.with_client(&row), act)?;
    Ok(Some(Change { row, act: act.told(kind, details) }))
}

/// Gives a client one more credential; the very same one again stays as it is.
///
/// # Errors
/// [`ClientRefusal::Exists`] for another one under its key id, [`ClientRefusal::NotFound`] for a
/// client that there is not.
pub fn create_credential(
    known: Option<&Credential>,
    client: Option<&Client>,
    new: &NewCredential,
) -> Result<Option<Change<Credential>>, ClientRefusal> {
    if let Some(known) = known {
        let same = (known.client, known.proof) == (new.client, new.proof);
        return if same { Ok(None) } else { Err(ClientRefusal::Exists(new.key_id.clone())) };
    }
    if client.is_none() {
        return Err(ClientRefusal::NotFound(new.client));
    }
    let row = Credential {
        key_id: new.key_id.clone(),
        client: new.client,
        proof: new.proof,
        enabled: true,
        expires_ms: new.expires_ms,
        created_ms: new.now_ms,
    };
    let details = BTreeMap::from([
        ("client", new.client.to_string()),
        ("credential", new.key_id.clone()),
        ("kind", new.proof.kind().to_owned()),
        ("expires_ms", expiry(new.expires_ms)),
    ]);
    let act = NewAct { kind: "credential.created", actor: new.actor.clone(), details, now_ms: new.now_ms };
    Ok(Some(Change { row, act }))
}

/// Changes a credential, unless nobody could undo it.
///
/// # Errors
/// [`ClientRefusal::LockOut`].
pub fn change_credential(
    known: &Credential,
    everyone: &Everyone,
    change: CredentialChange,
    act: &ClientAct,
) -> Result<Option<Change<Credential>>, ClientRefusal> {
    let mut row = known.clone();
    match change {
        CredentialChange::Enabled(enabled) => row.enabled = enabled,
        CredentialChange::Expires(expires_ms) => row.expires_ms = expires_ms,
    }
    if row == *known {
        return Ok(None);
    }
    everyone.refuse_lock_out(&everyone.with_credential(&row), act)?;
    let mut details =
        BTreeMap::from([("client", known.client.to_string()), ("credential", known.key_id.clone())]);
    let kind = match change {
        CredentialChange::Enabled(true) => "credential.enabled",
        CredentialChange::Enabled(false) => "credential.disabled",
        CredentialChange::Expires(expires_ms) => {
            details.insert("expires_ms", expiry(expires_ms));
            "credential.expiry_set"
        }
    };
    Ok(Some(Change { row, act: act.told(kind, details) }))
}

impl ClientAct {
    fn told(&self, kind: &'static str, details: BTreeMap<&'static str, String>) -> NewAct {
        NewAct { kind, actor: self.actor.clone(), details, now_ms: self.now_ms }
    }
}

impl Proof {
    /// The name of its kind, in the database and on record.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Secret(_) => "secret",
            Self::Certificate => "certificate",
        }
    }
}

fn content(client: &Client) -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("client", client.id.to_string()),
        ("display_name", client.display_name.clone()),
        ("rights", json(&client.rights)),
        ("limits", json(&client.limits)),
    ])
}

fn json(value: &impl Serialize) -> String {
    // Names and numbers always have a JSON form.
    serde_json::to_string(value).unwrap_or_default()
}

fn expiry(expires_ms: Option<i64>) -> String {
    expires_ms.map_or_else(|| "never".to_owned(), |at| at.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::limits::Limits;
    use crate::access::rights::Rights;
    use crate::audit::Actor;
    use crate::id::ClientId;

    const NOW_MS: i64 = 1_767_225_600_000;

    fn new(name: &str) -> NewClient {
        NewClient {
            id: ClientId::generate(),
            display_name: name.into(),
            rights: Rights::administrator(),
            limits: Limits::default(),
            actor: Actor::Local,
            now_ms: NOW_MS,
        }
    }

    fn secret(key_id: &str, client: &Client) -> Credential {
        let new = NewCredential {
            key_id: key_id.into(),
            client: client.id,
            proof: Proof::Secret([8; 32]),
            expires_ms: None,
            actor: Actor::Local,
            now_ms: NOW_MS,
        };
        create_credential(None, Some(client), &new).unwrap().unwrap().row
    }

    /// Two administrators with a credential each.
    fn two() -> (Everyone, Client, Credential) {
        let [asha, ben] = ["asha", "ben"].map(|name| create_client(None, &new(name)).unwrap().unwrap().row);
        let (of_asha, of_ben) = (secret("asha", &asha), secret("ben", &ben));
        let everyone =
            Everyone { clients: vec![asha, ben.clone()], credentials: vec![of_asha, of_ben.clone()] };
        (everyone, ben, of_ben)
    }

    fn act(keepers: u32) -> ClientAct {
        ClientAct { actor: Actor::Local, now_ms: NOW_MS, keepers }
    }

    fn less(client: &Client) -> ClientChange {
        ClientChange::Replace {
            version: client.version,
            display_name: client.display_name.clone(),
            rights: Rights::auditor(),
            limits: Limits::default(),
        }
    }

    #[test]
    fn a_change_that_locks_everybody_out_is_refused() {
        let (everyone, ben, credential) = two();
        let locked = ClientRefusal::LockOut { left: 1, needed: 2 };
        for change in [less(&ben), ClientChange::Enabled(false)] {
            assert_eq!(change_client(&ben, &everyone, &change, &act(2)), Err(locked.clone()));
            assert!(change_client(&ben, &everyone, &change, &act(1)).is_ok());
        }
        for change in [CredentialChange::Enabled(false), CredentialChange::Expires(Some(NOW_MS))] {
            let refused = change_credential(&credential, &everyone, change, &act(2));
            assert_eq!(refused, Err(locked.clone()));
        }
        let mut more = everyone.clone();
        more.credentials.push(secret("ben-2", &ben));
        let change = CredentialChange::Enabled(false);
        assert!(change_credential(&credential, &more, change, &act(2)).is_ok(), "one is left");
        assert!(
            change_credential(&credential, &everyone, CredentialChange::Expires(Some(NOW_MS + 1)), &act(2))
                .is_ok()
        );
    }

    #[test]
    fn where_too_few_are_left_already_what_makes_none_fewer_passes() {
        let (everyone, _, _) = two();
        let till = NewClient { rights: Rights::till(), ..new("till") };
        let till = create_client(None, &till).unwrap().unwrap().row;
        assert!(change_client(&till, &everyone, &ClientChange::Enabled(false), &act(3)).unwrap().is_some());
    }

    #[test]
    fn what_is_so_already_changes_nothing() {
        let (everyone, ben, credential) = two();
        assert_eq!(change_client(&ben, &everyone, &ClientChange::Enabled(true), &act(2)), Ok(None));
        let change = CredentialChange::Enabled(true);
        assert_eq!(change_credential(&credential, &everyone, change, &act(2)), Ok(None));
        let changed = change_client(&ben, &everyone, &less(&ben), &act(0)).unwrap().unwrap().row;
        assert_eq!(changed.version, ben.version + 1);
        assert_eq!(change_client(&changed, &everyone, &less(&ben), &act(0)), Ok(None), "a repeated call");
        let other = ClientChange::Replace {
            version: ben.version,
            display_name: "other".into(),
            rights: Rights::auditor(),
            limits: Limits::default(),
        };
        let refused = change_client(&changed, &everyone, &other, &act(0));
        assert_eq!(refused, Err(ClientRefusal::Changed { found: changed.version }));
    }
}
