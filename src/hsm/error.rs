//! What can go wrong with an HSM, and which cure each failure calls for.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use cryptoki::error::RvError;
use thiserror::Error;

use super::keys::{KeyId, KeyKind, Role, TokenId};

/// A failure of the HSM layer. No variant holds a secret, so all may be logged; what a remote
/// caller reads is decided elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HsmError {
    /// The bounded queue is full: come back in a moment.
    #[error("the HSM's {0} queue is full")]
    Busy(Queue),
    /// The HSM is lost or being healed. Nothing was given out. Healing goes on by itself.
    #[error("the HSM is unavailable: {0}")]
    Unavailable(String),
    /// The HSM did not answer in time. The job may still be done, for nobody.
    #[error("the HSM gave no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// The token refused the PIN (or would lock after one more try). Never tried again by this
    /// process.
    #[error("the HSM refuses the PIN: {0}; it is not tried again until the PIN file changes")]
    PinRefused(PinRefusal),
    /// The token refused this PIN before. It was not tried.
    #[error(
        "the HSM refused this PIN before, so it is not tried again: put the right one into the PIN file {} \
         (if it is right by now, remove {})",
        .pin_file.display(), .memory.display()
    )]
    PinRefusedBefore {
        /// The file with the PIN.
        pin_file: PathBuf,
        /// What remembers it.
        memory: PathBuf,
    },
    /// The PIN file cannot be used.
    #[error("PIN file {}: {problem}", .path.display())]
    PinFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: PinFileProblem,
    },
    /// The PKCS#11 library cannot be loaded.
    #[error("cannot load the PKCS#11 module {}: {reason}", .path.display())]
    ModuleLoad {
        /// The library.
        path: PathBuf,
        /// The loader's words.
        reason: String,
    },
    /// The library takes no text at C_Initialize, another one, or must have one.
    #[error(
        "C_Initialize answered CKR_ARGUMENTS_BAD: {}",
        if *.given { "the module does not take the text of hsm.initialize" }
        else { "the module wants a text in hsm.initialize (docs/hsm.md has some)" }
    )]
    Initialize {
        /// Whether it was given a text.
        given: bool,
    },
    /// No slot holds the token that the settings name.
    #[error("no slot of the module holds {0}")]
    TokenNotFound(String),
    /// Several tokens carry the label: name the slot instead.
    #[error("{count} tokens match {token}: select one by its slot id")]
    TokenAmbiguous {
        /// What was looked for.
        token: String,
        /// How many carry it.
        count: usize,
    },
    /// Keys of the server itself are missing: `vendkey setup` makes them.
    #[error("the token holds no {} key: run `vendkey setup`", Roles(.0))]
    NotSetUp(Vec<Role>),
    /// The token holds two generations of one of the server's own keys.
    #[error("a rotation of the {0} key did not end: run the same `vendkey rotate` again")]
    RotationUnfinished(Role),
    /// A key object is gone.
    #[error("the token holds no {role} object {id}")]
    KeyMissing {
        /// Which kind of object.
        role: Role,
        /// Its CKA_ID.
        id: KeyId,
    },
    /// Several objects answer to one name (PKCS#11 allows it): somebody must look.
    #[error("the token holds {count} {role} objects {id}, not one")]
    KeyAmbiguous {
        /// Which kind of object.
        role: Role,
        /// Their CKA_ID.
        id: KeyId,
        /// How many there are.
        count: usize,
    },
    /// An object is not what its template demands.
    #[error("the {role} object {id} cannot be trusted: {mismatch}")]
    KeyUntrusted {
        /// Which kind of object.
        role: Role,
        /// Its CKA_ID.
        id: KeyId,
        /// What is wrong.
        mismatch: Mismatch,
    },
    /// The probes at start found no way to do this on this module.
    #[error("this HSM cannot serve {what}: {why}")]
    NotServed {
        /// The ability.
        what: &'static str,
        /// What the probe saw.
        why: String,
    },
    /// A key of another token was asked for.
    #[error("key {id} lies in token {token}, which is not this one")]
    OtherToken {
        /// The key.
        id: KeyId,
        /// The token that holds it.
        token: TokenId,
    },
    /// A derivation was asked of a key of another kind.
    #[error("key {id} is a {held} key, the derivation needs a {needed} key")]
    WrongKind {
        /// The key.
        id: KeyId,
        /// Its kind.
        held: KeyKind,
        /// The kind that the derivation needs.
        needed: KeyKind,
    },
    /// More decoder keys at once than a worker's locked page holds.
    #[error("{asked} decoder keys asked at once, at most {most} fit")]
    TooMany {
        /// How many were asked for.
        asked: usize,
        /// How many fit.
        most: usize,
    },
    /// A PKCS#11 call failed.
    #[error("{call} answered {code:?}")]
    Call {
        /// The C function.
        call: String,
        /// Its CKR code.
        code: RvError,
    },
    /// The module's answer makes no sense (a length, an attribute).
    #[error("the module's answer makes no sense: {0}")]
    Nonsense(&'static str),
    /// The system gave no memory for secrets.
    #[error(transparent)]
    Memory(#[from] crate::secret::MemoryError),
    /// An operation must run one thread at a time, and is done again so; callers of this layer
    /// never see it.
    #[error("this must run one thread at a time")]
    NotExclusive,
    /// The HSM threads have ended: the process is stopping.
    #[error("the HSM threads have stopped")]
    Stopped,
}

/// The two queues in front of the HSM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    /// Token traffic.
    Vending,
    /// RSA work and imports.
    Admin,
}

