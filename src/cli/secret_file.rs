//! A secret in a file before the server is asked to believe it, so that nothing is made that nobody
//! can use.
//!
//! Beside `FILE` stands `FILE.unfinished` until the server has said that it knows the credential.
//! Cut off in whatever way, the same command again goes on with the same request id and the same
//! secret. Two commands at once never share one: the second is told to wait.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Seek as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use uuid::Uuid;

use super::{
    interruption::{self, Guard},
    output::Failure,
    unfinished::{Unfinished, beside},
};
use crate::access::Credential;

/// A credential that the server does not know yet, or may not know.
pub(super) struct SecretFile {
    pub(super) credential: Credential,
    /// That of the client who gets it, if it is made by the same command.
    pub(super) request_id: Uuid,
    file: PathBuf,
    unfinished: Unfinished,
    _interrupted: Guard,
}

impl SecretFile {
    /// Makes one in a file that was not there, or takes up the one of a command that did not end.
    ///
    /// # Errors
    /// When the file is there already and no command of this kind was cut off, when another such
    /// command has it now, or when it cannot be made.
    pub(super) fn begin(option: &str, file: &Path, request_id: Option<Uuid>) -> Result<Self, Failure> {
        let failure = |error: &io::Error| Failure::created(option, file, error);
        let interrupted = interruption::tell("the same command again goes on".to_owned());
        let (unfinished, left) = Unfinished::resume(file, 0o600).map_err(|error| failure(&error))?;
        if left.is_empty() && file.symlink_metadata().is_ok() {
            unfinished.remove();
            return Err(failure(&io::Error::new(
                io::ErrorKind::AlreadyExists,
                "it is there already, and nothing was asked for: name another file, or move it away",
            )));
        }
        let request_id = request_id.or(left.trim().parse().ok()).unwrap_or_else(Uuid::now_v7);
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
        match made(file, request_id, &unfinished) {
            Ok(credential) => Ok(Self {
                credential,
                request_id,
                file: file.to_owned(),
                unfinished,
                _interrupted: interrupted,
            }),
            Err(error) => {
                unfinished.remove();
                Err(failure(&error))
            }
        }
    }

    /// Whether a command that made a credential in this file was cut off.
    pub(super) fn is_unfinished(file: &Path) -> bool {
        beside(file).exists()
    }

    /// The server knows it.
    pub(super) fn finish(self) {
        self.unfinished.remove();
    }

    /// The server will never know it: a credential that no server knows only misleads.
    pub(super) fn give_up(self) {
        let _ = fs::remove_file(&self.file);
        self.unfinished.remove();
    }

    /// Gives it up if the server's refusal is final; keeps it if the act may still happen.
    pub(super) fn refused(self, failure: Failure) -> Failure {
        if !failure.may_still_happen() {
            self.give_up();
        }
        failure
    }
}

/// A new credential in its file; the request id is on the disk before it.
fn made(file: &Path, request_id: Uuid, unfinished: &Unfinished) -> io::Result<Credential> {
    let credential = Credential::generate().map_err(io::Error::other)?;
    let mut out = unfinished.file();
    out.set_len(0)?;
    out.rewind()?;
    writeln!(out, "{request_id}")?;
    out.sync_all()?;
    write(file, &credential)?;
    Ok(credential)
}

/// Writes a credential that nobody else reads, to a file that was not there. If that fails, nothing
/// is left.
fn write(file: &Path, credential: &Credential) -> io::Result<()> {
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
