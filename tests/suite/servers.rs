//! The servers of a database, as administrators see them.

use std::fs;

use tonic::Code;
use vendkey::api::v1::ListServersRequest;

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
