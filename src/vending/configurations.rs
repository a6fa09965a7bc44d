//! Configurations as issuing needs them: what never changes of a row, kept in memory once read.
//!
//! Their state is not kept: the ledger checks it in the transaction that records a token.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use super::Unusable;
use crate::{
    configuration::{Configuration, ConfigurationState, TokenKey},
    hsm::{KeyId, KeyKind, Mask, TokenId, VendingKey, VendingKeyClass},
    id::ConfigurationId,
    store::{Store, StoreError},
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
    fn new(row: &Configuration, tokens: &[TokenId]) -> Self {
        let key = if row.destroy_begun() {
            Err(Unusable::Destroyed)
        } else {
            vending_key(row, tokens).ok_or_else(|| {
                let held = row.keys.iter().filter_map(|key| key.token).collect::<Vec<_>>();
                if held.is_empty() {
                    Unusable::Unservable(row.unservable.clone())
                } else {
                    Unusable::OtherTokens(held)
                }
            })
        };
        Self { id: row.id, attributes: row.attributes, kcv: row.kcv(), key }
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

/// How a configuration's key is used, where one of these tokens keeps it.
pub(crate) fn vending_key(row: &Configuration, tokens: &[TokenId]) -> Option<VendingKey> {
    if !row.is_servable() {
        return None;
    }
    let (token, held) = tokens.iter().find_map(|token| {
        // A row from before tokens were told apart is the first one's.
        let holds = |key: &&TokenKey| key.token.is_none_or(|held| held == *token);
        row.keys.iter().find(holds).map(|key| (*token, key))
    })?;
    let class = match kind_of(row.attributes.dkga)? {
        KeyKind::Des => {
            let mask = held.mask?;
            VendingKeyClass::Des { mask: Mask { iv: mask.iv, ciphertext: mask.ciphertext } }
        }
        KeyKind::Des2 => VendingKeyClass::Des2,
        KeyKind::Hmac => VendingKeyClass::Hmac,
    };
    Some(VendingKey { token, id: KeyId(row.id.to_bytes()), class, kcv: held.kcv })
}

/// How long a configuration is believed to be as it was read: another server may destroy its key.
const BELIEVED: Duration = Duration::from_secs(1);

/// The configurations that were read, and when.
#[derive(Default)]
pub(super) struct KnownConfigurations(RwLock<HashMap<ConfigurationId, (Instant, Arc<Known>)>>);

impl KnownConfigurations {
    /// From memory, or from the store where it was not read a moment ago.
    pub(super) async fn get(
        &self,
        store: &dyn Store,
        tokens: &[TokenId],
        id: ConfigurationId,
    ) -> Result<Result<Arc<Known>, Unusable>, StoreError> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned();
        if let Some((read, known)) = known
            && read.elapsed() < BELIEVED
        {
            return Ok(Ok(known));
        }
        let Some(row) = store.configuration(id).await? else { return Ok(Err(Unusable::NotFound(id))) };
        if row.state == ConfigurationState::Importing {
            return Ok(Err(Unusable::Importing));
        }
        let known = Arc::new(Known::new(&row, tokens));
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(id, (Instant::now(), known.clone()));
        Ok(Ok(known))
    }

    /// Reads it from the store the next time: its key is no more what it was.
    pub(super) fn forget(&self, id: ConfigurationId) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configuration::MaskedKey;
    use crate::id::{ClientId, PublicKeyId};

    fn row(keys: Vec<TokenKey>) -> Configuration {
        Configuration {
            id: ConfigurationId::from_bytes([1; 16]),
            fingerprint: [2; 32],
            nonce: None,
            state: ConfigurationState::Enabled,
            display_name: "test".to_owned(),
            attributes: Attributes { dkga: Dkga::Dkga02, ..Attributes::example() },
            key_length: 8,
            unservable: Vec::new(),
            warnings: Vec::new(),
            keys,
            signer: PublicKeyId::from_bytes([3; 16]),
            uploaded_by: ClientId::from_bytes([4; 16]),
            created_ms: 0,
            updated_ms: 0,
            destroy_ms: None,
            destroy_begun_ms: None,
        }
    }

    fn key(token: Option<u8>, iv: u8) -> TokenKey {
        let mask = Some(MaskedKey { iv: [iv; 16], ciphertext: [9; 16] });
        TokenKey { token: token.map(|token| TokenId([token; 8])), kcv: [1, 2, 3], mask }
    }

    #[test]
    fn each_token_derives_with_its_own_mask() {
        let row = row(vec![key(Some(1), 11), key(Some(2), 22)]);
        for (token, iv) in [(1, 11), (2, 22)] {
            let found = vending_key(&row, &[TokenId([7; 8]), TokenId([token; 8])]).unwrap();
            let mask = Mask { iv: [iv; 16], ciphertext: [9; 16] };
            assert_eq!(found.token, TokenId([token; 8]));
            assert_eq!(found.class, VendingKeyClass::Des { mask });
        }
    }

    #[test]
    fn a_row_without_a_token_is_the_first_ones() {
        let found = vending_key(&row(vec![key(None, 11)]), &[TokenId([5; 8]), TokenId([6; 8])]).unwrap();
        assert_eq!(found.token, TokenId([5; 8]));
    }

    #[test]
    fn a_key_on_other_tokens_is_told() {
        let known = Known::new(&row(vec![key(Some(1), 11)]), &[TokenId([2; 8])]);
        assert!(matches!(known.key(), Err(Unusable::OtherTokens(held)) if held == [TokenId([1; 8])]));
    }
}
