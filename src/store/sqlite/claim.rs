//! Whether the database is still this process's: what a lock of the kernel cannot see.
//!
//! A lock keeps out what runs under the same kernel. Another machine that reaches the same disk, or
//! a person who puts another file in the database's place, is found here: in each transaction,
//! before anything is written.

use rusqlite::Connection;

use super::OpenError;
use super::lock::FileIdentity;
use crate::store::StoreError;

/// The random number of this process in the database, and the file that it was written to.
#[derive(Debug)]
pub(super) struct Claim {
    run: [u8; 16],
    file: FileIdentity,
}

impl Claim {
    /// Writes a new claim, which ends that of every other process.
    pub(super) fn take(connection: &Connection, file: FileIdentity) -> Result<Self, OpenError> {
        let mut run = [0; 16];
        getrandom::fill(&mut run).map_err(OpenError::Randomness)?;
        connection.execute(
            "INSERT INTO claim (one, run) VALUES (1, ?1) ON CONFLICT DO UPDATE SET run = excluded.run",
            [run],
        )?;
        Ok(Self { run, file })
    }

    /// Refuses once another process has claimed the database, or while its name is another file's.
    /// To be asked inside a transaction that holds the write lock: nobody can come between the
    /// answer and the commit.
    pub(super) fn check(&self, connection: &Connection) -> Result<(), StoreError> {
        let run: [u8; 16] =
            connection.prepare_cached("SELECT run FROM claim")?.query_row([], |row| row.get(0))?;
        if run != self.run {
            let reason = "another process has opened the database since; \
                          end one of the two and start this one again";
            return Err(StoreError::TakenOver { reason: reason.into() });
        }
        self.file.check_name().map_err(|reason| StoreError::TakenOver { reason })
    }
}
