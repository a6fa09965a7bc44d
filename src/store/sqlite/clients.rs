//! The tables of clients and credentials.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, Row, named_params};

use super::chain::Writing;
use super::column::parsed;
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

pub(super) fn get(connection: &Connection, id: ClientId) -> Result<Option<Client>, StoreError> {
    Ok(connection
        .prepare_cached("SELECT * FROM clients WHERE id = ?1")?
        .query_row([id.to_bytes()], read_client)
        .optional()?)
}

pub(super) fn list(connection: &Connection, page: PageRequest) -> Result<Page<Client>, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT * FROM clients WHERE number > ?1 ORDER BY number LIMIT ?2")?;
    let rows = statement
        .query_map((page.row(), page.size() + 1), |row| Ok((row.get("number")?, read_client(row)?)))?
        .collect::<Result<_, _>>()?;
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

pub(super) fn holder(connection: &Connection, key_id: &str) -> Result<Option<CredentialHolder>, StoreError> {
    Ok(connection
        .prepare_cached(
            "SELECT clients.*, key_id, secret_sha256, expires_ms,
                    credentials.enabled AS credential_enabled, credentials.created_ms AS credential_created_ms
             FROM credentials JOIN clients ON clients.number = credentials.client WHERE key_id = ?1",
        )?
        .query_row([key_id], read_holder)
        .optional()?)
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

fn read_holder(row: &Row<'_>) -> rusqlite::Result<CredentialHolder> {
    let client = read_client(row)?;
    let credential = Credential {
        key_id: row.get("key_id")?,
        client: client.id,
        secret_sha256: row.get("secret_sha256")?,
        enabled: row.get("credential_enabled")?,
        expires_ms: row.get("expires_ms")?,
        created_ms: row.get("credential_created_ms")?,
    };
    Ok(CredentialHolder { credential, client })
}
