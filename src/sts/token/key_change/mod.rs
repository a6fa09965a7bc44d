//! Key changes (STS facts §3.8): a set of 2, 3 or 4 tokens under the current decoder key that
//! carries a meter to a new one.

mod plan;
mod section;
mod set;

pub use plan::KeyChangeRefusal;
pub use section::{KeyPart, Section, SectionError};
pub use set::{KeyChange, KeyChangeError, SetShape};
