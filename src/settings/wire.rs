//! The settings of the wire: where the server listens, how it proves itself and whom it believes,
//! and what one client may take.

use std::{fs, net::SocketAddr, path::PathBuf, time::Duration};

use super::Reader;

/// One listener.
#[derive(Debug, Clone)]
pub struct ListenerSettings {
    /// Address and port; a loopback address unless `tls` is given.
    pub listen: SocketAddr,
    /// Certificate and key files; without them the listener speaks plain text.
    pub tls: Option<TlsSettings>,
}

/// PEM files of a listener's certificate chain and private key, and what it asks of clients.
#[derive(Debug, Clone)]
pub struct TlsSettings {
    /// The chain, the server's own certificate first.
    pub certificate_file: PathBuf,
    /// Its private key.
    pub key_file: PathBuf,
    /// Whether clients must prove themselves by a certificate.
    pub client_auth: ClientAuth,
    /// Lists of their certificates that were taken back: one of each authority.
    pub client_crl_file: Option<PathBuf>,
}

/// Certificates of clients.
#[derive(Debug, Clone)]
pub enum ClientAuth {
    /// They are not asked for.
    None,
    /// A client may have one; if it has, it must be signed by one of these authorities.
    Optional(PathBuf),
    /// A client must have one that is signed by one of these authorities.
    Required(PathBuf),
}

impl TlsSettings {
    /// All of its files.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let of_clients = self.client_auth.ca_file().into_iter().chain(&self.client_crl_file);
        [&self.certificate_file, &self.key_file].into_iter().chain(of_clients)
    }
}

impl ClientAuth {
    /// The PEM file of the authorities.
    pub fn ca_file(&self) -> Option<&PathBuf> {
        match self {
            Self::None => None,
            Self::Optional(file) | Self::Required(file) => Some(file),
        }
    }
}

/// What one listener and one connection bear. Each listener has these limits of its own, so that
/// whoever fills the one does not shut administrators out of the other.
#[derive(Debug, Clone, Copy)]
pub struct WireSettings {
    /// The largest message, in bytes, either way.
    pub message_bytes: usize,
    /// Bytes of all requests that are not whole yet.
    pub receiving_bytes: usize,
    /// The header list of a request, in bytes.
    pub header_bytes: u32,
    /// Connections in all.
    pub connections: usize,
    /// Connections of one IPv4 address or one IPv6 network of 64 bits.
    pub connections_per_address: usize,
    /// Calls at once on one connection.
    pub streams: u32,
    /// Calls at once in all; further ones are refused and not queued.
    pub calls: usize,
    /// How long TLS, and after it the first call of a connection, may take.
    pub opening: Duration,
    /// How long a connection may be without a call.
    pub idle: Duration,
    /// How old a connection may become, a tenth more or less; without it, as old as it likes.
    pub age: Option<Duration>,
    /// How long calls may run on after that.
    pub age_grace: Duration,
    /// How long the message of a call may take to arrive.
    pub request: Duration,
    /// How long a stream of tokens may bring no request, and how long a client may leave an answer
    /// untaken.
    pub stream_idle: Duration,
    /// How often a connection is asked whether the other side still lives.
    pub keepalive: Duration,
    /// How long its answer may take.
    pub keepalive_timeout: Duration,
}