impl fmt::Display for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Queue::Vending => "vending",
            Queue::Admin => "admin",
        })
    }
}

/// Why a PIN is not tried (again).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PinRefusal {
    /// CKR_PIN_INCORRECT and its kin.
    #[error("it is wrong")]
    Incorrect,
    /// CKR_PIN_LOCKED: the security officer must unlock it.
    #[error("it is locked")]
    Locked,
    /// CKR_PIN_EXPIRED.
    #[error("it is expired")]
    Expired,
    /// CKF_USER_PIN_FINAL_TRY: one more wrong try would lock it, so a person must do it.
    #[error("only one try is left, which is for a person to use")]
    FinalTry,
    /// CKR_USER_PIN_NOT_INITIALIZED.
    #[error("the token has no user PIN yet")]
    NotInitialized,
}

/// What is wrong with a PIN file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PinFileProblem {
    /// It cannot be read.
    #[error("{0}")]
    Unreadable(String),
    /// It is a folder, a device, a pipe.
    #[error("not a regular file")]
    NotAFile,
    /// Group or others have a right to it.
    #[error("mode {0:03o} lets others than its owner in (chmod 600)")]
    Exposed(u32),
    /// Another user can put something else into it.
    #[error("it belongs to user {owner}, not to user {own}, who runs this (chown it)")]
    OtherOwner {
        /// Whose it is.
        owner: u32,
        /// Who runs this.
        own: u32,
    },
    /// It holds nothing, or only blanks and line ends.
    #[error("empty")]
    Empty,
    /// Written by a Windows editor.
    #[error("it is UTF-16, as some Windows editors write: save it as UTF-8 without a byte order mark")]
    Utf16,
    /// Ditto.
    #[error("it begins with a byte order mark (BOM), as Windows editors write: save it as UTF-8 without one")]
    ByteOrderMark,
    /// A comment, several PINs, or an empty line.
    #[error("it has more than one line: the PIN alone stands in it, with one line end at most")]
    SeveralLines,
    /// Pasted along.
    #[error("the PIN begins with a blank or tab: remove it")]
    BlankAtStart,
    /// Ditto.
    #[error("the PIN ends with a blank or tab: remove it")]
    BlankAtEnd,
    /// A line end of Windows.
    #[error("the PIN ends with a carriage return (CR), the line end of Windows: save it with Unix line ends")]
    CarriageReturn,
    /// A character that nobody sees.
    #[error("the PIN holds a character that cannot be seen (U+{0:04X}): type it anew")]
    Hidden(u32),
    /// As in YAML.
    #[error("the PIN stands in quotation marks: remove them")]
    Quoted,
    /// `# ...`.
    #[error("it holds a comment: the PIN alone stands in it")]
    Comment,
    /// `NAME=value`, or JSON.
    #[error("it has the form NAME=value, or is JSON: the PIN alone stands in it")]
    Assignment,
    /// Longer than any PIN.
    #[error("longer than {0} bytes")]
    TooLong(usize),
    /// PINs are UTF-8 in PKCS#11.
    #[error("not UTF-8")]
    NotUtf8,
}

/// How an object differs from what was asked for. Found after an import, at setup and at start.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Mismatch {
    /// An attribute has another value, or the module does not tell.
    #[error("attribute {attribute} is {found}, not {wanted}")]
    Attribute {
        /// The attribute's name.
        attribute: String,
        /// What it must be.
        wanted: String,
        /// What it is.
        found: String,
    },
    /// CKA_VALUE of a sensitive key could be read.
    #[error("its value can be read")]
    ValueReadable,
    /// The key check value made in the HSM is not the one of the key that was handed in.
    #[error("its key check value is another key's")]
    Kcv,
    /// A derivation made in the HSM is not what software computes from the key that was handed in.
    #[error("a test derivation gives another result")]
    Derivation,
    /// The key still works with a mechanism that it must not serve.
    #[error("it serves a mechanism that it must not")]
    Mechanism,
}

