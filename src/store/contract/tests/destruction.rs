//! The end of a configuration in the store.

use super::*;
use crate::configuration::Gone;

fn refusal(result: Result<Configuration, ConfigurationError>) -> ConfigurationRefusal {
    match result {
        Err(ConfigurationError::Refused(refusal)) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

fn is(state: ConfigurationState) -> ConfigurationRefusal {
    ConfigurationRefusal::WrongState { state }
}

pub(in crate::store) async fn the_way_to_the_end_and_back<F: Factory>() {
    let factory = F::default();
    let store = factory.open();
    let id = imported(&store, 1).await.id;
    let gone = || Gone { tokens: vec![FIRST_TOKEN], first: FIRST_TOKEN, all: true };
    let finish = |now_ms| store.finish_destruction(id, gone(), now_ms);
    let schedule = |at| store.schedule_destruction(id, at, Actor::Local, NOW_MS);
    assert_eq!(refusal(schedule(NOW_MS + 50).await), is(ConfigurationState::Enabled));
    store.set_configuration_enabled(id, false, Actor::Local, NOW_MS).await.unwrap();
    let scheduled = schedule(NOW_MS + 50).await.unwrap();
    assert_eq!(scheduled.destroy_ms, Some(NOW_MS + 50));
    assert_eq!(schedule(NOW_MS + 99).await, Ok(scheduled), "it keeps its time");
    assert_eq!(store.due_destructions(NOW_MS + 49).await, Ok(vec![]));
    assert_eq!(
        refusal(store.begin_destruction(id, NOW_MS + 49).await),
        is(ConfigurationState::DestroyScheduled)
    );
    let restored = store.restore_configuration(id, Actor::Local, NOW_MS + 49).await.unwrap();
    assert_eq!((restored.state, restored.destroy_ms), (ConfigurationState::Disabled, None));
    assert_eq!(store.due_destructions(NOW_MS + 50).await, Ok(vec![]));
    assert_eq!(refusal(store.begin_destruction(id, NOW_MS + 50).await), is(ConfigurationState::Disabled));

    schedule(NOW_MS + 50).await.unwrap();
    assert_eq!(store.due_destructions(NOW_MS + 50).await, Ok(vec![id]));
    assert_eq!(refusal(finish(NOW_MS + 50).await), is(ConfigurationState::DestroyScheduled));
    let begun = store.begin_destruction(id, NOW_MS + 50).await.unwrap();
    assert!(begun.destroy_begun() && begun.keys[0].mask.is_some());
    // The clock goes back: what was begun is ended all the same, and never taken back.
    assert_eq!(store.due_destructions(NOW_MS).await, Ok(vec![id]));
    assert_eq!(store.begin_destruction(id, NOW_MS).await, Ok(begun));
    let late = store.restore_configuration(id, Actor::Local, NOW_MS).await;
    assert_eq!(refusal(late), is(ConfigurationState::Destroyed));
    let gone = finish(NOW_MS + 60).await.unwrap();
    assert_eq!(
        (gone.state, gone.keys[0].mask, gone.kcv()),
        (ConfigurationState::Destroyed, None, Some([1, 2, 3]))
    );
    assert_eq!(gone.destroy_ms, Some(NOW_MS + 60));
    assert_eq!(finish(NOW_MS + 70).await, Ok(gone));
    assert_eq!(store.due_destructions(i64::MAX).await, Ok(vec![]));
    for refused in [
        store.restore_configuration(id, Actor::Local, NOW_MS).await,
        schedule(NOW_MS).await,
        store.set_configuration_enabled(id, true, Actor::Local, NOW_MS).await,
        store.begin_destruction(id, NOW_MS).await,
    ] {
        assert_eq!(refusal(refused), is(ConfigurationState::Destroyed));
    }
    assert!(store.verify_seals().await.unwrap().is_sound());
}

pub(in crate::store) async fn each_token_is_told_apart<F: Factory>() {
    let factory = F::default();
    let store = factory.open();
    let row = imported(&store, 1).await;
    let (id, second) = (row.id, TokenId([21; 8]));
    let key = TokenKey { token: Some(second), ..row.keys[0] };
    store.add_key(id, key, FIRST_TOKEN, Actor::Local, NOW_MS).await.unwrap();
    store.set_configuration_enabled(id, false, Actor::Local, NOW_MS).await.unwrap();
    store.schedule_destruction(id, NOW_MS, Actor::Local, NOW_MS).await.unwrap();
    store.begin_destruction(id, NOW_MS).await.unwrap();
    let of_first = Gone { tokens: vec![FIRST_TOKEN], first: FIRST_TOKEN, all: true };
    let half = store.finish_destruction(id, of_first, NOW_MS + 1).await.unwrap();
    assert_eq!(half.state, ConfigurationState::DestroyScheduled);
    assert_eq!(
        half.keys.iter().map(|key| key.state).collect::<Vec<_>>(),
        [KeyState::Held, KeyState::Destroyed]
    );
    drop(store);
    let store = factory.open();
    assert_eq!(store.configuration(id).await, Ok(Some(half)));
    assert_eq!(store.due_destructions(NOW_MS).await, Ok(vec![id]), "it is not done");
    let of_second = Gone { tokens: vec![second], first: second, all: true };
    let gone = store.finish_destruction(id, of_second, NOW_MS + 2).await.unwrap();
    assert_eq!(gone.state, ConfigurationState::Destroyed);
    assert!(gone.keys.iter().all(|key| key.mask.is_none() && key.state == KeyState::Destroyed));
    assert_eq!(store.configuration(id).await, Ok(Some(gone)));
}
