//! TLS 1.3 of a listener, from files that may change while it runs.
//!
//! A certificate lives for weeks and the server for months: new files are taken up by themselves or
//! at SIGHUP. Files that cannot be used are told of and the old ones stay; connections that are
//! open go on with what they began with.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use jiff::Timestamp;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, CertificateError, RootCertStore, ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer},
        server::{
            NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier, danger::ClientCertVerifier,
        },
        version::TLS13,
    },
};

use crate::{
    clock::Clock,
    envelope::{Holder, Recognised},
    metrics,
    pem_file::{
        CertificateFacts, PairFault, PemFault, Unbelieved, certificates, fits, private_key, revocation_lists,
        unbelieved,
    },
    settings::{ClientAuth, TlsSettings},
};

/// Why files cannot be used: the setting, the file, and what is wrong.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsFailure {
    #[error("{setting}: {}: {fault}", file.display())]
    File { setting: &'static str, file: PathBuf, fault: PemFault },
    #[error("certificate_file and key_file: {} is a private key, and {} a certificate: the two are swapped", certificate.display(), key.display())]
    Swapped { certificate: PathBuf, key: PathBuf },
    #[error("key_file: {}: {fault}", file.display())]
    Pair { file: PathBuf, fault: PairFault },
    #[error("certificate_file: {}: {reason}", file.display())]
    Unbelieved { file: PathBuf, reason: Unbelieved },
    #[error("client_ca_file, client_crl_file: {}: {error}", file.display())]
    Authorities { file: PathBuf, error: VerifierBuilderError },
    #[error("certificate_file and key_file: {0}")]
    Refused(#[from] rustls::Error),
}

/// The certificate of one listener, as it is now.
pub(super) struct Tls {
    listener: &'static str,
    settings: TlsSettings,
    clock: Arc<dyn Clock>,
    current: RwLock<Arc<ServerConfig>>,
    /// The files that were looked at last, good or bad.
    seen: Mutex<Vec<Option<Stamp>>>,
}

/// What changes with a file: device, inode, length, and the time of the change.
type Stamp = (u64, u64, u64, i64, i64);

/// What the files hold.
pub(super) struct Loaded {
    config: Arc<ServerConfig>,
    /// The server's own certificate.
    own: CertificateDer<'static>,
    facts: CertificateFacts,
    lists_end: Option<Timestamp>,
}

/// What is looked at of clients' certificates.
struct Verifier {
    clients: Arc<dyn ClientCertVerifier>,
    lists_end: Option<Timestamp>,
}

impl Tls {
    /// Reads the files.
    pub(super) fn load(
        listener: &'static str,
        settings: TlsSettings,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, TlsFailure> {
        let seen = stamps(&settings);
        let loaded = load(&settings).map_err(first)?;
        loaded.measured(listener);
        Ok(Self { listener, settings, clock, current: RwLock::new(loaded.config), seen: Mutex::new(seen) })
    }

    /// For a connection that begins now.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone().into()
    }

    /// Takes up the files if they changed since they were looked at last, or in any case where one
    /// asks for it.
    pub(super) fn reload(&self, asked: bool) {
        // Taken before the files are read: what changes meanwhile is found the next time.
        let stamps = stamps(&self.settings);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == stamps && !asked {
            return;
        }
        *seen = stamps;
        let listener = self.listener;
        let now = Timestamp::from_millisecond(self.clock.now_ms()).unwrap_or_default();
        let loaded = load(&self.settings).map_err(first).and_then(|loaded| {
            // One that begins soon is better than one that ends: it is taken.
            match loaded.unbelieved(now).into_iter().find(|reason| !matches!(reason, Unbelieved::NotYet(_))) {
                None => Ok(loaded),
                Some(reason) => {
                    Err(TlsFailure::Unbelieved { file: self.settings.certificate_file.clone(), reason })
                }
            }
        });
        match loaded {
            Ok(loaded) => {
                loaded.measured(listener);
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = loaded.config;
                tracing::info!(listener, "new connections get the certificate of the files as they are now");
            }
            Err(error) => {
                tracing::error!(listener, %error, "the files of TLS cannot be used; the certificate stays as it was");
            }
        }
    }
}

/// A file that is not there has none.
fn stamps(settings: &TlsSettings) -> Vec<Option<Stamp>> {
    let stamp = |file: &PathBuf| {
        let found = fs::metadata(file).ok()?;
        Some((found.dev(), found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
    };
    settings.files().map(stamp).collect()
}

/// Reads the files, or says all that is wrong with them.
pub(super) fn load(settings: &TlsSettings) -> Result<Loaded, Vec<TlsFailure>> {
    let TlsSettings { certificate_file, key_file, .. } = settings;
    let (chain, key) = (certificates(certificate_file), private_key(key_file));
    let is_key = matches!(&chain, Err(PemFault::NoCertificate(Recognised::PrivateKey(_))));
    let is_certificate =
        matches!(&key, Err(PemFault::NoPrivateKey(content)) if content.holder() == Some(Holder::Certificate));
    if is_key && is_certificate {
        return Err(vec![TlsFailure::Swapped {
            certificate: certificate_file.clone(),
            key: key_file.clone(),
        }]);
    }
    let (mut failures, verifier) = match client_verifier(settings) {
        Ok(verifier) => (Vec::new(), verifier),
        Err(failure) => (vec![failure], None),
    };
    let mut read = |setting, file: &PathBuf, fault| {
        failures.push(TlsFailure::File { setting, file: file.clone(), fault });
    };
    let chain = chain.map_err(|fault| read("certificate_file", certificate_file, fault)).ok();
    let key = key.map_err(|fault| read("key_file", key_file, fault)).ok();
    let (Some(chain), Some(key)) = (chain, key) else { return Err(failures) };
    if let Err(fault) = fits(&chain, &key) {
        failures.push(TlsFailure::Pair { file: key_file.clone(), fault });
    }
    if !failures.is_empty() {
        return Err(failures);
    }
    configured(chain, key, verifier).map_err(|error| vec![error.into()])
}

fn configured(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    verifier: Option<Verifier>,
) -> Result<Loaded, rustls::Error> {
    let own = chain.first().cloned().ok_or(rustls::Error::NoCertificatesPresented)?;
    let facts = CertificateFacts::from_der(&own).map_err(|_| CertificateError::BadEncoding)?;
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13])?;
    let lists_end = verifier.as_ref().and_then(|verifier| verifier.lists_end);
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier.clients),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key)?;
    // HTTP/1.1 is told that it is not spoken here, which a failed handshake does not tell.
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Nothing is resumed: each connection proves itself anew, by certificates that are believed
    // now.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Loaded { config: Arc::new(config), own, facts, lists_end })
}

