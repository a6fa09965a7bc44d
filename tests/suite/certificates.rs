//! Certificates that cannot be used, as both sides say it: in words, with what to do next.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Output};

use crate::{
    harness::{Authority, Home, OpensslServer, Server, Validity, openssl},
    tls::logged,
};

/// The exit codes of docs/operations.md.
const USAGE: i32 = 64;
const DATA: i32 = 65;
const UNAVAILABLE: i32 = 69;
const NOT_ALLOWED: i32 = 77;
const SETTINGS: i32 = 78;

const LOCALHOST: &str = "subjectAltName=DNS:localhost,IP:127.0.0.1";

fn port(endpoint: &str) -> &str {
    endpoint.rsplit(':').next().unwrap()
}

/// Lists the configurations of the server at `endpoint`.
fn list(home: &Home, endpoint: &str, options: &[(&str, &str)]) -> Output {
    let mut command = home.command(&["configuration", "list", "--endpoint", endpoint]);
    for (option, file) in options {
        command.args([*option, &home.text(file)]);
    }
    command.output().unwrap()
}

/// Sees to it that a command ended with this code, said these words, and told the endpoint.
fn refused(output: &Output, code: i32, words: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for words in words {
        assert!(said.contains(words), "{words:?} is not in: {said}");
    }
    // One sentence for people: no names of types, no chain of causes.
    for words in ["transport error", "invalid peer certificate", " (Unknown)", "Context"] {
        assert!(!said.contains(words), "{words:?} is in: {said}");
    }
}

/// A server of which the main listener is in order, and that for administration has this pair.
fn served(home: &Home, pair: &str) -> (Server, String) {
    home.write_settings(&format!(
        "[server.tls]\ncertificate_file = 'good.pem'\nkey_file = 'good.key'\n\
         [administration]\nlisten = '127.0.0.1:0'\n\
         [administration.tls]\ncertificate_file = '{pair}.pem'\nkey_file = '{pair}.key'\n"
    ));
    let server = Server::start(home);
    let endpoint = format!("https://localhost:{}", port(server.administration.as_ref().unwrap()));
    (server, endpoint)
}

#[test]
fn a_server_that_is_not_believed_is_told_with_the_reason() {
    let home = Home::new();
    let authority = Authority::new(&home, "authority");
    Authority::new(&home, "other");
    authority.sign(&home, "good", &Validity::Good);
    let sign = |name: &str, validity: &Validity, more: &[&str]| {
        authority.sign_as(&home, name, validity, more);
    };
    sign("expired", &Validity::Expired, &[LOCALHOST]);
    sign("not-yet", &Validity::NotYet, &[LOCALHOST]);
    sign("nameless", &Validity::Good, &["basicConstraints=CA:FALSE"]);
    sign("other-name", &Validity::Good, &["subjectAltName=DNS:tills.example,IP:192.0.2.7"]);
    sign("authority-itself", &Validity::Good, &[LOCALHOST, "basicConstraints=critical,CA:TRUE"]);
    sign("client", &Validity::Good, &[LOCALHOST, "extendedKeyUsage=clientAuth"]);
    let words: [(&str, &[&str]); 6] = [
        ("expired", &["has expired: it ended on 2020-02-01T00:00:00Z", "the clock here says 20", "renewed"]),
        ("not-yet", &["not valid yet: it begins on 2048-12-31T00:00:00Z", "set the clock right"]),
        ("nameless", &["no name in subjectAltName", "localhost"]),
        ("other-name", &["for tills.example, 192.0.2.7, not for localhost", "--endpoint"]),
        ("authority-itself", &["CA:TRUE", "CA:FALSE"]),
        ("client", &["not for servers", "serverAuth"]),
    ];
    for (name, words) in words {
        let (server, endpoint) = served(&home, name);
        let output = list(&home, &endpoint, &[("--ca", "authority.pem")]);
        refused(&output, UNAVAILABLE, words);
        refused(&output, UNAVAILABLE, &[&format!("no connection to {endpoint}: ")]);
        assert!(server.stop().success());
    }

    let (_server, endpoint) = served(&home, "good");
    let unknown = list(&home, &endpoint, &[]);
    refused(&unknown, UNAVAILABLE, &["an authority that is not known here", "--ca (or VENDKEY_CA)"]);
    let other = list(&home, &endpoint, &[("--ca", "other.pem")]);
    refused(&other, UNAVAILABLE, &["an authority that is not known here", "other.pem does not hold it"]);
    // The authority lost its key and was made anew under its name.
    let made = ["req", "-x509", "-subj", "/CN=authority", "-newkey", "ec", "-pkeyopt"];
    let (key, remade) = (home.text("remade.key"), home.text("remade.pem"));
    let more = ["ec_paramgen_curve:P-256", "-nodes", "-keyout", &key, "-out", &remade];
    openssl(&[&made[..], &more[..]].concat(), b"");
    let remade = list(&home, &endpoint, &[("--ca", "remade.pem")]);
    refused(&remade, UNAVAILABLE, &["remade.pem", "ask whoever runs the server"]);
    // By an address that the certificate does not hold.
    let by_address = endpoint.replace("localhost", "127.0.0.1");
    let output = list(&home, &by_address, &[("--ca", "authority.pem")]);
    refused(&output, UNAVAILABLE, &["for localhost, not for 127.0.0.1"]);
    assert!(list(&home, &endpoint, &[("--ca", "authority.pem")]).status.success());
}

