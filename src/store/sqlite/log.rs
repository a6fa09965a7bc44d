//! The write-ahead log's way into the database file, beside the committer.
//!
//! Commits append pages to the log, and somebody must copy them into the database, or the log grows
//! for ever. That costs a write for each page and two syncs of the disk, for which no token should
//! wait: a thread of its own copies while the committer goes on. A log begins anew only when a
//! commit finds all of it copied, which under load never happens by itself. So once the thread has
//! left little behind, the committer copies that little.

use std::cell::Cell;
use std::thread::JoinHandle;

use flume::{Receiver, Sender};
use rusqlite::Connection;

/// Pages that wait to be copied before the thread begins: more at once are fewer syncs.
const WORTH_COPYING: i64 = 1_000;
/// Pages from which on the log should begin anew: 16 MiB.
const LONG: i64 = 4_000;
/// Pages that the committer copies at any length.
const LITTLE: i64 = 64;
/// Where the thread does not get ahead of the committer at all, the committer waits for the disk:
/// 256 MiB.
const TOO_LONG: i64 = 64_000;

/// How far the log has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Length {
    /// Pages in it.
    pub(super) pages: i64,
    /// How many of them are in the database file.
    pub(super) copied: i64,
}

/// The thread that copies, and when it and the committer do.
#[derive(Debug)]
pub(super) struct Log {
    wake: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
    /// How long the log was when the committer last copied.
    tended: Cell<i64>,
}

impl Log {
    /// Starts the thread with a connection of its own.
    pub(super) fn start(connection: Connection) -> std::io::Result<Self> {
        // Full means that it is awake.
        let (wake, woken) = flume::bounded(1);
        let thread = std::thread::Builder::new()
            .name("log-copier".into())
            .spawn(move || copy_when_woken(&connection, &woken))?;
        Ok(Self { wake: Some(wake), thread: Some(thread), tended: Cell::new(0) })
    }

    /// To be called by the committer after a commit, when everybody has an answer.
    pub(super) fn tend(&self, connection: &Connection) {
        let Ok(Length { pages, copied }) = length(connection) else { return };
        let rest = pages - copied;
        if rest >= WORTH_COPYING
            && let Some(wake) = &self.wake
        {
            let _ = wake.try_send(());
        }
        if pages < self.tended.get() {
            self.tended.set(0);
        }
        // Where a reader keeps the log from beginning anew, there is no use in copying after every
        // commit.
        if is_due(pages, rest) && pages - self.tended.get() >= WORTH_COPYING {
            self.tended.set(pages);
            if let Err(error) = copy(connection) {
                tracing::debug!(%error, "the committer could not copy the log's rest");
            }
        }
    }
}

/// Whether the committer should copy the rest: the longer the log, the more it takes on itself.
fn is_due(pages: i64, rest: i64) -> bool {
    pages >= LONG && (rest <= LITTLE + (pages - LONG) / 4 || pages >= TOO_LONG)
}

impl Drop for Log {
    fn drop(&mut self) {
        self.wake = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn copy_when_woken(connection: &Connection, woken: &Receiver<()>) {
    let mut failed = false;
    while woken.recv().is_ok() {
        match copy(connection) {
            Ok(_) => failed = false,
            // A full disk, usually. The log keeps what is not copied, and the next commit wakes
            // this thread again.
            Err(error) if !failed => {
                failed = true;
                tracing::warn!(%error, "the write-ahead log cannot be copied into the database");
            }
            Err(_) => {}
        }
    }
}

/// How far the log has come, without touching it.
pub(super) fn length(connection: &Connection) -> rusqlite::Result<Length> {
    checkpoint(connection, "PRAGMA wal_checkpoint(NOOP)")
}

/// Copies what no reader keeps from being copied. Waits for nobody.
pub(super) fn copy(connection: &Connection) -> rusqlite::Result<Length> {
    checkpoint(connection, "PRAGMA wal_checkpoint(PASSIVE)")
}

fn checkpoint(connection: &Connection, sql: &str) -> rusqlite::Result<Length> {
    connection.prepare_cached(sql)?.query_row([], |row| {
        Ok(Length { pages: row.get::<_, i64>(1)?.max(0), copied: row.get::<_, i64>(2)?.max(0) })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committer_copies_little_or_must() {
        assert!(!is_due(LONG - 1, 0));
        assert!(is_due(LONG, LITTLE));
        assert!(!is_due(LONG, LITTLE + 1));
        assert!(is_due(2 * LONG, LONG / 4));
        assert!(!is_due(TOO_LONG - 1, TOO_LONG - 1));
        assert!(is_due(TOO_LONG, TOO_LONG));
    }
}
