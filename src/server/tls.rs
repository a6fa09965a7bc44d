//! TLS 1.3 of a listener, from files that may change while it runs.
//!
//! A certificate lives for weeks and the server for months: new files are taken up by themselves or
//! at SIGHUP. Files that cannot be used are told of and the old ones stay; connections that are
//! open go on with what they began with.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, RootCertStore, ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
        server::{
            NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier, danger::ClientCertVerifier,
        },
        version::TLS13,
    },
};

use crate::{
    access::{CertificateUnreadable, PeerCertificate},
    clock::Clock,
    metrics,
    settings::{ClientAuth, TlsSettings},
};

/// Why files cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsFailure {
    #[error("{}: {error}", file.display())]
    File { file: PathBuf, error: io::Error },
    #[error("{}: {error}", file.display())]
    Pem { file: PathBuf, error: rustls::pki_types::pem::Error },
    #[error("{} holds no certificate", .0.display())]
    Empty(PathBuf),
    #[error("{}: {error}", file.display())]
    Unreadable { file: PathBuf, error: CertificateUnreadable },
    #[error("{} has expired", .0.display())]
    Expired(PathBuf),
    #[error("the private key does not fit the certificate: they are of two pairs")]
    OtherKey,
    #[error("certificate and key: {0}")]
    Refused(rustls::Error),
    #[error("the authorities of clients: {0}")]
    Authorities(#[from] VerifierBuilderError),
}

impl From<rustls::Error> for TlsFailure {
    fn from(error: rustls::Error) -> Self {
        match error {
            rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch) => Self::OtherKey,
            other => Self::Refused(other),
        }
    }
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
    expires_ms: i64,
}

impl Tls {
    /// Reads the files.
    pub(super) fn load(
        listener: &'static str,
        settings: TlsSettings,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, TlsFailure> {
        let seen = stamps(&settings);
        let loaded = load(&settings)?;
        if loaded.expires_ms <= clock.now_ms() {
            // The other listener may be in order, so the server starts.
            tracing::error!(listener, "the certificate has expired: no client will believe it");
        }
        metrics::certificate_expiry(listener, loaded.expires_ms / 1_000);
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
        let loaded = load(&self.settings).and_then(|loaded| {
            let expired = loaded.expires_ms <= self.clock.now_ms();
            if expired {
                Err(TlsFailure::Expired(self.settings.certificate_file.clone()))
            } else {
                Ok(loaded)
            }
        });
        match loaded {
            Ok(loaded) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = loaded.config;
                metrics::certificate_expiry(listener, loaded.expires_ms / 1_000);
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
    let files = [Some(&settings.certificate_file), Some(&settings.key_file), settings.client_auth.ca_file()];
    let stamp = |file: &PathBuf| {
        let found = fs::metadata(file).ok()?;
        Some((found.dev(), found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
    };
    files.into_iter().flatten().map(stamp).collect()
}

pub(super) fn load(settings: &TlsSettings) -> Result<Loaded, TlsFailure> {
    let chain = certificates(&settings.certificate_file)?;
    let file = settings.certificate_file.clone();
    let own = match chain.first() {
        Some(own) => {
            PeerCertificate::from_der(own).map_err(|error| TlsFailure::Unreadable { file, error })?
        }
        None => return Err(TlsFailure::Empty(file)),
    };
    let key = PrivateKeyDer::from_pem_slice(&read(&settings.key_file)?)
        .map_err(|error| TlsFailure::Pem { file: settings.key_file.clone(), error })?;
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13])?;
    let builder = match client_verifier(&settings.client_auth)? {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key)?;
    // HTTP/1.1 is told that it is not spoken here, which a failed handshake does not tell.
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Nothing is resumed: each connection proves itself anew, by certificates that are believed
    // now.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Loaded { config: Arc::new(config), expires_ms: own.expires_ms })
}

fn client_verifier(client_auth: &ClientAuth) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsFailure> {
    let Some(file) = client_auth.ca_file() else { return Ok(None) };
    let mut roots = RootCertStore::empty();
    for authority in certificates(file)? {
        roots.add(authority)?;
    }
    if roots.is_empty() {
        return Err(TlsFailure::Empty(file.clone()));
    }
    let provider = Arc::new(ring::default_provider());
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    if matches!(client_auth, ClientAuth::Optional(_)) {
        builder = builder.allow_unauthenticated();
    }
    Ok(Some(builder.build()?))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFailure> {
    CertificateDer::pem_slice_iter(&read(file)?)
        .collect::<Result<_, _>>()
        .map_err(|error| TlsFailure::Pem { file: file.to_owned(), error })
}

fn read(file: &Path) -> Result<Vec<u8>, TlsFailure> {
    fs::read(file).map_err(|error| TlsFailure::File { file: file.to_owned(), error })
}