impl Loaded {
    /// Why no client believes the certificate now.
    pub(super) fn unbelieved(&self, now: Timestamp) -> Vec<Unbelieved> {
        unbelieved(&self.own, &self.facts, now)
    }

    /// When the first of the lists of revoked certificates ends: from then on no client of its
    /// authority is believed.
    pub(super) fn lists_end(&self) -> Option<Timestamp> {
        self.lists_end
    }

    fn measured(&self, listener: &'static str) {
        metrics::certificate_expiry(listener, self.facts.ends.as_second());
        if let Some(end) = self.lists_end {
            metrics::revocation_lists_expiry(listener, end.as_second());
        }
    }

    /// Whether it holds the name or address of a machine.
    pub(super) fn has_name(&self) -> bool {
        !self.facts.names.is_empty()
    }
}

/// For whoever tells one alone.
fn first(failures: Vec<TlsFailure>) -> TlsFailure {
    let none = || rustls::Error::General("the files cannot be used".to_owned()).into();
    failures.into_iter().next().unwrap_or_else(none)
}

fn client_verifier(settings: &TlsSettings) -> Result<Option<Verifier>, TlsFailure> {
    let Some(file) = settings.client_auth.ca_file() else { return Ok(None) };
    let failed = |setting, file: &PathBuf| {
        let file = file.clone();
        move |fault| TlsFailure::File { setting, file, fault }
    };
    let mut roots = RootCertStore::empty();
    for authority in certificates(file).map_err(failed("client_ca_file", file))? {
        roots.add(authority)?;
    }
    let lists = match &settings.client_crl_file {
        Some(file) => revocation_lists(file).map_err(failed("client_crl_file", file))?,
        None => Vec::new(),
    };
    let lists_end = lists.iter().filter_map(|list| list.ends).min();
    let provider = Arc::new(ring::default_provider());
    // Of every authority there must be a list, and one that has not ended: what an old one does not
    // say is no leave to come in.
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .with_crls(lists.into_iter().map(|list| list.der))
        .enforce_revocation_expiration();
    if matches!(settings.client_auth, ClientAuth::Optional(_)) {
        builder = builder.allow_unauthenticated();
    }
    let clients = builder.build().map_err(|error| TlsFailure::Authorities { file: file.clone(), error })?;
    Ok(Some(Verifier { clients, lists_end }))
}
