//! A PKCS#11 module that has no keys: it hands every call to another process, over the socket that
//! `PKCS11_REMOTE_SOCKET` names, as the client of a network HSM does. `server.rs` is that process. Tests
//! name this one as `hsm.module`, so that the HSM may die, hang and come back without the server.
//!
//! What the clients of network HSMs have in common is kept: while the other side is gone every call
//! answers CKR_DEVICE_ERROR; and once it was gone, calls go on doing so until C_Finalize and
//! C_Initialize, because the sessions and logins of before are lost.
#![allow(unsafe_code, non_snake_case, missing_docs)]

mod wire;

use std::ffi::c_void;
use std::io;
use std::os::unix::net::UnixStream;
use std::slice;
use std::sync::{Mutex, OnceLock};

use cryptoki_sys::*;

use wire::Argument::{self, *};
use wire::{Message, Reader};

/// The connections to the other process: one for each call under way.
struct Client {
    initialized: bool,
    /// Which run of the other process the sessions are of.
    run: Option<u64>,
    free: Vec<UnixStream>,
}

static CLIENT: Mutex<Client> = Mutex::new(Client { initialized: false, run: None, free: Vec::new() });

fn client() -> std::sync::MutexGuard<'static, Client> {
    CLIENT.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A connection that no call uses, to the run of the process that the sessions are of.
fn connection() -> io::Result<UnixStream> {
    if let Some(free) = client().free.pop() {
        return Ok(free);
    }
    let path = std::env::var_os("PKCS11_REMOTE_SOCKET").ok_or(io::ErrorKind::NotFound)?;
    let mut stream = UnixStream::connect(path)?;
    let mut hello = Message::default();
    hello.word(u64::from(std::process::id()));
    hello.send(&mut stream)?;
    let run = Reader::receive(&mut stream)?.word()?;
    let mut client = client();
    if *client.run.get_or_insert(run) == run {
        Ok(stream)
    } else {
        Err(io::ErrorKind::ConnectionReset.into())
    }
}

/// Puts what a caller's arguments hold into a call.
///
/// # Safety
/// The arguments are those of a call of PKCS#11.
unsafe fn put(message: &mut Message, kinds: &[Argument], arguments: &[usize]) {
    let bytes = |pointer: usize, length: usize| {
        // SAFETY: as the caller promises.
        (pointer != 0).then(|| unsafe { slice::from_raw_parts(pointer as *const u8, length) })
    };
    let word = |pointer: usize| unsafe { *(pointer as *const CK_ULONG) };
    let mut arguments = arguments.iter().copied();
    let mut next = || arguments.next().unwrap_or_default();
    for kind in kinds {
        match kind {
            Word => message.word(next() as u64),
            Bytes => {
                let (pointer, length) = (next(), next());
                message.bytes(bytes(pointer, length));
            }
            Mechanism => {
                // SAFETY: as the caller promises.
                let mechanism = unsafe { &*(next() as *const CK_MECHANISM) };
                message.word(mechanism.mechanism);
                message.bytes(bytes(mechanism.pParameter as usize, mechanism.ulParameterLen as usize));
            }
            Template | Values => {
                let attributes = attributes(next(), next());
                message.word(attributes.len() as u64);
                for attribute in attributes.iter() {
                    message.word(attribute.type_);
                    let (value, length) = (attribute.pValue as usize, attribute.ulValueLen as usize);
                    if matches!(kind, Template) {
                        message.bytes(bytes(value, length));
                    } else {
                        message.word(if value == 0 { u64::MAX } else { length as u64 });
                    }
                }
            }
            Output | List => {
                let (pointer, length) = (next(), next());
                message.word(if pointer == 0 { u64::MAX } else { word(length) });
            }
            Found => {
                let (_, most, _) = (next(), next(), next());
                message.word(most as u64);
            }
            Handle | Structure(_) => drop(next()),
        }
    }
}

/// Puts what came back where a caller's arguments say.
///
/// # Safety
/// As for [`put`].
unsafe fn take(answer: &mut Reader, kinds: &[Argument], arguments: &[usize]) -> io::Result<()> {
    // SAFETY: as the caller promises: there is room for what was asked for.
    let write = |pointer: usize, bytes: &[u8]| unsafe {
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), pointer as *mut u8, bytes.len());
    };
    let mut arguments = arguments.iter().copied();
    let mut next = || arguments.next().unwrap_or_default();
    for kind in kinds {
        match kind {
            Word | Mechanism => drop(next()),
            Bytes | Template => drop((next(), next())),
            Values => {
                for attribute in attributes(next(), next()) {
                    attribute.ulValueLen = answer.word()?;
                    if let Some(value) = answer.bytes()? {
                        write(attribute.pValue as usize, &value);
                    }
                }
            }
            Output | List => {
                let (pointer, length) = (next(), next());
                write(length, &answer.word()?.to_le_bytes());
                if let Some(bytes) = answer.bytes()? {
                    write(pointer, &bytes);
                }
            }
            Handle => write(next(), &answer.word()?.to_le_bytes()),
            Found => {
                let (pointer, _, count) = (next(), next(), next());
                let found = answer.bytes()?.unwrap_or_default();
                write(count, &((found.len() / size_of::<CK_ULONG>()) as u64).to_le_bytes());
                write(pointer, &found);
            }
            Structure(_) => write(next(), &answer.bytes()?.unwrap_or_default()),
        }
    }
    Ok(())
}

