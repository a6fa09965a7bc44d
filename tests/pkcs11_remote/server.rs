//! The other end of `lib.rs`: a process with a PKCS#11 module, which does the calls that come over a
//! socket. Each connection has a thread, so calls are done at once as the module does them.
//!
//! Usage: pkcs11_server MODULE SOCKET. It says "ready" when it listens.
#![allow(unsafe_code, missing_docs, clippy::print_stdout)]

mod wire;

use std::collections::HashMap;
use std::error::Error;
use std::ffi::OsString;
use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};

use cryptoki_sys::*;
use zeroize::Zeroizing;

use wire::Argument::{self, *};
use wire::{Message, OPEN_SESSION, Reader};

/// A process that calls.
#[derive(Default)]
struct Client {
    connections: usize,
    sessions: Vec<CK_SESSION_HANDLE>,
}

static CLIENTS: LazyLock<Mutex<HashMap<u64, Client>>> = LazyLock::new(Mutex::default);

fn of_client<T>(client: u64, work: impl FnOnce(&mut Client) -> T) -> T {
    work(CLIENTS.lock().unwrap_or_else(PoisonError::into_inner).entry(client).or_default())
}

/// Dies where the file that `PKCS11_SERVER_DEATH` names says so: behind so many more calls, when the
/// last one is done and not answered.
fn die_in_time() {
    static LEFT: AtomicU64 = AtomicU64::new(0);
    static FILE: LazyLock<Option<OsString>> = LazyLock::new(|| std::env::var_os("PKCS11_SERVER_DEATH"));
    let Some(file) = FILE.as_ref() else { return };
    if let Some(calls) = std::fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok()) {
        let _ = std::fs::remove_file(file);
        LEFT.store(calls, Ordering::SeqCst);
    }
    let counted = LEFT.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
    if counted == Ok(1) {
        std::process::abort();
    }
}

macro_rules! table {
    ($($name:ident($($argument:ident: $kind:ty),*) [$($wire:expr),*];)*) => {
        /// What a function takes, and where it is.
        fn function(list: &CK_FUNCTION_LIST, number: u64) -> Option<(Vec<Argument>, usize)> {
            if number == OPEN_SESSION {
                return Some((vec![Word, Word, Handle], list.C_OpenSession? as usize));
            }
            let functions = [$((vec![$($wire),*], list.$name.map_or(0, |function| function as usize))),*];
            functions.into_iter().nth(number as usize).filter(|(_, function)| *function != 0)
        }
    };
}

wire::remote_functions!(table);

/// What a call needs to live until it was done.
#[derive(Default)]
#[allow(clippy::vec_box)] // pointers into them must stay
struct Held {
    words: Vec<Box<CK_ULONG>>,
    buffers: Vec<Zeroizing<Vec<u8>>>,
    mechanisms: Vec<Box<CK_MECHANISM>>,
    templates: Vec<Vec<CK_ATTRIBUTE>>,
}

impl Held {
    fn word(&mut self, word: u64) -> usize {
        self.words.push(Box::new(word));
        self.words.last_mut().map_or(0, |word| std::ptr::from_mut(&mut **word) as usize)
    }

    fn buffer(&mut self, bytes: Option<Zeroizing<Vec<u8>>>) -> (usize, usize) {
        let Some(bytes) = bytes else { return (0, 0) };
        self.buffers.push(bytes);
        self.buffers.last_mut().map_or((0, 0), |bytes| (bytes.as_mut_ptr() as usize, bytes.len()))
    }

    fn room(&mut self, length: u64) -> usize {
        self.buffer((length != u64::MAX).then(|| vec![0; length as usize].into())).0
    }
}

