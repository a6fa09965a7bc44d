//! How a connection to the database is opened: durable for the writer, read-only for the readers.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::lock::DatabaseFile;
use super::{OpenError, file, migrations};

/// Only readers of other programs (a backup, a person with a shell) can be in the way, and not for
/// long.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Statements kept prepared per connection: more than there are.
const STATEMENT_CACHE: usize = 64;

/// Makes the database file, readable by nobody else, if there is none. SQLite gives its side files
/// the same mode.
///
/// The file gets its name when it is a database that is known as ours: an empty file is none,
/// whatever ends this process.
pub(super) fn create(path: &Path) -> Result<(), OpenError> {
    if path.symlink_metadata().is_ok() {
        return Ok(());
    }
    let folder = file::folder_of(path);
    if !folder.exists() {
        return Err(OpenError::NoFolder { folder });
    }
    let refused = |error| file::refused(&folder, error);
    let mut new = path.as_os_str().to_owned();
    new.push(format!(".new-{}", std::process::id()));
    let new = PathBuf::from(new);
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new);
    let file = file.map_err(refused)?;
    {
        let connection = Connection::open_with_flags(&new, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        connection.pragma_update(None, "application_id", migrations::APPLICATION_ID)?;
    }
    file.sync_all().map_err(refused)?;
    match renameat_with(CWD, &new, CWD, path, RenameFlags::NOREPLACE) {
        Ok(()) => {}
        // Another process has made it meanwhile.
        Err(Errno::EXIST) => std::fs::remove_file(&new).map_err(refused)?,
        // A file system that cannot tell.
        Err(Errno::INVAL) => std::fs::rename(&new, path).map_err(refused)?,
        Err(error) => return Err(refused(error.into())),
    }
    // The new name must survive a power cut as well as what is in the file.
    File::open(&folder).and_then(|folder| folder.sync_all()).map_err(refused)
}

/// What holds for every connection.
fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENT_CACHE);
    // Plans do not depend on what is bound. Otherwise many statements would be compiled again at
    // every use, which costs more than what they do.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // Rows come from a file that others could have written: no functions in the schema, no trust in
    // it.
    connection.pragma_update(None, "trusted_schema", false)
}

/// The one connection that writes.
pub(super) fn open_writer(path: &Path) -> Result<Connection, OpenError> {
    // No URI names and no creating: the path is a path, and create() has made the file.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    prepare(&connection)?;

    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if !mode.eq_ignore_ascii_case("wal") {
        return Err(OpenError::NoWriteAheadLog { path: path.to_owned() });
    }
    // A commit is durable only when the log is on the disk: FULL, and not the NORMAL that WAL
    // tempts to.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // Deleted rows leave no bytes behind in the file.
    connection.pragma_update(None, "secure_delete", true)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // 16 MiB: the upper pages of all indexes of a big ledger.
    connection.pragma_update(None, "cache_size", -16_384)?;
    // `log` copies.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    Ok(connection)
}

/// The connection that copies the log into the database file, and does nothing else.
pub(super) fn open_copier(path: &Path) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    prepare(&connection)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    Ok(connection)
}

/// Copies a database as it is at one moment, beside whoever has it open, into an empty file, which
/// is nobody else's to read. Blocking.
///
/// # Errors
/// [`OpenError::Copy`], half a copy is left then; what the database's own file says.
pub(in crate::store) fn copy(from: &Path, to: &Path) -> Result<(), OpenError> {
    let io = |error| OpenError::Copy { path: to.to_owned(), error };
    // By a name whose log is that of another name, the copy would lack what lies in the log.
    // Dropped behind the connection, as it must be.
    let file = DatabaseFile::look(from)?;
    file.check_content()?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(from, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.execute("VACUUM INTO ?1", [to.to_string_lossy()]).map_err(|error| {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure | ErrorCode::CannotOpen) => {
                io(std::io::Error::other(error))
            }
            _ => error.into(),
        }
    })?;
    File::open(to).and_then(|file| file.sync_all()).map_err(io)?;
    File::open(file::folder_of(to)).and_then(|folder| folder.sync_all()).map_err(io)
}

/// A connection for queries. The database exists: the writer was opened before.
pub(super) fn open_reader(path: &Path) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    prepare(&connection)?;
    connection.pragma_update(None, "query_only", true)?;
    connection.pragma_update(None, "cache_size", -8_192)?;
    Ok(connection)
}
