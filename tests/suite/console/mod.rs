//! The console in a real Chromium, against a real server.
//!
//! Each test has one browser and one server, and walks through what people do: what takes seconds
//! is starting them.

mod administration;
mod certificate;
mod drafts;
mod files;
mod rows;

use std::net::TcpListener;

use serde_json::json;
use tonic::transport::Endpoint;
use vendkey::api::v1::{
    BatchIssueTokensRequest, DisableCredentialRequest, EnterTokenRequest, ListConfigurationsRequest,
    MakeMeterRequest, TestKey,
};

use crate::{
    clock::{HOUR_MS, Played},
    harness::{
        Administrator, Api, Browser, DKGA04, DRN, Home, Server, meter_test,
        persons::{TWO, home as home_of},
        ten_kwh,
    },
    simulator::simulator_of,
    tls::served,
};

/// Looks at the page as it is, in light and dark and on a phone, and writes pictures.
async fn looked_at(browser: &Browser, name: &str) {
    for (scheme, width, suffix) in [("dark", 1280, "-dark"), ("light", 390, "-phone"), ("light", 1280, "")] {
        browser.colours(scheme).await;
        browser.window(width, if width < 600 { 844 } else { 900 }).await;
        let faults = browser.script(include_str!("audit.js"), json!([])).await;
        browser.screenshot(&format!("{name}{suffix}")).await;
        assert_eq!(faults, json!([]), "{name}{suffix}");
    }
}

async fn sign_in(browser: &Browser, credential: &str) {
    browser.fill("Credential", credential).await;
    browser.press("Sign in").await;
    browser.sees("Signed in as").await;
}

