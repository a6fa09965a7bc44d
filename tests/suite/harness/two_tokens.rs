//! A home with two tokens, each behind a library of its own, so that each fails and heals alone.

use std::{collections::BTreeSet, fs, path::PathBuf, process::Command, sync::OnceLock};

use super::Home;

/// The settings of the second token; `MODULE` stands for its library.
const SECOND: &str =
    "[[hsm.other_tokens]]\ntoken_label = 'second'\npin_file = 'hsm/pin'\nmodule = 'MODULE'\n";
/// Another file of SoftHSM is another library in the process.
const COPY: &str = "hsm/libsofthsm2-second.so";

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    First,
    Second,
}

fn folders(home: &Home) -> BTreeSet<String> {
    let entries = fs::read_dir(home.path("hsm/tokens")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Made once; each test gets a copy.
fn template() -> &'static Home {
    static TEMPLATE: OnceLock<Home> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let home = Home::new();
        let first = folders(&home).into_iter().next().unwrap();
        let made = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/softhsm/make-token.sh"))
            .arg(home.path("hsm"))
            .arg("second")
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let second = folders(&home).into_iter().find(|folder| *folder != first).unwrap();
        fs::write(home.path("folders"), format!("{first}\n{second}\n")).unwrap();
        fs::copy("/usr/lib/softhsm/libsofthsm2.so", home.path(COPY)).unwrap();
        home.write_settings(&SECOND.replace("MODULE", COPY));
        let setup = home.vendkey(&["setup", "--settings", &home.text("vendkey.toml")]);
        assert!(setup.status.success(), "{}", String::from_utf8_lossy(&setup.stderr));
        home
    })
}

impl Home {
    /// One whose server has two tokens, `vendkey` and `second`.
    pub fn with_two_tokens() -> Self {
        template().copied()
    }

    /// The library of the second token.
    pub fn second_library(&self) -> String {
        self.text(COPY)
    }

    /// Has the second token reached through another module.
    pub fn second_through(&self, module: &str) {
        self.write_settings(&SECOND.replace("MODULE", module));
    }

    fn places(&self, which: Which) -> (PathBuf, PathBuf) {
        let folders = fs::read_to_string(self.path("folders")).unwrap();
        let folder = folders.lines().nth(which as usize).unwrap();
        (self.path(&format!("hsm/tokens/{folder}")), self.path(&format!("hsm/away-{folder}")))
    }

    /// Takes a token away.
    pub fn lose_token(&self, which: Which) {
        let (here, away) = self.places(which);
        fs::rename(here, away).unwrap();
    }

    /// Brings it back.
    pub fn return_token(&self, which: Which) {
        let (here, away) = self.places(which);
        fs::rename(away, here).unwrap();
    }
}
