//! Why there is no connection, in words, with what to do next.

use std::path::PathBuf;

use jiff::Timestamp;
use tokio_rustls::rustls::{
    self, AlertDescription, CertificateError, OtherError, PeerIncompatible, pki_types::UnixTime,
};

/// There is no connection to this address.
#[derive(Clone, Debug, thiserror::Error)]
#[error("no connection to {endpoint}: {fault}")]
pub struct NoConnection {
    /// As it was given.
    pub endpoint: String,
    /// Why.
    pub fault: Fault,
}

/// Why there is no connection.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Fault {
    /// The server's certificate, or one above it, has ended.
    #[error(
        "the server's certificate has expired: it ended on {ended}, and the clock here says {now}; \
         have it renewed, or set this clock right"
    )]
    Expired {
        /// Its last moment.
        ended: Timestamp,
        /// The time here.
        now: Timestamp,
    },
    /// It has not begun.
    #[error(
        "the server's certificate is not valid yet: it begins on {begins}, and the clock here says {now}; \
         set the clock right, or wait until then"
    )]
    NotYet {
        /// Its first moment.
        begins: Timestamp,
        /// The time here.
        now: Timestamp,
    },
    /// It is another machine's.
    #[error(
        "the server's certificate is for {}, not for {host}: put one of these names into --endpoint, \
         or have {host} added to the certificate (subjectAltName)", .names.join(", ")
    )]
    OtherName {
        /// The name in the address.
        host: String,
        /// Those in the certificate.
        names: Vec<String>,
    },
    /// It is nobody's.
    #[error(
        "the server's certificate holds no name in subjectAltName (its CN does not count): \
         have one made that holds {host}"
    )]
    NoName {
        /// The name in the address.
        host: String,
    },
    /// Its authority is not known here.
    #[error("the server's certificate is of an authority that is not known here: {}", next_authority(.ca))]
    UnknownAuthority {
        /// The file of the authority that was given.
        ca: Option<PathBuf>,
    },
    /// An authority of this name is known here, with another key.
    #[error(
        "the server's certificate is signed by another key than that of the authority of this name here: {}",
        next_authority(.ca)
    )]
    OtherAuthority {
        /// The file of the authority that was given.
        ca: Option<PathBuf>,
    },
    /// CA:TRUE.
    #[error(
        "the server's certificate is an authority's (CA:TRUE), which does not count as a server's: \
         have one made with basicConstraints CA:FALSE"
    )]
    Authority,
    /// Of the first version.
    #[error("the server's certificate is X.509 version 1: have one made of version 3, with subjectAltName")]
    OldVersion,
    /// Its use is another one.
    #[error(
        "the server's certificate is not for servers: its extendedKeyUsage lacks serverAuth; have one made that has it"
    )]
    NotForServers,
    /// SHA-1, short keys, curves of their own.
    #[error(
        "the server's certificate is signed in a way that is not believed any more (SHA-1, or a short key): \
         have one made with SHA-256 and RSA of 2048 bits or more, P-256 or P-384"
    )]
    WeakSignature,
    /// Anything else about it.
    #[error("the server's certificate is not believed: {0}")]
    Unbelieved(CertificateError),
    /// TLS 1.2 at most.
    #[error("the other side does not speak TLS 1.3; is --endpoint the address of `vendkey serve`?")]
    OldTls,
    /// TLS with something else in it.
    #[error("the other side speaks TLS, but no gRPC (HTTP/2); is --endpoint the address of `vendkey serve`?")]
    NoHttp2,
    /// `https://` to a port without TLS.
    #[error("this port speaks no TLS: put http:// into --endpoint, or the port that speaks it")]
    NoTls,
    /// `http://` to a port with TLS.
    #[error("this port speaks TLS: put https:// into --endpoint")]
    SpeaksTls,
    /// It closed before it said anything.
    #[error(
        "the other side closed the connection before it said anything: is --endpoint the address of `vendkey serve`, \
         with https:// if its port speaks TLS, and has the server room for more connections?"
    )]
    Silent,
    /// None was given.
    #[error(
        "the server lets nobody in without a certificate: give --client-certificate and --client-key, \
         of an authority in its client_ca_file"
    )]
    CertificateWanted,
    /// Ours is out of its time.
    #[error(
        "the server refuses the certificate {} as out of its time: it is valid from {begins} to {ends}, and the \
         clock here says {now}; have it renewed, or look at the server's clock", .file.display()
    )]
    OwnOutOfTime {
        /// The file of ours.
        file: PathBuf,
        /// Its first moment.
        begins: Timestamp,
        /// Its last one.
        ends: Timestamp,
        /// The time here.
        now: Timestamp,
    },
    /// Ours is of an authority that the server does not know.
    #[error(
        "the server does not know the authority of the certificate {}: give one of an authority in its \
         client_ca_file, or have this one's added there", .file.display()
    )]
    OwnUnknownAuthority {
        /// The file of ours.
        file: PathBuf,
    },
    /// Ours was taken back.
    #[error(
        "the server refuses the certificate {}: its authority has taken it back; have it make a new one", .file.display()
    )]
    OwnRevoked {
        /// The file of ours.
        file: PathBuf,
    },
    /// Ours is refused for another reason.
    #[error(
        "the server refuses the certificate {} ({alert:?}): give one that an authority in its client_ca_file made \
         for a client, not an authority's own (CA:TRUE) nor a server's", .file.display()
    )]
    OwnRefused {
        /// The file of ours.
        file: PathBuf,
        /// What it said.
        alert: AlertDescription,
    },
    /// The other side ended it.
    #[error("the other side ended TLS ({0:?}); is --endpoint the address of `vendkey serve`?")]
    Alert(AlertDescription),
    /// Anything else that TLS says.
    #[error("TLS failed: {0}; is --endpoint the address of `vendkey serve`?")]
    Tls(rustls::Error),
}

