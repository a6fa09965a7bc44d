//! Settings: one TOML file with overrides from the environment, read whole before a port is bound.
//!
//! `section.key` in the file is `VENDKEY_SECTION__KEY` in the environment (upper case, two
//! underscores between the parts). Every fault is reported, not the first alone. Paths that are not
//! absolute count from the folder of the file.

mod hardening;
mod hsm;
mod http;
mod store;
mod wire;

use std::{
    collections::BTreeMap,
    fmt, fs,
    net::SocketAddr,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::system::uname;
use toml::{Table, Value};

use self::hsm::remembering;

pub use self::hardening::{HardeningSettings, Wanted};
pub use self::http::{ConsoleSettings, HttpSettings, NoOrigin, Origins};
pub use self::store::{StoreSettings, checkpoint_file_of};
pub use wire::{ClientAuth, ListenerSettings, TlsSettings, WireSettings};

use crate::hsm::HsmSettings;

/// All settings of a server.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The listeners.
    pub server: ServerSettings,
    /// What one listener and one connection bear.
    pub wire: WireSettings,
    /// HTTP with JSON.
    pub http: HttpSettings,
    /// Where metrics are read, if anywhere.
    pub metrics: Option<SocketAddr>,
    /// The PKCS#11 module and the token that holds the server's own keys.
    pub hsm: HsmSettings,
    /// Further tokens that hold vending keys.
    pub other_tokens: Vec<HsmSettings>,
    /// The database.
    pub store: StoreSettings,
    /// What may be issued.
    pub vending: VendingSettings,
    /// How many persons it takes.
    pub access: AccessSettings,
    /// How the server looks at its own ledger.
    pub audit: AuditSettings,
    /// What the kernel keeps from the server.
    pub hardening: HardeningSettings,
    /// The log.
    pub log: LogSettings,
}

/// Where the server listens.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// Its name among the servers of its database.
    pub name: String,
    /// The listener of tills, and of everybody while there is no other.
    pub main: ListenerSettings,
    /// The listener of administrators, if they have their own.
    pub administration: Option<ListenerSettings>,
    /// Whether the server may run as root, as it does in some containers.
    pub allow_root: bool,
    /// How long it goes on serving after it was told to stop, while health says NOT_SERVING
    /// already.
    pub drain: Duration,
}

/// The policy of issuing.
#[derive(Debug, Clone, Copy)]
pub struct VendingSettings {
    /// How far ahead of the clock the next free TID of a meter may lie, in minutes.
    pub horizon_minutes: u32,
    /// Whether configurations under DKGA02 may be used.
    pub allow_dkga02: bool,
    /// Whether algorithms without a public vector (DKGA03, KT 3 under DKGA04) may be used.
    pub allow_unverified_algorithms: bool,
    /// For how many days a request may be repeated. An older request id is refused, never issued
    /// anew.
    pub request_retention_days: u32,
    /// Uploads that a client without a limit of its own may try in a minute: each costs private RSA
    /// operations.
    pub uploads_per_minute: u32,
    /// Whether uploads of the legacy format are taken, in which the server sees the vending key.
    pub legacy_uploads: bool,
    /// How long a scheduled destruction of a key can be taken back.
    pub destroy_delay: Duration,
}

/// Who decides.
#[derive(Debug, Clone, Copy)]
pub struct AccessSettings {
    /// How many administrators an act that matters takes, the one who asks for it included.
    pub approvals: u32,
    /// How long an act waits for them.
    pub approval_expiry: Duration,
    /// Which multiple of a client's usual tokens of a day raises an alarm.
    pub alarm_pace: u32,
}

/// How the server looks at its own ledger.
#[derive(Debug, Clone, Copy)]
pub struct AuditSettings {
    /// How many records a second the walk over the whole ledger reads; 0: it is not walked.
    pub walk_rows_per_second: u32,
}

/// What the log says and how.
#[derive(Debug, Clone)]
pub struct LogSettings {
    /// A filter such as `info` or `vendkey=debug`.
    pub filter: String,
    /// One JSON object a line instead of text.
    pub json: bool,
}

/// Everything that is wrong with the settings.
#[derive(Debug, thiserror::Error)]
pub struct SettingsError {
    /// The file that was read.
    pub file: PathBuf,
    /// `section.key` and what is wrong with it.
    pub faults: Vec<(String, String)>,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cannot be used as settings:", self.file.display())?;
        for (key, fault) in &self.faults {
            write!(f, "\n  {key}: {fault}")?;
        }
        Ok(())
    }
}

impl Settings {
    /// Reads the file and the `VENDKEY_` variables of the process's environment.
    ///
    /// # Errors
    /// Every fault of the file, or why it cannot be read.
    pub fn load(file: &Path) -> Result<Self, SettingsError> {
        let text = fs::read_to_string(file).map_err(|error| SettingsError {
            file: file.to_owned(),
            faults: vec![("file".into(), format!("cannot be read: {error}"))],
        })?;
        // A variable that is not UTF-8 is none of ours.
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self::parse(file, &text, environment)
    }

