//! What the HSM holds against what the store knows, at every start. Differences are reported; nothing is ever deleted for them.

use std::collections::BTreeSet;

use crate::{
    hsm::{Hsm, HsmError, KeyId, Role},
    store::{ConfigurationState, Listing, PAGE_SIZE_MAX, PageRequest, Store, StoreError},
};

/// Why the two could not be compared.
#[derive(Debug, thiserror::Error)]
pub(super) enum InventoryError {
    #[error(transparent)]
    Hsm(#[from] HsmError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Logs key objects that no configuration knows, and configurations whose key is gone.
pub(super) async fn report(hsm: &Hsm, store: &dyn Store) -> Result<(), InventoryError> {
    let mut held = BTreeSet::new();
    for object in hsm.key_objects().await? {
        match object.id {
            Some(id) => {
                held.insert((object.role, id));
            }
            None => {
                tracing::warn!(role = %object.role, "the HSM holds an object with an id that is not ours")
            }
        }
    }
    let (mut known, mut after) = (BTreeSet::new(), String::new());
    // Sizes and tokens that the store itself gave are always taken.
    while let Ok(request) = PageRequest::new(Listing::Configurations, PAGE_SIZE_MAX.cast_signed(), &after) {
        let page = store.list_configurations(request).await?;
        for row in page.items {
            let id = KeyId(row.id.to_bytes());
            known.insert(id);
            let kept = !matches!(row.state, ConfigurationState::Importing | ConfigurationState::Destroyed)
                && !row.destroy_begun;
            if kept && row.is_servable() && !held.contains(&(Role::VendingKey, id)) {
                tracing::error!(configuration = %row.id, "the HSM does not hold this configuration's key");
            }
        }
        match page.next {
            Some(next) => after = next.to_string(),
            None => break,
        }
    }
    for (role, id) in held.iter().filter(|(_, id)| !known.contains(id)) {
        tracing::warn!(%role, %id, "the HSM holds an object that no configuration knows; it is left alone");
    }
    Ok(())
}
