//! Which tokens are in use.

use super::keys::TokenId;
use super::service::Hsm;

/// The tokens behind what derives and holds keys. Today there is one.
pub trait Tokens {
    /// The tokens, the one that takes new keys first.
    fn tokens(&self) -> &[TokenId];
}

impl Tokens for Hsm {
    fn tokens(&self) -> &[TokenId] {
        std::slice::from_ref(&self.inner.token)
    }
}