fn attributes<'a>(pointer: usize, count: usize) -> &'a mut [CK_ATTRIBUTE] {
    // SAFETY: a template of the caller's call.
    if pointer == 0 {
        &mut []
    } else {
        unsafe { slice::from_raw_parts_mut(pointer as *mut CK_ATTRIBUTE, count) }
    }
}

/// One call.
///
/// # Safety
/// As for [`put`].
unsafe fn call(function: u64, kinds: &[Argument], arguments: &[usize]) -> CK_RV {
    if !client().initialized {
        return CKR_CRYPTOKI_NOT_INITIALIZED;
    }
    let done = || -> io::Result<CK_RV> {
        let mut stream = connection()?;
        let mut message = Message::default();
        message.word(function);
        // SAFETY: as the caller promises.
        unsafe { put(&mut message, kinds, arguments) };
        message.send(&mut stream)?;
        let mut answer = Reader::receive(&mut stream)?;
        let result = answer.word()?;
        // SAFETY: the same.
        unsafe { take(&mut answer, kinds, arguments)? };
        client().free.push(stream);
        Ok(result)
    };
    done().unwrap_or_else(|_| {
        client().free.clear();
        CKR_DEVICE_ERROR
    })
}

unsafe extern "C" fn C_Initialize(_: *mut c_void) -> CK_RV {
    let mut client = client();
    if std::mem::replace(&mut client.initialized, true) { CKR_CRYPTOKI_ALREADY_INITIALIZED } else { CKR_OK }
}

unsafe extern "C" fn C_Finalize(_: *mut c_void) -> CK_RV {
    let mut client = client();
    if !client.initialized {
        return CKR_CRYPTOKI_NOT_INITIALIZED;
    }
    // With its last connection the other side closes the sessions of a client.
    *client = Client { initialized: false, run: None, free: Vec::new() };
    CKR_OK
}

unsafe extern "C" fn C_OpenSession(
    slot: CK_SLOT_ID,
    flags: CK_FLAGS,
    _: *mut c_void,
    _: CK_NOTIFY,
    session: *mut CK_SESSION_HANDLE,
) -> CK_RV {
    let arguments = [slot as usize, flags as usize, session as usize];
    // SAFETY: the caller's arguments.
    unsafe { call(wire::OPEN_SESSION, &[Word, Word, Handle], &arguments) }
}

macro_rules! stubs {
    ($($name:ident($($argument:ident: $kind:ty),*) [$($wire:expr),*];)*) => {
        #[allow(non_camel_case_types, clippy::enum_variant_names)]
        enum Number { $($name),* }

        $(unsafe extern "C" fn $name($($argument: $kind),*) -> CK_RV {
            // SAFETY: the caller's arguments, unchanged.
            unsafe { call(Number::$name as u64, &[$($wire),*], &[$($argument as usize),*]) }
        })*

        fn functions() -> CK_FUNCTION_LIST {
            CK_FUNCTION_LIST {
                version: CK_VERSION { major: 2, minor: 40 },
                C_Initialize: Some(C_Initialize),
                C_Finalize: Some(C_Finalize),
                C_GetFunctionList: Some(C_GetFunctionList),
                C_OpenSession: Some(C_OpenSession),
                $($name: Some($name),)*
                ..CK_FUNCTION_LIST::default()
            }
        }
    };
}

wire::remote_functions!(stubs);

/// The one symbol that a PKCS#11 module must have.
///
/// # Safety
/// `list` points to a pointer that may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn C_GetFunctionList(list: *mut *mut CK_FUNCTION_LIST) -> CK_RV {
    if list.is_null() {
        return CKR_ARGUMENTS_BAD;
    }
    static LIST: OnceLock<CK_FUNCTION_LIST> = OnceLock::new();
    // SAFETY: as the caller promises; nobody writes to the list.
    unsafe { *list = std::ptr::from_ref(LIST.get_or_init(functions)).cast_mut() };
    CKR_OK
}
