//! The address of a server, whom to believe there, and what we prove ourselves with.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio_rustls::{
    TlsConnector,
    rustls::{
        self, ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName},
        version::TLS13,
    },
};
use tonic::transport::Endpoint;
use tower::service_fn;

use super::{
    channel::{Calls, NotConnected},
    fault::{Own, Tried},
    seen::Seen,
    transport::Way,
};
use crate::pem_file::CertificateFacts;

/// How long TCP and TLS may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a connection on which calls run may be silent before the other side is asked whether it
/// lives, and how long it may take to answer that: a machine that is gone says nothing.
const SILENCE: Duration = Duration::from_secs(10);
/// The ports of URLs that name none.
const PORTS: [(&str, u16); 2] = [("http", 80), ("https", 443)];

/// A text that is no address.
#[derive(Debug, thiserror::Error)]
#[error("expected http://HOST:PORT or https://HOST:PORT")]
pub struct AddressFault;

/// The address of a server.
#[derive(Clone, Debug)]
pub struct Address {
    text: String,
    uri: Uri,
    host: String,
    port: u16,
    name: ServerName<'static>,
}

impl Address {
    /// Reads `http://HOST:PORT` or `https://HOST:PORT`.
    ///
    /// # Errors
    /// [`AddressFault`] for anything else.
    pub fn parse(text: &str) -> Result<Self, AddressFault> {
        let uri: Uri = text.trim().parse().map_err(|_| AddressFault)?;
        let scheme = uri.scheme_str().ok_or(AddressFault)?;
        let (_, usual) = PORTS.into_iter().find(|(name, _)| *name == scheme).ok_or(AddressFault)?;
        let host = uri.host().filter(|host| !host.is_empty()).ok_or(AddressFault)?;
        let host = host.trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16().unwrap_or(usual);
        let name = ServerName::try_from(host.clone()).map_err(|_| AddressFault)?;
        Ok(Self { text: text.to_owned(), uri, host, port, name })
    }

    /// Whether it speaks TLS.
    pub fn is_tls(&self) -> bool {
        self.uri.scheme_str() == Some("https")
    }

    /// Whether it is this machine's own.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost"
            || self.host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    /// Connects.
    ///
    /// # Errors
    /// [`NotConnected`]. A server that refuses our certificate says so with the first call.
    pub async fn connect(&self, trust: Trust) -> Result<Calls, NotConnected> {
        let seen = Seen::default();
        let tls = trust.config.map(|config| (TlsConnector::from(config), self.name.clone()));
        let tried = Tried { host: self.host.clone(), ca: trust.ca, own: trust.own };
        let way = Way { endpoint: self.text.clone(), port: self.port, tls, tried, seen: seen.clone() };
        let connector = service_fn(move |_: Uri| {
            let way = way.clone();
            async move { way.connect().await.map(TokioIo::new) }
        });
        match self.endpoint()?.connect_with_connector(connector).await {
            Ok(channel) => Ok(Calls::new(channel, seen)),
            Err(error) => Err(seen.reason().map_or_else(|| error.into(), Into::into)),
        }
    }

    /// To tonic it is one without TLS, of which it would see to itself otherwise.
    fn endpoint(&self) -> Result<Endpoint, tonic::transport::Error> {
        let authority = self.uri.authority().map_or("", |authority| authority.as_str());
        let endpoint = Endpoint::from_shared(format!("http://{authority}"))?;
        let endpoint = endpoint.origin(self.uri.clone()).connect_timeout(PATIENCE);
        Ok(endpoint.http2_keep_alive_interval(SILENCE).keep_alive_timeout(SILENCE))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Whom to believe, and what to prove ourselves with.
#[derive(Clone, Debug)]
pub struct Trust {
    /// Without it there is no TLS.
    config: Option<Arc<ClientConfig>>,
    ca: Option<PathBuf>,
    own: Option<Own>,
}

/// A certificate of ours with its key, which must fit.
#[derive(Debug)]
pub struct OwnCertificate {
    /// Where it is from.
    pub file: PathBuf,
    /// It, and those of authorities behind it; not empty.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its key.
    pub key: PrivateKeyDer<'static>,
}

impl Trust {
    /// For a connection without TLS.
    pub fn no_tls() -> Self {
        Self { config: None, ca: None, own: None }
    }

    /// TLS 1.3 alone, with the authorities that this machine knows and those of a file.
    ///
    /// # Errors
    /// What TLS says of the certificates.
    pub fn new(
        ca: Option<(PathBuf, Vec<CertificateDer<'static>>)>,
        own: Option<OwnCertificate>,
    ) -> Result<Self, rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let ca = ca.map(|(file, authorities)| {
            roots.add_parsable_certificates(authorities);
            file
        });
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])?
            .with_root_certificates(roots);
        let shown = own.as_ref().and_then(|own| {
            let facts = CertificateFacts::from_der(own.chain.first()?).ok()?;
            Some(Own { file: own.file.clone(), begins: facts.begins, ends: facts.ends })
        });
        let mut config = match own {
            Some(own) => builder.with_client_auth_cert(own.chain, own.key)?,
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self { config: Some(Arc::new(config)), ca, own: shown })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_scheme_a_host_and_a_port() {
        for (text, tls, host, port, loopback) in [
            ("http://127.0.0.1:7443", false, "127.0.0.1", 7443, true),
            ("https://tills.example:7443", true, "tills.example", 7443, false),
            ("https://tills.example", true, "tills.example", 443, false),
            ("https://[2001:db8::7]:7443/", true, "2001:db8::7", 7443, false),
            ("http://[::1]:7443", false, "::1", 7443, true),
            ("http://localhost", false, "localhost", 80, true),
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!((address.is_tls(), address.host.as_str(), address.port), (tls, host, port), "{text}");
            assert_eq!(address.is_loopback(), loopback, "{text}");
            address.endpoint().unwrap();
        }
        for text in
            ["", "localhost:7443", "tills.example", "grpc://tills.example:1", "https://", "https://a b"]
        {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }
}
