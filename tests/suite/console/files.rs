//! Files of tokens, dropped onto their page.

use serde_json::json;

use super::looked_at;
use crate::harness::{Browser, DRN};

/// A file that is dropped: what is strange in it, what nobody understands, and what the ledger has.
pub(super) async fn dropped(browser: &Browser, issued: &str) {
    browser.press("Tokens").await;
    browser.press("Files of tokens").await;
    browser.press("Read them").await;
    browser.sees("This is needed.").await;
    let other = "26202996473183413273";
    let table = format!(
        "time,meter,token,units,amount,currency\n\
         2026-11-23T10:00,{DRN},{issued},10,250,KES\n\
         2026-11-24T10:00,{DRN},{issued},10,250,KES\n\
         2026-11-25T10:00,47500150232,{other},5,125,KES\n\
         2026-11-26T10:00,{DRN},99999999999999999999,5,125,KES\n\
         2026-11-27T10:00,{DRN},12345,5,125,KES\n"
    );
    let drop = "const data = new DataTransfer();
        data.items.add(new File([given[0]], 'gateway.csv'));
        const zone = (await labelled('Files')).closest('.drop');
        zone.dispatchEvent(new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true }));";
    browser.script(drop, json!([table])).await;
    for told in [
        "4 tokens were found",
        "1 line not understood",
        "Double",
        "No token has these digits",
        "Check digit of the meter is wrong",
        "Transferred by day",
        "Price of a unit by day, KES",
    ] {
        browser.sees(told).await;
    }
    browser.press("Look for them in the ledger").await;
    browser.sees("The ledger has 2 of them").await;
    browser.sees("Not in the ledger").await;
    looked_at(browser, "files").await;
    browser.tick("Show only what is strange").await;
    browser.sees("Double · In the ledger").await;
    let save = "let saved; const make = URL.createObjectURL; URL.createObjectURL = (blob) => { saved = blob; return make.call(URL, blob); };
        (await pressed('Save the clean table')).click();
        return (await saved.text()).split('\\r\\n').map((line) => line.split(',')[10]);";
    let marks = browser.script(save, json!([])).await;
    assert_eq!(marks.as_array().unwrap().len(), 6, "{marks}");
    assert_eq!((&marks[1], &marks[2]), (&json!("in_ledger"), &json!("double in_ledger")));
}
