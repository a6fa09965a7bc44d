//! What the HSM holds, and the change of the server's own keys.
//!
//! `inventory` compares the objects of a token with the store's configurations, `tokens` those of all
//! tokens; `migration` carries the ledger into another database, with its last checkpoint; `rotation`
//! gives the server a new key of its own while it does not run; `checkpoint_file` is the last
//! checkpoint as it is kept outside the database.

pub(crate) mod checkpoint_file;
mod inventory;
mod migration;
mod rotation;
mod tokens;

pub use inventory::{Finding, Inventory, Item, take};
pub use migration::{CarryError, CheckpointFile, carry};
pub use rotation::{Rotated, RotationError, end_overlaps, rotate};
pub use tokens::{TokenInventory, take_all};
