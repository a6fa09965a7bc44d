//! Files that commands write: each gets its name when it is whole, so that neither a signal, nor a
//! full disk, nor a server that went away leaves half of one, or takes away the one from before.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::{
    interruption::{self, Guard},
    unfinished::Unfinished,
};

/// A file that is being written.
pub(super) struct WholeFile {
    out: BufWriter<File>,
    /// `None`: the name is that of a device or a pipe, which is written to as it is.
    beside: Option<Beside>,
}

/// A file that has no name yet, and goes away unless it gets one.
struct Beside {
    /// `None`: it has its name.
    held: Option<(Unfinished, Guard)>,
    name: PathBuf,
}

impl WholeFile {
    /// Begins a file; `mode` is for one that is new. Nothing is seen under its name before its end.
    ///
    /// # Errors
    /// `ResourceBusy` while another command writes it; what the system says.
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
        let beside = Beside::of(name, mode)?;
        let file = beside.file()?;
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
    made(name, mode, |beside| {
        let mut file = OpenOptions::new().write(true).open(beside)?;
        file.write_all(content.as_ref())?;
        file.sync_all()
    })
}

/// Lets another fill an empty file under another name, until it is whole and durable; its own must
/// not be there.
///
/// # Errors
/// What the other says, and what the system says: `AlreadyExists` too.
pub(super) fn made<E: From<io::Error>>(
    name: &Path,
    mode: u32,
    fill: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    if name.symlink_metadata().is_ok() {
        return Err(E::from(io::ErrorKind::AlreadyExists.into()));
    }
    let beside = Beside::of(name.to_owned(), mode)?;
    fill(beside.path())?;
    Ok(beside.named(RenameFlags::NOREPLACE)?)
}

impl Beside {
    fn of(name: PathBuf, mode: u32) -> io::Result<Self> {
        let held = Unfinished::begin(&name, mode)?;
        let guard = interruption::remove(held.path().to_owned());
        Ok(Self { held: Some((held, guard)), name })
    }

    fn path(&self) -> &Path {
        self.held.as_ref().map_or(&self.name, |(held, _)| held.path())
    }

    fn file(&self) -> io::Result<File> {
        match &self.held {
            Some((held, _)) => held.file().try_clone(),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn named(mut self, how: RenameFlags) -> io::Result<()> {
        if let Some((held, guard)) = self.held.take() {
            let rename = || match renameat_with(CWD, held.path(), CWD, &self.name, how) {
                // A file system that cannot tell whether a name is taken.
                Err(rustix::io::Errno::INVAL) => fs::rename(held.path(), &self.name),
                other => Ok(other?),
            };
            // From here on the other name is whoever's comes next.
            if let Err(error) = guard.end_with(rename) {
                held.remove();
                return Err(error);
            }
        }
        let folder = self.name.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // Nobody gets it.
        if let Some((held, guard)) = self.held.take() {
            guard.end_with(|| held.remove());
        }
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
        // Another command names neither that half nor its own.
        let other = put(&file, 0o600, "other").unwrap_err();
        assert_eq!(other.kind(), io::ErrorKind::ResourceBusy);
        assert_eq!(fs::read_to_string(dir.path().join("file.unfinished")).unwrap(), "sec");
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
        let failing = made(&file, 0o600, |beside| {
            fs::write(beside, "half")?;
            assert_eq!(create(&file, 0o600, "other").unwrap_err().kind(), io::ErrorKind::ResourceBusy);
            Err(io::Error::other("no"))
        });
        assert!(failing.is_err() && names(dir.path()).is_empty());
        made(&file, 0o600, |beside| fs::write(beside, "whole")).unwrap();
        let again = made(&file, 0o600, |beside| fs::write(beside, "another")).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!((fs::read_to_string(&file).unwrap().as_str(), names(dir.path()).len()), ("whole", 1));
    }
}