/// Does one call and makes its answer.
fn serve(list: &CK_FUNCTION_LIST, client: u64, asked: &mut Reader) -> io::Result<Message> {
    let number = asked.word()?;
    let Some((kinds, function)) = function(list, number) else {
        return Err(io::ErrorKind::Unsupported.into());
    };
    let mut held = Held::default();
    let mut arguments: Vec<usize> = Vec::new();
    for kind in &kinds {
        match kind {
            Word => arguments.push(asked.word()? as usize),
            Bytes => {
                let (pointer, length) = held.buffer(asked.bytes()?);
                arguments.extend([pointer, length]);
            }
            Mechanism => {
                let mechanism = asked.word()?;
                let (pointer, length) = held.buffer(asked.bytes()?);
                let (parameter, length) = (pointer as *mut _, length as CK_ULONG);
                let mechanism = CK_MECHANISM { mechanism, pParameter: parameter, ulParameterLen: length };
                held.mechanisms.push(Box::new(mechanism));
                arguments.extend(
                    held.mechanisms.last().map(|mechanism| std::ptr::from_ref(&**mechanism) as usize),
                );
            }
            Template | Values => {
                let count = asked.word()?;
                let mut template = Vec::new();
                for _ in 0..count {
                    let type_ = asked.word()?;
                    let (pointer, length) = match kind {
                        Template => held.buffer(asked.bytes()?),
                        _ => {
                            let length = asked.word()?;
                            (held.room(length), if length == u64::MAX { 0 } else { length as usize })
                        }
                    };
                    let (value, length) = (pointer as *mut _, length as CK_ULONG);
                    template.push(CK_ATTRIBUTE { type_, pValue: value, ulValueLen: length });
                }
                arguments.extend([template.as_mut_ptr() as usize, template.len()]);
                held.templates.push(template);
            }
            Output | List => {
                let length = asked.word()?;
                let scale = if matches!(kind, List) { size_of::<CK_ULONG>() as u64 } else { 1 };
                arguments.push(held.room(if length == u64::MAX { length } else { length * scale }));
                arguments.push(held.word(if length == u64::MAX { 0 } else { length }));
            }
            Handle => arguments.push(held.word(0)),
            Found => {
                let most = asked.word()?;
                let room = held.room(most * size_of::<CK_ULONG>() as u64);
                arguments.extend([room, most as usize]);
                arguments.push(held.word(0));
            }
            Structure(length) => arguments.push(held.room(*length as u64)),
        }
    }
    if number == OPEN_SESSION {
        // Nobody is called back.
        arguments.insert(2, 0);
        arguments.insert(2, 0);
    }
    // SAFETY: as many words as the function takes, each what it is to be.
    let result = unsafe { call(function, &arguments) };
    if number == OPEN_SESSION {
        arguments.drain(2..4);
    }
    die_in_time();
    let word = |pointer: usize| {
        // SAFETY: it is one of those that are held.
        unsafe { *(pointer as *const CK_ULONG) }
    };
    let bytes = |pointer: usize, length: usize| {
        // SAFETY: the same, and no longer than its room.
        (pointer != 0).then(|| unsafe { std::slice::from_raw_parts(pointer as *const u8, length) })
    };
    if number == OPEN_SESSION && result == CKR_OK {
        of_client(client, |client| client.sessions.extend(arguments.get(2).map(|handle| word(*handle))));
    }
    let mut answer = Message::default();
    answer.word(result);
    let mut arguments = arguments.into_iter();
    let mut next = || arguments.next().unwrap_or_default();
    for kind in &kinds {
        match kind {
            Word | Mechanism => drop(next()),
            Bytes | Template => drop((next(), next())),
            Values => {
                let (pointer, count) = (next(), next());
                for index in 0..count {
                    // SAFETY: it is the template that is held.
                    let attribute = unsafe { &*(pointer as *const CK_ATTRIBUTE).add(index) };
                    answer.word(attribute.ulValueLen);
                    let is_there = attribute.ulValueLen != CK_UNAVAILABLE_INFORMATION;
                    let length = if is_there { attribute.ulValueLen as usize } else { 0 };
                    answer.bytes(
                        bytes(attribute.pValue as usize, length)
                            .filter(|_| is_there && result != CKR_BUFFER_TOO_SMALL),
                    );
                }
            }
            Output | List => {
                let (pointer, length) = (next(), word(next()));
                answer.word(length);
                let scale = if matches!(kind, List) { size_of::<CK_ULONG>() } else { 1 };
                answer.bytes(if result == CKR_OK { bytes(pointer, length as usize * scale) } else { None });
            }
            Handle => answer.word(word(next())),
            Found => {
                let (pointer, _, count) = (next(), next(), word(next()));
                answer.bytes(bytes(pointer, count as usize * size_of::<CK_ULONG>()));
            }
            Structure(length) => answer.bytes(bytes(next(), *length)),
        }
    }
    Ok(answer)
}

