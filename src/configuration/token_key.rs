//! A configuration's key on each of the tokens that hold it.

use std::fmt;

use super::{Configuration, ConfigurationRefusal, ConfigurationState, Transition};
use crate::audit::Actor;
use crate::hsm::TokenId;

/// The vending key of a DKGA02 configuration under the mask key that only the HSM holds: useless
/// without it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct MaskedKey {
    /// The initialisation vector, 16 bytes.
    pub iv: [u8; 16],
    /// One block of ciphertext, 16 bytes.
    pub ciphertext: [u8; 16],
}

impl fmt::Debug for MaskedKey {
    /// Shows nothing: with the HSM's PIN the ciphertext gives the key, so no log needs it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MaskedKey(..)")
    }
}

/// What a token has of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyState {
    /// It holds it.
    Held,
    /// Its objects were destroyed and seen to be gone.
    Destroyed,
}

/// A configuration's key as one HSM token holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenKey {
    /// The token. `None` in rows from before tokens were told apart: the first token of the server.
    pub token: Option<TokenId>,
    /// The key check value, made by that token.
    pub kcv: [u8; 3],
    /// The masked key of a DKGA02 configuration, which that token alone can use; gone with the key.
    pub mask: Option<MaskedKey>,
    /// What that token has of it.
    pub state: KeyState,
}

impl TokenKey {
    /// Whether it is on this token, of a server whose first token is `first`.
    pub fn is_on(&self, token: TokenId, first: TokenId) -> bool {
        self.token.map_or(token == first, |held| held == token)
    }

    /// The same key once it is destroyed.
    pub(super) fn destroyed(self) -> Self {
        Self { mask: None, state: KeyState::Destroyed, ..self }
    }
}

impl Configuration {
    /// The key that a token of a server holds; `first` is the server's first token.
    pub fn key_on(&self, token: TokenId, first: TokenId) -> Option<&TokenKey> {
        self.keys.iter().find(|key| key.state == KeyState::Held && key.is_on(token, first))
    }

    /// The tokens that hold its key, as far as its row names them.
    pub fn held_by(&self) -> impl Iterator<Item = TokenId> {
        self.keys.iter().filter(|key| key.state == KeyState::Held).filter_map(|key| key.token)
    }

    /// Notes that one more token holds its key, or holds it anew; `first` is the first token of the
    /// server that made it do so.
    ///
    /// # Errors
    /// [`ConfigurationRefusal::OtherKey`] unless the token made the check value that is on record,
    /// [`ConfigurationRefusal::WrongState`] unless it is enabled or disabled.
    pub fn add_key(&self, key: TokenKey, first: TokenId, actor: Actor, now_ms: i64) -> Transition {
        match self.state {
            ConfigurationState::Enabled | ConfigurationState::Disabled => {}
            state => return Err(ConfigurationRefusal::WrongState { state }),
        }
        let Some(known) = self.kcv() else { return Err(self.not_servable()) };
        if key.kcv != known {
            return Err(ConfigurationRefusal::OtherKey { found: key.kcv, known });
        }
        if self.keys.contains(&key) {
            return Ok(None);
        }
        let token = key.token.unwrap_or(first);
        let mut keys = self.keys.clone();
        match keys.iter_mut().find(|held| held.is_on(token, first)) {
            Some(held) => *held = key,
            None => keys.push(key),
        }
        let details = [("token", token.to_string()), ("kcv", self.kcv_text())];
        let row = Self { keys, updated_ms: now_ms, ..self.clone() };
        Ok(Some(row.told("configuration.key_added", details, actor, now_ms)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{FinishedState, ImportedFields, tests::upload};
    use super::*;

    const TOKENS: [TokenId; 2] = [TokenId([1; 8]), TokenId([2; 8])];

    fn key(token: Option<TokenId>, iv: u8) -> TokenKey {
        let mask = Some(MaskedKey { iv: [iv; 16], ciphertext: [9; 16] });
        TokenKey { token, kcv: [1, 2, 3], mask, state: KeyState::Held }
    }

    fn row(key: TokenKey) -> Configuration {
        let fields = ImportedFields { key: Some(key), state: FinishedState::Enabled };
        upload().begin().row.finish_import(&fields, Actor::Local, 0).unwrap().row
    }

    #[test]
    fn a_masked_key_does_not_print() {
        let mask = MaskedKey { iv: [0xA5; 16], ciphertext: [0x5A; 16] };
        assert_eq!(format!("{mask:?}"), "MaskedKey(..)");
    }

    #[test]
    fn each_token_has_a_key_of_its_own() {
        let [first, second] = TOKENS;
        for old in [None, Some(first)] {
            let row = row(key(old, 1));
            let add = |key| row.add_key(key, first, Actor::Local, 5);
            let added = add(key(Some(second), 2)).unwrap().unwrap();
            assert_eq!((added.act.kind, added.row.keys.len()), ("configuration.key_added", 2));
            assert_eq!(added.row.key_on(first, first), Some(&key(old, 1)));
            assert_eq!(added.row.key_on(second, first), Some(&key(Some(second), 2)));
            let again = added.row.add_key(key(Some(second), 2), first, Actor::Local, 6);
            assert_eq!(again, Ok(None), "it is so already");
            // The first token lost its key and holds it anew.
            let anew = add(key(Some(first), 3)).unwrap().unwrap().row;
            assert_eq!(anew.keys, [key(Some(first), 3)]);
        }
    }

    #[test]
    fn another_key_is_refused() {
        let row = row(key(None, 1));
        let other = TokenKey { kcv: [9; 3], ..key(Some(TOKENS[1]), 2) };
        let refused = row.add_key(other, TOKENS[0], Actor::Local, 5);
        assert_eq!(refused, Err(ConfigurationRefusal::OtherKey { found: [9; 3], known: [1, 2, 3] }));
        let importing = upload().begin().row;
        let refused = importing.add_key(other, TOKENS[0], Actor::Local, 5);
        assert!(matches!(refused, Err(ConfigurationRefusal::WrongState { .. })));
    }
}
