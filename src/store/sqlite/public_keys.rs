//! The table of the keys that sign uploads.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, Row, named_params};

use super::chain::Writing;
use crate::store::{
    Actor, ClientId, Listing, NewPublicKey, Page, PageRequest, PublicKey, PublicKeyId, Registered, StoreError,
};

pub(super) fn register(connection: &Writing, new: &NewPublicKey) -> Result<Registered, StoreError> {
    let known = connection
        .prepare_cached("SELECT * FROM public_keys WHERE fingerprint = ?1")?
        .query_row([new.fingerprint], read)
        .optional()?;
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
    let details = BTreeMap::from([
        ("public_key", new.id.to_string()),
        ("display_name", new.display_name.clone()),
        ("fingerprint", hex::encode(new.fingerprint)),
        ("owner", new.owner.to_string()),
    ]);
    connection.append_act("public_key.registered", &Actor::Local, new.now_ms, &details)?;
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

pub(super) fn get(connection: &Connection, id: PublicKeyId) -> Result<Option<PublicKey>, StoreError> {
    let found = connection
        .prepare_cached("SELECT * FROM public_keys WHERE id = ?1")?
        .query_row([id.to_bytes()], read)
        .optional()?;
    Ok(found.map(|(_, row)| row))
}

pub(super) fn list(connection: &Connection, page: PageRequest) -> Result<Page<PublicKey>, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT * FROM public_keys WHERE number > ?1 ORDER BY number LIMIT ?2")?;
    let rows = statement.query_map((page.row(), page.size() + 1), read)?.collect::<Result<_, _>>()?;
    Ok(Page::from_rows(Listing::PublicKeys, page, rows))
}

pub(super) fn enabled_of(connection: &Connection, owner: ClientId) -> Result<Vec<PublicKey>, StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT * FROM public_keys WHERE owner = ?1 AND enabled = 1 ORDER BY number")?;
    let rows = statement.query_map([owner.to_bytes()], |row| Ok(read(row)?.1))?.collect::<Result<_, _>>()?;
    Ok(rows)
}

pub(super) fn set_enabled(
    connection: &Writing,
    id: PublicKeyId,
    enabled: bool,
    actor: &Actor,
    now_ms: i64,
) -> Result<Option<PublicKey>, StoreError> {
    let changed = connection
        .prepare_cached(
            "UPDATE public_keys SET enabled = ?1, updated_ms = ?2 WHERE id = ?3 AND enabled <> ?1",
        )?
        .execute((enabled, now_ms, id.to_bytes()))?;
    if changed > 0 {
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
