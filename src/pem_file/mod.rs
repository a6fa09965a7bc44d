//! PEM files for TLS, of certificates, private keys and revocation lists: what stands in the place
//! of one is told by what it is, with the next step.

mod certificate;
mod revocation;
#[cfg(test)]
mod tests;

use std::{fmt, fs, io, path::Path};

use tokio_rustls::rustls::pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject as _},
};
use x509_cert::{
    Certificate,
    der::{self, Decode as _},
};

pub use certificate::{CertificateFacts, PairFault, Unbelieved, fits, unbelieved};
pub use revocation::{RevocationList, revocation_lists};

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
    /// Something else stands in the place of a revocation list.
    #[error("no revocation list: it is {}; -----BEGIN X509 CRL----- is expected, or the same as DER", .0.phrase())]
    NoRevocationList(Recognised),
    /// One that nothing here can go by.
    #[error("{}", revocation::in_words(.0))]
    RevocationList(webpki::Error),
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
