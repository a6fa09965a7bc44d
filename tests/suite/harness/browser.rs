//! A real Chromium, driven by WebDriver: the protocol is a handful of JSON requests to chromedriver,
//! so no library stands between.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
};

use http::{Method, Request, header::HOST};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tokio::net::TcpStream;

/// By what WebDriver names an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// What scripts of tests have at hand. Whatever is looked for may still be on its way: they wait,
/// looking at each frame, until WebDriver's own limit ends them.
const HELPERS: &str = r#"
const top = () => document.querySelector('dialog[open]') ?? document.body;
const shown = (element) => element.checkVisibility({ visibilityProperty: true });
const words = (element) => (element.getAttribute('aria-label') ?? element.textContent).replace(/\s+/g, ' ').trim();
const until = (find) => new Promise((done) => {
  const look = () => { const found = find(); if (found) done(found); else setTimeout(look, 15); };
  look();
});
const pressed = (name) => until(() => [...top().querySelectorAll('button, a, summary')]
  .find((one) => shown(one) && !one.disabled && words(one) === name));
const labelled = (name) => until(() => [...top().querySelectorAll('label')]
  .filter((one) => shown(one) && words(one).replace(/ \(.*\)$/, '') === name).map((one) => one.control).find(Boolean));
"#;

/// A browser with an empty profile; ended when dropped.
pub struct Browser {
    driver: Child,
    /// Kept open: chromedriver ends where nobody can read what it says.
    _output: BufReader<ChildStdout>,
    port: u16,
    session: String,
    _profile: TempDir,
}

impl Browser {
    /// Starts chromedriver on a free port, and a browser under it.
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// With more arguments for the browser.
    pub async fn with(arguments: &[&str]) -> Self {
        Self::begin(arguments, Command::new("chromedriver"), json!({})).await
    }

    /// As the person whose certificates are in `~/.pki/nssdb` of this folder, and who gives them to
    /// the server at `url` without being asked.
    pub async fn with_certificates(folder: &Path, url: &str) -> Self {
        let mut driver = Command::new("chromedriver");
        driver.env("HOME", folder);
        // What the policy AutoSelectCertificateForUrls sets.
        let gives = json!({"pattern": url, "filter": {}}).to_string();
        Self::begin(&[], driver, json!({"profile.managed_auto_select_certificate_for_urls": [gives]})).await
    }

    async fn begin(arguments: &[&str], mut driver: Command, mut preferences: Json) -> Self {
        preferences["intl.accept_languages"] = json!("en");
        let mut driver = driver
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("Debian's chromium-driver is installed");
        let mut output = BufReader::new(driver.stdout.take().unwrap());
        let port = output.by_ref().lines().map_while(Result::ok).find_map(|line| {
            line.strip_prefix("ChromeDriver was started successfully on port ")?
                .trim_end_matches('.')
                .parse()
                .ok()
        });
        let profile = tempfile::tempdir().unwrap();
        let mut browser =
            Self { driver, _output: output, port: port.unwrap(), session: String::new(), _profile: profile };
        let folder = format!("--user-data-dir={}", browser._profile.path().display());
        let mut all = vec![
            folder.as_str(),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            "--lang=en",
            "--window-size=1280,900",
        ];
        all.extend(arguments);
        let wishes = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "acceptInsecureCerts": true,
            "timeouts": {"script": 30_000, "pageLoad": 30_000},
            "goog:chromeOptions": {"args": all, "prefs": preferences},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let made = browser.command(Method::POST, "", wishes).await.unwrap();
        browser.session = format!("/{}", made["sessionId"].as_str().unwrap());
        browser
    }

    /// One command; an error is what WebDriver says.
    async fn command(&self, verb: Method, path: &str, body: Json) -> Result<Json, Json> {
        let tcp = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await.unwrap();
        tokio::spawn(connection);
        let body = if verb == Method::GET { String::new() } else { body.to_string() };
        let request = Request::builder()
            .method(verb)
            .uri(format!("/session{}{path}", self.session))
            .header(HOST, format!("127.0.0.1:{}", self.port))
            .body(Full::new(bytes::Bytes::from(body)))
            .unwrap();
        let answer = sender.send_request(request).await.unwrap();
        let good = answer.status().is_success();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let value = serde_json::from_slice::<Json>(&body).unwrap()["value"].take();
        if good { Ok(value) } else { Err(value) }
    }

    async fn told(&self, verb: Method, path: &str, body: Json) -> Json {
        match self.command(verb, path, body).await {
            Ok(value) => value,
            Err(error) => {
                let file = self.screenshot(&format!("failed-{}", self.port)).await;
                let words = self
                    .command(
                        Method::POST,
                        "/execute/sync",
                        json!({"script": "return document.body.innerText", "args": []}),
                    )
                    .await;
                panic!("{path}: {}\n{}\nsee {}", error["message"], words.unwrap_or_default(), file.display());
            }
        }
    }

    /// Opens an address.
    pub async fn open(&self, url: &str) {
        self.told(Method::POST, "/url", json!({"url": url})).await;
    }

