//! What a meter's file holds: AES-256-GCM under a key file, or under a passphrase by way of
//! Argon2id.
//!
//! ```text
//! "vendkey meter 1\n"   16 bytes
//! 0                     1 byte: a key file                      or
//! 1, m, t, p, salt      1 byte, three numbers of 4 bytes (most significant first) and 16 bytes: a passphrase
//! nonce                 12 bytes, random for each write
//! ciphertext, tag       the state; everything before the nonce is authenticated with it
//! ```

use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use aes_gcm::{
    Aes256Gcm, Nonce,
    aead::{Aead as _, KeyInit as _, Payload},
};
use argon2::{Algorithm, Argon2, Params, Version};
use zeroize::Zeroizing;

const MAGIC: &[u8; 16] = b"vendkey meter 1\n";
const KEY_BYTES: usize = 32;
const SALT_BYTES: usize = 16;
const NONCE_BYTES: usize = 12;
/// RFC 9106 §4, the second recommendation: 64 MiB, 3 passes, 4 lanes.
const PARAMETERS: Parameters = Parameters { memory_kib: 65_536, passes: 3, lanes: 4 };
/// No file may ask for more memory or time than this.
const MOST: Parameters = Parameters { memory_kib: 1 << 20, passes: 16, lanes: 16 };
/// Why a file or its key cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum SealedError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it exists already; a meter is never overwritten")]
    Exists,
    #[error("it is no file of a meter")]
    Format,
    #[error("it is locked with {0}")]
    OtherLock(&'static str),
    #[error("it does not open: the wrong passphrase or key, or it was changed")]
    Closed,
    #[error("a key file has {KEY_BYTES} bytes, this one {0}")]
    KeyLength(usize),
    #[error("mode {0:03o} lets others than its owner in (chmod 600)")]
    Exposed(u32),
    #[error("the system gives no randomness")]
    Randomness,
    #[error("Argon2: {0}")]
    Argon2(argon2::Error),
}

/// What a person locks a meter with.
pub(super) enum Lock {
    /// A passphrase.
    Passphrase(Zeroizing<String>),
    /// The bytes of a key file.
    Key(Zeroizing<[u8; KEY_BYTES]>),
}

/// Reads a key file.
pub(super) fn read_key(file: &Path) -> Result<Lock, SealedError> {
    let mut opened = File::open(file)?;
    let mode = opened.metadata()?.mode();
    if mode & 0o077 != 0 {
        return Err(SealedError::Exposed(mode & 0o777));
    }
    // One byte more, to notice that there is more.
    let mut bytes = Zeroizing::new([0; KEY_BYTES + 1]);
    let mut length = 0;
    while length < bytes.len() {
        match opened.read(&mut bytes[length..])? {
            0 => break,
            more => length += more,
        }
    }
    if length != KEY_BYTES {
        return Err(SealedError::KeyLength(length));
    }
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    key.copy_from_slice(&bytes[..KEY_BYTES]);
    Ok(Lock::Key(key))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parameters {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

/// What stands in front of the nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Header {
    Key,
    Passphrase { parameters: Parameters, salt: [u8; SALT_BYTES] },
}

impl Header {
    pub(super) fn new(lock: &Lock) -> Result<Self, SealedError> {
        Ok(match lock {
            Lock::Key(_) => Self::Key,
            Lock::Passphrase(_) => Self::Passphrase { parameters: PARAMETERS, salt: random()? },
        })
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        match self {
            Self::Key => bytes.push(0),
            Self::Passphrase { parameters: Parameters { memory_kib, passes, lanes }, salt } => {
                bytes.push(1);
                bytes.extend([memory_kib, passes, lanes].iter().flat_map(|number| number.to_be_bytes()));
                bytes.extend(salt);
            }
        }
        bytes
    }

    /// The header at the start of a file, and what follows it.
    pub(super) fn split(file: &[u8]) -> Option<(Self, &[u8])> {
        let (kind, rest) = file.strip_prefix(MAGIC)?.split_first()?;
        match kind {
            0 => Some((Self::Key, rest)),
            1 => {
                let (memory, rest) = rest.split_first_chunk()?;
                let (passes, rest) = rest.split_first_chunk()?;
                let (lanes, rest) = rest.split_first_chunk()?;
                let (salt, rest) = rest.split_first_chunk()?;
                let parameters = Parameters {
                    memory_kib: u32::from_be_bytes(*memory),
                    passes: u32::from_be_bytes(*passes),
                    lanes: u32::from_be_bytes(*lanes),
                };
                let Parameters { memory_kib, passes, lanes } = parameters;
                let bearable = memory_kib <= MOST.memory_kib && passes <= MOST.passes && lanes <= MOST.lanes;
                bearable.then_some((Self::Passphrase { parameters, salt: *salt }, rest))
            }
            _ => None,
        }
    }

    /// The key of the file. Takes a while where it comes from a passphrase; that is its purpose.
    fn key(&self, lock: &Lock) -> Result<Zeroizing<[u8; KEY_BYTES]>, SealedError> {
        match (self, lock) {
            (Self::Key, Lock::Key(key)) => Ok(key.clone()),
            (Self::Passphrase { parameters, salt }, Lock::Passphrase(passphrase)) => {
                let Parameters { memory_kib, passes, lanes } = *parameters;
                let parameters =
                    Params::new(memory_kib, passes, lanes, Some(KEY_BYTES)).map_err(SealedError::Argon2)?;
                let mut key = Zeroizing::new([0; KEY_BYTES]);
                Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters)
                    .hash_password_into(passphrase.as_bytes(), salt, key.as_mut_slice())
                    .map_err(SealedError::Argon2)?;
                Ok(key)
            }
            (Self::Key, _) => Err(SealedError::OtherLock("a key file (--key-file)")),
            (Self::Passphrase { .. }, _) => Err(SealedError::OtherLock("a passphrase, not with a key file")),
        }
    }
}

