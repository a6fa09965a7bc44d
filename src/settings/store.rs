//! The settings of the store: which database, how it is reached, and where checkpoints are kept.

use std::path::{Path, PathBuf};

use super::Reader;
use crate::store::{DatabaseUrl, PostgresqlAddress};

/// Which database, and where checkpoints are kept.
#[derive(Debug, Clone)]
pub struct StoreSettings {
    /// The database.
    pub url: DatabaseUrl,
    /// How many requests may wait for the ledger.
    pub queue: usize,
    /// Where the last checkpoint of the chain is kept, apart from the database.
    pub checkpoint_file: PathBuf,
    /// A checkpoint is made when so much time has passed since the last one, in seconds, and there
    /// is anything new.
    pub checkpoint_seconds: u32,
    /// Or when there are this number of records since the last one.
    pub checkpoint_records: u32,
}

impl StoreSettings {
    /// Where the HSM's memory of a refused PIN is kept: where the server may write, as it may not
    /// beside its settings.
    pub(super) fn refused_pin_file(&self) -> PathBuf {
        beside(self.url.path().unwrap_or(&self.checkpoint_file), ".refused-pin")
    }
}

/// Where the last checkpoint of a database is kept unless a setting says otherwise: known of one in a
/// file alone.
pub fn checkpoint_file_of(url: &DatabaseUrl) -> Option<PathBuf> {
    Some(beside(url.path()?, ".checkpoint"))
}

/// The file whose name is that of another and this.
fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// The settings that a PostgreSQL database alone has.
const OF_POSTGRESQL: [&str; 4] = ["password_file", "tls_ca_file", "tls_certificate_file", "tls_key_file"];

