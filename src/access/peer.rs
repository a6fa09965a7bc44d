//! What a verified client certificate says of who holds it.

use std::time::Duration;

use sha2::{Digest as _, Sha256};
use x509_cert::{
    Certificate,
    der::{Decode as _, Encode as _},
    ext::pkix::{SubjectAltName, name::GeneralName},
};

/// The identity in the certificate with which the other side of a connection proved itself. It
/// stands in the extensions of every request of that connection; a connection without a client
/// certificate has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    /// SHA-256 of its SubjectPublicKeyInfo, DER: the key pair, whatever certificate it has next
    /// year.
    pub spki_sha256: [u8; 32],
    /// The URIs among its subject alternative names, such as `spiffe://example.org/till/7`.
    pub uris: Vec<String>,
    /// When it ends, in milliseconds since 1970. Its connection ends with it.
    pub expires_ms: i64,
}

/// The bytes are no X.509 certificate.
#[derive(Debug, thiserror::Error)]
#[error("not a certificate that can be read: {0}")]
pub struct CertificateUnreadable(#[from] x509_cert::der::Error);

impl PeerCertificate {
    /// Reads one in DER. It says nothing of whether anybody may believe it: the TLS handshake saw
    /// to that.
    ///
    /// # Errors
    /// When it is no certificate.
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateUnreadable> {
        let certificate = Certificate::from_der(der)?;
        let certificate = certificate.tbs_certificate();
        // DER has one form for each value, so that what is written again is what was read.
        let spki = certificate.subject_public_key_info().to_der()?;
        let mut uris = Vec::new();
        if let Some((_, names)) = certificate.get_extension::<SubjectAltName>()? {
            uris.extend(names.0.iter().filter_map(|name| match name {
                GeneralName::UniformResourceIdentifier(uri) => Some(uri.to_string()),
                _ => None,
            }));
        }
        let end: Duration = certificate.validity().not_after.to_unix_duration();
        let expires_ms = i64::try_from(end.as_millis()).unwrap_or(i64::MAX);
        Ok(Self { spki_sha256: Sha256::digest(spki).into(), uris, expires_ms })
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn openssl(arguments: &[&str]) -> Vec<u8> {
        let output = Command::new("openssl").args(arguments).output().expect("openssl is installed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    #[test]
    fn what_openssl_wrote_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        let (key, certificate) = (path("key.pem"), path("certificate.der"));
        openssl(&[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            &key,
            "-out",
            &certificate,
            "-outform",
            "DER",
            "-subj",
            "/CN=till",
            "-days",
            "2",
            "-addext",
            "subjectAltName=DNS:till.example,URI:spiffe://example.org/till/7,URI:urn:till:7",
        ]);
        let public = openssl(&["pkey", "-in", &key, "-pubout", "-outform", "DER"]);
        let end = openssl(&["x509", "-in", &certificate, "-noout", "-enddate", "-dateopt", "iso_8601"]);
        let end = String::from_utf8(end).unwrap().trim().replace("notAfter=", "").replace(' ', "T");
        let read = PeerCertificate::from_der(&std::fs::read(certificate).unwrap()).unwrap();
        assert_eq!(read.spki_sha256, <[u8; 32]>::from(Sha256::digest(public)));
        assert_eq!(read.uris, ["spiffe://example.org/till/7", "urn:till:7"]);
        assert_eq!(read.expires_ms, end.parse::<jiff::Timestamp>().unwrap().as_millisecond());
    }

    #[test]
    fn other_bytes_are_refused() {
        for bytes in [&b""[..], b"\x30\x00", b"-----BEGIN CERTIFICATE-----"] {
            assert!(PeerCertificate::from_der(bytes).is_err());
        }
    }
}
