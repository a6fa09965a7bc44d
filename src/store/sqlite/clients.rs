//! The tables of clients and credentials.

use std::collections::BTreeMap;

use rusqlite::{Row, named_params};

use super::authority::KnownCaller;
use super::chain::Writing;
use super::column::parsed;
use super::sealed::{Reading, Table};
use crate::store::{
    Actor, Client, ClientId, Credential, CredentialHolder, Listing, NewClient, NewCredential, Page,
    PageRequest, StoreError,
};

pub(super) fn create(connection: &Writing, new: &NewClient) -> Result<Client, StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO clients (id, display_name, role, enabled, created_ms, updated_ms)
             VALUES (:id, :display_name, :role, 1, :now, :now)",
        )?
        .execute(named_params! {
            ":id": new.id.to_bytes(),
            ":display_name": new.display_name,
            ":role": new.role.as_str(),
            ":now": new.now_ms,
        })?;
    connection.seal(Table::Clients, connection.last_insert_rowid())?;
    let details = BTreeMap::from([
        ("client", new.id.to_string()),
        ("display_name", new.display_name.clone()),
        ("role", new.role.to_string()),
    ]);
    connection.append_act("client.created", &Actor::Local, new.now_ms, &details)?;
    Ok(Client {
        id: new.id,
        display_name: new.display_name.clone(),
        role: new.role,
        enabled: true,
        created_ms: new.now_ms,
        updated_ms: new.now_ms,
    })
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

pub(super) fn create_credential(
    connection: &Writing,
    new: &NewCredential,
) -> Result<Option<Credential>, StoreError> {
    let written = connection
        .prepare_cached(
            "INSERT INTO credentials (key_id, client, secret_sha256, enabled, expires_ms, created_ms)
             SELECT :key_id, number, :secret, 1, :expires, :now FROM clients WHERE id = :client",
        )?
        .execute(named_params! {
            ":key_id": new.key_id,
            ":secret": new.secret_sha256,
            ":expires": new.expires_ms,
            ":now": new.now_ms,
            ":client": new.client.to_bytes(),
        })?;
    if written > 0 {
        connection.seal(Table::Credentials, connection.last_insert_rowid())?;
        let details =
            BTreeMap::from([("client", new.client.to_string()), ("credential", new.key_id.clone())]);
        connection.append_act("credential.created", &Actor::Local, new.now_ms, &details)?;
    }
    Ok((written > 0).then(|| Credential {
        key_id: new.key_id.clone(),
        client: new.client,
        secret_sha256: new.secret_sha256,
        enabled: true,
        expires_ms: new.expires_ms,
        created_ms: new.now_ms,
    }))
}

pub(super) fn holder(connection: &Reading, key_id: &str) -> Result<Option<CredentialHolder>, StoreError> {
    Ok(caller(connection, key_id)?.map(|caller| caller.holder))
}

/// A credential with its client, and their numbers.
pub(super) fn caller(connection: &Reading, key_id: &str) -> Result<Option<KnownCaller>, StoreError> {
    let found = connection.one(Table::Credentials, "key_id = ?1", [key_id], |row| {
        Ok((row.get("number")?, row.get::<_, i64>("client")?, read_credential(row)?))
    })?;
    let Some((credential, client, read)) = found else { return Ok(None) };
    // The row that the credential names is there: the database holds it to that.
    let holder = connection.one(Table::Clients, "number = ?1", [client], read_client)?;
    Ok(holder.map(|holder| KnownCaller {
        client,
        credential,
        limits: crate::store::Limits::default(),
        holder: CredentialHolder { credential: Credential { client: holder.id, ..read }, client: holder },
    }))
}

fn read_client(row: &Row<'_>) -> rusqlite::Result<Client> {
    Ok(Client {
        id: ClientId::from_bytes(row.get("id")?),
        display_name: row.get("display_name")?,
        role: parsed(row, "role", "clients.role")?,
        enabled: row.get("enabled")?,
        created_ms: row.get("created_ms")?,
        updated_ms: row.get("updated_ms")?,
    })
}

/// The client is the caller's to fill in: the row has its number only.
fn read_credential(row: &Row<'_>) -> rusqlite::Result<Credential> {
    Ok(Credential {
        key_id: row.get("key_id")?,
        client: ClientId::from_bytes([0; 16]),
        secret_sha256: row.get("secret_sha256")?,
        enabled: row.get("enabled")?,
        expires_ms: row.get("expires_ms")?,
        created_ms: row.get("created_ms")?,
    })
}
