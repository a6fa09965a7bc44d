//! Which tokens are in use.

use super::error::HsmError;
use super::keys::{TokenId, VendingKey};
use super::service::Hsm;
use super::vending_keys::VendingKeys;

/// The tokens behind what derives and holds keys.
pub trait Tokens {
    /// The tokens that were reached so far, the first one of the settings first: it holds the server's
    /// own keys, takes new keys first, and holds those of rows that name no token.
    fn tokens(&self) -> Vec<TokenId>;

    /// One of them.
    ///
    /// # Errors
    /// [`HsmError::Unavailable`] for one that is not there.
    fn on(&self, token: TokenId) -> Result<&dyn VendingKeys, HsmError>;

    /// The first of them.
    fn first(&self) -> &dyn VendingKeys;

    /// Whether a key serves where it lies: its token answers, and has not lost it.
    fn serves_key(&self, key: &VendingKey) -> bool;

    /// Why a token of the settings was not reached yet, if there is such a one: nobody knows what it
    /// holds.
    fn unreached(&self) -> Option<HsmError> {
        None
    }

    /// Takes note that a token holds a key again.
    fn note_key(&self, _key: &VendingKey) {}
}

/// What is said of a token that is none of those in use.
pub(super) fn not_in_use(token: TokenId) -> HsmError {
    HsmError::Unavailable(format!("the token {token} is none that this server reaches"))
}

impl Tokens for Hsm {
    fn tokens(&self) -> Vec<TokenId> {
        vec![self.inner.token]
    }

    fn on(&self, token: TokenId) -> Result<&dyn VendingKeys, HsmError> {
        if token == self.inner.token { Ok(self) } else { Err(not_in_use(token)) }
    }

    fn first(&self) -> &dyn VendingKeys {
        self
    }

    fn serves_key(&self, key: &VendingKey) -> bool {
        key.token == self.inner.token && self.inner.module.serves().is_ok()
    }
}
