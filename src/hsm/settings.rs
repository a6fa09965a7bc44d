//! Which module, which token, which PIN.

use std::ffi::CString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// What the HSM layer needs to know.
#[derive(Debug, Clone)]
pub struct HsmSettings {
    /// The PKCS#11 library.
    pub module: PathBuf,
    /// What the library is given to initialise it (the reserved argument of C_Initialize), if it
    /// wants a text: NSS softokn where its database is, kryoptic its configuration.
    pub initialize: Option<CString>,
    /// The token in it.
    pub token: TokenSelector,
    /// A file that holds the user PIN: owner only, one LF at its end is cut. Read at each login,
    /// never kept.
    pub pin_file: PathBuf,
    /// Where a PIN that the HSM refused is remembered, by a hash, so that it is not tried again.
    pub refused_pin_file: PathBuf,
    /// Worker threads for token traffic. One is best for SoftHSM (process-wide locks); raise it for
    /// a network HSM.
    pub threads: usize,
    /// Places in front of the workers, in jobs.
    pub queue: usize,
    /// Places in front of the admin thread, in jobs.
    pub admin_queue: usize,
    /// How long a job may take, waiting included, before its caller gets
    /// [`super::HsmError::Timeout`].
    pub answer_timeout: Duration,
    /// How often the monitor asks a token key for an HMAC.
    pub check_interval: Duration,
}

impl HsmSettings {
    /// Settings with the defaults of everything that has one.
    pub fn new(module: PathBuf, token: TokenSelector, pin_file: PathBuf) -> HsmSettings {
        let mut refused_pin_file = pin_file.as_os_str().to_owned();
        refused_pin_file.push(".refused");
        HsmSettings {
            module,
            initialize: None,
            token,
            pin_file,
            refused_pin_file: refused_pin_file.into(),
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
