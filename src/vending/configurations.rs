//! Configurations as issuing needs them: what never changes of a row, kept in memory once read.
//!
//! Their state is not kept: the ledger checks it in the transaction that records a token.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use super::{Unusable, VendingHsm};
use crate::{
    configuration::{Configuration, ConfigurationState, KeyState},
    hsm::{HsmError, KeyId, KeyKind, Mask, TokenId, VendingKey, VendingKeyClass},
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
    /// How its key is used on each token that holds it, at least one; or why there is none.
    keys: Result<Vec<VendingKey>, Unusable>,
}

impl Known {
    fn new(row: &Configuration, tokens: &[TokenId], unreached: Option<HsmError>) -> Self {
        let keys =
            if row.destroy_begun() { Err(Unusable::Destroyed) } else { usable(row, tokens, unreached) };
        Self { id: row.id, attributes: row.attributes, kcv: row.kcv(), keys }
    }

    /// The key on each token that holds it, at least one.
    ///
    /// # Errors
    /// The configuration can never issue, its key is destroyed, or no token of this server holds it.
    pub fn keys(&self) -> Result<&[VendingKey], Unusable> {
        self.keys.as_deref().map_err(Clone::clone)
    }
}

fn usable(
    row: &Configuration,
    tokens: &[TokenId],
    unreached: Option<HsmError>,
) -> Result<Vec<VendingKey>, Unusable> {
    let keys: Vec<VendingKey> = vending_keys(row, tokens).collect();
    if !keys.is_empty() {
        return Ok(keys);
    }
    let held = row.keys.iter().filter(|key| key.state == KeyState::Held);
    let held = held.filter_map(|key| key.token).collect::<Vec<_>>();
    Err(match unreached {
        _ if held.is_empty() => Unusable::Unservable(row.unservable.clone()),
        // It may be the one that holds it.
        Some(why) => Unusable::Unreached(why),
        None => Unusable::OtherTokens(held),
    })
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

/// How a configuration's key is used on each of a server's tokens that holds it.
fn vending_keys(row: &Configuration, tokens: &[TokenId]) -> impl Iterator<Item = VendingKey> {
    let first = tokens.first().copied();
    tokens.iter().filter_map(move |token| vending_key(row, *token, first?))
}

/// How a configuration's key is used on one token of a server whose first one is `first`.
pub(crate) fn vending_key(row: &Configuration, token: TokenId, first: TokenId) -> Option<VendingKey> {
    if !row.is_servable() {
        return None;
    }
    let held = row.key_on(token, first)?;
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
        hsm: &dyn VendingHsm,
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
        let known = Arc::new(Known::new(&row, &hsm.tokens(), hsm.unreached()));
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
    use crate::configuration::{MaskedKey, TokenKey};
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
        let token = token.map(|token| TokenId([token; 8]));
        TokenKey { token, kcv: [1, 2, 3], mask, state: KeyState::Held }
    }

    #[test]
    fn each_token_derives_with_its_own_mask() {
        let row = row(vec![key(Some(1), 11), key(Some(2), 22)]);
        let tokens = [TokenId([2; 8]), TokenId([7; 8]), TokenId([1; 8])];
        let found: Vec<_> = vending_keys(&row, &tokens).map(|key| (key.token, key.class)).collect();
        let class = |iv| VendingKeyClass::Des { mask: Mask { iv: [iv; 16], ciphertext: [9; 16] } };
        assert_eq!(found, [(tokens[0], class(22)), (tokens[2], class(11))]);
    }

    #[test]
    fn a_row_without_a_token_is_the_first_ones() {
        let tokens = [TokenId([5; 8]), TokenId([6; 8])];
        let found: Vec<_> = vending_keys(&row(vec![key(None, 11)]), &tokens).map(|key| key.token).collect();
        assert_eq!(found, [TokenId([5; 8])]);
    }

    #[test]
    fn a_key_on_other_tokens_is_told() {
        let known = |unreached| Known::new(&row(vec![key(Some(1), 11)]), &[TokenId([2; 8])], unreached);
        assert!(matches!(known(None).keys(), Err(Unusable::OtherTokens(held)) if held == [TokenId([1; 8])]));
        let unreached = known(Some(HsmError::Stopped));
        assert!(matches!(unreached.keys(), Err(Unusable::Unreached(HsmError::Stopped))));
        let destroyed = TokenKey { state: KeyState::Destroyed, ..key(Some(2), 22) };
        let known = Known::new(&row(vec![key(Some(1), 11), destroyed]), &[TokenId([2; 8])], None);
        assert!(matches!(known.keys(), Err(Unusable::OtherTokens(_))), "it holds it no more");
    }
}