impl Reader<'_> {
    /// The listener of a section; without `default` it is there only if the section has `listen`.
    pub(super) fn listener(
        &mut self,
        section: &str,
        default: Option<SocketAddr>,
    ) -> Option<Option<ListenerSettings>> {
        let name = format!("{section}.listen");
        let given = self.values.contains_key(&name);
        let fallback = default.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0)));
        let listen = self.parsed(&name, fallback, "an address and port such as 127.0.0.1:7443");
        if !given && default.is_none() {
            // What else stands in the section is then no setting, and is said to be none.
            return Some(None);
        }
        let faults = self.faults.len();
        let tls = self.tls(&format!("{section}.tls"));
        let listen = listen?;
        if self.faults.len() > faults {
            return None;
        }
        if tls.is_none() && !listen.ip().is_loopback() {
            self.fault(
                &name,
                format!(
                    "{listen} is not a loopback address, and without {section}.tls only those are allowed"
                ),
            );
        }
        Some(Some(ListenerSettings { listen, tls }))
    }

    fn tls(&mut self, section: &str) -> Option<TlsSettings> {
        let [certificate, key, authority] =
            ["certificate_file", "key_file", "client_ca_file"].map(|name| format!("{section}.{name}"));
        let (certificate_file, key_file) = (self.readable(&certificate), self.readable(&key));
        let client_auth = self.client_auth(&format!("{section}.client_auth"), &authority);
        let revoked = format!("{section}.client_crl_file");
        let client_crl_file = self.readable(&revoked);
        if client_crl_file.is_some() && matches!(client_auth, Some(ClientAuth::None)) {
            self.fault(&revoked, "takes back certificates that nobody asks for: client_auth is \"none\"");
        }
        match (certificate_file, key_file) {
            (Some(certificate_file), Some(key_file)) => {
                Some(TlsSettings { certificate_file, key_file, client_auth: client_auth?, client_crl_file })
            }
            (None, None) => {
                if !matches!(client_auth, Some(ClientAuth::None)) {
                    self.fault(&certificate, "is missing: only TLS carries certificates of clients");
                }
                None
            }
            (Some(_), None) => {
                self.fault(&key, "is missing beside certificate_file");
                None
            }
            (None, Some(_)) => {
                self.fault(&certificate, "is missing beside key_file");
                None
            }
        }
    }

    fn client_auth(&mut self, name: &str, authority: &str) -> Option<ClientAuth> {
        let choice = self.choice(name, &["none", "optional", "required"]);
        let file = self.readable(authority);
        match (choice?, file) {
            (0, None) => Some(ClientAuth::None),
            (0, Some(_)) => {
                self.fault(name, "must be \"optional\" or \"required\" where a client_ca_file is given");
                None
            }
            (_, None) => {
                self.fault(authority, "is missing: whose certificates are to be believed?");
                None
            }
            (1, Some(file)) => Some(ClientAuth::Optional(file)),
            (_, Some(file)) => Some(ClientAuth::Required(file)),
        }
    }

    /// The path of a file that can be read.
    pub(super) fn readable(&mut self, name: &str) -> Option<PathBuf> {
        let file = self.text(name).map(|text| self.path(&text))?;
        if let Err(error) = fs::File::open(&file) {
            self.fault(name, format!("{} cannot be read: {error}", file.display()));
        }
        Some(file)
    }

    pub(super) fn wire(&mut self) -> Option<WireSettings> {
        let message = self.within("wire.message_bytes", 4_194_304, 65_536..=67_108_864);
        let receiving = self.within("wire.receiving_bytes", 67_108_864, 1_048_576..=1_073_741_824);
        let header = self.within("wire.header_bytes", 16_384, 4_096..=1_048_576);
        let connections = self.within("wire.connections", 1_024, 1..=65_536);
        let per_address = self.within("wire.connections_per_address", 256, 1..=65_536);
        let streams = self.within("wire.streams_per_connection", 256, 1..=10_000);
        let calls = self.within("wire.calls", 4_096, 1..=1_000_000);
        let opening = self.within("wire.opening_seconds", 20, 1..=300);
        let idle = self.within("wire.idle_seconds", 300, 1..=86_400);
        let age = self.within("wire.age_seconds", 0, 0..=604_800);
        let age_grace = self.within("wire.age_grace_seconds", 300, 1..=86_400);
        let request = self.within("wire.request_seconds", 30, 1..=3_600);
        let stream_idle = self.within("wire.stream_idle_seconds", 300, 1..=86_400);
        let keepalive = self.within("wire.keepalive_seconds", 60, 1..=3_600);
        let keepalive_timeout = self.within("wire.keepalive_timeout_seconds", 20, 1..=300);
        if let (Some(message), Some(receiving)) = (message, receiving)
            && receiving < message
        {
            self.fault("wire.receiving_bytes", format!("must hold one message of {message} bytes"));
        }
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        Some(WireSettings {
            message_bytes: message? as usize,
            receiving_bytes: receiving? as usize,
            header_bytes: header?,
            connections: connections? as usize,
            connections_per_address: per_address? as usize,
            streams: streams?,
            calls: calls? as usize,
            opening: seconds(opening?),
            idle: seconds(idle?),
            age: Some(seconds(age?)).filter(|age| !age.is_zero()),
            age_grace: seconds(age_grace?),
            request: seconds(request?),
            stream_idle: seconds(stream_idle?),
            keepalive: seconds(keepalive?),
            keepalive_timeout: seconds(keepalive_timeout?),
        })
    }

    /// Where metrics are read, if anywhere.
    pub(super) fn metrics(&mut self) -> Option<Option<SocketAddr>> {
        let remote = self.parsed("metrics.allow_remote", false, "true or false");
        let Some(text) = self.text("metrics.listen") else { return remote.map(|_| None) };
        let Ok(listen) = text.parse::<SocketAddr>() else {
            self.fault(
                "metrics.listen",
                format!("{text:?} is not an address and port such as 127.0.0.1:9464"),
            );
            return None;
        };
        if !listen.ip().is_loopback() && !remote? {
            self.fault(
                "metrics.listen",
                format!("{listen} is not a loopback address: metrics have no TLS, so metrics.allow_remote must say so"),
            );
        }
        Some(Some(listen))
    }
}
