//! Certificates of clients that their authority has taken back.

use std::{fs, process::Output};

use rustix::process::Signal;

use crate::{
    harness::{Authority, Home, Server, Validity, openssl},
    tls::{logged, served},
};

const LATER: &str = "20491231000000Z";
const CLIENTS: &str =
    "client_auth = 'required'\nclient_ca_file = 'clients.pem'\nclient_crl_file = 'clients.crl'\n";

fn by(home: &Home, server: &Server, name: &str) -> Output {
    let port = server.endpoint.rsplit(':').next().unwrap();
    let endpoint = format!("https://localhost:{port}");
    home.command(&["configuration", "list", "--endpoint", &endpoint, "--ca", &home.text("authority.pem")])
        .args(["--client-certificate", &home.text(&format!("{name}.pem"))])
        .args(["--client-key", &home.text(&format!("{name}.key"))])
        .output()
        .unwrap()
}

fn refused(output: &Output, words: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(77), "{said}");
    assert!(said.contains(words), "{said}");
}

/// Lets the server take its files up anew, and waits until it has.
fn taken_up(home: &Home, server: &Server) {
    let before = home.log().matches("certificate of the files as they are now").count();
    server.signal(Signal::HUP);
    while home.log().matches("certificate of the files as they are now").count() == before {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn a_certificate_that_was_taken_back_is_refused_from_then_on() {
    let home = Home::new();
    let clients = Authority::new(&home, "clients");
    for name in ["one", "other"] {
        clients.sign(&home, name, &Validity::Good);
    }
    clients.revocation_list(&home, "clients.crl", LATER);
    let (server, authority) = served(&home, CLIENTS);
    for name in ["one", "other"] {
        assert!(by(&home, &server, name).status.success(), "{name}");
    }
    clients.revoke(&home, "one");
    clients.revocation_list(&home, "clients.crl", LATER);
    taken_up(&home, &server);
    refused(&by(&home, &server, "one"), "its authority has taken it back");
    logged(&home, "a client's certificate is refused: its authority has taken it back (client_crl_file)");
    assert!(by(&home, &server, "other").status.success());

    // An old list, and one of another authority, let nobody in; and say why.
    clients.revocation_list(&home, "clients.crl", "20200201000000Z");
    taken_up(&home, &server);
    refused(&by(&home, &server, "other"), "the server");
    logged(&home, "the list of its authority in client_crl_file ended on 2020-02-01T00:00:00Z");
    authority.revocation_list(&home, "clients.crl", LATER);
    taken_up(&home, &server);
    refused(&by(&home, &server, "other"), "the server");
    logged(&home, "client_crl_file holds no list of its authority");

    // Half a file changes nothing; the one of before goes on.
    clients.revocation_list(&home, "clients.crl", LATER);
    taken_up(&home, &server);
    fs::write(home.path("clients.crl"), "-----BEGIN X509 CRL-----\nMIIB\n").unwrap();
    server.signal(Signal::HUP);
    logged(&home, "client_crl_file: ");
    assert!(by(&home, &server, "other").status.success());
    refused(&by(&home, &server, "one"), "its authority has taken it back");
}

#[test]
fn what_is_no_list_is_told_by_what_it_is() {
    let home = Home::new();
    let clients = Authority::new(&home, "clients");
    clients.sign(&home, "one", &Validity::Good);
    clients.revocation_list(&home, "clients.crl", LATER);
    let (server, _) = served(&home, CLIENTS);
    assert!(server.stop().success());
    let settings = home.text("vendkey.toml");
    let check = || {
        let output = home.vendkey(&["serve", "--check", "--settings", &settings]);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(check(), (Some(0), String::new()));
    let good = fs::read(home.path("clients.crl")).unwrap();
    fs::write(home.path("clients.crl"), openssl(&["crl", "-outform", "DER"], &good)).unwrap();
    assert_eq!(check(), (Some(0), String::new()), "DER");
    for (content, words) in [
        (fs::read(home.path("one.pem")).unwrap(), "no revocation list: it is a certificate"),
        (fs::read(home.path("one.key")).unwrap(), "no revocation list: it is a private key"),
        (Vec::new(), "no revocation list: it is empty"),
    ] {
        fs::write(home.path("clients.crl"), content).unwrap();
        let (code, said) = check();
        assert!(
            code == Some(78) && said.contains("server.tls.client_crl_file: ") && said.contains(words),
            "{said}"
        );
    }
    clients.revocation_list(&home, "clients.crl", "20200201000000Z");
    let (code, said) = check();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("a list ended on 2020-02-01T00:00:00Z, so that no client"), "{said}");
    // Lists of nobody's certificates.
    home.write_settings("[server.tls]\ncertificate_file = 'server.pem'\nkey_file = 'server.key'\nclient_crl_file = 'clients.crl'\n");
    let (code, said) = check();
    assert!(code == Some(78) && said.contains("server.tls.client_crl_file: takes back"), "{said}");
}
