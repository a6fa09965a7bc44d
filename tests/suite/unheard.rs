//! Every command that there is, on an output that is full and on one that is closed: what was asked
//! for is done, nothing panics, and the exit code says that it was not shown.

use std::{
    fs,
    process::{Output, Stdio},
};

use serde_json::Value;
use vendkey::api::v1::{
    AllowKeyChangeRequest, DisableConfigurationRequest, EnableConfigurationRequest, MeterSeed,
    RegisterPublicKeyRequest, SeedMetersRequest,
};

use crate::harness::{Administrator, Api, DKGA02, DKGA04, DRN, Home, Server, TestDatabase, persons, ten_kwh};

/// Runs a command whose standard output is full (`/dev/full`) or closed.
pub fn unheard(home: &Home, endpoint: &str, arguments: &[&str], full: bool) -> Output {
    let out = if full {
        Stdio::from(fs::OpenOptions::new().write(true).open("/dev/full").unwrap())
    } else {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        Stdio::from(writer)
    };
    let mut command = home.command(arguments);
    command.env("VENDKEY_ENDPOINT", endpoint).stdout(out).stderr(Stdio::piped());
    command.spawn().unwrap().wait_with_output().unwrap()
}

pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// All commands as the program's own help lists them, so that a new one must be put into the table.
fn commands(home: &Home) -> Vec<String> {
    let (mut found, mut open) = (Vec::new(), vec![Vec::<String>::new()]);
    while let Some(path) = open.pop() {
        let arguments: Vec<&str> = path.iter().map(String::as_str).chain(["--help"]).collect();
        let help = String::from_utf8(home.vendkey(&arguments).stdout).unwrap();
        let Some(listed) = help.split("\nCommands:\n").nth(1) else {
            found.push(path.join(" "));
            continue;
        };
        let names = listed.lines().take_while(|line| !line.is_empty());
        let names = names.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
        for name in names.filter(|name| !name.is_empty() && *name != "help") {
            open.push(path.iter().cloned().chain([name.to_owned()]).collect());
        }
    }
    found.sort();
    found
}

/// What the commands are about.
struct Scene {
    home: Home,
    administrator: Administrator,
    fingerprint: String,
    /// Of the key that sealed uploads are made for.
    sealing: String,
    public_key: String,
    /// Issues; goes to `next`; is there; is disabled, by its check value too.
    configuration: String,
    next: String,
    other: String,
    doomed: (String, String),
    client: String,
    credential: String,
    token: String,
    meter_pan: String,
    tid: u32,
}

