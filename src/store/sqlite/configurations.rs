//! The table of configurations.

use std::collections::BTreeMap;

use rusqlite::{Row, named_params};
use serde::{Deserialize, Serialize};

use super::chain::Writing;
use super::column::{coded, foreign, parsed};
use super::sealed::{Reading, Table};
use crate::store::{
    Actor, Begun, ClientId, Configuration, ConfigurationId, ConfigurationRefusal, ConfigurationState,
    FinishedState, ImportedFields, Listing, MaskedKey, NewConfiguration, Page, PageRequest, PublicKeyId,
    StoreError, Warning,
};
use crate::sts::attributes::{Attributes, KeyExpiry};

pub(super) type Refusable<T> = Result<Result<T, ConfigurationRefusal>, StoreError>;

pub(super) fn begin_import(connection: &Writing, new: &NewConfiguration) -> Result<Begun, StoreError> {
    if let Some(known) = of_upload(connection, new.fingerprint)? {
        return Ok(match known.state {
            ConfigurationState::Importing => Begun::Resumed(known),
            _ => Begun::Existing(known),
        });
    }
    let Attributes { iin, sgc, ti, krn, kt, ken: KeyExpiry(ken), ea, dkga, base_date } = new.attributes;
    connection
        .prepare_cached(
            "INSERT INTO configurations (
                 id, fingerprint, state, display_name, iin, sgc, ti, krn, kt, ken, ea, dkga, base_date, key_length,
                 servable, unservable, warnings, signer, uploaded_by, created_ms, updated_ms)
             VALUES (
                 :id, :fingerprint, 'IMPORTING', :display_name, :iin, :sgc, :ti, :krn, :kt, :ken, :ea, :dkga,
                 :base_date, :key_length, :servable, :unservable, :warnings, :signer, :uploaded_by, :now, :now)",
        )?
        .execute(named_params! {
            ":id": new.id.to_bytes(),
            ":fingerprint": new.fingerprint,
            ":display_name": new.display_name,
            ":iin": iin.as_str(),
            ":sgc": sgc.as_str(),
            ":ti": ti.value(),
            ":krn": krn.value(),
            ":kt": kt.value(),
            ":ken": ken,
            ":ea": ea.code(),
            ":dkga": dkga.code(),
            ":base_date": base_date.year(),
            ":key_length": new.key_length,
            ":servable": new.unservable.is_empty(),
            ":unservable": json(&new.unservable)?,
            ":warnings": json(&new.warnings)?,
            ":signer": new.signer.to_bytes(),
            ":uploaded_by": new.uploaded_by.to_bytes(),
            ":now": new.now_ms,
        })?;
    connection.seal(Table::Configurations, connection.last_insert_rowid())?;
    let details = BTreeMap::from([
        ("configuration", new.id.to_string()),
        ("display_name", new.display_name.clone()),
        ("sgc", sgc.as_str().to_owned()),
        ("signer", new.signer.to_string()),
        ("uploaded_by", new.uploaded_by.to_string()),
    ]);
    connection.append_act("configuration.uploaded", &new.actor, new.now_ms, &details)?;
    written(connection, new.id).map(Begun::Started)
}

pub(super) fn finish_import(
    connection: &Writing,
    id: ConfigurationId,
    fields: &ImportedFields,
    actor: &Actor,
    now_ms: i64,
) -> Refusable<Configuration> {
    let Some(row) = get(connection, id)? else { return Ok(Err(ConfigurationRefusal::NotFound)) };
    if row.state != ConfigurationState::Importing {
        return Ok(Err(ConfigurationRefusal::WrongState { state: row.state }));
    }
    // Nothing issues without a check value that the HSM has confirmed.
    if fields.state == FinishedState::Enabled && (!row.is_servable() || fields.kcv.is_none()) {
        return Ok(Err(not_servable(row)));
    }
    connection
        .prepare_cached(
            "UPDATE configurations SET
                 state = :state, kcv = :kcv, mask_iv = :iv, mask_ciphertext = :ciphertext, updated_ms = :now
             WHERE id = :id",
        )?
        .execute(named_params! {
            ":state": ConfigurationState::from(fields.state).as_str(),
            ":kcv": fields.kcv,
            ":iv": fields.mask.map(|mask| mask.iv),
            ":ciphertext": fields.mask.map(|mask| mask.ciphertext),
            ":now": now_ms,
            ":id": id.to_bytes(),
        })?;
    seal(connection, id)?;
    let details = BTreeMap::from([
        ("configuration", id.to_string()),
        ("state", ConfigurationState::from(fields.state).to_string()),
        ("kcv", fields.kcv.map(hex::encode).unwrap_or_default()),
    ]);
    connection.append_act("configuration.imported", actor, now_ms, &details)?;
    written(connection, id).map(Ok)
}

pub(super) fn abandon_import(
    connection: &Writing,
    id: ConfigurationId,
    now_ms: i64,
) -> Result<bool, StoreError> {
    let deleted = connection
        .prepare_cached("DELETE FROM configurations WHERE id = ?1 AND state = 'IMPORTING'")?
        .execute([id.to_bytes()])?;
    if deleted > 0 {
        connection.deciding_rows_changed();
        let details = BTreeMap::from([("configuration", id.to_string())]);
        connection.append_act("configuration.abandoned", &Actor::Local, now_ms, &details)?;
    }
    Ok(deleted > 0)
}