/// Nothing was against the Content-Security-Policy, and no script failed. That a call was refused,
/// or had no answer, is told by the browser too. And it has kept nothing once nobody is signed in.
async fn quiet(browser: &Browser) {
    browser.script("document.getElementById('sign-out')?.click()", json!([])).await;
    let lines = browser.log().await;
    let faults: Vec<_> = lines.iter().filter(|line| !line.contains("Failed to load resource")).collect();
    assert!(faults.is_empty(), "{faults:#?}");
    let kept = "return [Object.keys(sessionStorage).length, JSON.stringify(localStorage), document.cookie]";
    assert_eq!(browser.script(kept, json!([])).await, json!([0, "{}", ""]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_does_the_work_of_a_day() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let administrator = api.administrator().await;
    let browser = Browser::start().await;
    first_page(&browser, &server).await;
    looked_at(&browser, "sign-in").await;

    // What is no credential goes nowhere; what is none of this server is told so, and both stay.
    browser.fill("Credential", "secret").await;
    browser.press("Sign in").await;
    browser.sees("This is no credential").await;
    let wrong = format!("vendkey_{}_{}", "0".repeat(16), "1".repeat(64));
    browser.fill("Credential", &wrong).await;
    browser.keys("\u{e007}").await;
    browser.sees("CREDENTIAL_REFUSED").await;
    looked_at(&browser, "sign-in-refused").await;
    let kept = browser.script("return (await labelled('Credential')).value", json!([])).await;
    assert_eq!(kept, wrong.as_str(), "what was typed is lost");

    sign_in(&browser, &home.credential()).await;
    browser.sees("All is well").await;
    browser.sees("None is uploaded yet").await;
    configurations(&browser, &administrator).await;
    clients(&browser).await;
    tokens(&browser, &home, &server, &mut api).await;

    // What the act of a day leaves on record.
    browser.press("Sign out").await;
    browser.sees("You are signed out").await;
    sign_in(&browser, &home.credential()).await;
    browser.press("Overview").await;
    browser.sees("of 1 that is stored").await;
    looked_at(&browser, "overview").await;
    browser.press("Reports").await;
    browser.sees("Tokens by hour of the day").await;
    browser.sees("By client").await;
    looked_at(&browser, "reports-sums").await;
    public_keys(&browser).await;
    sealed(&browser, &home, &server, &mut api).await;
    drafts::outlasts_a_reload(&browser, &home).await;
    browser.press("Public keys").await;
    browser.press("test").await;
    browser.sees("Compare it with its owner").await;
    looked_at(&browser, "public-key").await;
    browser.press("Trail").await;
    browser.sees("Token issued").await;
    browser.choose("Show", "From the first").await;
    browser.sees("Configuration disabled").await;
    looked_at(&browser, "trail").await;
    browser.press("Last checkpoint").await;
    browser.sees("The key that signed it").await;
    looked_at(&browser, "checkpoint").await;
    proof(&browser, &home, &server).await;
    languages(&browser).await;
    quiet(&browser).await;
}

/// How long a slow line takes to the first page (100 ms there and back, 1.6 Mbit/s): for people to
/// read, in target/console; no test depends on it.
async fn first_page(browser: &Browser, server: &Server) {
    let line = |latency: u32, bytes: i32| json!({"offline": false, "latency": latency, "downloadThroughput": bytes, "uploadThroughput": bytes});
    browser.devtools("Network.enable", json!({})).await;
    browser.devtools("Network.emulateNetworkConditions", line(100, 200_000)).await;
    browser.open(&server.endpoint).await;
    browser.sees("Your credential stays in the memory of this page alone").await;
    let told = "const files = performance.getEntriesByType('resource').filter(({ name }) => name.includes('/console/'));
        const [page] = performance.getEntriesByType('navigation');
        const all = [...files, page];
        return [all.length, all.reduce((sum, one) => sum + one.transferSize, 0), Math.round(performance.now())];";
    let told = browser.script(told, json!([])).await;
    let (files, bytes, shown) = (&told[0], told[1].as_u64().unwrap(), &told[2]);
    assert!((1..150_000).contains(&bytes), "{bytes} bytes");
    let text = format!("first page on a slow line: {files} files, {bytes} bytes, usable after {shown} ms\n");
    std::fs::write(browser.folder().join("first-page.txt"), text).unwrap();
    browser.devtools("Network.emulateNetworkConditions", line(0, -1)).await;
}

/// The list says what it is empty of; the three files that openssl made; disable and enable.
async fn configurations(browser: &Browser, administrator: &Administrator) {
    browser.press("Configurations").await;
    browser.sees("There is no configuration yet").await;
    looked_at(browser, "configurations-empty").await;
    browser.press("Upload three files").await;
    browser.press("Check").await;
    browser.sees("Choose this file.").await;
    looked_at(browser, "upload-incomplete").await;
    let files = administrator.files(&administrator.encrypt(DKGA04));
    for (label, file) in ["Data file", "Digest file", "Key file"].into_iter().zip(&files) {
        browser.fill(label, file).await;
    }
    browser.press("Check").await;
    browser.sees("can be stored").await;
    looked_at(browser, "upload-checked").await;
    browser.press("Store it").await;
    browser.sees("Where it comes from").await;
    let kcv = browser.script("return document.querySelector('.large .kcv').textContent", json!([])).await;
    assert_eq!(kcv, "48 84 a7", "as the README has it for this key");
    looked_at(browser, "configuration").await;
    browser.press("Disable").await;
    browser.sees("No new tokens are issued under it").await;
    looked_at(browser, "configuration-disable").await;
    browser.press("Disable").await;
    browser.press("Enable").await;
    browser.sees("Compare the key check value").await;
    browser.press("Enable").await;
    // Enabled again: it can be disabled.
    browser.script("await pressed('Disable')", json!([])).await;
    browser.press("Configurations").await;
    browser.sees("48 84 a7").await;
    looked_at(browser, "configurations").await;
    browser.press("Key changes").await;
    browser.sees("No change of keys is allowed").await;
    looked_at(browser, "key-changes").await;
}

/// A till with a limit, made in the browser, vends by `fetch`.
async fn clients(browser: &Browser) {
    browser.press("Clients").await;
    browser.press("New client").await;
    browser.sees("Made to be").await;
    browser.press("Create").await;
    browser.sees("This is needed.").await;
    browser.fill("Name", "till 7").await;
    browser.press("Limits").await;
    browser.fill("Electricity credit, each token", "much").await;
    browser.press("Create").await;
    browser.sees("INVALID_FIELDS").await;
    looked_at(browser, "client-refused").await;
    browser.fill("Electricity credit, each token", "500").await;
    browser.press("With what").await;
    browser.fill("Supply groups", "123456").await;
    looked_at(browser, "client-new").await;
    browser.press("Create").await;
    browser.sees("Keep it now").await;
    looked_at(browser, "client-created").await;
    let vend = "const credential = document.querySelector('.secret').textContent;
        const ask = async (verb, path, body) => (await fetch(path, { method: verb, body: body && JSON.stringify(body),
            headers: { authorization: `Bearer ${credential}`, 'content-type': 'application/json' } })).json();
        const { configurations: [{ name }] } = await ask('GET', '/v1/configurations');
        const order = (decimal) => ({ configuration: name, meter: given[0], requestId: crypto.randomUUID(),
            electricityCredit: { decimal } });
        const told = [await ask('POST', '/v1/tokens:issue', order('12.5')), await ask('POST', '/v1/tokens:issue', order('500.1'))];
        return [told[0].transferred.amount, told[1].details[0].reason];";
    assert_eq!(browser.script(vend, json!([DRN])).await, json!(["12.5", "AMOUNT_ABOVE_LIMIT"]));
    browser.press("Open the client").await;
    browser.sees("500 kWh").await;
    looked_at(browser, "client").await;
    browser.press("Change rights and limits").await;
    browser.fill("Tokens in 24 hours", "100").await;
    looked_at(browser, "client-edit").await;
    browser.press("Save").await;
    browser.sees("Tokens in 24 hours").await;
    browser.press("Create the credential").await;
    browser.sees("Keep it now").await;
    browser.press("Clients").await;
    browser.sees("till 7").await;
    looked_at(browser, "clients").await;
}

/// A key pair that the browser makes: its private half is a file, encrypted.
async fn public_keys(browser: &Browser) {
    browser.press("Public keys").await;
    browser.sees("you").await;
    browser.fill("Name", "browser").await;
    browser.fill("Passphrase", "correct horse").await;
    browser.fill("Passphrase again", "correct").await;
    browser.press("Make and register").await;
    browser.sees("This is not the same passphrase").await;
    browser.fill("Passphrase again", "correct horse").await;
    browser.press("Make and register").await;
    browser.sees("Save the private key now").await;
    looked_at(browser, "public-keys").await;
}

/// A configuration that is filled in and sealed in the browser, signed by the key that it made:
/// what the HSM then issues, a meter with that vending key takes. Once for each kind of key.
async fn sealed(browser: &Browser, home: &Home, server: &Server, api: &mut Api) {
    let keys = [("04", "abababababababab949494949494949401234599"), ("02", "0123456789abcdef")];
    for (derivation, key) in keys {
        browser.press("Configurations").await;
        browser.press("Seal here").await;
        browser.press("Seal and check").await;
        browser.sees("This is needed.").await;
        let name = format!("sealed {derivation}");
        browser.fill("Name", &name).await;
        browser.fill("Supply group", "123456").await;
        browser.choose("Decoder key generation algorithm", &format!("DKGA{derivation}")).await;
        browser.fill("Vending key", key).await;
        browser.press("Seal and check").await;
        browser.sees("Compare the fingerprint, and say so").await;
        browser.tick("I compared the fingerprint over another channel").await;
        if derivation == "04" {
            looked_at(browser, "seal").await;
        }
        browser.press("Seal and check").await;
        browser.sees("The HSM found the same key check value as this browser").await;
        let left = browser.script("return (await labelled('Vending key')).value", json!([])).await;
        assert_eq!(left, "", "the key stays in the page");
        if derivation == "04" {
            looked_at(browser, "sealed").await;
        }
        browser.press("Store it").await;
        browser.sees("Where it comes from").await;

        let listed = api.configurations.list_configurations(ListConfigurationsRequest::default()).await;
        let listed = listed.unwrap().into_inner().configurations;
        let stored = listed.into_iter().find(|one| one.display_name == name).unwrap();
        let mut till = Api::connect(&server.endpoint, &home.till()).await;
        let token = till.issue(ten_kwh(&stored)).await.unwrap().token;
        let channel = Endpoint::from_shared(server.endpoint.clone()).unwrap().connect().await.unwrap();
        let mut simulator = simulator_of(channel, &home.till());
        let key = TestKey { attributes: stored.attributes, vending_key: key.to_owned() };
        let made = MakeMeterRequest { key: Some(key), meter: DRN.to_owned() };
        let meter = simulator.make_meter(made).await.unwrap().into_inner();
        let entered = EnterTokenRequest { state: meter.state, token };
        let entered = simulator.enter_token(entered).await.unwrap().into_inner();
        assert!(entered.accepted, "{}", entered.answer);
    }
}

/// The administrator sees rows, and no digits; a till verifies and issues.
async fn tokens(browser: &Browser, home: &Home, server: &Server, api: &mut Api) {
    let mut till = Api::connect(&server.endpoint, &home.till()).await;
    let configurations = api.configurations.list_configurations(ListConfigurationsRequest::default());
    let configuration = configurations.await.unwrap().into_inner().configurations.remove(0);
    let issued = till.issue(ten_kwh(&configuration)).await.unwrap();
    browser.press("Tokens").await;
    browser.sees("electricity credit").await;
    looked_at(browser, "tokens").await;
    browser.fill("Meter", "123").await;
    browser.press("Find").await;
    browser.sees("INVALID_FIELDS").await;
    browser.fill("Meter", DRN).await;
    browser.press("Find").await;
    browser.sees("10 kWh").await;
    // A long list, page by page and back.
    for _ in 0..3 {
        let requests = std::iter::repeat_with(meter_test).take(1_000).collect();
        till.tokens.batch_issue_tokens(BatchIssueTokensRequest { requests }).await.unwrap();
    }
    browser.fill("Meter", "").await;
    browser.press("Find").await;
    for page in 2..=5 {
        browser.press("Next").await;
        browser.sees(&format!("Page {page} · 50 rows")).await;
    }
    looked_at(browser, "tokens-long").await;
    browser.press("Back").await;
    browser.sees("Page 4 · 50 rows").await;
    browser.press("Export as CSV").await;
    browser.sees("rows are exported").await;

    // Reloading forgets who was signed in, and not where they were.
    browser.reload().await;
    sign_in(browser, &home.till()).await;
    browser.sees("10 kWh").await;
    let pages =
        browser.script("return [...document.querySelectorAll('nav.pages a')].map(words)", json!([])).await;
    assert_eq!(
        pages,
        json!(["Overview", "Configurations", "Public keys", "Tokens", "Reports", "Simulator"]),
        "of a till"
    );
    browser.press("Verify digits").await;
    browser.fill("Token", &issued.token).await;
    browser.fill("Meter", DRN).await;
    browser.press("Verify").await;
    browser.sees("Issued here, and the meter takes it").await;
    looked_at(browser, "verify").await;
    browser.press("Issue").await;
    browser.fill("Amount in kWh", "2,5").await;
    browser.fill("Meter", "1").await;
    browser.press("Issue the token").await;
    browser.sees("a DRN is 11 or 13 decimal digits").await;
    looked_at(browser, "issue-refused").await;
    // What was typed outlasts a reload, and so does the id of a request that may be on its way.
    let draft = "return JSON.parse(sessionStorage['vendkey.draft.issue']).held.id";
    let request = browser.script(draft, json!([])).await;
    browser.reload().await;
    let kept = browser.script("return Object.values(sessionStorage).join()", json!([])).await;
    assert!(!kept.as_str().unwrap().contains("vendkey_"), "a credential is kept: {kept}");
    sign_in(browser, &home.till()).await;
    browser.sees("What you typed before is here again").await;
    let typed = "return [(await labelled('Amount in kWh')).value, (await labelled('Meter')).value]";
    assert_eq!(browser.script(typed, json!([])).await, json!(["2,5", "1"]));
    looked_at(browser, "issue-restored").await;
    browser.fill("Meter", DRN).await;
    browser.press("Issue the token").await;
    browser.sees("2.5 kWh").await;
    assert_eq!(browser.script("return sessionStorage.length", json!([])).await, json!(0));
    looked_at(browser, "issue").await;
    browser.press("Everything about it").await;
    browser.sees("Token identifier").await;
    browser.sees("amount mantissa 00000000011001 crc").await;
    assert_ne!(request, json!(null));
    looked_at(browser, "token").await;
    files::dropped(browser, &issued.token).await;
    browser.press("Change keys").await;
    browser.sees("An administrator allows a pair of configurations first").await;
    looked_at(browser, "carry-empty").await;
    browser.press("Reports").await;
    browser.sees("Tokens over time").await;
    // Those that this client issued: 10 and 2.5 kWh, and the meter tests.
    browser.sees("Sum in kWh 12.5").await;
    looked_at(browser, "reports").await;
    simulator(browser).await;
}

/// A meter in software takes a token of its test key once.
async fn simulator(browser: &Browser) {
    browser.press("Simulator").await;
    browser.sees("Test keys alone").await;
    looked_at(browser, "simulator-new").await;
    browser.press("Make the meter").await;
    browser.sees("Ready. Type a token").await;
    browser.fill("Amount in kWh", "12.5").await;
    browser.press("Make the token").await;
    browser.press("Type it into the meter").await;
    browser.sees("accepted: 12.5 kWh of electricity, 12.5 kWh now").await;
    looked_at(browser, "simulator").await;
    browser.press("Type it into the meter").await;
    browser.sees("rejected: used error").await;
    browser.fill("Token", "123").await;
    browser.press("Enter").await;
    browser.sees("rejected: format error").await;
    browser.press("Issue the set").await;
    browser.sees("Make tokens under this key from now on").await;
    looked_at(browser, "simulator-refused").await;
}

/// The chain is proved in the browser: as the server gives it, and an export that somebody changed.
async fn proof(browser: &Browser, home: &Home, server: &Server) {
    browser.press("Verify").await;
    browser.press("Verify now").await;
    browser.sees("The trail is whole and unchanged").await;
    looked_at(browser, "proof").await;
    let file = home.text("chain.jsonl");
    let exported = server.vendkey(home, &["audit", "export", &file]);
    assert!(exported.status.success(), "{}", String::from_utf8_lossy(&exported.stderr));
    let text = std::fs::read_to_string(&file).unwrap();
    let changed = text.lines().enumerate().filter(|(at, _)| *at != 20);
    let changed = changed.map(|(at, line)| match at {
        10 => line.replacen("\"time_ms\":1", "\"time_ms\":2", 1),
        _ => line.to_owned(),
    });
    std::fs::write(&file, changed.collect::<Vec<_>>().join("\n")).unwrap();
    browser.choose("Read the records from", "an export").await;
    browser.fill("Export", &file).await;
    browser.press("Verify now").await;
    browser.sees("2 faults were found").await;
    browser.sees("Record 11 does not follow from the one before it").await;
    browser.sees("Records 21 to 21 are missing").await;
    looked_at(browser, "proof-faults").await;
    browser.press("Last checkpoint").await;
    browser.sees("The signed text").await;
}

/// Texts, numbers and times in another language; only the wish for it is kept.
async fn languages(browser: &Browser) {
    for (language, words) in [("Français", "Le texte signé"), ("Português", "O texto assinado")] {
        browser
            .script(
                "const list = document.querySelector('.person select');
                 list.value = [...list.options].find((one) => one.text === given[0]).value;
                 list.dispatchEvent(new Event('change'));",
                json!([language]),
            )
            .await;
        browser.sees(words).await;
        let faults = browser.script(include_str!("audit.js"), json!([])).await;
        assert_eq!(faults, json!([]), "{language}");
    }
    let kept = browser.script("return JSON.stringify(localStorage)", json!([])).await;
    assert_eq!(kept, r#"{"vendkey.language":"pt"}"#);
    browser.script("localStorage.clear()", json!([])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_and_without_permission() {
    let home = Home::new();
    let (server, _) = served(&home, "client_auth = 'optional'\nclient_ca_file = 'authority.pem'\n");
    let auditor = home.text("auditor");
    let port = server.endpoint.rsplit(':').next().unwrap();
    let created = home.vendkey(&[
        "client",
        "create",
        "auditor",
        "--preset",
        "auditor",
        "--out",
        &auditor,
        "--endpoint",
        &format!("https://localhost:{port}"),
        "--ca",
        &home.text("authority.pem"),
    ]);
    assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));
    let browser = Browser::start().await;
    browser.open(&server.endpoint).await;
    // A browser without a certificate is told what else there is.
    browser.press("Sign in with this browser’s certificate").await;
    browser.sees("CREDENTIAL_MISSING").await;
    looked_at(&browser, "sign-in-tls").await;
    sign_in(&browser, &home.secret("auditor")).await;
    browser.sees("All is well").await;
    let pages = browser.script("return [...document.querySelectorAll('nav.pages a')].map(words)", json!([]));
    let seen =
        ["Overview", "Configurations", "Public keys", "Clients", "Approvals", "Tokens", "Reports", "Trail"];
    assert_eq!(pages.await, json!(seen), "of an auditor");
    browser.press("Configurations").await;
    browser.sees("An administrator who may upload configurations adds the first").await;
    // A page that an address names and that they may not use: the server refuses, and says why.
    browser.script("location.hash = '#/clients/new'", json!([])).await;
    browser.fill("Name", "more rights").await;
    browser.press("Create").await;
    browser.sees("PERMISSION_DENIED").await;
    browser.sees("An administrator who may grant that can give it to your client").await;
    quiet(&browser).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_persons_agree_and_a_server_comes_back() {
    let home = home_of(TWO, &["ben", "cleo"]);
    // The same address again after a restart.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let listen = format!("127.0.0.1:{port}");
    let played = Played::new(&home);
    let start = || played.start(&home, &[("VENDKEY_SERVER__LISTEN", &listen)]);
    let server = start();
    let browser = Browser::start().await;
    browser.open(&server.endpoint).await;
    sign_in(&browser, &home.credential()).await;
    browser.press("Approvals").await;
    browser.sees("Nothing waits for approval").await;
    looked_at(&browser, "approvals-empty").await;
    browser.press("Clients").await;
    browser.press("New client").await;
    browser.fill("Name", "till 7").await;
    browser.press("Create").await;
    browser.sees("This waits for another person").await;
    looked_at(&browser, "client-waits").await;
    browser.press("Open the approval").await;
    browser.sees("You asked for this, so another person must approve it").await;
    looked_at(&browser, "approval-own").await;
    browser.press("Sign out").await;

    sign_in(&browser, &home.secret("ben")).await;
    browser.sees("1 person is still missing").await;
    looked_at(&browser, "approval").await;
    browser.press("Approve").await;
    browser.sees("Approve this?").await;
    browser.press("Approve").await;
    browser.sees("What came of it").await;
    browser.press("Approvals").await;
    browser.tick("Show those that ended too").await;
    browser.sees("Done").await;
    looked_at(&browser, "approvals").await;

    // The server goes away: it is said, what was typed stays, and all goes on when it is back.
    browser.press("Clients").await;
    browser.press("New client").await;
    browser.fill("Name", "till 8").await;
    drop(server);
    browser.press("Create").await;
    browser.sees("The server does not answer").await;
    browser.sees("It will not be done twice").await;
    looked_at(&browser, "away").await;
    let server = start();
    browser.sees("The server answers again").await;
    let typed = browser.script("return (await labelled('Name')).value", json!([])).await;
    assert_eq!(typed, "till 8");
    browser.press("Try again").await;
    browser.sees("This waits for another person").await;

    // Who does nothing is warned, and may stay; then signed out.
    browser
        .script(
            "const now = Date.now; window.late = 0; Date.now = () => now() + late; late = 14.5 * 60_000",
            json!([]),
        )
        .await;
    browser.sees("Are you still there?").await;
    looked_at(&browser, "idle").await;
    browser.press("Stay signed in").await;
    browser.sees("This waits for another person").await;
    browser.script("late = 60 * 60_000", json!([])).await;
    browser.sees("nobody used the page").await;

    // A credential that counts no more signs its holder out.
    sign_in(&browser, &home.secret("ben")).await;
    let mut api = server.api(&home).await;
    let name = home.secret("ben")[8..24].to_owned();
    let disabled = DisableCredentialRequest { name: format!("credentials/{name}") };
    browser.press("Overview").await;
    browser.sees("All is well").await;

    // What is wrong is said with its reason, and what can be done about it.
    played.set(&HOUR_MS.to_string());
    browser.sees("the clock jumped by 3600 s").await;
    looked_at(&browser, "overview-stopped").await;
    browser.press("Accept the clock as it is").await;
    browser.sees("Compare this server’s time with another clock first").await;
    browser.press("Cancel").await;
    played.set("0");
    browser.sees("All is well").await;
    api.clients.disable_credential(disabled).await.unwrap();
    // The page looks again by itself.
    browser.sees("Your credential is not accepted any more").await;
    quiet(&browser).await;
}
