//! Clients and their credentials.

use std::collections::HashMap;

use serde::Serialize;

use super::Columns;
use crate::access::client::{
    Client, ClientAct, ClientChange, ClientRefusal, Credential, CredentialChange, CredentialHolder, Everyone,
    NewClient, NewCredential, Proof, change_client, change_credential, create_client, create_credential,
};
use crate::id::ClientId;
use crate::store::authority::KnownHolder;
use crate::store::engine::{Row, Select, Table, Transaction, Value, View};
use crate::store::reading::Reading;
use crate::store::seals::CheckedRow;
use crate::store::writing::Writing;
use crate::store::{Listing, Page, PageRequest, StoreError};

type Refusable<A> = Result<Result<A, ClientRefusal>, StoreError>;

pub(in crate::store) fn create<T: Transaction>(
    writing: &mut Writing<T>,
    new: &NewClient,
) -> Refusable<Client> {
    let known = get(writing, new.id)?;
    match (create_client(known.as_ref(), new), known) {
        (Ok(Some(change)), _) => {
            writing.insert(Table::Clients, &client_columns(&change.row))?;
            writing.append_act(&change.act)?;
            Ok(Ok(change.row))
        }
        (Ok(None), Some(known)) => Ok(Ok(known)),
        (Ok(None), None) => Err(StoreError::Defect { reason: "a client was found nowhere".into() }),
        (Err(refusal), _) => Ok(Err(refusal)),
    }
}

pub(in crate::store) fn change<T: Transaction>(
    writing: &mut Writing<T>,
    id: ClientId,
    change: &ClientChange,
    act: &ClientAct,
) -> Refusable<Client> {
    let Some(row) = load(writing, id)? else { return Ok(Err(ClientRefusal::NotFound(id))) };
    let known = read_client(&row)?;
    let change = match change_client(&known, &everyone(writing)?, change, act) {
        Ok(Some(change)) => change,
        Ok(None) => {
            writing.append_unchanged(&act.actor, act.now_ms)?;
            return Ok(Ok(known));
        }
        Err(refusal) => return Ok(Err(refusal)),
    };
    writing.change(&row, &client_columns(&change.row))?;
    writing.append_act(&change.act)?;
    Ok(Ok(change.row))
}

pub(in crate::store) fn get<V: View>(
    reading: &mut Reading<V>,
    id: ClientId,
) -> Result<Option<Client>, StoreError> {
    load(reading, id)?.map(|row| read_client(&row)).transpose()
}

pub(in crate::store) fn list<V: View>(
    reading: &mut Reading<V>,
    page: PageRequest,
) -> Result<Page<Client>, StoreError> {
    reading.load_page(Listing::Clients, Select::all(Table::Clients), page, |_, row| read_client(row))
}

pub(in crate::store) fn add_credential<T: Transaction>(
    writing: &mut Writing<T>,
    new: &NewCredential,
) -> Refusable<Credential> {
    let known = holder(writing, &new.key_id)?.map(|holder| holder.credential);
    let client = load(writing, new.client)?;
    let read = client.as_deref().map(read_client).transpose()?;
    match (create_credential(known.as_ref(), read.as_ref(), new), client, known) {
        (Ok(Some(change)), Some(client), _) => {
            writing.insert(Table::Credentials, &credential_columns(&change.row, client.number))?;
            writing.append_act(&change.act)?;
            Ok(Ok(change.row))
        }
        (Ok(None), _, Some(known)) => Ok(Ok(known)),
        (Ok(_), ..) => Err(StoreError::Defect { reason: "a credential is nobody's".into() }),
        (Err(refusal), ..) => Ok(Err(refusal)),
    }
}

pub(in crate::store) fn change_a_credential<T: Transaction>(
    writing: &mut Writing<T>,
    key_id: &str,
    change: CredentialChange,
    act: &ClientAct,
) -> Refusable<Credential> {
    let Some((row, client, holder)) = load_holder(writing, key_id)? else {
        return Ok(Err(ClientRefusal::CredentialNotFound(key_id.to_owned())));
    };
    let known = holder.credential;
    let change = match change_credential(&known, &everyone(writing)?, change, act) {
        Ok(Some(change)) => change,
        Ok(None) => {
            writing.append_unchanged(&act.actor, act.now_ms)?;
            return Ok(Ok(known));
        }
        Err(refusal) => return Ok(Err(refusal)),
    };
    writing.change(&row, &credential_columns(&change.row, client))?;
    writing.append_act(&change.act)?;
    Ok(Ok(change.row))
}

pub(in crate::store) fn holder<V: View>(
    reading: &mut Reading<V>,
    key_id: &str,
) -> Result<Option<CredentialHolder>, StoreError> {
    Ok(load_holder(reading, key_id)?.map(|(_, _, holder)| holder))
}

pub(in crate::store) fn credentials_of<V: View>(
    reading: &mut Reading<V>,
    client: ClientId,
    page: PageRequest,
) -> Result<Page<Credential>, StoreError> {
    let number = load(reading, client)?.map(|row| row.number);
    let Some(number) = number else { return Ok(Page { items: Vec::new(), next: None }) };
    let select = Select::all(Table::Credentials).with("client", number);
    reading.load_page(Listing::Credentials, select, page, |_, row| read_credential(row, client))
}

