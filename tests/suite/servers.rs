//! The servers of a database, as administrators see them.

use std::fs;

use tonic::Code;
use vendkey::api::v1::{ListEventsRequest, ListServersRequest};

use crate::harness::{Api, Home, Server};

#[tokio::test]
async fn a_server_is_listed_with_its_name_version_token_and_chain() {
    let home = Home::new();
    let server = Server::start(&home);
    let state = server.vendkey(&home, &["ledger", "state", "--json"]);
    let state: serde_json::Value = serde_json::from_slice(&state.stdout).unwrap();
    let output = server.vendkey(&home, &["server", "list", "--json"]);
    let listed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let [one] = listed["servers"].as_array().unwrap().as_slice() else { panic!("{listed}") };
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(one["name"], "servers/0");
    assert_eq!(one["displayName"], host.trim());
    assert_eq!(one["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(one["hsmToken"].as_str().unwrap().len(), 16);
    assert!(one["lastLifeTime"].is_string(), "{one}");
    assert_eq!(one["chain"], state["chain"]);
    assert_eq!(one["answering"], true);
    let shown = server.vendkey(&home, &["server", "list"]).stdout;
    assert!(String::from_utf8(shown).unwrap().contains(&format!("{} (answers)", host.trim())));

    let mut till = Api::connect(&server.endpoint, &home.till()).await;
    let refused = till.servers.list_servers(ListServersRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "it is none of a till's business");
}

#[tokio::test]
async fn any_client_may_ask_who_it_is_and_how_the_server_is() {
    let home = Home::new();
    let server = Server::start(&home);
    let asked = |arguments: &[&str]| {
        let output = server.vendkey(&home, &[arguments, &["--credential-file", &home.text("till")]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let caller: serde_json::Value = serde_json::from_str(&asked(&["client", "whoami", "--json"])).unwrap();
    assert_eq!(caller["client"]["displayName"], "till");
    let key_id = home.till()["vendkey_".len()..][..16].to_owned();
    assert_eq!(caller["credential"]["name"], format!("credentials/{key_id}"));
    let shown = asked(&["client", "whoami"]);
    assert!(shown.contains("vend") && shown.contains(&key_id), "{shown}");

    let state: serde_json::Value = serde_json::from_str(&asked(&["server", "state", "--json"])).unwrap();
    assert_eq!((&state["serving"], &state["approvalsNeeded"]), (&true.into(), &1.into()));
    assert_eq!(state["version"], env!("CARGO_PKG_VERSION"));
    assert!(asked(&["server", "state"]).contains("issues tokens   yes"));
}

#[tokio::test]
async fn the_last_records_are_read_from_their_place() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let mut list = async |request| api.audit.list_events(request).await.map(tonic::Response::into_inner);
    let all = list(ListEventsRequest { page_size: 1_000, ..Default::default() }).await.unwrap().events;
    let last = list(ListEventsRequest { last: 2, ..Default::default() }).await.unwrap();
    assert_eq!(last.events, all[all.len() - 2..]);
    assert!(!last.more);
    // More than there are: all.
    let whole =
        list(ListEventsRequest { last: 1_000, page_size: 1_000, ..Default::default() }).await.unwrap();
    assert_eq!(whole.events, all);
    let both = ListEventsRequest { last: 2, after_position: 1, ..Default::default() };
    assert_eq!(list(both).await.unwrap_err().code(), Code::InvalidArgument);
}