#[test]
fn what_people_make_with_one_command_of_openssl_is_told_too() {
    let home = Home::new();
    Authority::new(&home, "authority").sign(&home, "good", &Validity::Good);
    let (key, certificate) = (home.text("own.key"), home.text("own.pem"));
    let made =
        ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-addext", LOCALHOST];
    openssl(&[&made[..], &["-keyout", &key, "-out", &certificate]].concat(), b"");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let (_server, endpoint) = served(&home, "own");
    refused(&list(&home, &endpoint, &[("--ca", "own.pem")]), UNAVAILABLE, &["CA:TRUE", "CA:FALSE"]);
}

#[test]
fn a_client_that_is_not_believed_is_told_with_the_reason() {
    let home = Home::new();
    let authority = Authority::new(&home, "authority");
    authority.sign(&home, "server", &Validity::Good);
    let clients = Authority::new(&home, "clients");
    Authority::new(&home, "others").sign(&home, "stranger", &Validity::Good);
    clients.sign(&home, "old", &Validity::Expired);
    clients.sign(&home, "new", &Validity::NotYet);
    clients.sign(&home, "good", &Validity::Good);
    clients.sign_as(&home, "ca", &Validity::Good, &["basicConstraints=critical,CA:TRUE"]);
    clients.sign_as(&home, "other-use", &Validity::Good, &["extendedKeyUsage=serverAuth"]);
    home.write_settings(
        "[server.tls]\ncertificate_file = 'server.pem'\nkey_file = 'server.key'\n\
         client_auth = 'required'\nclient_ca_file = 'clients.pem'\n",
    );
    let server = Server::start(&home);
    let endpoint = format!("https://localhost:{}", port(&server.endpoint));
    let by = |name: &str| {
        let (certificate, key) = (format!("{name}.pem"), format!("{name}.key"));
        let own = [("--client-certificate", certificate.as_str()), ("--client-key", &key)];
        list(&home, &endpoint, &[&[("--ca", "authority.pem")], &own[..]].concat())
    };
    // What the server says comes when the handshake is over for us: it must not be lost by chance.
    for _ in 0..8 {
        let none = list(&home, &endpoint, &[("--ca", "authority.pem")]);
        refused(&none, NOT_ALLOWED, &["nobody in without a certificate", "--client-certificate"]);
        refused(&by("old"), NOT_ALLOWED, &["old.pem as out of its time", "to 2020-02-01T00:00:00Z"]);
        refused(&by("new"), NOT_ALLOWED, &["new.pem as out of its time", "from 2048-12-31T00:00:00Z"]);
        refused(&by("stranger"), NOT_ALLOWED, &["authority of the certificate", "client_ca_file"]);
        refused(&by("ca"), NOT_ALLOWED, &["refuses the certificate", "CA:TRUE"]);
        refused(&by("other-use"), NOT_ALLOWED, &["refuses the certificate", "made for a client"]);
    }
    assert!(by("good").status.success());
    // Whoever runs the server reads each of them too, and not as often as it comes.
    let log = home.log();
    let told: Vec<&str> = log.lines().filter(|line| line.contains(" WARN ")).collect();
    for words in [
        "a client has no certificate",
        "a client's certificate is refused: it ended on 2020-02-01T00:00:00Z",
        "refused: it begins on 2048-12-31T00:00:00Z",
        "refused: it is of an authority that client_ca_file does not hold",
        "refused: it is an authority's own (CA:TRUE)",
        "refused: it is not for clients: its extendedKeyUsage lacks clientAuth",
    ] {
        let lines =
            told.iter().filter(|line| line.contains(words) && line.contains("listener=\"main\"")).count();
        assert!((1..8).contains(&lines), "{words:?} is told {lines} times: {log}");
    }
    // The other side may be the one that does not believe.
    refused(&list(&home, &endpoint, &[("--ca", "clients.pem")]), UNAVAILABLE, &["not known here"]);
    logged(&home, "a client does not believe the server's certificate (UnknownCA)");
    // A file is made when the server has answered; TLS 1.3 tells a refusal with the first call.
    let secret = home.text("other-till");
    for name in ["old", "stranger"] {
        let (certificate, key) = (home.text(&format!("{name}.pem")), home.text(&format!("{name}.key")));
        for command in
            [&["client", "create", "a till", "--preset", "till"][..], &["credential", "create", "x"]]
        {
            let output = home
                .command(&[command, &["--out", &secret, "--endpoint", &endpoint]].concat())
                .args(["--ca", &home.text("authority.pem"), "--client-certificate", &certificate])
                .args(["--client-key", &key])
                .output()
                .unwrap();
            refused(&output, NOT_ALLOWED, &["certificate"]);
            let left = fs::read_dir(home.path("")).unwrap().map(|entry| entry.unwrap().file_name());
            let left: Vec<_> = left.filter(|name| name.to_string_lossy().starts_with("other-till")).collect();
            assert!(left.is_empty(), "{left:?}");
        }
    }
    let json = home
        .command(&["configuration", "list", "--json", "--endpoint", &endpoint])
        .args(["--ca", &home.text("authority.pem")])
        .output()
        .unwrap();
    let said: serde_json::Value = serde_json::from_slice(&json.stderr).unwrap();
    assert!(said["error"]["message"].as_str().unwrap().contains("--client-certificate"), "{said}");
    assert_eq!(json.status.code(), Some(NOT_ALLOWED));
}

