//! The table of the keys that sign uploads.

use std::collections::BTreeMap;

use rusqlite::{Row, named_params};

use super::chain::Writing;
use super::sealed::{Reading, Table};
use crate::store::{
    Actor, ClientId, Listing, NewPublicKey, Page, PageRequest, PublicKey, PublicKeyId, Registered, StoreError,
};

pub(super) fn register(connection: &Writing, new: &NewPublicKey) -> Result<Registered, StoreError> {
    let known = connection.one(Table::PublicKeys, "fingerprint = ?1", [new.fingerprint], read)?;
    if let Some((_, known)) = known {
        return Ok(Registered::Existing(known));
    }
    connection
        .prepare_cached(
            "INSERT INTO public_keys (id, owner, display_name, spki, fingerprint, bits, enabled, created_ms, updated_ms)
             VALUES (:id, :owner, :display_name, :spki, :fingerprint, :bits, :enabled, :now, :now)",
        )?
        .execute(named_params! {
            ":id": new.id.to_bytes(),
            ":owner": new.owner.to_bytes(),
            ":display_name": new.display_name,
            ":spki": new.spki,
            ":fingerprint": new.fingerprint,
            ":bits": new.bits,
            ":enabled": new.enabled,
            ":now": new.now_ms,
        })?;
    connection.seal(Table::PublicKeys, connection.last_insert_rowid())?;
    let details = BTreeMap::from([
        ("public_key", new.id.to_string()),
        ("display_name", new.display_name.clone()),
        ("fingerprint", hex::encode(new.fingerprint)),
        ("owner", new.owner.to_string()),
    ]);
    connection.append_act("public_key.registered", &new.actor, new.now_ms, &details)?;
    Ok(Registered::New(PublicKey {
        id: new.id,
        owner: new.owner,
        display_name: new.display_name.clone(),
        spki: new.spki.clone(),
        fingerprint: new.fingerprint,
        bits: new.bits,
        enabled: new.enabled,
        created_ms: new.now_ms,
        updated_ms: new.now_ms,
    }))
}

pub(super) fn get(connection: &Reading, id: PublicKeyId) -> Result<Option<PublicKey>, StoreError> {
    let found = connection.one(Table::PublicKeys, "id = ?1", [id.to_bytes()], read)?;
    Ok(found.map(|(_, row)| row))
}

pub(super) fn list(connection: &Reading, page: PageRequest) -> Result<Page<PublicKey>, StoreError> {
    let condition = "number > ?1 ORDER BY number LIMIT ?2";
    let rows = connection.all(Table::PublicKeys, condition, (page.row(), page.size() + 1), read)?;
    Ok(Page::from_rows(Listing::PublicKeys, page, rows))
}

pub(super) fn enabled_of(connection: &Reading, owner: ClientId) -> Result<Vec<PublicKey>, StoreError> {
    let condition = "owner = ?1 AND enabled = 1 ORDER BY number";
    connection.all(Table::PublicKeys, condition, [owner.to_bytes()], |row| Ok(read(row)?.1))
}

pub(super) fn set_enabled(
    connection: &Writing,
    id: PublicKeyId,
    enabled: bool,
    actor: &Actor,
    now_ms: i64,
) -> Result<Option<PublicKey>, StoreError> {
    // Read first: sealing a row that was forged would make it good.
    let Some((number, row)) = connection.one(Table::PublicKeys, "id = ?1", [id.to_bytes()], read)? else {
        return Ok(None);
    };
    if row.enabled != enabled {
        connection
            .prepare_cached("UPDATE public_keys SET enabled = ?1, updated_ms = ?2 WHERE number = ?3")?
            .execute((enabled, now_ms, number))?;
        connection.seal(Table::PublicKeys, number)?;
        let kind = if enabled { "public_key.enabled" } else { "public_key.disabled" };
        connection.append_act(kind, actor, now_ms, &BTreeMap::from([("public_key", id.to_string())]))?;
    }
    get(connection, id)
}

fn read(row: &Row<'_>) -> rusqlite::Result<(i64, PublicKey)> {
    let key = PublicKey {
        id: PublicKeyId::from_bytes(row.get("id")?),
        owner: ClientId::from_bytes(row.get("owner")?),
        display_name: row.get("display_name")?,
        spki: row.get("spki")?,
        fingerprint: row.get("fingerprint")?,
        bits: row.get("bits")?,
        enabled: row.get("enabled")?,
        created_ms: row.get("created_ms")?,
        updated_ms: row.get("updated_ms")?,
    };
    Ok((row.get("number")?, key))
}
