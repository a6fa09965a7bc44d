//! What somebody typed outlasts a reload.

use serde_json::json;

use super::sign_in;
use crate::harness::{Browser, Home};

/// What somebody fills in is there again after a reload; the key is not.
pub(super) async fn outlasts_a_reload(browser: &Browser, home: &Home) {
    browser.press("Configurations").await;
    browser.press("Seal here").await;
    browser.sees("I compared the fingerprint over another channel").await;
    browser.fill("Name", "half done").await;
    browser.fill("Supply group", "654321").await;
    browser.fill("Vending key", "0123456789abcdef").await;
    let stored = browser.script("return Object.values(sessionStorage).join()", json!([])).await;
    let stored = stored.as_str().unwrap();
    assert!(stored.contains("half done") && !stored.contains("0123456789abcdef"), "{stored}");
    browser.reload().await;
    sign_in(browser, &home.credential()).await;
    browser.sees("What you typed before is here again").await;
    let typed = "return await Promise.all(['Name', 'Supply group', 'Vending key'].map(async (name) => (await labelled(name)).value))";
    assert_eq!(browser.script(typed, json!([])).await, json!(["half done", "654321", ""]));
    browser.press("Start anew").await;
    let name = "return await until(() => [...document.querySelectorAll('label')].find((one) => words(one) === 'Name')?.control.value === '')";
    browser.script(name, json!([])).await;
    assert_eq!(browser.script("return sessionStorage.length", json!([])).await, json!(0));
}
