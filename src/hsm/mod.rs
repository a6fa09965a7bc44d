//! The HSM: a PKCS#11 module, the key objects in its token, and the threads that use them.
//!
//! No call made here returns a vending key. What comes out of the HSM is decoder keys, in a
//! worker's locked page, for the time of one closure ([`WithDecoderKeys::with_decoder_keys`]).
//!
//! Users see a trait for each need: [`DecoderKeys`], [`VendingKeys`], [`UploadKey`],
//! [`RowSealKey`], [`AuditKey`]. [`Hsm`] is all of them over one token, [`TokenList`] over all tokens of a
//! server.
//!
//! The way of a token: [`DecoderKeys::try_reserve`] → `worker` (its queue and its page) → `derive`
//! → `session` (a thread's session and its handles) → `token` (the library and the login). RSA work
//! and imports run on the `admin` thread: `import`, `sealed`, `unwrap`, `own_keys`. `module` holds the
//! sessions of all threads and cures what gets lost; `monitor` watches it; `probe` finds out at
//! start what the module can do, and `template` says what every object must look like.

mod admin;
mod audit_key;
mod capabilities;
mod decoder_keys;
mod derive;
mod error;
mod import;
mod initialize;
mod keys;
mod library;
mod module;
mod module_files;
mod module_report;
mod monitor;
mod overlap;
mod own_keys;
mod pin;
mod probe;
mod reference;
mod refused_pin;
mod rotation;
mod row_seal_key;
mod seal_suite;
mod sealed;
mod selftest;
mod service;
mod session;
mod session_key;
mod settings;
mod setup;
#[cfg(test)]
pub(crate) mod software;
mod template;
mod token;
mod token_list;
mod tokens;
mod unwrap;
mod upload_key;
mod vending_keys;
mod worker;

pub use audit_key::AuditKey;
pub use capabilities::{
    Capabilities, CapabilityRow, CbcForm, DesForm, HmacForm, ModuleFacts, Origin, Probe, TokenFacts,
    UnwrapScheme,
};
pub use decoder_keys::{DecoderKeys, WithDecoderKeys};
pub use error::{HsmError, Mismatch, PinFileProblem, PinRefusal, Queue};
pub use import::{ImportedKey, KeyObject, key_check_value};
pub use keys::{
    KeyId, KeyKind, Mask, OldKey, Role, SealKeyId, TokenId, VendingKey, VendingKeyClass, VendingKeyMaterial,
};
pub use module::Health;
pub use module_files::{ModuleFiles, module_files};
pub use module_report::{MechanismFacts, ModuleReport, Service, report_on_module};
pub use own_keys::{KeySizes, OwnKey, Provision, ServerKey};
pub use rotation::OwnKeys;
pub use row_seal_key::RowSealKey;
pub use seal_suite::{SealSuite, UnknownSuite};
pub use sealed::{SealedClass, SealedKey, SealedMask, sealed_form, sealed_mask};
pub use selftest::SelfTest;
pub use service::Hsm;
pub use session_key::SessionKey;
pub use settings::{HsmSettings, TokenSelector};
pub use setup::{SetupReport, examine, setup};
pub use token_list::{TokenList, TokenState};
pub use tokens::Tokens;
pub use upload_key::{SealingKey, UploadKey};
pub use vending_keys::VendingKeys;
pub use worker::{Finish, MOST_DECODER_KEYS, QueuePermit};
