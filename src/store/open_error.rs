//! Why a database cannot be opened.

use std::path::PathBuf;

use thiserror::Error;

use super::StoreError;

/// Why a database cannot be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another process (or another store of this one) has it.
    #[error("the database {} is in use{}", .path.display(), by_process(.holder))]
    InUse {
        /// The database.
        path: PathBuf,
        /// The process that has it, if it left its number.
        holder: Option<u32>,
    },
    /// It is where several machines can have it at once.
    #[error(
        "the database {} is on {name}, whose locks do not keep another machine out: put it on a local file system",
        .path.display()
    )]
    SharedFileSystem {
        /// The database.
        path: PathBuf,
        /// The kind of file system.
        name: &'static str,
    },
    /// The file system gives no lock.
    #[error("the file system of {} gives no lock ({error}): put the database on a local one", .path.display())]
    NoLock {
        /// The database.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// It has hard links.
    #[error(
        "the database {} has {names} names (hard links), and SQLite would keep a log for each: \
         remove all names but one, and use a symbolic link where another is needed",
        .path.display()
    )]
    SeveralNames {
        /// The database.
        path: PathBuf,
        /// How many.
        names: u64,
    },
    /// The file is mounted without its folder.
    #[error(
        "the database {} is mounted as a file alone, so that its log would lie in another folder: \
         mount the folder that holds it",
        .path.display()
    )]
    MountedAlone {
        /// The database.
        path: PathBuf,
    },
    /// A folder stands where the file should be.
    #[error(
        "the database {} is a folder (a container makes one where the file to mount is missing): \
         remove it if it is empty, and mount the folder that is to hold the database",
        .path.display()
    )]
    Folder {
        /// The database.
        path: PathBuf,
    },
    /// A device, a socket or a pipe stands where the file should be.
    #[error("the database {} is no regular file: correct store.path", .path.display())]
    NotAFile {
        /// The database.
        path: PathBuf,
    },
    /// The folder of the database is missing.
    #[error(
        "the folder {} of the database does not exist: make it (or mount its volume), or correct store.path",
        .folder.display()
    )]
    NoFolder {
        /// The folder.
        folder: PathBuf,
    },
    /// The database or its folder cannot be written.
    #[error(
        "{} cannot be written ({error}): the database, the files beside it and their folder must belong to \
         whoever runs this program, on a file system that is not mounted read-only",
        .path.display()
    )]
    ReadOnly {
        /// The file or the folder.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// No byte is in the file.
    #[error(
        "the database {} is an empty file: restore the backup, or remove the file if there never was a \
         database here and run `vendkey setup`",
        .path.display()
    )]
    Empty {
        /// The database.
        path: PathBuf,
    },
    /// The file is something else.
    #[error(
        "{} is no SQLite database: correct store.path, or restore the backup; the file was left as it is",
        .path.display()
    )]
    NotADatabase {
        /// The database.
        path: PathBuf,
    },
    /// A file cannot be opened, made or synced.
    #[error("{}: {error}", .path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// A copy of it cannot be made or written.
    #[error("the copy {}: {error}", .path.display())]
    Copy {
        /// The copy.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The file system cannot share memory between connections (a network one, perhaps).
    #[error("the file system of {} does not allow a write-ahead log", .path.display())]
    NoWriteAheadLog {
        /// The database.
        path: PathBuf,
    },
    /// The database of another program.
    #[error("this is the database of another program: correct store.path; the file was left as it is")]
    NotOurs,
    /// A newer Vendkey has brought the schema further than this one knows.
    #[error(
        "the database has schema version {found}, this program knows {known}: use the newer program, \
         or restore the backup that was made before it ran"
    )]
    NewerSchema {
        /// The version of the database.
        found: u32,
        /// The newest that this program knows.
        known: u32,
    },
    /// A schema step of this database is not the one that this program has.
    #[error("schema step {version} of the database is not the one of this program")]
    AlteredSchema {
        /// Which step.
        version: u32,
    },
    /// No thread can be started.
    #[error("no thread can be started: {error}")]
    Threads {
        /// What the system said.
        error: std::io::Error,
    },
    /// The system gives no random bytes for a new chain.
    #[error("the system gives no randomness: {0}")]
    Randomness(getrandom::Error),
    /// It has rows that decide and no seals: a database of a version without them, or somebody took
    /// them out.
    #[error(
        "the rows that decide bear no seals: if this database was made by a version without seals, run `vendkey setup --seal-rows`"
    )]
    Unsealed,
    /// Rows that decide do not bear their seals, so they get no others.
    #[error("rows that decide were changed by somebody else: {}{}", .rows.join(", "), if *.taken_out_or_put_back { " (some were taken out or put back)" } else { "" })]
    Forged {
        /// By table and number.
        rows: Vec<String>,
        /// Whether some are missing, or are as they once were.
        taken_out_or_put_back: bool,
    },
    /// The server of the database does not answer.
    #[error("the database {database} cannot be reached: {reason}")]
    Unreachable {
        /// The database, without secrets.
        database: String,
        /// What came in the place of an answer.
        reason: String,
    },
    /// The server of the database refuses, or is none that keeps what it has said to be kept.
    #[error("the database {database} cannot be used: {reason}")]
    Refused {
        /// The database, without secrets.
        database: String,
        /// What it said, or what is wrong with it.
        reason: String,
    },
    /// A process runs with the name of this server.
    #[error(
        "a server with the name {name:?} has the database already: each has a name of its own in server.name"
    )]
    NameInUse {
        /// The name.
        name: String,
    },
    /// There is no schema of ours or an older one, and whoever looks may not bring it up.
    #[error(
        "the database has not the tables of this version: run `vendkey setup`, as their owner \
         (docs/operations.md, least rights)"
    )]
    NoSchema,
    /// A server runs, and a command needs the database for itself.
    #[error("the server {name:?} runs on the database: stop all servers of it first")]
    ServerRuns {
        /// The name.
        name: String,
    },
    /// A command has the database alone.
    #[error("a command is at work on the database beside which no server may run: wait until it has ended")]
    Maintenance,
    /// It is the target of a migration that has not ended.
    #[error(
        "the database is being filled from {from} and is not whole yet: run that `vendkey store migrate` again, \
         which goes on where it was cut off"
    )]
    Filling {
        /// From which database.
        from: String,
    },
    /// It was migrated.
    #[error(
        "all that this database holds was migrated to {to}, where servers go on: let store.url name that one. Tokens \
         given here would be given a second time; `vendkey store migrate` from there brings the ledger back, into a \
         new database"
    )]
    Moved {
        /// To which database.
        to: String,
    },
    /// The database is copied by its own means.
    #[error(
        "a PostgreSQL database is backed up by its own means: `pg_basebackup` and its write-ahead log          (docs/operations.md says how, and what a restore means)"
    )]
    OwnBackup,
    /// The chain or the seals of the database cannot be begun.
    #[error(transparent)]
    Chain(#[from] StoreError),
    /// The engine refused.
    #[error("the database cannot be opened: {reason}")]
    Database {
        /// What it said.
        reason: String,
    },
}

fn by_process(holder: &Option<u32>) -> String {
    holder.map(|pid| format!(" by process {pid}")).unwrap_or_default()
}