/// Names of keys for a sentence.
struct Roles<'a>(&'a [Role]);

impl fmt::Display for Roles<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, role) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{role}")?;
        }
        Ok(())
    }
}

/// Which cure a failure calls for (hsm-facts, recommendation 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cure {
    /// An object handle is stale, or the session or its login is gone: open a session, log in, find
    /// again; once.
    Renew,
    /// A general error: tried once more like a stale handle; then the monitor looks whether the
    /// token is still there.
    Suspect,
    /// The device or the module is gone: everything is torn down and built anew by the monitor.
    Rebuild,
    /// A PIN trouble: no cure by this process.
    Never,
    /// The HSM said no to this request and serves otherwise.
    Refusal,
}

impl HsmError {
    /// The cure for this failure.
    pub(super) fn cure(&self) -> Cure {
        match self {
            HsmError::Call { code, .. } => cure_of(*code),
            HsmError::PinRefused(_) | HsmError::PinRefusedBefore { .. } => Cure::Never,
            // Without the row-seal key: the token is gone, or another one.
            HsmError::TokenNotFound(_)
            | HsmError::TokenAmbiguous { .. }
            | HsmError::PinFile { .. }
            | HsmError::KeyMissing { role: Role::RowSeal, .. } => Cure::Rebuild,
            _ => Cure::Refusal,
        }
    }
}

/// The cure for a CKR code.
pub(super) fn cure_of(code: RvError) -> Cure {
    match code {
        RvError::ObjectHandleInvalid
        | RvError::KeyHandleInvalid
        | RvError::UnwrappingKeyHandleInvalid
        | RvError::WrappingKeyHandleInvalid
        | RvError::KeyChanged
        // An operation that is left over from a call that broke off ends with its session, too.
        | RvError::SessionHandleInvalid
        | RvError::SessionClosed
        | RvError::UserNotLoggedIn
        | RvError::OperationActive
        | RvError::OperationNotInitialized => Cure::Renew,
        RvError::DeviceError
        | RvError::DeviceRemoved
        | RvError::DeviceMemory
        | RvError::TokenNotPresent
        | RvError::TokenNotRecognized
        | RvError::SlotIdInvalid
        | RvError::CryptokiNotInitialized
        | RvError::MutexBad
        | RvError::LibraryLoadFailed => Cure::Rebuild,
        RvError::GeneralError | RvError::FunctionFailed | RvError::HostMemory => Cure::Suspect,
        RvError::PinIncorrect
        | RvError::PinInvalid
        | RvError::PinLenRange
        | RvError::PinExpired
        | RvError::PinLocked
        | RvError::UserPinNotInitialized => Cure::Never,
        _ => Cure::Refusal,
    }
}

impl From<cryptoki::error::Error> for HsmError {
    fn from(error: cryptoki::error::Error) -> HsmError {
        use cryptoki::error::Error;
        match error {
            Error::Pkcs11(code, function) => HsmError::Call { call: format!("C_{function:?}"), code },
            Error::NullFunctionPointer | Error::NotSupported => {
                HsmError::Call { call: "a missing function".to_owned(), code: RvError::FunctionNotSupported }
            }
            _ => HsmError::Nonsense("a value of unknown form"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cures_follow_the_measured_behaviour_of_modules() {
        for (code, cure) in [
            (RvError::ObjectHandleInvalid, Cure::Renew),
            (RvError::KeyHandleInvalid, Cure::Renew),
            (RvError::SessionHandleInvalid, Cure::Renew),
            (RvError::OperationActive, Cure::Renew),
            (RvError::DeviceError, Cure::Rebuild),
            (RvError::GeneralError, Cure::Suspect),
            (RvError::PinLocked, Cure::Never),
            (RvError::MechanismInvalid, Cure::Refusal),
            (RvError::KeySizeRange, Cure::Refusal),
        ] {
            assert_eq!(cure_of(code), cure, "{code:?}");
        }
    }

    #[test]
    fn missing_keys_are_named() {
        let text = HsmError::NotSetUp(vec![Role::Legacy, Role::RowSeal]).to_string();
        assert_eq!(text, "the token holds no legacy server, row-seal key: run `vendkey setup`");
    }
}
