//! Configurations as issuing needs them: what never changes of a row, kept in memory once read.
//!
//! Their state is not kept: the ledger checks it in the transaction that records a token.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use super::Unusable;
use crate::{
    hsm::{KeyId, KeyKind, Mask, VendingKey, VendingKeyClass},
    store::{Configuration, ConfigurationId, ConfigurationState, Store, StoreError},
    sts::attributes::{Attributes, Dkga},
};

/// What never changes of a configuration.
#[derive(Debug)]
pub struct Known {
    /// Its id.
    pub id: ConfigurationId,
    /// What enters derivations.
    pub attributes: Attributes,
    /// The key check value; zero where no key is kept.
    pub kcv: Option<[u8; 3]>,
    /// How its key is used, or why there is none.
    key: Result<VendingKey, Unusable>,
}

impl Known {
    fn new(row: &Configuration) -> Self {
        let key = if row.destroy_begun() {
            Err(Unusable::Destroyed)
        } else {
            vending_key(row).ok_or_else(|| Unusable::Unservable(row.unservable.clone()))
        };
        Self { id: row.id, attributes: row.attributes, kcv: row.kcv, key }
    }

    /// The key, if there is one.
    ///
    /// # Errors
    /// The configuration can never issue, or its key is destroyed.
    pub fn key(&self) -> Result<VendingKey, Unusable> {
        self.key.clone()
    }
}

/// Which kind of key object serves an algorithm; DKGA01 has none.
pub(crate) fn kind_of(dkga: Dkga) -> Option<KeyKind> {
    match dkga {
        Dkga::Dkga01 => None,
        Dkga::Dkga02 => Some(KeyKind::Des),
        Dkga::Dkga03 => Some(KeyKind::Des2),
        Dkga::Dkga04 => Some(KeyKind::Hmac),
    }
}

/// How a configuration's key is used, where the HSM keeps one.
pub(crate) fn vending_key(row: &Configuration) -> Option<VendingKey> {
    if !row.is_servable() {
        return None;
    }
    let class = match kind_of(row.attributes.dkga)? {
        KeyKind::Des => {
            let mask = row.mask?;
            VendingKeyClass::Des { mask: Mask { iv: mask.iv, ciphertext: mask.ciphertext } }
        }
        KeyKind::Des2 => VendingKeyClass::Des2,
        KeyKind::Hmac => VendingKeyClass::Hmac,
    };
    Some(VendingKey { id: KeyId(row.id.to_bytes()), class })
}

/// The configurations that were read.
#[derive(Default)]
pub(super) struct KnownConfigurations(RwLock<HashMap<ConfigurationId, Arc<Known>>>);

impl KnownConfigurations {
    /// From memory, or from the store the first time.
    pub(super) async fn get(
        &self,
        store: &dyn Store,
        id: ConfigurationId,
    ) -> Result<Result<Arc<Known>, Unusable>, StoreError> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned();
        if let Some(known) = known {
            return Ok(Ok(known));
        }
        let Some(row) = store.configuration(id).await? else { return Ok(Err(Unusable::NotFound(id))) };
        if row.state == ConfigurationState::Importing {
            return Ok(Err(Unusable::Importing));
        }
        let known = Arc::new(Known::new(&row));
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(id, known.clone());
        Ok(Ok(known))
    }

    /// Reads it from the store the next time: its key is no more what it was.
    pub(super) fn forget(&self, id: ConfigurationId) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }
}
