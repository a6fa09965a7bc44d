//! What the HSM holds against what the store knows, at every start. Differences are reported;
//! nothing is ever deleted for them.

use crate::{
    custody::{self, Finding, Inventory},
    hsm::{HsmError, TokenId, Tokens},
    store::{Listing, PAGE_SIZE_MAX, PageRequest, Store, StoreError},
};

/// Why the two could not be compared.
#[derive(Debug, thiserror::Error)]
pub(super) enum InventoryError {
    #[error(transparent)]
    Hsm(#[from] HsmError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Logs key objects that no configuration knows, and configurations whose keys are not what they
/// must be.
pub(super) async fn report(hsm: &dyn Tokens, store: &dyn Store) -> Result<(), InventoryError> {
    let tokens = hsm.tokens();
    let Some(first) = tokens.first().copied() else { return Ok(()) };
    let (mut rows, mut after) = (Vec::new(), String::new());
    // Sizes and tokens that the store itself gave are always taken.
    while let Ok(request) = PageRequest::new(Listing::Configurations, PAGE_SIZE_MAX.cast_signed(), &after) {
        let page = store.list_configurations(request).await?;
        rows.extend(page.items);
        match page.next {
            Some(next) => after = next.to_string(),
            None => break,
        }
    }
    for token in tokens {
        let inventory = custody::take(hsm.on(token)?, (token, first), rows.clone()).await?;
        tell(token, &inventory);
    }
    Ok(())
}

fn tell(token: TokenId, inventory: &Inventory) {
    for item in &inventory.configurations {
        let configuration = item.configuration.id;
        match &item.finding {
            Finding::Faulty(fault) => {
                tracing::error!(%configuration, %token, fault, "the HSM does not hold this configuration's key as it must");
            }
            Finding::OtherKey { kcv } => {
                tracing::error!(%configuration, %token, kcv = hex::encode(kcv), "the HSM holds another key for this configuration");
            }
            Finding::NotGone => {
                tracing::error!(%configuration, %token, "the HSM holds objects of a destroyed configuration");
            }
            Finding::Elsewhere => {
                tracing::warn!(%configuration, %token, "a token lacks the key of this configuration: send its upload again");
            }
            Finding::Sound | Finding::Importing | Finding::NoKey | Finding::Gone => {}
        }
    }
    for object in &inventory.unknown {
        let id = object.id.map(|id| id.to_string());
        tracing::warn!(role = %object.role, id, %token, "the HSM holds an object that no configuration knows; it is left alone");
    }
}
