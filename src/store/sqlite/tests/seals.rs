//! Rows that decide, changed by somebody else while the store is closed or open.

use rusqlite::Connection;

use super::*;
use crate::configuration::PublicKey;
use crate::store::LedgerError;

impl Scene {
    /// Lets somebody else write to the database.
    async fn tampered(self, sql: &str) -> Self {
        let Self { factory, store, client, configuration } = self;
        drop(store);
        let changed = Connection::open(factory.path()).unwrap().execute(sql, ()).unwrap();
        assert_eq!(changed, 1, "{sql}");
        let store = factory.open();
        Self { factory, store, client, configuration }
    }

    async fn is_forged(&self) -> bool {
        !self.store.verify_seals().await.unwrap().forged.is_empty()
    }
}

fn forged<T: std::fmt::Debug>(answer: Result<T, StoreError>) -> bool {
    matches!(answer, Err(StoreError::Forged { .. }))
}

#[tokio::test]
async fn a_changed_configuration_is_refused() {
    let scene = Scene::new().await;
    scene.store.set_configuration_enabled(scene.configuration, false, Actor::Local, NOW_MS).await.unwrap();
    let scene = scene.tampered("UPDATE configurations SET state = 'ENABLED'").await;
    assert!(forged(scene.store.configuration(scene.configuration).await));
    let recorded = scene.store.record_token(scene.credit(1, meter(0), 100)).await;
    assert!(matches!(recorded, Err(LedgerError::Store(StoreError::Forged { .. }))));
    // Writing to it would seal it.
    let changed =
        scene.store.set_configuration_enabled(scene.configuration, true, Actor::Local, NOW_MS).await;
    assert!(matches!(changed, Err(ConfigurationError::Store(StoreError::Forged { .. }))));
    assert!(scene.is_forged().await);
}

#[tokio::test]
async fn a_changed_client_or_credential_is_refused() {
    for sql in [
        "UPDATE clients SET display_name = 'mine'",
        "UPDATE credentials SET secret_sha256 = zeroblob(32)",
        "UPDATE credentials SET expires_ms = 9999999999999",
        "UPDATE credentials SET seal = NULL",
    ] {
        let scene = Scene::new().await.tampered(sql).await;
        assert!(forged(scene.store.credential(CREDENTIAL).await), "{sql}");
        let recorded = scene.store.record_token(scene.credit(1, meter(0), 100)).await;
        assert!(matches!(recorded, Err(LedgerError::Store(StoreError::Forged { .. }))), "{sql}");
        assert!(scene.is_forged().await, "{sql}");
    }
}

#[tokio::test]
async fn a_swapped_public_key_is_refused() {
    let scene = Scene::new().await;
    let key = PublicKey {
        id: PublicKeyId::generate(),
        owner: scene.client,
        display_name: "a key".into(),
        spki: vec![1, 2, 3],
        fingerprint: [1; 32],
        bits: 2_048,
        enabled: true,
        created_ms: NOW_MS,
        updated_ms: NOW_MS,
    };
    let id = key.id;
    scene.store.register_public_key(key, Actor::Local).await.unwrap();
    let scene = scene.tampered("UPDATE public_keys SET spki = x'040506'").await;
    assert!(forged(scene.store.public_key(id).await));
    assert!(forged(scene.store.enabled_public_keys(scene.client).await));
    assert!(forged(scene.store.set_public_key_enabled(id, false, Actor::Local, NOW_MS).await));
}

