//! The audit chain: what was done, in bytes that cannot be bent unseen.
//!
//! Every token, every administrative act and every refusal is a [`Record`] of a chain: its hash is
//! taken over the hash before it and its own canonical bytes. A [`Checkpoint`] lists the heads of
//! all chains and is signed by the audit key in the HSM. Whoever holds the records and a later
//! checkpoint can verify everything up to it without the server: [`Verification`].
//!
//! Meter numbers are not in the bytes, but a salted [`Subject`] commitment to them, so that an
//! export may leave them out and still verify. This layer is pure: no input, no output, no clock.

mod act;
mod checkpoint;
mod end;
mod line;
mod record;
mod subject;
mod verification;

pub use act::{ActRow, Actor, Change, NewAct};
pub use checkpoint::{Checkpoint, CheckpointError, Head, SignedCheckpoint};
pub use end::ChainEnd;
pub use line::{Line, LineError};
pub use record::{
    Act, ChainId, ChainNumber, Entry, Hash, KeyChangeBits, RESTORE_ACCEPTED, Record, RowKind, TokenEntry,
    UnknownRowKind,
};
pub(crate) use subject::commitment;
pub use subject::{Salt, SaltSource, Subject};
pub use verification::{Fault, Outcome, Verification};
