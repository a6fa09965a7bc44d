//! A look at a database before a server takes it, changing nothing.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use super::lock::DatabaseLock;
use super::{OpenError, ReadOnly, Sqlite, copy, file, migrations};
use crate::clock::SignOfLife;
use crate::store::Examined;
use crate::store::engine::View as _;
use crate::store::transactions::audit;

/// Says what opening it would say: who has it, what it is, whether it can be written, and whether
/// its schema is known.
pub(in crate::store) fn examine(path: &Path) -> Result<Examined, OpenError> {
    if path.symlink_metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound) {
        let folder = file::folder_of(path);
        if !folder.exists() {
            return Err(OpenError::NoFolder { folder });
        }
        file::check_folder(path)?;
        return Ok(Examined::Missing);
    }
    // Dropped behind the connection, as it must be.
    let lock = DatabaseLock::share(path)?;
    lock.check_content()?;
    file::check_folder(path)?;
    file::check_access(path)?;
    let (sign_of_life, has_checkpoint) = past(path)?;
    drop(lock);
    Ok(Examined::Found { sign_of_life, has_checkpoint })
}

/// None of a database that is to be brought up first.
fn past(path: &Path) -> Result<(Option<SignOfLife>, bool), OpenError> {
    let connection = file::open_as_it_is(path)?;
    // A first start may have ended before the chain was begun.
    if migrations::are_all_there(&connection)? {
        copy::check_mark(&connection)?;
    }
    let has_chain = || connection.query_row("SELECT EXISTS (SELECT 1 FROM chain)", [], |row| row.get(0));
    if !migrations::are_all_there(&connection)? || !has_chain()? {
        return Ok((None, false));
    }
    let mut view = Sqlite {
        writer: ReadOnly,
        connection,
        unmerged: Arc::default(),
        in_snapshot: false,
        highest_requests: None,
    };
    let has_checkpoint = view.last_checkpoint()?.is_some();
    Ok((audit::last_sign_of_life(&mut view)?, has_checkpoint))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;

    use rusqlite::Connection;

    use super::super::{Locked, SqliteSettings};
    use super::*;

    /// All files of a folder. Of what SQLite's processes share the name alone: whoever reads marks
    /// it there.
    fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
        let names =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let content = |name: &str| match name.ends_with("-shm") {
            true => Vec::new(),
            false => fs::read(folder.join(name)).unwrap(),
        };
        names.map(|name| (name.clone(), content(&name))).collect()
    }

    #[test]
    fn a_look_changes_nothing_and_hinders_no_look() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vendkey.db");
        assert_eq!(examine(&path).unwrap(), Examined::Missing);
        assert!(files(folder.path()).is_empty());
        let settings = SqliteSettings::new(&path);
        drop(Locked::acquire(settings.clone()).unwrap());
        assert_eq!(
            examine(&path).unwrap(),
            Examined::Found { sign_of_life: None, has_checkpoint: false },
            "without a schema"
        );
        drop(Locked::acquire(settings.clone()).unwrap().open().unwrap());
        let before = files(folder.path());
        let other = DatabaseLock::share(&path).unwrap();
        assert_eq!(examine(&path).unwrap(), Examined::Found { sign_of_life: None, has_checkpoint: false });
        drop(other);
        assert!(files(folder.path()) == before, "something was changed");

        let open = Locked::acquire(settings).unwrap();
        let Err(OpenError::InUse { holder, .. }) = examine(&path) else { panic!("it is not in use") };
        assert_eq!(holder, Some(std::process::id()));
        drop(open);
    }

    #[test]
    fn a_schema_that_is_not_this_programs_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vendkey.db");
        drop(Locked::acquire(SqliteSettings::new(&path)).unwrap().open().unwrap());
        let change = |sql: &str| Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        change("INSERT INTO schema_migrations (version, name, checksum) VALUES (999, 'x', zeroblob(32))");
        let before = files(folder.path());
        assert!(matches!(examine(&path), Err(OpenError::NewerSchema { found: 999, .. })));
        assert!(files(folder.path()) == before, "something was changed");
        change("DELETE FROM schema_migrations WHERE version = 999");
        change("UPDATE schema_migrations SET checksum = zeroblob(32) WHERE version = 2");
        assert!(matches!(examine(&path), Err(OpenError::AlteredSchema { version: 2 })));
    }
}
