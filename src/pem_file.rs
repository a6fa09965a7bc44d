//! PEM files of certificates and private keys, for TLS: what stands in the place of one is told by
//! what it is, with the next step; and whether clients believe a certificate as a server's.

use std::{fmt, fs, io, path::Path, time::Duration};

use jiff::Timestamp;
use tokio_rustls::rustls::{
    crypto::ring,
    pki_types::{
        CertificateDer, PrivateKeyDer, UnixTime,
        pem::{self, PemObject as _},
    },
};
use x509_cert::{
    Certificate,
    der::{self, Decode as _, Encode as _},
    ext::pkix::{SubjectAltName, name::GeneralName},
};

use crate::envelope::{Holder, Recognised, recognise};

/// Why a file cannot be used. Names neither the file nor a setting: whoever reads it knows them.
#[derive(Debug, thiserror::Error)]
pub enum PemFault {
    /// The system does not let it be read.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// Something else stands in the place of a certificate.
    #[error("no certificate: it is {}", InPlaceOf::Certificate(.0))]
    NoCertificate(Recognised),
    /// Something else stands in the place of a private key, or one that nobody can open unasked.
    #[error("no private key that can be used: it is {}", InPlaceOf::PrivateKey(.0))]
    NoPrivateKey(Recognised),
    /// A block begins and does not end, or its base64 is none.
    #[error("its PEM is damaged ({0}): copy the whole file anew")]
    Damaged(&'static str),
    /// A certificate in it is no X.509.
    #[error("the certificate cannot be read: {0}")]
    NotX509(#[from] der::Error),
}

/// The certificates of a file, one at least, in its order.
///
/// # Errors
/// [`PemFault`].
pub fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, PemFault> {
    let bytes = fs::read(file)?;
    let found = CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>();
    let certificates = match found {
        Ok(found) if found.is_empty() => return Err(PemFault::NoCertificate(recognise(&bytes))),
        Ok(found) => found,
        Err(error) => return Err(damaged(&error)),
    };
    for certificate in &certificates {
        if let Err(error) = Certificate::from_der(certificate) {
            // certutil writes CERTIFICATE around anything.
            return Err(match recognise(certificate) {
                Recognised::Bytes(_) | Recognised::Text(_) => error.into(),
                content if content.holder() == Some(Holder::Certificate) => error.into(),
                content => PemFault::NoCertificate(content),
            });
        }
    }
    Ok(certificates)
}

/// The first private key of a file.
///
/// # Errors
/// [`PemFault`].
pub fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, PemFault> {
    let bytes = fs::read(file)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| {
        let content = recognise(&bytes);
        let is_known = matches!(error, pem::Error::NoItemsFound) || content.is_encrypted_key();
        if is_known { PemFault::NoPrivateKey(content) } else { damaged(&error) }
    })
}

fn damaged(error: &pem::Error) -> PemFault {
    PemFault::Damaged(match error {
        pem::Error::MissingSectionEnd { .. } => "its END line is missing",
        pem::Error::Base64Decode(_) => "what stands between BEGIN and END is no base64",
        pem::Error::SectionTooLarge => "a block is too large",
        _ => "a BEGIN line is not one",
    })
}

/// What stands in the place of something else, and what to do.
enum InPlaceOf<'a> {
    Certificate(&'a Recognised),
    PrivateKey(&'a Recognised),
}

impl fmt::Display for InPlaceOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Certificate(content) | Self::PrivateKey(content)) = self;
        let wants_key = matches!(self, Self::PrivateKey(_));
        match content {
            Recognised::Empty => f.write_str("an empty file (was the disk full when it was written?)"),
            Recognised::PrivateKey("PKCS#12") => {
                let (options, file) = if wants_key { ("-nocerts -noenc", "key") } else { ("-nokeys", "pem") };
                write!(
                    f,
                    "PKCS#12 (.p12, .pfx), which holds certificate and key together: take it out with \
                     `openssl pkcs12 -in FILE {options} -out NEW.{file}`"
                )
            }
            content if wants_key && content.is_encrypted_key() => write!(
                f,
                "{} with a passphrase, for which nothing here can ask: take it off with \
                 `openssl pkey -in FILE -out NEW`",
                content.phrase()
            ),
            Recognised::PrivateKey(_) if wants_key => write!(
                f,
                "{} in another form than PEM: make PEM of it with `openssl pkey -in FILE -out NEW`",
                content.phrase()
            ),
            Recognised::PrivateKey(_) => {
                write!(f, "{}: the certificate belongs here, and the key beside it", content.phrase())
            }
            content => match content.holder() {
                Some(Holder::Request) => f.write_str(
                    "a request for a certificate: put in its place what the authority made of it",
                ),
                Some(Holder::Certificate) if wants_key => {
                    f.write_str("a certificate: the private key that it was made for belongs here")
                }
                Some(Holder::Certificate) => f.write_str(
                    "a certificate in another form than PEM: make PEM of it with `openssl x509 -in FILE -out NEW`",
                ),
                Some(Holder::Pkcs7) if !wants_key => f.write_str(
                    "PKCS#7 (.p7b): take the certificates out with `openssl pkcs7 -in FILE -print_certs -out NEW`",
                ),
                Some(Holder::Key) => write!(
                    f,
                    "{}, of which nobody can prove anything: {} belongs here",
                    content.phrase(),
                    if wants_key { "the private key" } else { "the certificate" }
                ),
                _ => write!(
                    f,
                    "{}; a PEM file is expected (-----BEGIN {}-----)",
                    content.phrase(),
                    if wants_key { "PRIVATE KEY" } else { "CERTIFICATE" }
                ),
            },
        }
    }
}

