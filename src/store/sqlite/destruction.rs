//! The end of a configuration: scheduled, restored, begun, done.
//!
//! Between the row that says that destruction has begun and the row that says that it is done the HSM destroys the keys. Whatever dies
//! there is found again by [`due`] and done again.

use std::collections::BTreeMap;

use rusqlite::Connection;

use super::chain::Writing;
use super::column::foreign;
use super::configurations::{Refusable, get, seal, written};
use crate::store::{
    Actor, Configuration, ConfigurationId, ConfigurationRefusal, ConfigurationState as State, StoreError,
};

/// Schedules the destruction of a disabled configuration. One that is scheduled already keeps its time.
pub(super) fn schedule(
    connection: &Writing,
    id: ConfigurationId,
    destroy_ms: i64,
    actor: &Actor,
    now_ms: i64,
) -> Refusable<Configuration> {
    let Some(row) = get(connection, id)? else { return Ok(Err(ConfigurationRefusal::NotFound)) };
    match row.state {
        State::Disabled => {}
        State::DestroyScheduled => return Ok(Ok(row)),
        state => return Ok(Err(ConfigurationRefusal::WrongState { state })),
    }
    connection
        .prepare_cached(
            "UPDATE configurations SET state = 'DESTROY_SCHEDULED', destroy_ms = ?1, updated_ms = ?2 WHERE id = ?3",
        )?
        .execute((destroy_ms, now_ms, id.to_bytes()))?;
    seal(connection, id)?;
    let details = BTreeMap::from([
        ("configuration", id.to_string()),
        ("destroy_ms", destroy_ms.to_string()),
        ("kcv", row.kcv.map(hex::encode).unwrap_or_default()),
    ]);
    connection.append_act("configuration.destroy_scheduled", actor, now_ms, &details)?;
    written(connection, id).map(Ok)
}

/// Takes a scheduled destruction back; the configuration is disabled then. One that is not scheduled stays as it is.
pub(super) fn restore(
    connection: &Writing,
    id: ConfigurationId,
    actor: &Actor,
    now_ms: i64,
) -> Refusable<Configuration> {
    let Some(row) = get(connection, id)? else { return Ok(Err(ConfigurationRefusal::NotFound)) };
    match row.state {
        State::Enabled | State::Disabled => return Ok(Ok(row)),
        // Its key may be gone already.
        State::DestroyScheduled if row.destroy_begun => {
            return Ok(Err(ConfigurationRefusal::WrongState { state: State::Destroyed }));
        }
        State::DestroyScheduled => {}
        state => return Ok(Err(ConfigurationRefusal::WrongState { state })),
    }
    connection
        .prepare_cached(
            "UPDATE configurations SET state = 'DISABLED', destroy_ms = NULL, updated_ms = ?1 WHERE id = ?2",
        )?
        .execute((now_ms, id.to_bytes()))?;
    seal(connection, id)?;
    let details = BTreeMap::from([("configuration", id.to_string())]);
    connection.append_act("configuration.restored", actor, now_ms, &details)?;
    written(connection, id).map(Ok)
}

/// The configurations whose time has come, and those whose destruction did not end.
pub(super) fn due(connection: &Connection, now_ms: i64) -> Result<Vec<ConfigurationId>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT id FROM configurations
         WHERE state = 'DESTROY_SCHEDULED' AND (destroy_begun_ms IS NOT NULL OR destroy_ms <= ?1) ORDER BY number",
    )?;
    let ids = statement.query_map([now_ms], |row| row.get(0).map(ConfigurationId::from_bytes))?;
    Ok(ids.collect::<Result<_, _>>()?)
}

/// The point of no return: from here on it cannot be restored. Checks the time once more, in the transaction.
pub(super) fn begin(connection: &Writing, id: ConfigurationId, now_ms: i64) -> Refusable<Configuration> {
    let Some(row) = get(connection, id)? else { return Ok(Err(ConfigurationRefusal::NotFound)) };
    if row.state != State::DestroyScheduled {
        return Ok(Err(ConfigurationRefusal::WrongState { state: row.state }));
    }
    if row.destroy_begun {
        return Ok(Ok(row));
    }
    let destroy_ms = row.destroy_ms.ok_or_else(|| StoreError::from(foreign("configurations.destroy_ms")))?;
    if destroy_ms > now_ms {
        return Ok(Err(ConfigurationRefusal::WrongState { state: row.state }));
    }
    connection
        .prepare_cached("UPDATE configurations SET destroy_begun_ms = ?1, updated_ms = ?1 WHERE id = ?2")?
        .execute((now_ms, id.to_bytes()))?;
    seal(connection, id)?;
    let details = BTreeMap::from([("configuration", id.to_string())]);
    connection.append_act("configuration.destruction_begun", &Actor::Local, now_ms, &details)?;
    written(connection, id).map(Ok)
}

/// The keys were seen to be gone. What is left of the mask in the row goes too; attributes and check value stay.
pub(super) fn finish(connection: &Writing, id: ConfigurationId, now_ms: i64) -> Refusable<Configuration> {
    let Some(row) = get(connection, id)? else { return Ok(Err(ConfigurationRefusal::NotFound)) };
    match row.state {
        State::Destroyed => return Ok(Ok(row)),
        State::DestroyScheduled if row.destroy_begun => {}
        state => return Ok(Err(ConfigurationRefusal::WrongState { state })),
    }
    connection
        .prepare_cached(
            "UPDATE configurations SET state = 'DESTROYED', mask_iv = NULL, mask_ciphertext = NULL,
                 destroy_ms = ?1, updated_ms = ?1
             WHERE id = ?2",
        )?
        .execute((now_ms, id.to_bytes()))?;
    seal(connection, id)?;
    let details = BTreeMap::from([
        ("configuration", id.to_string()),
        ("kcv", row.kcv.map(hex::encode).unwrap_or_default()),
    ]);
    connection.append_act("configuration.destroyed", &Actor::Local, now_ms, &details)?;
    written(connection, id).map(Ok)
}
