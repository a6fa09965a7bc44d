//! A secret in a file before the server is asked to believe it, so that nothing is made that nobody
//! can use.
//!
//! Beside `FILE` stands `FILE.unfinished` until the server has said that it knows the credential.
//! Cut off in whatever way, the same command again goes on with the same request id and the same
//! secret.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use uuid::Uuid;

use super::{
    interruption::{self, Guard},
    output::Failure,
};
use crate::access::Credential;

/// A credential that the server does not know yet, or may not know.
pub(super) struct SecretFile {
    pub(super) credential: Credential,
    /// That of the client who gets it, if it is made by the same command.
    pub(super) request_id: Uuid,
    file: PathBuf,
    unfinished: PathBuf,
    _interrupted: Guard,
}

impl SecretFile {
    /// Makes one in a file that was not there, or takes up the one of a command that did not end.
    ///
    /// # Errors
    /// When the file is there already and no command of this kind was cut off, or cannot be made.
    pub(super) fn begin(option: &str, file: &Path, request_id: Option<Uuid>) -> Result<Self, Failure> {
        let failure = |error: &io::Error| Failure::created(option, file, error);
        let unfinished = unfinished(file);
        let interrupted = interruption::tell("the same command again goes on".to_owned());
        let left = match fs::read_to_string(&unfinished) {
            Ok(text) => Some(text.trim().parse::<Uuid>().ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(Failure::created(option, &unfinished, &error)),
        };
        if left.is_none() && file.symlink_metadata().is_ok() {
            return Err(failure(&io::Error::new(
                io::ErrorKind::AlreadyExists,
                "it is there already, and nothing was asked for: name another file, or move it away",
            )));
        }
        let request_id = request_id.or(left.flatten()).unwrap_or_else(Uuid::now_v7);
        match fs::read_to_string(file) {
            // Cut off before it was written; the server was not asked yet.
            Ok(text) if text.trim().is_empty() => fs::remove_file(file).map_err(|error| failure(&error))?,
            Ok(text) => {
                let credential = text.parse().map_err(|error| Failure::data(option, file, error))?;
                return Ok(Self {
                    credential,
                    request_id,
                    file: file.to_owned(),
                    unfinished,
                    _interrupted: interrupted,
                });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failure(&error)),
        }
        let credential = Credential::generate().map_err(|error| Failure::text(error.to_string()))?;
        keep(&unfinished, &format!("{request_id}\n"))
            .map_err(|error| Failure::created(option, &unfinished, &error))?;
        if let Err(error) = write(file, &credential) {
            let _ = fs::remove_file(&unfinished);
            return Err(failure(&error));
        }
        Ok(Self { credential, request_id, file: file.to_owned(), unfinished, _interrupted: interrupted })
    }

    /// Whether a command that made a credential in this file was cut off.
    pub(super) fn is_unfinished(file: &Path) -> bool {
        unfinished(file).exists()
    }

    /// The server knows it.
    pub(super) fn finish(self) {
        let _ = fs::remove_file(&self.unfinished);
    }

    /// The server will never know it: a credential that no server knows only misleads.
    pub(super) fn give_up(self) {
        let _ = fs::remove_file(&self.file);
        let _ = fs::remove_file(&self.unfinished);
    }

    /// Gives it up if the server's refusal is final; keeps it if the act may still happen.
    pub(super) fn refused(self, failure: Failure) -> Failure {
        if !failure.may_still_happen() {
            self.give_up();
        }
        failure
    }
}

fn unfinished(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".unfinished");
    name.into()
}

/// Writes a small file anew, and to the disk.
fn keep(file: &Path, text: &str) -> io::Result<()> {
    let mut out = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(file)?;
    out.write_all(text.as_bytes())?;
    out.sync_all()
}

/// Writes a credential that nobody else reads, to a file that was not there.
///
/// # Errors
/// When the file is there or cannot be written; nothing is left then.
pub(super) fn write(file: &Path, credential: &Credential) -> io::Result<()> {
    let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    let written = writeln!(out, "{}", *credential.expose())
        .and_then(|()| out.sync_all())
        .and_then(|()| sync_folder(file));
    if written.is_err() {
        let _ = fs::remove_file(file);
    }
    written
}

fn sync_folder(file: &Path) -> io::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}
