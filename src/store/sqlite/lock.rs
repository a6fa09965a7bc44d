//! One process at a time: an advisory lock on a file beside the database.
//!
//! SQLite itself would let two servers take turns, and each would pick TIDs that the other has not seen only because
//! of that; but limits, the audit chain and the HSM's imports assume one writer. Scaling out is PostgreSQL's part.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::OpenError;

/// Holds the database until dropped. The kernel lets go of it when the process dies, however it dies.
#[derive(Debug)]
pub(super) struct ProcessLock {
    _file: File,
}

impl ProcessLock {
    /// Takes the lock beside this database, or says who has it.
    pub(super) fn acquire(database: &Path) -> Result<Self, OpenError> {
        let path = lock_path(database);
        let io = |error: std::io::Error| OpenError::Io { path: path.clone(), error };

        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(io)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                let _ = file.read_to_string(&mut holder);
                return Err(OpenError::InUse {
                    path: database.to_owned(),
                    holder: holder.trim().parse().ok(),
                });
            }
            Err(error) => return Err(io(error.into())),
        }
        // The number is a hint for people; the lock itself is what counts.
        file.set_len(0).and_then(|()| file.rewind()).map_err(io)?;
        writeln!(file, "{}", std::process::id()).map_err(io)?;
        Ok(Self { _file: file })
    }
}

fn lock_path(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_is_first() {
        let dir = tempfile::tempdir().unwrap();
        let database = dir.path().join("vendkey.db");
        let first = ProcessLock::acquire(&database).unwrap();
        let Err(OpenError::InUse { holder, .. }) = ProcessLock::acquire(&database) else {
            panic!("taken twice")
        };
        assert_eq!(holder, Some(std::process::id()));
        drop(first);
        ProcessLock::acquire(&database).unwrap();
    }
}
