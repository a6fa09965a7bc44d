//! C_Initialize, with a text for modules that want one.

#![allow(unsafe_code)] // the reserved argument is a pointer

use std::ffi::CStr;
use std::ptr::NonNull;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};

use super::error::HsmError;

/// Initialises the library; one that is initialised already is as good.
///
/// # Errors
/// [`HsmError::Initialize`] where the module does not take what it is given.
pub(super) fn initialize(library: &Pkcs11, text: Option<&CStr>) -> Result<(), HsmError> {
    const FLAGS: CInitializeFlags = CInitializeFlags::OS_LOCKING_OK;
    // The module gets a copy of its own: PKCS#11 does not say that it leaves it as it is.
    let mut copy = text.map(|text| text.to_bytes_with_nul().to_vec());
    let arguments = match copy.as_mut().and_then(|copy| NonNull::new(copy.as_mut_ptr())) {
        None => CInitializeArgs::new(FLAGS),
        // SAFETY: the bytes end with a zero and live until the call is over. That the module takes a
        // text here is for whoever wrote the setting to know, as which library is loaded.
        Some(text) => unsafe { CInitializeArgs::new_with_reserved(FLAGS, text.cast()) },
    };
    let outcome = library.initialize(arguments);
    drop(copy);
    match outcome {
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(()),
        Err(Error::Pkcs11(RvError::ArgumentsBad, _)) => Err(HsmError::Initialize { given: text.is_some() }),
        Err(error) => Err(error.into()),
    }
}