impl Reader<'_> {
    pub(super) fn store(&mut self) -> Option<StoreSettings> {
        let url = self.database();
        let queue = self.within("store.queue", 4_096, 1..=1_000_000);
        let checkpoint_file = match &url {
            // Not beside the database: that is on another machine.
            Some(DatabaseUrl::Postgresql(_)) => {
                self.required("store.checkpoint_file", "/var/lib/vendkey/checkpoint")
            }
            Some(DatabaseUrl::Sqlite(_)) | None => self.text("store.checkpoint_file"),
        };
        let checkpoint_seconds = self.within("store.checkpoint_seconds", 10, 1..=3_600);
        let checkpoint_records = self.within("store.checkpoint_records", 100_000, 1..=10_000_000);
        let url = url?;
        let checkpoint_file = match checkpoint_file {
            Some(file) => self.path(&file),
            None => checkpoint_file_of(&url)?,
        };
        Some(StoreSettings {
            url,
            queue: queue? as usize,
            checkpoint_file,
            checkpoint_seconds: checkpoint_seconds?,
            checkpoint_records: checkpoint_records?,
        })
    }

    /// The database: `store.url`, or `store.path` for the file of an SQLite one.
    fn database(&mut self) -> Option<DatabaseUrl> {
        if !self.values.contains_key("store.url") {
            let path = self.required("store.path", "vendkey.db (or store.url)");
            self.refuse_files();
            return Some(DatabaseUrl::Sqlite(self.path(&path?)));
        }
        if self.values.contains_key("store.path") {
            self.text("store.path");
            self.fault("store.path", "cannot stand beside store.url: name the database once");
        }
        match self.text("store.url")?.parse() {
            Ok(DatabaseUrl::Sqlite(path)) => {
                self.refuse_files();
                Some(DatabaseUrl::Sqlite(self.path(&path.to_string_lossy())))
            }
            Ok(DatabaseUrl::Postgresql(address)) => Some(self.with_files(*address)),
            Err(error) => {
                // Without the text, in which there may be a password.
                self.fault("store.url", error.to_string());
                for name in OF_POSTGRESQL {
                    self.text(&format!("store.{name}"));
                }
                None
            }
        }
    }

    /// The address with the files of the password and of TLS.
    fn with_files(&mut self, mut address: PostgresqlAddress) -> DatabaseUrl {
        let [password, authority, certificate, key] = OF_POSTGRESQL.map(|name| format!("store.{name}"));
        let password_file = self.readable(&password);
        let tls_ca_file = self.readable(&authority);
        let tls_certificate = match (self.readable(&certificate), self.readable(&key)) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(_), None) => {
                self.fault(&key, "is missing beside tls_certificate_file");
                None
            }
            (None, Some(_)) => {
                self.fault(&certificate, "is missing beside tls_key_file");
                None
            }
        };
        if !address.uses_tls() {
            let reason =
                "has no use: the connection is not by TLS (write sslmode=verify-full into store.url)";
            if tls_ca_file.is_some() {
                self.fault(&authority, reason);
            }
            if tls_certificate.is_some() {
                self.fault(&certificate, reason);
            }
        }
        address.password_file = password_file;
        address.tls_ca_file = tls_ca_file;
        address.tls_certificate = tls_certificate;
        DatabaseUrl::Postgresql(Box::new(address))
    }

    /// Says what is not for an SQLite database.
    fn refuse_files(&mut self) {
        for name in OF_POSTGRESQL {
            let key = format!("store.{name}");
            if self.values.remove(&key).is_some() {
                self.fault(&key, "is for a PostgreSQL database alone: store.url = \"postgresql://…\"");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Settings, SettingsError};
    use super::*;

    fn parse(store: &str) -> Result<Settings, SettingsError> {
        let text = format!(
            "[hsm]\nmodule = '/proc/self/exe'\ntoken_label = 'vendkey'\npin_file = '/proc/self/status'\n[store]\n{store}\n"
        );
        Settings::parse(Path::new("/etc/vendkey/vendkey.toml"), &text, [])
    }

    fn faults(store: &str) -> Vec<String> {
        parse(store).unwrap_err().faults.into_iter().map(|(key, _)| key).collect()
    }

    const URL: &str =
        "url = 'postgresql://vendkey@db.example/vendkey'\ncheckpoint_file = '/var/lib/checkpoint'";

    #[test]
    fn a_postgresql_database_has_its_files() {
        let store =
            parse(&format!("{URL}\npassword_file = '/proc/self/exe'\ntls_ca_file = '/proc/self/exe'"));
        let store = store.unwrap().store;
        assert_eq!(store.url.to_string(), "postgresql://vendkey@db.example:5432/vendkey");
        let DatabaseUrl::Postgresql(address) = &store.url else { panic!("another engine") };
        assert_eq!(address.password_file.as_deref(), Some(Path::new("/proc/self/exe")));
        assert_eq!(store.checkpoint_file, Path::new("/var/lib/checkpoint"));
        assert_eq!(store.refused_pin_file(), Path::new("/var/lib/checkpoint.refused-pin"));
    }

    #[test]
    fn every_fault_of_a_database_is_named_and_no_password_told() {
        assert_eq!(faults("url = 'postgresql://vendkey@db/vendkey'"), ["store.checkpoint_file"]);
        assert_eq!(faults(&format!("{URL}\npassword_file = '/nowhere'")), ["store.password_file"]);
        assert_eq!(
            faults(&format!("{URL}\ntls_key_file = '/proc/self/exe'")),
            ["store.tls_certificate_file"]
        );
        assert_eq!(faults("path = 'vendkey.db'\npassword_file = '/proc/self/exe'"), ["store.password_file"]);
        let here =
            "url = 'postgresql://v@127.0.0.1/x'\ncheckpoint_file = 'x'\ntls_ca_file = '/proc/self/exe'";
        assert_eq!(faults(here), ["store.tls_ca_file"], "without TLS");
        for url in ["postgresql://v:hush@db/x", "postgresql://v:hu%sh@db/x", "postgres//v:hush@db/x"] {
            let error = parse(&format!("url = '{url}'")).unwrap_err();
            assert_eq!(error.faults[0].0, "store.url");
            assert!(!error.to_string().contains("hu"), "{error}");
        }
    }
}
