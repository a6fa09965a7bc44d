//! What the HSM holds, and the change of the server's own keys.
//!
//! `inventory` compares the HSM's objects with the store's configurations; `migration` carries the
//! ledger into another database, with its last checkpoint; `rotation` gives the
//! server a new key of its own while it does not run; `checkpoint_file` is the last checkpoint as
//! it is kept outside the database.

pub(crate) mod checkpoint_file;
mod inventory;
mod migration;
mod rotation;

pub use inventory::{Finding, Inventory, Item, take};
pub use migration::{CarryError, CheckpointFile, carry};
pub use rotation::{Rotated, RotationError, rotate};