#[test]
fn tls_and_none_are_not_taken_for_each_other() {
    let home = Home::new();
    let plain = Server::start(&home);
    let endpoint = plain.endpoint.replace("http://127.0.0.1", "https://localhost");
    refused(&list(&home, &endpoint, &[]), USAGE, &["speaks no TLS", "http://"]);
    assert!(plain.stop().success());

    Authority::new(&home, "authority").sign(&home, "server", &Validity::Good);
    home.write_settings("[server.tls]\ncertificate_file = 'server.pem'\nkey_file = 'server.key'\n");
    let server = Server::start(&home);
    let endpoint = format!("http://localhost:{}", port(&server.endpoint));
    refused(&list(&home, &endpoint, &[]), USAGE, &["speaks TLS", "https://"]);

    // Any other server with TLS.
    let other = OpensslServer::start(&home, &[]);
    let silent = list(&home, &format!("http://localhost:{}", other.port), &[]);
    refused(&silent, UNAVAILABLE, &["closed the connection before it said anything", "https://"]);
}

#[test]
fn files_that_a_command_cannot_use_are_told_by_what_they_are() {
    let home = Home::new();
    let authority = Authority::new(&home, "authority");
    authority.sign(&home, "one", &Validity::Good);
    authority.sign(&home, "two", &Validity::Good);
    fs::write(home.path("empty"), "").unwrap();
    let endpoint = "https://localhost:1";
    let with =
        |options: &[(&str, &str)], words: &[&str]| refused(&list(&home, endpoint, options), DATA, words);
    with(&[("--ca", "one.key")], &["--ca", "one.key", "a private key"]);
    with(&[("--ca", "empty")], &["--ca", "an empty file"]);
    let own = |certificate, key| [("--client-certificate", certificate), ("--client-key", key)];
    with(&own("one.pem", "two.key"), &["--client-key", "does not fit the certificate"]);
    with(&own("one.pem", "one.pem"), &["--client-key", "it is a certificate"]);
    with(&own("one.key", "one.key"), &["--client-certificate", "a private key"]);
    for endpoint in ["localhost:7443", "grpc://localhost:7443", "https://"] {
        refused(&list(&home, endpoint, &[]), USAGE, &["expected http://HOST:PORT or https://HOST:PORT"]);
    }
}

