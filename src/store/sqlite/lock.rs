//! One process at a time: an advisory lock on the database file itself.
//!
//! SQLite itself would let two servers take turns, and each would pick TIDs that the other has not
//! seen only because of that; but limits, the audit chain and the HSM's imports assume one writer.
//!
//! The lock is the inode's, so it holds under every name of the file: symbolic links, bind mounts,
//! other relative paths. A file with several names of its own (hard links, a mount of the file
//! alone) is refused, since SQLite's `-wal` and `-shm` go by the name: two names would have two
//! logs.
//!
//! It is a lock of flock(2), which on local file systems does not meet SQLite's own ones of
//! fcntl(2). Those have a trap: closing any descriptor of a file drops all locks of fcntl(2) that
//! the process has on it. So the descriptor here is opened before SQLite opens the file, and closed
//! after SQLite has closed it.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FlockOperation, StatxAttributes, StatxFlags, flock, fstatfs, statx};
use rustix::io::Errno;

use super::{OpenError, file, file_system};

/// Which file a name meant when the database was opened.
#[derive(Clone, Debug)]
pub(super) struct FileIdentity {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl FileIdentity {
    fn new(path: &Path, file: &Metadata) -> Self {
        Self { path: path.to_owned(), device: file.dev(), inode: file.ino() }
    }

    /// Says what is wrong while the name means another file, or none: what is written to this one,
    /// nobody who goes by the name will find.
    pub(super) fn check_name(&self) -> Result<(), String> {
        let path = self.path.display();
        match std::fs::metadata(&self.path) {
            Ok(found) if (found.dev(), found.ino()) == (self.device, self.inode) => Ok(()),
            Ok(_) => Err(format!(
                "{path} is another file than the one that was opened; put that one back, \
                 or start the server again on this one"
            )),
            Err(error) => Err(format!("{path}, which was opened, cannot be found: {error}")),
        }
    }
}

/// The file of a database that was found fit to be one. To be kept until SQLite has closed it.
#[derive(Debug)]
pub(super) struct DatabaseFile {
    file: File,
    identity: FileIdentity,
}

impl DatabaseFile {
    /// The file for reading beside the process that has it locked. Neither takes nor asks for the
    /// lock.
    pub(super) fn look(path: &Path) -> Result<Self, OpenError> {
        Self::open(path, OpenOptions::new().read(true))
    }

    /// Refuses a file that is no database of ours, before SQLite has it.
    pub(super) fn check_content(&self) -> Result<(), OpenError> {
        file::check_content(&self.identity.path, &self.file)
    }

    fn open(path: &Path, options: &OpenOptions) -> Result<Self, OpenError> {
        let io = |error| OpenError::Io { path: path.to_owned(), error };
        file::check_kind(path)?;
        let file = options.open(path).map_err(|error| file::refused(path, error))?;
        let kind = fstatfs(&file).map_err(|error| io(error.into()))?.f_type;
        if let Some(name) = u64::try_from(kind).ok().and_then(file_system::shared) {
            return Err(OpenError::SharedFileSystem { path: path.to_owned(), name });
        }
        let found = file.metadata().map_err(io)?;
        if found.nlink() > 1 {
            return Err(OpenError::SeveralNames { path: path.to_owned(), names: found.nlink() });
        }
        // Kernels before 5.8 do not tell.
        let mounted = statx(&file, c"", AtFlags::EMPTY_PATH, StatxFlags::empty())
            .is_ok_and(|found| found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT));
        if mounted {
            return Err(OpenError::MountedAlone { path: path.to_owned() });
        }
        let identity = FileIdentity::new(path, &found);
        Ok(Self { file, identity })
    }
}

/// Holds the database until dropped. The kernel lets go of it when the process dies, however it
/// dies.
#[derive(Debug)]
pub(crate) struct DatabaseLock(DatabaseFile);

impl DatabaseLock {
    /// Locks a database, which must exist, or says who has it.
    pub(super) fn acquire(path: &Path) -> Result<Self, OpenError> {
        Self::take(path, FlockOperation::NonBlockingLockExclusive)
    }

    /// The same for a look, which may be taken by several at once. It is to be short: no server can
    /// start meanwhile.
    pub(super) fn share(path: &Path) -> Result<Self, OpenError> {
        Self::take(path, FlockOperation::NonBlockingLockShared)
    }

