//! Files that commands write: each gets its name when it is whole, so that neither a signal, nor a
//! full disk, nor a server that went away leaves half of one, or takes away the one from before.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::interruption::{self, Guard};

/// A file that is being written.
pub(super) struct WholeFile {
    out: BufWriter<File>,
    /// `None`: the name is that of a device or a pipe, which is written to as it is.
    beside: Option<Beside>,
}

/// A file that has no name yet, and goes away unless it gets one.
struct Beside {
    path: PathBuf,
    name: PathBuf,
    _guard: Guard,
}

impl WholeFile {
    /// Begins a file; `mode` is for one that is new. Nothing is seen under its name before its end.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn begin(name: &Path, mode: u32) -> io::Result<Self> {
        let (name, mode) = match fs::metadata(name) {
            Ok(found) if found.is_file() => {
                // Where the name is a link, it stays one.
                (name.canonicalize()?, found.permissions().mode() & 0o777)
            }
            Ok(_) => {
                let out = OpenOptions::new().write(true).open(name)?;
                return Ok(Self { out: BufWriter::new(out), beside: None });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => (name.to_owned(), mode),
            Err(error) => return Err(error),
        };
        let beside = Beside::of(name)?;
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside.path)?;
        Ok(Self { out: BufWriter::new(file), beside: Some(beside) })
    }

    /// Makes it durable and gives it its name.
    ///
    /// # Errors
    /// What the system says; what was there before is there still.
    pub(super) fn finish(self) -> io::Result<()> {
        let file = self.out.into_inner().map_err(io::IntoInnerError::into_error)?;
        match self.beside {
            None => Ok(()),
            Some(beside) => {
                file.sync_all()?;
                beside.named(RenameFlags::empty())
            }
        }
    }
}

impl Write for WholeFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Writes a file in one piece.
///
/// # Errors
/// What the system says; what was there before is there still.
pub(super) fn put(name: &Path, mode: u32, content: impl AsRef<[u8]>) -> io::Result<()> {
    let mut file = WholeFile::begin(name, mode)?;
    file.write_all(content.as_ref())?;
    file.finish()
}

/// The same for a file that must not be there.
///
/// # Errors
/// What the system says: `AlreadyExists` too.
pub(super) fn create(name: &Path, mode: u32, content: impl AsRef<[u8]>) -> io::Result<()> {
    made(name, |beside| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(beside)?;
        file.write_all(content.as_ref())?;
        file.sync_all()
    })
}

/// Lets another make a file that must not be there, under another name until it is whole and
/// durable.
///
/// # Errors
/// What the other says, and what the system says: `AlreadyExists` too.
pub(super) fn made<E: From<io::Error>>(
    name: &Path,
    make: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    if name.symlink_metadata().is_ok() {
        return Err(E::from(io::ErrorKind::AlreadyExists.into()));
    }
    let beside = Beside::of(name.to_owned())?;
    make(&beside.path)?;
    Ok(beside.named(RenameFlags::NOREPLACE)?)
}

impl Beside {
    fn of(name: PathBuf) -> io::Result<Self> {
        let mut path = name.clone().into_os_string();
        path.push(".unfinished");
        let path = PathBuf::from(path);
        let guard = interruption::remove(path.clone());
        // Of a command that was killed, or of a power cut.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(Self { path, name, _guard: guard }),
        }
    }

    fn named(self, how: RenameFlags) -> io::Result<()> {
        let folder = self.name.parent().filter(|folder| !folder.as_os_str().is_empty());
        match renameat_with(CWD, &self.path, CWD, &self.name, how) {
            // A file system that cannot tell whether a name is taken.
            Err(rustix::io::Errno::INVAL) => fs::rename(&self.path, &self.name)?,
            other => other?,
        }
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // It has its name, or nobody gets it.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_there_whole_or_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        put(&file, 0o600, "first").unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        // Half of one, and what a power cut left.
        let mut half = WholeFile::begin(&file, 0o666).unwrap();
        half.write_all(b"sec").unwrap();
        half.flush().unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "first");
        assert_eq!(names(dir.path()), ["file", "file.unfinished"]);
        drop(half);
        fs::write(dir.path().join("file.unfinished"), "left").unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        put(&link, 0o666, "second").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "second");
        assert!(link.symlink_metadata().unwrap().is_symlink());
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(names(dir.path()), ["file", "link"]);
    }

    #[test]
    fn a_device_stays_one() {
        put(Path::new("/dev/null"), 0o600, "text").unwrap();
        assert!(put(Path::new("/dev/full"), 0o600, "text").is_err());
        assert!(
            !fs::metadata("/dev/null").unwrap().is_file() && !fs::metadata("/dev/full").unwrap().is_file()
        );
        let dir = tempfile::tempdir().unwrap();
        assert!(put(dir.path(), 0o600, "text").is_err());
    }

    #[test]
    fn what_another_makes_is_new_and_whole() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        let failing = made(&file, |beside| {
            fs::write(beside, "half")?;
            Err(io::Error::other("no"))
        });
        assert!(failing.is_err() && names(dir.path()).is_empty());
        made(&file, |beside| fs::write(beside, "whole")).unwrap();
        let again = made(&file, |beside| fs::write(beside, "another")).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!((fs::read_to_string(&file).unwrap().as_str(), names(dir.path()).len()), ("whole", 1));
    }
}
