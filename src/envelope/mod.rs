//! Uploads of configurations: from what an administrator sends to checked attributes and a vending
//! key.
//!
//! The way of a legacy upload (upload formats §1), file by file:
//!
//! ```text
//! recognise       what a file or text is, whatever is wrapped around it
//!   blob            base64 text -> bytes
//! legacy          the three blobs -> LegacyEnvelope, or every fault that their public bytes show
//!                   (the HSM unwraps and decrypts: not here)
//! opening         decrypted candidates and signers -> Verified, or one opaque Invalid; then -> Upload
//!   public_key      who may sign
//!   signature       the two forms of a signature
//!   lines           raw bytes -> the lines of a flat text, without copying
//!     characters      what no line may hold
//!   text            lines -> fields and values, without the vending key
//!     field, yaml     the names; the parser
//!   configuration   fields and values -> ConfigurationDraft
//!     conformity      what is odd about it (warnings) and what forbids issuing (unservable)
//!   vending_key     the key, left alone in the locked buffer
//! fault           every reason to refuse a text
//! ```
//!
//! `encrypt` is the administrator's side: it makes the three blobs, offline.
//!
//! The way of a sealed upload (upload formats §5) is shorter, since its attributes come in clear and
//! its vending key is opened by the HSM alone:
//!
//! ```text
//! sealed          one JSON document -> SealedEnvelope; verified -> Sealed; read -> SealedUpload
//!   document        its JSON, and what is wrong with it
//!   sealed_content  the signed JSON: who may open it, when, and what it says of the key
//!     configuration, conformity   as above
//! ```
//!
//! `seal` is the administrator's side of it, offline.

mod blob;
mod characters;
mod configuration;
mod conformity;
mod document;
mod encrypt;
mod fault;
mod field;
mod legacy;
mod lines;
mod opening;
mod public_key;
mod recognise;
mod seal;
mod sealed;
mod sealed_content;
mod signature;
mod text;
mod vending_key;
mod yaml;

#[cfg(test)]
mod openssl_tests;
#[cfg(test)]
mod test_keys;

pub use blob::Base64Fault;
pub use configuration::ConfigurationDraft;
pub use conformity::{Unservable, Warning, fits, servable};
pub use document::{DocumentFault, DocumentReason};
pub use encrypt::{AdministratorKey, AdministratorKeyError, EncryptError, Encrypted, encrypt};
pub use fault::{FieldFault, FieldReason, FormFault, TextFault};
pub use legacy::{Blob, BlobFault, BlobHint, BlobReason, Blobs, LegacyEnvelope, parse, text_of};
pub use opening::{Invalid, Upload, Verified, read};
pub use public_key::{Fingerprint, FingerprintError, PublicKey, PublicKeyError, PublicKeyWarning};
pub use recognise::{Holder, Recognised, recognise};
pub use seal::{Recipient, SealError, SealedDocument, Validity, seal};
pub use sealed::{Sealed, SealedEnvelope};
pub use sealed_content::{Nonce, SealedRefusal, SealedUpload, SealingServer, read_content};
pub use vending_key::VendingKeyBytes;

/// An upload as it arrives, in either format.
#[derive(Debug, Clone, Copy)]
pub enum Envelope<'a> {
    /// The three blobs of the legacy format.
    Legacy(Blobs<'a>),
    /// The document of the sealed format.
    Sealed(&'a [u8]),
}
