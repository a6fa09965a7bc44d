//! The way of our own commands to a server: TCP, TLS 1.3 or none, the credential, and in words why
//! there is no connection.
//!
//! HTTP/2 keeps only the text of what broke a connection, so that the reason is kept beside it
//! (`seen`): what TLS says is rustls' own type up to where it gets words (`fault`).
//!
//! ```text
//! address     the endpoint, and the TLS that it takes
//! transport   a connection that keeps why it broke
//! channel     calls that fail with that reason
//! bearer      the credential
//! ```

mod address;
mod bearer;
mod channel;
mod fault;
mod seen;
mod transport;

use tonic::service::interceptor::InterceptedService;

pub use address::{Address, AddressFault, OwnCertificate, Trust};
pub use bearer::Bearer;
pub use channel::{Calls, NotConnected};
pub use fault::{Fault, NoConnection};

/// Calls that carry the credential, if there is one.
pub type Authorized = InterceptedService<Calls, Bearer>;