    /// Parses the text of `file` under overrides.
    ///
    /// # Errors
    /// Every fault of the text.
    pub fn parse(
        file: &Path,
        text: &str,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, SettingsError> {
        let whole = |key: &str, fault: String| SettingsError {
            file: file.to_owned(),
            faults: vec![(key.to_owned(), fault)],
        };
        let table: Table = text.parse().map_err(|error: toml::de::Error| whole("file", error.to_string()))?;
        let base = file.parent().unwrap_or(Path::new("."));
        let mut reader = Reader::new(base, table, environment);
        let settings = reader.settings();
        reader.refuse_unknown();
        match settings {
            Some(settings) if reader.faults.is_empty() => Ok(settings),
            _ => Err(SettingsError { file: file.to_owned(), faults: reader.faults }),
        }
    }
}

/// Takes values out one by one and gathers what is wrong.
struct Reader<'a> {
    base: &'a Path,
    values: BTreeMap<String, Value>,
    faults: Vec<(String, String)>,
}

/// How long a scheduled destruction can be taken back unless the settings say otherwise.
const DESTROY_DELAY: Duration = Duration::from_secs(168 * 3_600);
/// And at most.
const LONGEST_DELAY: Duration = Duration::from_secs(365 * 86_400);

/// A long weekend.
const APPROVAL_EXPIRY: Duration = Duration::from_secs(72 * 3_600);
/// Four weeks: what nobody approved by then was forgotten.
const LONGEST_EXPIRY: Duration = Duration::from_secs(28 * 86_400);

/// The longest name of a server, as of a host.
const LONGEST_NAME: usize = 64;

/// The prefix of overriding variables; the client's own variables have no double underscore.
const PREFIX: &str = "VENDKEY_";

impl<'a> Reader<'a> {
    fn new(base: &'a Path, table: Table, environment: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut reader = Reader { base, values: BTreeMap::new(), faults: Vec::new() };
        reader.flatten("", table);
        for (name, text) in environment {
            let Some(key) = name.strip_prefix(PREFIX).filter(|key| key.contains("__")) else { continue };
            reader.values.insert(key.to_ascii_lowercase().replace("__", "."), Value::String(text));
        }
        reader
    }

    fn flatten(&mut self, prefix: &str, table: Table) {
        for (key, value) in table {
            let path = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
            match value {
                Value::Table(inner) => self.flatten(&path, inner),
                other => {
                    self.values.insert(path, other);
                }
            }
        }
    }

    fn fault(&mut self, key: &str, fault: impl Into<String>) {
        self.faults.push((key.to_owned(), fault.into()));
    }

    fn text(&mut self, key: &str) -> Option<String> {
        match self.values.remove(key)? {
            Value::String(text) => Some(text),
            Value::Integer(number) => Some(number.to_string()),
            Value::Boolean(flag) => Some(flag.to_string()),
            other => {
                self.fault(key, format!("must be text, not {}", other.type_str()));
                None
            }
        }
    }

    fn required(&mut self, key: &str, example: &str) -> Option<String> {
        let given = self.values.contains_key(key);
        let text = self.text(key);
        if !given {
            self.fault(key, format!("is missing; for example {example}"));
        }
        text
    }

    fn parsed<T: std::str::FromStr>(&mut self, key: &str, default: T, expected: &str) -> Option<T> {
        let Some(text) = self.text(key) else { return Some(default) };
        let parsed = text.parse().ok();
        if parsed.is_none() {
            self.fault(key, format!("{text:?} is not {expected}"));
        }
        parsed
    }

    fn within(&mut self, key: &str, default: u32, range: RangeInclusive<u32>) -> Option<u32> {
        let expected = format!("a number from {} to {}", range.start(), range.end());
        let number = self.parsed(key, default, &expected)?;
        if range.contains(&number) {
            return Some(number);
        }
        self.fault(key, format!("{number} is not {expected}"));
        None
    }

    fn choice(&mut self, key: &str, choices: &[&str]) -> Option<usize> {
        let Some(text) = self.text(key) else { return Some(0) };
        let found = choices.iter().position(|choice| *choice == text);
        if found.is_none() {
            self.fault(key, format!("{text:?} is not one of {}", choices.join(", ")));
        }
        found
    }

    fn path(&self, text: &str) -> PathBuf {
        self.base.join(text)
    }

    fn refuse_unknown(&mut self) {
        for key in std::mem::take(&mut self.values).into_keys() {
            self.fault(&key, "is not a setting");
        }
    }

