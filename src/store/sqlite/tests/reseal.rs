//! Another row-seal key.

use super::*;
use crate::store::{DatabaseSettings, DatabaseUrl, Resealing};

#[tokio::test]
async fn another_row_seal_key_takes_rows_with_seals_alone() {
    let scene = Scene::new().await;
    let Scene { factory, store, .. } = scene;
    drop(store);
    let settings = SqliteSettings::new(factory.path());
    let key = |byte| -> Arc<dyn Sealer> { Arc::new(SoftwareSealer([byte; 32])) };
    let act = NewAct {
        kind: "row_seal_key.rotated",
        actor: Actor::Local,
        details: BTreeMap::from([("new", "n".to_owned())]),
        now_ms: NOW_MS,
    };
    let database = DatabaseSettings::new(DatabaseUrl::Sqlite(settings.path.clone()), "server");
    let reseal = |old, new| Resealing::begin(&database).unwrap().reseal(key(old), key(new), &act);
    assert!(matches!(reseal(90, 91), Err(OpenError::Forged { .. })), "the old key is another");
    reseal(1, 91).unwrap();
    // Again, as after a crash: done already, and on record once.
    reseal(1, 91).unwrap();
    let (store, sealed) = SqliteStore::open_and_seal(&settings, key(91)).unwrap();
    assert_eq!(sealed, 0);
    assert!(store.verify_seals().await.unwrap().is_sound());
    let records = store.records(Cursor::default(), 1_000, false).await.unwrap();
    let acts = records.lines.iter().filter(|line| line.to_json().contains("row_seal_key.rotated")).count();
    assert_eq!(acts, 1);
    drop(store);
    let database = Connection::open(&settings.path).unwrap();
    database.execute("UPDATE clients SET display_name = 'mine'", ()).unwrap();
    drop(database);
    assert!(matches!(reseal(91, 92), Err(OpenError::Forged { rows, .. }) if rows == ["clients 1"]));
}
