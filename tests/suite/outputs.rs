//! Output that cannot be written, and commands that are cut off: nothing panics, nothing is lost,
//! nothing is done twice.

use std::fs;

use crate::{
    harness::{DKGA04, DRN, Home, Server},
    unheard::{said, unheard},
};

#[tokio::test]
async fn a_token_that_was_not_shown_is_told_by_its_request_and_shown_again() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let configuration = api.configuration(DKGA04).await.name;
    let issue =
        ["token", "issue", "--configuration", &configuration, "--meter", DRN, "--electricity", "5", "--json"];
    for full in [true, false] {
        let output = unheard(&home, &server.endpoint, &issue, full);
        let told = said(&output);
        assert_eq!(output.status.code(), Some(74), "{told}");
        let id = told
            .lines()
            .find_map(|line| line.strip_prefix("request id: "))
            .unwrap_or_else(|| panic!("{told}"));
        let again = [&issue[..], &["--request-id", id]].concat();
        let (first, second) = (server.vendkey(&home, &again), server.vendkey(&home, &again));
        assert!(first.status.success() && first.stdout == second.stdout, "{}", said(&first));
        let rows = server.vendkey(&home, &["ledger", "export"]);
        assert_eq!(String::from_utf8_lossy(&rows.stdout).lines().count(), if full { 2 } else { 3 });
    }
}

#[test]
fn a_client_is_never_made_without_a_credential() {
    let home = Home::new();
    let server = Server::start(&home);
    let clients = || {
        let listed = server.vendkey(&home, &["client", "list"]);
        String::from_utf8_lossy(&listed.stdout).lines().filter(|line| line.contains("clients/")).count()
    };
    let before = clients();
    let file = home.text("till-9");
    let create = ["client", "create", "till 9", "--preset", "till", "--out", &file];
    // Not shown, and there all the same.
    let output = unheard(&home, &server.endpoint, &create, true);
    let told = said(&output);
    assert_eq!(output.status.code(), Some(74), "{told}");
    assert!(told.contains("request id: ") && told.contains("clients/") && told.contains("till-9"), "{told}");
    assert!(home.secret("till-9").starts_with("vendkey_") && !told.contains(&home.secret("till-9")));
    assert!(!home.path("till-9.unfinished").exists());
    assert_eq!(clients(), before + 1);
    // A file that is there is not overwritten, and nothing is made.
    let again = server.vendkey(&home, &create);
    assert_eq!(again.status.code(), Some(73), "{}", said(&again));
    let nowhere =
        server.vendkey(&home, &["client", "create", "x", "--preset", "till", "--out", "/nonexistent/x"]);
    assert_eq!(nowhere.status.code(), Some(73), "{}", said(&nowhere));
    assert_eq!(clients(), before + 1);
}

#[test]
fn a_command_that_was_cut_off_goes_on() {
    let home = Home::new();
    let server = Server::start(&home);
    let clients = || {
        let listed = server.vendkey(&home, &["client", "list"]);
        String::from_utf8_lossy(&listed.stdout).lines().filter(|line| line.contains("clients/")).count()
    };
    let before = clients();
    let id = uuid::Uuid::now_v7().to_string();
    let file = home.text("till-9");
    let create = ["client", "create", "till 9", "--preset", "till", "--out", &file];
    // As it is after the server made all and the command was killed before it heard so.
    assert!(server.vendkey(&home, &[&create[..], &["--request-id", &id]].concat()).status.success());
    let secret = home.secret("till-9");
    fs::write(home.path("till-9.unfinished"), format!("{id}\n")).unwrap();
    let again = server.vendkey(&home, &create);
    assert!(again.status.success(), "{}", said(&again));
    assert_eq!(home.secret("till-9"), secret);
    assert_eq!(clients(), before + 1);
    assert!(!home.path("till-9.unfinished").exists());
    // And before the secret was written whole.
    fs::write(home.path("till-9"), "").unwrap();
    fs::write(home.path("till-9.unfinished"), format!("{id}\n")).unwrap();
    assert!(server.vendkey(&home, &create).status.success());
    assert_ne!(home.secret("till-9"), secret);
    assert_eq!(clients(), before + 1);
}
