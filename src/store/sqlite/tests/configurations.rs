//! Rows of configurations that somebody else has written.

use super::*;

#[tokio::test]
async fn a_row_of_another_hand_is_refused_and_not_believed() {
    let factory = Folder::default();
    let store = factory.open();
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

#[tokio::test]
async fn the_database_itself_enables_nothing_that_cannot_be_served() {
    let factory = Folder::default();
    let store = factory.open();
    let reason = Warning { code: "KEY_LENGTH".into(), message: "too short".into() };
    let new = NewConfiguration { unservable: vec![reason], key_length: 8, ..upload(1) };
    store.begin_import(new).await.unwrap();
    let sql = "UPDATE configurations SET state = 'ENABLED'";
    let forged = store.write(move |c| Ok(c.view.execute(sql, [])?)).await;
    assert!(matches!(forged, Err(StoreError::Defect { .. })));
}
