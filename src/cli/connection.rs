//! The way to the server: address, certificate authority, and what the caller proves himself with.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Args;
use tonic::{
    metadata::{Ascii, MetadataValue},
    service::interceptor::InterceptedService,
};

use super::{
    exit::Exit,
    output::{self, Failure, chain},
};
use crate::{
    access::Credential,
    api::health::{HealthCheckRequest, health_client::HealthClient},
    connection::{Address, Authorized, Bearer, NotConnected, OwnCertificate, Trust},
    pem_file::{PemFault, certificates, fits, private_key},
};

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

/// Options of every command about one thing that the server holds.
#[derive(Args)]
pub(super) struct Named {
    /// Its name as `list` prints it: COLLECTION/{id}, such as clients/{uuid}
    pub(super) name: String,
    #[command(flatten)]
    pub(super) connection: Connection,
}

impl Connection {
    /// Connects and prepares the credential.
    pub(super) async fn open(&self) -> Result<Authorized, Failure> {
        let bearer = self.bearer()?;
        let shown = &self.endpoint;
        let address =
            Address::parse(shown).map_err(|error| Failure::usage(format!("--endpoint {shown}: {error}")))?;
        if !address.is_tls() && !address.is_loopback() {
            return Err(Failure::usage(format!(
                "--endpoint {shown}: the credential is sent in plain text to this machine only; use https://"
            )));
        }
        if !address.is_tls() && self.client_certificate.is_some() {
            return Err(Failure::usage("--client-certificate needs an endpoint with https://".to_owned()));
        }
        let trust = if address.is_tls() { self.trust()? } else { Trust::no_tls() };
        let calls = address.connect(trust).await.map_err(|error| match error {
            NotConnected::Known(known) => Failure::exit(Exit::from(&known.fault), known.to_string()),
            NotConnected::Transport(error) => Failure::exit(
                Exit::Unavailable,
                format!(
                    "no connection to {shown}: {}; is `vendkey serve` running, and is --endpoint its address?",
                    chain(&error)
                ),
            ),
        })?;
        Ok(InterceptedService::new(calls, bearer))
    }

    /// The same, and the server has answered once: for commands that make something of their own
    /// before they ask for anything. TLS 1.3 tells that a certificate is refused with the first
    /// call alone.
    pub(super) async fn open_and_ask(&self) -> Result<Authorized, Failure> {
        let calls = self.open().await?;
        match HealthClient::new(calls.clone()).check(HealthCheckRequest::default()).await {
            Err(status) if output::has_no_answer(&status) => Err(Failure::refused(self.json)(status)),
            // Whatever it says of its health.
            _ => Ok(calls),
        }
    }

    fn trust(&self) -> Result<Trust, Failure> {
        let ca = match &self.ca {
            Some(file) => Some((file.clone(), certificates(file).map_err(pem("--ca", file))?)),
            None => None,
        };
        Trust::new(ca, self.own_certificate()?).map_err(|error| {
            Failure::exit(Exit::Data, format!("--client-certificate, --client-key: {error}"))
        })
    }

    fn own_certificate(&self) -> Result<Option<OwnCertificate>, Failure> {
        let (Some(file), Some(key_file)) = (&self.client_certificate, &self.client_key) else {
            return Ok(None);
        };
        let chain = certificates(file).map_err(pem("--client-certificate", file))?;
        let key = private_key(key_file).map_err(pem("--client-key", key_file))?;
        fits(&chain, &key).map_err(|fault| Failure::data("--client-key", key_file, fault))?;
        Ok(Some(OwnCertificate { file: file.clone(), chain, key }))
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

/// What is wrong with the file of an option.
fn pem<'a>(option: &'a str, file: &'a Path) -> impl Fn(PemFault) -> Failure + 'a {
    move |fault| match fault {
        PemFault::Unreadable(error) => Failure::file(option, file, &error),
        fault => Failure::data(option, file, fault),
    }
}
