//! gRPC: parsing in, showing out, and one table from the reasons of refusals to gRPC's status.
//! Nothing is decided here.

mod approval;
mod attributes;
mod audit;
mod authentication;
mod client;
mod configuration;
mod content;
mod credential;
mod deadline;
mod issue;
mod issued;
mod key_change;
mod ledger;
mod parse;
mod public_key;
mod report;
mod report_charts;
mod rights;
mod server;
mod services;
mod simulator;
mod status;
mod stream;
mod token;
mod token_file;
mod token_reader;
mod transport;
mod verification;

pub use authentication::AuthenticationLayer;
pub(crate) use deadline::timeout;
pub use report_charts::charts;
pub use rights::{limits_shown, rights_shown};
pub use services::Services;
pub use status::DOMAIN;
pub use token_reader::TokenReader;
pub(crate) use transport::explain;

/// What load balancers ask: `proto/grpc/health/v1`.
#[allow(missing_docs, clippy::all, clippy::pedantic, unused_qualifications)]
pub mod health {
    tonic::include_proto!("grpc.health.v1");
}

/// The messages and services of `proto/vendkey/v1`.
#[allow(missing_docs, clippy::all, clippy::pedantic, unused_qualifications)]
pub mod v1 {
    tonic::include_proto!("vendkey.v1");
}

/// The descriptors of all proto files, for reflection and for JSON.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/vendkey.v1.bin"));