    fn settings(&mut self) -> Option<Settings> {
        // All sections are read before the first `?`, so that all their faults are found.
        let (server, hsm, store, vending, access, log) =
            (self.server(), self.hsm(), self.store(), self.vending(), self.access(), self.log());
        let (wire, http, metrics, hardening) = (self.wire(), self.http(), self.metrics(), self.hardening());
        let audit = self.audit();
        let ((hsm, other_tokens), store) = (hsm?, store?);
        let refused_pin_file = store.refused_pin_file();
        let other_tokens = remembering(other_tokens, &refused_pin_file);
        Some(Settings {
            server: server?,
            wire: wire?,
            http: http?,
            metrics: metrics?,
            hsm: HsmSettings { refused_pin_file, ..hsm },
            other_tokens,
            store,
            vending: vending?,
            access: access?,
            audit: audit?,
            hardening: hardening?,
            log: log?,
        })
    }

    fn server(&mut self) -> Option<ServerSettings> {
        let allow_root = self.parsed("server.allow_root", false, "true or false");
        let drain = self.within("server.drain_seconds", 0, 0..=3_600);
        let name = self.server_name();
        let main = self.listener("server", Some(SocketAddr::from(([127, 0, 0, 1], 7443))));
        let administration = self.listener("administration", None);
        Some(ServerSettings {
            name: name?,
            main: main??,
            administration: administration?,
            allow_root: allow_root?,
            drain: Duration::from_secs(drain?.into()),
        })
    }

    /// The name in the settings, or the host's.
    fn server_name(&mut self) -> Option<String> {
        let key = "server.name";
        let given = self.values.contains_key(key);
        let name = if given { self.text(key)? } else { uname().nodename().to_string_lossy().into_owned() };
        let plain = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
        if (1..=LONGEST_NAME).contains(&name.len()) && name.chars().all(plain) {
            return Some(name);
        }
        let expected = format!("1 to {LONGEST_NAME} letters, digits, -, _ and . are expected");
        let fault =
            if given { String::new() } else { "is missing, and the host's name cannot be used: ".into() };
        self.fault(key, format!("{fault}{name:?}: {expected}"));
        None
    }

    fn vending(&mut self) -> Option<VendingSettings> {
        let horizon_minutes = self.within("vending.horizon_minutes", 1440, 1..=525_600);
        let dkga02 = self.choice("vending.dkga02", &["allow", "deny"]);
        let unverified = self.choice("vending.unverified_algorithms", &["deny", "allow"]);
        let retention = self.within("vending.request_retention_days", 90, 1..=36_500);
        let uploads = self.within("vending.uploads_per_minute", 30, 1..=100_000);
        let legacy_uploads = self.choice("uploads.legacy", &["allow", "deny"]);
        let destroy_delay =
            self.duration("vending.destroy_delay", DESTROY_DELAY, Duration::ZERO..=LONGEST_DELAY);
        Some(VendingSettings {
            horizon_minutes: horizon_minutes?,
            allow_dkga02: dkga02? == 0,
            allow_unverified_algorithms: unverified? == 1,
            request_retention_days: retention?,
            uploads_per_minute: uploads?,
            legacy_uploads: legacy_uploads? == 0,
            destroy_delay: destroy_delay?,
        })
    }

    fn access(&mut self) -> Option<AccessSettings> {
        let approvals = self.within("access.approvals", 1, 1..=9);
        let approval_expiry =
            self.duration("access.approval_expiry", APPROVAL_EXPIRY, Duration::from_secs(1)..=LONGEST_EXPIRY);
        let alarm_pace = self.within("access.alarm_pace", 5, 2..=1_000);
        Some(AccessSettings {
            approvals: approvals?,
            approval_expiry: approval_expiry?,
            alarm_pace: alarm_pace?,
        })
    }

    fn audit(&mut self) -> Option<AuditSettings> {
        let pace = self.within("audit.walk_rows_per_second", 1_000, 0..=1_000_000);
        Some(AuditSettings { walk_rows_per_second: pace? })
    }

    /// A time such as `72h` or `30m`.
    fn duration(
        &mut self,
        key: &str,
        default: Duration,
        range: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let Some(text) = self.text(key) else { return Some(default) };
        let parsed: Option<jiff::SignedDuration> = text.parse().ok();
        let parsed = parsed.and_then(|parsed| Duration::try_from(parsed).ok());
        let parsed = parsed.filter(|parsed| range.contains(parsed));
        if parsed.is_none() {
            self.fault(
                key,
                format!(
                    "{text:?} is not a time such as 72h or 30m, of {}s to {}h",
                    range.start().as_secs(),
                    range.end().as_secs() / 3600
                ),
            );
        }
        parsed
    }

    fn log(&mut self) -> Option<LogSettings> {
        let filter = self.text("log.filter").unwrap_or_else(|| "info".to_owned());
        if let Err(error) = filter.parse::<tracing_subscriber::EnvFilter>() {
            self.fault("log.filter", format!("{filter:?} is not a filter: {error}"));
        }
        let format = self.choice("log.format", &["text", "json"]);
        Some(LogSettings { filter, json: format? == 1 })
    }
}

#[cfg(test)]
mod tests;
