//! Where the database is and how it is reached: the URL, and the files that go with it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

/// How long it may take to connect, to one host.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// After how long without a word the other side is asked whether it still lives.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// What was sent and not acknowledged for so long ends the connection.
const UNACKNOWLEDGED: Duration = Duration::from_secs(20);

/// A PostgreSQL database: its address, and the files of the password and of TLS. It holds no
/// password.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresqlAddress {
    config: Config,
    tls: bool,
    /// The file of the password; without it, none is offered.
    pub password_file: Option<PathBuf>,
    /// PEM of the authorities whose certificates are believed; without it, the system's.
    pub tls_ca_file: Option<PathBuf>,
    /// PEM of this server's own certificate, where the database asks for one, and of its key.
    pub tls_certificate: Option<(PathBuf, PathBuf)>,
}

/// Why a text is no address of a PostgreSQL database. It does not hold the text, in which there may
/// be a password.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AddressError {
    /// It cannot be read.
    #[error(
        "is no URL of PostgreSQL: `postgresql://USER@HOST:PORT/DATABASE`, with `?host=/FOLDER` for a Unix \
         socket, is expected ({0})"
    )]
    NotAUrl(String),
    /// A password stands in it.
    #[error("holds a password: write that into a file of mode 600, and name the file in store.password_file")]
    Password,
    /// Whoever connects is not named.
    #[error("names no user: `postgresql://USER@…` is expected")]
    NoUser,
    /// Nothing to connect to.
    #[error("names no host: `postgresql://USER@HOST/…`, or `?host=/FOLDER` for a Unix socket, is expected")]
    NoHost,
    /// The database itself is not named.
    #[error("names no database: `…/DATABASE` is expected behind the host")]
    NoDatabase,
    /// A way of TLS that does not say whom it believes.
    #[error(
        "has sslmode={0}, which does not prove who answers: leave it out or say `verify-full` (with \
         store.tls_ca_file for an authority of your own), or say `disable` on a network that is yours alone"
    )]
    WeakTls(String),
}

impl PostgresqlAddress {
    /// The host, the port and the name of the database, for people.
    fn place(&self) -> String {
        let ports = self.config.get_ports();
        let port = |index: usize| ports.get(index).or(ports.first()).copied().unwrap_or(5_432);
        let host = |(index, host): (usize, &Host)| match host {
            Host::Tcp(name) if name.contains(':') => format!("[{name}]:{}", port(index)),
            Host::Tcp(name) => format!("{name}:{}", port(index)),
            Host::Unix(folder) => format!("{}/.s.PGSQL.{}", folder.display(), port(index)),
        };
        self.config.get_hosts().iter().enumerate().map(host).collect::<Vec<_>>().join(",")
    }

    /// The files that go with it.
    pub fn files(&self) -> Vec<&Path> {
        let of_tls = self.tls_certificate.iter().flat_map(|(certificate, key)| [certificate, key]);
        let files = self.password_file.iter().chain(&self.tls_ca_file).chain(of_tls);
        files.map(PathBuf::as_path).collect()
    }

    /// The ports that may be connected to.
    pub fn ports(&self) -> Vec<u16> {
        let named = self.config.get_ports();
        if named.is_empty() { vec![5_432] } else { named.to_vec() }
    }

    /// What connects, without the password.
    pub(super) fn config(&self) -> Config {
        self.config.clone()
    }

    /// Whether the connection is by TLS.
    pub(crate) fn uses_tls(&self) -> bool {
        self.tls
    }
}

impl FromStr for PostgresqlAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (text, mode) = take_ssl_mode(text);
        let unread = |error: tokio_postgres::Error| {
            // What it could not read may be a part of a password that was not escaped.
            let known = std::error::Error::source(&error).map(ToString::to_string);
            let known = known.filter(|reason| reason.starts_with("unknown option"));
            AddressError::NotAUrl(known.unwrap_or_else(|| error.to_string()))
        };
        let mut config: Config = text.parse().map_err(unread)?;
        if config.get_password().is_some() {
            return Err(AddressError::Password);
        }
        if config.get_user().is_none_or(str::is_empty) {
            return Err(AddressError::NoUser);
        }
        if config.get_dbname().is_none_or(str::is_empty) {
            return Err(AddressError::NoDatabase);
        }
        if config.get_hosts().is_empty() {
            return Err(AddressError::NoHost);
        }
        let tls = match mode.as_deref() {
            Some("verify-full") => true,
            Some("disable") => false,
            Some(weak) => return Err(AddressError::WeakTls(weak.to_owned())),
            None => !config.get_hosts().iter().all(is_here),
        };
        config.ssl_mode(if tls { SslMode::Require } else { SslMode::Disable });
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        config.connect_timeout(CONNECT_TIMEOUT).tcp_user_timeout(UNACKNOWLEDGED);
        config.keepalives(true).keepalives_idle(KEEPALIVE).keepalives_interval(KEEPALIVE / 2);
        config.keepalives_retries(2).application_name("vendkey");
        Ok(Self { config, tls, password_file: None, tls_ca_file: None, tls_certificate: None })
    }
}

