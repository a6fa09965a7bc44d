//! Certificates: what counts of one, whether a key fits it, and whether clients believe it as a
//! server's.

use std::time::Duration;

use jiff::Timestamp;
use tokio_rustls::rustls::{
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime},
};
use x509_cert::{
    Certificate,
    der::{self, Decode as _, Encode as _},
    ext::pkix::{SubjectAltName, name::GeneralName},
    time::Time,
};

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
            begins: timestamp(validity.not_before),
            ends: timestamp(validity.not_after),
            names,
            public_key: certificate.subject_public_key_info().to_der()?,
        })
    }
}

pub(super) fn timestamp(time: Time) -> Timestamp {
    let seconds = i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
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
