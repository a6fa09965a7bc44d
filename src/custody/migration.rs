//! A ledger carried into another database, with the checkpoint that is kept outside of it.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::checkpoint_file;
use crate::{
    audit::{CheckpointError, SignedCheckpoint},
    hsm::Hsm,
    settings::{Settings, checkpoint_file_of},
    store::{self, DatabaseUrl, Migrated, MigrationError, Watch},
};

/// Why a ledger is not carried over.
#[derive(Debug, thiserror::Error)]
pub enum CarryError {
    /// The databases.
    #[error(transparent)]
    Migration(#[from] MigrationError),
    /// A checkpoint file cannot be read or written.
    #[error("the checkpoint file {}: {error}", .file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A checkpoint file holds something else.
    #[error("the checkpoint file {}: {error}", .file.display())]
    Checkpoint {
        /// Which.
        file: PathBuf,
        /// What is wrong.
        error: CheckpointError,
    },
}

/// What became of the checkpoint file of the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckpointFile {
    /// It was written.
    Written(PathBuf),
    /// Nobody knows where it is to be.
    Unknown,
    /// There is no checkpoint yet.
    NoCheckpoint,
}

/// Carries a ledger from one database into another ([`store::migrate`]), and its last checkpoint
/// into the file of the other. The settings are those of a server on one of the two; they say where
/// checkpoints are kept. Blocking.
///
/// # Errors
/// [`CarryError`]. The same again goes on.
pub fn carry(
    settings: &Settings,
    from: &DatabaseUrl,
    to: &DatabaseUrl,
    hsm: &Hsm,
    watch: Watch<'_>,
) -> Result<(Migrated, CheckpointFile), CarryError> {
    let file_of = |url: &DatabaseUrl| {
        if *url == settings.store.url {
            Some(settings.store.checkpoint_file.clone())
        } else {
            checkpoint_file_of(url)
        }
    };
    let file = file_of(to);
    let mut kept = Vec::new();
    // That of the target may be one of another ledger, which must not be lost.
    for file in [file_of(from), file.clone()].into_iter().flatten() {
        kept.extend(read(&file)?);
    }
    let server = (*to == settings.store.url).then_some(settings.server.name.as_str());
    let mut became = CheckpointFile::NoCheckpoint;
    // Before the target is open to servers: one that finds no file there would issue nothing.
    let mut verified = |migrated: &Migrated| {
        became = match (&migrated.checkpoint, &file) {
            (None, _) => CheckpointFile::NoCheckpoint,
            (Some(_), None) => CheckpointFile::Unknown,
            (Some(text), Some(file)) => {
                checkpoint_file::write(file, text)?;
                CheckpointFile::Written(file.clone())
            }
        };
        Ok(())
    };
    let sealer = Arc::new(hsm.clone());
    let migrated = store::migrate(from, to, server, kept, sealer, watch, &mut verified)?;
    Ok((migrated, became))
}

fn read(file: &Path) -> Result<Option<SignedCheckpoint>, CarryError> {
    let text =
        checkpoint_file::read(file).map_err(|error| CarryError::File { file: file.to_owned(), error })?;
    let parsed = text.map(|text| SignedCheckpoint::parse(&text)).transpose();
    parsed.map_err(|error| CarryError::Checkpoint { file: file.to_owned(), error })
}