    /// Loads the page again.
    pub async fn reload(&self) {
        self.told(Method::POST, "/refresh", json!({})).await;
    }

    /// Runs the body of an async function, with `arguments`, and answers what it returns.
    pub async fn script(&self, body: &str, arguments: Json) -> Json {
        let script = format!("{HELPERS}\nreturn (async (...given) => {{ {body} }})(...arguments);");
        self.told(Method::POST, "/execute/sync", json!({"script": script, "args": arguments})).await
    }

    /// Waits until the page shows these words.
    pub async fn sees(&self, words: &str) {
        let looks = "await until(() => top().innerText.replace(/\\s+/g, ' ').includes(given[0]));";
        self.script(looks, json!([words])).await;
    }

    /// Clicks on a button or a link of this name, once there is one.
    pub async fn press(&self, name: &str) {
        let found = self.script("return await pressed(given[0])", json!([name])).await;
        self.click(&found).await;
    }

    async fn click(&self, element: &Json) {
        let id = element[ELEMENT].as_str().unwrap();
        self.told(Method::POST, &format!("/element/{id}/click"), json!({})).await;
    }

    /// Types into the input under this label, in the place of what it holds. Of a file it is the
    /// path, of a box to tick or of a choice see [`Browser::tick`] and [`Browser::choose`].
    pub async fn fill(&self, label: &str, text: &str) {
        let found = self.script("return await labelled(given[0])", json!([label])).await;
        let id = found[ELEMENT].as_str().unwrap();
        if !text.starts_with('/') {
            self.told(Method::POST, &format!("/element/{id}/clear"), json!({})).await;
        }
        if !text.is_empty() {
            self.told(Method::POST, &format!("/element/{id}/value"), json!({"text": text})).await;
        }
    }

    /// Clicks on the box under this label.
    pub async fn tick(&self, label: &str) {
        let found = self.script("return await labelled(given[0])", json!([label])).await;
        self.click(&found).await;
    }

    /// Chooses from the list under this label what begins so.
    pub async fn choose(&self, label: &str, option: &str) {
        let choose = "const list = await labelled(given[0]);
            const found = await until(() => [...list.options].find((one) => one.text.startsWith(given[1])));
            list.value = found.value;
            list.dispatchEvent(new Event('input', { bubbles: true }));
            list.dispatchEvent(new Event('change', { bubbles: true }));";
        self.script(choose, json!([label, option])).await;
    }

    /// Sends keys to whatever has the focus.
    pub async fn keys(&self, text: &str) {
        let presses = text.chars().flat_map(|key| {
            [json!({"type": "keyDown", "value": key}), json!({"type": "keyUp", "value": key})]
        });
        let keyboard = json!({"type": "key", "id": "keyboard", "actions": presses.collect::<Vec<_>>()});
        self.told(Method::POST, "/actions", json!({"actions": [keyboard]})).await;
    }

    /// How large the window is.
    pub async fn window(&self, width: u32, height: u32) {
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}),
        )
        .await;
    }

    /// Light or dark.
    pub async fn colours(&self, scheme: &str) {
        let feature = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.devtools("Emulation.setEmulatedMedia", json!({"features": feature})).await;
    }

    /// A command of Chromium's own protocol.
    pub async fn devtools(&self, command: &str, parameters: Json) -> Json {
        self.told(Method::POST, "/goog/cdp/execute", json!({"cmd": command, "params": parameters})).await
    }

    /// What the browser has put into its log since it was last asked.
    pub async fn log(&self) -> Vec<String> {
        let lines = self.told(Method::POST, "/se/log", json!({"type": "browser"})).await;
        lines.as_array().unwrap().iter().map(|line| line["message"].as_str().unwrap().to_owned()).collect()
    }

    /// Where pictures are written.
    pub fn folder(&self) -> PathBuf {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("console");
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// Writes a picture of the window to target/console, for people to look at.
    pub async fn screenshot(&self, name: &str) -> PathBuf {
        let file = self.folder().join(format!("{name}.png"));
        if let Ok(picture) = self.command(Method::GET, "/screenshot", Json::Null).await {
            use base64::Engine as _;
            let bytes = base64::engine::general_purpose::STANDARD.decode(picture.as_str().unwrap());
            fs::write(&file, bytes.unwrap()).unwrap();
        }
        file
    }
}

impl Drop for Browser {
    /// Ends the session, and with it the browser: a driver that is killed leaves its browser running.
    fn drop(&mut self) {
        let Self { port, session, .. } = self;
        if let Ok(mut driver) = std::net::TcpStream::connect(("127.0.0.1", *port)) {
            let request = format!("DELETE /session{session} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n");
            let _ = driver.write_all(request.as_bytes());
            // It answers when the browser has ended.
            let _ = driver.read(&mut [0; 64]);
        }
        let pid = rustix::process::Pid::from_raw(self.driver.id().cast_signed()).unwrap();
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.driver.wait();
    }
}
