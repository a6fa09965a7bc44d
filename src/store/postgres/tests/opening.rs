//! Opening a database: who may, in which state it must be, and what is told otherwise.

use super::*;
use crate::clock::{Moment, SignOfLife};
use crate::ledger::Walk;
use crate::store::HealthStore as _;

fn refusal(database: &Own, server: &str) -> OpenError {
    PostgresStore::open(&database.settings(server), sealer()).map(drop).expect_err("it was opened")
}

#[test]
fn a_name_is_taken_by_one_process() {
    let database = Own::default();
    let one = database.open_as("one");
    let refused = refusal(&database, "one");
    assert!(matches!(&refused, OpenError::NameInUse { name } if name == "one"), "{refused}");
    let two = database.open_as("two");
    drop((one, two));
    drop(database.open_as("one"));
}

#[test]
fn four_servers_may_start_on_a_new_database_at_once() {
    let database = Own::default();
    let stores: Vec<PostgresStore> = thread::scope(|scope| {
        let start = |name| {
            let database = &database;
            scope.spawn(move || database.open_as(name))
        };
        let running: Vec<_> = ["a", "b", "c", "d"].into_iter().map(start).collect();
        running.into_iter().map(|running| running.join().unwrap()).collect()
    });
    assert_eq!(database.0.sql("SELECT count(*), max(number) FROM vendkey.servers"), "4|3");
    let known = migrations::known();
    assert_eq!(database.0.sql("SELECT count(*) FROM vendkey.schema_migrations"), known.to_string());
    drop(stores);
}

#[test]
fn a_command_that_needs_the_database_alone_has_it_alone() {
    let database = Own::default();
    let two = database.open_as("two");
    let alone = || PostgresStore::open_alone(&database.settings("one"), sealer());
    let refused = alone().map(drop).unwrap_err();
    assert!(matches!(&refused, OpenError::ServerRuns { name } if name == "two"), "{refused}");
    drop(two);
    let held = alone().unwrap();
    for name in ["two", "three"] {
        let refused = refusal(&database, name);
        assert!(matches!(refused, OpenError::Maintenance | OpenError::NameInUse { .. }), "{refused}");
    }
    drop(held);
    database.open_as("three");
}

#[test]
fn a_newer_an_altered_and_somebody_elses_schema_are_refused() {
    let database = Own::default();
    drop(database.open());
    let migration = "INSERT INTO vendkey.schema_migrations (version, name, checksum)
                     VALUES (999, 'x', decode(repeat('00', 32), 'hex'))";
    database.0.sql(migration);
    let refused = refusal(&database, "one");
    let newest = u32::try_from(migrations::known()).unwrap();
    assert!(matches!(refused, OpenError::NewerSchema { found: 999, known } if known == newest));
    database.0.sql("DELETE FROM vendkey.schema_migrations WHERE version = 999");
    database.0.sql("UPDATE vendkey.schema_migrations SET checksum = decode(repeat('00', 32), 'hex')");
    assert!(matches!(refusal(&database, "one"), OpenError::AlteredSchema { version: 1 }));
    let other = Own::default();
    other.0.sql("CREATE SCHEMA vendkey; CREATE TABLE vendkey.theirs (x int)");
    assert!(matches!(refusal(&other, "one"), OpenError::NotOurs));
    assert_eq!(other.0.sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'vendkey'"), "1");
}

#[test]
fn an_examination_changes_nothing_and_tells_what_opening_would() {
    let database = Own::default();
    let address = database.settings("one").address;
    assert!(matches!(examine(&address, "one"), Err(OpenError::NoSchema)));
    assert_eq!(database.0.sql("SELECT count(*) FROM pg_namespace WHERE nspname = 'vendkey'"), "0");
    let store = database.open();
    assert_eq!(examine(&address, "one").unwrap(), None, "it has not lived yet");
    let sign = SignOfLife { moment: Moment { wall_ms: NOW_MS, uptime: None }, in_doubt: true };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(store.probe(sign)).unwrap();
    assert_eq!(examine(&address, "one").unwrap(), Some(sign));
    assert_eq!(examine(&address, "two").unwrap(), None, "another server's");
    drop(store);
    let missing = database.0.url().replace("test_", "missing_");
    let refused = examine(&missing.parse().unwrap(), "one").unwrap_err();
    assert!(matches!(refused, OpenError::Refused { .. }), "{refused}");
    let nobody: PostgresqlAddress = "postgresql://v@127.0.0.1:1/x".parse().unwrap();
    assert!(matches!(examine(&nobody, "one"), Err(OpenError::Unreachable { .. })));
}

#[test]
fn a_database_that_would_lose_tokens_is_refused_by_the_setting() {
    let mut cluster = postgresql::Cluster::start();
    for setting in ["fsync", "full_page_writes"] {
        cluster.kill();
        cluster.run_with(&["-c", &format!("{setting}=off")]);
        let refused = examine(&cluster.url("postgres").parse().unwrap(), "one").unwrap_err();
        assert!(refused.to_string().contains(&format!("its setting {setting} is off")), "{refused}");
    }
    cluster.kill();
    // A session may set it, and does.
    cluster.run_with(&["-c", "synchronous_commit=off"]);
    assert!(matches!(examine(&cluster.url("postgres").parse().unwrap(), "one"), Err(OpenError::NoSchema)));
}

#[test]
fn a_role_without_rights_on_rows_of_the_ledger_can_serve() {
    let database = Own::default();
    drop(database.open());
    let dump =
        "SELECT format('INSERT INTO vendkey.schema_migrations VALUES (%L, %L, %L);', version, name, checksum)
                FROM vendkey.schema_migrations";
    let known = database.0.sql(dump);
    let grants = include_str!("../../../../deploy/postgresql/grants.sql");
    let role = format!("server_of_{}", database.0.name());
    database.0.sql(&format!("CREATE ROLE {role} LOGIN; {}", grants.replace("vendkey_server", &role)));
    let url = database.0.url().replace("postgres@", &format!("{role}@"));
    let settings = PostgresSettings::new(url.parse().unwrap(), "one");
    database.0.sql("DELETE FROM vendkey.schema_migrations");
    let refused = PostgresStore::open(&settings, sealer()).map(drop).unwrap_err();
    assert!(matches!(refused, OpenError::NoSchema), "it may not bring the schema up: {refused}");
    database.0.sql(&known);
    let store = PostgresStore::open(&settings, sealer()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        client(&store, "till").await;
        let begun = store.begin_import(upload(7)).await.unwrap();
        let Begun::Started(row) = begun else { panic!("{begun:?}") };
        assert!(store.abandon_import(row.id, NOW_MS).await.unwrap());
        let walk = store.keep_walk(Walk::default(), NOW_MS).await.unwrap();
        store.keep_walk(walk, NOW_MS).await.unwrap();
        drop(store);
    });
    let not_written = format!(
        "SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class
         WHERE relnamespace = 'vendkey'::regnamespace AND relkind = 'r' AND NOT has_table_privilege('{role}', oid, 'INSERT')"
    );
    assert_eq!(database.0.sql(&not_written).trim(), "authority migration schema_migrations");
    for forbidden in [
        "DELETE FROM vendkey.issued_tokens",
        "UPDATE vendkey.acts SET kind = 'x'",
        "DROP TABLE vendkey.meters",
    ] {
        let refused = database.0.refused_sql(&format!("SET ROLE {role}; {forbidden}"));
        assert!(refused.contains("permission denied") || refused.contains("must be owner"), "{refused}");
    }
    database.0.sql(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}
