//! Who calls, and what they may do: credentials, the clients that they stand for, their rights;
//! what takes more than one of them. Pure: decisions over rows that were loaded.

pub mod approval;
mod attempts;
mod caller;
pub mod client;
mod credential;
pub mod limits;
mod methods;
mod peer;
mod permission;
pub mod rights;

pub use attempts::{Attempts, Rate};
pub use caller::Caller;
pub use credential::{Credential, CredentialError, KeyId, KeyIdError, SecretHash};
pub use methods::{Need, may_change, methods, need};
pub use peer::{CertificateUnreadable, PeerCertificate};
pub use permission::Denied;