pub(super) fn set_enabled(
    connection: &Writing,
    id: ConfigurationId,
    enabled: bool,
    actor: &Actor,
    now_ms: i64,
) -> Refusable<Configuration> {
    let Some(row) = get(connection, id)? else { return Ok(Err(ConfigurationRefusal::NotFound)) };
    let wanted = if enabled { ConfigurationState::Enabled } else { ConfigurationState::Disabled };
    match row.state {
        ConfigurationState::Enabled | ConfigurationState::Disabled => {}
        state => return Ok(Err(ConfigurationRefusal::WrongState { state })),
    }
    if enabled && (!row.is_servable() || row.kcv.is_none()) {
        return Ok(Err(not_servable(row)));
    }
    if row.state == wanted {
        return Ok(Ok(row));
    }
    connection
        .prepare_cached("UPDATE configurations SET state = ?1, updated_ms = ?2 WHERE id = ?3")?
        .execute((wanted.as_str(), now_ms, id.to_bytes()))?;
    seal(connection, id)?;
    let kind = if enabled { "configuration.enabled" } else { "configuration.disabled" };
    connection.append_act(kind, actor, now_ms, &BTreeMap::from([("configuration", id.to_string())]))?;
    written(connection, id).map(Ok)
}

pub(super) fn get(connection: &Reading, id: ConfigurationId) -> Result<Option<Configuration>, StoreError> {
    let found = connection.one(Table::Configurations, "id = ?1", [id.to_bytes()], read)?;
    Ok(found.map(|(_, row)| row))
}

pub(super) fn of_upload(
    connection: &Reading,
    fingerprint: [u8; 32],
) -> Result<Option<Configuration>, StoreError> {
    let found = connection.one(Table::Configurations, "fingerprint = ?1", [fingerprint], read)?;
    Ok(found.map(|(_, row)| row))
}

pub(super) fn list(connection: &Reading, page: PageRequest) -> Result<Page<Configuration>, StoreError> {
    let condition = "number > ?1 ORDER BY number LIMIT ?2";
    let rows = connection.all(Table::Configurations, condition, (page.row(), page.size() + 1), read)?;
    Ok(Page::from_rows(Listing::Configurations, page, rows))
}

/// Seals the row that was just changed.
pub(super) fn seal(connection: &Writing, id: ConfigurationId) -> Result<(), StoreError> {
    let number = connection
        .prepare_cached("SELECT number FROM configurations WHERE id = ?1")?
        .query_row([id.to_bytes()], |row| row.get(0))?;
    connection.seal(Table::Configurations, number)
}

fn not_servable(row: Configuration) -> ConfigurationRefusal {
    let no_key =
        || Warning { code: "NO_KEY_CHECK_VALUE".into(), message: "the HSM has not confirmed its key".into() };
    let reasons = if row.is_servable() { vec![no_key()] } else { row.unservable };
    ConfigurationRefusal::NotServable { reasons }
}

/// The row that was just written.
pub(super) fn written(connection: &Reading, id: ConfigurationId) -> Result<Configuration, StoreError> {
    get(connection, id)?
        .ok_or_else(|| StoreError::Defect { reason: "a configuration just written is gone".into() })
}

fn json<T: Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Defect { reason: error.to_string() })
}

fn from_json<T: for<'a> Deserialize<'a>>(row: &Row<'_>, column: &'static str) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?;
    text.as_str().ok().and_then(|text| serde_json::from_str(text).ok()).ok_or_else(|| foreign(column))
}

pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<(i64, Configuration)> {
    let attributes = Attributes {
        iin: parsed(row, "iin", "configurations.iin")?,
        sgc: parsed(row, "sgc", "configurations.sgc")?,
        ti: coded::<u8, _>(row, "ti", "configurations.ti")?,
        krn: coded::<u8, _>(row, "krn", "configurations.krn")?,
        kt: coded::<u8, _>(row, "kt", "configurations.kt")?,
        ken: KeyExpiry(row.get("ken")?),
        ea: coded::<u8, _>(row, "ea", "configurations.ea")?,
        dkga: coded::<u8, _>(row, "dkga", "configurations.dkga")?,
        base_date: coded::<u16, _>(row, "base_date", "configurations.base_date")?,
    };
    let iv: Option<[u8; 16]> = row.get("mask_iv")?;
    let ciphertext: Option<[u8; 16]> = row.get("mask_ciphertext")?;
    let configuration = Configuration {
        id: ConfigurationId::from_bytes(row.get("id")?),
        fingerprint: row.get("fingerprint")?,
        state: parsed(row, "state", "configurations.state")?,
        display_name: row.get("display_name")?,
        attributes,
        key_length: row.get("key_length")?,
        unservable: from_json(row, "unservable")?,
        warnings: from_json(row, "warnings")?,
        kcv: row.get("kcv")?,
        mask: iv.zip(ciphertext).map(|(iv, ciphertext)| MaskedKey { iv, ciphertext }),
        signer: PublicKeyId::from_bytes(row.get("signer")?),
        uploaded_by: ClientId::from_bytes(row.get("uploaded_by")?),
        created_ms: row.get("created_ms")?,
        updated_ms: row.get("updated_ms")?,
        destroy_ms: row.get("destroy_ms")?,
        destroy_begun: row.get::<_, Option<i64>>("destroy_begun_ms")?.is_some(),
    };
    Ok((row.get("number")?, configuration))
}
