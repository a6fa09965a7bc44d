//! What stands where the database should be. Looked at before SQLite sees it, which would change
//! some of it.

use std::fs::File;
use std::io::{Error, ErrorKind};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};
use rustix::fs::{Access, access};

use super::OpenError;
use super::migrations::APPLICATION_ID;

/// What every SQLite database begins with (<https://sqlite.org/fileformat2.html>, 1.3).
const MAGIC: &[u8] = b"SQLite format 3\0";
/// Where the header has the application id, four bytes big endian.
const APPLICATION_ID_AT: usize = 68;
/// Bytes of the header.
const HEADER: usize = 100;

/// Says what is wrong with a path by what the system knows of it, opening nothing.
pub(super) fn check_kind(path: &Path) -> Result<(), OpenError> {
    let folder = folder_of(path);
    let found = match path.metadata() {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound && !folder.exists() => {
            return Err(OpenError::NoFolder { folder });
        }
        Err(error) => return Err(OpenError::Io { path: path.to_owned(), error }),
    };
    let path = || path.to_owned();
    if found.is_dir() {
        return Err(OpenError::Folder { path: path() });
    }
    if found.is_file() { Ok(()) } else { Err(OpenError::NotAFile { path: path() }) }
}

/// Says whether the folder takes the files that SQLite keeps beside the database.
pub(super) fn check_folder(path: &Path) -> Result<(), OpenError> {
    let folder = folder_of(path);
    access(&folder, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| refused(&folder, error.into()))
}

/// Refuses a file that is no database of ours, which it leaves as it is. Of a database that has
/// been written by SQLite and bears no mark, only one without tables is taken.
///
/// No connection of this process may have the file open, except through `file`.
pub(super) fn check_content(path: &Path, file: &File) -> Result<(), OpenError> {
    let io = |error| OpenError::Io { path: path.to_owned(), error };
    if file.metadata().map_err(io)?.len() == 0 {
        return Err(OpenError::Empty { path: path.to_owned() });
    }
    let mut header = [0; HEADER];
    let is_database = match file.read_exact_at(&mut header, 0) {
        Ok(()) => header.starts_with(MAGIC),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => false,
        Err(error) => return Err(io(error)),
    };
    if !is_database {
        return Err(OpenError::NotADatabase { path: path.to_owned() });
    }
    let mut id = [0; 4];
    id.copy_from_slice(&header[APPLICATION_ID_AT..][..4]);
    match i32::from_be_bytes(id) {
        APPLICATION_ID => Ok(()),
        // The mark may be in the log still.
        0 if !has_foreign_tables(path) => Ok(()),
        _ => Err(OpenError::NotOurs),
    }
}

/// Says whether the database and what lies beside it can be written.
pub(super) fn check_access(path: &Path) -> Result<(), OpenError> {
    for ending in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        let file = PathBuf::from(name);
        if ending.is_empty() || file.exists() {
            access(&file, Access::READ_OK | Access::WRITE_OK)
                .map_err(|error| refused(&file, error.into()))?;
        }
    }
    Ok(())
}

/// A connection that reads alone. Where there is no log, the file is read as one that does not
/// change, since SQLite would make files beside it otherwise.
pub(super) fn open_as_it_is(path: &Path) -> rusqlite::Result<Connection> {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let (name, flags) = if Path::new(&log).exists() {
        (path.as_os_str().to_owned(), OpenFlags::empty())
    } else {
        let plain = path.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
        (format!("file:{plain}?immutable=1").into(), OpenFlags::SQLITE_OPEN_URI)
    };
    let flags = flags | OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(name, flags)
}

/// Whether the database has tables and not our mark. What cannot be read is for the writer to say.
fn has_foreign_tables(path: &Path) -> bool {
    let ask = || -> rusqlite::Result<bool> {
        let connection = open_as_it_is(path)?;
        let id: i32 = connection.query_row("PRAGMA application_id", [], |row| row.get(0))?;
        let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        Ok(id != APPLICATION_ID && tables > 0)
    };
    ask().unwrap_or(false)
}

