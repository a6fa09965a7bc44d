//! Which module, which token, which PIN.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use cryptoki::types::AuthPin;
use zeroize::Zeroizing;

use super::error::{HsmError, PinFileProblem};

/// What the HSM layer needs to know.
#[derive(Debug, Clone)]
pub struct HsmSettings {
    /// The PKCS#11 library.
    pub module: PathBuf,
    /// The token in it.
    pub token: TokenSelector,
    /// A file that holds the user PIN: owner only, one trailing line end is cut. Read at each login, never kept.
    pub pin_file: PathBuf,
    /// Worker threads for token traffic. One is best for SoftHSM (process-wide locks); raise it for a network HSM.
    pub threads: usize,
    /// Places in front of the workers, in jobs.
    pub queue: usize,
    /// Places in front of the admin thread, in jobs.
    pub admin_queue: usize,
    /// How long a job may take, waiting included, before its caller gets [`HsmError::Timeout`].
    pub answer_timeout: Duration,
    /// How often the monitor asks a token key for an HMAC.
    pub check_interval: Duration,
}

impl HsmSettings {
    /// Settings with the defaults of everything that has one.
    pub fn new(module: PathBuf, token: TokenSelector, pin_file: PathBuf) -> HsmSettings {
        HsmSettings {
            module,
            token,
            pin_file,
            threads: 1,
            queue: 1024,
            admin_queue: 64,
            answer_timeout: Duration::from_secs(10),
            check_interval: Duration::from_secs(3),
        }
    }
}

/// How the token is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenSelector {
    /// By CKA label, which must be unique among the module's tokens.
    Label(String),
    /// By slot id, for modules whose token information cannot be read.
    Slot(u64),
}

impl fmt::Display for TokenSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TokenSelector::Label(label) => write!(f, "a token labelled {label:?}"),
            TokenSelector::Slot(slot) => write!(f, "a token in slot {slot}"),
        }
    }
}

/// No token takes longer PINs (SoftHSM: 255).
const MOST_PIN_BYTES: usize = 255;

/// Reads the PIN. One trailing LF or CRLF is not part of it; everything else is.
///
/// # Errors
/// [`HsmError::PinFile`] when the file cannot be read, is open to others than its owner, or holds no PIN.
pub(super) fn read_pin(path: &Path) -> Result<AuthPin, HsmError> {
    let refuse = |problem| HsmError::PinFile { path: path.to_owned(), problem };
    let unreadable = |error: std::io::Error| refuse(PinFileProblem::Unreadable(error.to_string()));
    // Non-blocking, so that a pipe put there does not hang the server; the checks are made on the open file, so that it cannot be swapped.
    let mut file = File::options()
        .read(true)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
        .open(path)
        .map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(refuse(PinFileProblem::NotAFile));
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(refuse(PinFileProblem::Exposed(metadata.mode() & 0o777)));
    }
    // Two bytes for the line end and one to notice that there is more. Never grows, so leaves no copies behind.
    let mut bytes = Zeroizing::new(vec![0; MOST_PIN_BYTES + 3]);
    let mut len = 0;
    while len < bytes.len() {
        match file.read(&mut bytes[len..]).map_err(unreadable)? {
            0 => break,
            more => len += more,
        }
    }
    let text = &bytes[..len];
    let pin = text.strip_suffix(b"\n").map_or(text, |line| line.strip_suffix(b"\r").unwrap_or(line));
    if pin.is_empty() {
        return Err(refuse(PinFileProblem::Empty));
    }
    if pin.len() > MOST_PIN_BYTES {
        return Err(refuse(PinFileProblem::TooLong(MOST_PIN_BYTES)));
    }
    let pin = std::str::from_utf8(pin).map_err(|_| refuse(PinFileProblem::NotUtf8))?;
    Ok(AuthPin::new(Box::from(pin)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;
    use std::os::unix::fs::PermissionsExt;

    fn pin_of(content: &[u8], mode: u32) -> Result<String, PinFileProblem> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pin");
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        match read_pin(&path) {
            Ok(pin) => Ok(pin.expose_secret().to_owned()),
            Err(HsmError::PinFile { problem, .. }) => Err(problem),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn one_line_end_is_cut() {
        assert_eq!(pin_of(b"1234", 0o600).unwrap(), "1234");
        assert_eq!(pin_of(b"1234\n", 0o400).unwrap(), "1234");
        assert_eq!(pin_of(b"1234\r\n", 0o600).unwrap(), "1234");
        assert_eq!(pin_of(b" 12 34 \n\n", 0o600).unwrap(), " 12 34 \n");
        assert_eq!(pin_of(&[b'9'; 255], 0o600).unwrap().len(), 255);
    }

    #[test]
    fn bad_files_are_refused() {
        assert_eq!(pin_of(b"1234", 0o640), Err(PinFileProblem::Exposed(0o640)));
        assert_eq!(pin_of(b"1234", 0o604), Err(PinFileProblem::Exposed(0o604)));
        assert_eq!(pin_of(b"\n", 0o600), Err(PinFileProblem::Empty));
        assert_eq!(pin_of(b"", 0o600), Err(PinFileProblem::Empty));
        assert_eq!(pin_of(&[b'9'; 256], 0o600), Err(PinFileProblem::TooLong(255)));
        assert_eq!(pin_of(&[b'9'; 5000], 0o600), Err(PinFileProblem::TooLong(255)));
        assert_eq!(pin_of(&[0xff, 0xfe], 0o600), Err(PinFileProblem::NotUtf8));
        let dir = tempfile::tempdir().unwrap();
        let of = |path: &Path| match read_pin(path).unwrap_err() {
            HsmError::PinFile { problem, .. } => problem,
            other => panic!("{other}"),
        };
        assert_eq!(of(dir.path()), PinFileProblem::NotAFile);
        assert!(matches!(of(&dir.path().join("none")), PinFileProblem::Unreadable(_)));
    }
}
