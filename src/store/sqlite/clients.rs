//! The tables of clients and credentials.

use std::collections::{BTreeMap, HashSet};

use rusqlite::{Row, named_params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::authority::KnownCaller;
use super::chain::Writing;
use super::column::foreign;
use super::sealed::{Reading, Table};
use crate::store::{
    Client, ClientAct, ClientChange, ClientError, ClientId, Credential, CredentialChange, CredentialHolder,
    Listing, NewClient, NewCredential, Page, PageRequest, Proof, StoreError,
};

type Refusable<T> = Result<Result<T, ClientError>, StoreError>;

/// Creates a client; the very same one again is found, another one under its id refused.
pub(super) fn create(connection: &Writing, new: &NewClient) -> Refusable<Client> {
    if let Some(known) = get(connection, new.id)? {
        let same = (&known.display_name, &known.rights, &known.limits)
            == (&new.display_name, &new.rights, &new.limits);
        return Ok(if same { Ok(known) } else { Err(ClientError::Exists(new.id.to_string())) });
    }
    let (rights, limits) = (json(&new.rights)?, json(&new.limits)?);
    connection
        .prepare_cached(
            "INSERT INTO clients (id, display_name, rights, limits, enabled, created_ms, updated_ms)
             VALUES (:id, :display_name, :rights, :limits, 1, :now, :now)",
        )?
        .execute(named_params! {
            ":id": new.id.to_bytes(),
            ":display_name": new.display_name,
            ":rights": rights,
            ":limits": limits,
            ":now": new.now_ms,
        })?;
    connection.seal(Table::Clients, connection.last_insert_rowid())?;
    let details = BTreeMap::from([
        ("client", new.id.to_string()),
        ("display_name", new.display_name.clone()),
        ("rights", rights),
        ("limits", limits),
    ]);
    connection.append_act("client.created", &new.actor, new.now_ms, &details)?;
    written(connection, new.id)
}

/// Changes a client, unless nobody could undo it. A change to what is already writes nothing.
pub(super) fn change(
    connection: &Writing,
    id: ClientId,
    change: &ClientChange,
    act: &ClientAct,
) -> Refusable<Client> {
    let found = connection
        .one(Table::Clients, "id = ?1", [id.to_bytes()], |row| Ok((number(row)?, read_client(row)?)))?;
    let Some((number, known)) = found else { return Ok(Err(ClientError::NotFound(id))) };
    let before = keepers(connection, act.now_ms)?;
    let mut details = BTreeMap::from([("client", id.to_string())]);
    let kind = match change {
        ClientChange::Enabled(enabled) if *enabled == known.enabled => return Ok(Ok(known)),
        ClientChange::Enabled(enabled) => {
            connection
                .prepare_cached("UPDATE clients SET enabled = ?1, updated_ms = ?2 WHERE number = ?3")?
                .execute((enabled, act.now_ms, number))?;
            if *enabled { "client.enabled" } else { "client.disabled" }
        }
        // Done already, as by a call that is repeated.
        ClientChange::Replace { version: _, display_name, rights, limits }
            if (display_name, rights, limits) == (&known.display_name, &known.rights, &known.limits) =>
        {
            return Ok(Ok(known));
        }
        ClientChange::Replace { version, .. } if *version != known.version => {
            return Ok(Err(ClientError::Changed { found: known.version }));
        }
        ClientChange::Replace { version: _, display_name, rights, limits } => {
            let (rights, limits) = (json(rights)?, json(limits)?);
            connection
                .prepare_cached(
                    "UPDATE clients SET display_name = :display_name, rights = :rights, limits = :limits,
                         updated_ms = :now
                     WHERE number = :number",
                )?
                .execute(named_params! {
                    ":display_name": display_name,
                    ":rights": rights,
                    ":limits": limits,
                    ":now": act.now_ms,
                    ":number": number,
                })?;
            details.extend([("display_name", display_name.clone()), ("rights", rights), ("limits", limits)]);
            "client.updated"
        }
    };
    connection.seal(Table::Clients, number)?;
    if let Err(refused) = keepers_are_left(connection, before, act)? {
        return Ok(Err(refused));
    }
    connection.append_act(kind, &act.actor, act.now_ms, &details)?;
    written(connection, id)
}

pub(super) fn get(connection: &Reading, id: ClientId) -> Result<Option<Client>, StoreError> {
    connection.one(Table::Clients, "id = ?1", [id.to_bytes()], read_client)
}

pub(super) fn list(connection: &Reading, page: PageRequest) -> Result<Page<Client>, StoreError> {
    let rows = connection.all(
        Table::Clients,
        "number > ?1 ORDER BY number LIMIT ?2",
        (page.row(), page.size() + 1),
        |row| Ok((row.get("number")?, read_client(row)?)),
    )?;
    Ok(Page::from_rows(Listing::Clients, page, rows))
}

/// Gives a client one more credential; the very same one again is found.
pub(super) fn create_credential(connection: &Writing, new: &NewCredential) -> Refusable<Credential> {
    if let Some(CredentialHolder { credential, .. }) = holder(connection, &new.key_id)? {
        let same = (credential.client, credential.proof) == (new.client, new.proof);
        return Ok(if same { Ok(credential) } else { Err(ClientError::Exists(new.key_id.clone())) });
    }
    let (kind, secret) = match new.proof {
        Proof::Secret(hash) => ("secret", hash),
        Proof::Certificate => ("certificate", [0; 32]),
    };
    let written = connection
        .prepare_cached(
            "INSERT INTO credentials (key_id, client, kind, secret_sha256, enabled, expires_ms, created_ms)
             SELECT :key_id, number, :kind, :secret, 1, :expires, :now FROM clients WHERE id = :client",
        )?
        .execute(named_params! {
            ":key_id": new.key_id,
            ":kind": kind,
            ":secret": secret,
            ":expires": new.expires_ms,
            ":now": new.now_ms,
            ":client": new.client.to_bytes(),
        })?;
    if written == 0 {
        return Ok(Err(ClientError::NotFound(new.client)));
    }
    connection.seal(Table::Credentials, connection.last_insert_rowid())?;
    let details = BTreeMap::from([
        ("client", new.client.to_string()),
        ("credential", new.key_id.clone()),
        ("kind", kind.to_owned()),
        ("expires_ms", expiry(new.expires_ms)),
    ]);
    connection.append_act("credential.created", &new.actor, new.now_ms, &details)?;
    credential_written(connection, &new.key_id)
}

/// Changes a credential, unless nobody could undo it. A change to what is already writes nothing.
pub(super) fn change_credential(
    connection: &Writing,
    key_id: &str,
    change: CredentialChange,
    act: &ClientAct,
) -> Refusable<Credential> {
    let Some(KnownCaller { credential: number, holder, .. }) = caller(connection, key_id)? else {
        return Ok(Err(ClientError::CredentialNotFound(key_id.to_owned())));
    };
    let known = holder.credential;
    let before = keepers(connection, act.now_ms)?;
    let (enabled, expires_ms) = match change {
        CredentialChange::Enabled(enabled) => (enabled, known.expires_ms),
        CredentialChange::Expires(expires_ms) => (known.enabled, expires_ms),
    };
    if (enabled, expires_ms) == (known.enabled, known.expires_ms) {
        return Ok(Ok(known));
    }
    connection
        .prepare_cached("UPDATE credentials SET enabled = ?1, expires_ms = ?2 WHERE number = ?3")?
        .execute((enabled, expires_ms, number))?;
    connection.seal(Table::Credentials, number)?;
    if let Err(refused) = keepers_are_left(connection, before, act)? {
        return Ok(Err(refused));
    }
    let mut details =
        BTreeMap::from([("client", known.client.to_string()), ("credential", key_id.to_owned())]);
    let kind = match change {
        CredentialChange::Enabled(true) => "credential.enabled",
        CredentialChange::Enabled(false) => "credential.disabled",
        CredentialChange::Expires(_) => {
            details.insert("expires_ms", expiry(expires_ms));
            "credential.expiry_set"
        }
    };
    connection.append_act(kind, &act.actor, act.now_ms, &details)?;
    credential_written(connection, key_id)
}

pub(super) fn holder(connection: &Reading, key_id: &str) -> Result<Option<CredentialHolder>, StoreError> {
    Ok(caller(connection, key_id)?.map(|caller| caller.holder))
}

/// A credential with its client, and their numbers.
pub(super) fn caller(connection: &Reading, key_id: &str) -> Result<Option<KnownCaller>, StoreError> {
    let found = connection.one(Table::Credentials, "key_id = ?1", [key_id], |row| {
        Ok((row.get("number")?, row.get::<_, i64>("client")?, read_credential(row, NOBODY)?))
    })?;
    let Some((credential, client, read)) = found else { return Ok(None) };
    // The row that the credential names is there: the database holds it to that.
    let holder = connection.one(Table::Clients, "number = ?1", [client], read_client)?;
    Ok(holder.map(|holder| KnownCaller {
        client,
        credential,
        holder: CredentialHolder { credential: Credential { client: holder.id, ..read }, client: holder },
    }))
}

pub(super) fn credentials_of(
    connection: &Reading,
    client: ClientId,
    page: PageRequest,
) -> Result<Page<Credential>, StoreError> {
    let number = connection.one(Table::Clients, "id = ?1", [client.to_bytes()], number)?;
    let rows = connection.all(
        Table::Credentials,
        "client = ?1 AND number > ?2 ORDER BY number LIMIT ?3",
        (number, page.row(), page.size() + 1),
        |row| Ok((row.get("number")?, read_credential(row, client)?)),
    )?;
    Ok(Page::from_rows(Listing::Credentials, page, rows))
}

/// How many clients can give every right back, with a credential that counts.
fn keepers(connection: &Reading, now_ms: i64) -> Result<u32, StoreError> {
    // A forged row keeps nothing, and must not be in the way of those who act against its forger.
    let able: HashSet<i64> = connection
        .sound(
            Table::Credentials,
            "enabled = 1 AND (expires_ms IS NULL OR expires_ms > ?1)",
            [now_ms],
            |row| row.get("client"),
        )?
        .into_iter()
        .collect();
    let clients = connection
        .sound(Table::Clients, "enabled = 1", (), |row| Ok((number(row)?, read_client(row)?.rights)))?;
    let keepers = clients.iter().filter(|(number, rights)| rights.keeps_the_keys() && able.contains(number));
    Ok(u32::try_from(keepers.count()).unwrap_or(u32::MAX))
}

/// Refuses a change that leaves fewer of them than are needed. One that takes none away is no fault of its own.
fn keepers_are_left(connection: &Writing, before: u32, act: &ClientAct) -> Refusable<()> {
    let left = keepers(connection, act.now_ms)?;
    let fits = left >= act.keepers || left >= before;
    Ok(if fits { Ok(()) } else { Err(ClientError::LockOut { left, needed: act.keepers }) })
}

fn written(connection: &Writing, id: ClientId) -> Refusable<Client> {
    let lost = || StoreError::Defect { reason: "a client vanished as it was written".into() };
    get(connection, id)?.map(Ok).ok_or_else(lost)
}

fn credential_written(connection: &Writing, key_id: &str) -> Refusable<Credential> {
    let lost = || StoreError::Defect { reason: "a credential vanished as it was written".into() };
    holder(connection, key_id)?.map(|holder| Ok(holder.credential)).ok_or_else(lost)
}

fn expiry(expires_ms: Option<i64>) -> String {
    expires_ms.map_or_else(|| "never".to_owned(), |at| at.to_string())
}

fn json(value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Defect { reason: error.to_string() })
}

