//! Rows that decide bear their seals.

use super::*;

pub(in crate::store) async fn what_the_store_wrote_bears_its_seals<F: Factory>() {
    let scene = Scene::<F>::new().await;
    let other = imported(&scene.store, 2).await.id;
    let pair = KeyChangePair { source: scene.configuration, target: other };
    scene.store.allow_key_change(pair, scene.client, Actor::Local, NOW_MS).await.unwrap();
    scene.store.set_configuration_enabled(other, false, Actor::Local, NOW_MS).await.unwrap();
    assert_eq!(scene.store.verify_seals().await.unwrap(), SealReport::default());
    scene.store.forbid_key_change(pair, Actor::Local, NOW_MS).await.unwrap();
    let scene = scene.reopen();
    assert_eq!(scene.store.verify_seals().await.unwrap(), SealReport::default());
}
