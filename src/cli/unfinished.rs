//! `NAME.unfinished`: what a command has begun and not ended, held by one command at a time.
//!
//! The lock is flock(2)'s on the file itself. So it ends with the process, however that ends, and
//! what lies there unlocked was left by a command that was killed or by a power cut.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// A file beside the one that it is for, which no other command writes meanwhile.
#[derive(Debug)]
pub(super) struct Unfinished {
    file: File,
    path: PathBuf,
}

/// The name of the file beside this one.
pub(super) fn beside(name: &Path) -> PathBuf {
    let mut path = name.as_os_str().to_owned();
    path.push(".unfinished");
    path.into()
}

impl Unfinished {
    /// A new and empty one; what another command left is taken away.
    ///
    /// # Errors
    /// `ResourceBusy` while another command has it; what the system says.
    pub(super) fn begin(name: &Path, mode: u32) -> io::Result<Self> {
        let path = beside(name);
        loop {
            match Self::hold(&path, OpenOptions::new().write(true)) {
                Ok(left) => left.into_iter().for_each(Self::remove),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            match Self::hold(&path, OpenOptions::new().write(true).create_new(true).mode(mode)) {
                Ok(Some(new)) => return Ok(new),
                Ok(None) => {}
                // Another command begins at the same moment.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The one that another command left, with what stands in it; else a new one.
    ///
    /// # Errors
    /// As [`Unfinished::begin`].
    pub(super) fn resume(name: &Path, mode: u32) -> io::Result<(Self, String)> {
        let path = beside(name);
        loop {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false).mode(mode);
            if let Some(mut held) = Self::hold(&path, &options)? {
                let mut text = String::new();
                held.file.read_to_string(&mut text)?;
                return Ok((held, text));
            }
        }
    }

    /// Opens and locks what has this name. `None`: something else has it since, or nothing.
    fn hold(path: &Path, options: &OpenOptions) -> io::Result<Option<Self>> {
        let file = options.open(path)?;
        // On a file system without locks two commands are not told apart.
        if matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
            return Err(io::Error::new(
                io::ErrorKind::ResourceBusy,
                "another command works on it: wait for its end, or name another file",
            ));
        }
        let ours = file.metadata()?;
        let is_named = match fs::metadata(path) {
            Ok(named) => (named.dev(), named.ino()) == (ours.dev(), ours.ino()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        Ok(is_named.then(|| Self { file, path: path.to_owned() }))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Takes it away. One that stays is taken away, or taken up, by the next command.
    pub(super) fn remove(self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_busy<T: std::fmt::Debug>(taken: io::Result<T>) -> bool {
        taken.unwrap_err().kind() == io::ErrorKind::ResourceBusy
    }

    #[test]
    fn one_command_at_a_time_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let name = dir.path().join("file");
        let first = Unfinished::begin(&name, 0o600).unwrap();
        assert!(is_busy(Unfinished::begin(&name, 0o600)) && is_busy(Unfinished::resume(&name, 0o600)));
        assert!(first.path().exists());
        // Of a command that was killed the file stays, and not the lock.
        fs::write(first.path(), "left").unwrap();
        drop(first);
        let (second, text) = Unfinished::resume(&name, 0o600).unwrap();
        assert_eq!(text, "left");
        assert!(is_busy(Unfinished::begin(&name, 0o600)));
        drop(second);
        let third = Unfinished::begin(&name, 0o600).unwrap();
        assert_eq!(fs::read(third.path()).unwrap(), b"");
        third.remove();
        assert!(!beside(&name).exists());
        assert_eq!(Unfinished::resume(&name, 0o600).unwrap().1, "");
        let nowhere = dir.path().join("missing/file");
        for taken in
            [Unfinished::begin(&nowhere, 0o600).map(drop), Unfinished::resume(&nowhere, 0o600).map(drop)]
        {
            assert_eq!(taken.unwrap_err().kind(), io::ErrorKind::NotFound);
        }
    }

    /// Whoever has the lock of a file that has got its name has nothing.
    #[test]
    fn many_at_once_never_have_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let name = dir.path().join("file");
        let inside = std::sync::atomic::AtomicU32::new(0);
        let took = || {
            let Ok(held) = Unfinished::begin(&name, 0o600) else { return 0 };
            let others = inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            assert_eq!((others, fs::read(held.path()).unwrap().len()), (0, 0));
            fs::write(held.path(), "x").unwrap();
            inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
            fs::rename(held.path(), &name).unwrap();
            1
        };
        let took: u32 = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..8).map(|_| scope.spawn(|| (0..200).map(|_| took()).sum::<u32>())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert!(took > 0);
    }
}
