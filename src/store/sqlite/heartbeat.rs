//! The table of one row that says when a server last lived.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _};

use super::column::foreign;
use crate::clock::{BootId, Moment, SignOfLife, Uptime};
use crate::store::StoreError;

/// Writes a sign of life.
pub(super) fn write(connection: &Connection, sign: &SignOfLife) -> Result<(), StoreError> {
    let Moment { wall_ms, uptime } = sign.moment;
    let (boot, passed) = uptime.map(|uptime| (uptime.boot.0, milliseconds(uptime.passed))).unzip();
    connection
        .prepare_cached(
            "INSERT INTO heartbeat (one, at_ms, boot_id, uptime_ms, in_doubt) VALUES (1, ?1, ?2, ?3, ?4)
             ON CONFLICT DO UPDATE SET at_ms = excluded.at_ms, boot_id = excluded.boot_id,
                 uptime_ms = excluded.uptime_ms, in_doubt = excluded.in_doubt",
        )?
        .execute((wall_ms, boot, passed, sign.in_doubt))?;
    Ok(())
}

/// The last sign of life.
pub(super) fn last(connection: &Connection) -> Result<Option<SignOfLife>, StoreError> {
    Ok(connection
        .prepare_cached("SELECT at_ms, boot_id, uptime_ms, in_doubt FROM heartbeat")?
        .query_row([], |row| {
            let boot = row.get::<_, Option<[u8; 16]>>(1)?.map(BootId);
            let passed = row.get::<_, Option<i64>>(2)?.map(|passed| {
                u64::try_from(passed).map(Duration::from_millis).map_err(|_| foreign("heartbeat.uptime_ms"))
            });
            let uptime = boot.zip(passed.transpose()?).map(|(boot, passed)| Uptime { boot, passed });
            Ok(SignOfLife { moment: Moment { wall_ms: row.get(0)?, uptime }, in_doubt: row.get(3)? })
        })
        .optional()?)
}

fn milliseconds(passed: Duration) -> i64 {
    i64::try_from(passed.as_millis()).unwrap_or(i64::MAX)
}
