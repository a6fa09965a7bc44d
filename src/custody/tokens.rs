//! All tokens of a server: how each is, and what each holds.

use super::inventory::{Inventory, take};
use crate::{
    configuration::Configuration,
    hsm::{HsmError, TokenId, TokenList, TokenState, Tokens as _},
};

/// A token and what it holds.
#[derive(Debug)]
pub struct TokenInventory {
    /// How it is.
    pub state: TokenState,
    /// What it holds, or why nobody knows.
    pub inventory: Result<Inventory, String>,
}

impl TokenInventory {
    /// Whether all that the database says of it is so. A key that other tokens hold may be lacking.
    pub fn is_sound(&self) -> bool {
        self.inventory.as_ref().is_ok_and(Inventory::is_sound)
    }
}

/// Looks at every object of every token. Reads alone; a server may run.
pub async fn take_all(tokens: &TokenList, rows: &[Configuration]) -> Vec<TokenInventory> {
    let first = tokens.first_token().token();
    let mut all = Vec::new();
    for state in tokens.states() {
        let inventory = match &state.hsm {
            Some(hsm) => one(tokens, (hsm.token(), first), rows).await.map_err(|error| error.to_string()),
            None => Err(state.fault.clone().unwrap_or_default()),
        };
        all.push(TokenInventory { state, inventory });
    }
    all
}

async fn one(
    tokens: &TokenList,
    (token, first): (TokenId, TokenId),
    rows: &[Configuration],
) -> Result<Inventory, HsmError> {
    take(tokens.on(token)?, (token, first), rows.to_vec()).await
}
