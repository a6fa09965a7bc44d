//! Commands that a signal ends at the moment that matters most: when the server has done what they
//! asked for and they have not heard so, or with a file half written. The same command again goes
//! on, gives the same, and leaves nothing of the first.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::process::ExitStatusExt as _,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use uuid::Uuid;
use vendkey::api::v1::AllowKeyChangeRequest;

use crate::{
    busy,
    harness::{DKGA04, DRN, Home, Server},
};

/// Ctrl-C, and what a service manager sends.
const SIGNALS: [Signal; 2] = [Signal::INT, Signal::TERM];
/// After so long what should come does not.
const PATIENCE: Duration = Duration::from_secs(60);

/// Stands between a command and the server, and holds the answer of one of its calls.
struct Relay {
    endpoint: String,
    held: Receiver<()>,
}

impl Relay {
    /// Holds the answer of this call of the connection, the first is 1, and of all behind it.
    fn holding(server: &Server, call: u32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let address = server.endpoint.trim_start_matches("http://").to_owned();
        let (told, held) = channel();
        thread::spawn(move || {
            for inward in listener.incoming().map_while(Result::ok) {
                let outward = TcpStream::connect(&address).unwrap();
                let (mut from, mut to) = (inward.try_clone().unwrap(), outward.try_clone().unwrap());
                thread::spawn(move || io::copy(&mut from, &mut to));
                let told = told.clone();
                thread::spawn(move || pass(outward, inward, call, &told));
            }
        });
        Self { endpoint, held }
    }

    /// Waits until the server has answered that call.
    fn answered(&self) {
        self.held.recv_timeout(PATIENCE).expect("the server does not answer that call");
    }
}

/// Passes the frames of HTTP/2 until the one that begins the answer of a call: HEADERS, on the
/// stream of that call. Streams of clients have odd numbers.
fn pass(mut from: TcpStream, mut to: TcpStream, call: u32, told: &Sender<()>) -> io::Result<()> {
    loop {
        let mut frame = vec![0; 9];
        from.read_exact(&mut frame)?;
        let length = u32::from_be_bytes([0, frame[0], frame[1], frame[2]]) as usize;
        let stream = u32::from_be_bytes([frame[5], frame[6], frame[7], frame[8]]);
        frame.resize(9 + length, 0);
        from.read_exact(&mut frame[9..])?;
        if frame[3] == 1 && stream >= 2 * call - 1 {
            let _ = told.send(());
            // Read and not passed on, until either end goes.
            return io::copy(&mut from, &mut io::sink()).map(drop);
        }
        to.write_all(&frame)?;
    }
}

