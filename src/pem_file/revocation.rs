//! Lists of certificates that an authority has taken back before their end (RFC 5280 §5).

use std::{fs, path::Path};

use jiff::Timestamp;
use tokio_rustls::rustls::pki_types::{CertificateRevocationListDer, pem::PemObject as _};
use x509_cert::{crl::CertificateList, der::Decode as _};

use super::{PemFault, certificate::timestamp, damaged};
use crate::envelope::recognise;

/// A list of one authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationList {
    /// As the authority signed it.
    pub der: CertificateRevocationListDer<'static>,
    /// By when there is to be a newer one, if it says so.
    pub ends: Option<Timestamp>,
}

/// The lists of a file, one at least: PEM, or one as DER.
///
/// # Errors
/// [`PemFault`].
pub fn revocation_lists(file: &Path) -> Result<Vec<RevocationList>, PemFault> {
    let bytes = fs::read(file)?;
    if CertificateList::<x509_cert::certificate::Rfc5280>::from_der(&bytes).is_ok() {
        return Ok(vec![RevocationList::of(CertificateRevocationListDer::from(bytes))?]);
    }
    let found = CertificateRevocationListDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>();
    match found {
        Ok(found) if found.is_empty() => Err(PemFault::NoRevocationList(recognise(&bytes))),
        Ok(found) => found.into_iter().map(RevocationList::of).collect(),
        Err(error) => Err(damaged(&error)),
    }
}

impl RevocationList {
    fn of(der: CertificateRevocationListDer<'static>) -> Result<Self, PemFault> {
        webpki::BorrowedCertRevocationList::from_der(&der).map_err(PemFault::RevocationList)?;
        let list = CertificateList::<x509_cert::certificate::Rfc5280>::from_der(&der)?;
        Ok(Self { ends: list.tbs_cert_list.next_update.map(timestamp), der })
    }
}

/// Why nothing can go by a list.
pub(super) fn in_words(error: &webpki::Error) -> String {
    match error {
        webpki::Error::UnsupportedCrlVersion => {
            "the revocation list is of version 1, without a number: have the authority make one of version 2 \
             (openssl: `crlnumber` and `crl_extensions` in its section)"
                .to_owned()
        }
        webpki::Error::UnsupportedDeltaCrl => {
            "the revocation list holds only what changed since another one: give the whole list".to_owned()
        }
        webpki::Error::UnsupportedIndirectCrl => {
            "the revocation list is one of several authorities: give one of each authority itself".to_owned()
        }
        other => format!("the revocation list cannot be used ({other}): have the authority make it anew"),
    }
}