fn next_authority(ca: &Option<PathBuf>) -> String {
    match ca {
        Some(file) => format!(
            "--ca {} does not hold it; ask whoever runs the server for the authority's certificate as it is now",
            file.display()
        ),
        None => "ask whoever runs the server for the authority's certificate, and give its file with --ca \
                 (or VENDKEY_CA)"
            .to_owned(),
    }
}

/// A certificate of ours, as far as it can be a reason.
#[derive(Clone, Debug)]
pub(super) struct Own {
    pub(super) file: PathBuf,
    pub(super) begins: Timestamp,
    pub(super) ends: Timestamp,
}

/// What was tried.
#[derive(Clone, Debug)]
pub(super) struct Tried {
    pub(super) host: String,
    pub(super) ca: Option<PathBuf>,
    pub(super) own: Option<Own>,
}

impl Tried {
    /// What a failure of TLS means.
    pub(super) fn fault(&self, error: &rustls::Error) -> Fault {
        match error {
            rustls::Error::InvalidCertificate(error) => self.certificate(error),
            rustls::Error::AlertReceived(alert) => self.alert(*alert),
            rustls::Error::PeerIncompatible(
                PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
                | PeerIncompatible::ServerDoesNotSupportTls12Or13,
            ) => Fault::OldTls,
            rustls::Error::NoApplicationProtocol => Fault::NoHttp2,
            // What came is no record of TLS.
            rustls::Error::InvalidMessage(_) => Fault::NoTls,
            other => Fault::Tls(other.clone()),
        }
    }

    fn certificate(&self, error: &CertificateError) -> Fault {
        let (ca, host) = (|| self.ca.clone(), || self.host.clone());
        match error {
            CertificateError::ExpiredContext { time, not_after } => {
                Fault::Expired { ended: timestamp(*not_after), now: timestamp(*time) }
            }
            CertificateError::NotValidYetContext { time, not_before } => {
                Fault::NotYet { begins: timestamp(*not_before), now: timestamp(*time) }
            }
            CertificateError::NotValidForNameContext { presented, .. } => {
                let names: Vec<String> = presented.iter().filter_map(|name| of_machine(name)).collect();
                if names.is_empty() {
                    Fault::NoName { host: host() }
                } else {
                    Fault::OtherName { host: host(), names }
                }
            }
            CertificateError::UnknownIssuer => Fault::UnknownAuthority { ca: ca() },
            CertificateError::BadSignature => Fault::OtherAuthority { ca: ca() },
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                Fault::NotForServers
            }
            CertificateError::UnsupportedSignatureAlgorithmContext { .. }
            | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
                Fault::WeakSignature
            }
            CertificateError::Other(OtherError(error)) => match error.downcast_ref() {
                Some(webpki::Error::CaUsedAsEndEntity) => Fault::Authority,
                Some(webpki::Error::UnsupportedCertVersion) => Fault::OldVersion,
                Some(_) | None => Fault::Unbelieved(CertificateError::Other(OtherError(error.clone()))),
            },
            other => Fault::Unbelieved(other.clone()),
        }
    }

    fn alert(&self, alert: AlertDescription) -> Fault {
        match (alert, &self.own) {
            (AlertDescription::ProtocolVersion, _) => Fault::OldTls,
            (AlertDescription::NoApplicationProtocol, _) => Fault::NoHttp2,
            (AlertDescription::CertificateRequired, _) => Fault::CertificateWanted,
            (AlertDescription::CertificateExpired, Some(own)) => Fault::OwnOutOfTime {
                file: own.file.clone(),
                begins: own.begins,
                ends: own.ends,
                now: timestamp(UnixTime::now()),
            },
            (AlertDescription::CertificateRevoked, Some(own)) => Fault::OwnRevoked { file: own.file.clone() },
            (AlertDescription::UnknownCA, Some(own)) => Fault::OwnUnknownAuthority { file: own.file.clone() },
            (
                AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateUnknown
                | AlertDescription::AccessDenied
                | AlertDescription::DecryptError,
                Some(own),
            ) => Fault::OwnRefused { file: own.file.clone(), alert },
            _ => Fault::Alert(alert),
        }
    }
}

fn timestamp(time: UnixTime) -> Timestamp {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
}

/// The name of a machine as rustls shows it, `DnsName("a.example")` or `IpAddress(192.0.2.7)`,
/// without its kind.
fn of_machine(shown: &str) -> Option<String> {
    let (kind, rest) = shown.split_once('(')?;
    let name = rest.strip_suffix(')')?.trim_matches('"');
    ["DnsName", "IpAddress"].contains(&kind).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_machines_are_shown_without_their_kind() {
        for (shown, name) in [
            ("DnsName(\"a.example\")", Some("a.example")),
            ("DnsName(\"*.a.example\")", Some("*.a.example")),
            ("IpAddress(192.0.2.7)", Some("192.0.2.7")),
            ("UniformResourceIdentifier(\"urn:a\")", None),
            ("DirectoryName", None),
        ] {
            assert_eq!(of_machine(shown).as_deref(), name);
        }
    }
}
