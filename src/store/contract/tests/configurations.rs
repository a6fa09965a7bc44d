//! Configurations from their upload on.

use super::*;

fn refusal(result: Result<Configuration, ConfigurationError>) -> ConfigurationRefusal {
    match result {
        Err(ConfigurationError::Refused(refusal)) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

pub(in crate::store) async fn an_import_begins_is_resumed_and_ends<F: Factory>() {
    let factory = F::default();
    let store = factory.open();
    let first = upload(1);
    let Begun::Started(started) = store.begin_import(first.clone()).await.unwrap() else { panic!() };
    assert_eq!((started.id, started.state), (first.id, ConfigurationState::Importing));
    assert_eq!((started.attributes, started.warnings.clone()), (first.attributes, first.warnings));

    // The server died: the same upload comes again with an id of its own, and gets the row that is
    // there.
    drop(store);
    let store = factory.open();
    assert_eq!(store.begin_import(upload(1)).await, Ok(Begun::Resumed(started.clone())));

    let row = store.finish_import(started.id, imported_fields(), Actor::Local, NOW_MS + 9).await.unwrap();
    assert_eq!(row.keys.first(), imported_fields().key.as_ref());
    assert_eq!((row.state, row.updated_ms), (ConfigurationState::Enabled, NOW_MS + 9));
    assert_eq!(store.configuration(row.id).await, Ok(Some(row.clone())));
    assert_eq!(store.begin_import(upload(1)).await, Ok(Begun::Existing(row.clone())));

    let again = store.finish_import(row.id, imported_fields(), Actor::Local, NOW_MS).await;
    assert_eq!(refusal(again), ConfigurationRefusal::WrongState { state: ConfigurationState::Enabled });
}

pub(in crate::store) async fn further_tokens_hold_a_key<F: Factory>() {
    let factory = F::default();
    let store = factory.open();
    let row = imported(&store, 1).await;
    let first = FIRST_TOKEN;
    let add = |token, iv, kcv| {
        let mask = Some(MaskedKey { iv: [iv; 16], ciphertext: [iv; 16] });
        let key = TokenKey { token: Some(TokenId([token; 8])), kcv, mask, state: KeyState::Held };
        store.add_key(row.id, key, first, Actor::Local, NOW_MS + 5)
    };
    let added = add(21, 1, [1, 2, 3]).await.unwrap();
    assert_eq!((added.keys.len(), added.keys[0]), (2, row.keys[0]));
    assert_eq!(add(21, 1, [1, 2, 3]).await, Ok(added), "it is so already");
    add(22, 2, [1, 2, 3]).await.unwrap();
    // The second one lost it, and holds it under another mask.
    let anew = add(21, 3, [1, 2, 3]).await.unwrap();
    let masks: Vec<_> = anew.keys.iter().map(|key| key.mask.map(|mask| mask.iv)).collect();
    assert_eq!(masks[1..], [Some([3; 16]), Some([2; 16])]);
    let other = ConfigurationRefusal::OtherKey { found: [9; 3], known: [1, 2, 3] };
    assert_eq!(refusal(add(23, 4, [9; 3]).await), other);
    assert_eq!(store.configuration(row.id).await, Ok(Some(anew)));
    assert!(store.verify_seals().await.unwrap().is_sound());
}

pub(in crate::store) async fn a_nonce_serves_one_upload<F: Factory>() {
    let factory = F::default();
    let store = factory.open();
    let sealed = |fingerprint| NewConfiguration { nonce: Some([7; 16]), ..upload(fingerprint) };
    let Begun::Started(row) = store.begin_import(sealed(1)).await.unwrap() else { panic!() };
    assert_eq!(row.nonce, Some([7; 16]));
    assert_eq!(store.begin_import(sealed(2)).await, Ok(Begun::NonceUsed));
    drop(store);
    let store = factory.open();
    assert_eq!(store.begin_import(sealed(1)).await, Ok(Begun::Resumed(row.clone())));
    assert_eq!(store.begin_import(sealed(2)).await, Ok(Begun::NonceUsed));
    // Any number have none.
    for fingerprint in [3, 4] {
        assert!(matches!(store.begin_import(upload(fingerprint)).await, Ok(Begun::Started(_))));
    }
    // One that the HSM refused is forgotten whole.
    assert_eq!(store.abandon_import(row.id, NOW_MS).await, Ok(true));
    assert!(matches!(store.begin_import(sealed(2)).await, Ok(Begun::Started(_))));
}

pub(in crate::store) async fn only_an_import_that_did_not_end_is_forgotten<F: Factory>() {
    let factory = F::default();
    let store = factory.open();
    let done = imported(&store, 1).await;
    assert_eq!(store.abandon_import(done.id, NOW_MS).await, Ok(false));
    assert_eq!(store.configuration(done.id).await, Ok(Some(done)));

    let Begun::Started(half) = store.begin_import(upload(2)).await.unwrap() else { panic!() };
    assert_eq!(store.abandon_import(half.id, NOW_MS).await, Ok(true));
    assert_eq!(store.configuration(half.id).await, Ok(None));
    assert!(matches!(store.begin_import(upload(2)).await, Ok(Begun::Started(_))));
}

pub(in crate::store) async fn enabling_and_disabling<F: Factory>() {
    let factory = F::default();
    let store = factory.open();
    let id = imported(&store, 1).await.id;
    let row = store.set_configuration_enabled(id, false, Actor::Local, NOW_MS + 5).await.unwrap();
    assert_eq!((row.state, row.updated_ms), (ConfigurationState::Disabled, NOW_MS + 5));
    let same = store.set_configuration_enabled(id, false, Actor::Local, NOW_MS + 6).await.unwrap();
    assert_eq!(same.updated_ms, NOW_MS + 5, "nothing changed");
    let row = store.set_configuration_enabled(id, true, Actor::Local, NOW_MS + 7).await.unwrap();
    assert_eq!(row.state, ConfigurationState::Enabled);

    let unknown =
        store.set_configuration_enabled(ConfigurationId::generate(), true, Actor::Local, NOW_MS).await;
    assert_eq!(refusal(unknown), ConfigurationRefusal::NotFound);
    let Begun::Started(half) = store.begin_import(upload(2)).await.unwrap() else { panic!() };
    for enabled in [false, true] {
        let early = store.set_configuration_enabled(half.id, enabled, Actor::Local, NOW_MS).await;
        assert_eq!(refusal(early), ConfigurationRefusal::WrongState { state: ConfigurationState::Importing });
    }
}

pub(in crate::store) async fn what_cannot_be_served_is_never_enabled<F: Factory>() {
    let factory = F::default();
    let store = factory.open();
    let reason = Warning { code: "KEY_LENGTH".into(), message: "too short".into() };
    let new = NewConfiguration { unservable: vec![reason.clone()], key_length: 8, ..upload(1) };
    let Begun::Started(row) = store.begin_import(new).await.unwrap() else { panic!() };
    assert!(!row.is_servable());
    let not_servable = ConfigurationRefusal::NotServable { reasons: vec![reason] };

    let enabled = store.finish_import(row.id, imported_fields(), Actor::Local, NOW_MS).await;
    assert_eq!(refusal(enabled), not_servable);
    let fields = ImportedFields { key: None, state: FinishedState::Disabled };
    let row = store.finish_import(row.id, fields, Actor::Local, NOW_MS).await.unwrap();
    assert_eq!(row.state, ConfigurationState::Disabled);
    assert_eq!(
        refusal(store.set_configuration_enabled(row.id, true, Actor::Local, NOW_MS).await),
        not_servable
    );
}

pub(in crate::store) async fn pages_list_all_in_order_once<F: Factory>() {
    let factory = F::default();
    let store = factory.open();
    let mut expected = Vec::new();
    for fingerprint in 1..=7 {
        expected.push(imported(&store, fingerprint).await.id);
    }
    let mut found = Vec::new();
    let mut token = String::new();
    loop {
        let request = PageRequest::new(Listing::Configurations, 3, &token).unwrap();
        let page = store.list_configurations(request).await.unwrap();
        assert!(page.items.len() <= 3);
        found.extend(page.items.iter().map(|row| row.id));
        match page.next {
            Some(next) => token = next.to_string(),
            None => break,
        }
    }
    assert_eq!(found, expected);
}
