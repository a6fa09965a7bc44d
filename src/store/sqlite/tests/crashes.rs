//! The process dies at a named point; what is left is looked at by its successor.
//!
//! A test starts this test program again with the point's name and the child test below, which is
//! killed there.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Command;

use super::*;
use crate::configuration::ConfigurationState;
use crate::crash::CRASH_AT;

const FOLDER: &str = "VENDKEY_TEST_FOLDER";
const CLIENT: ClientId = ClientId::from_bytes([1; 16]);

fn store_in(folder: &Path) -> SqliteStore {
    SqliteStore::open(&SqliteSettings::new(folder.join("vendkey.db")), sealer()).unwrap()
}

fn scene(folder: TempDir, store: SqliteStore, configuration: ConfigurationId) -> Scene {
    Scene { store, factory: Folder(folder), client: CLIENT, configuration }
}

async fn first_configuration(store: &SqliteStore) -> Configuration {
    store.list_configurations(PageRequest::first()).await.unwrap().items.remove(0)
}

/// Imports a configuration and records a token in the folder that a test below names.
#[tokio::test]
#[ignore = "started by the other tests here, which kill it"]
async fn child() {
    let folder = std::env::var(FOLDER).unwrap();
    let store = store_in(Path::new(&folder));
    client_under(&store, CLIENT, CREDENTIAL, Rights::till(), Limits::default()).await;
    let configuration = imported(&store, 1).await.id;
    let scene = scene(tempfile::tempdir().unwrap(), store, configuration);
    scene.store.record_token(scene.credit(1, meter(0), 100)).await.unwrap();
}

/// Runs the child until it is killed at this point, and opens what it left.
fn die_at(point: &str) -> (TempDir, SqliteStore) {
    let folder = tempfile::tempdir().unwrap();
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "store::sqlite::tests::crashes::child"])
        .env(CRASH_AT, point)
        .env(FOLDER, folder.path())
        .output()
        .unwrap()
        .status;
    assert_eq!(status.signal(), Some(9), "not killed at {point}: {status}");
    let store = store_in(folder.path());
    (folder, store)
}

#[tokio::test]
async fn killed_before_the_commit_there_is_no_token() {
    let (folder, store) = die_at("ledger-before-commit");
    let configuration = first_configuration(&store).await.id;
    let scene = scene(folder, store, configuration);
    assert_eq!(scene.store.issued_token_of_request(CLIENT, Uuid::from_bytes([1; 16])).await, Ok(None));
    assert_eq!(scene.store.last_tid(meter(0), BaseDate::Y2014).await, Ok(None));
    let retry = scene.store.record_token(scene.credit(1, meter(0), 100)).await.unwrap();
    assert!(matches!(&retry, Recorded::New(row) if tid_of(row) == 100));
}

#[tokio::test]
async fn killed_after_the_commit_the_retry_finds_the_token() {
    let (folder, store) = die_at("ledger-after-commit");
    let configuration = first_configuration(&store).await.id;
    let scene = scene(folder, store, configuration);
    let retry = scene.store.record_token(scene.credit(1, meter(0), 100)).await.unwrap();
    assert!(matches!(&retry, Recorded::Replay(row) if tid_of(row) == 100));
}

#[tokio::test]
async fn killed_during_an_import_the_same_upload_resumes_it() {
    for point in ["import-after-begin", "import-before-finish"] {
        let (_folder, store) = die_at(point);
        let left = first_configuration(&store).await;
        assert_eq!(left.state, ConfigurationState::Importing, "{point}");
        assert_eq!(store.begin_import(upload(1)).await, Ok(Begun::Resumed(left)));
    }
}