#[tokio::test]
async fn rows_taken_out_or_put_back_break_the_seal_index() {
    let scene = Scene::new().await.tampered("DELETE FROM credentials").await;
    assert!(scene.store.verify_seals().await.unwrap().rows_missing);

    let scene = Scene::new().await;
    let path = scene.factory.path();
    let (version, seal): (i64, Vec<u8>) = Connection::open(&path)
        .unwrap()
        .query_row("SELECT version, seal FROM configurations", (), |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    scene
        .store
        .set_configuration_enabled(scene.configuration, false, Actor::Local, NOW_MS + 1)
        .await
        .unwrap();
    let seal = hex::encode(seal);
    let put_back = format!(
        "UPDATE configurations SET state = 'ENABLED', updated_ms = {}, version = {version}, seal = x'{seal}'",
        NOW_MS + 1
    );
    let scene = scene.tampered(&put_back).await;
    let report = scene.store.verify_seals().await.unwrap();
    assert!(report.rows_missing && report.forged.is_empty(), "{report:?}");
}

#[tokio::test]
async fn a_seal_index_put_back_is_noticed() {
    let scene = Scene::new().await;
    let path = scene.factory.path();
    let before = scene.factory.0.path().join("before.db");
    Connection::open(&path).unwrap().execute("VACUUM INTO ?1", [before.to_str().unwrap()]).unwrap();
    scene
        .store
        .set_configuration_enabled(scene.configuration, false, Actor::Local, NOW_MS + 1)
        .await
        .unwrap();
    let Scene { factory, store, client, configuration } = scene;
    drop(store);
    let database = Connection::open(&path).unwrap();
    database.execute("ATTACH ?1 AS before", [before.to_str().unwrap()]).unwrap();
    database
        .execute_batch(
            "UPDATE configurations SET (state, updated_ms, version, seal) =
                 (SELECT state, updated_ms, version, seal FROM before.configurations);
             DELETE FROM roll; INSERT INTO roll SELECT * FROM before.roll;",
        )
        .unwrap();
    drop(database);
    let scene = Scene { store: factory.open(), factory, client, configuration };
    let report = scene.store.verify_seals().await.unwrap();
    assert!(report.rows_missing && report.forged.is_empty(), "{report:?}");
}

#[tokio::test]
async fn a_database_without_seals_needs_an_administrators_word() {
    let Scene { factory, store, .. } = Scene::new().await;
    drop(store);
    let path = factory.path();
    Connection::open(&path)
        .unwrap()
        .execute_batch(
            "DELETE FROM roll; UPDATE clients SET seal = NULL; UPDATE credentials SET seal = NULL;",
        )
        .unwrap();
    let settings = SqliteSettings::new(path);
    assert!(matches!(SqliteStore::open(&settings, sealer()), Err(OpenError::Unsealed)));
    let (store, sealed) = SqliteStore::open_and_seal(&settings, sealer()).unwrap();
    assert_eq!(sealed, 2);
    assert_eq!(store.verify_seals().await.unwrap(), SealReport::default());
    let records = store.records(Cursor::default(), 100, false).await.unwrap();
    assert!(records.lines.iter().any(|line| format!("{line:?}").contains("rows.sealed")));
}

#[tokio::test]
async fn another_hsms_seals_are_none() {
    let Scene { factory, store, client, configuration } = Scene::new().await;
    drop(store);
    let settings = SqliteSettings::new(factory.path());
    let store = SqliteStore::open(&settings, Arc::new(SoftwareSealer([2; 32]))).unwrap();
    let scene = Scene { factory, store, client, configuration };
    assert!(forged(scene.store.configuration(configuration).await));
    assert!(scene.store.verify_seals().await.unwrap().rows_missing);
}

#[tokio::test]
async fn a_forged_client_is_not_in_the_way_of_disabling_another() {
    let scene = Scene::new().await;
    let other = client(&scene.store, "till-2").await;
    let scene = scene.tampered("UPDATE clients SET display_name = 'mine' WHERE number = 1").await;
    let act = ClientAct { actor: Actor::Local, now_ms: NOW_MS, keepers: 0 };
    let changed = scene.store.change_client(other, ClientChange::Enabled(false), act).await.unwrap();
    assert!(!changed.enabled);
    // What is left of the forgery stays refused.
    assert!(forged(scene.store.client(scene.client).await));
}

#[tokio::test]
async fn what_somebody_else_took_out_is_not_made_good_by_the_next_change() {
    let scene = Scene::new().await;
    let other = Connection::open(scene.factory.path()).unwrap();
    client(&scene.store, "till-2").await;
    assert_eq!(other.execute("DELETE FROM credentials WHERE key_id = 'till-2'", ()).unwrap(), 1);
    scene.store.set_configuration_enabled(scene.configuration, false, Actor::Local, NOW_MS).await.unwrap();
    assert!(scene.store.verify_seals().await.unwrap().rows_missing);
    scene.store.set_configuration_enabled(scene.configuration, true, Actor::Local, NOW_MS).await.unwrap();
    let scene = scene.reopen();
    assert!(scene.store.verify_seals().await.unwrap().rows_missing);
    scene.store.set_configuration_enabled(scene.configuration, false, Actor::Local, NOW_MS).await.unwrap();
    assert!(scene.store.verify_seals().await.unwrap().rows_missing);
}

#[tokio::test]
async fn the_seal_of_a_row_is_over_all_its_columns() {
    let scene = Scene::new().await;
    let other = Connection::open(scene.factory.path()).unwrap();
    for table in Table::INDEXED.into_iter().chain([Table::SealIndex]) {
        let mut statement = other.prepare("SELECT name FROM pragma_table_info(?1) ORDER BY name").unwrap();
        let found = statement.query_map([table.name()], |row| row.get(0)).unwrap();
        let found: Vec<String> = found.collect::<Result<_, _>>().unwrap();
        let mut known = [table.columns(), &["number", "seal"]].concat();
        known.sort_unstable();
        assert_eq!(found, known);
    }
}