impl Scene {
    async fn new(home: Home, server: &Server, api: &mut Api) -> Self {
        let (legacy, sealing) = (home.text("server.pem"), home.text("sealing.pem"));
        let files = ["--out", &legacy, "--sealing-out", &sealing];
        let shown = server.vendkey(&home, &[&["server-key", "--json"][..], &files].concat());
        let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
        let administrator = Administrator::new(&fs::read_to_string(home.path("server.pem")).unwrap());
        fs::write(home.path("public.pem"), administrator.public_key()).unwrap();
        let request = RegisterPublicKeyRequest {
            public_key: administrator.public_key(),
            display_name: "test".to_owned(),
        };
        let public_key = api.public_keys.register_public_key(request).await.unwrap().into_inner().name;
        let mut uploaded =
            async |yaml: &str| api.upload(&administrator.encrypt(yaml)).await.unwrap().configuration.unwrap();
        let revision = |number| DKGA04.replace("key_revision_no: 1", &format!("key_revision_no: {number}"));
        let configuration = uploaded(DKGA04).await;
        let (next, other) = (uploaded(&revision(2)).await.name, uploaded(&revision(3)).await.name);
        let doomed = uploaded(DKGA02).await;
        administrator.files(&administrator.encrypt(DKGA04));
        let request = DisableConfigurationRequest { name: doomed.name.clone() };
        api.configurations.disable_configuration(request).await.unwrap();
        let pair = AllowKeyChangeRequest { source: configuration.name.clone(), target: next.clone() };
        api.configurations.allow_key_change(pair).await.unwrap();
        let issued = api.issue(ten_kwh(&configuration)).await.unwrap();
        let (meter_pan, tid) = (issued.meter_pan, issued.tid.unwrap().value);
        let seed = MeterSeed { meter_pan: meter_pan.clone(), base_date: 2014, last_tid: tid + 1000 };
        api.ledger.seed_meters(SeedMetersRequest { seeds: vec![seed] }).await.unwrap();
        let create = ["client", "create", "kiosk", "--preset", "till", "--json"];
        let created = server.vendkey(&home, &[&create[..], &["--out", &home.text("kiosk")]].concat());
        let created: Value = serde_json::from_slice(&created.stdout).unwrap();
        let client = created["name"].as_str().unwrap().to_owned();
        let credential = format!("credentials/{}", &home.secret("kiosk")["vendkey_".len()..][..16]);
        fs::write(home.path("config.yaml"), DKGA04).unwrap();
        let message =
            format!("Meter: {DRN} Token: 4452 5637 3498 8127 8975 Units: 25.5 kWh 2026-11-22 10:15\n");
        fs::write(home.path("messages.txt"), message).unwrap();
        fs::write(home.path("meter.key"), [7; 32]).unwrap();
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(home.path("meter.key"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(home.path("seed.csv"), format!("meter_pan,base_date,last_tid\n{meter_pan},2014,1000\n"))
            .unwrap();
        let batch = format!("configuration,meter,kind,amount\n{},{DRN},electricity,1\n", configuration.name);
        fs::write(home.path("in.csv"), batch).unwrap();
        let published = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/sts-vectors.json");
        let mut vectors: Value = serde_json::from_slice(&fs::read(published).unwrap()).unwrap();
        vectors["vectors"].as_array_mut().unwrap().truncate(1);
        fs::write(home.path("vectors.json"), vectors.to_string()).unwrap();
        let meter = ["meter", "new", &home.text("meter-there"), "--meter", DRN];
        let sources = ["--configuration", &home.text("config.yaml"), "--key-file", &home.text("meter.key")];
        assert!(home.vendkey(&[&meter[..], &sources].concat()).status.success());
        Self {
            fingerprint: shown["fingerprint"].as_str().unwrap().to_owned(),
            sealing: shown["sealing"]["fingerprint"].as_str().unwrap().to_owned(),
            public_key,
            configuration: configuration.name,
            next,
            other,
            doomed: (doomed.name, doomed.kcv),
            client,
            credential,
            token: issued.token,
            meter_pan,
            tid,
            administrator,
            home,
        }
    }

    /// What stands behind a command. `None`: the table lacks it.
    fn arguments(&self, command: &str, round: &str) -> Option<Vec<String>> {
        let home = &self.home;
        let (settings, out) = (home.text("vendkey.toml"), |name: &str| home.text(&format!("{name}-{round}")));
        let key_file = home.text("meter.key");
        let tid = self.tid.to_string();
        let list = |arguments: &[&str]| arguments.iter().map(|text| (*text).to_owned()).collect();
        Some(match command {
            "serve" => list(&["--check", "--settings", &settings]),
            "setup" => list(&["--settings", &settings, "--credential-file", &home.text("credential")]),
            "rotate audit-key"
            | "rotate row-seal-key"
            | "rotate sealed-key"
            | "rotate server-key"
            | "hsm check"
            | "hsm list"
            | "hsm probe"
            | "hsm status"
            | "inventory"
            | "selftest" => list(&["--settings", &settings]),
            "backup" => list(&["--settings", &settings, "--out", &out("backup")]),
            "conformance" => list(&["--settings", &settings, "--vectors", &home.text("vectors.json")]),
            "server-key"
            | "public-key list"
            | "configuration list"
            | "key-change list"
            | "client list"
            | "capabilities"
            | "ledger state"
            | "ledger export"
            | "ledger accept-clock"
            | "approval list"
            | "client whoami"
            | "server state"
            | "server list" => list(&[]),
            "public-key register" => list(&[&home.text("public.pem"), "--name", "test"]),
            "public-key enable" | "public-key disable" => list(&[&self.public_key]),
            "configuration encrypt" => list(&[
                &home.text("config.yaml"),
                "--server-key",
                &home.text("server.pem"),
                "--fingerprint",
                &self.fingerprint,
                "--signing-key",
                &self.administrator.path("private.pem"),
                "--out",
                &out("upload"),
            ]),
            "configuration seal" => list(&[
                &home.text("config.yaml"),
                "--sealing-key",
                &home.text("sealing.pem"),
                "--fingerprint",
                &self.sealing,
                "--suite",
                "RSA-OAEP-SHA-1",
                "--signing-key",
                &self.administrator.path("private.pem"),
                "--out",
                &out("sealed"),
            ]),
            "configuration upload" => list(&[
                "--data",
                &self.administrator.path("data"),
                "--digest",
                &self.administrator.path("digest"),
                "--key",
                &self.administrator.path("key"),
            ]),
            "configuration show" | "configuration enable" => list(&[&self.configuration]),
            "configuration disable" => list(&[&self.other]),
            "configuration destroy" => list(&[&self.doomed.0, "--confirm", &self.doomed.1]),
            "configuration restore" => list(&[&self.doomed.0]),
            "key-change issue" => list(&["--from", &self.configuration, "--to", &self.next, "--meter", DRN]),
            "key-change allow" => list(&["--from", &self.configuration, "--to", &self.next]),
            "key-change forbid" => list(&["--from", &self.configuration, "--to", &self.other]),
            "client create" => list(&[&out("name"), "--preset", "till", "--out", &out("client")]),
            "client show" | "client enable" | "client disable" | "credential list" => list(&[&self.client]),
            "client update" => list(&[&self.client, "--display-name", &out("name")]),
            "credential create" => list(&[&self.client, "--out", &out("credential")]),
            "credential enable" | "credential disable" => list(&[&self.credential]),
            "credential expire" => list(&[&self.credential, "--days", "7"]),
            "credential generate" => list(&["--out", &out("generated")]),
            "token issue" => {
                list(&["--configuration", &self.configuration, "--meter", DRN, "--electricity", "5"])
            }
            "token batch" => list(&[&home.text("in.csv"), &out("batch")]),
            "token verify" => list(&["--configuration", &self.configuration, "--meter", DRN, &self.token]),
            "ledger seed" => list(&[&home.text("seed.csv")]),
            "ledger lower-tid" => list(&["--meter", &self.meter_pan, "--base-date", "2014", "--tid", &tid]),
            "report" => list(&["--month", "2026-11"]),
            "tokens clean" => list(&[&home.text("messages.txt")]),
            "tokens report" => list(&[&home.text("messages.txt"), "--html", &out("tokens.html")]),
            "audit export" => list(&[&out("chain")]),
            "audit verify" => list(&[&home.text("chain-full")]),
            "bench" => list(&["--seconds", "1", "--clients", "1"]),
            "meter new" => list(&[
                &out("meter"),
                "--meter",
                DRN,
                "--configuration",
                &home.text("config.yaml"),
                "--key-file",
                &key_file,
            ]),
            "meter enter" => list(&[&home.text("meter-there"), &self.token, "--key-file", &key_file]),
            "meter show" => list(&[&home.text("meter-there"), "--key-file", &key_file]),
            _ => return None,
        })
    }
}

/// Those that want the database for themselves.
const WITHOUT_SERVER: [&str; 6] =
    ["rotate audit-key", "rotate row-seal-key", "rotate sealed-key", "rotate server-key", "serve", "setup"];
/// Those that are tried on databases of their own, below.
const ELSEWHERE: [&str; 5] =
    ["approval approve", "approval reject", "approval show", "ledger accept-restore", "store migrate"];

/// Runs a command with nobody listening.
fn run(home: &Home, endpoint: &str, command: &str, arguments: &[String], full: bool) {
    let whole: Vec<&str> = command.split(' ').chain(arguments.iter().map(String::as_str)).collect();
    let output = unheard(home, endpoint, &whole, full);
    let told = said(&output);
    assert_eq!(output.status.code(), Some(74), "{whole:?}, full: {full}: {told}");
    assert!(!told.contains("panicked"), "{whole:?}: {told}");
    assert!(told.contains("standard output cannot be written"), "{whole:?}: {told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_command_breaks_when_nobody_listens() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let scene = Scene::new(home, &server, &mut api).await;
    let home = &scene.home;
    let commands = commands(home);
    assert!(commands.len() > 50, "{commands:?}");
    let (without, with): (Vec<_>, Vec<_>) =
        commands.iter().partition(|command| WITHOUT_SERVER.contains(&command.as_str()));
    assert_eq!(without, WITHOUT_SERVER);
    let lacking: Vec<_> = commands
        .iter()
        .filter(|command| !ELSEWHERE.contains(&command.as_str()) && scene.arguments(command, "").is_none())
        .collect();
    assert!(lacking.is_empty(), "put them into the table: {lacking:?}");
    for (command, (full, round)) in
        with.iter().flat_map(|command| [(true, "full"), (false, "closed")].map(|round| (*command, round)))
    {
        if ELSEWHERE.contains(&command.as_str()) {
            continue;
        }
        run(home, &server.endpoint, command, &scene.arguments(command, round).unwrap(), full);
        // What the next command needs.
        match command.as_str() {
            "configuration enable" | "configuration disable" => {
                let name = scene.other.clone();
                api.configurations.enable_configuration(EnableConfigurationRequest { name }).await.unwrap();
            }
            _ => {}
        }
    }
    assert!(server.stop().success());
    for command in without {
        for (full, round) in [(true, "full"), (false, "closed")] {
            run(home, "", command, &scene.arguments(command, round).unwrap(), full);
        }
    }
    // Help and version; and one whose standard error is closed too.
    for arguments in [&["--help"][..], &["--version"], &["token", "issue", "--help"]] {
        for full in [true, false] {
            let output = unheard(home, "", arguments, full);
            assert_eq!(output.status.code(), Some(74), "{arguments:?}: {}", said(&output));
        }
    }
    let server = Server::start(home);
    let full = || Stdio::from(fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    let mut deaf = home.command(&["client", "list"]);
    let status = deaf.env("VENDKEY_ENDPOINT", &server.endpoint).stdout(full()).stderr(full()).status();
    assert_eq!(status.unwrap().code(), Some(74));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_approved_that_could_not_be_read() {
    let home = persons::home(persons::TWO, &["asha"]);
    let server = Server::start(&home);
    let mut first = persons::api(&home, &server, "credential").await;
    let mut asha = persons::api(&home, &server, "asha").await;
    let (_, _, name) = first.ask_for_key().await;
    for command in ["approval show", "approval approve"] {
        for full in [true, false] {
            run(&home, &server.endpoint, command, std::slice::from_ref(&name), full);
        }
    }
    let state = asha.approval(&name).await.state();
    assert_eq!(state, vendkey::api::v1::approval::State::Pending);
    // Taking it back is done, and is not again.
    run(&home, &server.endpoint, "approval reject", std::slice::from_ref(&name), true);
    assert_eq!(asha.approval(&name).await.state(), vendkey::api::v1::approval::State::Rejected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_was_accepted_unheard_is_accepted() {
    for full in [true, false] {
        let home = Home::new();
        assert!(Server::start(&home).stop().success());
        fs::copy(home.path("vendkey.db"), home.path("backup.db")).unwrap();
        let server = Server::start(&home);
        server.api(&home).await.issue(crate::harness::meter_test()).await.unwrap();
        assert!(server.stop().success());
        for side in ["vendkey.db-wal", "vendkey.db-shm"] {
            let _ = fs::remove_file(home.path(side));
        }
        fs::copy(home.path("backup.db"), home.path("vendkey.db")).unwrap();
        let server = Server::start(&home);
        run(&home, &server.endpoint, "ledger accept-restore", &[], full);
        server.api(&home).await.issue(crate::harness::meter_test()).await.unwrap();
    }
}

#[test]
fn a_ledger_that_was_carried_unheard_is_carried() {
    for full in [true, false] {
        let home = Home::new();
        let database = TestDatabase::new();
        let text = fs::read_to_string(home.path("vendkey.toml")).unwrap();
        let store = format!("url = '{}'\ncheckpoint_file = 'checkpoint'", database.url());
        fs::write(home.path("postgresql.toml"), text.replace("path = 'vendkey.db'", &store)).unwrap();
        let (settings, from) = (home.text("postgresql.toml"), home.text("vendkey.db"));
        let arguments = ["--settings", &settings, "--from", &from].map(str::to_owned);
        run(&home, "", "store migrate", &arguments, full);
        fs::copy(home.path("postgresql.toml"), home.path("vendkey.toml")).unwrap();
        assert!(Server::start(&home).stop().success());
    }
}