/// The holders of these credentials, with their numbers, in two selects. What fails is the failure
/// of a credential alone.
pub(super) fn holders<V: View>(
    reading: &mut Reading<V>,
    key_ids: &[&str],
) -> Result<HashMap<String, Result<KnownHolder, StoreError>>, StoreError> {
    let wanted = key_ids.iter().map(|key_id| Value::from(*key_id)).collect();
    let credentials = reading.view.rows(&Select::all(Table::Credentials).with_any("key_id", wanted))?;
    let mut numbers: Vec<i64> = credentials.iter().filter_map(|row| row.integer("client").ok()).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let wanted = numbers.into_iter().map(Value::from).collect();
    let clients = reading.view.rows(&Select::all(Table::Clients).with_any("number", wanted))?;
    let clients: HashMap<i64, Row> = clients.into_iter().map(|row| (row.number, row)).collect();
    let mut holders = HashMap::with_capacity(credentials.len());
    for row in credentials {
        let key_id = row.text("key_id")?.to_owned();
        let read = |row: Row| {
            let credential = reading.seals.check(row)?;
            let number = credential.integer("client")?;
            let gone = || StoreError::Corrupt { reason: "a credential names a client that is gone".into() };
            let client = reading.seals.check(clients.get(&number).cloned().ok_or_else(gone)?)?;
            let client = read_client(&client)?;
            let holder = CredentialHolder { credential: read_credential(&credential, client.id)?, client };
            Ok(KnownHolder { client: number, credential: credential.number, holder })
        };
        holders.insert(key_id, read(row));
    }
    Ok(holders)
}

/// A credential's row, the number of its client, and both as they are.
fn load_holder<V: View>(
    reading: &mut Reading<V>,
    key_id: &str,
) -> Result<Option<(CheckedRow, i64, CredentialHolder)>, StoreError> {
    let Some(row) = reading.load_one(Select::all(Table::Credentials).with("key_id", key_id))? else {
        return Ok(None);
    };
    let client = reading.load_reference(&row, "client", Table::Clients)?;
    let holder = read_client(&client)?;
    let credential = read_credential(&row, holder.id)?;
    Ok(Some((row, client.number, CredentialHolder { credential, client: holder })))
}

fn everyone<V: View>(reading: &mut Reading<V>) -> Result<Everyone, StoreError> {
    let rows = reading.load_unforged(&Select::all(Table::Clients))?;
    let clients: Vec<(i64, Client)> =
        rows.iter().map(|row| Ok((row.number, read_client(row)?))).collect::<Result<_, StoreError>>()?;
    let ids: HashMap<i64, ClientId> = clients.iter().map(|(number, client)| (*number, client.id)).collect();
    let mut credentials = Vec::new();
    for row in reading.load_unforged(&Select::all(Table::Credentials))? {
        if let Some(client) = ids.get(&row.integer("client")?) {
            credentials.push(read_credential(&row, *client)?);
        }
    }
    Ok(Everyone { clients: clients.into_iter().map(|(_, client)| client).collect(), credentials })
}

pub(super) fn load<V: View>(
    reading: &mut Reading<V>,
    id: ClientId,
) -> Result<Option<CheckedRow>, StoreError> {
    reading.load_one(of_id(id))
}

/// The client of this id.
pub(super) fn of_id(id: ClientId) -> Select {
    Select::all(Table::Clients).with("id", id.to_bytes())
}

/// The id of a row of a client.
pub(super) fn id(row: &Row) -> Result<ClientId, StoreError> {
    row.bytes("id").map(ClientId::from_bytes)
}

/// The name for people in a row of a client.
pub(super) fn display_name(row: &Row) -> Result<String, StoreError> {
    Ok(row.text("display_name")?.to_owned())
}

fn json(value: &impl Serialize) -> String {
    // Names and numbers always have a JSON form.
    serde_json::to_string(value).unwrap_or_default()
}

fn client_columns(client: &Client) -> Columns {
    vec![
        ("id", client.id.to_bytes().into()),
        ("display_name", client.display_name.as_str().into()),
        ("rights", json(&client.rights).into()),
        ("limits", json(&client.limits).into()),
        ("enabled", client.enabled.into()),
        ("created_ms", client.created_ms.into()),
        ("updated_ms", client.updated_ms.into()),
    ]
}

fn read_client(row: &Row) -> Result<Client, StoreError> {
    Ok(Client {
        id: id(row)?,
        display_name: row.text("display_name")?.to_owned(),
        rights: row.json("rights")?,
        limits: row.json("limits")?,
        enabled: row.truth("enabled")?,
        version: row.integer("version")?,
        created_ms: row.integer("created_ms")?,
        updated_ms: row.integer("updated_ms")?,
    })
}

fn credential_columns(credential: &Credential, client: i64) -> Columns {
    let secret = match credential.proof {
        Proof::Secret(hash) => hash,
        Proof::Certificate => [0; 32],
    };
    vec![
        ("key_id", credential.key_id.as_str().into()),
        ("client", client.into()),
        ("kind", credential.proof.kind().into()),
        ("secret_sha256", secret.into()),
        ("enabled", credential.enabled.into()),
        ("expires_ms", credential.expires_ms.into()),
        ("created_ms", credential.created_ms.into()),
    ]
}

fn read_credential(row: &Row, client: ClientId) -> Result<Credential, StoreError> {
    let secret = Proof::Secret(row.bytes("secret_sha256")?);
    let kind = row.text("kind")?;
    let proof = [secret, Proof::Certificate].into_iter().find(|proof| proof.kind() == kind);
    let foreign = || StoreError::Corrupt { reason: "not a value of credentials.kind".into() };
    Ok(Credential {
        key_id: row.text("key_id")?.to_owned(),
        client,
        proof: proof.ok_or_else(foreign)?,
        enabled: row.truth("enabled")?,
        expires_ms: row.integer_or_null("expires_ms")?,
        created_ms: row.integer("created_ms")?,
    })
}
