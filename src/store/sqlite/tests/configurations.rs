use super::*;
use crate::store::ConfigurationState;

fn refusal(result: Result<Configuration, ConfigurationError>) -> ConfigurationRefusal {
    match result {
        Err(ConfigurationError::Refused(refusal)) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn an_import_begins_is_resumed_and_ends() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let first = upload(1);
    let Begun::Started(started) = store.begin_import(first.clone()).await.unwrap() else { panic!() };
    assert_eq!((started.id, started.state), (first.id, ConfigurationState::Importing));
    assert_eq!((started.attributes, started.warnings.clone()), (first.attributes, first.warnings));

    // The server died: the same upload comes again with an id of its own, and gets the row that is there.
    drop(store);
    let store = open(&folder);
    assert_eq!(store.begin_import(upload(1)).await, Ok(Begun::Resumed(started.clone())));

    let row = store.finish_import(started.id, imported_fields(), Actor::Local, NOW_MS + 9).await.unwrap();
    assert_eq!((row.kcv, row.mask), (Some([1, 2, 3]), imported_fields().mask));
    assert_eq!((row.state, row.updated_ms), (ConfigurationState::Enabled, NOW_MS + 9));
    assert_eq!(store.configuration(row.id).await, Ok(Some(row.clone())));
    assert_eq!(store.begin_import(upload(1)).await, Ok(Begun::Existing(row.clone())));

    let again = store.finish_import(row.id, imported_fields(), Actor::Local, NOW_MS).await;
    assert_eq!(refusal(again), ConfigurationRefusal::WrongState { state: ConfigurationState::Enabled });
}

#[tokio::test]
async fn only_an_import_that_did_not_end_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let done = imported(&store, 1).await;
    assert_eq!(store.abandon_import(done.id, NOW_MS).await, Ok(false));
    assert_eq!(store.configuration(done.id).await, Ok(Some(done)));

    let Begun::Started(half) = store.begin_import(upload(2)).await.unwrap() else { panic!() };
    assert_eq!(store.abandon_import(half.id, NOW_MS).await, Ok(true));
    assert_eq!(store.configuration(half.id).await, Ok(None));
    assert!(matches!(store.begin_import(upload(2)).await, Ok(Begun::Started(_))));
}

#[tokio::test]
async fn enabling_and_disabling() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
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

#[tokio::test]
async fn what_cannot_be_served_is_never_enabled() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let reason = Warning { code: "KEY_LENGTH".into(), message: "too short".into() };
    let new = NewConfiguration { unservable: vec![reason.clone()], key_length: 8, ..upload(1) };
    let Begun::Started(row) = store.begin_import(new).await.unwrap() else { panic!() };
    assert!(!row.is_servable());
    let not_servable = ConfigurationRefusal::NotServable { reasons: vec![reason] };

    let enabled = store.finish_import(row.id, imported_fields(), Actor::Local, NOW_MS).await;
    assert_eq!(refusal(enabled), not_servable);
    let fields = ImportedFields { kcv: None, mask: None, state: FinishedState::Disabled };
    let row = store.finish_import(row.id, fields, Actor::Local, NOW_MS).await.unwrap();
    assert_eq!(row.state, ConfigurationState::Disabled);
    assert_eq!(
        refusal(store.set_configuration_enabled(row.id, true, Actor::Local, NOW_MS).await),
        not_servable
    );

    // Not even by hand: the schema refuses what the code would.
    let forged = store
        .write(move |c| {
            Ok(c.view
                .execute("UPDATE configurations SET state = 'ENABLED' WHERE id = ?1", [row.id.to_bytes()])?)
        })
        .await;
    assert!(matches!(forged, Err(StoreError::Defect { .. })));
}

#[tokio::test]
async fn pages_list_all_in_order_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
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

#[tokio::test]
async fn a_row_of_another_hand_is_refused_and_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let id = imported(&store, 1).await.id;
    for forgery in ["sgc = '12345x'", "krn = 0", "ea = 8", "base_date = 1970", "warnings = '{'", "iin = 'x'"]
    {
        let sql = format!("PRAGMA ignore_check_constraints = 1; UPDATE configurations SET {forgery}");
        let sealed = move |c: &mut Writing<Sqlite<Writer>>, sql: &str| {
            c.view.execute_batch(sql)?;
            c.seal(Table::Configurations, 1)
        };
        // Under a seal: a value that is none of ours is refused even so.
        store.write(move |c| sealed(c, &sql)).await.unwrap();
        let Err(StoreError::Corrupt { reason }) = store.configuration(id).await else {
            panic!("{forgery} believed")
        };
        assert!(!reason.contains("12345x"), "{reason}");
        let heal =
            "UPDATE configurations SET sgc = '000123', krn = 1, ea = 7, base_date = 2014, warnings = '[]',
                    iin = '600727'";
        store.write(move |c| sealed(c, heal)).await.unwrap();
        assert!(store.configuration(id).await.unwrap().is_some());
    }
}
