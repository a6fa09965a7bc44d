//! The settings of the HSM: the module, the token with the server's own keys, and further tokens.

use std::{
    ffi::CString,
    fs,
    path::{Path, PathBuf},
};

use toml::{Table, Value};

use super::Reader;
use crate::hsm::{HsmSettings, TokenSelector};

/// The keys of `[[hsm.other_tokens]]`.
const OF_TOKENS: [&str; 4] = ["module", "token_label", "slot", "pin_file"];

/// Gives each further token a file of its own for a refused PIN.
pub(super) fn remembering(tokens: Vec<HsmSettings>, first: &Path) -> Vec<HsmSettings> {
    let file = |place: usize| {
        let mut name = first.as_os_str().to_owned();
        name.push(format!("-{}", place + 2));
        PathBuf::from(name)
    };
    let tokens = tokens.into_iter().enumerate();
    tokens.map(|(place, token)| HsmSettings { refused_pin_file: file(place), ..token }).collect()
}

impl Reader<'_> {
    /// The first token and the others.
    pub(super) fn hsm(&mut self) -> Option<(HsmSettings, Vec<HsmSettings>)> {
        let module = self.required("hsm.module", "/usr/lib/softhsm/libsofthsm2.so");
        let pin_file = self.required("hsm.pin_file", "pin");
        let initialize = self.initialize();
        let token = self.token("hsm");
        let threads = self.within("hsm.threads", 1, 1..=64);
        let queue = self.within("hsm.queue", 1024, 1..=1_000_000);
        let admin_queue = self.within("hsm.admin_queue", 64, 1..=10_000);
        let others = self.other_tokens();
        let module = self.module("hsm.module", &module?);
        let pin_file = self.readable_file("hsm.pin_file", &pin_file?);
        let first = HsmSettings {
            threads: threads? as usize,
            queue: queue? as usize,
            admin_queue: admin_queue? as usize,
            initialize: initialize?,
            ..HsmSettings::new(module, token?, pin_file)
        };
        let others = others?.into_iter().map(|(module, token, pin_file)| HsmSettings {
            // A text for one module is none for another.
            initialize: first.initialize.clone().filter(|_| module.is_none()),
            module: module.unwrap_or_else(|| first.module.clone()),
            token,
            pin_file,
            ..first.clone()
        });
        let others: Vec<HsmSettings> = others.collect();
        for (place, other) in others.iter().enumerate() {
            let before = [&first].into_iter().chain(&others[..place]);
            if before.filter(|one| one.module == other.module).any(|one| one.token == other.token) {
                self.fault(
                    &format!("hsm.other_tokens[{place}]"),
                    format!("{} stands here twice", other.token),
                );
            }
        }
        Some((first, others))
    }

    /// The text for C_Initialize, if there is one.
    fn initialize(&mut self) -> Option<Option<CString>> {
        let key = "hsm.initialize";
        let given = self.values.contains_key(key);
        match self.text(key).map(CString::new) {
            None if given => None,
            None => Some(None),
            Some(Ok(text)) if !text.is_empty() => Some(Some(text)),
            Some(Ok(_)) => {
                self.fault(key, "is empty: leave it out for a module that wants no text");
                None
            }
            Some(Err(_)) => {
                self.fault(key, "holds a zero byte, at which modules take a text to end");
                None
            }
        }
    }

    /// How a token is named in this section.
    fn token(&mut self, section: &str) -> Option<TokenSelector> {
        let (label_key, slot_key) = (format!("{section}.token_label"), format!("{section}.slot"));
        match (self.text(&label_key), self.text(&slot_key)) {
            (Some(label), None) => Some(TokenSelector::Label(label)),
            (None, Some(slot)) => {
                let id = slot.parse().ok();
                if id.is_none() {
                    self.fault(&slot_key, format!("{slot:?} is not a slot id"));
                }
                id.map(TokenSelector::Slot)
            }
            (None, None) => {
                self.fault(&label_key, format!("is missing (or {slot_key}); for example vendkey"));
                None
            }
            (Some(_), Some(_)) => {
                self.fault(&slot_key, format!("cannot stand beside {label_key}: name the token once"));
                None
            }
        }
    }

    fn module(&mut self, key: &str, text: &str) -> PathBuf {
        let module = self.readable_file(key, text);
        // A name alone would be looked for where the system has its libraries.
        std::path::absolute(&module).unwrap_or(module)
    }

    /// A file that must be there.
    fn readable_file(&mut self, key: &str, text: &str) -> PathBuf {
        let file = self.path(text);
        if let Err(error) = fs::File::open(&file) {
            self.fault(key, format!("{} cannot be read: {error}", file.display()));
        }
        file
    }

    /// `[[hsm.other_tokens]]`: each with a label or a slot, its PIN file, and a module where that is
    /// another one.
    fn other_tokens(&mut self) -> Option<Vec<(Option<PathBuf>, TokenSelector, PathBuf)>> {
        let key = "hsm.other_tokens";
        let tables: Vec<Table> = match self.values.remove(key) {
            None => return Some(Vec::new()),
            Some(Value::Array(tables)) => {
                let tables = tables.into_iter().map(|table| match table {
                    Value::Table(table) => Some(table),
                    _ => None,
                });
                tables.collect::<Option<_>>().unwrap_or_default()
            }
            Some(_) => Vec::new(),
        };
        if tables.is_empty() {
            self.fault(
                key,
                "must be tables in the file: [[hsm.other_tokens]], each with token_label and pin_file",
            );
            return None;
        }
        let mut tokens = Vec::new();
        let count = tables.len();
        for (place, table) in tables.into_iter().enumerate() {
            let section = format!("{key}[{place}]");
            for (name, value) in table {
                let setting = format!("{section}.{name}");
                if OF_TOKENS.contains(&name.as_str()) {
                    self.values.insert(setting, value);
                } else {
                    self.fault(&setting, "is not a setting");
                }
            }
            let token = self.token(&section);
            let pin_file = self.required(&format!("{section}.pin_file"), "pin-2");
            let pin_file = pin_file.map(|file| self.readable_file(&format!("{section}.pin_file"), &file));
            let module = self.text(&format!("{section}.module"));
            let module = module.map(|file| self.module(&format!("{section}.module"), &file));
            if let (Some(token), Some(pin_file)) = (token, pin_file) {
                tokens.push((module, token, pin_file));
            }
        }
        (tokens.len() == count).then_some(tokens)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Settings, SettingsError};
    use super::*;

    fn parse(more: &str) -> Result<Settings, SettingsError> {
        let text = format!(
            "[hsm]\nmodule = '/proc/self/exe'\ntoken_label = 'vendkey'\npin_file = '/proc/self/status'\nthreads = 3\n\
             {more}\n[store]\npath = 'vendkey.db'\n"
        );
        Settings::parse(Path::new("/etc/vendkey/vendkey.toml"), &text, [])
    }

    #[test]
    fn further_tokens_have_a_label_and_a_pin_of_their_own() {
        assert!(parse("").unwrap().other_tokens.is_empty());
        let settings = parse(
            "[[hsm.other_tokens]]\ntoken_label = 'second'\npin_file = '/proc/self/maps'\n\
             [[hsm.other_tokens]]\nslot = 7\npin_file = '/proc/self/maps'\nmodule = '/proc/self/comm'\n",
        );
        let tokens = settings.unwrap().other_tokens;
        let [second, third] = tokens.as_slice() else { panic!("{tokens:?}") };
        assert_eq!(second.token, TokenSelector::Label("second".to_owned()));
        assert_eq!((second.module.as_path(), second.threads), (Path::new("/proc/self/exe"), 3));
        assert_eq!(third.token, TokenSelector::Slot(7));
        assert_eq!(third.module, Path::new("/proc/self/comm"));
        assert_ne!(second.refused_pin_file, third.refused_pin_file);
    }

    #[test]
    fn what_is_wrong_with_them_is_told() {
        for (more, fault) in [
            ("other_tokens = 'second'", "hsm.other_tokens"),
            ("[[hsm.other_tokens]]\npin_file = '/proc/self/maps'", "hsm.other_tokens[0].token_label"),
            ("[[hsm.other_tokens]]\ntoken_label = 'second'", "hsm.other_tokens[0].pin_file"),
            (
                "[[hsm.other_tokens]]\ntoken_label = 'vendkey'\npin_file = '/proc/self/maps'",
                "hsm.other_tokens[0]",
            ),
            (
                "[[hsm.other_tokens]]\ntoken_label = 'b'\npin_file = '/proc/self/maps'\nthreads = 2",
                "hsm.other_tokens[0].threads",
            ),
        ] {
            let faults = parse(more).unwrap_err().faults;
            assert!(faults.iter().any(|(key, _)| key == fault), "{more}: {faults:?}");
        }
    }
}
