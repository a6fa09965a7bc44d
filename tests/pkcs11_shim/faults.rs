//! Faults: what the file of `PKCS11_SHIM_FAULTS` says, a line each, blank lines left out:
//!
//! ```text
//! C_Sign answer 48          every C_Sign answers CKR_DEVICE_ERROR and does nothing
//! C_Sign answer 48 every 7  the 7th, 14th, … of them
//! C_Decrypt spoil           the bytes that come back are wrong
//! C_UnwrapKey refuse 48     what fails by itself answers CKR_DEVICE_ERROR, as kryoptic does
//! C_Sign hang               the call waits for as long as the line stands there
//! ```
//!
//! `*` in the place of a name is every call. The file is read again at each call, so that a test
//! decides when a fault begins and ends. It is written under another name and renamed.

use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cryptoki_sys::{CK_MECHANISM, CK_MECHANISM_TYPE, CK_RV};

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It answers this and does nothing.
    Answer(CK_RV),
    /// It answers wrong bytes.
    Spoil,
    /// If it fails by itself, it answers this.
    Refuse(CK_RV),
}

/// The fault of this call, if the file names one. Returns from a hanging call when its line is gone.
pub(crate) fn of(name: &str) -> Option<Fault> {
    let path = std::env::var_os("PKCS11_SHIM_FAULTS")?;
    loop {
        let text = std::fs::read_to_string(Path::new(&path)).unwrap_or_default();
        let mut words = text.lines().find_map(|line| {
            let mut words = line.split_whitespace();
            words.next().filter(|of| *of == "*" || *of == name).map(|_| words)
        })?;
        match words.next() {
            Some("hang") => std::thread::sleep(Duration::from_millis(5)),
            Some("spoil") => return Some(Fault::Spoil),
            Some("refuse") => return words.next().and_then(|code| code.parse().ok()).map(Fault::Refuse),
            Some("answer") => {
                let code = words.next().and_then(|code| code.parse().ok())?;
                let every = match words.next() {
                    Some("every") => words.next().and_then(|every| every.parse().ok()).unwrap_or(1),
                    _ => 1,
                };
                static CALLS: AtomicU64 = AtomicU64::new(0);
                let call = CALLS.fetch_add(1, Ordering::Relaxed) + 1;
                return call.is_multiple_of(every).then_some(Fault::Answer(code));
            }
            _ => return None,
        }
    }
}

/// Whether this is a mechanism that the module is to be without.
pub(crate) fn lacks(mechanism: *const CK_MECHANISM) -> bool {
    static WITHOUT: OnceLock<Vec<CK_MECHANISM_TYPE>> = OnceLock::new();
    let without = WITHOUT.get_or_init(|| {
        let text = std::env::var("PKCS11_SHIM_WITHOUT").unwrap_or_default();
        text.split(',').filter_map(|number| number.trim().parse().ok()).collect()
    });
    // SAFETY: callers hand in a mechanism or nothing.
    unsafe { mechanism.as_ref() }.is_some_and(|mechanism| {
        let number = mechanism.mechanism;
        without.contains(&number)
    })
}
