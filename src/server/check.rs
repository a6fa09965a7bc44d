//! What `serve` needs of its settings and what they name, looked at before anything is started;
//! `serve --check` looks at no less.

use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt as _, path::Path};

use rustix::process::geteuid;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use x509_cert::{
    Certificate,
    der::{Decode as _, Encode as _},
    ext::pkix::BasicConstraints,
};

use super::tls;
use crate::{
    clock::{Clock as _, SystemClock},
    hsm,
    settings::{Settings, TlsSettings},
    store,
};

/// What was found.
#[derive(Debug, Default)]
pub struct Report {
    /// What keeps the server from serving, each with its setting.
    pub faults: Vec<String>,
    /// What does not, and should be mended.
    pub warnings: Vec<String>,
}

/// Looks at all that is named by the settings without the HSM's login, changing nothing: the user,
/// the files of TLS, the addresses, the module, the token, the PIN file (the PIN itself is not
/// tried) and the database.
pub fn check(settings: &Settings) -> Report {
    let mut report = files(settings);
    let server = &settings.server;
    let administration =
        server.administration.as_ref().map(|listener| ("administration.listen", listener.listen));
    let metrics = settings.metrics.map(|listen| ("metrics.listen", listen));
    for (name, listen) in
        [Some(("server.listen", server.main.listen)), administration, metrics].into_iter().flatten()
    {
        if let Err(error) = TcpListener::bind(listen) {
            report.faults.push(format!("{name}: cannot listen on {listen}: {error}"));
        }
    }
    for error in hsm::examine(&settings.hsm) {
        report.faults.push(format!("hsm: {error}"));
    }
    if let Err(error) = store::examine(&settings.store.url) {
        report.faults.push(format!("store: {error}"));
    }
    report
}

/// The part that `serve` looks at first too: who runs it, and the files of TLS.
pub(super) fn files(settings: &Settings) -> Report {
    let mut report = Report::default();
    if geteuid().is_root() && !settings.server.allow_root {
        let text = "server.allow_root: refusing to run as root: use another user, or set it to true (in a container)";
        report.faults.push(text.to_owned());
    }
    let listeners = [
        ("server.tls", Some(&settings.server.main)),
        ("administration.tls", settings.server.administration.as_ref()),
    ];
    for (name, listener) in listeners {
        if let Some(tls) = listener.and_then(|listener| listener.tls.as_ref()) {
            tls_files(name, tls, &mut report);
        }
    }
    report
}

fn tls_files(name: &str, settings: &TlsSettings, report: &mut Report) {
    let certificate = match read(&settings.certificate_file).and_then(|bytes| certificate(&bytes)) {
        Ok(certificate) => Some(certificate),
        Err(fault) => {
            report
                .faults
                .push(format!("{name}.certificate_file {}: {fault}", settings.certificate_file.display()));
            None
        }
    };
    let key_name = format!("{name}.key_file {}", settings.key_file.display());
    let key = read(&settings.key_file).and_then(|bytes| match PrivateKeyDer::from_pem_slice(&bytes) {
        Ok(_) if !is_encrypted(&bytes) => Ok(()),
        _ => Err(format!("no private key that can be used: it is {}", what_is(&bytes))),
    });
    if let Err(fault) = &key {
        report.faults.push(format!("{key_name}: {fault}"));
    }
    if fs::metadata(&settings.key_file).is_ok_and(|found| found.permissions().mode() & 0o077 != 0) {
        report
            .warnings
            .push(format!("{key_name}: others than its owner may read the private key (chmod 600)"));
    }
    let Some(certificate) = certificate else { return };
    let certificate_name = format!("{name}.certificate_file {}", settings.certificate_file.display());
    let validity = certificate.tbs_certificate().validity();
    let now = SystemClock.now_ms() / 1_000;
    let seconds =
        |time: x509_cert::time::Time| i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX);
    // The server starts all the same: its other listener may be in order, and new files are taken
    // up while it runs.
    if seconds(validity.not_after) <= now {
        report.warnings.push(format!("{certificate_name}: the certificate has expired: renew it"));
    }
    if seconds(validity.not_before) > now {
        report.warnings.push(format!(
            "{certificate_name}: the certificate is not valid yet: look at its dates and at the clock"
        ));
    }
    if matches!(certificate.tbs_certificate().get_extension::<BasicConstraints>(), Ok(Some((_, constraints))) if constraints.ca)
    {
        let text =
            "is an authority's (CA:TRUE), which clients do not believe as a server's: make one with CA:FALSE";
        report.warnings.push(format!("{certificate_name}: the certificate {text}"));
    }
    if key.is_ok()
        && let Err(error) = tls::load(settings)
    {
        report.faults.push(format!("{name}: {error}"));
    }
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    fs::read(file).map_err(|error| error.to_string())
}

fn certificate(bytes: &[u8]) -> Result<Certificate, String> {
    let none = || format!("no certificate: it is {}", what_is(bytes));
    let der = CertificateDer::pem_slice_iter(bytes).next().and_then(Result::ok).ok_or_else(none)?;
    Certificate::from_der(&der).map_err(|error| format!("the certificate cannot be read: {error}"))
}

fn is_encrypted(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    text.contains("ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED")
}

/// What a file is instead, and what to do.
fn what_is(bytes: &[u8]) -> &'static str {
    let text = String::from_utf8_lossy(bytes);
    let has = |label: &str| text.contains(&format!("-----BEGIN {label}"));
    if bytes.trim_ascii().is_empty() {
        "an empty file (was the disk full when it was written?)"
    } else if is_encrypted(bytes) {
        "a private key with a passphrase, which a server cannot be asked for: take it off with `openssl pkey`"
    } else if has("CERTIFICATE REQUEST") || has("NEW CERTIFICATE REQUEST") {
        "a request for a certificate: put in its place what the authority made of it"
    } else if has("PUBLIC KEY") || has("RSA PUBLIC KEY") {
        "a public key"
    } else if text.contains("PRIVATE KEY-----") {
        "a private key"
    } else if has("CERTIFICATE") || has("TRUSTED CERTIFICATE") || has("X509 CERTIFICATE") {
        "a certificate"
    } else if has("PKCS7") {
        "PKCS#7: take the certificates out with `openssl pkcs7 -print_certs`"
    } else if bytes.starts_with(&[0x30]) {
        if Certificate::from_der(bytes).is_ok_and(|read| read.to_der().is_ok()) {
            "a certificate in DER: make PEM of it with `openssl x509 -inform DER`"
        } else {
            "binary (PKCS#12 or DER): make PEM of it with `openssl pkcs12 -nodes`, or `openssl pkey -inform DER`"
        }
    } else {
        "no PEM file"
    }
}
