//! What `serve` needs of its settings and what they name, looked at before anything is started;
//! `serve --check` looks at no less.

use std::{fmt, fs, net::TcpListener, os::unix::fs::PermissionsExt as _, path::Path};

use jiff::Timestamp;
use rustix::{
    fs::{Access, access},
    process::geteuid,
};

use super::{ServeError, hardening, tls};
use crate::{
    audit::SignedCheckpoint,
    clock::{self, SignOfLife},
    custody::checkpoint_file,
    hsm::{self, HsmError, HsmSettings, TokenSelector},
    pem_file::Unbelieved,
    settings::{ListenerSettings, Settings, TlsSettings},
    store::{self, DatabaseUrl, Examined},
    vending::IssueGuard,
};

/// Something that is to be mended, and the setting that names it.
#[derive(Debug)]
pub struct Finding {
    /// `section.key`.
    pub setting: String,
    /// What is wrong, as `serve` would say it.
    pub error: ServeError,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { setting, error } = self;
        match error {
            ServeError::Hsm(error) => write!(f, "{setting}: {error}"),
            ServeError::Store(error) => write!(f, "{setting}: {error}"),
            ServeError::Chain(text) | ServeError::Hardening(text) => write!(f, "{setting}: {text}"),
            ServeError::Tls(text) => write!(f, "{setting}.{text}"),
            error => write!(f, "{setting}: {error}"),
        }
    }
}

/// What was found, in the order in which `serve` comes upon it.
#[derive(Debug, Default)]
pub struct Report {
    /// What keeps the server from serving.
    pub faults: Vec<Finding>,
    /// What does not, and should be mended.
    pub warnings: Vec<String>,
}

impl Report {
    fn fault(&mut self, setting: impl Into<String>, error: impl Into<ServeError>) {
        self.faults.push(Finding { setting: setting.into(), error: error.into() });
    }
}

/// Looks at all that is named by the settings without the HSM's login, changing nothing: the user,
/// the files of TLS, the module, the token, the PIN file (the PIN itself is not tried), the database,
/// the clock, the checkpoint file and the addresses. Whoever needs the HSM's keys comes upon more.
pub fn check(settings: &Settings) -> Report {
    let mut report = files(settings);
    for error in hsm::examine(&settings.hsm) {
        report.fault(setting_of(&error, &settings.hsm), error);
    }
    // A token beside the first one may be away: the server starts without it.
    for (place, other) in settings.other_tokens.iter().enumerate() {
        let found = hsm::examine(other).into_iter();
        report.warnings.extend(found.map(|error| format!("hsm.other_tokens[{place}]: {error}")));
    }
    database(settings, &mut report);
    addresses(settings, &mut report);
    report
}

fn database(settings: &Settings, report: &mut Report) {
    let url = &settings.store.url;
    let setting = match url {
        DatabaseUrl::Sqlite(_) => "store.path",
        DatabaseUrl::Postgresql(_) => "store.url",
    };
    match store::examine(url, &settings.server.name) {
        Ok(Examined::Found { sign_of_life, has_checkpoint }) => {
            kept_checkpoint(settings, has_checkpoint, report);
            report.warnings.extend(root_alone_writes(setting, url));
            clock(sign_of_life, report);
        }
        Ok(Examined::Missing) => {
            kept_checkpoint(settings, false, report);
            report.warnings.push(format!(
                "{setting}: there is no database {url} yet; `serve` would make one in which nobody may do anything: \
                 run `vendkey setup`, or correct the setting"
            ));
            clock(None, report);
        }
        Err(error) => {
            kept_checkpoint(settings, false, report);
            report.fault(setting, error);
        }
    }
}

/// Looks at the file of the last checkpoint, and whether there can be a next one.
fn kept_checkpoint(settings: &Settings, must_be: bool, report: &mut Report) {
    let file = &settings.store.checkpoint_file;
    let mut warn = |text: &str| {
        report.warnings.push(format!("store.checkpoint_file: {}: {text}", file.display()));
    };
    match checkpoint_file::read(file) {
        Ok(None) if must_be => warn(
            "it is missing, and the database knows a checkpoint (is its disk mounted?); until it is there again, or \
             the restore is accepted, `serve` issues nothing",
        ),
        Ok(None) => {}
        Ok(Some(text)) => {
            if let Err(error) = SignedCheckpoint::parse(&text) {
                warn(&format!(
                    "{error}; until it is one again, or the restore is accepted, `serve` issues nothing"
                ));
            }
        }
        Err(error) => {
            let text = format!("{}: {error}", file.display());
            return report.fault("store.checkpoint_file", ServeError::Chain(text));
        }
    }
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if let Err(error) = access(folder, Access::WRITE_OK | Access::EXEC_OK) {
        warn(&format!("no checkpoint could be kept there: the folder {}: {error}", folder.display()));
    }
}

/// Tells root, whom no mode hinders, what the server's own user will come upon.
fn root_alone_writes(setting: &str, url: &DatabaseUrl) -> Option<String> {
    let DatabaseUrl::Sqlite(path) = url else { return None };
    let mode = fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (geteuid().is_root() && mode & 0o222 == 0).then(|| {
        format!(
            "{setting}: {} has mode {mode:03o}, so that nobody but root can write it: chmod 600, and let the user \
             of the server own it",
            path.display()
        )
    })
}

