//! Who calls, and what they may do: credentials, the clients that they stand for, their rights; what takes more than one of them.

pub mod approval;
mod attempts;
mod authenticator;
pub mod client;
mod credential;
pub mod limits;
mod methods;
mod peer;
mod permission;
mod refusals;
pub mod rights;

pub use attempts::{Attempts, Rate};
pub use authenticator::{Authenticator, Caller};
pub use credential::{Credential, CredentialError, KeyId, KeyIdError, SecretHash};
pub use methods::{Need, may_change, methods, need};
pub use peer::{CertificateUnreadable, PeerCertificate};
pub use permission::Denied;
pub use refusals::Refusals;

/// Why a call is not let in. The caller learns no more than that.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// No `authorization` header, or not `Bearer` with a credential of ours.
    #[error("no credential: send `authorization: Bearer CREDENTIAL`")]
    Missing,
    /// Unknown, wrong, disabled or expired: which, only the log says.
    #[error("the credential is not accepted")]
    Refused,
    /// The store could not be asked.
    #[error("credentials cannot be checked now")]
    Store(#[from] crate::store::StoreError),
}
