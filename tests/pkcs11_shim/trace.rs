//! What goes into each call and comes out of it, as lines of the file of `PKCS11_SHIM_TRACE`:
//!
//! ```text
//! C_Sign <0011aa >ff00
//! ```
//!
//! Bytes are those of the data and of all attributes' values, one behind the other.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::sync::{Mutex, OnceLock, PoisonError};

use cryptoki_sys::{CK_ATTRIBUTE, CK_BYTE, CK_ULONG, CK_UNAVAILABLE_INFORMATION};

fn file() -> Option<&'static Mutex<File>> {
    static FILE: OnceLock<Option<Mutex<File>>> = OnceLock::new();
    let open = || {
        let path = std::env::var_os("PKCS11_SHIM_TRACE")?;
        OpenOptions::new().create(true).append(true).open(path).ok().map(Mutex::new)
    };
    FILE.get_or_init(open).as_ref()
}

/// Whether anybody wants to know.
pub(crate) fn wanted() -> bool {
    file().is_some()
}

/// Bytes as hexadecimal digits.
pub(crate) fn bytes(text: &mut String, bytes: *const CK_BYTE, length: CK_ULONG) {
    if bytes.is_null() || length == CK_UNAVAILABLE_INFORMATION {
        return;
    }
    for index in 0..usize::try_from(length).unwrap_or(0) {
        // SAFETY: as many bytes are there, as the caller or the module says.
        text.push_str(&format!("{:02x}", unsafe { *bytes.add(index) }));
    }
}

/// The values of attributes.
pub(crate) fn values(text: &mut String, template: *const CK_ATTRIBUTE, count: CK_ULONG) {
    if template.is_null() {
        return;
    }
    for index in 0..usize::try_from(count).unwrap_or(0) {
        // SAFETY: as many attributes are there, as the caller says.
        let attribute = unsafe { *template.add(index) };
        bytes(text, attribute.pValue.cast_const().cast(), attribute.ulValueLen);
    }
}

/// A line.
pub(crate) fn write(name: &str, given: &str, answered: &str) {
    if let Some(file) = file() {
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = file.write_all(format!("{name} <{given} >{answered}\n").as_bytes());
    }
}
