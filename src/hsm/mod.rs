//! The HSM: a PKCS#11 module, the key objects in its token, and the threads that use them.
//!
//! No call made here returns a vending key. What comes out of the HSM is decoder keys, in a worker's locked page, for
//! the time of one closure ([`Hsm::with_decoder_keys`]).
//!
//! The way of a token: [`Hsm::try_reserve`] → `worker` (its queue and its page) → `derive` → `seat` (session and handles) → `module`
//! (the library). RSA work and imports: `admin` → `import`, `unwrap`, `own_keys`. `guardian` watches and heals; `probe` finds out at
//! start what the module can do, and `template` says what every object must look like.

mod admin;
mod capabilities;
mod derive;
mod error;
mod guardian;
mod import;
mod keys;
mod module;
mod own_keys;
mod probe;
mod reference;
mod rotation;
mod seat;
mod service;
mod settings;
mod setup;
mod template;
mod unwrap;
mod worker;

pub use admin::{SelfTest, SessionKey};
pub use capabilities::{
    Capabilities, CapabilityRow, DesForm, HmacForm, KeyKind, ModuleFacts, Probe, TokenFacts, UnwrapScheme,
};
pub use error::{HsmError, Mismatch, PinFileProblem, PinRefusal, Queue};
pub use import::{ImportedKey, KeyObject, key_check_value};
pub use keys::{KeyId, Mask, Role, VendingKey, VendingKeyClass, VendingKeyMaterial};
pub use module::Health;
pub use own_keys::{KeySizes, OwnKey, Provision, ServerKey};
pub use rotation::OwnKeys;
pub use service::Hsm;
pub use settings::{HsmSettings, TokenSelector};
pub use setup::{SetupReport, setup};
pub use worker::{MOST_DECODER_KEYS, Place};
