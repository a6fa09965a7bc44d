//! The table of one row that says which server has the database.

use rusqlite::{Connection, OptionalExtension as _};

use super::{chain, heartbeat};
use crate::audit::ChainNumber;
use crate::store::{Server, ServerState, StoreError};

/// Notes the name of the server.
pub(super) fn name(connection: &Connection, name: &str) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO server (one, name) VALUES (1, ?1) ON CONFLICT DO UPDATE SET name = excluded.name",
        )?
        .execute([name])?;
    Ok(())
}

/// Notes the name of the server where there was none.
pub(super) fn name_new(connection: &Connection, name: &str) -> Result<(), StoreError> {
    connection
        .prepare_cached("INSERT INTO server (one, name) VALUES (1, ?1) ON CONFLICT DO NOTHING")?
        .execute([name])?;
    Ok(())
}

/// Notes what the server says of itself.
pub(super) fn write(connection: &Connection, state: &ServerState) -> Result<(), StoreError> {
    let ServerState { version, hsm_token } = state;
    connection
        .prepare_cached("UPDATE server SET version = ?1, hsm_token = ?2")?
        .execute((version, hsm_token))?;
    Ok(())
}

pub(super) fn read(connection: &Connection) -> Result<Server, StoreError> {
    let head = chain::read(connection)?.end.head;
    let found = connection
        .prepare_cached("SELECT name, version, hsm_token FROM server")?
        .query_row([], |row| {
            let state = row.get::<_, Option<String>>(1)?.zip(row.get::<_, Option<String>>(2)?);
            Ok((row.get(0)?, state.map(|(version, hsm_token)| ServerState { version, hsm_token })))
        })
        .optional()?;
    let (name, state) = found.unwrap_or_default();
    let last_life_ms = heartbeat::last(connection)?.map(|sign| sign.moment.wall_ms);
    Ok(Server { number: ChainNumber::FIRST, name, state, last_life_ms, head })
}