/// Why a key cannot be used with its certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PairFault {
    /// Nothing here signs with it.
    #[error(
        "the private key is of a kind that TLS does not use here: make one of RSA (2048 to 8192 bits), P-256, P-384 \
         or Ed25519, and a certificate for it"
    )]
    Kind,
    /// It is the key of another certificate.
    #[error("the private key does not fit the certificate: they are of two pairs")]
    OtherPair,
    /// It is the key of a later one in the file.
    #[error(
        "the private key fits certificate {0} of the file, not the first: put that one first, and those of \
         authorities behind it"
    )]
    NotFirst(usize),
}

/// Sees to it that a key is that of the first of the certificates.
///
/// # Errors
/// [`PairFault`].
pub fn fits(chain: &[CertificateDer<'_>], key: &PrivateKeyDer<'_>) -> Result<(), PairFault> {
    let key = ring::sign::any_supported_type(key).map_err(|_| PairFault::Kind)?;
    let Some(public) = key.public_key() else { return Ok(()) };
    let fitting = chain.iter().position(|der| {
        CertificateFacts::from_der(der).is_ok_and(|facts| facts.public_key == public.as_ref())
    });
    match fitting {
        Some(0) => Ok(()),
        Some(behind) => Err(PairFault::NotFirst(behind + 1)),
        None => Err(PairFault::OtherPair),
    }
}

/// What counts of a certificate for whoever is shown it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Its first moment.
    pub begins: Timestamp,
    /// Its last one.
    pub ends: Timestamp,
    /// The names and addresses of machines in its subjectAltName.
    pub names: Vec<String>,
    /// Its SubjectPublicKeyInfo, DER.
    pub public_key: Vec<u8>,
}

impl CertificateFacts {
    /// Reads one in DER.
    ///
    /// # Errors
    /// When it is no certificate.
    pub fn from_der(der: &[u8]) -> Result<Self, der::Error> {
        let certificate = Certificate::from_der(der)?;
        let certificate = certificate.tbs_certificate();
        let time = |time: x509_cert::time::Time| {
            let seconds = i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX);
            Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
        };
        let mut names = Vec::new();
        if let Some((_, found)) = certificate.get_extension::<SubjectAltName>()? {
            names.extend(found.0.iter().filter_map(|name| match name {
                GeneralName::DnsName(name) => Some(name.to_string()),
                GeneralName::IpAddress(bytes) => address(bytes.as_bytes()),
                _ => None,
            }));
        }
        let validity = certificate.validity();
        Ok(Self {
            begins: time(validity.not_before),
            ends: time(validity.not_after),
            names,
            public_key: certificate.subject_public_key_info().to_der()?,
        })
    }
}

fn address(bytes: &[u8]) -> Option<String> {
    if let Ok(bytes) = <[u8; 4]>::try_from(bytes) {
        return Some(std::net::Ipv4Addr::from(bytes).to_string());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|bytes| std::net::Ipv6Addr::from(bytes).to_string())
}

/// Why no client believes a certificate as a server's, whatever authorities it knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unbelieved {
    /// It has ended.
    #[error("the certificate has expired: it ended on {0}; renew it (or look at the clock)")]
    Expired(Timestamp),
    /// It has not begun. It will, or the clock is wrong.
    #[error("the certificate is not valid yet: it begins on {0}; look at its dates and at the clock")]
    NotYet(Timestamp),
    /// It may sign others.
    #[error(
        "the certificate is an authority's (CA:TRUE), which does not count as a server's: make one with \
         `-addext basicConstraints=critical,CA:FALSE` (openssl req -x509), or have the authority sign one"
    )]
    Authority,
    /// It is for something else.
    #[error(
        "the certificate is not for servers: its extendedKeyUsage lacks serverAuth; have one made that has it"
    )]
    NotForServers,
    /// Version 1, or an extension that nobody may skip.
    #[error("the certificate is one that TLS does not take ({0}): have it made anew, as X.509 version 3")]
    NotTaken(webpki::Error),
}

/// All reasons why nobody believes it now.
pub fn unbelieved(der: &CertificateDer<'_>, facts: &CertificateFacts, now: Timestamp) -> Vec<Unbelieved> {
    let mut reasons = Vec::new();
    if facts.ends < now {
        reasons.push(Unbelieved::Expired(facts.ends));
    } else if facts.begins > now {
        reasons.push(Unbelieved::NotYet(facts.begins));
    }
    let usable = webpki::EndEntityCert::try_from(der).and_then(|certificate| {
        // At a time at which it is valid, and by no authority: what is left is its own fault.
        let begins = Duration::from_secs(u64::try_from(facts.begins.as_second()).unwrap_or(0));
        let time = UnixTime::since_unix_epoch(begins);
        let usage = webpki::KeyUsage::server_auth();
        certificate.verify_for_usage(&[], &[], &[], time, usage, None, None).map(drop)
    });
    match usable {
        Err(webpki::Error::CaUsedAsEndEntity) => reasons.push(Unbelieved::Authority),
        Err(webpki::Error::RequiredEkuNotFoundContext(_)) => reasons.push(Unbelieved::NotForServers),
        Err(
            error @ (webpki::Error::UnsupportedCertVersion
            | webpki::Error::UnsupportedCriticalExtension
            | webpki::Error::BadDer
            | webpki::Error::MalformedExtensions
            | webpki::Error::InvalidSerialNumber),
        ) => reasons.push(Unbelieved::NotTaken(error)),
        _ => {}
    }
    reasons
}

#[cfg(test)]
mod tests {
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
}