/// Starts a command.
fn started(home: &Home, endpoint: &str, arguments: &[&str]) -> Child {
    let mut command = home.command(arguments);
    command.env("VENDKEY_ENDPOINT", endpoint).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// Ends it by a signal, and answers what it said.
fn ended(child: Child, signal: Signal) -> String {
    kill_process(Pid::from_raw(child.id().cast_signed()).unwrap(), signal).unwrap();
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let (status, number) = (output.status, signal.as_raw());
    assert!(status.signal() == Some(number) || status.code() == Some(128 + number), "{status}: {told}");
    assert!(output.stdout.is_empty(), "it was told that it is done");
    told
}

/// Ends a command by a signal when the server has answered its call of this number.
fn cut_off(home: &Home, server: &Server, arguments: &[&str], call: u32, signal: Signal) -> String {
    let relay = Relay::holding(server, call);
    let child = started(home, &relay.endpoint, arguments);
    relay.answered();
    ended(child, signal)
}

/// Runs a command that must succeed.
fn done(home: &Home, server: &Server, arguments: &[&str]) -> String {
    let output = server.vendkey(home, arguments);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {told}");
    String::from_utf8(output.stdout).unwrap()
}

/// How many lines of a command's output hold this.
fn count(home: &Home, server: &Server, arguments: &[&str], what: &str) -> usize {
    done(home, server, arguments).lines().filter(|line| line.contains(what)).count()
}

fn rows(home: &Home, server: &Server) -> usize {
    count(home, server, &["ledger", "export"], "issuedTokens/")
}

/// The request id that a command told at its end.
fn request_id(told: &str) -> &str {
    told.lines().find_map(|line| line.strip_prefix("request id: ")).unwrap_or_else(|| panic!("{told:?}"))
}

/// Whether a file, or what a command left beside it, is there.
fn left(home: &Home, name: &str) -> Vec<String> {
    let entries = fs::read_dir(home.path("")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|found| found.starts_with(name)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_whose_command_was_cut_off_is_shown_by_its_request() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let source = api.configuration(DKGA04).await.name;
    let next = DKGA04.replace("key_revision_no: 1", "key_revision_no: 2");
    let target = api.configuration(&next).await.name;
    let pair = AllowKeyChangeRequest { source: source.clone(), target: target.clone() };
    api.configurations.allow_key_change(pair).await.unwrap();
    let issue = ["token", "issue", "--configuration", &source, "--meter", DRN, "--electricity", "5"];
    let change = ["key-change", "issue", "--from", &source, "--to", &target, "--meter", DRN];
    let mut issued = 0;
    for arguments in [&issue[..], &change] {
        for signal in SIGNALS {
            let told = cut_off(&home, &server, arguments, 1, signal);
            issued += 1;
            assert_eq!(rows(&home, &server), issued, "{told}");
            let again = [arguments, &["--request-id", request_id(&told)]].concat();
            let first = done(&home, &server, &again);
            assert!(first.contains("answered before") || first.contains("replay"), "{first}");
            assert_eq!(done(&home, &server, &again), first);
            assert_eq!(rows(&home, &server), issued);
        }
    }
    assert!(server.stop().success());

    // Before it is recorded.
    let server = busy::held_at(&home, "ledger-before-commit", &[]);
    let child = started(&home, &server.endpoint, &issue);
    let standing = busy::reached(&home).await;
    let told = ended(child, Signal::INT);
    drop(standing);
    done(&home, &server, &[&issue[..], &["--request-id", request_id(&told)]].concat());
    assert_eq!(rows(&home, &server), issued + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_was_cut_off_goes_on() {
    let home = Home::new();
    let server = Server::start(&home);
    let configuration = server.api(&home).await.configuration(DKGA04).await.name;
    let line = format!("{configuration},{DRN},electricity,1\n");
    let text = format!("configuration,meter,kind,amount\n{line}{line}{line}");
    fs::write(home.path("in.csv"), &text).unwrap();
    let mut issued = 0;
    for signal in SIGNALS {
        let out = format!("out-{}.csv", signal.as_raw());
        let batch = ["token", "batch", &home.text("in.csv"), &home.text(&out)];
        let told = cut_off(&home, &server, &batch, 1, signal);
        assert!(told.contains("the same command again goes on"), "{told}");
        done(&home, &server, &batch);
        issued += 3;
        assert_eq!(rows(&home, &server), issued, "each line once");
        let written = fs::read_to_string(home.path(&out)).unwrap();
        assert_eq!(written.lines().filter(|line| line.contains("issuedTokens/")).count(), 3, "{written}");

        // Its input is a pipe in which more is to come: nothing was begun.
        let (pipe, unread) =
            (home.text(&format!("pipe-{}", signal.as_raw())), format!("unread-{}.csv", signal.as_raw()));
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let child = started(&home, &server.endpoint, &["token", "batch", &pipe, &home.text(&unread)]);
        let mut half = fs::OpenOptions::new().write(true).open(&pipe).unwrap();
        half.write_all(&text.as_bytes()[..text.len() - 9]).unwrap();
        ended(child, signal);
        assert!(left(&home, &unread).is_empty());
        assert_eq!(rows(&home, &server), issued);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_and_its_credential_are_made_once_by_commands_that_were_cut_off() {
    let home = Home::new();
    let server = Server::start(&home);
    let clients = || count(&home, &server, &["client", "list"], "clients/");
    let before = clients();
    let mut made = 0;
    for signal in SIGNALS {
        // The client is made; the credential is. Call 1 looks whether a server answers at all.
        for call in [2, 3] {
            let (name, file) = (format!("till {made}"), format!("till-{made}"));
            let out = home.text(&file);
            let create = ["client", "create", &name, "--preset", "till", "--out", &out];
            cut_off(&home, &server, &create, call, signal);
            assert_eq!(left(&home, &file).len(), 2, "the secret, and that it is not finished");
            let secret = home.secret(&file);
            done(&home, &server, &create);
            made += 1;
            assert_eq!((clients(), home.secret(&file)), (before + made, secret));
            assert_eq!(left(&home, &file), std::slice::from_ref(&file));
            done(&home, &server, &["capabilities", "--credential-file", &out]);
        }
        // Without a file the request id is told.
        let name = format!("shelf {made}");
        let told = cut_off(&home, &server, &["client", "create", &name], 1, signal);
        done(&home, &server, &["client", "create", &name, "--request-id", request_id(&told)]);
        made += 1;
        assert_eq!(clients(), before + made);

        let listed = done(&home, &server, &["client", "list", "--json"]);
        let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
        let client =
            listed["clients"].as_array().unwrap().last().unwrap()["name"].as_str().unwrap().to_owned();
        let file = format!("credential-{}", signal.as_raw());
        let create = ["credential", "create", &client, "--out", &home.text(&file)];
        cut_off(&home, &server, &create, 2, signal);
        let secret = home.secret(&file);
        done(&home, &server, &create);
        assert_eq!((home.secret(&file), left(&home, &file)), (secret, vec![file.clone()]));
        assert_eq!(count(&home, &server, &["credential", "list", &client], "credentials/"), 1);
    }
}

/// Two commands at once with one file: the second does nothing and says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_another_command_writes_is_not_written() {
    let home = Home::new();
    let server = Server::start(&home);
    let (secret, rows) = (home.text("one-till"), home.text("rows.csv"));
    let clients = || count(&home, &server, &["client", "list"], "clients/");
    let before = clients();
    for (first, call, second) in [
        (
            &["client", "create", "a till", "--preset", "till", "--out", &secret][..],
            2,
            &["client", "create", "another till", "--preset", "till", "--out", &secret][..],
        ),
        (&["ledger", "export", "--out", &rows], 1, &["audit", "export", &rows]),
    ] {
        let relay = Relay::holding(&server, call);
        let child = started(&home, &relay.endpoint, first);
        relay.answered();
        let output = server.vendkey(&home, second);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(75), "{told}");
        assert!(told.contains("another command works on it"), "{told}");
        ended(child, Signal::INT);
        done(&home, &server, first);
    }
    assert_eq!(clients(), before + 1);
    assert!(left(&home, "one-till") == ["one-till"] && left(&home, "rows") == ["rows.csv"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_was_cut_off_is_one_configuration() {
    let home = Home::new();
    let server = Server::start(&home);
    let administrator = server.api(&home).await.administrator().await;
    for (uploaded, signal) in (1..).zip(SIGNALS) {
        let text = DKGA04.replace("key_revision_no: 1", &format!("key_revision_no: {uploaded}"));
        let [data, digest, key] = administrator.files(&administrator.encrypt(text));
        let upload = ["configuration", "upload", "--data", &data, "--digest", &digest, "--key", &key];
        cut_off(&home, &server, &upload, 1, signal);
        let again = done(&home, &server, &upload);
        assert!(again.starts_with("uploaded before; this is that configuration"), "{again}");
        assert_eq!(count(&home, &server, &["configuration", "list"], "configurations/"), uploaded);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_was_cut_off_leaves_no_half_file() {
    let home = Home::new();
    let server = Server::start(&home);
    let export = ["audit", "export", &home.text("chain.jsonl")];
    for signal in SIGNALS {
        let before = fs::read(home.path("chain.jsonl")).ok();
        // Calls 1 and 2 tell how far it goes.
        cut_off(&home, &server, &export, 3, signal);
        assert_eq!(fs::read(home.path("chain.jsonl")).ok(), before, "as it was");
        assert_eq!(left(&home, "chain").len(), usize::from(before.is_some()));
        done(&home, &server, &export);
        done(&home, &server, &["audit", "verify", &home.text("chain.jsonl")]);
    }
    let export = ["ledger", "export", "--out", &home.text("rows.csv")];
    cut_off(&home, &server, &export, 1, Signal::INT);
    assert!(left(&home, "rows").is_empty());
    done(&home, &server, &export);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_was_cut_off_is_made_anew() {
    let home = Home::new();
    let _server = Server::start(&home);
    assert!(Command::new("mkfifo").arg(home.path("held")).status().unwrap().success());
    for signal in SIGNALS {
        let folder = format!("backup-{}", signal.as_raw());
        let backup = ["backup", "--settings", &home.text("vendkey.toml"), "--out", &home.text(&folder)];
        let mut command = home.command(&backup);
        let at = format!("backup-before-name={}", home.text("held"));
        let child = command.env("VENDKEY_HOLD_AT", at).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        // The copy is made, and has no name yet.
        let standing = busy::reached(&home).await;
        assert!(home.path(&folder).join("vendkey.db.unfinished").exists());
        ended(child.unwrap(), signal);
        drop(standing);
        assert_eq!(fs::read_dir(home.path(&folder)).unwrap().count(), 0, "no half file");
        assert!(home.vendkey(&backup).status.success());
        assert!(home.path(&folder).join("vendkey.db").exists());
    }
}

/// A backup mixes with none from before, and writes over nothing.
#[test]
fn a_backup_leaves_what_is_there() {
    let home = Home::new();
    let settings = home.text("vendkey.toml");
    let backup = |out: &str| {
        let output = home.vendkey(&["backup", "--settings", &settings, "--out", &home.text(out)]);
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(backup("backup").0, Some(0));
    for name in ["vendkey.db", "vendkey.db.checkpoint"] {
        let (folder, text) = (format!("there-{name}"), Uuid::now_v7().to_string());
        fs::create_dir(home.path(&folder)).unwrap();
        fs::write(home.path(&folder).join(name), &text).unwrap();
        let (code, told) = backup(&folder);
        assert_eq!(code, Some(73), "{told}");
        assert!(told.contains(name) && told.contains("name another folder"), "{told}");
        assert_eq!(fs::read_to_string(home.path(&folder).join(name)).unwrap(), text);
        assert_eq!(fs::read_dir(home.path(&folder)).unwrap().count(), 1);
    }
    // The folder is a file.
    fs::write(home.path("file"), "text").unwrap();
    let (code, told) = backup("file");
    assert_eq!(code, Some(73), "{told}");
    assert_eq!(fs::read_to_string(home.path("file")).unwrap(), "text");
}
