//! A meter's file on the disk: made once, replaced whole at each change, held by one process at a
//! time.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use rustix::fs::FlockOperation;
use zeroize::Zeroizing;

use super::sealed::{Header, Lock, SealedError, Sealer};
use crate::cli::whole_file;

/// The state is about a kilobyte.
const MOST_BYTES: u64 = 1 << 20;
/// Nobody else reads it.
const MODE: u32 = 0o600;

/// Makes a new file, which must not exist.
pub(super) fn create(path: &Path, lock: &Lock, text: &[u8]) -> Result<(), SealedError> {
    let sealed = Sealer::of(Header::new(lock)?, lock)?.seal(text)?;
    whole_file::create(path, MODE, sealed).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => SealedError::Exists,
        _ => SealedError::Io(error),
    })
}

/// A file that is there, and that no other process of this program changes meanwhile.
pub(super) struct StateFile {
    path: PathBuf,
    /// Holds the advisory lock.
    locked: File,
    content: Vec<u8>,
}

/// A file that was opened with its key.
pub(super) struct OpenFile {
    path: PathBuf,
    /// Holds the advisory lock. Each write replaces the file, so this is the lock of the first one:
    /// whoever waits for it looks again.
    _locked: File,
    sealer: Sealer,
}

impl StateFile {
    /// Waits until nobody else has the file.
    pub(super) fn open(path: &Path) -> Result<Self, SealedError> {
        loop {
            let mut locked = File::open(path)?;
            rustix::fs::flock(&locked, FlockOperation::LockExclusive).map_err(io::Error::from)?;
            // Whoever had it before has replaced it.
            let (ours, current) = (locked.metadata()?, fs::metadata(path)?);
            if (ours.dev(), ours.ino()) != (current.dev(), current.ino()) {
                continue;
            }
            let mut content = Vec::new();
            (&mut locked).take(MOST_BYTES).read_to_end(&mut content)?;
            return Ok(Self { path: path.to_owned(), locked, content });
        }
    }

    /// The text in it.
    pub(super) fn unseal(self, lock: &Lock) -> Result<(OpenFile, Zeroizing<Vec<u8>>), SealedError> {
        let (header, rest) = Header::split(&self.content).ok_or(SealedError::Format)?;
        let sealer = Sealer::of(header, lock)?;
        let text = sealer.open(rest)?;
        Ok((OpenFile { path: self.path, _locked: self.locked, sealer }, text))
    }
}

impl OpenFile {
    /// Replaces the text: whole or not at all, also in a crash.
    pub(super) fn write(&self, text: &[u8]) -> Result<(), SealedError> {
        Ok(whole_file::put(&self.path, MODE, self.sealer.seal(text)?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passphrase(text: &str) -> Lock {
        Lock::Passphrase(Zeroizing::new(text.to_owned()))
    }

    fn key(byte: u8) -> Lock {
        Lock::Key(Zeroizing::new([byte; 32]))
    }

    fn text(path: &Path, lock: &Lock) -> Result<Vec<u8>, SealedError> {
        StateFile::open(path)?.unseal(lock).map(|(_, text)| text.to_vec())
    }

    #[test]
    fn what_was_written_is_read_with_the_same_lock_alone() {
        let dir = tempfile::tempdir().unwrap();
        for (name, lock, wrong, other) in [
            ("a", key(7), key(8), passphrase("x")),
            ("b", passphrase("correct"), passphrase("horse"), key(7)),
        ] {
            let path = dir.path().join(name);
            create(&path, &lock, b"first").unwrap();
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
            assert!(matches!(create(&path, &lock, b"again"), Err(SealedError::Exists)));
            let (file, first) = StateFile::open(&path).unwrap().unseal(&lock).unwrap();
            assert_eq!(*first, b"first");
            file.write(b"second").unwrap();
            drop(file);
            assert_eq!(text(&path, &lock).unwrap(), b"second");
            assert!(matches!(text(&path, &wrong), Err(SealedError::Closed)));
            assert!(matches!(text(&path, &other), Err(SealedError::OtherLock(_))));
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        }
        let left: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left.len(), 2, "{left:?}");
    }

    /// Every bit counts: header, nonce, ciphertext and tag.
    #[test]
    fn a_changed_byte_anywhere_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("meter");
        create(&path, &key(1), b"state").unwrap();
        let good = fs::read(&path).unwrap();
        for place in 0..good.len() {
            let mut bad = good.clone();
            bad[place] ^= 1;
            fs::write(&path, &bad).unwrap();
            assert!(text(&path, &key(1)).is_err(), "byte {place}");
        }
        for length in 0..good.len() {
            fs::write(&path, &good[..length]).unwrap();
            assert!(text(&path, &key(1)).is_err(), "{length} bytes");
        }
        fs::write(&path, &good).unwrap();
        assert_eq!(text(&path, &key(1)).unwrap(), b"state");
    }
}