/// The folder of the database.
pub(super) fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// What the system refused, told apart where the next step is another.
pub(super) fn refused(path: &Path, error: Error) -> OpenError {
    let path = path.to_owned();
    match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => OpenError::ReadOnly { path, error },
        _ => OpenError::Io { path, error },
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::lock::DatabaseLock;
    use super::super::{Locked, SqliteSettings};
    use super::*;

    /// Opens it as the server does, and sees to it that nothing was changed.
    fn refusal(path: &Path) -> OpenError {
        let before = fs::read(path).ok();
        let error = Locked::acquire(SqliteSettings::new(path)).map(drop).expect_err("it was taken");
        assert_eq!(fs::read(path).ok(), before, "{error}");
        let folder: Vec<_> = fs::read_dir(folder_of(path)).into_iter().flatten().flatten().collect();
        assert!(folder.len() <= 1, "files were made beside it: {folder:?}");
        error
    }

    #[test]
    fn what_is_no_database_is_told_by_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vendkey.db");
        let nowhere = folder.path().join("missing/vendkey.db");
        assert!(matches!(refusal(&nowhere), OpenError::NoFolder { folder } if folder.ends_with("missing")));
        assert!(matches!(DatabaseLock::acquire(&nowhere), Err(OpenError::NoFolder { .. })));
        fs::create_dir(&path).unwrap();
        assert!(matches!(refusal(&path), OpenError::Folder { .. }));
        fs::remove_dir(&path).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert!(matches!(refusal(&path), OpenError::NotAFile { .. }));
        fs::remove_file(&path).unwrap();
        fs::write(&path, "").unwrap();
        assert!(matches!(refusal(&path), OpenError::Empty { .. }));
        for content in
            ["short", &"a text, whatever its name says. ".repeat(100), "SQLite format 3\0 and no more"]
        {
            fs::write(&path, content).unwrap();
            assert!(matches!(refusal(&path), OpenError::NotADatabase { .. }), "{content}");
        }
    }

    #[test]
    fn the_databases_of_others_are_left_alone() {
        for mode in ["DELETE", "WAL"] {
            for id in [0, 0x0F05_5112] {
                let folder = tempfile::tempdir().unwrap();
                let path = folder.path().join("a %41 ?#.db");
                let theirs = Connection::open(&path).unwrap();
                theirs.pragma_update(None, "journal_mode", mode).unwrap();
                theirs.pragma_update(None, "application_id", id).unwrap();
                theirs.execute_batch("CREATE TABLE theirs (x)").unwrap();
                drop(theirs);
                assert!(matches!(refusal(&path), OpenError::NotOurs), "{mode} {id}");
            }
        }
    }

    #[test]
    fn the_database_of_a_newer_version_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let settings = SqliteSettings::new(folder.path().join("vendkey.db"));
        drop(Locked::acquire(settings.clone()).unwrap().open().unwrap());
        let newer = Connection::open(&settings.path).unwrap();
        newer
            .execute(
                "INSERT INTO schema_migrations (version, name, checksum) VALUES (999, 'x', zeroblob(32))",
                [],
            )
            .unwrap();
        drop(newer);
        let before = fs::read(&settings.path).unwrap();
        let error = Locked::acquire(settings.clone()).unwrap().open().map(drop).unwrap_err();
        assert!(matches!(error, OpenError::NewerSchema { found: 999, .. }), "{error}");
        assert_eq!(fs::read(&settings.path).unwrap(), before);
    }

    #[test]
    fn a_new_database_is_never_an_empty_file() {
        let folder = tempfile::tempdir().unwrap();
        let settings = SqliteSettings::new(folder.path().join("vendkey.db"));
        drop(Locked::acquire(settings.clone()).unwrap());
        assert!(fs::read(&settings.path).unwrap().starts_with(MAGIC));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
        drop(Locked::acquire(settings).unwrap().open().unwrap());
    }

    #[test]
    fn what_cannot_be_written_is_told_apart() {
        // Nobody makes files there, not even root.
        let error = Locked::acquire(SqliteSettings::new("/sys/vendkey.db")).map(drop).unwrap_err();
        assert!(matches!(error, OpenError::ReadOnly { .. }), "{error}");
        let path = Path::new("vendkey.db");
        for kind in [ErrorKind::PermissionDenied, ErrorKind::ReadOnlyFilesystem] {
            assert!(matches!(refused(path, kind.into()), OpenError::ReadOnly { .. }));
        }
        assert!(matches!(refused(path, ErrorKind::StorageFull.into()), OpenError::Io { .. }));
    }
}
