//! A PIN that the HSM refused is remembered, so that no start of whatever command tries it again:
//! each try brings the token nearer to its lock.
//!
//! The file holds a random salt and the Argon2id hash of the PIN and the token: whoever finds it
//! learns no PIN from it. It is removed when another PIN is accepted.
//!
//! ```text
//! vendkey refused pin 1
//! SALT HASH                 16 and 32 bytes in hex
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::Path;

use argon2::{Algorithm, Argon2, Params, Version};
use cryptoki::types::AuthPin;
use secrecy::ExposeSecret as _;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

const HEAD: &str = "vendkey refused pin 1";
const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;
/// RFC 9106 §4, the second recommendation: 64 MiB, 3 passes, 4 lanes.
const PARAMETERS: (u32, u32, u32) = (65_536, 3, 4);

/// The hash of a PIN for one token; none where the system has no memory for it.
fn hash(pin: &AuthPin, token: &str, salt: &[u8]) -> Option<[u8; HASH_BYTES]> {
    let (memory_kib, passes, lanes) = PARAMETERS;
    let parameters = Params::new(memory_kib, passes, lanes, Some(HASH_BYTES)).ok()?;
    let mut text = Zeroizing::new(Vec::with_capacity(token.len() + 1 + pin.expose_secret().len()));
    text.extend_from_slice(token.as_bytes());
    text.push(0);
    text.extend_from_slice(pin.expose_secret().as_bytes());
    let mut hash = [0; HASH_BYTES];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters)
        .hash_password_into(&text, salt, &mut hash)
        .ok()?;
    Some(hash)
}

/// Whether this PIN was refused by this token. A file that cannot be read says nothing.
pub(super) fn is_remembered(file: &Path, pin: &AuthPin, token: &str) -> bool {
    let Ok(text) = fs::read_to_string(file) else { return false };
    let Some((salt, kept)) = parse(&text) else { return false };
    hash(pin, token, &salt).is_some_and(|hash| bool::from(hash.ct_eq(&kept)))
}

fn parse(text: &str) -> Option<([u8; SALT_BYTES], [u8; HASH_BYTES])> {
    let (salt, hash) = text.strip_prefix(HEAD)?.trim().split_once(' ')?;
    let (mut parsed, mut kept) = ([0; SALT_BYTES], [0; HASH_BYTES]);
    hex::decode_to_slice(salt, &mut parsed).ok()?;
    hex::decode_to_slice(hash, &mut kept).ok()?;
    Some((parsed, kept))
}

/// Remembers it, in the place of another one.
///
/// # Errors
/// When the file cannot be written.
pub(super) fn remember(file: &Path, pin: &AuthPin, token: &str) -> io::Result<()> {
    let mut salt = [0; SALT_BYTES];
    getrandom::fill(&mut salt).map_err(io::Error::other)?;
    let hash = hash(pin, token, &salt).ok_or(io::ErrorKind::OutOfMemory)?;
    let mut beside = file.as_os_str().to_owned();
    beside.push(".new");
    let beside = Path::new(&beside);
    let _ = fs::remove_file(beside);
    let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(beside)?;
    writeln!(out, "{HEAD}\n{} {}", hex::encode(salt), hex::encode(hash))?;
    out.sync_all()?;
    hand_over(&out, beside);
    fs::rename(beside, file)
}

/// A file that root makes in the folder of a service's user belongs to that user, who could not
/// read it otherwise.
fn hand_over(out: &File, path: &Path) {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if rustix::process::geteuid().is_root()
        && let Ok(folder) = fs::metadata(folder)
    {
        let _ = fchown(out, Some(folder.uid()), Some(folder.gid()));
    }
}

/// Another PIN was accepted.
pub(super) fn forget(file: &Path) {
    let _ = fs::remove_file(file);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_pin_of_one_token_is_remembered_and_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("refused-pin");
        let pin = |text: &str| AuthPin::new(Box::from(text));
        assert!(!is_remembered(&file, &pin("13579"), "token"));
        remember(&file, &pin("24680"), "token").unwrap();
        remember(&file, &pin("13579"), "token").unwrap();
        assert!(is_remembered(&file, &pin("13579"), "token"));
        for (other, token) in
            [("13578", "token"), ("13579 ", "token"), ("24680", "token"), ("13579", "another")]
        {
            assert!(!is_remembered(&file, &pin(other), token), "{other:?} {token}");
        }
        assert!(!fs::read_to_string(&file).unwrap().contains("13579"));
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        let salted = fs::read_to_string(&file).unwrap();
        remember(&file, &pin("13579"), "token").unwrap();
        assert_ne!(fs::read_to_string(&file).unwrap(), salted);
        forget(&file);
        assert!(!is_remembered(&file, &pin("13579"), "token"));
    }
}
