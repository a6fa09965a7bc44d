//! The console where administration has an address of its own.

use serde_json::json;

use super::{looked_at, quiet, sign_in};
use crate::harness::{Api, Browser, Home, Server, meter_test};

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_found_where_administrators_call_and_issued_elsewhere() {
    let home = Home::new();
    home.write_settings("[administration]\nlisten = '127.0.0.1:0'\n");
    let server = Server::start(&home);
    Api::connect(&server.endpoint, &home.till()).await.issue(meter_test()).await.unwrap();
    let browser = Browser::start().await;
    browser.open(server.administration.as_ref().unwrap()).await;
    sign_in(&browser, &home.credential()).await;
    browser.press("Tokens").await;
    browser.sees("meter test").await;
    browser.press("Sign out").await;
    // Who may issue is told where.
    sign_in(&browser, &home.till()).await;
    browser.sees("Tokens are issued at the address where tills call, not here").await;
    looked_at(&browser, "tokens-elsewhere").await;
    let tabs = "return [...document.querySelectorAll('nav.tabs a')].map(words)";
    assert_eq!(browser.script(tabs, json!([])).await, json!(["Ledger", "Verify digits", "Files of tokens"]));
    quiet(&browser).await;
}
