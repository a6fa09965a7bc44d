//! A PKCS#11 module that hands every call on to another module, and is slow, narrow or faulty as it is
//! told: what a network HSM is and SoftHSM is not. Tests and benchmarks name it as `hsm.module`.
//!
//! The environment of the process says how:
//!
//! | variable | means | default |
//! | --- | --- | --- |
//! | `PKCS11_SHIM_MODULE` | the module behind it | SoftHSM of Debian |
//! | `PKCS11_SHIM_LATENCY_US` | what a call takes beside the module's own time, in microseconds | 0 |
//! | `PKCS11_SHIM_CALLS` | how many calls are served at once; others wait | no limit |
//! | `PKCS11_SHIM_FAULTS` | a file of faults, read again at each call (see [`faults`]) | none |
//! | `PKCS11_SHIM_WITHOUT` | numbers of mechanisms that it does not have, parted by commas | none |
//! | `PKCS11_SHIM_TRACE` | a file for what goes into each call and comes out (see [`trace`]) | none |
//!
//! A call counts where a network HSM would be asked: each use of a key, each search, each object made or
//! destroyed. The `Init` half of a use, the question for a length and what concerns a session alone
//! are answered on the client's side by such modules, so they cost nothing here.
#![allow(unsafe_code, non_snake_case, missing_docs)]

mod faults;
mod latency;
mod trace;

use std::sync::OnceLock;

use cryptoki_sys::*;

use faults::Fault;

/// The module behind this one.
struct Module {
    /// Never unloaded: the functions are used until the process ends.
    _library: &'static Pkcs11,
    functions: CK_FUNCTION_LIST,
    /// What callers get.
    shown: CK_FUNCTION_LIST,
}

// SAFETY: function pointers, which do not change.
unsafe impl Sync for Module {}
// SAFETY: the same.
unsafe impl Send for Module {}

fn module() -> Option<&'static Module> {
    static MODULE: OnceLock<Option<Module>> = OnceLock::new();
    let load = || {
        let path = std::env::var("PKCS11_SHIM_MODULE");
        let path = path.as_deref().unwrap_or("/usr/lib/softhsm/libsofthsm2.so");
        // SAFETY: whoever sets the variable names a PKCS#11 module.
        let library: &'static Pkcs11 = Box::leak(Box::new(unsafe { Pkcs11::new(path) }.ok()?));
        let get = library.C_GetFunctionList.as_ref().ok()?;
        let mut list: *mut CK_FUNCTION_LIST = std::ptr::null_mut();
        // SAFETY: the module writes a pointer to a list that lives as long as it is loaded.
        let functions = unsafe {
            if get(&mut list) != CKR_OK || list.is_null() {
                return None;
            }
            *list
        };
        Some(Module { _library: library, functions, shown: shown(functions) })
    };
    MODULE.get_or_init(load).as_ref()
}

/// The one symbol that a PKCS#11 module must have.
///
/// # Safety
/// `list` points to a pointer that may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn C_GetFunctionList(list: *mut *mut CK_FUNCTION_LIST) -> CK_RV {
    if list.is_null() {
        return CKR_ARGUMENTS_BAD;
    }
    match module() {
        Some(module) => {
            // SAFETY: as the caller promises; nobody writes to the list.
            unsafe { *list = std::ptr::from_ref(&module.shown).cast_mut() };
            CKR_OK
        }
        None => CKR_GENERAL_ERROR,
    }
}

/// Makes other bytes of what a call gave back.
fn spoil(bytes: *mut CK_BYTE, length: usize) {
    for index in 0..length {
        // SAFETY: the module has just written as many bytes.
        unsafe { *bytes.add(index) ^= (index % 255) as CK_BYTE + 1 };
    }
}

/// Runs a call, slowly or not at all. `output` is where bytes come back, if they do.
fn call(
    name: &str,
    asks_hsm: bool,
    output: Option<(*mut CK_BYTE, *const CK_ULONG)>,
    run: impl FnOnce(&CK_FUNCTION_LIST) -> CK_RV,
) -> CK_RV {
    let Some(module) = module() else { return CKR_GENERAL_ERROR };
    let fault = faults::of(name);
    if let Some(Fault::Answer(code)) = fault {
        return code;
    }
    // A question for a length has nowhere to put the bytes.
    let asks_hsm = asks_hsm && output.is_none_or(|(bytes, _)| !bytes.is_null());
    let run = || run(&module.functions);
    let result = if asks_hsm { latency::slowly(run) } else { run() };
    if let Some(Fault::Refuse(code)) = fault
        && result != CKR_OK
    {
        return code;
    }
    if let (Some(Fault::Spoil), CKR_OK, Some((bytes, length))) = (fault, result, output)
        && !bytes.is_null()
    {
        // SAFETY: the length that the module has just written.
        spoil(bytes, usize::try_from(unsafe { *length }).unwrap_or(0));
    }
    result
}