/// Calls a function of so many words. All arguments of PKCS#11 are words or less.
///
/// # Safety
/// The function takes these arguments.
unsafe fn call(function: usize, arguments: &[usize]) -> CK_RV {
    macro_rules! with {
        ($($argument:ident: $kind:ty),*) => {{
            // SAFETY: as the caller promises.
            let function: unsafe extern "C" fn($($kind),*) -> CK_RV = unsafe { std::mem::transmute(function) };
            // SAFETY: the same.
            unsafe { function($($argument),*) }
        }};
    }
    match *arguments {
        [a] => with!(a: usize),
        [a, b] => with!(a: usize, b: usize),
        [a, b, c] => with!(a: usize, b: usize, c: usize),
        [a, b, c, d] => with!(a: usize, b: usize, c: usize, d: usize),
        [a, b, c, d, e] => with!(a: usize, b: usize, c: usize, d: usize, e: usize),
        [a, b, c, d, e, f] => with!(a: usize, b: usize, c: usize, d: usize, e: usize, f: usize),
        [a, b, c, d, e, f, g] => with!(a: usize, b: usize, c: usize, d: usize, e: usize, f: usize, g: usize),
        [a, b, c, d, e, f, g, h] => {
            with!(a: usize, b: usize, c: usize, d: usize, e: usize, f: usize, g: usize, h: usize)
        }
        _ => CKR_FUNCTION_NOT_SUPPORTED,
    }
}

/// Serves a connection to its end.
fn connection(list: &CK_FUNCTION_LIST, mut stream: UnixStream, run: u64) {
    let Ok(client) = Reader::receive(&mut stream).and_then(|mut hello| hello.word()) else { return };
    let mut hello = Message::default();
    hello.word(run);
    if hello.send(&mut stream).is_err() {
        return;
    }
    of_client(client, |client| client.connections += 1);
    while let Ok(mut asked) = Reader::receive(&mut stream) {
        let sent = serve(list, client, &mut asked).and_then(|answer| answer.send(&mut stream));
        if sent.is_err() {
            break;
        }
    }
    let left = of_client(client, |client| {
        client.connections -= 1;
        if client.connections == 0 { std::mem::take(&mut client.sessions) } else { Vec::new() }
    });
    for session in left {
        if let Some(close) = list.C_CloseSession {
            // SAFETY: at worst a handle of no session any more.
            unsafe { close(session) };
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [module, socket] = &arguments[..] else { return Err("usage: pkcs11_server MODULE SOCKET".into()) };
    // SAFETY: whoever starts it names a PKCS#11 module.
    let library: &'static Pkcs11 = Box::leak(Box::new(unsafe { Pkcs11::new(module) }?));
    let get = library.C_GetFunctionList.as_ref().map_err(|_| "no PKCS#11 module")?;
    let mut list: *mut CK_FUNCTION_LIST = std::ptr::null_mut();
    // SAFETY: the module writes a pointer to a list that lives as long as it is loaded.
    let found = unsafe { get(&mut list) };
    if found != CKR_OK || list.is_null() {
        return Err("the module has no list of functions".into());
    }
    // SAFETY: the same.
    let list: &'static CK_FUNCTION_LIST = unsafe { &*list };
    let mut locking = CK_C_INITIALIZE_ARGS { flags: CKF_OS_LOCKING_OK, ..Default::default() };
    let initialize = list.C_Initialize.ok_or("no C_Initialize")?;
    // SAFETY: the structure that PKCS#11 wants.
    if unsafe { initialize(std::ptr::from_mut(&mut locking).cast()) } != CKR_OK {
        return Err("the module cannot be initialised".into());
    }
    let mut run = [0; 8];
    getrandom::fill(&mut run)?;
    let run = u64::from_le_bytes(run);
    let _ = std::fs::remove_file(socket);
    let listener = UnixListener::bind(socket)?;
    println!("ready");
    for stream in listener.incoming().flatten() {
        std::thread::spawn(move || connection(list, stream, run));
    }
    Ok(())
}