fn random<const N: usize>() -> Result<[u8; N], SealedError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| SealedError::Randomness)?;
    Ok(bytes)
}

/// Header and key of a file, kept so that a passphrase is stretched once.
pub(super) struct Sealer {
    header: Header,
    cipher: Aes256Gcm,
}

impl Sealer {
    pub(super) fn of(header: Header, lock: &Lock) -> Result<Self, SealedError> {
        let key = header.key(lock)?;
        Ok(Self { header, cipher: Aes256Gcm::new((&*key).into()) })
    }

    /// The bytes of a file with this text in it.
    pub(super) fn seal(&self, text: &[u8]) -> Result<Vec<u8>, SealedError> {
        let (header, nonce) = (self.header.bytes(), random::<NONCE_BYTES>()?);
        let sealed = self
            .cipher
            .encrypt(&Nonce::from(nonce), Payload { msg: text, aad: &header })
            .map_err(|_| SealedError::Closed)?;
        Ok([header, nonce.to_vec(), sealed].concat())
    }

    /// The text in what follows the header.
    pub(super) fn open(&self, rest: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealedError> {
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(SealedError::Format)?;
        let payload = Payload { msg: sealed, aad: &self.header.bytes() };
        self.cipher
            .decrypt(&Nonce::from(*nonce), payload)
            .map(Zeroizing::new)
            .map_err(|_| SealedError::Closed)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, fs::OpenOptions, io::Write as _, os::unix::fs::OpenOptionsExt as _};

    use super::*;

    #[test]
    fn no_file_makes_argon2_eat_the_machine() {
        let salt = [0; SALT_BYTES];
        for parameters in [
            Parameters { memory_kib: MOST.memory_kib + 1, ..PARAMETERS },
            Parameters { passes: u32::MAX, ..PARAMETERS },
            Parameters { lanes: 17, ..PARAMETERS },
        ] {
            assert!(Header::split(&Header::Passphrase { parameters, salt }.bytes()).is_none());
        }
        let header = Header::Passphrase { parameters: PARAMETERS, salt };
        assert_eq!(Header::split(&header.bytes()), Some((header, &[][..])));
    }

    #[test]
    fn key_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let write = |bytes: &[u8], mode: u32| {
            let _ = fs::remove_file(&path);
            OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(mode)
                .open(&path)
                .unwrap()
                .write_all(bytes)
                .unwrap();
        };
        write(&[3; 32], 0o600);
        assert!(matches!(read_key(&path), Ok(Lock::Key(key)) if *key == [3; 32]));
        for length in [0, 31, 33, 64] {
            write(&vec![3; length], 0o600);
            assert!(matches!(read_key(&path), Err(SealedError::KeyLength(_))), "{length}");
        }
        write(&[3; 32], 0o644);
        assert!(matches!(read_key(&path), Err(SealedError::Exposed(_))));
    }
}