/// Whether a host is this machine.
fn is_here(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost" || name.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
        }
    }
}

/// Takes `sslmode` out of a URL: the client knows fewer of libpq's values than there are.
fn take_ssl_mode(text: &str) -> (String, Option<String>) {
    let Some((before, query)) = text.split_once('?') else { return (text.to_owned(), None) };
    let is_mode = |part: &&str| part.starts_with("sslmode=");
    let mode = query.split('&').find(is_mode).and_then(|part| part.strip_prefix("sslmode="));
    let rest: Vec<&str> = query.split('&').filter(|part| !is_mode(part)).collect();
    let text = if rest.is_empty() { before.to_owned() } else { format!("{before}?{}", rest.join("&")) };
    (text, mode.map(str::to_owned))
}

impl fmt::Display for PostgresqlAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = self.config.get_user().unwrap_or_default();
        let database = self.config.get_dbname().unwrap_or_default();
        write!(f, "postgresql://{user}@{}/{database}", self.place())
    }
}

impl fmt::Debug for PostgresqlAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<PostgresqlAddress, AddressError> {
        text.parse()
    }

    #[test]
    fn an_address_is_told_without_secrets() {
        for (text, told) in [
            ("postgresql://vendkey@db.example/vendkey", "postgresql://vendkey@db.example:5432/vendkey"),
            ("postgres://v@127.0.0.1:6000/x", "postgresql://v@127.0.0.1:6000/x"),
            ("postgresql://v@[::1]:6000/x", "postgresql://v@[::1]:6000/x"),
            ("postgresql://v@/x?host=/run/postgresql", "postgresql://v@/run/postgresql/.s.PGSQL.5432/x"),
            ("postgresql://v@a,b:6000/x?sslmode=verify-full", "postgresql://v@a:5432,b:6000/x"),
        ] {
            assert_eq!(parse(text).map(|address| address.to_string()), Ok(told.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_missing_is_named_and_a_password_refused() {
        assert_eq!(parse("postgresql://v:secret@h/x"), Err(AddressError::Password));
        assert_eq!(parse("postgresql://v@h/x?password=secret"), Err(AddressError::Password));
        assert_eq!(parse("postgresql://h/x"), Err(AddressError::NoUser));
        assert_eq!(parse("postgresql://v@h"), Err(AddressError::NoDatabase));
        assert_eq!(parse("postgresql://v@/x"), Err(AddressError::NoHost));
        for text in
            ["postgresql://v:sec@ret@h:sec/x", "postgresql://v@h:port/x", "postgresql://v@h/x?colour=red"]
        {
            let error = parse(text).unwrap_err();
            assert!(matches!(error, AddressError::NotAUrl(_)), "{text}: {error:?}");
            assert!(!error.to_string().contains("sec"), "{error}");
        }
    }

    #[test]
    fn tls_proves_who_answers_or_is_not_used() {
        for (text, tls) in [
            ("postgresql://v@db.example/x", true),
            ("postgresql://v@localhost/x", false),
            ("postgresql://v@[::1]/x", false),
            ("postgresql://v@127.0.0.1/x?sslmode=verify-full", true),
            ("postgresql://v@/x?host=/run/postgresql", false),
            ("postgresql://v@127.0.0.1,db.example/x", true),
            ("postgresql://v@db.example/x?sslmode=disable&connect_timeout=3", false),
        ] {
            assert_eq!(parse(text).map(|address| address.uses_tls()), Ok(tls), "{text}");
        }
        for weak in ["require", "prefer", "allow", "verify-ca", ""] {
            let refused = parse(&format!("postgresql://v@db.example/x?sslmode={weak}"));
            assert_eq!(refused, Err(AddressError::WeakTls(weak.into())));
        }
    }
}
