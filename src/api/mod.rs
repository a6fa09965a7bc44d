//! gRPC: one file per service, parsing in, one table from errors to status.

mod approval;
mod approved;
mod audit;
mod authentication;
mod capabilities;
mod client;
mod client_gate;
mod configuration;
mod content;
mod four_eyes;
mod issued;
mod key_change;
mod ledger;
mod many;
mod parse;
mod public_key;
mod rights;
mod status;
mod token;
mod transport;
mod verification;

pub use approval::Approvals;
pub use approved::Acts;
pub use audit::Audit;
pub use authentication::AuthenticationLayer;
pub use client::Clients;
pub use configuration::Configurations;
pub use four_eyes::FourEyes;
pub use ledger::Ledger;
pub use public_key::PublicKeys;
pub use rights::{limits_shown, rights_shown};
pub use status::DOMAIN;
pub use token::Tokens;
pub(crate) use token::timeout;
pub(crate) use transport::explain;

/// What load balancers ask: `proto/grpc/health/v1`.
#[allow(missing_docs, clippy::all, unused_qualifications)]
pub mod health {
    tonic::include_proto!("grpc.health.v1");
}

/// The messages and services of `proto/vendkey/v1`.
#[allow(missing_docs, clippy::all, unused_qualifications)]
pub mod v1 {
    tonic::include_proto!("vendkey.v1");
}

/// The descriptors of all proto files, for reflection and for JSON.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/vendkey.v1.bin"));
