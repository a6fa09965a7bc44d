//! The way to the server: address, certificate authority, and what the caller proves himself with.

use std::{fs, path::PathBuf, time::Duration};

use clap::Args;
use tokio_rustls::rustls::{self, AlertDescription, PeerIncompatible, crypto::ring};
use tonic::{
    metadata::{Ascii, MetadataValue},
    service::interceptor::InterceptedService,
    transport::{Certificate, ClientTlsConfig, Endpoint, Identity},
};
use zeroize::Zeroizing;

use super::{exit::Exit, output::Failure};
use crate::access::Credential;
use crate::api::{Authorized, Bearer};

/// Options of every command that calls the server.
#[derive(Args)]
pub(super) struct Connection {
    /// The server, http://HOST:PORT or https://HOST:PORT
    #[arg(long, env = "VENDKEY_ENDPOINT", default_value = "http://127.0.0.1:7443", global = true)]
    endpoint: String,
    /// File with a credential, as `vendkey setup` and `vendkey client create` write it
    #[arg(long, env = "VENDKEY_CREDENTIAL_FILE", value_name = "FILE", global = true)]
    credential_file: Option<PathBuf>,
    /// PEM file of the authority that signed the server's certificate
    #[arg(long, env = "VENDKEY_CA", value_name = "FILE", global = true)]
    ca: Option<PathBuf>,
    /// PEM file of your own certificate; it may stand for a credential
    #[arg(
        long,
        env = "VENDKEY_CLIENT_CERTIFICATE",
        value_name = "FILE",
        global = true,
        requires = "client_key"
    )]
    client_certificate: Option<PathBuf>,
    /// PEM file of its private key
    #[arg(
        long,
        env = "VENDKEY_CLIENT_KEY",
        value_name = "FILE",
        global = true,
        requires = "client_certificate"
    )]
    client_key: Option<PathBuf>,
    /// Print the reply in protobuf's JSON mapping
    #[arg(long, global = true)]
    pub(super) json: bool,
}

impl Connection {
    /// Connects and prepares the credential.
    pub(super) async fn open(&self) -> Result<Authorized, Failure> {
        let bearer = self.bearer()?;
        let shown = &self.endpoint;
        let mut endpoint = Endpoint::from_shared(shown.clone())
            .map_err(|_| {
                Failure::usage(format!("--endpoint {shown}: expected http://HOST:PORT or https://HOST:PORT"))
            })?
            .connect_timeout(Duration::from_secs(10));
        if !shown.starts_with("https://") && !is_loopback(endpoint.uri()) {
            return Err(Failure::usage(format!(
                "--endpoint {shown}: the credential is sent in plain text to this machine only; use https://"
            )));
        }
        if shown.starts_with("https://") {
            offer_tls_1_3_alone();
            let mut tls = ClientTlsConfig::new().with_enabled_roots();
            if let Some(file) = &self.ca {
                let pem = fs::read(file).map_err(|error| Failure::file("--ca", file, &error))?;
                tls = tls.ca_certificate(Certificate::from_pem(pem));
            }
            if let Some(identity) = self.identity()? {
                tls = tls.identity(identity);
            }
            endpoint = endpoint.tls_config(tls).map_err(|error| {
                Failure::exit(
                    Exit::Data,
                    format!("--ca, --client-certificate or --client-key: {}", chain(&error)),
                )
            })?;
        } else if self.client_certificate.is_some() {
            return Err(Failure::usage("--client-certificate needs an endpoint with https://".to_owned()));
        }
        let channel = endpoint.connect().await.map_err(|error| {
            if lacks_tls_1_3(&error) {
                return Failure::exit(Exit::Unavailable, format!(
                    "no connection to {shown}: the other side does not speak TLS 1.3; is --endpoint the address of `vendkey serve`?"
                ));
            }
            Failure::exit(Exit::Unavailable, format!(
                "no connection to {shown}: {}; is `vendkey serve` running, and is --endpoint its address?",
                chain(&error)
            ))
        })?;
        Ok(InterceptedService::new(channel, bearer))
    }

    fn identity(&self) -> Result<Option<Identity>, Failure> {
        let (Some(certificate), Some(key)) = (&self.client_certificate, &self.client_key) else {
            return Ok(None);
        };
        let read = |name, file| fs::read(file).map_err(|error| Failure::file(name, file, &error));
        Ok(Some(Identity::from_pem(
            read("--client-certificate", certificate)?,
            Zeroizing::new(read("--client-key", key)?),
        )))
    }

    fn bearer(&self) -> Result<Bearer, Failure> {
        let Some(file) = &self.credential_file else {
            // A certificate may stand for a credential; whether it does, the server says.
            return match self.client_certificate {
                Some(_) => Ok(Bearer::default()),
                None => Err(Failure::usage(
                    "no credential: give --credential-file or set VENDKEY_CREDENTIAL_FILE".to_owned(),
                )),
            };
        };
        let text =
            fs::read_to_string(file).map_err(|error| Failure::file("--credential-file", file, &error))?;
        let credential: Credential =
            text.parse().map_err(|error| Failure::data("--credential-file", file, error))?;
        let mut value: MetadataValue<Ascii> = format!("Bearer {}", *credential.expose())
            .parse()
            .map_err(|_| Failure::data("--credential-file", file, "not a credential"))?;
        value.set_sensitive(true);
        Ok(Bearer::new(value))
    }
}

/// tonic offers every version that the process's provider has cipher suites for, and lets nobody
/// choose otherwise. The first call of the process decides; nothing else here sets a provider.
fn offer_tls_1_3_alone() {
    let mut provider = ring::default_provider();
    provider.cipher_suites.retain(|suite| suite.tls13().is_some());
    let _ = provider.install_default();
}

/// Whether a connection failed because the server wants an older TLS.
fn lacks_tls_1_3(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        // An io::Error does not name what it holds as its source.
        let held = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let tls = match held {
            Some(held) => held.downcast_ref::<rustls::Error>(),
            None => error.downcast_ref::<rustls::Error>(),
        };
        if let Some(tls) = tls {
            return matches!(
                tls,
                rustls::Error::AlertReceived(AlertDescription::ProtocolVersion)
                    | rustls::Error::PeerIncompatible(
                        PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
                            | PeerIncompatible::ServerDoesNotSupportTls12Or13
                    )
            );
        }
        next = error.source();
    }
    false
}

/// Whether the address is this machine's own.
fn is_loopback(uri: &http::Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