fn from_json<T: DeserializeOwned>(row: &Row<'_>, index: &str, what: &'static str) -> rusqlite::Result<T> {
    let text = row.get_ref(index)?;
    text.as_str().ok().and_then(|text| serde_json::from_str(text).ok()).ok_or_else(|| foreign(what))
}

fn number(row: &Row<'_>) -> rusqlite::Result<i64> {
    row.get("number")
}

fn read_client(row: &Row<'_>) -> rusqlite::Result<Client> {
    Ok(Client {
        id: ClientId::from_bytes(row.get("id")?),
        display_name: row.get("display_name")?,
        rights: from_json(row, "rights", "clients.rights")?,
        limits: from_json(row, "limits", "clients.limits")?,
        enabled: row.get("enabled")?,
        version: row.get("version")?,
        created_ms: row.get("created_ms")?,
        updated_ms: row.get("updated_ms")?,
    })
}

/// Until its client is known.
const NOBODY: ClientId = ClientId::from_bytes([0; 16]);

fn read_credential(row: &Row<'_>, client: ClientId) -> rusqlite::Result<Credential> {
    let proof = match row.get_ref("kind")?.as_str() {
        Ok("secret") => Proof::Secret(row.get("secret_sha256")?),
        Ok("certificate") => Proof::Certificate,
        _ => return Err(foreign("credentials.kind")),
    };
    Ok(Credential {
        key_id: row.get("key_id")?,
        client,
        proof,
        enabled: row.get("enabled")?,
        expires_ms: row.get("expires_ms")?,
        created_ms: row.get("created_ms")?,
    })
}
