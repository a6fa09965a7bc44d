//! The keys that sign uploads.

use super::*;

/// One client; another is any other.
fn owner() -> ClientId {
    ClientId::from_bytes([1; 16])
}

fn key(fingerprint: u8) -> PublicKey {
    PublicKey {
        id: PublicKeyId::generate(),
        owner: owner(),
        display_name: "an administrator's key".into(),
        spki: vec![fingerprint; 294],
        fingerprint: [fingerprint; 32],
        bits: 2_048,
        enabled: true,
        created_ms: NOW_MS,
        updated_ms: NOW_MS,
    }
}

pub(in crate::store) async fn the_same_key_is_registered_once<F: Factory>() {
    let factory = F::default();
    let store = factory.open();
    let Registered::New(row) = store.register_public_key(key(1), Actor::Local).await.unwrap() else {
        panic!("not new")
    };
    assert_eq!(store.register_public_key(key(1), Actor::Local).await, Ok(Registered::Existing(row.clone())));
    assert_eq!(store.public_key(row.id).await, Ok(Some(row)));
    assert_eq!(store.public_key(PublicKeyId::generate()).await, Ok(None));
}

pub(in crate::store) async fn only_enabled_keys_open_uploads<F: Factory>() {
    let factory = F::default();
    let store = factory.open();
    for fingerprint in 1..=3 {
        store.register_public_key(key(fingerprint), Actor::Local).await.unwrap();
    }
    let all = store.list_public_keys(PageRequest::first()).await.unwrap().items;
    assert_eq!(all.len(), 3);
    let off =
        store.set_public_key_enabled(all[1].id, false, Actor::Local, NOW_MS + 1).await.unwrap().unwrap();
    assert_eq!((off.enabled, off.updated_ms), (false, NOW_MS + 1));
    let enabled: Vec<_> =
        store.enabled_public_keys(owner()).await.unwrap().into_iter().map(|key| key.id).collect();
    assert_eq!(enabled, [all[0].id, all[2].id]);
    store.set_public_key_enabled(all[1].id, true, Actor::Local, NOW_MS + 2).await.unwrap();
    assert_eq!(store.enabled_public_keys(owner()).await.unwrap().len(), 3);
    assert_eq!(store.enabled_public_keys(ClientId::generate()).await, Ok(vec![]));
    assert_eq!(
        store.set_public_key_enabled(PublicKeyId::generate(), true, Actor::Local, NOW_MS).await,
        Ok(None)
    );
}