/// What `serve --check` and `serve` say with these files of TLS; both must end alike.
fn checked(home: &Home, certificate: &str, key: &str, more: &str) -> String {
    home.write_settings(&format!(
        "[server.tls]\ncertificate_file = '{certificate}'\nkey_file = '{key}'\n{more}"
    ));
    let settings = home.text("vendkey.toml");
    let mut both = [&["serve", "--check", "--settings", &settings][..], &["serve", "--settings", &settings]]
        .map(|arguments| {
            let output = home.vendkey(arguments);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(SETTINGS), "{arguments:?} {certificate} {key}: {said}");
            said
        })
        .into_iter();
    let (check, serve) = (both.next().unwrap(), both.next().unwrap());
    for line in check.lines().filter(|line| line.starts_with("  ")) {
        assert!(line.starts_with("  server.tls."), "{line}");
        assert!(serve.contains(line.trim()), "serve does not say {line}: {serve}");
    }
    check
}

#[test]
fn a_server_that_nobody_could_believe_does_not_start() {
    let home = Home::new();
    let authority = Authority::new(&home, "authority");
    authority.sign(&home, "good", &Validity::Good);
    authority.sign(&home, "other", &Validity::Good);
    authority.sign(&home, "expired", &Validity::Expired);
    authority.sign_as(&home, "ca", &Validity::Good, &[LOCALHOST, "basicConstraints=critical,CA:TRUE"]);
    authority.sign_as(&home, "client", &Validity::Good, &[LOCALHOST, "extendedKeyUsage=clientAuth"]);
    let (good, key) = (home.text("good.pem"), home.text("good.key"));
    openssl(
        &[
            "pkcs12",
            "-export",
            "-in",
            &good,
            "-inkey",
            &key,
            "-passout",
            "pass:x",
            "-out",
            &home.text("good.p12"),
        ],
        b"",
    );
    openssl(&["pkey", "-in", &key, "-aes256", "-passout", "pass:x", "-out", &home.text("shut.key")], b"");
    let [good, other] =
        ["good.pem", "authority.pem"].map(|file| fs::read_to_string(home.path(file)).unwrap());
    fs::write(home.path("order.pem"), format!("{other}{good}")).unwrap();
    for (certificate, key, words) in [
        ("expired.pem", "expired.key", "it ended on 2020-02-01T00:00:00Z; renew it"),
        ("ca.pem", "ca.key", "CA:TRUE"),
        ("client.pem", "client.key", "lacks serverAuth"),
        ("good.pem", "other.key", "does not fit the certificate"),
        ("order.pem", "good.key", "fits certificate 2 of the file"),
        ("good.key", "good.pem", "the two are swapped"),
        ("good.p12", "good.key", "openssl pkcs12"),
        ("good.pem", "good.p12", "openssl pkcs12"),
        ("good.pem", "shut.key", "passphrase"),
    ] {
        let said = checked(&home, certificate, key, "");
        assert!(said.contains(words), "{certificate} {key}: {said}");
    }
    // Each file by itself, all at once.
    let more = "client_auth = 'optional'\nclient_ca_file = 'good.key'\n";
    let said = checked(&home, "good.p12", "shut.key", more);
    for words in [
        "server.tls.certificate_file: ",
        "server.tls.key_file: ",
        "server.tls.client_ca_file: ",
        "good.key: no certificate",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[test]
fn what_passes_or_hurts_one_listener_alone_is_a_warning() {
    let home = Home::new();
    let authority = Authority::new(&home, "authority");
    authority.sign(&home, "good", &Validity::Good);
    authority.sign(&home, "expired", &Validity::Expired);
    authority.sign(&home, "not-yet", &Validity::NotYet);
    authority.sign_as(&home, "nameless", &Validity::Good, &["basicConstraints=CA:FALSE"]);
    let settings = home.text("vendkey.toml");
    for (pair, words) in [
        ("expired", "administration.tls.certificate_file: "),
        ("not-yet", "begins on 2048-12-31T00:00:00Z"),
        ("nameless", "no name in subjectAltName"),
    ] {
        let (server, _) = served(&home, pair);
        assert!(home.log().contains(words), "{pair}");
        assert!(server.stop().success());
        let check = home.vendkey(&["serve", "--check", "--settings", &settings]);
        let said = String::from_utf8_lossy(&check.stderr);
        assert!(
            check.status.success() && said.contains("warning: ") && said.contains(words),
            "{pair}: {said}"
        );
    }
    // Whoever sets up learns it before they start.
    home.write_settings("[server.tls]\ncertificate_file = 'expired.pem'\nkey_file = 'good.key'\n");
    let setup = home.vendkey(&["setup", "--settings", &settings]);
    let said = String::from_utf8_lossy(&setup.stderr);
    assert!(setup.status.success() && said.contains("warning: server.tls.key_file: "), "{said}");
}
