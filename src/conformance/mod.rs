//! The conformance runner: published vectors in, what this software makes of them out.
//!
//! [`vectors`] reads files of the format `sts-vectors-1` (described in `tests/vectors/FORMAT.md`),
//! [`run`] computes the actual result of each, with keys of [`HsmKeys`] (the module under test) or
//! [`SoftwareKeys`], and [`report`] says what came of it. It works below policy: what the
//! standard's arithmetic gives, also where no service would issue it.

mod compare;
mod decode;
mod fields;
mod hsm_keys;
mod keys;
mod moment;
mod parse;
pub mod report;
pub mod run;
pub mod sections;
mod sources;
mod task;
mod types;
pub mod vectors;

pub use fields::Fault;
pub use hsm_keys::HsmKeys;
pub use keys::{Keys, KeysError, SoftwareKeys, Wanted};
pub use task::Vector;
