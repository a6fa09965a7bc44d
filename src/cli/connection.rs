//! The way to the server: address, certificate authority, and what the caller proves himself with.

use std::{
    collections::VecDeque,
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

/// Options of every command that calls a server.
#[derive(Args)]
pub(super) struct Connection {
    /// The server, http://HOST:PORT or https://HOST:PORT; of several that share a database all, with
    /// commas between them: the first that answers is called
    #[arg(
        long,
        env = "VENDKEY_ENDPOINT",
        value_name = "URL",
        value_delimiter = ',',
        default_value = "http://127.0.0.1:7443",
        global = true
    )]
    endpoint: Vec<String>,
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
    /// Connects to the first server that answers, and prepares the credential.
    pub(super) async fn open(&self) -> Result<Authorized, Failure> {
        Ok(self.servers()?.connect().await?)
    }

    /// The servers, to be called one after another.
    pub(super) fn servers(&self) -> Result<Servers, Failure> {
        let bearer = self.bearer()?;
        let mut addresses = VecDeque::new();
        for shown in &self.endpoint {
            let address = self.address(shown)?;
            let trust = if address.is_tls() { self.trust()? } else { Trust::no_tls() };
            addresses.push_back((address, trust));
        }
        Ok(Servers { addresses, bearer })
    }

    /// Connects to one server alone, whatever the endpoints are.
    pub(super) async fn open_at(&self, shown: &str) -> Result<Authorized, Failure> {
        let address = self.address(shown)?;
        let trust = if address.is_tls() { self.trust()? } else { Trust::no_tls() };
        Ok(Servers { addresses: VecDeque::from([(address, trust)]), bearer: self.bearer()? }
            .connect()
            .await?)
    }

    fn address(&self, shown: &str) -> Result<Address, Failure> {
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
        Ok(address)
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

/// Servers that share a database: what one does not answer, another does.
pub(super) struct Servers {
    /// The first is the next to be called.
    addresses: VecDeque<(Address, Trust)>,
    bearer: Bearer,
}

impl Servers {
    /// Connects to the next one that answers.
    ///
    /// # Errors
    /// Why none does.
    pub(super) async fn connect(&mut self) -> Result<Authorized, NoServer> {
        let mut exits = Vec::new();
        let mut problems = Vec::new();
        for _ in 0..self.addresses.len() {
            let Some((address, trust)) = self.addresses.front().cloned() else { break };
            self.addresses.rotate_left(1);
            match address.connect(trust).await {
                Ok(calls) => return Ok(InterceptedService::new(calls, self.bearer.clone())),
                Err(NotConnected::Known(known)) => {
                    exits.push(Exit::from(&known.fault));
                    problems.push(known.to_string());
                }
                Err(NotConnected::Transport(error)) => {
                    exits.push(Exit::Unavailable);
                    problems.push(format!(
                        "no connection to {address}: {}; is `vendkey serve` running, and is --endpoint its address?",
                        chain(&error)
                    ));
                }
            }
        }
        // Where all say the same, that is what it is; otherwise one may be there later.
        let exit =
            exits.iter().copied().reduce(|one, other| if one == other { one } else { Exit::Unavailable });
        Err(NoServer { exit: exit.unwrap_or(Exit::Unavailable), text: problems.join("\n") })
    }

    /// Whether there is more than one, and which is the next.
    pub(super) fn next_of_several(&self) -> Option<&Address> {
        if self.addresses.len() > 1 { self.addresses.front().map(|(address, _)| address) } else { None }
    }
}

/// No server answers.
pub(super) struct NoServer {
    exit: Exit,
    /// Why: a line for each.
    pub(super) text: String,
}

impl From<NoServer> for Failure {
    fn from(NoServer { exit, text }: NoServer) -> Self {
        Self::exit(exit, text)
    }
}

/// What is wrong with the file of an option.
fn pem<'a>(option: &'a str, file: &'a Path) -> impl Fn(PemFault) -> Failure + 'a {
    move |fault| match fault {
        PemFault::Unreadable(error) => Failure::file(option, file, &error),
        fault => Failure::data(option, file, fault),
    }
}
