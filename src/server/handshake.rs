//! Why a TLS handshake failed, in words for whoever runs the server: a client whose certificate is
//! refused learns it in one word of TLS, and often tells nobody.

use std::io;

use jiff::Timestamp;
use tokio_rustls::rustls::{self, AlertDescription, CertificateError, OtherError, pki_types::UnixTime};

use crate::access::CertificateUnreadable;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandshakeFailure {
    #[error("a client has no certificate, and client_auth is \"required\"")]
    NoCertificate,
    #[error("a client's certificate is refused: {0}")]
    Refused(Refusal),
    #[error("a client's certificate cannot be used: {0}")]
    Unreadable(#[from] CertificateUnreadable),
    #[error(
        "a client does not believe the server's certificate ({0:?}): does it know the authority, is the name in its \
         address among those of the certificate, is its clock right?"
    )]
    NotBelieved(AlertDescription),
    #[error("the TLS handshake failed: {0}")]
    Other(io::Error),
}

impl HandshakeFailure {
    /// As a label.
    pub(super) fn text(&self) -> &'static str {
        match self {
            Self::NoCertificate | Self::Refused(_) | Self::Unreadable(_) => "client certificate",
            Self::NotBelieved(_) => "server certificate",
            Self::Other(_) => "handshake",
        }
    }

    /// What a person has to mend, if anything: each is told for itself.
    pub(super) fn told_as(&self) -> Option<&'static str> {
        match self {
            Self::NoCertificate => Some("none"),
            Self::Refused(refusal) => Some(refusal.kind()),
            Self::Unreadable(_) => Some("unreadable"),
            Self::NotBelieved(_) => Some("not believed"),
            Self::Other(_) => None,
        }
    }
}

impl From<io::Error> for HandshakeFailure {
    fn from(error: io::Error) -> Self {
        use AlertDescription as Alert;
        // An io::Error does not name what it holds as its source.
        match error.get_ref().and_then(|held| held.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::NoCertificatesPresented) => Self::NoCertificate,
            Some(rustls::Error::InvalidCertificate(reason)) => Self::Refused(reason.clone().into()),
            Some(rustls::Error::AlertReceived(
                alert @ (Alert::BadCertificate
                | Alert::UnsupportedCertificate
                | Alert::CertificateRevoked
                | Alert::CertificateExpired
                | Alert::CertificateUnknown
                | Alert::UnknownCA),
            )) => Self::NotBelieved(*alert),
            _ => Self::Other(error),
        }
    }
}

/// Why a client's certificate is refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("it ended on {0}")]
    Ended(Timestamp),
    #[error("it begins on {0}; are the clocks right, its authority's and this one?")]
    NotYet(Timestamp),
    #[error("it is of an authority that client_ca_file does not hold")]
    UnknownAuthority,
    #[error("it is signed by another key than that of the authority of this name in client_ca_file")]
    OtherAuthority,
    #[error("it is not for clients: its extendedKeyUsage lacks clientAuth")]
    NotForClients,
    #[error("it is an authority's own (CA:TRUE)")]
    Authority,
    #[error("its authority has taken it back (client_crl_file)")]
    Revoked,
    #[error("client_crl_file holds no list of its authority, or of one above")]
    NoList,
    #[error("the list of its authority in client_crl_file ended on {0}: have the authority make a new one")]
    ListEnded(Timestamp),
    #[error("{0}")]
    Other(CertificateError),
}

impl Refusal {
    fn kind(&self) -> &'static str {
        match self {
            Self::Ended(_) => "ended",
            Self::NotYet(_) => "not yet",
            Self::UnknownAuthority => "unknown authority",
            Self::OtherAuthority => "other authority",
            Self::NotForClients => "not for clients",
            Self::Authority => "authority",
            Self::Revoked => "revoked",
            Self::NoList => "no list",
            Self::ListEnded(_) => "list ended",
            Self::Other(_) => "other",
        }
    }
}

impl From<CertificateError> for Refusal {
    fn from(reason: CertificateError) -> Self {
        match reason {
            CertificateError::ExpiredContext { not_after, .. } => Self::Ended(timestamp(not_after)),
            CertificateError::NotValidYetContext { not_before, .. } => Self::NotYet(timestamp(not_before)),
            CertificateError::UnknownIssuer => Self::UnknownAuthority,
            CertificateError::BadSignature => Self::OtherAuthority,
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                Self::NotForClients
            }
            CertificateError::Other(OtherError(error))
                if matches!(error.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity)) =>
            {
                Self::Authority
            }
            CertificateError::Revoked => Self::Revoked,
            CertificateError::UnknownRevocationStatus => Self::NoList,
            CertificateError::ExpiredRevocationListContext { next_update, .. } => {
                Self::ListEnded(timestamp(next_update))
            }
            other => Self::Other(other),
        }
    }
}

fn timestamp(time: UnixTime) -> Timestamp {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
}
