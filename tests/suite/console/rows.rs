//! A ledger of 100,000 rows in the browser: turned over, jumped in, and exported with a bar.

use rusqlite::Connection;
use serde_json::json;

use super::{quiet, sign_in};
use crate::harness::{Api, Browser, Home, Server, meter_test};

const ROWS: i64 = 100_000;

/// Copies of one row, one each half second up to now. Reading them is what is tried here, not the
/// chain, whose hashes they have not.
fn fill(home: &Home) {
    let database = Connection::open(home.path("vendkey.db")).unwrap();
    let sql = "
        BEGIN;
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
        INSERT INTO issued_tokens (sequence, client, credential, request_id, request_hash, configuration, issued_ms,
                                   kind, pan, base_date, tid, rnd, class, block, hash)
        SELECT c.position + i, client, credential, randomblob(16), request_hash, configuration,
               issued_ms - (100000 - i) * 500, kind, pan, base_date, tid, rnd, class, block, c.hash
        FROM n, chain c, (SELECT * FROM issued_tokens LIMIT 1);
        UPDATE chain SET position = position + 100000;
        COMMIT;";
    database.execute_batch(sql).unwrap();
    let count: i64 = database.query_row("SELECT count(*) FROM issued_tokens", [], |row| row.get(0)).unwrap();
    assert_eq!(count, ROWS + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_rows_are_turned_over_jumped_in_and_exported() {
    let home = Home::new();
    let server = Server::start(&home);
    Api::connect(&server.endpoint, &home.till()).await.issue(meter_test()).await.unwrap();
    assert!(server.stop().success());
    fill(&home);
    let server = Server::start(&home);
    let browser = Browser::start().await;
    browser.open(&server.endpoint).await;
    sign_in(&browser, &home.credential()).await;
    browser.press("Tokens").await;
    for page in 2..=4 {
        browser.press("Next").await;
        browser.sees(&format!("Page {page} · 50 rows")).await;
    }
    // A jump to the last minutes, by time.
    let late = "const from = await labelled('From');
        const now = Date.now() - new Date().getTimezoneOffset() * 60_000;
        from.value = new Date(now - 10 * 60_000).toISOString().slice(0, 16);
        from.dispatchEvent(new Event('input'));";
    browser.script(late, json!([])).await;
    browser.press("Find").await;
    let number = "const first = await until(() => { const one = document.querySelector('tbody th'); return Number(one?.textContent) > 90_000 && one; });
        return Number(first.textContent);";
    assert!(browser.script(number, json!([])).await.as_i64().unwrap() > 90_000);

    // All rows into a file: the page goes on meanwhile, the bar moves, and it can be stopped.
    browser.script("const from = await labelled('From'); from.value = '';", json!([])).await;
    browser.press("Find").await;
    browser.sees("Page 1 · 50 rows").await;
    let moves = "window.longest = 0; let last = performance.now();
        setInterval(() => { const now = performance.now(); longest = Math.max(longest, now - last); last = now; }, 10);
        window.began = performance.now();
        (await pressed('Export as CSV')).click();
        await until(() => document.querySelector('.export progress').value > 0.02);
        return document.querySelector('.export progress').value < 1;";
    assert_eq!(browser.script(moves, json!([])).await, json!(true));
    browser.press("Cancel").await;
    browser.sees("The export was stopped; nothing was saved").await;
    let file = "window.saved = null; const make = URL.createObjectURL; URL.createObjectURL = (blob) => { saved = blob; return make.call(URL, blob); };
        began = performance.now(); (await pressed('Export as CSV')).click();";
    browser.script(file, json!([])).await;
    let half = "await until(() => document.querySelector('.export progress').value > 0.5)";
    browser.script(half, json!([])).await;
    browser.sees("100,001 rows are exported").await;
    let told = "const lines = (await saved.text()).trimEnd().split('\\r\\n');
        return [lines.length, Math.round(performance.now() - began), Math.round(longest), saved.size]";
    let told = browser.script(told, json!([])).await;
    assert_eq!(told[0], ROWS + 2, "with the header");
    let text = format!(
        "100,001 rows exported in {} ms, {} bytes; the page was busy for {} ms at most\n",
        told[1], told[3], told[2]
    );
    std::fs::write(browser.folder().join("rows.txt"), text).unwrap();
    quiet(&browser).await;
}