    fn take(path: &Path, operation: FlockOperation) -> Result<Self, OpenError> {
        let database = DatabaseFile::open(path, OpenOptions::new().read(true).write(true))?;
        match flock(&database.file, operation) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let holder = holder(&database.identity);
                // If it is this very process that has it, closing would drop SQLite's locks.
                std::mem::forget(database);
                return Err(OpenError::InUse { path: path.to_owned(), holder });
            }
            Err(error) => return Err(OpenError::NoLock { path: path.to_owned(), error: error.into() }),
        }
        // The name may have come to mean another file since it was opened.
        let renamed = |reason| OpenError::Io { path: path.to_owned(), error: io::Error::other(reason) };
        database.identity.check_name().map_err(renamed)?;
        Ok(Self(database))
    }

    /// See [`DatabaseFile::check_content`].
    pub(super) fn check_content(&self) -> Result<(), OpenError> {
        self.0.check_content()
    }

    /// The file that is locked.
    pub(super) fn identity(&self) -> FileIdentity {
        self.0.identity.clone()
    }
}

/// How often the list of locks is looked at for one that must be there.
const LOOKS: u32 = 10;

/// The process that has a file locked, if the kernel shows it: a hint for people.
fn holder(file: &FileIdentity) -> Option<u32> {
    let (major, minor) = (rustix::fs::major(file.device), rustix::fs::minor(file.device));
    let wanted = format!("{major:02x}:{minor:02x}:{}", file.inode);
    // 1: FLOCK  ADVISORY  WRITE 4711 fd:00:1234 0 EOF
    let of_line = |line: &str| {
        let mut fields = line.split_whitespace().skip(1);
        let flock = fields.next() == Some("FLOCK");
        let process = fields.nth(2)?.parse().ok()?;
        (flock && fields.next() == Some(wanted.as_str())).then_some(process)
    };
    // The kernel tells the list in pieces: where others come and go meanwhile, a line is left out.
    (0..LOOKS).find_map(|_| std::fs::read_to_string("/proc/locks").ok()?.lines().find_map(of_line))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn database() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vendkey.db");
        File::create(&path).unwrap();
        (dir, path)
    }

    fn refused(path: &Path) -> OpenError {
        DatabaseLock::acquire(path).expect_err("taken twice")
    }

    #[test]
    fn the_second_is_told_who_is_first() {
        let (_dir, path) = database();
        let first = DatabaseLock::acquire(&path).unwrap();
        let OpenError::InUse { holder, .. } = refused(&path) else { panic!("another refusal") };
        assert_eq!(holder, Some(std::process::id()));
        drop(first);
        DatabaseLock::acquire(&path).unwrap();
    }

    #[test]
    fn the_lock_holds_under_other_names() {
        let (dir, path) = database();
        symlink(&path, dir.path().join("link.db")).unwrap();
        symlink(dir.path(), dir.path().join("folder")).unwrap();
        fs::create_dir(dir.path().join("below")).unwrap();
        let first = DatabaseLock::acquire(&path).unwrap();
        let others = ["link.db", "folder/vendkey.db", "below/../vendkey.db", "./vendkey.db"];
        for other in others {
            let error = refused(&dir.path().join(other));
            assert!(matches!(error, OpenError::InUse { .. }), "{other}: {error}");
        }
        drop(first);
        for other in others {
            DatabaseLock::acquire(&dir.path().join(other)).unwrap();
        }
    }

    #[test]
    fn several_names_are_refused_whoever_asks() {
        let (dir, path) = database();
        let second = dir.path().join("hard.db");
        fs::hard_link(&path, &second).unwrap();
        for name in [&path, &second] {
            assert!(matches!(refused(name), OpenError::SeveralNames { names: 2, .. }));
            assert!(matches!(DatabaseFile::look(name), Err(OpenError::SeveralNames { names: 2, .. })));
        }
        fs::remove_file(second).unwrap();
        DatabaseLock::acquire(&path).unwrap();
    }

    #[test]
    fn a_look_needs_no_lock() {
        let (_dir, path) = database();
        let _first = DatabaseLock::acquire(&path).unwrap();
        DatabaseFile::look(&path).unwrap();
    }

    #[test]
    fn a_name_that_means_another_file_is_told() {
        let (dir, path) = database();
        let lock = DatabaseLock::acquire(&path).unwrap();
        let identity = lock.identity();
        assert_eq!(identity.check_name(), Ok(()));
        let away = dir.path().join("away.db");
        fs::rename(&path, &away).unwrap();
        assert!(identity.check_name().unwrap_err().contains("cannot be found"));
        File::create(&path).unwrap();
        assert!(identity.check_name().unwrap_err().contains("another file"));
        fs::rename(&away, &path).unwrap();
        assert_eq!(identity.check_name(), Ok(()));
    }
}