/// Functions that hand on to the module, and a list with them in the place of the module's own.
macro_rules! functions {
    ($($name:ident($($argument:ident: $kind:ty),*) $asks:ident $(by($mechanism:ident))? $(takes($data:ident, $taken:ident))?
        $(takes_all($template:ident, $attributes:ident))? $(gives_all($found:ident, $looked:ident))?
        $(gives($bytes:ident, $length:ident))?;)*) => {
        $(unsafe extern "C" fn $name($($argument: $kind),*) -> CK_RV {
            $(if faults::lacks($mechanism) {
                return CKR_MECHANISM_INVALID;
            })?
            let output = functions!(@output $($bytes, $length)?);
            #[allow(unused_mut)] // not all take or give any
            let (mut given, mut answered) = (String::new(), String::new());
            if trace::wanted() {
                $(trace::bytes(&mut given, $data, $taken);)?
                $(trace::values(&mut given, $template, $attributes);)?
            }
            let result = call(stringify!($name), functions!(@asks $asks), output, |functions| match functions.$name {
                // SAFETY: the caller's arguments, unchanged.
                Some(function) => unsafe { function($($argument),*) },
                None => CKR_FUNCTION_NOT_SUPPORTED,
            });
            if trace::wanted() {
                $(trace::values(&mut answered, $found, $looked);)?
                $(if result == CKR_OK {
                    // SAFETY: the length that the module has just written.
                    trace::bytes(&mut answered, $bytes, unsafe { *$length });
                })?
                trace::write(stringify!($name), &given, &answered);
            }
            result
        })*

        fn shown(functions: CK_FUNCTION_LIST) -> CK_FUNCTION_LIST {
            CK_FUNCTION_LIST {
                C_GetFunctionList: Some(C_GetFunctionList),
                $($name: Some($name),)*
                ..functions
            }
        }
    };
    (@output $bytes:ident, $length:ident) => { Some(($bytes, $length.cast_const())) };
    (@output) => { None };
    (@asks hsm) => { true };
    (@asks client) => { false };
}

type Session = CK_SESSION_HANDLE;
type Bytes = *mut CK_BYTE;
type Length = *mut CK_ULONG;
type Object = CK_OBJECT_HANDLE;

functions! {
    C_GetSlotList(present: CK_BBOOL, slots: *mut CK_SLOT_ID, count: Length) client;
    C_GetTokenInfo(slot: CK_SLOT_ID, info: *mut CK_TOKEN_INFO) client;
    C_OpenSession(slot: CK_SLOT_ID, flags: CK_FLAGS, application: *mut std::ffi::c_void, notify: CK_NOTIFY,
        session: *mut Session) client;
    C_CloseSession(session: Session) client;
    C_GetSessionInfo(session: Session, info: *mut CK_SESSION_INFO) client;
    C_Login(session: Session, user: CK_USER_TYPE, pin: *mut CK_UTF8CHAR, length: CK_ULONG) client;
    C_CreateObject(session: Session, template: *mut CK_ATTRIBUTE, count: CK_ULONG, object: *mut Object) hsm
        takes_all(template, count);
    C_CopyObject(session: Session, object: Object, template: *mut CK_ATTRIBUTE, count: CK_ULONG,
        copy: *mut Object) hsm takes_all(template, count);
    C_DestroyObject(session: Session, object: Object) hsm;
    C_GetAttributeValue(session: Session, object: Object, template: *mut CK_ATTRIBUTE, count: CK_ULONG) hsm
        gives_all(template, count);
    C_SetAttributeValue(session: Session, object: Object, template: *mut CK_ATTRIBUTE, count: CK_ULONG) hsm;
    C_FindObjectsInit(session: Session, template: *mut CK_ATTRIBUTE, count: CK_ULONG) client;
    C_FindObjects(session: Session, objects: *mut Object, most: CK_ULONG, count: Length) hsm;
    C_FindObjectsFinal(session: Session) client;
    C_EncryptInit(session: Session, mechanism: *mut CK_MECHANISM, key: Object) client by(mechanism);
    C_Encrypt(session: Session, data: Bytes, count: CK_ULONG, bytes: Bytes, length: Length) hsm
        takes(data, count) gives(bytes, length);
    C_DecryptInit(session: Session, mechanism: *mut CK_MECHANISM, key: Object) client by(mechanism);
    C_Decrypt(session: Session, data: Bytes, count: CK_ULONG, bytes: Bytes, length: Length) hsm
        takes(data, count) gives(bytes, length);
    C_SignInit(session: Session, mechanism: *mut CK_MECHANISM, key: Object) client by(mechanism);
    C_Sign(session: Session, data: Bytes, count: CK_ULONG, bytes: Bytes, length: Length) hsm
        takes(data, count) gives(bytes, length);
    C_VerifyInit(session: Session, mechanism: *mut CK_MECHANISM, key: Object) client;
    C_Verify(session: Session, data: Bytes, count: CK_ULONG, signature: Bytes, length: CK_ULONG) hsm;
    C_GenerateKey(session: Session, mechanism: *mut CK_MECHANISM, template: *mut CK_ATTRIBUTE,
        count: CK_ULONG, key: *mut Object) hsm;
    C_GenerateKeyPair(session: Session, mechanism: *mut CK_MECHANISM, public: *mut CK_ATTRIBUTE,
        public_count: CK_ULONG, private: *mut CK_ATTRIBUTE, private_count: CK_ULONG,
        public_key: *mut Object, private_key: *mut Object) hsm;
    C_WrapKey(session: Session, mechanism: *mut CK_MECHANISM, by: Object, key: Object, bytes: Bytes,
        length: Length) hsm gives(bytes, length);
    C_UnwrapKey(session: Session, mechanism: *mut CK_MECHANISM, by: Object, wrapped: Bytes,
        wrapped_length: CK_ULONG, template: *mut CK_ATTRIBUTE, count: CK_ULONG, key: *mut Object) hsm
        by(mechanism) takes(wrapped, wrapped_length) takes_all(template, count);
    C_DeriveKey(session: Session, mechanism: *mut CK_MECHANISM, base: Object, template: *mut CK_ATTRIBUTE,
        count: CK_ULONG, key: *mut Object) hsm;
    C_GenerateRandom(session: Session, bytes: Bytes, count: CK_ULONG) hsm;
}
