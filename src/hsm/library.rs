//! The PKCS#11 libraries in this process. One is initialised for all tokens that are reached through
//! it, so none of them may finalise it while another one uses it.

use std::ffi::{CStr, CString};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use cryptoki::context::Pkcs11;

use super::error::HsmError;
use super::initialize::initialize;

/// A library that is loaded, once for each path.
#[derive(Debug)]
pub(super) struct Library {
    path: PathBuf,
    /// What it is initialised with.
    text: Option<CString>,
    /// The library.
    pub(super) functions: Pkcs11,
    /// Held during work that takes one thread at a time.
    exclusive: Mutex<()>,
    /// Held while a token is reached through it, first or anew.
    building: Mutex<()>,
}

static LOADED: Mutex<Vec<Weak<Library>>> = Mutex::new(Vec::new());

impl Library {
    /// Loads it, or finds it where a token uses it already, and sees to it that it is initialised, by
    /// the text for the modules that want one. Each token holds it once.
    pub(super) fn load(path: &Path, text: Option<&CStr>) -> Result<Arc<Library>, HsmError> {
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.retain(|library| library.strong_count() > 0);
        let known = loaded.iter().filter_map(Weak::upgrade).find(|library| library.path == path);
        if let Some(known) = known {
            known.initialize()?;
            return Ok(known);
        }
        let functions = Pkcs11::new(path)
            .map_err(|error| HsmError::ModuleLoad { path: path.to_owned(), reason: error.to_string() })?;
        let (path, text) = (path.to_owned(), text.map(CStr::to_owned));
        let library =
            Arc::new(Library { path, text, functions, exclusive: Mutex::new(()), building: Mutex::new(()) });
        library.initialize()?;
        loaded.push(Arc::downgrade(&library));
        Ok(library)
    }

    /// C_Initialize; one that is initialised already is as good.
    pub(super) fn initialize(&self) -> Result<(), HsmError> {
        initialize(&self.functions, self.text.as_deref())
    }

    /// C_Finalize. All sessions must be closed.
    pub(super) fn finalize(&self) {
        let _ = self.functions.clone().finalize();
    }

    /// For work that takes one thread at a time.
    pub(super) fn exclusive(&self) -> MutexGuard<'_, ()> {
        self.exclusive.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// While a token is reached through it, first or anew: whoever finalises it must know of all that
    /// use it. Two that lock each other's sessions would wait for ever.
    pub(super) fn building(&self) -> MutexGuard<'_, ()> {
        self.building.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Library {
    /// Nobody uses it any more: it is unloaded in order.
    fn drop(&mut self) {
        self.finalize();
    }
}
