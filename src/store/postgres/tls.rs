//! TLS 1.3 to the database: the authorities that are believed, and this server's own certificate.

use std::path::Path;
use std::sync::Arc;

use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::address::PostgresqlAddress;
use crate::pem_file;

/// What speaks TLS with the database of an address. Its files are read anew each time, so that
/// certificates may be renewed while the server runs.
///
/// # Errors
/// Which file cannot be used, and why.
pub(super) fn connector(address: &PostgresqlAddress) -> Result<MakeRustlsConnect, String> {
    let roots = roots(address.tls_ca_file.as_deref())?;
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    let config = match &address.tls_certificate {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = certificates("store.tls_certificate_file", certificate)?;
            let at_fault =
                |error: &dyn std::fmt::Display| format!("store.tls_key_file {}: {error}", key.display());
            let key = pem_file::private_key(key).map_err(|error| at_fault(&error))?;
            pem_file::fits(&chain, &key).map_err(|error| at_fault(&error))?;
            builder.with_client_auth_cert(chain, key).map_err(|error| at_fault(&error))?
        }
    };
    Ok(MakeRustlsConnect::new(config))
}

fn roots(file: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let authorities = match file {
        Some(file) => certificates("store.tls_ca_file", file)?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    let (known, _) = roots.add_parsable_certificates(authorities);
    if known == 0 {
        return Err("this system knows no authority that could vouch for the database: name yours in \
                    store.tls_ca_file"
            .to_owned());
    }
    Ok(roots)
}

fn certificates(setting: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    pem_file::certificates(file).map_err(|error| format!("{setting} {}: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_that_is_something_else_is_told_by_what_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        let mut address: PostgresqlAddress = "postgresql://v@db.example/x".parse().unwrap();
        address.tls_ca_file = Some(file.clone());
        for (content, told) in [("", "no certificate"), ("-----BEGIN CERTIFICATE-----\nAA", "damaged")] {
            fs::write(&file, content).unwrap();
            let refused = connector(&address).err().unwrap();
            assert!(refused.starts_with("store.tls_ca_file /") && refused.contains(told), "{refused}");
        }
        fs::remove_file(&file).unwrap();
        assert!(connector(&address).err().unwrap().contains("cannot be read"));
    }
}
