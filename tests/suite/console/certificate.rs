//! Somebody signs in with the certificate of their browser.

use std::{fs, process::Command};

use serde_json::json;

use super::{looked_at, quiet};
use crate::{
    harness::{Browser, Home, Validity, openssl},
    tls::served,
};

fn ran(program: &str, arguments: &[&str]) {
    let ran = Command::new(program).args(arguments).output().unwrap();
    assert!(ran.status.success(), "{program}: {}", String::from_utf8_lossy(&ran.stderr));
}

/// Puts a key with its certificate into the store of Chromium's certificates under this home.
fn stored(home: &Home, name: &str) {
    let folder = home.path(".pki/nssdb");
    fs::create_dir_all(&folder).unwrap();
    let database = format!("sql:{}", folder.display());
    let (pem, key, both) =
        (home.text(&format!("{name}.pem")), home.text(&format!("{name}.key")), home.text("both.p12"));
    openssl(
        &[
            "pkcs12", "-export", "-in", &pem, "-inkey", &key, "-out", &both, "-passout", "pass:x", "-name",
            name,
        ],
        b"",
    );
    ran("certutil", &["-N", "-d", &database, "--empty-password"]);
    ran("pk12util", &["-i", &both, "-d", &database, "-W", "x", "-K", ""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_signs_in_with_its_certificate() {
    let home = Home::new();
    let (server, authority) = served(&home, "client_auth = 'optional'\nclient_ca_file = 'authority.pem'\n");
    let port = server.endpoint.rsplit(':').next().unwrap();
    let endpoint = format!("https://localhost:{port}");
    let connection = ["--endpoint", &endpoint, "--ca", &home.text("authority.pem")];
    authority.sign(&home, "asha", &Validity::Good);
    stored(&home, "asha");
    let browser = Browser::with_certificates(&home.path(""), &endpoint).await;
    // Signed by who is believed, and of nobody who is known.
    browser.open(&endpoint).await;
    browser.press("Sign in with this browser’s certificate").await;
    browser.sees("CREDENTIAL_REFUSED").await;
    let done = |arguments: &[&str]| {
        let done = home.vendkey(&[arguments, &connection].concat());
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        done.stdout
    };
    let made = done(&["client", "create", "asha", "--preset", "auditor", "--json"]);
    let made: serde_json::Value = serde_json::from_slice(&made).unwrap();
    let certificate = "uri:urn:vendkey-test:asha";
    done(&["credential", "create", made["name"].as_str().unwrap(), "--certificate", certificate]);
    browser.press("Sign in with this browser’s certificate").await;
    browser.sees("Signed in as asha").await;
    browser.press("Trail").await;
    browser.sees("Client created").await;
    looked_at(&browser, "certificate").await;
    // Nothing of it is in the page: a reload asks again.
    browser.reload().await;
    browser.press("Sign in with this browser’s certificate").await;
    browser.sees("Client created").await;
    let sent = "return await fetch('/v1/caller').then((answer) => answer.status)";
    assert_eq!(browser.script(sent, json!([])).await, json!(200));
    quiet(&browser).await;
}
