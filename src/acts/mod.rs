//! What the API can do, apart from how it is reached: refusals with their reasons. Faces parse what comes in and show what goes out.

mod error;
mod reason;
mod refusal;

pub use reason::Reason;
pub use refusal::{Issued, Refusal};
