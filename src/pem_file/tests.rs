//! Files as people have them, made by openssl.

use std::{path::PathBuf, process::Command};

use super::*;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn openssl(&self, arguments: &str) {
        let output =
            Command::new("openssl").args(arguments.split(' ')).current_dir(&self.0).output().unwrap();
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// A pair `NAME.pem` and `NAME.key`.
    fn pair(&self, name: &str, more: &str) {
        self.openssl(&format!(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=x \
             -keyout {name}.key -out {name}.pem {more}"
        ));
    }

    fn read(&self, name: &str) -> (CertificateDer<'static>, CertificateFacts) {
        let mut chain = certificates(&self.path(&format!("{name}.pem"))).unwrap();
        let facts = CertificateFacts::from_der(&chain[0]).unwrap();
        (chain.remove(0), facts)
    }
}

const LEAF: &str = "-addext basicConstraints=critical,CA:FALSE \
    -addext subjectAltName=DNS:a.example,IP:192.0.2.7,IP:2001:db8::7";

#[test]
fn what_stands_in_the_place_of_another_is_told() {
    let folder = Folder::new();
    folder.pair("good", LEAF);
    folder.openssl("req -new -key good.key -subj /CN=x -out request.pem");
    folder.openssl("pkey -in good.key -pubout -out public.pem");
    folder.openssl("x509 -in good.pem -outform DER -out certificate.der");
    folder.openssl("x509 -in good.pem -trustout -out trusted.pem");
    folder.openssl("crl2pkcs7 -nocrl -certfile good.pem -out good.p7b");
    folder.openssl("pkcs12 -export -in good.pem -inkey good.key -passout pass:x -out good.p12");
    folder.openssl("pkey -in good.key -aes256 -passout pass:x -out pkcs8.key");
    folder.openssl("ec -in good.key -aes256 -passout pass:x -out old.key");
    folder.openssl("pkey -in good.key -outform DER -out key.der");
    fs::write(folder.path("empty"), "\n").unwrap();
    fs::write(folder.path("text"), "Dear Asha,\nthe certificate comes tomorrow.\n").unwrap();
    let whole = fs::read_to_string(folder.path("good.pem")).unwrap();
    fs::write(folder.path("cut.pem"), &whole[..whole.len() / 2]).unwrap();
    let utf16: Vec<u8> = whole.encode_utf16().flat_map(u16::to_le_bytes).collect();
    fs::write(folder.path("utf16.pem"), [&[0xff, 0xfe][..], &utf16].concat()).unwrap();
    let key = fs::read_to_string(folder.path("good.key")).unwrap();
    fs::write(folder.path("both"), format!("{key}{whole}")).unwrap();

    for name in ["good.pem", "both"] {
        assert_eq!(certificates(&folder.path(name)).unwrap().len(), 1);
    }
    for name in ["good.key", "both"] {
        private_key(&folder.path(name)).unwrap();
    }
    for (name, words) in [
        ("request.pem", "a request for a certificate"),
        ("public.pem", "a public key"),
        ("certificate.der", "openssl x509 -in"),
        ("trusted.pem", "openssl x509 -in"),
        ("utf16.pem", "openssl x509 -in"),
        ("good.p7b", "openssl pkcs7"),
        ("good.p12", "openssl pkcs12 -in FILE -nokeys"),
        ("good.key", "a private key (PKCS#8): the certificate belongs here"),
        ("pkcs8.key", "the certificate belongs here"),
        ("empty", "an empty file"),
        ("text", "a text of no known form"),
        ("cut.pem", "its END line is missing"),
        ("missing", "cannot be read"),
    ] {
        let said = certificates(&folder.path(name)).unwrap_err().to_string();
        assert!(said.contains(words), "{name}: {said}");
    }
    for (name, words) in [
        ("good.pem", "a certificate: the private key"),
        ("request.pem", "a request for a certificate"),
        ("public.pem", "a public key"),
        ("good.p12", "openssl pkcs12 -in FILE -nocerts"),
        ("pkcs8.key", "a passphrase"),
        ("old.key", "a passphrase"),
        ("key.der", "openssl pkey"),
        ("empty", "an empty file"),
        ("missing", "cannot be read"),
    ] {
        let said = private_key(&folder.path(name)).unwrap_err().to_string();
        assert!(said.contains(words), "{name}: {said}");
    }
}

#[test]
fn what_nobody_believes_is_told_and_nothing_else() {
    let folder = Folder::new();
    folder.pair("good", LEAF);
    folder.pair("authority", &LEAF.replace("CA:FALSE", "CA:TRUE"));
    folder.pair("client", &format!("{LEAF} -addext extendedKeyUsage=clientAuth"));
    folder.pair("both", &format!("{LEAF} -addext extendedKeyUsage=clientAuth,serverAuth"));
    let valid = |name: &str| {
        let (der, facts) = folder.read(name);
        unbelieved(&der, &facts, facts.begins)
    };
    assert_eq!(valid("good"), []);
    assert_eq!(valid("both"), []);
    assert_eq!(valid("authority"), [Unbelieved::Authority]);
    assert_eq!(valid("client"), [Unbelieved::NotForServers]);
    let (der, facts) = folder.read("good");
    let second = jiff::SignedDuration::from_secs(1);
    assert_eq!(unbelieved(&der, &facts, facts.ends), []);
    assert_eq!(unbelieved(&der, &facts, facts.ends + second), [Unbelieved::Expired(facts.ends)]);
    assert_eq!(unbelieved(&der, &facts, facts.begins - second), [Unbelieved::NotYet(facts.begins)]);
    let (der, authority) = folder.read("authority");
    let both = [Unbelieved::Expired(authority.ends), Unbelieved::Authority];
    assert_eq!(unbelieved(&der, &authority, authority.ends + second), both);
    assert_eq!(facts.names, ["a.example", "192.0.2.7", "2001:db8::7"]);
}

#[test]
fn a_key_fits_the_first_certificate_or_none() {
    let folder = Folder::new();
    folder.pair("good", LEAF);
    folder.pair("other", LEAF);
    folder.openssl("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:secp256k1 -out coin.key");
    let key = |name: &str| private_key(&folder.path(name)).unwrap();
    let (good, other) = (folder.read("good").0, folder.read("other").0);
    assert_eq!(fits(std::slice::from_ref(&good), &key("good.key")), Ok(()));
    assert_eq!(fits(&[good.clone(), other.clone()], &key("good.key")), Ok(()));
    assert_eq!(fits(&[other.clone(), good.clone()], &key("good.key")), Err(PairFault::NotFirst(2)));
    assert_eq!(fits(&[other], &key("good.key")), Err(PairFault::OtherPair));
    assert_eq!(fits(&[good], &key("coin.key")), Err(PairFault::Kind));
}

#[test]
fn the_first_version_of_certificates_is_not_taken() {
    let folder = Folder::new();
    folder.pair("good", LEAF);
    folder.openssl("req -new -key good.key -subj /CN=x -out request.pem");
    let help = Command::new("openssl").args(["x509", "-help"]).output().unwrap();
    // Older ones write it by themselves where no extension is asked for.
    let asked = if String::from_utf8_lossy(&help.stderr).contains("x509v1") { "-x509v1 " } else { "" };
    folder.openssl(&format!(
        "x509 -req -in request.pem -CA good.pem -CAkey good.key -CAcreateserial {asked}-out old.pem"
    ));
    let (der, facts) = folder.read("old");
    let reasons = unbelieved(&der, &facts, facts.begins);
    assert!(matches!(reasons[..], [Unbelieved::NotTaken(_)]), "{reasons:?}");
}
