//! Who proves himself to whom: TLS 1.3 alone, certificates of clients, and certificates that change
//! while calls run.

use std::{
    fs,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::process::Signal;
use sha2::Digest as _;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use vendkey::api::v1::{
    ListClientsRequest, client_service_client::ClientServiceClient, token_service_client::TokenServiceClient,
};

use crate::harness::{
    Api, Authority, DKGA04, Home, OpensslServer, Server, Validity, openssl, reason, ten_kwh,
};

fn port(endpoint: &str) -> &str {
    endpoint.rsplit(':').next().unwrap()
}

/// Connects as a client that believes `authority`, and makes a call: with TLS 1.3 a client learns
/// only then that it was refused.
async fn reach(
    endpoint: &str,
    authority: &Certificate,
    identity: Option<&Identity>,
) -> Result<Channel, String> {
    let mut tls = ClientTlsConfig::new().ca_certificate(authority.clone());
    if let Some(identity) = identity {
        tls = tls.identity(identity.clone());
    }
    let endpoint = Endpoint::from_shared(format!("https://localhost:{}", port(endpoint))).unwrap();
    let channel = endpoint.tls_config(tls).unwrap().connect().await.map_err(|error| format!("{error:?}"))?;
    let called = HealthClient::new(channel.clone()).check(HealthCheckRequest::default()).await;
    called.map(|_| channel).map_err(|status| format!("{status:?}"))
}

/// The API over one connection as administrator and till.
fn both(home: &Home, channel: Channel) -> Api {
    Api { tokens: Api::over(channel.clone(), &home.till()).tokens, ..Api::over(channel, &home.credential()) }
}

/// Whether openssl's client comes through with these options, and what it says.
fn s_client(endpoint: &str, options: &[&str]) -> (bool, String) {
    let output = Command::new("openssl")
        .args(["s_client", "-connect", &format!("127.0.0.1:{}", port(endpoint)), "-servername", "localhost"])
        .args(options)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// A server with certificate `server` of a new authority, and `more` in its section `[server.tls]`.
pub fn served(home: &Home, more: &str) -> (Server, Authority) {
    let authority = Authority::new(home, "authority");
    authority.sign(home, "server", &Validity::Good);
    home.write_settings(&format!(
        "[server.tls]\ncertificate_file = 'server.pem'\nkey_file = 'server.key'\n{more}"
    ));
    (Server::start(home), authority)
}

/// Waits until the log says it.
pub fn logged(home: &Home, text: &str) {
    let give_up = Instant::now() + Duration::from_secs(60);
    while !home.log().contains(text) {
        assert!(Instant::now() < give_up, "the log does not say {text:?}:\n{}", home.log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[tokio::test]
async fn nothing_but_tls_1_3() {
    let home = Home::new();
    let (server, authority) = served(&home, "");
    let ca = home.text(&authority.file());
    let (reached, said) = s_client(&server.endpoint, &["-tls1_3", "-alpn", "h2", "-CAfile", &ca]);
    assert!(reached && said.contains("ALPN protocol: h2") && said.contains("Verification: OK"), "{said}");
    let (reached, said) = s_client(&server.endpoint, &["-tls1_2"]);
    assert!(!reached && said.contains("alert protocol version"), "{said}");
    let (reached, said) = s_client(&server.endpoint, &["-alpn", "spdy/3"]);
    assert!(!reached && said.contains("no application protocol"), "{said}");
    // A session that is resumed proves nothing anew.
    assert!(!s_client(&server.endpoint, &["-alpn", "h2"]).1.contains("New Session Ticket"));

    reach(&server.endpoint, &authority.certificate(), None).await.unwrap();
    let other = Authority::new(&home, "other");
    reach(&server.endpoint, &other.certificate(), None).await.unwrap_err();
}

#[test]
fn our_own_client_speaks_nothing_older() {
    let home = Home::new();
    let authority = Authority::new(&home, "authority");
    authority.sign(&home, "server", &Validity::Good);
    let old = OpensslServer::start(&home, &["-tls1_2", "-alpn", "h2"]);
    let mut list = home
        .command(&["configuration", "list", "--endpoint", &format!("https://localhost:{}", old.port)])
        .args(["--ca", &home.text(&authority.file())])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Where they agree on a version, it waits for an answer for ever.
    let give_up = Instant::now() + Duration::from_secs(60);
    while list.try_wait().unwrap().is_none() && Instant::now() < give_up {
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = list.kill();
    let refused = list.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("the other side does not speak TLS 1.3"), "{said}");
    assert_eq!(refused.status.code(), Some(69));
}

#[tokio::test]
async fn clients_must_prove_themselves_where_that_is_required() {
    let home = Home::new();
    let clients = Authority::new(&home, "clients");
    let others = Authority::new(&home, "others");
    let more = "client_auth = 'required'\nclient_ca_file = 'clients.pem'\n";
    let (server, authority) = served(&home, more);
    let ca = authority.certificate();
    let good = clients.sign(&home, "till", &Validity::Good);
    for (what, identity) in [
        ("none", None),
        ("another authority's", Some(others.sign(&home, "stranger", &Validity::Good))),
        ("an expired one", Some(clients.sign(&home, "old", &Validity::Expired))),
        ("the server's own", Some(authority.sign(&home, "inside", &Validity::Good))),
    ] {
        let reached = reach(&server.endpoint, &ca, identity.as_ref()).await;
        assert!(reached.is_err(), "{what} was let in");
    }
    let channel = reach(&server.endpoint, &ca, Some(&good)).await.unwrap();
    let mut api = both(&home, channel);
    let configuration = api.configuration(DKGA04).await;
    api.issue(ten_kwh(&configuration)).await.unwrap();

    // The identity is that of the key pair.
    let public = openssl(&["pkey", "-in", &home.text("till.key"), "-pubout", "-outform", "DER"], b"");
    logged(&home, &hex::encode(sha2::Sha256::digest(public)));
    logged(&home, "urn:vendkey-test:till");

    let endpoint = format!("https://localhost:{}", port(&server.endpoint));
    let list = |more: &[&str]| {
        let ca = home.text("authority.pem");
        let mut arguments = vec!["configuration", "list", "--endpoint", &endpoint, "--ca", &ca];
        arguments.extend_from_slice(more);
        home.vendkey(&arguments)
    };
    let (certificate, key) = (home.text("till.pem"), home.text("till.key"));
    let listed = list(&["--client-certificate", &certificate, "--client-key", &key]);
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    assert!(!list(&[]).status.success());
    assert!(!list(&["--client-certificate", &certificate]).status.success());
}

#[tokio::test]
async fn a_connection_ends_with_the_certificate_that_opened_it() {
    let home = Home::new();
    let clients = Authority::new(&home, "clients");
    let (server, authority) = served(&home, "client_auth = 'required'\nclient_ca_file = 'clients.pem'\n");
    let identity = clients.sign(&home, "till", &Validity::Seconds(15));
    let channel = reach(&server.endpoint, &authority.certificate(), Some(&identity)).await.unwrap();
    let mut open = HealthClient::new(channel);
    let give_up = Instant::now() + Duration::from_secs(60);
    // The client connects again by itself, and is refused.
    while open.check(HealthCheckRequest::default()).await.is_ok() {
        assert!(Instant::now() < give_up, "the connection goes on with an expired certificate");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_certificate_stands_for_a_credential() {
    let home = Home::new();
    let clients = Authority::new(&home, "clients");
    let (server, authority) = served(&home, "client_auth = 'optional'\nclient_ca_file = 'clients.pem'\n");
    let ca = authority.certificate();
    let identity = clients.sign(&home, "till", &Validity::Good);
    let plain = reach(&server.endpoint, &ca, None).await.unwrap();
    let configuration = both(&home, plain.clone()).configuration(DKGA04).await;

    let endpoint = format!("https://localhost:{}", port(&server.endpoint));
    let run = |arguments: &[&str]| {
        let mut command = home.command(arguments);
        let done =
            command.env("VENDKEY_ENDPOINT", &endpoint).env("VENDKEY_CA", home.path("authority.pem")).output();
        let done = done.unwrap();
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    };
    let till: serde_json::Value =
        serde_json::from_str(&run(&["client", "create", "till 9", "--preset", "till", "--json"])).unwrap();
    let issue = async |identity: Option<&Identity>| {
        let channel = reach(&server.endpoint, &ca, identity).await.unwrap();
        TokenServiceClient::new(channel).issue_token(ten_kwh(&configuration)).await
    };
    assert_eq!(reason(&issue(Some(&identity)).await.unwrap_err()), "CREDENTIAL_REFUSED");
    let name = "uri:urn:vendkey-test:till";
    run(&["credential", "create", till["name"].as_str().unwrap(), "--certificate", name]);
    // What was refused a moment ago is asked for again.
    issue(Some(&identity)).await.unwrap();
    assert_eq!(reason(&issue(None).await.unwrap_err()), "CREDENTIAL_MISSING");

    // The command needs no credential beside it, and the certificate gives no more than the client
    // has.
    let listed = home
        .command(&["configuration", "list", "--endpoint", &endpoint, "--ca", &home.text("authority.pem")])
        .args(["--client-certificate", &home.text("till.pem"), "--client-key", &home.text("till.key")])
        .env_remove("VENDKEY_CREDENTIAL_FILE")
        .output()
        .unwrap();
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let channel = reach(&server.endpoint, &ca, Some(&identity)).await.unwrap();
    let denied = ClientServiceClient::new(channel).list_clients(ListClientsRequest::default()).await;
    assert_eq!(reason(&denied.unwrap_err()), "PERMISSION_DENIED");
    run(&["credential", "disable", &format!("credentials/{name}")]);
    let give_up = Instant::now() + Duration::from_secs(60);
    while issue(Some(&identity)).await.is_ok() {
        assert!(Instant::now() < give_up, "a disabled certificate is let in");
    }
}

#[tokio::test]
async fn clients_may_prove_themselves_where_that_is_optional() {
    let home = Home::new();
    let clients = Authority::new(&home, "clients");
    let more = "client_auth = 'optional'\nclient_ca_file = 'clients.pem'\n";
    let (server, authority) = served(&home, more);
    let ca = authority.certificate();
    reach(&server.endpoint, &ca, None).await.unwrap();
    let good = clients.sign(&home, "till", &Validity::Good);
    reach(&server.endpoint, &ca, Some(&good)).await.unwrap();
    let stranger = Authority::new(&home, "others").sign(&home, "stranger", &Validity::Good);
    reach(&server.endpoint, &ca, Some(&stranger)).await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_new_certificate_is_taken_up_under_load() {
    let home = Home::new();
    let (server, authority) = served(&home, "");
    let ca = authority.certificate();
    let channel = reach(&server.endpoint, &ca, None).await.unwrap();
    let mut api = both(&home, channel);
    let configuration = api.configuration(DKGA04).await;

    let enough = Arc::new(AtomicBool::new(false));
    let counts = [Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0))];
    let calling = tokio::spawn({
        let (enough, configuration, count) = (enough.clone(), configuration.clone(), counts[0].clone());
        async move {
            while !enough.load(Ordering::Relaxed) {
                api.issue(ten_kwh(&configuration)).await.unwrap();
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let connecting = tokio::spawn({
        let (enough, endpoint, ca, count) =
            (enough.clone(), server.endpoint.clone(), ca.clone(), counts[1].clone());
        async move {
            while !enough.load(Ordering::Relaxed) {
                reach(&endpoint, &ca, None).await.unwrap();
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let give_up = Instant::now() + Duration::from_secs(60);
    let wait = |what: &str| {
        assert!(Instant::now() < give_up, "{what}");
        tokio::time::sleep(Duration::from_millis(20))
    };
    let more_calls = async || {
        let before = counts.each_ref().map(|count| count.load(Ordering::Relaxed));
        while counts.iter().zip(before).any(|(count, before)| count.load(Ordering::Relaxed) < before + 3) {
            wait("a call failed or hung").await;
        }
    };
    more_calls().await;
    let before = serial(&server.endpoint);
    authority.sign(&home, "server", &Validity::Good);
    server.signal(Signal::HUP);
    while serial(&server.endpoint) == before {
        wait("the old certificate is served").await;
    }
    more_calls().await;
    enough.store(true, Ordering::Relaxed);
    calling.await.unwrap();
    connecting.await.unwrap();
}

/// The serial number of the certificate that is served.
fn serial(endpoint: &str) -> String {
    let (_, said) = s_client(endpoint, &["-alpn", "h2"]);
    let from = said.find("-----BEGIN").unwrap();
    String::from_utf8(openssl(&["x509", "-noout", "-serial"], &said.as_bytes()[from..])).unwrap()
}

#[tokio::test]
async fn files_that_cannot_be_used_change_nothing() {
    let home = Home::new();
    let (server, authority) = served(&home, "");
    let ca = authority.certificate();
    let good = fs::read(home.path("server.pem")).unwrap();
    let told = || home.log().matches("the certificate stays as it was").count();
    let expired = Authority::new(&home, "other");
    expired.sign(&home, "expired", &Validity::Expired);
    for (round, bad) in [b"no certificate".to_vec(), fs::read(home.path("expired.pem")).unwrap(), Vec::new()]
        .into_iter()
        .enumerate()
    {
        fs::write(home.path("server.pem"), bad).unwrap();
        server.signal(Signal::HUP);
        let give_up = Instant::now() + Duration::from_secs(60);
        while told() <= round {
            assert!(Instant::now() < give_up, "the server said nothing of bad file {round}");
            std::thread::sleep(Duration::from_millis(20));
        }
        reach(&server.endpoint, &ca, None).await.unwrap();
    }
    // Without a signal: the files are looked at.
    fs::write(home.path("server.pem"), good).unwrap();
    logged(&home, "the certificate of the files as they are now");
    reach(&server.endpoint, &ca, None).await.unwrap();
}

#[tokio::test]
async fn the_authority_of_clients_may_change_too() {
    let home = Home::new();
    let old = Authority::new(&home, "clients");
    let more = "client_auth = 'required'\nclient_ca_file = 'clients.pem'\n";
    let (server, authority) = served(&home, more);
    let ca = authority.certificate();
    let identity = old.sign(&home, "till", &Validity::Good);
    let mut open = HealthClient::new(reach(&server.endpoint, &ca, Some(&identity)).await.unwrap());
    let new = Authority::new(&home, "newer");
    let newer = new.sign(&home, "newer-till", &Validity::Good);
    fs::copy(home.path("newer.pem"), home.path("clients.pem")).unwrap();
    server.signal(Signal::HUP);
    let give_up = Instant::now() + Duration::from_secs(60);
    while reach(&server.endpoint, &ca, Some(&newer)).await.is_err() {
        assert!(Instant::now() < give_up, "the new authority is not believed");
    }
    reach(&server.endpoint, &ca, Some(&identity)).await.unwrap_err();
    // What was open goes on.
    open.check(HealthCheckRequest::default()).await.unwrap();
}