/// Tells that a server would start and issue nothing, as its clock is in doubt.
fn clock(sign_of_life: Option<SignOfLife>, report: &mut Report) {
    let clock = clock::of_server();
    let guard = IssueGuard::new(clock.clone(), sign_of_life, None);
    match guard.pass() {
        Err(stop) if guard.proved().is_none() => {
            report.warnings.push(format!("clock: {stop}; until then `serve` issues nothing"));
        }
        Ok(_) if sign_of_life.is_none() && !clock.is_synchronised() => report.warnings.push(
            "clock: no time server keeps it (`timedatectl`), and no server has run here that could tell whether it \
             is right: look at it, since tokens bear its minutes"
                .to_owned(),
        ),
        _ => {}
    }
}

/// The setting that an error of the HSM is about.
fn setting_of(error: &HsmError, settings: &HsmSettings) -> &'static str {
    match (error, &settings.token) {
        (HsmError::ModuleLoad { .. }, _) => "hsm.module",
        (HsmError::PinFile { .. } | HsmError::PinRefused(_) | HsmError::PinRefusedBefore { .. }, _) => {
            "hsm.pin_file"
        }
        (HsmError::TokenNotFound(_) | HsmError::TokenAmbiguous { .. }, TokenSelector::Label(_)) => {
            "hsm.token_label"
        }
        (HsmError::TokenNotFound(_) | HsmError::TokenAmbiguous { .. }, TokenSelector::Slot(_)) => "hsm.slot",
        _ => "hsm.module",
    }
}

fn addresses(settings: &Settings, report: &mut Report) {
    let server = &settings.server;
    let administration =
        server.administration.as_ref().map(|listener| ("administration.listen", listener.listen));
    let metrics = settings.metrics.map(|listen| ("metrics.listen", listen));
    // Kept until all are tried: two settings may name one address.
    let mut bound = Vec::new();
    for (name, listen) in
        [Some(("server.listen", server.main.listen)), administration, metrics].into_iter().flatten()
    {
        match TcpListener::bind(listen) {
            Ok(listener) => bound.push(listener),
            Err(error) => report.fault(name, ServeError::Bind(listen, error)),
        }
    }
}

/// The part that `serve` looks at first too: who runs it, the files of TLS, and whether the kernel
/// can keep from it what it must.
pub(super) fn files(settings: &Settings) -> Report {
    let mut report = Report::default();
    if geteuid().is_root() && !settings.server.allow_root {
        report.fault("server.allow_root", ServeError::Root);
    }
    tls_files(settings, &mut report);
    for (setting, error) in hardening::faults(settings) {
        report.fault(setting, error);
    }
    report
}

/// What is wrong with the files of TLS, for whoever needs them later.
pub fn tls_findings(settings: &Settings) -> Vec<String> {
    let mut report = Report::default();
    tls_files(settings, &mut report);
    report.faults.iter().map(ToString::to_string).chain(report.warnings).collect()
}

fn tls_files(settings: &Settings, report: &mut Report) {
    let listeners: Vec<_> = [
        Some(("server.tls", &settings.server.main)),
        settings.server.administration.as_ref().map(|listener| ("administration.tls", listener)),
    ]
    .into_iter()
    .flatten()
    .collect();
    let mut unbelieved = Vec::new();
    let mut reachable = 0;
    for (section, ListenerSettings { tls, .. }) in listeners {
        let found = tls.as_ref().map_or_else(Vec::new, |tls| listener_files(section, tls, report));
        reachable += usize::from(found.is_empty());
        unbelieved.extend(found);
    }
    if reachable == 0 {
        report.faults.extend(unbelieved);
    } else {
        // The other listener is in order, and new files are taken up while the server runs.
        report.warnings.extend(unbelieved.iter().map(ToString::to_string));
    }
}

/// Reports what is wrong with the files of one listener; answers why no client can believe it, if so.
fn listener_files(section: &str, settings: &TlsSettings, report: &mut Report) -> Vec<Finding> {
    let key_file = &settings.key_file;
    if fs::metadata(key_file).is_ok_and(|found| found.permissions().mode() & 0o077 != 0) {
        report.warnings.push(format!(
            "{section}.key_file: {}: others than its owner may read the private key (chmod 600)",
            key_file.display()
        ));
    }
    let finding = |text: String| Finding { setting: section.to_owned(), error: ServeError::Tls(text) };
    let loaded = match tls::load(settings) {
        Ok(loaded) => loaded,
        Err(failures) => {
            report.faults.extend(failures.iter().map(|failure| finding(failure.to_string())));
            return Vec::new();
        }
    };
    let file = settings.certificate_file.display();
    if !loaded.has_name() {
        report.warnings.push(format!(
            "{section}.certificate_file: {file}: the certificate holds no name in subjectAltName, and most clients \
             do not look at its CN: have one made that holds the server's name"
        ));
    }
    let now = Timestamp::from_millisecond(clock::of_server().now_ms()).unwrap_or_default();
    if let (Some(end), Some(file)) = (loaded.lists_end(), &settings.client_crl_file)
        && end <= now
    {
        report.warnings.push(format!(
            "{section}.client_crl_file: {}: a list ended on {end}, so that no client of its authority is believed: \
             have the authority make a new one",
            file.display()
        ));
    }
    let mut reasons = loaded.unbelieved(now);
    // It will be, or the clock is wrong: both pass by themselves.
    if let Some(at) = reasons.iter().position(|reason| matches!(reason, Unbelieved::NotYet(_))) {
        report.warnings.push(format!("{section}.certificate_file: {file}: {}", reasons.remove(at)));
    }
    reasons.into_iter().map(|reason| finding(format!("certificate_file: {file}: {reason}"))).collect()
}
