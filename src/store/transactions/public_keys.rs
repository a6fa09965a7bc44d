//! The keys that sign uploads.

use super::Columns;
use crate::audit::Actor;
use crate::configuration::{PublicKey, Registered, register};
use crate::id::{ClientId, PublicKeyId};
use crate::store::engine::{Row, Select, Table, Transaction, View};
use crate::store::reading::Reading;
use crate::store::seals::CheckedRow;
use crate::store::writing::Writing;
use crate::store::{Listing, Page, PageRequest, StoreError};

const TABLE: Table = Table::PublicKeys;

pub(in crate::store) fn register_key<T: Transaction>(
    writing: &mut Writing<T>,
    new: PublicKey,
    actor: Actor,
) -> Result<Registered, StoreError> {
    if let Some(known) = writing.load_one(Select::all(TABLE).with("fingerprint", new.fingerprint))? {
        return read(&known).map(Registered::Existing);
    }
    let change = register(new, actor);
    writing.insert(TABLE, &columns(&change.row))?;
    writing.append_act(&change.act)?;
    Ok(Registered::New(change.row))
}

pub(in crate::store) fn set_enabled<T: Transaction>(
    writing: &mut Writing<T>,
    id: PublicKeyId,
    enabled: bool,
    actor: Actor,
    now_ms: i64,
) -> Result<Option<PublicKey>, StoreError> {
    let Some(row) = load(writing, id)? else { return Ok(None) };
    let known = read(&row)?;
    let Some(change) = known.set_enabled(enabled, actor.clone(), now_ms) else {
        writing.append_unchanged(&actor, now_ms)?;
        return Ok(Some(known));
    };
    writing.change(&row, &columns(&change.row))?;
    writing.append_act(&change.act)?;
    Ok(Some(change.row))
}

pub(in crate::store) fn get<V: View>(
    reading: &mut Reading<V>,
    id: PublicKeyId,
) -> Result<Option<PublicKey>, StoreError> {
    load(reading, id)?.map(|row| read(&row)).transpose()
}

pub(in crate::store) fn list<V: View>(
    reading: &mut Reading<V>,
    page: PageRequest,
) -> Result<Page<PublicKey>, StoreError> {
    reading.load_page(Listing::PublicKeys, Select::all(TABLE), page, |_, row| read(row))
}

pub(in crate::store) fn enabled_of<V: View>(
    reading: &mut Reading<V>,
    owner: ClientId,
) -> Result<Vec<PublicKey>, StoreError> {
    let select = Select::all(TABLE).with("owner", owner.to_bytes()).with("enabled", true);
    reading.load_all(&select)?.iter().map(|row| read(row)).collect()
}

fn load<V: View>(reading: &mut Reading<V>, id: PublicKeyId) -> Result<Option<CheckedRow>, StoreError> {
    reading.load_one(Select::all(TABLE).with("id", id.to_bytes()))
}

fn columns(key: &PublicKey) -> Columns {
    vec![
        ("id", key.id.to_bytes().into()),
        ("owner", key.owner.to_bytes().into()),
        ("display_name", key.display_name.as_str().into()),
        ("spki", key.spki.clone().into()),
        ("fingerprint", key.fingerprint.into()),
        ("bits", key.bits.into()),
        ("enabled", key.enabled.into()),
        ("created_ms", key.created_ms.into()),
        ("updated_ms", key.updated_ms.into()),
    ]
}

fn read(row: &Row) -> Result<PublicKey, StoreError> {
    Ok(PublicKey {
        id: PublicKeyId::from_bytes(row.bytes("id")?),
        owner: ClientId::from_bytes(row.bytes("owner")?),
        display_name: row.text("display_name")?.to_owned(),
        spki: row.blob("spki")?.to_vec(),
        fingerprint: row.bytes("fingerprint")?,
        bits: row.coded::<u32, u32>("bits")?,
        enabled: row.truth("enabled")?,
        created_ms: row.integer("created_ms")?,
        updated_ms: row.integer("updated_ms")?,
    })
}
