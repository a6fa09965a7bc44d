//! The PKCS#11 module of `tests/pkcs11_shim` in front of SoftHSM: slow, narrow or faulty.

use std::{fs, path::PathBuf, sync::OnceLock};

use super::{Home, Server, remote::example};

/// Where it is, built with the profile of these tests.
pub fn library() -> &'static str {
    static LIBRARY: OnceLock<String> = OnceLock::new();
    LIBRARY.get_or_init(|| example("pkcs11_shim", "libpkcs11_shim.so"))
}

/// What goes wrong with the calls of one server.
pub struct Faults(PathBuf);

impl Faults {
    /// Starts a server on the home's token, with this module in between and these variables for it.
    pub fn server(home: &Home, environment: &[(&str, &str)]) -> (Server, Faults) {
        Faults::put_between(home);
        let file = home.text("faults");
        let environment: Vec<_> =
            environment.iter().copied().chain([("PKCS11_SHIM_FAULTS", file.as_str())]).collect();
        let server = Server::start_with(home, &environment);
        (server, Faults(file.into()))
    }

    /// Puts this module between the home's programs and its token.
    pub fn put_between(home: &Home) {
        let settings = fs::read_to_string(home.path("vendkey.toml")).unwrap();
        fs::write(home.path("vendkey.toml"), settings.replace("/usr/lib/softhsm/libsofthsm2.so", library()))
            .unwrap();
    }

    /// Those of a server that is started with this file as `PKCS11_SHIM_FAULTS`.
    pub fn in_file(file: PathBuf) -> Self {
        Faults(file)
    }

    /// From the next call on, what these lines say.
    pub fn are(&self, lines: &str) {
        let new = self.0.with_extension("new");
        fs::write(&new, lines).unwrap();
        fs::rename(new, &self.0).unwrap();
    }

    /// No call fails any more.
    pub fn end(&self) {
        self.are("");
    }
}
